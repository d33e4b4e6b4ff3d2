package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"jitgate/internal/armid"
)

// Parse reads a document in YAML or JSON. All its faults come back at once, as
// an error of type [Faults].
func Parse(data []byte) (Document, error) {
	root, faults := load(data)
	if len(faults) > 0 {
		return Document{}, faults
	}
	r := &reader{}
	d := r.document(root)
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return Document{}, r.faults[:min(len(r.faults), maxFaults)]
	}
	d.Text = string(data)
	return d, nil
}

func (r *reader) document(root field) Document {
	d := Document{MaxDuration: Duration(DefaultDuration)}
	fields := r.mapping(root, "apiVersion", "scope", "ports", "sources", "maxDuration", "interfaces", "reach")
	if f, ok := r.required(root, fields, "apiVersion"); ok {
		if d.APIVersion, ok = r.text(f); ok && d.APIVersion != APIVersion {
			r.fault(f, "apiVersion %.60q is not known; write %s.", d.APIVersion, APIVersion)
		}
	}
	if f, ok := r.required(root, fields, "scope"); ok {
		d.Scope = r.scope(f)
	}
	if f, ok := r.required(root, fields, "ports"); ok {
		d.Ports = r.ports(f)
	}
	if f, ok := r.required(root, fields, "sources"); ok {
		d.Sources = r.sources(f)
	}
	if f, ok := fields["maxDuration"]; ok {
		d.MaxDuration = r.duration(f)
	}
	if f, ok := fields["interfaces"]; ok {
		d.Interfaces = choice(r, f, "interfaces", "primary", AllInterfaces)
	}
	if f, ok := fields["reach"]; ok {
		d.Reach = choice(r, f, "reach", "public", AnyReach)
	}
	return d
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

func (r *reader) scope(f field) armid.ID {
	text, ok := r.text(f)
	if !ok {
		return armid.ID{}
	}
	id, err := armid.Parse(text)
	if err != nil {
		r.fault(f, "scope is no ARM id: %s.", reason(err, armid.ErrInvalid))
	} else if id.Type() != "" && !strings.EqualFold(id.Type(), armid.VirtualMachine) {
		r.fault(f, "scope is a %s; a policy covers a subscription, a resource group or a VM.", id.Type())
	}
	return id
}

func (r *reader) ports(list field) (ports []Port) {
	for _, item := range r.sequence(list) {
		fields := r.mapping(item, "port", "protocol")
		numberField, hasNumber := r.required(item, fields, "port")
		protocolField, hasProtocol := r.required(item, fields, "protocol")
		number, protocol := 0, Protocol("")
		if hasNumber {
			if number, hasNumber = r.number(numberField); hasNumber && (number < 1 || number > 65535) {
				r.fault(numberField, "Port %d does not lie between 1 and 65535.", number)
				hasNumber = false
			}
		}
		if hasProtocol {
			var text string
			if text, hasProtocol = r.text(protocolField); hasProtocol {
				var err error
				if protocol, err = ParseProtocol(text); err != nil {
					r.fault(protocolField, `Protocol %.60q is not known; write TCP, UDP or "*" in quotes.`, text)
					hasProtocol = false
				}
			}
		}
		if !hasNumber || !hasProtocol {
			continue
		}
		port := Port{uint16(number), protocol}
		for _, other := range ports {
			if other.covers(port) || port.covers(other) {
				r.fault(numberField, "Port %s is listed twice, the other time as %s; keep one of them.", port, other)
				break
			}
		}
		ports = append(ports, port)
	}
	return ports
}

func (r *reader) sources(list field) (sources []Source) {
	seen := map[netip.Prefix]bool{}
	for _, item := range r.sequence(list) {
		fields := r.mapping(item, "range", "widest")
		rangeField, ok := r.required(item, fields, "range")
		if !ok {
			continue
		}
		text, ok := r.text(rangeField)
		if !ok {
			continue
		}
		p, err := parseRange(text)
		switch {
		case errors.Is(err, ErrSourceHostBits):
			r.fault(rangeField, "Range has host bits set: %s.", reason(err, ErrSourceHostBits))
			continue
		case err != nil:
			r.fault(rangeField, "%.60q is no IPv4 or IPv6 address or CIDR range.", text)
			continue
		case seen[p]:
			r.fault(rangeField, "Range %s is listed twice; keep one of them.", p)
		}
		seen[p] = true
		s := Source{Range: p, Widest: p.Bits()}
		if widest, ok := fields["widest"]; ok {
			s.Widest = r.widest(widest, p)
		} else if p.Bits() == 0 {
			r.fault(rangeField, "Range %s is everybody; say with widest how much of it one ask may name (%d for one address, 0 for all of it).", p, p.Addr().BitLen())
		}
		sources = append(sources, s)
	}
	return sources
}

func (r *reader) widest(f field, p netip.Prefix) int {
	n, ok := r.number(f)
	if ok && (n < p.Bits() || n > p.Addr().BitLen()) {
		r.fault(f, "widest is a prefix length within %s, so between %d and %d.", p, p.Bits(), p.Addr().BitLen())
	}
	return n
}

func (r *reader) duration(f field) Duration {
	text, ok := r.text(f)
	if !ok {
		return 0
	}
	d, err := ParseDuration(text)
	if err != nil {
		r.fault(f, "maxDuration is not usable: %s.", reason(err, ErrDuration))
	} else if d < MinDuration || d > MaxDuration {
		r.fault(f, "maxDuration is %s; it must lie between %s and %s.", spoken(d), spoken(MinDuration), spoken(MaxDuration))
	}
	return Duration(d)
}

// reason is what err says beyond its sentinel.
func reason(err, sentinel error) string {
	return strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
}

// reader walks a document and collects what is wrong with it.
type reader struct{ faults Faults }

func (r *reader) fault(f field, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: f.line, Column: f.column, Path: f.path, Sentence: fmt.Sprintf(format, args...)})
}
