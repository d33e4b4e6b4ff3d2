package nsg

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func cover(addresses string, ranges ...PortRange) Cover {
	c := Cover{Ports: ranges}
	for _, text := range strings.Fields(addresses) {
		c.Addresses = append(c.Addresses, netip.MustParseAddr(text))
	}
	return c
}

var (
	ssh = PortRange{TCP, 22, 22}
	rdp = PortRange{TCP, 3389, 3389}
	all = PortRange{AnyProtocol, 0, 65535}
)

// denyRule is written out here, so that a change of what we write is noticed.
func denyRule(priority int, protocol Protocol, addresses, portList string, ranges ...PortRange) Rule {
	return Rule{
		Name: DenyName(protocol, ranges, strings.Contains(addresses, ":")), Description: "JIT rule: these ports stay closed unless a grant opens them for a time.",
		Direction: Inbound, Access: Deny, Protocol: protocol, Priority: priority,
		Sources: []string{"*"}, SourcePorts: []string{"*"}, Destinations: strings.Fields(addresses), DestinationPorts: strings.Fields(portList),
	}
}

func edited(r Rule, edit func(*Rule)) Rule { edit(&r); return r }

// checkPlan compares a plan, and sees that planning again finds nothing to do.
func checkPlan(t *testing.T, g Group, d Desired, b Bands, put []Rule, del []string, unplaced map[string]UnplacedCode) {
	t.Helper()
	plan := MakePlan(g, d, b)
	got := map[string]UnplacedCode{}
	for i, u := range plan.Unplaced {
		if i > 0 && u == plan.Unplaced[i-1] {
			t.Errorf("told twice: %+v", u)
		}
		if got[u.Name] = u.Code; !strings.HasSuffix(u.Reason, ".") {
			t.Errorf("no sentence: %q", u.Reason)
		}
	}
	for what, diff := range map[string]string{
		"put":      cmp.Diff(put, plan.Put, cmpopts.EquateEmpty()),
		"delete":   cmp.Diff(del, plan.Delete, cmpopts.EquateEmpty()),
		"unplaced": cmp.Diff(unplaced, got, cmpopts.EquateEmpty()),
	} {
		if diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	if again := MakePlan(plan.Apply(g), d, b); !again.Empty() {
		t.Errorf("planned again: %+v", again)
	}
}

func TestDenyRules(t *testing.T) {
	x := func(priority int) Rule { return denyRule(priority, TCP, "10.0.0.5", "22", ssh) }
	y := func(priority int) Rule { return denyRule(priority, TCP, "10.0.0.6", "3389", rdp) }
	theirs := func(priority int) Rule {
		return in(fmt.Sprintf("theirs-%d", priority), priority, Allow, TCP, "*", "*", "443")
	}
	opening := func(priority int) Rule { return in("opening", priority, Allow, AnyProtocol, "*", "*", "*") }
	closeX, closeY := cover("10.0.0.5", ssh), cover("10.0.0.6", rdp)
	// In order of the names, which is how new ones are placed.
	first, second := x(1000), y(1001)
	if second.Name < first.Name {
		first, second = y(1000), x(1001)
	}
	for _, c := range []struct {
		what     string
		rules    []Rule
		closed   []Cover
		opens    []Want
		away     []Rule
		deny     Band
		put      []Rule
		del      []string
		unplaced map[string]UnplacedCode
	}{
		{what: "one rule for one machine", closed: []Cover{closeX}, put: []Rule{x(1000)}},
		{what: "one for machines that close the same, however it is written", closed: []Cover{cover("10.0.0.9", ssh, PortRange{"tcp", 20, 21}), cover("10.0.0.10 10.0.0.9", PortRange{"TCP", 20, 22})},
			put: []Rule{denyRule(1000, TCP, "10.0.0.9 10.0.0.10", "20-22", PortRange{TCP, 20, 22})}},
		{what: "ports are merged and sorted", closed: []Cover{cover("10.0.0.5", PortRange{TCP, 5985, 5986}, ssh)}, put: []Rule{denyRule(1000, TCP, "10.0.0.5", "22 5985-5986", ssh, PortRange{TCP, 5985, 5986})}},
		{what: "all ports are a star", closed: []Cover{cover("10.0.0.5", all)}, put: []Rule{denyRule(1000, AnyProtocol, "10.0.0.5", "*", all)}},
		{what: "addresses written as IPv6 and with a zone", closed: []Cover{cover("::ffff:10.0.0.5", ssh), cover("fd00::5%eth0", ssh)}, put: func() []Rule {
			list := []Rule{denyRule(0, TCP, "10.0.0.5", "22", ssh), denyRule(0, TCP, "fd00::5", "22", ssh)}
			slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
			list[0].Priority, list[1].Priority = 1000, 1001
			return list
		}()},
		{what: "nothing to close", closed: []Cover{{Ports: []PortRange{ssh}}, {Addresses: []netip.Addr{machineAt(5)}}, {Ports: []PortRange{ssh}, Addresses: []netip.Addr{{}}}}},
		{what: "no ports", closed: []Cover{cover("10.0.0.5", PortRange{ICMP, 22, 22}, ssh, PortRange{TCP, 5, 4}, PortRange{"", 1, 1}), cover("10.0.0.5", PortRange{TCP, 5, 4})}, put: []Rule{x(1000)}, unplaced: map[string]UnplacedCode{
			DenyName(ICMP, []PortRange{ssh}, false): InvalidWant, DenyName(TCP, []PortRange{{TCP, 5, 4}}, false): InvalidWant, DenyName("", []PortRange{{TCP, 1, 1}}, false): InvalidWant}},

		{what: "the lowest free priority", rules: []Rule{theirs(1000), theirs(1002)}, closed: []Cover{closeX}, put: []Rule{x(1001)}},
		{what: "new ones by name", closed: []Cover{closeX, closeY}, put: []Rule{first, second}},
		{what: "a standing rule is left alone", rules: []Rule{x(1000)}, closed: []Cover{closeX}},
		{what: "also when written another way", rules: []Rule{edited(x(1000), func(r *Rule) {
			r.Destinations, r.Protocol, r.Access = []string{"10.0.0.5/32", "10.0.0.5"}, "TCP", "deny"
		})}, closed: []Cover{closeX}},
		{what: "where it stands, though a lower place is free", rules: []Rule{y(1003), theirs(1000), x(1002)}, closed: []Cover{closeX, closeY}},
		{what: "what has to move does so in order, so none waits for another", rules: []Rule{y(1005), theirs(1000), opening(1003), x(1004)}, closed: []Cover{closeX, closeY}, put: []Rule{x(1001), y(1002)}},
		{what: "whatever their names", rules: []Rule{x(1005), theirs(1000), opening(1003), y(1004)}, closed: []Cover{closeX, closeY}, put: []Rule{y(1001), x(1002)}},
		{what: "before new ones", rules: []Rule{y(1005), opening(1001)}, closed: []Cover{closeX, closeY}, put: []Rule{y(1000), x(1002)}},
		{what: "into the band from above", rules: []Rule{x(2000)}, closed: []Cover{closeX}, deny: Band{1000, 1010}, put: []Rule{x(1000)}},
		{what: "and from below, past one that stands", rules: []Rule{x(500), y(1000)}, closed: []Cover{closeX, closeY}, put: []Rule{x(1001)}},
		{what: "the place of a rule that goes is free", rules: []Rule{in("jitgate-by-hand", 1000, Allow, TCP, "*", "*", "22")}, closed: []Cover{closeX}, del: []string{"jitgate-by-hand"}, put: []Rule{x(1000)}},
		{what: "the place of a grant that moves is free once it moved", rules: []Rule{ruleFor(t, want(1), 1000)}, closed: []Cover{closeX}, opens: []Want{want(1)}, put: []Rule{ruleFor(t, want(1), 100), x(1000)}},
		{what: "if they wait for each other the grant is deleted first", rules: []Rule{ruleFor(t, want(1), 1000), x(100)}, closed: []Cover{closeX}, opens: []Want{want(1)}, del: []string{want(1).Name}, put: []Rule{x(1000), ruleFor(t, want(1), 100)}},
		{what: "the place of a rule that is away is not", away: []Rule{theirs(1000)}, closed: []Cover{closeX}, put: []Rule{x(1001)}},
		{what: "nor to a grant", away: []Rule{theirs(100)}, opens: []Want{want(1)}, put: []Rule{ruleFor(t, want(1), 101)}},
		{what: "a grant in such a place moves", rules: []Rule{ruleFor(t, want(1), 100)}, away: []Rule{theirs(100)}, opens: []Want{want(1)}, put: []Rule{ruleFor(t, want(1), 101)}},
		{what: "and so does a deny rule", rules: []Rule{x(1000)}, away: []Rule{theirs(1000)}, closed: []Cover{closeX}, put: []Rule{x(1001)}},

		{what: "neighbours stay closed", rules: []Rule{denyRule(1000, TCP, "10.0.0.7 10.0.0.3/32", "22", ssh)}, closed: []Cover{closeX}, put: []Rule{denyRule(1000, TCP, "10.0.0.3 10.0.0.5 10.0.0.7", "22", ssh)}},
		{what: "what is no address of a machine is dropped", rules: []Rule{denyRule(1000, TCP, "10.0.0.0/24 10.0.0.7 VirtualNetwork 789", "22", ssh)}, closed: []Cover{closeX}, put: []Rule{denyRule(1000, TCP, "10.0.0.5 10.0.0.7", "22", ssh)}},
		{what: "so is the other family, which ARM would refuse beside it", rules: []Rule{denyRule(1000, TCP, "10.0.0.7", "22", ssh), edited(denyRule(1001, TCP, "fd00::1", "22", ssh), func(r *Rule) { r.Destinations = []string{"10.0.0.8"} })},
			closed: []Cover{closeX, cover("fd00::5", ssh)}, put: []Rule{denyRule(1000, TCP, "10.0.0.5 10.0.0.7", "22", ssh), denyRule(1001, TCP, "fd00::5", "22", ssh)}},
		{what: "an edited rule is put back, with its neighbours", rules: []Rule{edited(x(1000), func(r *Rule) {
			r.Access, r.DestinationPorts, r.Destinations, r.Verbatim = Allow, []string{"*"}, []string{"10.0.0.7"}, []byte("{}")
		})}, closed: []Cover{closeX}, put: []Rule{denyRule(1000, TCP, "10.0.0.5 10.0.0.7", "22", ssh)}},
		{what: "one turned outbound too", rules: []Rule{edited(x(1000), func(r *Rule) { r.Direction = Outbound })}, closed: []Cover{closeX}, put: []Rule{x(1000)}},
		{what: "one that nothing wants stays as it is", rules: []Rule{edited(x(500), func(r *Rule) { r.DestinationPorts = []string{"1-100"} })}},
		{what: "unless it allows", rules: []Rule{edited(x(500), func(r *Rule) { r.Access = Allow })}, del: []string{x(0).Name}},

		{what: "a full band", rules: []Rule{theirs(1000)}, closed: []Cover{closeX}, deny: Band{1000, 1000}, unplaced: map[string]UnplacedCode{x(0).Name: BandFull}},
		{what: "in a full band it stays as it was", rules: []Rule{theirs(1000), denyRule(999, TCP, "10.0.0.7", "22", ssh)}, closed: []Cover{closeX}, deny: Band{1000, 1000}, unplaced: map[string]UnplacedCode{x(0).Name: BandFull}},
		{what: "but not if it allows", rules: []Rule{theirs(1000), edited(x(999), func(r *Rule) { r.Access = Allow })}, closed: []Cover{closeX}, deny: Band{1000, 1000}, del: []string{x(0).Name}, unplaced: map[string]UnplacedCode{x(0).Name: BandFull}},
		{what: "a band beyond what ARM takes", rules: []Rule{theirs(4096)}, closed: []Cover{closeX}, deny: Band{4096, 9999}, unplaced: map[string]UnplacedCode{x(0).Name: BandFull}},
		{what: "the name in other letters", rules: []Rule{edited(x(1000), func(r *Rule) { r.Name = strings.ToUpper(r.Name) })}, closed: []Cover{closeX}, unplaced: map[string]UnplacedCode{x(0).Name: NameTaken}},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := DefaultBands
			if c.deny != (Band{}) {
				b.Deny = c.deny
			}
			checkPlan(t, Group{Rules: c.rules}, Desired{Closed: c.closed, Open: c.opens, Away: c.away}, b, c.put, c.del, c.unplaced)
		})
	}
}

