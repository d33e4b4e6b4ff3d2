package nsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var until = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func uuidOf(i int) string { return fmt.Sprintf("0190a1b2-c3d4-7e5f-8a9b-%012x", i) }

func want(i int) Want {
	return Want{
		Name: AllowName(uuidOf(i), 1), Description: Description("user@domain.com", until),
		Source:       netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32),
		Destinations: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
		Protocol:     TCP, Ports: []uint16{22},
	}
}

// ruleFor is what stands for w once it was placed.
func ruleFor(t interface{ Fatalf(string, ...any) }, w Want, priority int) Rule {
	r, fault := w.rule()
	if fault != "" {
		t.Fatalf("%+v: %s", w, fault)
	}
	r.Priority = priority
	return r
}

func TestPlanWritesTheRuleOfAGrant(t *testing.T) {
	w := want(1)
	w.Source = netip.MustParsePrefix("203.0.113.9/24")
	w.Protocol = "TCP"
	w.Ports = []uint16{3389, 22, 22}
	w.Destinations = []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fd00::9"), netip.MustParseAddr("::ffff:10.0.0.5"), netip.MustParseAddr("10.0.0.9")}
	plan := MakePlan(Group{Rules: []Rule{in("theirs", 100, Allow, TCP, "*", "*", "443")}}, Desired{Open: []Want{w}}, DefaultBands)
	wanted := Plan{Put: []Rule{{
		Name: AllowName(uuidOf(1), 1), Description: "JIT rule for user@domain.com until 2026-03-01T12:00:00Z",
		Direction: Inbound, Access: Allow, Protocol: TCP, Priority: 101,
		Sources: []string{"203.0.113.0/24"}, SourcePorts: []string{"*"},
		Destinations: []string{"10.0.0.5", "10.0.0.9"}, DestinationPorts: []string{"22", "3389"},
	}}}
	if diff := cmp.Diff(wanted, plan); diff != "" {
		t.Error(diff)
	}
}

