package policy

import (
	"strings"
	"time"

	"jitgate/internal/armid"
)

// Parse reads a document in YAML or JSON. All its faults come back at once, as
// an error of type [Faults].
func Parse(data []byte) (Document, error) {
	d, err := read(data, (*reader).document)
	if err == nil {
		d.Text = string(data)
	}
	return d, err
}

var documentKeys = []string{
	"apiVersion", "scope", "tags", "enforced", "ports", "sources", "maxDuration", "defaultDuration", "extensions", "requesters", "justification",
	"approval", "windows", "maintenance", "conditions", "breakGlass", "interfaces", "reach", "flushConnection",
}

func (r *reader) document(root field) Document {
	var d Document
	fields := r.mapping(root, documentKeys...)
	with := func(key string, what func(field)) bool {
		f, given := fields[key]
		if given {
			what(f)
		}
		return given
	}
	if f, ok := r.required(root, fields, "apiVersion"); ok {
		if d.APIVersion, ok = r.text(f); ok && d.APIVersion != APIVersion {
			r.fault(f, "apiVersion %.60q is not known; write %s.", d.APIVersion, APIVersion)
		}
	}
	if f, ok := r.required(root, fields, "scope"); ok {
		d.Scope = r.scope(f)
	}
	with("tags", func(f field) { d.Tags = r.tags(f) })
	with("enforced", func(f field) { d.Enforced = r.flag(f) })
	with("ports", func(f field) { d.Ports = r.ports(f) })
	with("sources", func(f field) { d.Sources = r.sources(f) })
	limited := with("maxDuration", func(f field) { d.MaxDuration = r.duration(f, "maxDuration", MinDuration, MaxDuration) })
	if d.Enforced {
		for _, key := range []string{"defaultDuration", "interfaces", "reach", "flushConnection"} {
			with(key, func(f field) {
				r.fault(f, "%s counts for nothing in a guardrail; write it in the policies below.", key)
			})
		}
	} else {
		r.required(root, fields, "ports")
		r.required(root, fields, "sources")
		if !limited {
			d.MaxDuration = Duration(DefaultDuration)
		}
	}
	with("defaultDuration", func(f field) { d.DefaultDuration = r.defaultDuration(f, d) })
	with("extensions", func(f field) { d.Extensions = r.extensions(f) })
	with("requesters", func(f field) { d.Requesters = r.principals(f, "roles", "groups", "users", "applications") })
	with("justification", func(f field) { d.Justification = r.justification(f) })
	with("approval", func(f field) { d.Approval = r.approval(f) })
	with("windows", func(f field) { d.Windows = r.windows(f) })
	with("maintenance", func(f field) { d.Maintenance = r.maintenance(f) })
	with("conditions", func(f field) { d.Conditions = r.conditions(f) })
	with("breakGlass", func(f field) { d.BreakGlass = r.breakGlass(f) })
	with("interfaces", func(f field) { d.Interfaces = choice(r, f, "interfaces", "primary", AllInterfaces) })
	with("reach", func(f field) { d.Reach = choice(r, f, "reach", "public", AnyReach) })
	with("flushConnection", func(f field) { d.FlushConnection = r.flag(f) })
	if len(r.faults) == 0 && d.silent() {
		r.fault(root, "The guardrail demands nothing; say what every policy below it has to keep to.")
	}
	return d
}

// silent reports whether a guardrail has nothing to say.
func (d Document) silent() bool {
	return d.Enforced && len(d.Ports)+len(d.Sources)+len(d.Conditions) == 0 && !d.timed() && d.MaxDuration == 0 &&
		d.Extensions == nil && d.Requesters == nil && d.Justification == nil && d.Approval == nil
}

// choice reads one of two words. The usual one is stored as nothing, so that
// writing it out does not make a different document.
func choice[T ~string](r *reader, f field, key, usual string, other T) T {
	text, ok := r.text(f)
	switch {
	case !ok || text == usual:
	case text == string(other):
		return other
	default:
		r.fault(f, "%s %.60q is not known; write %s or %s.", key, text, usual, other)
	}
	return ""
}

func (r *reader) scope(f field) Scope {
	text, ok := r.text(f)
	if !ok {
		return Scope{}
	}
	if text == tenantWord {
		return Tenant
	}
	id, err := armid.Parse(text)
	if err != nil {
		r.fault(f, "scope is no ARM id: %s.", reason(err, armid.ErrInvalid))
	} else if id.Type() != "" && !strings.EqualFold(id.Type(), armid.VirtualMachine) {
		r.fault(f, "scope is a %s; a policy covers the tenant, a subscription, a resource group or a VM.", id.Type())
	}
	return ScopeOf(id)
}

// duration reads one that must lie between two others.
func (r *reader) duration(f field, name string, least, most time.Duration) Duration {
	text, ok := r.text(f)
	if !ok {
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		r.fault(f, "%s is not usable: %s.", name, reason(err, ErrDuration))
	} else if d < least || d > most {
		r.fault(f, "%s is %s; it must lie between %s and %s.", name, spoken(d), spoken(least), spoken(most))
	}
	return Duration(d)
}

// defaultDuration may not be longer than what the same document allows.
func (r *reader) defaultDuration(f field, d Document) Duration {
	n := len(r.faults)
	given := r.duration(f, "defaultDuration", MinDuration, MaxDuration)
	if len(r.faults) == n && d.MaxDuration > 0 && given > d.MaxDuration {
		r.fault(f, "defaultDuration is %s, longer than maxDuration with %s.", spoken(time.Duration(given)), spoken(time.Duration(d.MaxDuration)))
	}
	return given
}

// reason is what err says beyond its sentinel.
func reason(err, sentinel error) string {
	return strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
}
