package nsg

import (
	"bytes"
	"net/netip"
	"slices"
)

// Space is a set of source addresses, of both families. The zero value is empty.
type Space struct{ spans []span }

// Internet is what a packet from the internet can bear as its source: every
// address but the ranges that are not public, the virtual network's own space
// and the host's address. It is what Azure's Internet tag stands for.
func Internet(s Surroundings) Space { return Space{s.internet()} }

// InVirtualNetwork is what the VirtualNetwork tag stands for: the space in s and
// the host's address. It is empty if the space is not known.
func InVirtualNetwork(s Surroundings) Space {
	if len(s.VirtualNetwork) == 0 {
		return Space{}
	}
	return Space{s.network()}
}

// From is the addresses of a prefix. Host bits are ignored, IPv4 written as IPv6
// is IPv4; a prefix that is invalid or spans both kinds has none.
func From(p netip.Prefix) Space {
	if !p.IsValid() {
		return Space{}
	}
	p, ok := unmap(p)
	if !ok {
		return Space{}
	}
	return Space{[]span{spanOf(p)}}
}

// Prefixes writes the space with as few prefixes as possible, in order, IPv4
// first.
func (s Space) Prefixes() []netip.Prefix { return prefixes(s.spans) }

// family leaves the addresses that can talk to a.
func (s Space) family(a netip.Addr) []span {
	var same []span
	for _, x := range s.spans {
		if x.first.BitLen() == a.BitLen() {
			same = append(same, x)
		}
	}
	return same
}

// span is a run of addresses of one family, both ends included. Sets of
// addresses are sorted spans that neither overlap nor touch.
type span struct{ first, last netip.Addr }

func spanOf(p netip.Prefix) span {
	p = p.Masked()
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return span{p.Addr(), last}
}

func spansOf(list []netip.Prefix) []span {
	var spans []span
	for _, p := range list {
		if p.IsValid() {
			spans = append(spans, spanOf(p))
		}
	}
	return merge(spans)
}

var (
	everything = []span{
		spanOf(netip.MustParsePrefix("0.0.0.0/0")),
		spanOf(netip.MustParsePrefix("::/0")),
	}
	host   = []span{{hostAddress, hostAddress}}
	public = subtract(subtract(everything, spansOf(notPublic)), host)
)

// merge makes a set of spans in any order; it works in place.
func merge(spans []span) []span {
	// A run never crosses families: all of IPv4 sorts before IPv6, and the
	// address after the last of a family is invalid and equals no other.
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 {
			end := &merged[n-1].last
			if s.first.Compare(*end) <= 0 || s.first == end.Next() {
				if s.last.Compare(*end) > 0 {
					*end = s.last
				}
				continue
			}
		}
		merged = append(merged, s)
	}
	return merged
}

func union(a, b []span) []span {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return merge(slices.Concat(a, b))
}

// reaching gives the part of a set that begins with the first span not wholly
// before x: sets are long where rules are many, and what is looked for is short.
func reaching(set []span, x span) []span {
	i, _ := slices.BinarySearchFunc(set, x.first, func(s span, at netip.Addr) int { return s.last.Compare(at) })
	return set[i:]
}

func intersect(a, b []span) []span {
	if len(a) < len(b) {
		a, b = b, a
	}
	var common []span
	for _, x := range b {
		for _, y := range reaching(a, x) {
			if y.first.Compare(x.last) > 0 {
				break
			}
			common = append(common, span{later(x.first, y.first), earlier(x.last, y.last)})
		}
	}
	return common
}

// subtract gives what of a is not in b.
func subtract(a, b []span) []span {
	if len(b) == 0 {
		return a
	}
	var rest []span
	for _, x := range a {
		from, open := x.first, true
		for _, y := range reaching(b, x) {
			if y.first.Compare(x.last) > 0 {
				break
			}
			if y.first.Compare(from) > 0 {
				rest = append(rest, span{from, y.first.Prev()})
			}
			// At the end of a family there is no next address, nor is it needed.
			if open = y.last.Compare(x.last) < 0; !open {
				break
			}
			from = y.last.Next()
		}
		if open {
			rest = append(rest, span{from, x.last})
		}
	}
	return rest
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}

func later(a, b netip.Addr) netip.Addr {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

// prefixes covers each span by the largest aligned blocks, which is the fewest
// since spans of a set do not touch.
func prefixes(set []span) []netip.Prefix {
	var cover []netip.Prefix
	for _, s := range set {
		last := s.last.AsSlice()
		for at := s.first; at.IsValid() && at.Compare(s.last) <= 0; {
			// A block twice as wide needs one more zero at the end of its first
			// address, and a one there in its last.
			end, bits := at.AsSlice(), at.BitLen()
			for ; bits > 0; bits-- {
				octet, bit := &end[(bits-1)/8], byte(0x80)>>((bits-1)%8)
				if *octet&bit != 0 {
					break
				}
				if *octet |= bit; bytes.Compare(end, last) > 0 {
					*octet &^= bit
					break
				}
			}
			cover = append(cover, netip.PrefixFrom(at, bits))
			final, _ := netip.AddrFromSlice(end)
			at = final.Next()
		}
	}
	return cover
}

// network is what the VirtualNetwork tag covers as far as it is known.
func (s *Surroundings) network() []span { return union(spansOf(s.VirtualNetwork), host) }

func (s *Surroundings) internet() []span { return subtract(public, spansOf(s.VirtualNetwork)) }

// addressesOf turns one end of a rule into the addresses that it certainly
// covers and those that it may. It says the same as matchesEnd of every address.
func (s *Surroundings) addressesOf(list, groups []string) (sure, perhaps []span) {
	var spans []span
	if len(list) == 0 && len(groups) == 0 {
		return nil, everything
	}
	for _, text := range list {
		kind, p := readEntry(text)
		switch kind {
		case anyAddress:
			return everything, nil
		case addressRange:
			spans = append(spans, spanOf(p))
		case loadBalancer:
			spans = append(spans, host...)
		case virtualNetwork:
			spans = append(spans, s.network()...)
			if len(s.VirtualNetwork) == 0 {
				perhaps = union(perhaps, spansOf(notPublic))
			}
		case internet:
			spans = append(spans, s.internet()...)
		default:
			perhaps = everything
		}
	}
	for _, id := range groups {
		members, known := s.membersOf(id)
		if !known {
			perhaps = union(perhaps, members)
			continue
		}
		spans = append(spans, members...)
	}
	sure = merge(spans)
	return sure, subtract(perhaps, sure)
}

// membersOf gives the addresses in an application security group or, if it is
// not known, those that could be in it; see isMember.
func (s *Surroundings) membersOf(id string) (spans []span, known bool) {
	members, known := s.members(id)
	switch {
	case known:
		for _, a := range members {
			if a.IsValid() {
				spans = append(spans, span{a, a})
			}
		}
		return merge(spans), true
	case len(s.VirtualNetwork) == 0:
		return everything, false
	}
	return spansOf(s.VirtualNetwork), false
}
