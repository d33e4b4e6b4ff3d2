package policy

import (
	"errors"
	"net/netip"
	"slices"
)

func (r *reader) ports(list field) (ports []Port) {
	for _, item := range r.Sequence(list, "a policy that allows nothing is no policy") {
		fields := r.Mapping(item, "port", "protocol")
		numberField, protocolField := r.Required(item, fields, "port"), r.Required(item, fields, "protocol")
		number, hasNumber := r.Number(numberField)
		if hasNumber && (number < 1 || number > 65535) {
			r.Fault(numberField, "Port %d does not lie between 1 and 65535.", number)
			hasNumber = false
		}
		text, hasProtocol := r.Text(protocolField)
		protocol, err := ParseProtocol(text)
		if hasProtocol && err != nil {
			r.Fault(protocolField, `Protocol %.60q is not known; write TCP, UDP or "*" in quotes.`, text)
		}
		if !hasNumber || !hasProtocol || err != nil {
			continue
		}
		port := Port{uint16(number), protocol}
		for _, other := range ports {
			if other.covers(port) || port.covers(other) {
				r.Fault(numberField, "Port %s is listed twice, the other time as %s; keep one of them.", port, other)
				break
			}
		}
		ports = append(ports, port)
	}
	return ports
}

// everybody is what {any: true} stands for.
var everybody = []Source{{netip.MustParsePrefix("0.0.0.0/0"), 0}, {netip.MustParsePrefix("::/0"), 0}}

func (r *reader) sources(list field) (sources []Source) {
	for _, item := range r.Sequence(list, "a policy that allows nothing is no policy") {
		fields := r.Mapping(item, "range", "widest", "any")
		read := r.source
		if _, ok := fields["any"]; ok {
			read = r.anySource
		}
		for _, s := range read(item, fields) {
			if slices.ContainsFunc(sources, func(other Source) bool { return other.Range == s.Range }) {
				at := item
				if f, ok := fields["range"]; ok {
					at = f
				}
				r.Fault(at, "Range %s is listed twice; keep one of them.", s.Range)
			}
			sources = append(sources, s)
		}
	}
	return sources
}

func (r *reader) anySource(item field, fields map[string]field) []Source {
	for _, key := range []string{"range", "widest"} {
		if f, ok := fields[key]; ok {
			r.Fault(f, "%s says less than any; leave one of them out.", key)
			return nil
		}
	}
	if f := fields["any"]; !f.IsTrue() {
		r.Fault(f, "any is true or not there at all; write any: true to allow everybody.")
		return nil
	}
	return everybody
}

func (r *reader) source(item field, fields map[string]field) []Source {
	rangeField := r.Required(item, fields, "range")
	text, ok := r.Text(rangeField)
	if !ok {
		return nil
	}
	p, err := parseRange(text)
	switch {
	case errors.Is(err, ErrSourceHostBits):
		r.Fault(rangeField, "Range has host bits set: %s.", reason(err, ErrSourceHostBits))
		return nil
	case err != nil:
		r.Fault(rangeField, "%.60q is no IPv4 or IPv6 address or CIDR range.", text)
		return nil
	}
	s := Source{Range: p, Widest: p.Bits()}
	if widest, ok := fields["widest"]; ok {
		s.Widest = r.widest(widest, p)
	} else if p.Bits() == 0 {
		r.Fault(rangeField, "Range %s is everybody; say with widest how much of it one ask may name (%d for one address, 0 for all of it).", p, p.Addr().BitLen())
	}
	return []Source{s}
}

func (r *reader) widest(f field, p netip.Prefix) int {
	n, ok := r.Number(f)
	if ok && (n < p.Bits() || n > p.Addr().BitLen()) {
		r.Fault(f, "widest is a prefix length within %s, so between %d and %d.", p, p.Bits(), p.Addr().BitLen())
	}
	return n
}
