package nsg

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is a rule as protecting removed it.
func recorded(name string, priority int) Rule {
	r := in(name, priority, Allow, TCP, "Internet", "10.0.0.5", "22")
	r.Description, r.Verbatim = "for ops", []byte(`{"priority":`+fmt.Sprint(priority)+`,"new":true}`)
	return r
}

func TestAway(t *testing.T) {
	r := recorded("allow-ssh", 300)
	for _, c := range []struct {
		what  string
		stand Rule
		del   []string
	}{
		{"as it was recorded", r, []string{"allow-ssh"}},
		{"written another way", edited(r, func(r *Rule) {
			r.Destinations, r.Access, r.Verbatim = []string{"10.0.0.5/32"}, "allow", nil
		}), []string{"allow-ssh"}},
		{"in other letters", edited(r, func(r *Rule) { r.Name = "Allow-SSH" }), []string{"Allow-SSH"}},
		{"under another name", edited(r, func(r *Rule) { r.Name = "allow-ssh2" }), nil},
		{"at another priority", edited(r, func(r *Rule) { r.Priority = 301 }), nil},
		{"with another meaning", edited(r, func(r *Rule) { r.Sources = []string{"203.0.113.0/24"} }), nil},
		{"with another description", edited(r, func(r *Rule) { r.Description = "mine" }), nil},
		{"outbound", edited(r, func(r *Rule) { r.Direction = Outbound }), nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			checkPlan(t, Group{Rules: []Rule{c.stand}}, Desired{Away: []Rule{r}}, DefaultBands, nil, c.del, nil)
		})
	}
}