// Closing comes before opening when there is room for one only, and a deny rule
// that finds no room for more stays what it was.
func TestDenyRulesAndLimits(t *testing.T) {
	name := DenyName(TCP, []PortRange{ssh}, false)
	closed := []Cover{cover("10.0.0.5", ssh)}
	var rules []Rule
	for i := range MaxRules - 1 {
		r := in(fmt.Sprintf("theirs-%d", i), 100+i, Allow, TCP, "*", "*", "443")
		r.Direction = Outbound
		rules = append(rules, r)
	}
	deny := denyRule(1000, TCP, "10.0.0.5", "22", ssh)
	grant := ruleFor(t, want(1), 100)
	full := Group{Rules: append(slices.Clone(rules), grant)}
	checkPlan(t, full, Desired{Closed: closed, Open: []Want{want(1)}}, DefaultBands, []Rule{deny}, []string{grant.Name}, map[string]UnplacedCode{grant.Name: RuleLimit})
	full.Rules[MaxRules-1] = in("last", 100, Allow, TCP, "*", "*", "443")
	checkPlan(t, full, Desired{Closed: closed}, DefaultBands, nil, nil, map[string]UnplacedCode{name: RuleLimit})

	filler := in("theirs", 2000, Allow, TCP, "*", strings.Repeat("10.1.0.1 ", MaxAddresses-2), "443")
	small := denyRule(1000, TCP, "10.0.0.6", "22", ssh)
	checkPlan(t, Group{Rules: []Rule{filler, small}}, Desired{Closed: closed}, DefaultBands, []Rule{denyRule(1000, TCP, "10.0.0.5 10.0.0.6", "22", ssh)}, nil, nil)
	closed = append(closed, cover("10.0.0.7", ssh))
	checkPlan(t, Group{Rules: []Rule{filler, small}}, Desired{Closed: closed}, DefaultBands, nil, nil, map[string]UnplacedCode{name: AddressLimit})

	// What one rule gives up makes room for another, whichever is looked at first.
	large := denyRule(1001, TCP, "10.0.0.8 10.0.0.9", "3389", rdp)
	filler.Destinations = filler.Destinations[:MaxAddresses-3]
	d := Desired{Closed: closed, Released: []Release{{Covers: []Cover{cover("10.0.0.8 10.0.0.9", rdp)}}}}
	d.Closed = append(d.Closed, cover("10.0.0.1", rdp))
	checkPlan(t, Group{Rules: []Rule{filler, denyRule(1000, TCP, "10.0.0.5", "22", ssh), large}}, d, DefaultBands,
		[]Rule{denyRule(1000, TCP, "10.0.0.5 10.0.0.7", "22", ssh), denyRule(1001, TCP, "10.0.0.1", "3389", rdp)}, nil, nil)
}