func TestPlans(t *testing.T) {
	one, two, three := want(1), want(2), want(3)
	placed := func(w Want, priority int) Rule { return ruleFor(t, w, priority) }
	change := func(r Rule, f func(*Rule)) Rule { f(&r); return r }
	theirs := func(priority int) Rule {
		return in(fmt.Sprintf("theirs-%d", priority), priority, Deny, TCP, "*", "*", "22")
	}
	outbound := change(theirs(100), func(r *Rule) { r.Direction = Outbound })
	for _, c := range []struct {
		what     string
		rules    []Rule
		wants    []Want
		band     Band
		put      map[string]int // name to priority
		del      []string
		unplaced map[string]UnplacedCode
	}{
		{what: "nothing wanted, nothing there"},
		{what: "the lowest free priority", rules: []Rule{theirs(100), theirs(102)}, wants: []Want{one, two}, put: map[string]int{one.Name: 101, two.Name: 103}},
		{what: "outbound priorities are apart", rules: []Rule{outbound}, wants: []Want{one}, put: map[string]int{one.Name: 100}},
		{what: "a standing rule is left alone", rules: []Rule{placed(one, 500)}, wants: []Want{one}},
		{what: "also when written another way", rules: []Rule{change(placed(one, 500), func(r *Rule) {
			r.Sources, r.Protocol, r.SourcePorts = []string{"203.0.113.1/32"}, "TCP", []string{"0-65535"}
		})}, wants: []Want{one}},
		{what: "a widened source is put back in place", rules: []Rule{change(placed(one, 500), func(r *Rule) { r.Sources = []string{"*"} })}, wants: []Want{one}, put: map[string]int{one.Name: 500}},
		{what: "before a new one gets its place", rules: []Rule{change(placed(two, 100), func(r *Rule) { r.Sources = []string{"*"} })}, wants: []Want{one, two}, put: map[string]int{one.Name: 101, two.Name: 100}},
		{what: "a denying rule is put back", rules: []Rule{change(placed(one, 500), func(r *Rule) { r.Access = Deny })}, wants: []Want{one}, put: map[string]int{one.Name: 500}},
		{what: "a new expiry is written in place", rules: []Rule{change(placed(one, 500), func(r *Rule) { r.Description = Description("user@domain.com", until.Add(-time.Hour)) })}, wants: []Want{one}, put: map[string]int{one.Name: 500}},
		{what: "out of the band it is moved", rules: []Rule{placed(one, 1500)}, wants: []Want{one}, put: map[string]int{one.Name: 100}},
		{what: "turned outbound it is moved", rules: []Rule{change(placed(one, 101), func(r *Rule) { r.Direction = Outbound }), theirs(100), theirs(101)}, wants: []Want{one}, put: map[string]int{one.Name: 102}},
		{what: "what nobody wants goes", rules: []Rule{placed(one, 100), placed(two, 101)}, wants: []Want{two}, del: []string{one.Name}},
		{what: "its priority is free at once", rules: []Rule{placed(one, 100)}, wants: []Want{two}, del: []string{one.Name}, put: map[string]int{two.Name: 100}},
		{what: "also to one that moves", rules: []Rule{placed(one, 200), placed(two, 100)}, wants: []Want{one}, band: Band{100, 100}, del: []string{two.Name}, put: map[string]int{one.Name: 100}},
		{what: "in either direction", rules: []Rule{change(placed(one, 100), func(r *Rule) { r.Direction = Outbound })}, del: []string{one.Name}},
		{what: "and whoever wrote it", rules: []Rule{in("jitgate-by-hand", 100, Allow, TCP, "*", "*", "22"), in("jitgate-", 101, Allow, TCP, "*", "*", "22"), in("jitgate-deny-000000000000", 102, Allow, TCP, "*", "*", "22")},
			del: []string{"jitgate-", "jitgate-by-hand", "jitgate-deny-000000000000"}},
		{what: "unless it denies", rules: []Rule{in("jitgate-by-hand", 100, Deny, TCP, "*", "*", "22"), in("jitgate-deny-000000000000", 101, Deny, TCP, "*", "*", "22"), change(placed(one, 102), func(r *Rule) { r.Access = "deny" }), change(in("jitgate-out", 100, Deny, TCP, "*", "*", "22"), func(r *Rule) { r.Direction = Outbound })}},
		{what: "names in other letters are not ours", rules: []Rule{in("Jitgate-by-hand", 100, Allow, TCP, "*", "*", "22"), in(strings.ToUpper(one.Name), 101, Allow, TCP, "*", "*", "22"), in("jitgate", 102, Allow, TCP, "*", "*", "22")}},
		{what: "a rule of ours in other letters makes way", rules: []Rule{change(placed(one, 100), func(r *Rule) { r.Name = Prefix + strings.ToUpper(r.Name[8:]) })}, wants: []Want{one}, put: map[string]int{one.Name: 100}, del: []string{Prefix + strings.ToUpper(one.Name[8:])}},
		{what: "unless it denies, then the name is taken", rules: []Rule{change(placed(one, 100), func(r *Rule) { r.Name, r.Access = Prefix+strings.ToUpper(r.Name[8:]), Deny })}, wants: []Want{one}, unplaced: map[string]UnplacedCode{one.Name: NameTaken}},

		{what: "a full band", rules: []Rule{theirs(100)}, wants: []Want{one, two, three}, band: Band{100, 102}, put: map[string]int{one.Name: 101, two.Name: 102}, unplaced: map[string]UnplacedCode{three.Name: BandFull}},
		{what: "standing rules keep their place in a full band", rules: []Rule{placed(three, 100)}, wants: []Want{one, two, three}, band: Band{100, 101}, put: map[string]int{one.Name: 101}, unplaced: map[string]UnplacedCode{two.Name: BandFull}},
		{what: "out of a full band it goes", rules: []Rule{theirs(100), placed(one, 200)}, wants: []Want{one}, band: Band{100, 100}, del: []string{one.Name}, unplaced: map[string]UnplacedCode{one.Name: BandFull}},
		{what: "a band that is none", rules: []Rule{placed(one, 100)}, wants: []Want{one}, band: Band{200, 100}, del: []string{one.Name}, unplaced: map[string]UnplacedCode{one.Name: BandFull}},
		{what: "a band beyond what ARM takes", rules: []Rule{theirs(4096)}, wants: []Want{one}, band: Band{4096, 9999}, unplaced: map[string]UnplacedCode{one.Name: BandFull}},
		{what: "a band below what ARM takes", wants: []Want{one}, band: Band{0, 9999}, put: map[string]int{one.Name: 100}},

		{what: "a foreign rule has the name", rules: []Rule{change(placed(one, 100), func(r *Rule) { r.Name = "Jitgate" + r.Name[7:] })}, wants: []Want{one, two}, put: map[string]int{two.Name: 101}, unplaced: map[string]UnplacedCode{one.Name: NameTaken}},
		{what: "a denying rule of the name stays if there is no room", rules: []Rule{change(placed(one, 200), func(r *Rule) { r.Access = Deny }), theirs(100)}, wants: []Want{one}, band: Band{100, 100}, unplaced: map[string]UnplacedCode{one.Name: BandFull}},
		{what: "the same want twice", wants: []Want{one, one}, put: map[string]int{one.Name: 100}},
		{what: "two wants that contradict each other", rules: []Rule{placed(one, 100)}, wants: []Want{one, func() Want { w := one; w.Ports = []uint16{23}; return w }(), one}, del: []string{one.Name}, unplaced: map[string]UnplacedCode{one.Name: InvalidWant}},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.band == (Band{}) {
				c.band = DefaultBand
			}
			plan := MakePlan(Group{Rules: c.rules}, Desired{Open: c.wants}, Bands{Allow: c.band, Deny: DefaultBands.Deny})
			put := map[string]int{}
			for _, r := range plan.Put {
				put[r.Name] = r.Priority
			}
			unplaced := map[string]UnplacedCode{}
			for _, u := range plan.Unplaced {
				unplaced[u.Name] = u.Code
				if !strings.HasSuffix(u.Reason, ".") {
					t.Errorf("no sentence: %q", u.Reason)
				}
			}
			for what, diff := range map[string]string{
				"put":      cmp.Diff(c.put, put, cmpopts.EquateEmpty()),
				"delete":   cmp.Diff(c.del, plan.Delete, cmpopts.EquateEmpty()),
				"unplaced": cmp.Diff(c.unplaced, unplaced, cmpopts.EquateEmpty()),
			} {
				if diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
			if plan.Changes() != len(c.put)+len(c.del) || plan.Empty() != (plan.Changes() == 0) {
				t.Errorf("%d changes, empty: %v", plan.Changes(), plan.Empty())
			}
		})
	}
}

