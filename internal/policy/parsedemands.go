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
	known := len(r.faults)
	entries := r.anyMapping(f, "; put others in quotes")
	if len(r.faults) == known && (len(entries) == 0 || len(entries) > maxTags) {
		r.fault(f, "tags has %d entries; write 1 to %d of them, or leave it out.", len(entries), maxTags)
	}
	tags, folded := map[string]string{}, map[string]bool{}
	for _, e := range entries {
		name := strings.ToLower(e.key)
		switch {
		case name == "" || utf8.RuneCountInString(name) > maxTagName || strings.ContainsAny(name, notInTags) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
			r.fault(e.place, "%.60q cannot be the name of a tag: 1 to %d characters, none of %s.", e.key, maxTagName, notInTags)
		case folded[name]:
			r.fault(e.place, "Tag %.60s is given twice; the case of its letters does not count.", e.key)
		}
		folded[name] = true
		if value, ok := r.line(e.value, maxTagValue); ok {
			tags[e.key] = value
		}
	}
	return tags
}

// principals must name somebody: nobody is not the same as left out.
func (r *reader) principals(f field, kinds ...string) *Principals {
	var p Principals
	known := len(r.faults)
	fields := r.mapping(f, kinds...)
	for _, kind := range []struct {
		key  string
		into *[]string
		read func(field) (string, bool)
	}{{"roles", &p.Roles, r.role}, {"groups", &p.Groups, r.object}, {"users", &p.Users, r.object}, {"applications", &p.Applications, r.object}} {
		if list, ok := fields[kind.key]; ok {
			*kind.into = r.distinct(list, kind.read)
		}
	}
	if len(r.faults) == known && p.empty() {
		r.fault(f, "%s names nobody; list %s, or leave it out.", f.path, strings.Join(kinds, ", "))
	}
	return &p
}

// distinct reads a list of different texts.
func (r *reader) distinct(list field, read func(field) (string, bool)) (out []string) {
	for _, item := range r.bounded(list) {
		text, ok := read(item)
		if !ok {
			continue
		}
		if slices.Contains(out, text) {
			r.fault(item, "%.60s is listed twice; keep one of them.", text)
		}
		out = append(out, text)
	}
	return out
}

var rolePattern = regexp.MustCompile(`^[!-~]{1,120}$`) // Microsoft Graph docs, appRole resource: value

func (r *reader) role(f field) (string, bool) {
	text, ok := r.text(f)
	if ok && !rolePattern.MatchString(text) {
		r.fault(f, "%.60q cannot be the value of an app role: 1 to 120 characters, no spaces.", text)
		return "", false
	}
	return text, ok
}

func (r *reader) object(f field) (string, bool) {
	text, ok := r.text(f)
	if !ok {
		return "", false
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		r.fault(f, "%.60q is no object id; write the GUID that Entra ID shows, names can change hands.", text)
		return "", false
	}
	return id.String(), true
}

func (r *reader) justification(f field) *JustificationRule {
	var j JustificationRule
	fields := r.mapping(f, "required", "pattern", "message")
	if required, ok := fields["required"]; ok {
		j.Required = r.flag(required)
	}
	if pattern, ok := fields["pattern"]; ok {
		if j.Pattern, ok = r.line(pattern, maxPattern); ok {
			var bad *syntax.Error
			if _, err := regexp.Compile(j.Pattern); errors.As(err, &bad) {
				r.fault(pattern, "pattern is no RE2 expression: %s.", bad.Code)
			}
		}
	}
	if message, ok := fields["message"]; ok {
		j.Message, _ = r.line(message, maxMessage)
	}
	_, patterned := fields["pattern"]
	if fields != nil && !patterned && !j.Required {
		r.fault(f, "justification asks for nothing; write required: true or a pattern.")
	}
	return &j
}

func (r *reader) approval(f field) *ApprovalRule {
	a := ApprovalRule{Quorum: 1, Within: Duration(defaultWait)}
	fields := r.mapping(f, "approvers", "quorum", "within")
	if approvers, ok := fields["approvers"]; ok {
		a.Approvers = r.principals(approvers, "roles", "groups", "users", "applications")
	}
	if quorum, ok := fields["quorum"]; ok {
		if a.Quorum, ok = r.number(quorum); ok && (a.Quorum < 1 || a.Quorum > maxQuorum) {
			r.fault(quorum, "quorum is %d; it must lie between 1 and %d.", a.Quorum, maxQuorum)
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
	n, ok := r.number(f)
	if ok && (n < 0 || n > maxExtensions) {
		r.fault(f, "extensions is %d; it must lie between 0 and %d.", n, maxExtensions)
	}
	return &n
}

func (r *reader) breakGlass(f field) *BreakGlassRule {
	b := BreakGlassRule{ReviewWithin: Duration(defaultGlass)}
	fields := r.mapping(f, "requesters", "reviewWithin")
	if requesters, ok := r.required(f, fields, "requesters"); ok {
		b.Requesters = *r.principals(requesters, "roles", "groups", "users")
	}
	if within, ok := fields["reviewWithin"]; ok {
		b.ReviewWithin = r.duration(within, "reviewWithin", minWait, maxWait)
	}
	return &b
}

// bounded is a list of at most maxList entries.
func (r *reader) bounded(list field) []field {
	items := r.sequence(list, "leave it out or fill it")
	if len(items) > maxList {
		r.fault(list, "%s has %d entries; at most %d are read.", list.path, len(items), maxList)
		return nil
	}
	return items
}