func TestReleases(t *testing.T) {
	back, second := recorded("allow-ssh", 1000), recorded("allow-ops", 1500)
	x := denyRule(1001, TCP, "10.0.0.5", "22", ssh)
	both := denyRule(1001, TCP, "10.0.0.5 10.0.0.6", "22", ssh)
	other := denyRule(1001, TCP, "10.0.0.6", "22", ssh)
	at := func(priority int, r Rule) Rule { r.Priority = priority; return r }
	covers := []Cover{cover("10.0.0.5", ssh)}
	theirs := func(name string, priority int) Rule { return in(name, priority, Deny, TCP, "*", "*", "443") }
	for _, c := range []struct {
		what     string
		rules    []Rule
		d        Desired
		put      []Rule
		del      []string
		unplaced map[string]UnplacedCode
	}{
		{what: "back as it was", rules: []Rule{x}, d: Desired{Released: []Release{{covers, []Rule{back, second}}}}, put: []Rule{back, second}, del: []string{x.Name}},
		{what: "without anything to bring back", rules: []Rule{x}, d: Desired{Released: []Release{{Covers: covers}}}, del: []string{x.Name}},
		{what: "it has happened", rules: []Rule{back}, d: Desired{Released: []Release{{covers, []Rule{back}}}}},
		{what: "half of it has", rules: []Rule{back, x}, d: Desired{Released: []Release{{covers, []Rule{back, second}}}}, put: []Rule{second}, del: []string{x.Name}},
		{what: "what stands there may be written another way", rules: []Rule{edited(back, func(r *Rule) { r.Name, r.Verbatim = "Allow-SSH", nil })}, d: Desired{Released: []Release{{covers, []Rule{back}}}}},

		{what: "others that are closed stay closed", rules: []Rule{both}, d: Desired{Closed: []Cover{cover("10.0.0.6", ssh)}, Released: []Release{{Covers: covers}}}, put: []Rule{other}},
		{what: "others that nobody speaks of too, in place", rules: []Rule{edited(both, func(r *Rule) { r.Destinations = append(r.Destinations, "10.2.0.0/16") })}, d: Desired{Released: []Release{{Covers: covers}}},
			put: []Rule{edited(other, func(r *Rule) { r.Destinations = append(r.Destinations, "10.2.0.0/16") })}},
		{what: "what was read is not written back after a change", rules: []Rule{edited(both, func(r *Rule) { r.Verbatim = []byte("{}") })}, d: Desired{Released: []Release{{Covers: covers}}}, put: []Rule{other}},
		{what: "an address in another writing is found", rules: []Rule{edited(x, func(r *Rule) { r.Destinations = []string{"10.0.0.5/32"} })}, d: Desired{Released: []Release{{Covers: covers}}}, del: []string{x.Name}},
		{what: "a rule with a group left stays", rules: []Rule{edited(x, func(r *Rule) { r.DestinationASGs = []string{"/asg"} })}, d: Desired{Released: []Release{{Covers: covers}}},
			put: []Rule{edited(x, func(r *Rule) { r.DestinationASGs, r.Destinations = []string{"/asg"}, []string{} })}},
		{what: "a rule without the address is left alone", rules: []Rule{edited(other, func(r *Rule) { r.Destinations = []string{"10.0.0.6", "10.0.0.0/24"} })}, d: Desired{Released: []Release{{Covers: covers}}}},
		{what: "released and closed is closed", rules: []Rule{at(1000, x)}, d: Desired{Closed: covers, Released: []Release{{Covers: covers}}}},
		{what: "outgrown ports", rules: []Rule{denyRule(1000, TCP, "10.0.0.5", "22 3389", ssh, rdp)}, d: Desired{Closed: covers, Released: []Release{{Covers: []Cover{cover("10.0.0.5", ssh, rdp)}}}},
			put: []Rule{at(1000, x)}, del: []string{DenyName(TCP, []PortRange{ssh, rdp}, false)}},
		{what: "an outgrown address", rules: []Rule{at(1000, x)}, d: Desired{Closed: []Cover{cover("10.0.0.6", ssh)}, Released: []Release{{Covers: covers}}}, put: []Rule{at(1000, other)}},

		{what: "the name is taken", rules: []Rule{x, edited(theirs("Allow-SSH", 200), func(r *Rule) { r.Direction = Outbound })}, d: Desired{Released: []Release{{covers, []Rule{back, second}}}}, unplaced: map[string]UnplacedCode{"allow-ssh": NameTaken}},
		{what: "even by the rule itself, elsewhere", rules: []Rule{x, at(1200, back)}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, unplaced: map[string]UnplacedCode{"allow-ssh": NameTaken}},
		{what: "the priority is held", rules: []Rule{x, theirs("theirs", 1000)}, d: Desired{Released: []Release{{covers, []Rule{back, second}}}}, unplaced: map[string]UnplacedCode{"allow-ssh": PriorityHeld}},
		{what: "both have no place", rules: []Rule{x, theirs("theirs", 1000), theirs("allow-ops", 101)}, d: Desired{Released: []Release{{covers, []Rule{back, second}}}}, unplaced: map[string]UnplacedCode{"allow-ssh": PriorityHeld, "allow-ops": NameTaken}},
		{what: "an outbound rule does not hold it", rules: []Rule{x, edited(theirs("theirs", 1000), func(r *Rule) { r.Direction = Outbound })}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, put: []Rule{back}, del: []string{x.Name}},
		{what: "nor does one of ours that goes", rules: []Rule{in("jitgate-by-hand", 1000, Allow, TCP, "*", "*", "22"), x}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, put: []Rule{back}, del: []string{"jitgate-by-hand", x.Name}},
		{what: "nor one that moves", rules: []Rule{ruleFor(t, want(1), 1000), at(1001, x)}, d: Desired{Open: []Want{want(1)}, Released: []Release{{covers, []Rule{back}}}}, put: []Rule{ruleFor(t, want(1), 100), back}, del: []string{x.Name}},
		{what: "nor the deny rule itself", rules: []Rule{at(1000, x)}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, put: []Rule{back}, del: []string{x.Name}},
		{what: "one that denies for nobody does", rules: []Rule{x, in("jitgate-by-hand", 1000, Deny, TCP, "*", "*", "22")}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, unplaced: map[string]UnplacedCode{"allow-ssh": PriorityHeld}},
		{what: "nor a rule that is to be away", rules: []Rule{x, recorded("away", 1000)}, d: Desired{Away: []Rule{recorded("away", 1000)}, Released: []Release{{covers, []Rule{back}}}}, put: []Rule{back}, del: []string{"away", x.Name}},
		{what: "away and back is away", rules: []Rule{x}, d: Desired{Away: []Rule{back}, Released: []Release{{covers, []Rule{back}}}}, del: []string{x.Name}},
		{what: "also if it is there", rules: []Rule{x, back}, d: Desired{Away: []Rule{back}, Released: []Release{{covers, []Rule{back}}}}, del: []string{back.Name, x.Name}},
		{what: "what does not happen is closed where it was open", rules: []Rule{theirs("theirs", 1000)}, d: Desired{Released: []Release{{covers, []Rule{back}}}}, put: []Rule{x}, unplaced: map[string]UnplacedCode{"allow-ssh": PriorityHeld}},
		{what: "and keeps the address that another release gives up", rules: []Rule{x, theirs("theirs", 1000)}, d: Desired{Released: []Release{{covers, []Rule{back}}, {covers, []Rule{second}}}}, put: []Rule{second}, unplaced: map[string]UnplacedCode{"allow-ssh": PriorityHeld}},
		{what: "two that want one place", rules: []Rule{both}, d: Desired{Released: []Release{{[]Cover{cover("10.0.0.6", ssh)}, []Rule{recorded("b", 1000)}}, {covers, []Rule{recorded("a", 1000)}}}},
			put: []Rule{other, recorded("a", 1000)}, unplaced: map[string]UnplacedCode{"b": PriorityHeld}},
		{what: "two that bring back the same", rules: []Rule{both}, d: Desired{Released: []Release{{[]Cover{cover("10.0.0.6", ssh)}, []Rule{back}}, {covers, []Rule{back}}}}, put: []Rule{back}, del: []string{x.Name}},
		{what: "a damaged record", rules: []Rule{x}, d: Desired{Released: []Release{{covers, []Rule{at(99, back), recorded(Prefix+"x", 1000), edited(second, func(r *Rule) { r.Direction = Outbound })}}}},
			unplaced: map[string]UnplacedCode{"allow-ssh": InvalidWant, "jitgate-x": InvalidWant, "allow-ops": InvalidWant}},
	} {
		t.Run(c.what, func(t *testing.T) {
			checkPlan(t, Group{Rules: c.rules}, c.d, DefaultBands, c.put, c.del, c.unplaced)
		})
	}
}

