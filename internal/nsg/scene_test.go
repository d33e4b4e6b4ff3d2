package nsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// scene is a group in any state and anything that may be desired of it.
type scene struct {
	group   Group
	desired Desired
	bands   Bands
}

// portSets are what machines close; some overlap and some are one set in two words.
var portSets = [][]PortRange{
	{{TCP, 22, 22}},
	{{TCP, 22, 22}, {TCP, 3389, 3389}},
	{{"TCP", 3389, 3389}, {TCP, 22, 22}, {UDP, 3389, 3389}},
	{{AnyProtocol, 0, 65535}},
	{{AnyProtocol, 0, 100}, {AnyProtocol, 101, 65535}},
}

func machineAt(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }

func host6(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00::%x", i+1)) }

func drawCover(t *rapid.T, machine int) Cover {
	c := Cover{Ports: rapid.SampledFrom(portSets).Draw(t, "ports"), Addresses: []netip.Addr{machineAt(machine)}}
	if machine%3 == 0 {
		c.Addresses = append(c.Addresses, host6(machine))
	}
	return c
}

// drawForeign draws a rule of others, without its priority.
func drawForeign(t *rapid.T, name string) Rule {
	r := in(name, 0, rapid.SampledFrom([]Access{Allow, Allow, Deny}).Draw(t, "access"), rapid.SampledFrom([]Protocol{TCP, AnyProtocol, "tcp"}).Draw(t, "protocol"),
		rapid.SampledFrom([]string{"*", "0.0.0.0/0", "internet", "203.0.113.0/30", "Storage"}).Draw(t, "source"),
		rapid.SampledFrom([]string{"*", "10.0.0.1", "10.0.0.1", "10.0.0.0/24", "10.0.0.2 10.0.0.1", "VirtualNetwork"}).Draw(t, "destination"),
		rapid.SampledFrom([]string{"*", "22", "22", "22 3389", "443"}).Draw(t, "port"))
	r.Description = rapid.SampledFrom([]string{"", "ops"}).Draw(t, "description")
	r.Verbatim = []byte(fmt.Sprintf(`{"access":%q,"extra":%d}`, r.Access, rapid.IntRange(0, 9).Draw(t, "extra")))
	return r
}

func drawScene(t *rapid.T) scene {
	var s scene
	s.bands = Bands{
		Allow: Band{100, rapid.IntRange(100, 115).Draw(t, "last")},
		Deny:  Band{rapid.IntRange(108, 120).Draw(t, "first"), rapid.IntRange(118, 140).Draw(t, "last of denies")},
	}
	s.group = Group{ID: "nsg", Defaults: defaults(), FlushConnection: rapid.Bool().Draw(t, "flush")}
	inbound := rapid.Permutation(seq(100, 140)).Draw(t, "inbound priorities")
	outbound := rapid.Permutation(seq(100, 140)).Draw(t, "outbound priorities")
	priority := func(r Rule) Rule {
		free := &inbound
		if r.Direction == Outbound {
			free = &outbound
		}
		r.Priority, *free = (*free)[0], (*free)[1:]
		return r
	}
	add := func(r Rule) {
		if !hasFolded(s.group, r.Name) {
			s.group.Rules = append(s.group.Rules, priority(r))
		}
	}
	directions := rapid.SampledFrom([]Direction{Inbound, Inbound, Outbound})
	for i := range rapid.IntRange(0, 6).Draw(t, "foreign") {
		name := rapid.SampledFrom([]string{"theirs-" + fmt.Sprint(i), strings.ToUpper(want(i).Name), "JITGATE-deny-" + fmt.Sprint(i)}).Draw(t, "name")
		r := drawForeign(t, name)
		r.Direction = directions.Draw(t, "direction")
		add(r)
	}
	if filler := rapid.IntRange(0, 12).Draw(t, "room"); filler < 6 {
		r := drawForeign(t, "filler")
		r.Destinations = strings.Fields(strings.Repeat("192.0.2.1 ", MaxAddresses-3*filler))
		add(r)
	}
	for i := range 8 {
		w := want(i)
		if rapid.IntRange(0, 3).Draw(t, "ports") == 0 {
			w.Ports = []uint16{3389, 22}
		}
		fate := rapid.IntRange(0, 4).Draw(t, "fate")
		if fate >= 1 {
			s.desired.Open = append(s.desired.Open, w)
		}
		// Ours may stand as wanted, changed, or for nobody.
		if fate == 1 {
			continue
		}
		r := ruleFor(t, w, 0)
		if fate == 2 {
			drawEdit(t, &r)
		}
		add(r)
	}
	drawProtections(t, &s, add, priority)
	if rapid.Bool().Draw(t, "flush decided") {
		flush := rapid.Bool().Draw(t, "wanted flush")
		s.desired.Flush = &flush
	}
	s.group.Rules = rapid.Permutation(s.group.Rules).Draw(t, "order")
	return s
}

func drawEdit(t *rapid.T, r *Rule) {
	rapid.SampledFrom([]func(){
		func() { r.Sources = []string{"*"} },
		func() { r.Access = Deny },
		func() { r.Access = Allow },
		func() { r.Direction = Outbound },
		func() { r.DestinationPorts = []string{"0-65535"} },
		func() { r.Description = "edited" },
		func() { // by the family, as ARM refuses to mix them
			more := []string{"10.0.9.0/24", "10.0.0.77/32"}
			if strings.Contains(r.Destinations[0], ":") {
				more = []string{"fd00:9::/64", "fd00::77/128"}
			}
			r.Destinations = slices.Concat(r.Destinations, more)
		},
		func() { r.Name = "jitgate-by-hand" },
	}).Draw(t, "edit")()
}

// drawProtections adds covers, releases and rules that are away, deny rules that
// stand for some of them or for nobody, and whatever may be in their way.
func drawProtections(t *rapid.T, s *scene, add func(Rule), priority func(Rule) Rule) {
	standing := coverage{}
	some := rapid.IntRange(0, 2)
	for machine := range 5 {
		c := drawCover(t, machine)
		if some.Draw(t, "stands") > 0 {
			standing.add(c)
		}
		if some.Draw(t, "closed") > 0 {
			s.desired.Closed = append(s.desired.Closed, c)
		}
	}
	for _, key := range sortedKeys(standing) {
		r := key.rule(key.name(), destinations(nil, key.v6, standing[key], nil))
		if some.Draw(t, "edited") == 0 {
			drawEdit(t, &r)
		}
		add(r)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "releases") {
		released := Release{Covers: []Cover{drawCover(t, rapid.IntRange(0, 5).Draw(t, "released"))}}
		for j := range rapid.IntRange(0, 2).Draw(t, "back") {
			r := drawForeign(t, fmt.Sprintf("back-%d-%d", i, j))
			r.Access = Allow
			switch rapid.IntRange(0, 7).Draw(t, "place") {
			case 0, 1, 2:
				r = priority(r)
			case 3: // already there
				r = priority(r)
				s.group.Rules = append(s.group.Rules, r)
			case 4: // or something else of its name is
				r = priority(r)
				add(drawForeign(t, strings.ToUpper(r.Name)))
			case 5: // it is to be away all the same
				r = priority(r)
				s.desired.Away = append(s.desired.Away, r)
			default:
				r.Priority = rapid.IntRange(100, 126).Draw(t, "held perhaps")
			}
			released.Back = append(released.Back, r)
		}
		s.desired.Released = append(s.desired.Released, released)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "away") {
		r := priority(drawForeign(t, fmt.Sprintf("away-%d", i)))
		s.desired.Away = append(s.desired.Away, r)
		switch some.Draw(t, "stands away") {
		case 0:
			s.group.Rules = append(s.group.Rules, r)
		case 1:
			r.DestinationPorts = []string{"8443"}
			s.group.Rules = append(s.group.Rules, r)
		}
	}
}

func sortedKeys(c coverage) (keys []denyKey) {
	for key := range c {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b denyKey) int { return strings.Compare(a.name(), b.name()) })
	return keys
}

