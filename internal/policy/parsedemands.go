package policy

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Bounds of texts and times in documents.
const (
	maxMessage   = 300 // characters
	maxPattern   = 500
	maxList      = 100 // principals of one kind, conditions, windows
	maxQuorum    = 10
	minWait      = 5 * time.Minute // for an approval or a review
	maxWait      = 30 * 24 * time.Hour
	defaultWait  = 4 * time.Hour
	defaultGlass = 48 * time.Hour
)

func (r *reader) tags(f field) map[string]string {
	known := len(r.Faults)
	entries := r.AnyMapping(f, "; put others in quotes")
	if len(r.Faults) == known && (len(entries) == 0 || len(entries) > maxTags) {
		r.Fault(f, "tags has %d entries; write 1 to %d of them, or leave it out.", len(entries), maxTags)
	}
	tags, folded := map[string]string{}, map[string]bool{}
	for _, e := range entries {
		name := strings.ToLower(e.Key)
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxTagName || strings.ContainsAny(name, notInTags) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
			r.Fault(e.Place, "%.60q cannot be the name of a tag: 1 to %d characters, none of %s.", e.Key, maxTagName, notInTags)
		case folded[name]:
			r.Fault(e.Place, "Tag %.60s is given twice; the case of its letters does not count.", e.Key)
		}
		folded[name] = true
		if value, ok := r.Line(e.Value, maxTagValue); ok {
			tags[e.Key] = value
		}
	}
	return tags
}

func (r *reader) requesters(f field) *Requesters {
	kinds := []string{"tenants", "roles", "groups", "users", "applications"}
	known := len(r.Faults)
	fields := r.Mapping(f, kinds...)
	who := Requesters{Tenants: r.distinct(fields["tenants"], r.tenant), Principals: r.named(fields)}
	if len(r.Faults) == known && len(who.Tenants) == 0 && who.empty() {
		r.namesNobody(f, kinds)
	}
	return &who
}

// principals must name somebody: nobody is not the same as left out.
func (r *reader) principals(f field, kinds ...string) *Principals {
	known := len(r.Faults)
	p := r.named(r.Mapping(f, kinds...))
	if len(r.Faults) == known && p.empty() {
		r.namesNobody(f, kinds)
	}
	return &p
}

func (r *reader) namesNobody(f field, kinds []string) {
	r.Fault(f, "%s names nobody; list %s, or leave it out.", f.Path, strings.Join(kinds, ", "))
}

func (r *reader) named(fields map[string]field) (p Principals) {
	for _, kind := range []struct {
		key  string
		into *[]string
		read func(field) (string, bool)
	}{{"roles", &p.Roles, r.role}, {"groups", &p.Groups, r.object}, {"users", &p.Users, r.object}, {"applications", &p.Applications, r.object}} {
		*kind.into = r.distinct(fields[kind.key], kind.read)
	}
	return p
}

// distinct reads a list of different texts.
func (r *reader) distinct(list field, read func(field) (string, bool)) (out []string) {
	for _, item := range r.bounded(list) {
		text, ok := read(item)
		if !ok {
			continue
		}
		if slices.Contains(out, text) {
			r.Fault(item, "%.60s is listed twice; keep one of them.", text)
		}
		out = append(out, text)
	}
	return out
}

var rolePattern = regexp.MustCompile(`^[!-~]{1,120}$`) // Microsoft Graph docs, appRole resource: value

func (r *reader) role(f field) (string, bool) {
	text, ok := r.Text(f)
	if ok && !rolePattern.MatchString(text) {
		r.Fault(f, "%.60q cannot be the value of an app role: 1 to 120 characters, no spaces.", text)
		return "", false
	}
	return text, ok
}

func (r *reader) object(f field) (string, bool) {
	return r.guid(f, "%.60q is no object id; write the GUID that Entra ID shows, names can change hands.")
}

func (r *reader) tenant(f field) (string, bool) {
	if text, ok := r.Text(f); ok && text == Home {
		return text, true
	}
	return r.guid(f, "%.60q is no tenant id; write the GUID that Entra ID shows, or "+Home+" for the installation's own.")
}

func (r *reader) guid(f field, fault string) (string, bool) {
	text, ok := r.Text(f)
	if !ok {
		return "", false
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		r.Fault(f, fault, text)
		return "", false
	}
	return id.String(), true
}

func (r *reader) justification(f field) *JustificationRule {
	var j JustificationRule
	fields := r.Mapping(f, "required", "pattern", "message")
	j.Required, _ = r.Flag(fields["required"])
	pattern := fields["pattern"]
	j.Pattern, _ = r.Line(pattern, maxPattern)
	var bad *syntax.Error
	if _, err := regexp.Compile(j.Pattern); errors.As(err, &bad) {
		r.Fault(pattern, "pattern is no RE2 expression: %s.", bad.Code)
	}
	j.Message, _ = r.Line(fields["message"], maxMessage)
	if fields != nil && !pattern.Given() && !j.Required {
		r.Fault(f, "justification asks for nothing; write required: true or a pattern.")
	}
	return &j
}

func (r *reader) approval(f field) *ApprovalRule {
	a := ApprovalRule{Quorum: 1, Within: Duration(defaultWait)}
	fields := r.Mapping(f, "approvers", "quorum", "within")
	if approvers, ok := fields["approvers"]; ok {
		a.Approvers = r.principals(approvers, "roles", "groups", "users", "applications")
	}
	if quorum, ok := fields["quorum"]; ok {
		if a.Quorum, ok = r.Number(quorum); ok && (a.Quorum < 1 || a.Quorum > maxQuorum) {
			r.Fault(quorum, "quorum is %d; it must lie between 1 and %d.", a.Quorum, maxQuorum)
		}
	}
	if within, ok := fields["within"]; ok {
		a.Within = r.duration(within, "within", minWait, maxWait)
	}
	return &a
}

// maxExtensions keeps an access from being carried on from minute to minute.
const maxExtensions = 20

func (r *reader) extensions(f field) *int {
	n, ok := r.Number(f)
	if ok && (n < 0 || n > maxExtensions) {
		r.Fault(f, "extensions is %d; it must lie between 0 and %d.", n, maxExtensions)
	}
	return &n
}

func (r *reader) breakGlass(f field) *BreakGlassRule {
	b := BreakGlassRule{ReviewWithin: Duration(defaultGlass)}
	fields := r.Mapping(f, "requesters", "reviewWithin")
	if requesters := r.Required(f, fields, "requesters"); requesters.Given() {
		b.Requesters = *r.principals(requesters, "roles", "groups", "users")
	}
	if within, ok := fields["reviewWithin"]; ok {
		b.ReviewWithin = r.duration(within, "reviewWithin", minWait, maxWait)
	}
	return &b
}

// bounded is a list of at most maxList entries.
func (r *reader) bounded(list field) []field {
	items := r.Sequence(list, "leave it out or fill it")
	if len(items) > maxList {
		r.Fault(list, "%s has %d entries; at most %d are read.", list.Path, len(items), maxList)
		return nil
	}
	return items
}
