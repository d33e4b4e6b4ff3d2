package nsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// RuleNames are the names of the deny rules that close this cover.
func (c Cover) RuleNames() []string {
	closed := coverage{}
	closed.add(c)
	names := make([]string, 0, len(closed))
	for key := range closed {
		names = append(names, key.name())
	}
	slices.Sort(names)
	return names
}

// Ours reports whether a rule is jitgate's to change. ARM keeps the case of names,
// so another casing of the prefix was written by somebody else.
func (r Rule) Ours() bool { return r.ours() }

// Denies reports whether rules of ours close all of these ports of an address to
// everybody, at whatever priority.
func (g Group) Denies(address netip.Addr, asked PortRange) bool {
	var closed []string
	for _, r := range g.Rules {
		if r.ours() && r.denies() && r.Direction.is(Inbound) && slices.Contains(r.Sources, "*") && allPorts(r.SourcePorts) &&
			(r.Protocol.is(asked.Protocol) || r.Protocol.is(AnyProtocol)) && slices.ContainsFunc(r.Destinations, covers(address)) {
			closed = append(closed, r.DestinationPorts...)
		}
	}
	runs, _ := portSet(closed)
	return holds(runs, ports{asked.First, asked.Last})
}

// covers tells whether an entry of a list holds an address for certain.
func covers(a netip.Addr) func(string) bool {
	return func(text string) bool {
		p, ok := parsePrefix(text)
		return text == "*" || ok && p.Contains(a)
	}
}

// Touches reports whether an inbound rule speaks of some port and some address of
// the cover, or may do so: what names stand for is not looked up.
func (r Rule) Touches(c Cover) bool {
	protocol, known := withPorts(r.Protocol)
	if !known || !r.Direction.is(Inbound) {
		return false
	}
	spoken := c.runs(func(p Protocol) bool { return p == protocol || p == AnyProtocol || protocol == AnyProtocol })
	return r.speaksOfSome(spoken, c.hosts())
}

// OpensFor reports whether an inbound rule that allows may let any source, as in
// [Group.Opens], in to some port and some address of the cover, whoever else it
// serves.
func (r Rule) OpensFor(c Cover) bool {
	return !r.denies() && anySource(r.Sources) && allPorts(r.SourcePorts) && r.Touches(c)
}

// speaksOfSome reports whether the rule is, or may be, for one of the ports and one
// of the addresses.
func (r *Rule) speaksOfSome(asked []ports, machine hosts) bool {
	runs, unread := portSet(r.DestinationPorts)
	return (len(unread) > 0 || slices.ContainsFunc(runs, func(run ports) bool { return meets(asked, run) })) && r.mayReach(machine)
}

// NamesASGs reports whether an inbound rule names an application security group, so
// that a verdict needs to know its members.
func (g Group) NamesASGs() bool {
	return slices.ContainsFunc(g.Rules, func(r Rule) bool {
		return r.Direction.is(Inbound) && len(r.SourceASGs)+len(r.DestinationASGs) > 0
	})
}

// Difference says in words what tells a rule from what it should be; empty when
// nothing does.
func Difference(is, should Rule) string {
	var parts []string
	note := func(same bool, what string, is, should any) {
		if !same {
			parts = append(parts, fmt.Sprintf("%s %v instead of %v", what, is, should))
		}
	}
	list := func(addresses, groups []string) string {
		return strings.Join(append(slices.Clone(addresses), groups...), ", ")
	}
	note(is.Priority == should.Priority, "priority", is.Priority, should.Priority)
	note(is.Direction.is(should.Direction), "direction", is.Direction, should.Direction)
	note(is.Access.is(should.Access), "access", is.Access, should.Access)
	note(is.Protocol.is(should.Protocol), "protocol", is.Protocol, should.Protocol)
	note(sameAddresses(is.Sources, should.Sources) && sameIDs(is.SourceASGs, should.SourceASGs),
		"sources", list(is.Sources, is.SourceASGs), list(should.Sources, should.SourceASGs))
	note(samePorts(is.SourcePorts, should.SourcePorts), "source ports", list(is.SourcePorts, nil), list(should.SourcePorts, nil))
	note(sameAddresses(is.Destinations, should.Destinations) && sameIDs(is.DestinationASGs, should.DestinationASGs),
		"destinations", list(is.Destinations, is.DestinationASGs), list(should.Destinations, should.DestinationASGs))
	note(samePorts(is.DestinationPorts, should.DestinationPorts), "ports", list(is.DestinationPorts, nil), list(should.DestinationPorts, nil))
	note(is.Description == should.Description, "description", fmt.Sprintf("%q", is.Description), fmt.Sprintf("%q", should.Description))
	return strings.Join(parts, "; ")
}

// Without takes prefixes out of a space.
func (s Space) Without(list []netip.Prefix) Space { return Space{subtract(s.spans, spansOf(list))} }

// Stands reports whether a rule stands in the group just as it was recorded.
func (g Group) Stands(r Rule) bool {
	return slices.ContainsFunc(g.Rules, func(o Rule) bool { return o.stands(r) })
}

// Holds reports whether another inbound rule has the priority that r is to come back
// at.
func (g Group) Holds(r Rule) bool {
	return slices.ContainsFunc(g.Rules, func(o Rule) bool {
		return o.Direction.is(Inbound) && o.Priority == r.Priority && !strings.EqualFold(o.Name, r.Name)
	})
}
