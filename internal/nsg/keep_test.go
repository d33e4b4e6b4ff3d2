package nsg

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestDenyRulesMoveOnlyAhead has one rule of others before a deny rule at 1010, with
// a free place before it: the deny rule goes there if the other may let in what it
// closes, and stays otherwise.
func TestDenyRulesMoveOnlyAhead(t *testing.T) {
	base := in("theirs", 1005, Allow, TCP, "*", "10.0.0.5", "22")
	to := func(list ...string) Rule { return edited(base, func(r *Rule) { r.Destinations = list }) }
	portsOf := func(p Protocol, list ...string) Rule {
		return edited(base, func(r *Rule) { r.Protocol, r.DestinationPorts = p, list })
	}
	closeSSH, closeAll := cover("10.0.0.5 10.0.0.6", ssh), cover("10.0.0.5", all)
	for _, c := range []struct {
		what   string
		theirs Rule
		closed Cover
		moves  bool
	}{
		{"what it closes", base, closeSSH, true},
		{"to some", edited(base, func(r *Rule) { r.Sources = []string{"203.0.113.0/24"} }), closeSSH, true},
		{"to what nobody knows", edited(base, func(r *Rule) { r.Sources = []string{"Storage"} }), closeSSH, true},
		{"in other letters", edited(base, func(r *Rule) { r.Direction, r.Access, r.Protocol = "inbound", "ALLOW", "TCP" }), closeSSH, true},
		{"from some source ports", edited(base, func(r *Rule) { r.SourcePorts = []string{"1024-65535"} }), closeSSH, true},
		{"denying", edited(base, func(r *Rule) { r.Access = Deny }), closeSSH, false},
		{"outbound", edited(base, func(r *Rule) { r.Direction = Outbound }), closeSSH, false},
		{"below the free place", edited(base, func(r *Rule) { r.Priority = 999 }), closeSSH, false},
		{"behind the rule", edited(base, func(r *Rule) { r.Priority = 1011 }), closeSSH, false},

		{"its other address", to("10.0.0.6"), closeSSH, true},
		{"a range", to("10.0.0.0/29"), closeSSH, true},
		{"any address", to("*"), closeSSH, true},
		{"a tag", to("VirtualNetwork"), closeSSH, true},
		{"a group", edited(base, func(r *Rule) { r.Destinations, r.DestinationASGs = nil, []string{"/asg"} }), closeSSH, true},
		{"another machine", to("10.0.0.7"), closeSSH, false},
		{"another range", to("10.1.0.0/16", "fd00::/8"), closeSSH, false},

		{"another port", portsOf(TCP, "23-65535", "0-21"), closeSSH, false},
		{"among others", portsOf(TCP, "443", "20-25"), closeSSH, true},
		{"any protocol", portsOf(AnyProtocol, "22"), closeSSH, true},
		{"the other protocol", portsOf(UDP, "22"), closeSSH, false},
		{"a protocol without ports", portsOf(ICMP, "*"), closeSSH, false},
		{"which is closed too", portsOf(ICMP, "*"), closeAll, true},
		{"the other protocol, closed too", portsOf(UDP, "53"), closeAll, true},
		{"a protocol nobody knows", portsOf("All", "22"), closeSSH, true},
		{"a port nobody knows", portsOf(TCP, "ssh"), closeSSH, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			d := Desired{Closed: []Cover{c.closed}}
			stands := MakePlan(Group{}, d, DefaultBands).Put[0]
			stands.Priority = 1010
			var put []Rule
			if c.moves {
				put = []Rule{edited(stands, func(r *Rule) { r.Priority = 1000 })}
			}
			checkPlan(t, Group{Rules: []Rule{c.theirs, stands}}, d, DefaultBands, put, nil, nil)
		})
	}
}