func TestPlanKeepsAzuresLimits(t *testing.T) {
	many := func(n int, sources string) (rules []Rule) {
		for i := range n {
			r := in(fmt.Sprintf("theirs-%d", i), 100+i, Allow, TCP, sources, "*", "443")
			r.Direction = Outbound // out of the way of the band
			rules = append(rules, r)
		}
		return rules
	}
	addresses := func(n int) string { return strings.Repeat("198.51.100.1 ", n) }
	wants := []Want{want(1), want(2)}
	standing := ruleFor(t, want(2), 100)
	for _, c := range []struct {
		what     string
		rules    []Rule
		puts     int
		unplaced []UnplacedCode
	}{
		{"998 rules leave room for two", many(998, "*"), 2, nil},
		{"999 leave room for one", many(999, "*"), 1, []UnplacedCode{RuleLimit}},
		{"1000 for none", many(1000, "*"), 0, []UnplacedCode{RuleLimit, RuleLimit}},
		{"a standing rule counts once", append(many(998, "*"), standing), 1, nil},
		{"a rule to be deleted does not count", append(many(998, "*"), ruleFor(t, want(3), 100)), 2, nil},
		{"3998 addresses leave room for two", many(2, addresses(1999)), 2, nil},
		{"3999 for one", append(many(2, addresses(1999)), in("last", 4000, Deny, TCP, "198.51.100.0/24", "*", "1")), 1, []UnplacedCode{AddressLimit}},
		{"4000 destinations for none", func() []Rule {
			r := many(1, "Internet")
			r[0].Destinations = strings.Fields(addresses(4000))
			return r
		}(), 0, []UnplacedCode{AddressLimit, AddressLimit}},
		{"tags are no addresses", many(998, "VirtualNetwork"), 2, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			plan := MakePlan(Group{Rules: c.rules}, Desired{Open: wants}, DefaultBands)
			var codes []UnplacedCode
			for _, u := range plan.Unplaced {
				codes = append(codes, u.Code)
			}
			if len(plan.Put) != c.puts || !cmp.Equal(codes, c.unplaced) {
				t.Errorf("%d puts, unplaced %v", len(plan.Put), plan.Unplaced)
			}
		})
	}
}

