package alert

import (
	"slices"
	"strings"

	"jitgate/internal/strictyaml"
)

type (
	field  = strictyaml.Field
	reader struct{ strictyaml.Reader }
)

// ParseRules reads a rules document in YAML or JSON. All its faults come back at
// once, as an error of type [strictyaml.Faults].
func ParseRules(data []byte) (Rules, error) {
	var r reader
	return strictyaml.Read(data, &r.Reader, r.document)
}

func (r *reader) document(root field) (rules Rules) {
	fields := r.Mapping(root, "apiVersion", "rules")
	version := r.Required(root, fields, "apiVersion")
	if text, ok := r.Text(version); ok && text != APIVersion {
		r.Fault(version, "apiVersion %.60q is not known; write %s.", text, APIVersion)
	}
	seen := map[string]bool{}
	for _, item := range r.Sequence(r.Required(root, fields, "rules"), "") {
		rules.rules = append(rules.rules, r.rule(item, seen))
	}
	return rules
}

func (r *reader) rule(at field, seen map[string]bool) (one rule) {
	fields := r.Mapping(at, "name", "when", "do", "allow")
	if fields == nil {
		return one
	}
	one.name = r.name(r.Required(at, fields, "name"), seen)
	var fromOwn bool
	one.when, fromOwn = r.when(r.Required(at, fields, "when"))
	do, allow := fields["do"], fields["allow"]
	switch {
	case fromOwn && !allow.Given():
		r.Missing(at, "allow", "; say which of revoke, lockdown, unlock and preapprove these sources may ask for")
	case !fromOwn && allow.Given():
		r.Fault(allow, "allow belongs to a rule with when.source; Azure Monitor's alerts ask for nothing, write do.")
	}
	known := func(text string) bool { return slices.Contains(verbs, Verb(text)) }
	for _, verb := range r.texts(allow, known, "%.60q is not known; write revoke, lockdown, unlock or preapprove.") {
		one.allow = append(one.allow, Verb(verb))
	}
	switch {
	case do.Given():
		r.do(do, fromOwn, &one)
	case !fromOwn:
		r.Missing(at, "do", "")
	case slices.Contains(one.allow, PreApprove):
		r.Missing(at, "do", "; say in do.preapprove what is pre-approved")
	}
	return one
}

func (r *reader) name(f field, seen map[string]bool) string {
	text, ok := r.Text(f)
	switch {
	case !ok:
	case !printable(text, 64):
		r.Fault(f, "A name has 1 to 64 printable characters.")
	case seen[text]:
		r.Fault(f, "The name %q is given twice; keep one of them.", text)
	}
	seen[text] = true
	return text
}

// texts reads a list of texts that fit, in lower case; complaint quotes one that
// does not.
func (r *reader) texts(list field, fits func(string) bool, complaint string) (out []string) {
	for _, item := range r.Sequence(list, "leave it out, or list something") {
		text, ok := r.Text(item)
		if ok && !fits(text) {
			r.Fault(item, complaint, text)
		}
		out = append(out, strings.ToLower(text))
	}
	return out
}
