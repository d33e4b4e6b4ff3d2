package nsg

import (
	"net/netip"
	"slices"
)

// Reach says how much of a space gets through to an address.
type Reach string

const (
	Open   Reach = "open"    // every address of the space certainly reaches at least one of the ports
	Partly Reach = "partly"  // some addresses certainly do
	Unsure Reach = "depends" // none certainly does, but rules that cannot be judged may let some through
	Shut   Reach = "closed"  // proven: none reaches any of the ports. Also of an empty space
)

// Exposure says which sources can open a connection, and by which rules.
type Exposure struct {
	Reach Reach
	// Allowed is the sources that certainly reach at least one of the ports, in as
	// few prefixes as possible.
	Allowed []netip.Prefix
	// By holds the rules that decide, in order of path and priority, each once. If
	// something certainly gets through, it is the rules that let it: one of every
	// group, the ports apart. If nothing can, it is the rules that stop it, each in
	// the first group that certainly does. If it depends, it is what decides about
	// the sources in question unless a rule of Depends matches. A group that ends
	// without a matching rule denies without one.
	By []Decider
	// Depends holds the rules that could not be judged and could let in more than
	// Allowed says, or are what keeps sources from being in it: one that may allow
	// above a deny, one that may deny above an allow.
	Depends []Decider
}

// Decider is a rule and the ARM id of the group that it stands in.
type Decider struct {
	Group string
	Rule  Rule
}

// Expose says which part of a space can open a connection to these ports of an
// address, through the groups on the way in the order of [Path]. It is exact:
// sources are reckoned as intervals, ports are taken apart where the rules do,
// and an address is in or out just as Decide would say. Addresses of the other
// family than to are left out. Protocol "*" asks for Tcp and Udp, and either
// will do; a protocol without ports is judged without them. Of two groups that
// restrict by the same unknown name each is judged by itself.
func Expose(from Space, to netip.Addr, asked PortRange, s Surroundings, groups ...Group) Exposure {
	to = to.Unmap()
	space := from.family(to)
	filters := make([]filter, len(groups))
	for i, g := range groups {
		filters[i] = g.filter(to, asked, &s)
	}
	sources := newAtoms(space, filters)
	for _, f := range filters {
		for _, c := range f {
			c.certain, c.possible = sources.within(c.sure), sources.within(union(c.sure, c.perhaps))
		}
	}
	whole, certain, possible := sources.within(space), sources.none(), sources.none()
	ways := distinctWays(asked, filters)
	for _, matching := range ways {
		p := follow(whole, filters, matching)
		certain.add(p.certain)
		possible.add(p.possible)
	}

	e := Exposure{Reach: Partly, Allowed: prefixes(sources.spans(certain))}
	switch {
	case possible.empty():
		e.Reach = Shut
	case certain.empty():
		e.Reach = Unsure
	case whole.without(certain).empty():
		e.Reach = Open
	}
	// Followed once more and not kept: of a large group and many ports, the pieces
	// would fill the memory.
	for _, matching := range ways {
		follow(whole, filters, matching).mark(e.Reach, whole, certain)
	}
	for i, f := range filters {
		for _, r := range f {
			d := Decider{groups[i].ID, *r.Rule}
			if r.decides {
				e.By = addDecider(e.By, d)
			}
			if r.unsettles {
				e.Depends = addDecider(e.Depends, d)
			}
		}
	}
	return e
}

// addDecider keeps a group that stands in the path twice from being named twice.
func addDecider(list []Decider, d Decider) []Decider {
	if slices.ContainsFunc(list, func(o Decider) bool { return o.Group == d.Group && o.Rule.Name == d.Rule.Name }) {
		return list
	}
	return append(list, d)
}

// filter is the inbound rules of one group that speak of a destination and of
// some of the ports asked for, in the order in which they are applied.
type filter []*candidate

type candidate struct {
	*Rule
	reach         Match // how surely it meets the destination, from the source port that a client has
	runs          []ports
	oddPorts      bool // some of its ports cannot be read
	sure, perhaps []span
	certain       atomSet // of sure
	possible      atomSet // of sure and perhaps
	// What it turned out to be:
	decides, unsettles bool
}

func (g *Group) filter(to netip.Addr, asked PortRange, s *Surroundings) filter {
	var f filter
	for _, rules := range [...][]Rule{g.Rules, g.Defaults} {
		for i := range rules {
			r := &rules[i]
			if !r.Direction.is(Inbound) || asked.Protocol.hasPorts() && r.speaksOf(ports{asked.First, asked.Last}) == No {
				continue
			}
			reach := matchesEnd(r.Destinations, r.DestinationASGs, to, s)
			if reach == No {
				continue
			}
			if !allPorts(r.SourcePorts) {
				reach = Unknown // clients choose their source port
			}
			runs, odd := portSet(r.DestinationPorts)
			c := &candidate{Rule: r, reach: reach, runs: runs, oddPorts: len(odd) > 0 || len(runs) == 0}
			c.sure, c.perhaps = s.addressesOf(r.Sources, r.SourceASGs)
			f = append(f, c)
		}
	}
	slices.SortStableFunc(f, func(a, b *candidate) int { return inOrder(a.Rule, b.Rule) })
	return f
}

// cell is a protocol and a run of ports that no rule tells apart; port is the
// first of them.
type cell struct {
	protocol Protocol
	port     uint16
}

