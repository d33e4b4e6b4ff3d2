package policy

import (
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/strictyaml"
)

// MaxSize of a document in bytes.
const MaxSize = strictyaml.MaxSize

// What is wrong with a document.
type (
	Fault  = strictyaml.Fault
	Faults = strictyaml.Faults
)

type (
	field  = strictyaml.Field
	reader struct{ strictyaml.Reader }
)

// Parse reads a document in YAML or JSON. All its faults come back at once, as
// an error of type [Faults].
func Parse(data []byte) (Document, error) {
	var r reader
	d, err := strictyaml.Read(data, &r.Reader, r.document)
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
	d := Document{APIVersion: APIVersion}
	fields := r.Mapping(root, documentKeys...)
	with := func(key string, what func(field)) bool {
		f, given := fields[key]
		if given {
			what(f)
		}
		return given
	}
	version := r.Required(root, fields, "apiVersion")
	if text, ok := r.Text(version); ok && text != APIVersion {
		r.Fault(version, "apiVersion %.60q is not known; write %s.", text, APIVersion)
	}
	d.Scope = r.scope(r.Required(root, fields, "scope"))
	with("tags", func(f field) { d.Tags = r.tags(f) })
	d.Enforced, _ = r.Flag(fields["enforced"])
	d.Ports = r.ports(fields["ports"])
	d.Sources = r.sources(fields["sources"])
	limited := with("maxDuration", func(f field) { d.MaxDuration = r.duration(f, "maxDuration", MinDuration, MaxDuration) })
	if d.Enforced {
		for _, key := range []string{"defaultDuration", "interfaces", "reach", "flushConnection"} {
			with(key, func(f field) {
				r.Fault(f, "%s counts for nothing in a guardrail; write it in the policies below.", key)
			})
		}
	} else {
		r.Required(root, fields, "ports")
		r.Required(root, fields, "sources")
		if !limited {
			d.MaxDuration = Duration(DefaultDuration)
		}
	}
	with("defaultDuration", func(f field) { d.DefaultDuration = r.defaultDuration(f, d) })
	with("extensions", func(f field) { d.Extensions = r.extensions(f) })
	with("requesters", func(f field) { d.Requesters = r.requesters(f) })
	with("justification", func(f field) { d.Justification = r.justification(f) })
	with("approval", func(f field) { d.Approval = r.approval(f) })
	d.Windows = r.windows(fields["windows"])
	d.Maintenance = r.maintenance(fields["maintenance"])
	d.Conditions = r.conditions(fields["conditions"])
	with("breakGlass", func(f field) { d.BreakGlass = r.breakGlass(f) })
	d.Interfaces = choice(r, fields["interfaces"], "interfaces", "primary", AllInterfaces)
	d.Reach = choice(r, fields["reach"], "reach", "public", AnyReach)
	d.FlushConnection, _ = r.Flag(fields["flushConnection"])
	if len(r.Faults) == 0 && d.silent() {
		r.Fault(root, "The guardrail demands nothing; say what every policy below it has to keep to.")
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
	text, ok := r.Text(f)
	switch {
	case !ok || text == usual:
	case text == string(other):
		return other
	default:
		r.Fault(f, "%s %.60q is not known; write %s or %s.", key, text, usual, other)
	}
	return ""
}

func (r *reader) scope(f field) Scope {
	text, ok := r.Text(f)
	if !ok {
		return Scope{}
	}
	if text == tenantWord {
		return Tenant
	}
	id, err := armid.Parse(text)
	if err != nil {
		r.Fault(f, "scope is no ARM id: %s.", reason(err, armid.ErrInvalid))
	} else if id.Type() != "" && !strings.EqualFold(id.Type(), armid.VirtualMachine) {
		r.Fault(f, "scope is a %s; a policy covers the tenant, a subscription, a resource group or a VM.", id.Type())
	}
	return ScopeOf(id)
}

// duration reads one that must lie between two others.
func (r *reader) duration(f field, name string, least, most time.Duration) Duration {
	text, ok := r.Text(f)
	if !ok {
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		r.Fault(f, "%s is not usable: %s.", name, reason(err, ErrDuration))
	} else if d < least || d > most {
		r.Fault(f, "%s is %s; it must lie between %s and %s.", name, spoken(d), spoken(least), spoken(most))
	}
	return Duration(d)
}

// defaultDuration may not be longer than what the same document allows.
func (r *reader) defaultDuration(f field, d Document) Duration {
	n := len(r.Faults)
	given := r.duration(f, "defaultDuration", MinDuration, MaxDuration)
	if len(r.Faults) == n && d.MaxDuration > 0 && given > d.MaxDuration {
		r.Fault(f, "defaultDuration is %s, longer than maxDuration with %s.", spoken(time.Duration(given)), spoken(time.Duration(d.MaxDuration)))
	}
	return given
}

// reason is what err says beyond its sentinel.
func reason(err, sentinel error) string {
	return strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
}
