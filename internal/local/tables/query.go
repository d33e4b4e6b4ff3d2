package tables

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Limits on one page. The service also ends a page when it has searched long enough, so a page may be short or even
// empty and still carry a token; here that is a number of rows looked at, to be the same in every run.
const (
	maxPage    = 1000
	maxScanned = 5000
	maxSelect  = 255
)

// querySpec is a parsed query string.
type querySpec struct {
	filter         node
	partitions     span
	rows           span
	selected       []string // nil is everything
	top            int
	fromPK, fromRK string // where the page starts; "" is before every key
}

func parseQuery(q url.Values) (querySpec, error) {
	spec := querySpec{top: maxPage}
	filter, err := parseFilter(q.Get("$filter"))
	if err != nil {
		return spec, err
	}
	spec.filter = filter
	spec.partitions = keySpan(filter, "PartitionKey")
	spec.rows = keySpan(filter, "RowKey")
	if spec.selected, err = parseSelect(q.Get("$select")); err != nil {
		return spec, err
	}
	if q.Has("$top") {
		n, err := strconv.Atoi(q.Get("$top"))
		if err != nil || n < 1 || n > maxPage {
			return spec, invalidInput("$top must be a number from 1 to %d.", maxPage)
		}
		spec.top = n
	}
	if spec.fromPK, err = decodeToken(q.Get("NextPartitionKey")); err != nil {
		return spec, err
	}
	spec.fromRK, err = decodeToken(q.Get("NextRowKey"))
	return spec, err
}

func parseSelect(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	var names []string
	seen := map[string]bool{}
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			return nil, nil
		}
		if checkPropertyName(name) != nil {
			return nil, errQuerySyntax
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if len(names) > maxSelect {
		return nil, invalidInput("$select may name at most %d properties.", maxSelect)
	}
	return names, nil
}

// encodeToken makes a key opaque and fit for a header, in the look of the service's own tokens. The empty key gets a
// non-empty token, because clients take an empty header for the end of the results.
func encodeToken(key string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(key))
	return "1!" + strconv.Itoa(len(text)) + "!" + text
}

func decodeToken(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	length, text, _ := strings.Cut(strings.TrimPrefix(token, "1!"), "!")
	key, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || length != strconv.Itoa(len(text)) || !strings.HasPrefix(token, "1!") {
		return "", refuse(400, "InvalidQueryParameterValue", "The continuation token is not one this service has issued.")
	}
	return string(key), nil
}

// page is the outcome of one query request.
type page struct {
	rows           []*entity
	more           bool
	nextPK, nextRK string // first row not looked at, when more
	scanned        int
}

// query collects one page in key order.
func (s *store) query(name string, spec querySpec) (page, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out page
	t, err := s.find(name)
	if err != nil {
		return out, err
	}
	firstPartition, endPartition := bounds(&t.partitions, spec.partitions, spec.fromPK)
	for _, pk := range t.partitions.keys[firstPartition:endPartition] {
		rows := &t.partitions.items[pk].rows
		from := ""
		if pk == spec.fromPK {
			from = spec.fromRK
		}
		first, end := bounds(rows, spec.rows, from)
		for _, rk := range rows.keys[first:end] {
			if len(out.rows) == spec.top || out.scanned == maxScanned {
				out.more, out.nextPK, out.nextRK = true, pk, rk
				return out, nil
			}
			out.scanned++
			e := rows.items[rk]
			if spec.filter == nil || spec.filter.matches(e) {
				out.rows = append(out.rows, e)
			}
		}
	}
	return out, nil
}

func (s *Server) queryEntities(c *call) (*reply, error) {
	spec, err := parseQuery(c.query)
	if err != nil {
		return nil, err
	}
	op := Op{Kind: "query", Table: c.res.table, PartitionKey: spec.partitions.exact(), RowKey: spec.rows.exact(), Operations: 1}
	return s.perform(op, func() (*reply, error) {
		found, err := s.store.query(c.res.table, spec)
		if err != nil {
			return nil, err
		}
		b := c.enc.context([]byte{'{'}, c.res.table)
		b = append(b, `"value":[`...)
		for i, e := range found.rows {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.enc.entity(append(b, '{'), c.res.table, e, spec.selected)
		}
		rep := c.json(http.StatusOK, append(b, "]}"...))
		if found.more {
			rep.header.Set("x-ms-continuation-NextPartitionKey", encodeToken(found.nextPK))
			rep.header.Set("x-ms-continuation-NextRowKey", encodeToken(found.nextRK))
		}
		return rep, nil
	})
}

func (s *Server) getEntity(c *call) (*reply, error) {
	selected, err := parseSelect(c.query.Get("$select"))
	if err != nil {
		return nil, err
	}
	op := Op{Kind: "get", Table: c.res.table, PartitionKey: c.res.pk, RowKey: c.res.rk, Operations: 1}
	return s.perform(op, func() (*reply, error) {
		e, err := s.store.get(c.res.table, c.res.pk, c.res.rk)
		if err != nil {
			return nil, err
		}
		rep := c.json(http.StatusOK, c.enc.document(c.res.table, e, selected))
		rep.header.Set("ETag", e.etag)
		return rep, nil
	})
}