func cells(asked PortRange, filters []filter) []cell {
	if !asked.Protocol.hasPorts() {
		return []cell{{protocol: asked.Protocol}}
	}
	if asked.First > asked.Last {
		return nil
	}
	starts := []uint16{asked.First}
	for _, f := range filters {
		for _, c := range f {
			for _, run := range c.runs {
				if asked.First < run.first && run.first <= asked.Last {
					starts = append(starts, run.first)
				}
				if asked.First <= run.last && run.last < asked.Last {
					starts = append(starts, run.last+1)
				}
			}
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	protocols := []Protocol{asked.Protocol}
	if asked.Protocol == AnyProtocol {
		protocols = []Protocol{TCP, UDP}
	}
	list := make([]cell, 0, len(protocols)*len(starts))
	for _, protocol := range protocols {
		for _, port := range starts {
			list = append(list, cell{protocol, port})
		}
	}
	return list
}

// distinctWays holds all rules against each cell: one Match for each rule, in
// order. Most runs of ports, and often the two protocols, meet the same rules;
// what is the same is given once.
func distinctWays(asked PortRange, filters []filter) (ways []string) {
	seen := map[string]bool{}
	for _, at := range cells(asked, filters) {
		var matching []byte
		for _, f := range filters {
			for _, c := range f {
				matching = append(matching, byte(c.matchesCell(at)))
			}
		}
		if way := string(matching); !seen[way] {
			seen[way] = true
			ways = append(ways, way)
		}
	}
	return ways
}

func (c *candidate) matchesCell(at cell) Match {
	m := min(c.reach, c.matchesProtocol(at.protocol))
	if m == No {
		return No
	}
	if !at.protocol.hasPorts() {
		return min(m, is(len(c.runs) == 1 && c.runs[0] == ports{0, 65535}))
	}
	_, found := slices.BinarySearchFunc(c.runs, at.port, func(run ports, port uint16) int {
		switch {
		case run.last < port:
			return -1
		case run.first > port:
			return 1
		}
		return 0
	})
	switch {
	case found:
		return m
	case c.oddPorts:
		return min(m, Unknown)
	}
	return No
}

// piece is the part of a space that a rule speaks of before any judged one did.
type piece struct {
	rule *candidate
	set  atomSet
}

// outcome is what one group does in one cell.
type outcome struct {
	decided  []piece // by the rules that can be judged
	unjudged []piece // set may overlap with others: a rule that was passed over
	allowed  atomSet // as Decide has it, with the unjudged passed over
	certain  atomSet // allowed whatever the unjudged rules do
	possible atomSet // allowed if the unjudged rules do their worst
}

// judge walks the rules once. What an unjudged rule may do is reckoned from
// there: one that denies can only take away from what a later one allows, one
// that allows only add to it.
func (f filter) judge(space atomSet, matching string) outcome {
	rest, none := slices.Clone(space), make(atomSet, len(space))
	o := outcome{allowed: slices.Clone(none)}
	mayAllow, mayDeny := slices.Clone(none), slices.Clone(none)
	for i, c := range f {
		if rest.empty() {
			break
		}
		m := Match(matching[i])
		if m == No {
			continue
		}
		sure := c.certain
		if m == Unknown {
			sure = none
		}
		if !rest.meets(c.possible) {
			continue
		}
		set := rest.and(c.possible).without(sure)
		if !set.empty() {
			o.unjudged = append(o.unjudged, piece{c, set})
			if c.Access.is(Allow) {
				mayAllow.add(set)
			} else {
				mayDeny.add(set)
			}
		}
		if set := rest.and(sure); !set.empty() {
			o.decided = append(o.decided, piece{c, set})
			if c.Access.is(Allow) {
				o.allowed.add(set)
			}
			rest = rest.without(set)
		}
	}
	o.certain = o.allowed.without(mayDeny)
	mayAllow.add(o.allowed)
	o.possible = mayAllow
	return o
}

// path is the outcomes of all groups in one cell.
type path struct {
	outcomes          []outcome
	certain, possible atomSet
}

func follow(space atomSet, filters []filter, matching string) path {
	p := path{certain: space, possible: space}
	for _, f := range filters {
		o := f.judge(space, matching[:len(f)])
		matching = matching[len(f):]
		p.outcomes = append(p.outcomes, o)
		p.certain, p.possible = p.certain.and(o.certain), p.possible.and(o.possible)
	}
	return p
}

// mark marks the rules that Exposure is to name.
func (p path) mark(reach Reach, space, certain atomSet) {
	switch reach {
	case Open, Partly:
		p.markAllowing(p.certain)
	case Shut:
		p.markDenying(space, func(o outcome) atomSet { return o.possible })
	case Unsure:
		through := p.possible
		for _, o := range p.outcomes {
			through = through.and(o.allowed)
		}
		p.markAllowing(through)
		p.markDenying(p.possible.without(through), func(o outcome) atomSet { return o.allowed })
	}
	p.markUnjudged(p.possible.without(certain))
}

// markAllowing marks the rules that allow any of these sources.
func (p path) markAllowing(sources atomSet) {
	for _, o := range p.outcomes {
		for _, d := range o.decided {
			if d.rule.Access.is(Allow) && d.set.meets(sources) {
				d.rule.decides = true
			}
		}
	}
}

// markDenying marks the rules that stop any of these sources, each source in the
// first group that does not let it pass.
func (p path) markDenying(sources atomSet, passing func(outcome) atomSet) {
	for _, o := range p.outcomes {
		stopped := sources.without(passing(o))
		for _, d := range o.decided {
			if !d.rule.Access.is(Allow) && d.set.meets(stopped) {
				d.rule.decides = true
			}
		}
		sources = sources.without(stopped)
	}
}

// markUnjudged marks the rules that would change what is decided about any of
// these sources.
func (p path) markUnjudged(sources atomSet) {
	for _, o := range p.outcomes {
		for _, u := range o.unjudged {
			set := u.set.and(sources)
			if u.rule.Access.is(Allow) {
				set = set.without(o.allowed)
			} else {
				set = set.and(o.allowed)
			}
			if !set.empty() {
				u.rule.unsettles = true
			}
		}
	}
}
