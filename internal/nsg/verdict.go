package nsg

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first packet of an inbound connection as it arrives at the
// network interface: the destination is the private address, because Azure
// translates public addresses before it applies inbound rules. The source port
// is not known beforehand and not part of it. Protocol is a definite one; "*"
// matches only rules for any protocol. Icmp, Esp and Ah have no ports, for them
// Port is ignored.
type Packet struct {
	Source, Destination netip.Addr
	Port                uint16
	Protocol            Protocol
}

// Surroundings says what the names in rules stand for at one machine.
type Surroundings struct {
	// VirtualNetwork is the space of the VirtualNetwork tag: the network's own
	// prefixes, those of its peers and of connected sites, and the prefixes of
	// user-defined routes. Empty means not known: private addresses can then not
	// be judged by the tag, public ones count as outside. The host's virtual
	// address belongs to the tag without being listed.
	VirtualNetwork []netip.Prefix
	// ASGMembers lists the private addresses in each application security
	// group, by lower-cased resource id. An absent group is not known, an empty
	// one has no members.
	ASGMembers map[string][]netip.Addr
}

// Verdict of one group: what the first matching rule does. Without any match
// Access is Deny and Rule is zero; Azure's default rules leave no such gap.
type Verdict struct {
	Access Access
	Rule   Rule
	// Depends names the rules above the deciding one that could match but could
	// not be judged (an unknown tag or group, restricted source ports, an entry
	// that is no address), in order of priority. They were passed over; while it
	// is not empty, the verdict holds only if none of them matches in Azure.
	Depends []string
}

// Decide finds the inbound rule that decides about p, custom and default rules
// together, lowest priority number first. Azure allows no two rules of one
// priority; should they occur here, the denying one is taken. A packet without
// a source or destination is denied.
func (g Group) Decide(p Packet, s Surroundings) Verdict {
	p.Source, p.Destination = p.Source.Unmap(), p.Destination.Unmap()
	if !p.Source.IsValid() || !p.Destination.IsValid() {
		return Verdict{Access: Deny}
	}
	var decider *Rule
	var unjudged []*Rule
	for _, rules := range [...][]Rule{g.Rules, g.Defaults} {
		for i := range rules {
			r := &rules[i]
			// Rules that cannot come first any more are not even parsed.
			if !r.Direction.is(Inbound) || decider != nil && !r.before(decider) {
				continue
			}
			switch r.matches(&p, &s) {
			case yes:
				decider = r
			case unknown:
				unjudged = append(unjudged, r)
			}
		}
	}
	v := Verdict{Access: Deny}
	if decider != nil {
		v.Rule = *decider
		if decider.Access.is(Allow) {
			v.Access = Allow
		}
	}
	slices.SortStableFunc(unjudged, func(a, b *Rule) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, r := range unjudged {
		if decider == nil || r.before(decider) {
			v.Depends = append(v.Depends, r.Name)
		}
	}
	return v
}

// Path follows a packet through the groups on its way, the subnet's first and
// then the interface's. Every group must allow it; no group at all allows
// everything. It gives the verdict of each group, also behind one that denies:
// who is told what stands in the way wants the whole list.
func Path(p Packet, s Surroundings, groups ...Group) (allowed bool, steps []Verdict) {
	allowed = true
	for _, g := range groups {
		v := g.Decide(p, s)
		allowed = allowed && v.Access == Allow
		steps = append(steps, v)
	}
	return allowed, steps
}

func (r *Rule) before(o *Rule) bool {
	return r.Priority < o.Priority || r.Priority == o.Priority && !r.Access.is(Allow) && o.Access.is(Allow)
}

// match is the answer to "does this cover that?". The order matters: a rule
// matches as badly as its worst part, a list as well as its best entry.
type match int

const (
	no match = iota
	unknown
	yes
)

// matches asks the cheap questions first: most rules fail at the port, and most
// others at the destination, which is one machine while sources are many.
func (r *Rule) matches(p *Packet, s *Surroundings) match {
	m := min(r.matchesProtocol(p.Protocol), r.matchesPort(p))
	if m == no {
		return no
	}
	if m = min(m, matchesEnd(r.Destinations, r.DestinationASGs, p.Destination, s)); m == no {
		return no
	}
	if m = min(m, matchesEnd(r.Sources, r.SourceASGs, p.Source, s)); m == no {
		return no
	}
	if !allPorts(r.SourcePorts) {
		return unknown // clients choose their source port
	}
	return m
}

func (r *Rule) matchesProtocol(p Protocol) match {
	if r.Protocol == AnyProtocol || r.Protocol == p || strings.EqualFold(string(r.Protocol), string(p)) {
		return yes
	}
	if _, known := r.Protocol.canonical(); !known {
		return unknown
	}
	return no
}

func (r *Rule) matchesPort(p *Packet) match {
	if !strings.EqualFold(string(p.Protocol), string(TCP)) && !strings.EqualFold(string(p.Protocol), string(UDP)) && p.Protocol != AnyProtocol {
		// Nothing to compare: only a rule for all ports speaks of such a packet.
		if allPorts(r.DestinationPorts) {
			return yes
		}
		return no
	}
	best := no
	if len(r.DestinationPorts) == 0 {
		best = unknown // ARM refuses to store such a rule
	}
	for _, text := range r.DestinationPorts {
		run, ok := parsePorts(text)
		if !ok {
			best = unknown
		} else if run.first <= p.Port && p.Port <= run.last {
			return yes
		}
	}
	return best
}

func matchesEnd(list, groups []string, a netip.Addr, s *Surroundings) match {
	best := no
	if len(list) == 0 && len(groups) == 0 {
		best = unknown // ARM refuses to store such a rule
	}
	for _, text := range list {
		if best = max(best, matchesEntry(text, a, s)); best == yes {
			return yes
		}
	}
	for _, id := range groups {
		members, ok := s.ASGMembers[strings.ToLower(id)]
		if !ok {
			best = unknown
		} else if slices.Contains(members, a) {
			return yes
		}
	}
	return best
}

func matchesEntry(text string, a netip.Addr, s *Surroundings) match {
	switch {
	case text == "*":
		return yes
	case looksLikeAddress(text):
		p, ok := parsePrefix(text)
		if !ok {
			return unknown
		}
		return is(p.Contains(a))
	case strings.EqualFold(text, tagLoadBalancer):
		return is(a == hostAddress)
	case strings.EqualFold(text, tagVirtualNetwork):
		return s.inVirtualNetwork(a)
	case strings.EqualFold(text, tagInternet):
		// A network's own space may hold public ranges; the tag leaves them out.
		return is(a != hostAddress && !within(notPublic, a) && !within(s.VirtualNetwork, a))
	}
	return unknown
}

func (s *Surroundings) inVirtualNetwork(a netip.Addr) match {
	if a == hostAddress || within(s.VirtualNetwork, a) {
		return yes
	}
	if len(s.VirtualNetwork) == 0 && within(notPublic, a) {
		return unknown
	}
	return no
}

func is(b bool) match {
	if b {
		return yes
	}
	return no
}