func TestFlush(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		is     bool
		wanted *bool
		writes int
	}{{false, nil, 0}, {true, nil, 0}, {true, &yes, 0}, {false, &no, 0}, {false, &yes, 1}, {true, &no, 1}} {
		g := Group{FlushConnection: c.is}
		plan := MakePlan(g, Desired{Flush: c.wanted}, DefaultBands)
		if plan.Changes() != c.writes || plan.Empty() != (c.writes == 0) || (plan.Flush != nil) != (c.writes == 1) {
			t.Errorf("%+v: %+v", c, plan)
		}
		if after := plan.Apply(g); c.wanted != nil && after.FlushConnection != *c.wanted || c.wanted == nil && after.FlushConnection != c.is {
			t.Errorf("%+v: flush is %v", c, after.FlushConnection)
		}
	}
}

func TestDenyNamesTellRulesApart(t *testing.T) {
	// Names are kept in groups for years; another hash would orphan them all.
	if name := DenyName(TCP, []PortRange{ssh, rdp}, false); name != "jitgate-deny-276e3cb81d84" {
		t.Errorf("the name is %q", name)
	}
	names := map[string]string{}
	for _, protocol := range []Protocol{AnyProtocol, TCP, UDP} {
		for _, ranges := range [][]PortRange{{{First: 22, Last: 22}}, {{First: 22, Last: 23}}, {{First: 22, Last: 22}, {First: 24, Last: 24}}, {{Last: 65535}}} {
			for _, v6 := range []bool{false, true} {
				name, what := DenyName(protocol, ranges, v6), fmt.Sprint(protocol, ranges, v6)
				if names[name] != "" {
					t.Errorf("%s and %s share the name %s", what, names[name], name)
				}
				names[name] = what
			}
		}
	}
}

