package nsg

import (
	"net/netip"
	"slices"
	"strings"
)

// Match is the answer to "does this cover that?". The order matters: a rule
// matches as badly as its worst part, a list as well as its best entry.
type Match int

const (
	No Match = iota
	Unknown
	Yes
)

// String gives "no", "unknown" or "yes".
func (m Match) String() string {
	switch m {
	case Yes:
		return "yes"
	case Unknown:
		return "unknown"
	}
	return "no"
}

// matches asks the cheap questions first: most rules fail at the port, and most
// others at the destination, which is one machine while sources are many.
func (r *Rule) matches(p *Packet, s *Surroundings) Match {
	m := min(r.matchesProtocol(p.Protocol), r.matchesPort(p))
	if m == No {
		return No
	}
	if m = min(m, matchesEnd(r.Destinations, r.DestinationASGs, p.Destination, s)); m == No {
		return No
	}
	if m = min(m, matchesEnd(r.Sources, r.SourceASGs, p.Source, s)); m == No {
		return No
	}
	if !allPorts(r.SourcePorts) {
		return Unknown // clients choose their source port
	}
	return m
}

func (r *Rule) matchesProtocol(p Protocol) Match {
	if r.Protocol == AnyProtocol || r.Protocol == p || strings.EqualFold(string(r.Protocol), string(p)) {
		return Yes
	}
	if _, known := r.Protocol.canonical(); !known {
		return Unknown
	}
	return No
}

func (r *Rule) matchesPort(p *Packet) Match {
	if !p.Protocol.hasPorts() {
		// Nothing to compare: only a rule for all ports speaks of such a packet.
		return is(allPorts(r.DestinationPorts))
	}
	return r.speaksOf(ports{p.Port, p.Port})
}

// speaksOf says whether the rule is for any of these destination ports.
func (r *Rule) speaksOf(asked ports) Match {
	best := No
	if len(r.DestinationPorts) == 0 {
		best = Unknown // ARM refuses to store such a rule
	}
	for _, text := range r.DestinationPorts {
		run, ok := parsePorts(text)
		if !ok {
			best = Unknown
		} else if run.first <= asked.last && asked.first <= run.last {
			return Yes
		}
	}
	return best
}

// hasPorts is true for "*" too: a packet of no definite protocol is compared by
// its port all the same.
func (p Protocol) hasPorts() bool {
	return p == TCP || p == UDP || p == AnyProtocol ||
		strings.EqualFold(string(p), string(TCP)) || strings.EqualFold(string(p), string(UDP))
}

func matchesEnd(list, groups []string, a netip.Addr, s *Surroundings) Match {
	best := No
	if len(list) == 0 && len(groups) == 0 {
		best = Unknown // ARM refuses to store such a rule
	}
	for _, text := range list {
		if best = max(best, matchesEntry(text, a, s)); best == Yes {
			return Yes
		}
	}
	for _, id := range groups {
		if best = max(best, s.isMember(id, a)); best == Yes {
			return Yes
		}
	}
	return best
}

func matchesEntry(text string, a netip.Addr, s *Surroundings) Match {
	kind, p := readEntry(text)
	switch kind {
	case anyAddress:
		return Yes
	case addressRange:
		return is(p.Contains(a))
	case loadBalancer:
		return is(a == hostAddress)
	case virtualNetwork:
		return s.inVirtualNetwork(a)
	case internet:
		// A network's own space may hold public ranges; the tag leaves them out.
		return is(a != hostAddress && !within(notPublic, a) && !within(s.VirtualNetwork, a))
	}
	return Unknown
}

func (s *Surroundings) inVirtualNetwork(a netip.Addr) Match {
	if a == hostAddress || within(s.VirtualNetwork, a) {
		return Yes
	}
	if len(s.VirtualNetwork) == 0 && within(notPublic, a) {
		return Unknown
	}
	return No
}

// isMember says whether an address is in an application security group. Azure
// puts only interfaces of one virtual network into a group (application security
// groups page), and what lies outside the tag's space is no interface of it.
func (s *Surroundings) isMember(id string, a netip.Addr) Match {
	if members, known := s.members(id); known {
		return is(slices.Contains(members, a))
	}
	if len(s.VirtualNetwork) > 0 && !within(s.VirtualNetwork, a) {
		return No
	}
	return Unknown
}

func (s *Surroundings) members(id string) ([]netip.Addr, bool) {
	members, known := s.ASGMembers[strings.ToLower(id)]
	return members, known
}

func is(b bool) Match {
	if b {
		return Yes
	}
	return No
}
