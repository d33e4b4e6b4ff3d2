package nsg

import (
	"cmp"
	"slices"
	"strings"
)

// Opens finds the inbound allow rules of others that open a port of the cover to
// any source: to "*", to the Internet tag, or to all of IPv4 or IPv6 in whatever
// pieces. Both lists hold only rules that reach, or may reach, an address and a port
// of the cover ([Rule.OpensFor]). Those in remove serve this machine and these ports
// only, so that nobody else misses them; shared ones also serve others. Both are
// sorted by priority.
//
// alone says that the group filters for nothing but the machine ([Group.OnlyFor]):
// then what is not for another address means the machine. Otherwise a tag, a range
// or an application security group may mean others too, and what it stands for is
// not looked up. A rule for any protocol opens more than Tcp and Udp; only ports
// that are closed for any protocol make up for it.
//
// Rules that restrict the source port are in neither list: who asks from another
// port is kept out. Nor are rules of protocols without ports.
func (g Group) Opens(c Cover, alone bool) (remove, shared []Rule) {
	closed := map[Protocol][]ports{} // what a rule of the protocol may open
	for _, protocol := range [...]Protocol{AnyProtocol, TCP, UDP} {
		closed[protocol] = c.runs(func(p Protocol) bool { return p == protocol || p == AnyProtocol })
	}
	machine := c.hosts()
	for _, r := range g.Rules {
		if r.ours() || !r.OpensFor(c) {
			continue
		}
		protocol, _ := withPorts(r.Protocol)
		opened, unread := portSet(r.DestinationPorts)
		inside := len(unread) == 0 && !slices.ContainsFunc(opened, func(run ports) bool { return !holds(closed[protocol], run) })
		if inside && (alone || r.only(machine)) {
			remove = append(remove, r)
		} else {
			shared = append(shared, r)
		}
	}
	byPriority := func(a, b Rule) int { return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name)) }
	slices.SortFunc(remove, byPriority)
	slices.SortFunc(shared, byPriority)
	return remove, shared
}

// OnlyFor reports whether the group filters for nothing but the given interfaces,
// by ARM id: for at least one of them, for no other and for no subnet.
func (g Group) OnlyFor(interfaces ...string) bool {
	return len(g.Subnets) == 0 && len(g.Interfaces) > 0 && !slices.ContainsFunc(g.Interfaces, func(id string) bool {
		return !slices.ContainsFunc(interfaces, func(own string) bool { return strings.EqualFold(own, id) })
	})
}

// runs are the ports of the cover whose protocol is asked for.
func (c Cover) runs(of func(Protocol) bool) []ports {
	var ranges []PortRange
	for _, r := range c.Ports {
		if protocol, ok := withPorts(r.Protocol); ok && of(protocol) {
			ranges = append(ranges, r)
		}
	}
	runs, _ := portSet(portTexts(ranges))
	return runs
}

// hosts are the addresses of the cover.
func (c Cover) hosts() hosts {
	set := make(hosts, len(c.Addresses))
	for _, a := range c.Addresses {
		if a = a.Unmap().WithZone(""); a.IsValid() {
			set[a] = true
		}
	}
	return set
}

// meets and holds rely on runs that neither overlap nor touch.
func meets(runs []ports, run ports) bool {
	return slices.ContainsFunc(runs, func(r ports) bool { return r.first <= run.last && run.first <= r.last })
}

func holds(runs []ports, run ports) bool {
	return slices.ContainsFunc(runs, func(r ports) bool { return r.first <= run.first && run.last <= r.last })
}

// anySource reports whether a list lets in anybody from the internet.
func anySource(list []string) bool {
	spans, names := addressSet(list)
	return slices.Contains(names, strings.ToLower(tagInternet)) ||
		slices.Contains(spans, everything[0]) || slices.Contains(spans, everything[1])
}

// only reports whether every destination is one address of the machine.
func (r *Rule) only(machine hosts) bool {
	return len(r.Destinations) > 0 && len(r.DestinationASGs) == 0 && !slices.ContainsFunc(r.Destinations, func(text string) bool {
		a, single := singleAddress(text)
		return !single || !machine[a]
	})
}

// mayReach reports whether some destination is, or may be, an address of the
// machine. Names may be, whatever they stand for.
func (r *Rule) mayReach(machine hosts) bool {
	if len(machine) == 0 {
		return false
	}
	return len(r.DestinationASGs) > 0 || slices.ContainsFunc(r.Destinations, func(text string) bool {
		p, ok := parsePrefix(text)
		if !ok {
			return true
		}
		for a := range machine {
			if p.Contains(a) {
				return true
			}
		}
		return false
	})
}