// A rewrite that finds no room leaves its priority to whatever fits, in the same
// plan: a second one has nothing left to do.
func TestPlanPassesOnThePriorityOfARewriteWithoutRoom(t *testing.T) {
	foreign := in("theirs", 4000, Deny, TCP, "*", strings.Repeat("10.0.0.1 ", MaxAddresses-1), "22")
	large, small := want(1), want(2)
	large.Destinations = append(large.Destinations, netip.MustParseAddr("10.0.0.99"))
	g := Group{Rules: []Rule{foreign, ruleFor(t, want(1), 100)}}
	band, wants := Band{100, 100}, []Want{large, small}
	plan := MakePlan(g, Desired{Open: wants}, Bands{Allow: band, Deny: DefaultBands.Deny})
	if len(plan.Put) != 1 || plan.Put[0].Name != small.Name || !slices.Equal(plan.Delete, []string{large.Name}) ||
		len(plan.Unplaced) != 1 || plan.Unplaced[0].Code != AddressLimit {
		t.Errorf("%+v", plan)
	}
	if again := MakePlan(plan.Apply(g), Desired{Open: wants}, Bands{Allow: band, Deny: DefaultBands.Deny}); !again.Empty() {
		t.Errorf("planned again: %+v", again)
	}
}

func TestPlanRefusesWantsThatMakeNoRule(t *testing.T) {
	for what, spoil := range map[string]func(*Want){
		"foreign name":           func(w *Want) { w.Name = "allow-ssh" },
		"name of another kind":   func(w *Want) { w.Name = "jitgate-deny-1" },
		"long description":       func(w *Want) { w.Description = strings.Repeat("a", 141) },
		"no source":              func(w *Want) { w.Source = netip.Prefix{} },
		"source of two families": func(w *Want) { w.Source = netip.MustParsePrefix("::ffff:0.0.0.0/90") },
		"no destination":         func(w *Want) { w.Destinations = nil },
		"destination of the other family": func(w *Want) {
			w.Destinations = []netip.Addr{netip.MustParseAddr("fd00::1"), {}}
		},
		"no ports":              func(w *Want) { w.Ports = nil },
		"port 0":                func(w *Want) { w.Ports = []uint16{22, 0} },
		"protocol without port": func(w *Want) { w.Protocol = ICMP },
		"no protocol":           func(w *Want) { w.Protocol = "" },
	} {
		w := want(1)
		spoil(&w)
		plan := MakePlan(Group{Rules: []Rule{ruleFor(t, want(1), 100)}}, Desired{Open: []Want{w}}, DefaultBands)
		if len(plan.Put) != 0 || len(plan.Unplaced) != 1 || plan.Unplaced[0].Code != InvalidWant {
			t.Errorf("%s: %+v", what, plan)
		}
		if !slices.Equal(plan.Delete, []string{want(1).Name}) {
			t.Errorf("%s: the old rule stays: %+v", what, plan)
		}
	}
}