func TestReleasesSayWhatHoldsThePriority(t *testing.T) {
	plan := MakePlan(Group{Rules: []Rule{in("theirs", 1000, Deny, TCP, "*", "*", "443")}}, Desired{Released: []Release{{Back: []Rule{recorded("allow-ssh", 1000)}}}}, DefaultBands)
	if len(plan.Unplaced) != 1 || !strings.Contains(plan.Unplaced[0].Reason, "1000") || !strings.Contains(plan.Unplaced[0].Reason, "theirs") {
		t.Errorf("%+v", plan.Unplaced)
	}
}

// A release gets the room that denying does not need, a grant what is left.
func TestReleasesAndLimits(t *testing.T) {
	back := recorded("allow-ssh", 1000)
	deny := denyRule(1001, TCP, "10.0.0.5", "22", ssh)
	closed := []Cover{cover("10.0.0.6", rdp)}
	others := denyRule(1001, TCP, "10.0.0.6", "3389", rdp)
	release := []Release{{[]Cover{cover("10.0.0.5", ssh)}, []Rule{back}}}
	var rules []Rule
	for i := range MaxRules - 1 {
		r := in(fmt.Sprintf("theirs-%d", i), 100+i, Allow, TCP, "*", "*", "443")
		r.Direction = Outbound
		rules = append(rules, r)
	}
	full := func(n int, more ...Rule) Group { return Group{Rules: append(append([]Rule{}, rules[:n]...), more...)} }
	checkPlan(t, full(MaxRules-1, deny), Desired{Released: release}, DefaultBands, []Rule{back}, []string{deny.Name}, nil)
	checkPlan(t, full(MaxRules-1, deny), Desired{Released: release, Open: []Want{want(1)}}, DefaultBands, []Rule{back}, []string{deny.Name}, map[string]UnplacedCode{want(1).Name: RuleLimit})
	// The room goes to the rule that closes; then nothing comes back and what was
	// closed would stay so, had it not lost its room.
	checkPlan(t, full(MaxRules-2, deny, others), Desired{Released: release, Closed: closed}, DefaultBands, []Rule{back}, []string{deny.Name}, nil)
	checkPlan(t, full(MaxRules-1, others), Desired{Released: release, Closed: closed}, DefaultBands, nil, nil, map[string]UnplacedCode{back.Name: RuleLimit, deny.Name: RuleLimit})

	filler := in("theirs", 2000, Allow, TCP, "*", strings.Repeat("10.1.0.1 ", MaxAddresses-1), "443")
	two := edited(back, func(r *Rule) { r.Destinations = []string{"10.0.0.5", "10.0.0.9"} })
	checkPlan(t, Group{Rules: []Rule{filler, deny}}, Desired{Released: []Release{{release[0].Covers, []Rule{two}}}}, DefaultBands, nil, nil, map[string]UnplacedCode{back.Name: AddressLimit})
}

// Plans are made from copies: what was handed in can be used again.
func TestReleasesLeaveTheirRecordAlone(t *testing.T) {
	record := []Rule{recorded("b", 1100), recorded("a", 1000)}
	d := Desired{Released: []Release{{Back: record}}}
	MakePlan(Group{}, d, DefaultBands)
	if diff := cmp.Diff([]Rule{recorded("b", 1100), recorded("a", 1000)}, record); diff != "" {
		t.Error(diff)
	}
}