func seq(from, to int) (numbers []int) {
	for n := from; n <= to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func hasFolded(g Group, name string) bool {
	return slices.ContainsFunc(g.Rules, func(r Rule) bool { return strings.EqualFold(r.Name, name) })
}

func named(rules []Rule) map[string]Rule {
	all := map[string]Rule{}
	for _, r := range rules {
		all[r.Name] = r
	}
	return all
}

func split(g Group) (ours, foreign map[string]Rule) {
	ours, foreign = map[string]Rule{}, map[string]Rule{}
	for _, r := range g.Rules {
		if strings.HasPrefix(r.Name, "jitgate-") {
			ours[r.Name] = r
		} else {
			foreign[r.Name] = r
		}
	}
	return ours, foreign
}

func freedOf(c coverage, name string) hosts {
	for key, addresses := range c {
		if key.name() == name {
			return addresses
		}
	}
	return nil
}

// closes reports whether a deny rule of ours names the address.
func closes(g Group, key denyKey, a netip.Addr) bool {
	return slices.ContainsFunc(g.Rules, func(r Rule) bool {
		return r.Name == key.name() && r.denies() && slices.ContainsFunc(r.Destinations, func(text string) bool {
			single, ok := singleAddress(text)
			return ok && single == a
		})
	})
}