func FuzzDenyName(f *testing.F) {
	f.Add("Tcp", uint16(22), uint16(22), uint16(3389), uint16(3389), false)
	f.Add("*", uint16(0), uint16(100), uint16(101), uint16(65535), true)
	f.Add("udp", uint16(5), uint16(4), uint16(4), uint16(9), false)
	shape := regexp.MustCompile(`^jitgate-deny-[0-9a-f]{12}$`)
	f.Fuzz(func(t *testing.T, protocol string, a, b, c, d uint16, v6 bool) {
		one, two := PortRange{First: a, Last: b}, PortRange{Protocol: UDP, First: c, Last: d}
		name := DenyName(Protocol(protocol), []PortRange{one, two}, v6)
		if !shape.MatchString(name) {
			t.Fatalf("%q", name)
		}
		// The name is that of the set: order, repetition and what lies inside of
		// another range do not matter, and the ports written are that set.
		inside := PortRange{First: a, Last: a}
		if a > b {
			inside = one
		}
		other := DenyName(Protocol(strings.ToUpper(protocol)), []PortRange{two, inside, one, two}, v6)
		if _, known := Protocol(protocol).canonical(); known && other != name {
			t.Fatalf("%q and %q", name, other)
		}
		runs, unread := portSet(canonicalPorts([]PortRange{one, two}))
		if len(unread) > 0 {
			t.Fatalf("no ports: %q", unread)
		}
		for _, p := range []uint16{a, b, c, d, a - 1, b + 1, c - 1, d + 1, 0, 65535} {
			in := one.First <= p && p <= one.Last || two.First <= p && p <= two.Last
			if got := holds(runs, ports{p, p}); got != in {
				t.Fatalf("%d: %v, want %v", p, got, in)
			}
		}
	})
}
