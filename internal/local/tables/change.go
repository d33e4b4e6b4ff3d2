package tables

import (
	"net/http"
	"regexp"
)

// change performs one insert, update, upsert or delete on its own.
func (s *Server) change(c *call) (*reply, error) {
	m, err := c.mutation()
	if err != nil {
		return nil, err
	}
	op := Op{Kind: m.kind, Table: c.res.table, PartitionKey: m.entity.pk, RowKey: m.entity.rk, Operations: 1}
	return s.perform(op, func() (*reply, error) {
		after, _, err := s.store.apply(c.res.table, []mutation{m}, ticksOf(s.clock.Now()))
		if err != nil {
			return nil, err
		}
		return c.changed(m, after[0]), nil
	})
}

// mutation reads the change a call asks for. What it means depends on the verb and If-Match: a PUT or PATCH without
// If-Match inserts what is not there, with "*" the entity must exist, with an ETag it must still be that version.
func (c *call) mutation() (mutation, error) {
	m := mutation{entity: &entity{pk: c.res.pk, rk: c.res.rk}}
	if err := c.condition(&m); err != nil {
		return m, err
	}
	if m.kind == "delete" {
		return m, nil
	}
	if err := requireJSON(c.header); err != nil {
		return m, err
	}
	e, hasPK, hasRK, err := parseEntity(c.body)
	if err != nil {
		return m, err
	}
	if m.kind == "insert" {
		if !hasPK || !hasRK {
			return m, errPropertiesNeedValue
		}
		m.entity = e
		_, err := echo(c.header)
		return m, err
	}
	if hasPK && e.pk != c.res.pk || hasRK && e.rk != c.res.rk {
		return m, invalidInput("The keys in the body are not those of the entity in the request URI.")
	}
	e.pk, e.rk = c.res.pk, c.res.rk
	m.entity = e
	return m, e.checkLimits()
}

var etagForm = regexp.MustCompile(`^W/"[^"]*"$`)

// condition settles the kind of change from the verb, the resource and the conditional headers.
func (c *call) condition(m *mutation) error {
	ifMatch, conditional := c.header["If-Match"]
	if _, ok := c.header["If-None-Match"]; ok {
		return invalidInput("If-None-Match HTTP header cannot be specified for %s operations.", c.method)
	}
	if c.method == http.MethodPost {
		if conditional {
			return invalidInput("If-Match HTTP header cannot be specified for POST operations.")
		}
		m.kind = "insert"
		return nil
	}
	m.merge = c.method == http.MethodPatch || c.method == "MERGE"
	switch {
	case c.method == http.MethodDelete:
		m.kind = "delete"
	case !conditional:
		m.kind = "upsert"
	case m.merge:
		m.kind = "merge"
	default:
		m.kind = "replace"
	}
	if !conditional {
		if m.kind == "delete" {
			return missingHeader("If-Match")
		}
		return nil
	}
	m.ifMatch = ifMatch[0]
	// An empty value is not "no condition": that would turn a guarded write into an upsert.
	if len(ifMatch) != 1 || m.ifMatch != "*" && !etagForm.MatchString(m.ifMatch) {
		return invalidInput("The etag value '%s' specified in one of the request headers is not valid. Please make sure only one etag value is specified and is valid.", m.ifMatch)
	}
	return nil
}

// changed is the answer to a change that was made; after is nil for a deleted entity.
func (c *call) changed(m mutation, after *entity) *reply {
	rep := &reply{status: http.StatusNoContent, header: http.Header{}}
	if m.kind == "insert" {
		if withBody, _ := echo(c.header); withBody { // the header was checked when the change was read
			rep = c.json(http.StatusCreated, c.enc.document(c.res.table, after, nil))
		}
		setPreference(rep.header, c.header)
		link := c.enc.base + "/" + entityLink(c.res.table, after.pk, after.rk)
		rep.header.Set("Location", link)
		rep.header.Set("DataServiceId", link)
	}
	if after != nil {
		rep.header.Set("ETag", after.etag)
	}
	return rep
}

// setPreference confirms a Prefer header.
func setPreference(answer, request http.Header) {
	if p := request.Get("Prefer"); p != "" {
		answer.Set("Preference-Applied", p)
	}
}