// An owner who removes his rule causes no write.
func TestDenyRulesStayWhenAPlaceIsFreed(t *testing.T) {
	d := Desired{Closed: []Cover{cover("10.0.0.5 fd00::5", ssh), cover("10.0.0.6", rdp)}}
	theirs := in("theirs", 1000, Allow, TCP, "*", "*", "*")
	g := MakePlan(Group{Rules: []Rule{theirs}}, d, DefaultBands).Apply(Group{Rules: []Rule{theirs}})
	g.Rules = slices.DeleteFunc(g.Rules, func(r Rule) bool { return r.Name == "theirs" })
	if len(g.Rules) != 3 {
		t.Fatalf("%+v", g.Rules)
	}
	checkPlan(t, g, d, DefaultBands, nil, nil, nil)
	// Nor does one who puts it back.
	g.Rules = append(g.Rules, theirs)
	checkPlan(t, g, d, DefaultBands, nil, nil, nil)
}

// TestDenyRulesCloseWhereTheyStand asks Decide whether a rule that keeps its place
// closes as well there as it would at the lowest free priority, where new ones go.
func TestDenyRulesCloseWhereTheyStand(t *testing.T) {
	kept := 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		for i := range s.group.Rules {
			if r := &s.group.Rules[i]; !r.ours() && rapid.IntRange(0, 2).Draw(t, "other protocol") == 0 {
				r.Protocol = rapid.SampledFrom([]Protocol{UDP, ICMP, "All"}).Draw(t, "protocol")
				r.DestinationPorts = []string{rapid.SampledFrom([]string{"*", "22", "3380-3389", "ssh"}).Draw(t, "port")}
			}
		}
		plan := MakePlan(s.group, s.desired, s.bands)
		after := plan.Apply(s.group)
		reserved, wanted, unplaced := map[int]bool{}, coverage{}, map[string]bool{}
		for _, u := range plan.Unplaced {
			unplaced[u.Name] = true // and stays as it was
		}
		for _, c := range s.desired.Closed {
			wanted.add(c)
		}
		for _, r := range s.desired.Away {
			reserved[r.Priority] = true
		}
		for _, released := range s.desired.Released {
			for _, r := range released.Back {
				reserved[r.Priority] = true
			}
		}
		for i, r := range after.Rules {
			if unplaced[r.Name] || !slices.ContainsFunc(sortedKeys(wanted), func(k denyKey) bool { return k.name() == r.Name }) {
				continue
			}
			lowest := max(s.bands.Deny.First, MinPriority)
			for reserved[lowest] || slices.ContainsFunc(after.Rules, func(o Rule) bool { return o.Direction == Inbound && o.Priority == lowest }) {
				lowest++
			}
			if lowest > r.Priority {
				continue
			}
			kept++
			ahead := after
			ahead.Rules = slices.Clone(after.Rules)
			ahead.Rules[i].Priority = lowest
			for _, p := range packetsTo(r) {
				for _, around := range []Surroundings{home, {}} {
					is, would := after.Decide(p, around), ahead.Decide(p, around)
					if may(is) && !may(would) && !is.Rule.ours() { // the bands may overlap
						t.Fatalf("%s at %d leaves %+v to %s; at %d it would not", r.Name, r.Priority, p, is.Rule.Name, lowest)
					}
				}
			}
		}
	})
	if !testing.Short() && !t.Failed() && kept == 0 {
		t.Error("no rule stayed behind a free place: that proves nothing")
	}
}

// may reports whether a packet gets through if rules that cannot be judged do their worst.
func may(v Verdict) bool { return v.Access == Allow || !v.Sure() }

func packetsTo(deny Rule) (packets []Packet) {
	for _, text := range deny.Destinations {
		a, single := singleAddress(text)
		if !single {
			continue
		}
		sources := []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.0.0.99")}
		if a.Is6() {
			sources = []netip.Addr{netip.MustParseAddr("2001:4860::1")}
		}
		for _, source := range sources {
			for _, protocol := range []Protocol{TCP, UDP, ICMP} {
				for _, port := range []uint16{22, 443, 3389} {
					packets = append(packets, Packet{Source: source, Destination: a, Port: port, Protocol: protocol})
				}
			}
		}
	}
	return packets
}
