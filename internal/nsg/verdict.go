package nsg

import (
	"net/netip"
	"slices"
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
	// one has no members. All members of a group lie in one virtual network, so
	// an address outside VirtualNetwork is in no group, known or not.
	ASGMembers map[string][]netip.Addr
}

// Verdict of one group: what the first matching rule does. Without any match
// Access is Deny and Rule is zero; Azure's default rules leave no such gap.
type Verdict struct {
	Access Access
	Rule   Rule
	// Depends holds the rules above the deciding one that could match but could
	// not be judged (an unknown tag or group, restricted source ports, an entry
	// that is no address), in order of priority. They were passed over; see Sure
	// for whether the verdict holds all the same.
	Depends []Rule
}

// Sure reports whether the verdict holds whichever of the rules in Depends match
// in Azure. A rule that would only do the same once more changes nothing.
func (v Verdict) Sure() bool {
	return !slices.ContainsFunc(v.Depends, func(r Rule) bool { return r.Access.is(Allow) != (v.Access == Allow) })
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
			case Yes:
				decider = r
			case Unknown:
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
	slices.SortStableFunc(unjudged, inOrder)
	for _, r := range unjudged {
		if decider == nil || r.before(decider) {
			v.Depends = append(v.Depends, *r)
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

// inOrder sorts rules as Azure applies them.
func inOrder(a, b *Rule) int {
	switch {
	case a.before(b):
		return -1
	case b.before(a):
		return 1
	}
	return 0
}

func (r *Rule) before(o *Rule) bool {
	return r.Priority < o.Priority || r.Priority == o.Priority && !r.Access.is(Allow) && o.Access.is(Allow)
}
