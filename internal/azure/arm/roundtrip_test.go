package arm_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/access"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

// drawTheirs draws the properties of a rule of others in the words of ARM, every
// other time one that protecting "subnet-only" or "both" takes away: it says in the
// first of the ways, as many as given, what opens a port to everybody.
func drawTheirs(t *rapid.T, priority int) string {
	p := object{"priority": priority}
	opens := rapid.Bool().Draw(t, "opens")
	set := func(label string, opening int, ways ...object) {
		if opens {
			ways = ways[:opening]
		}
		for member, value := range rapid.SampledFrom(ways).Draw(t, label) {
			p[member] = value
		}
	}
	asg := []any{object{"id": scope + "Microsoft.Network/applicationSecurityGroups/asg-web"}}
	set("direction", 1, object{"direction": "Inbound"}, object{"direction": "Outbound"})
	set("access", 1, object{"access": "Allow"}, object{"access": "Deny"})
	set("protocol", 3, object{"protocol": "Tcp"}, object{"protocol": "tcp"}, object{"protocol": "*"}, object{"protocol": "Icmp"})
	set("source", 4, object{"sourceAddressPrefix": "*"}, object{"sourceAddressPrefix": "Internet"}, object{"sourceAddressPrefix": "0.0.0.0/0"},
		object{"sourceAddressPrefixes": []string{"0.0.0.0/1", "128.0.0.0/1"}}, object{"sourceAddressPrefix": "203.0.113.0/24"}, object{"sourceApplicationSecurityGroups": asg})
	set("source ports", 1, object{"sourcePortRange": "*"}, object{"sourcePortRanges": []string{"1-5", "9"}})
	set("destination", 5, object{"destinationAddressPrefix": "10.0.1.7"}, object{"destinationAddressPrefix": "10.0.1.7/32"}, object{"destinationAddressPrefixes": []string{"10.0.1.7"}},
		object{"destinationAddressPrefixes": []string{"10.0.1.5", "10.0.1.4"}}, object{"destinationAddressPrefix": "10.0.1.4"}, object{"destinationAddressPrefixes": []string{"10.0.1.4", "10.0.1.7"}},
		object{"destinationAddressPrefix": "*"}, object{"destinationAddressPrefix": "VirtualNetwork"}, object{"destinationApplicationSecurityGroups": asg})
	set("ports", 3, object{"destinationPortRange": "22"}, object{"destinationPortRange": "22-22"}, object{"destinationPortRanges": []string{"5985-5986", "22"}},
		object{"destinationPortRange": "443"}, object{"destinationPortRange": "*"})
	set("description", 3, object{}, object{"description": ""}, object{"description": "opened <by> & for \"us\" é\u2028"})
	set("unknown members", 2, object{}, object{"logging": object{"level": "full", "weights": []any{1, json.Number("2.50"), json.Number("1e3"), json.Number("12345678901234567890")}, "provisioningState": "mine"}})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// atMost lowers the number of rapid's checks unless one was asked for.
func atMost(t *testing.T, checks int) {
	f := flag.Lookup("rapid.checks")
	if was := f.Value.String(); was == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(checks)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(was) })
	}
}

var closedPorts = [][]nsg.PortRange{
	access.ManagementPorts,
	{{Protocol: nsg.TCP, First: 22, Last: 22}},
	{{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.UDP, First: 3389, Last: 3389}},
	{{Protocol: nsg.AnyProtocol, First: 0, Last: 65535}},
}

// sentry is what protecting one machine wants of the NSG.
type sentry struct {
	machine         string
	cover           nsg.Cover
	former          []nsg.Cover
	removed         []nsg.Rule
	done, leaving   bool
	flush, flushSet bool
}

// desired puts the sentries together as a book does (access, desire.go).
func desired(sentries []*sentry, open []nsg.Want) nsg.Desired {
	d := nsg.Desired{Open: open}
	for _, s := range sentries {
		switch {
		case s.leaving:
			d.Released = append(d.Released, nsg.Release{Covers: append(slices.Clone(s.former), s.cover), Back: s.removed})
		case s.done:
			d.Released = append(d.Released, nsg.Release{Covers: s.former})
		default:
			d.Closed = append(d.Closed, s.former...)
		}
		if !s.leaving {
			d.Closed = append(d.Closed, s.cover)
			d.Away = append(d.Away, s.removed...)
		}
		if on := !s.leaving && s.flush; on {
			d.Flush = yes
		} else if s.flushSet && !s.done && d.Flush == nil {
			d.Flush = no
		}
	}
	return d
}

// TestProtectingAndUnprotectingLeavesNoTrace protects machines through ARM, changes
// what is protected, and lets go of them, while grants come and go. Nothing of the
// group may differ afterwards, whether it could be written as a whole or only rule
// by rule.
func TestProtectingAndUnprotectingLeavesNoTrace(t *testing.T) {
	atMost(t, 25) // in either mode; each makes some dozens of writes
	removed := 0
	t.Run("as a whole", func(t *testing.T) {
		counts := map[string]int{}
		rapid.Check(t, func(t *rapid.T) { removed += comeAndGo(t, true, counts) })
		if counts["nsg.put"] == 0 {
			t.Errorf("writes %v", counts)
		}
	})
	t.Run("rule by rule", func(t *testing.T) {
		counts := map[string]int{}
		rapid.Check(t, func(t *rapid.T) { removed += comeAndGo(t, false, counts) })
		if counts["rule.put"] == 0 || counts["rule.delete"] == 0 {
			t.Errorf("writes %v", counts)
		}
	})
	if removed == 0 {
		t.Error("nothing of others was ever in the way")
	}
}

// comeAndGo is one such story. It returns how many rules of others were away for a
// while and adds to the counts of writes.
func comeAndGo(t *rapid.T, whole bool, counts map[string]int) (removed int) {
	alone := rapid.Bool().Draw(t, "alone")
	where, machines := topology(), []string{"subnet-only", "both"}
	if alone { // the NSG is the NIC's own
		g := &where.Subscriptions[0].ResourceGroups[0]
		g.VNets[0].Subnets[1].NSG, g.VMs[1].NICs[0].NSG, g.VMs[3].NICs[0].NSG = "", "", "nsg-a"
		machines = machines[:1]
	}
	e := start(t, local.Options{Topology: where})
	free := rapid.Permutation([]int{100, 101, 102, 500, 998, 999, 1000, 1001, 1002, 1003, 1004, 2000, 4095, 4096}).Draw(t, "priorities")
	for i := range rapid.IntRange(0, 10).Draw(t, "rules of others") {
		if err := e.PutRuleJSON(nsgID, fmt.Sprintf("theirs-%d", i), []byte(drawTheirs(t, free[i]))); err != nil {
			t.Fatal(err)
		}
	}
	if rapid.Bool().Draw(t, "flushed before") {
		e.apply(t, nsg.Plan{Flush: yes})
	}
	before := e.json(t)
	if !whole {
		e.SetHooks(func(op local.Op) *local.Fault {
			if op.Kind == "nsg.put" {
				return &local.Fault{Status: 403, Code: "AuthorizationFailed"}
			}
			return nil
		}, nil)
	}

	var on []*sentry
	var grants []nsg.Want
	match := func() {
		if rapid.Bool().Draw(t, "grants change") {
			grants = drawWants(t)
		}
		e.ResetCounts()
		got, err := e.Match(e.ctx, id, func(g nsg.Group) nsg.Plan { return nsg.MakePlan(g, desired(on, grants), nsg.DefaultBands) })
		if err != nil {
			t.Fatal(err)
		}
		if !whole {
			delete(got.Refused, "") // FlushConnection needs the whole
		}
		if len(got.Refused)+len(got.Unplaced) > 0 {
			t.Fatalf("refused %v, unplaced %v", got.Refused, got.Unplaced)
		}
		for kind, n := range e.writeCounts() {
			counts[kind] += n
		}
		for _, s := range on {
			for _, r := range s.removed {
				if s.leaving != slices.Contains(e.RuleNames(nsgID), r.Name) {
					t.Fatalf("%s, leaving %v: %s is not where it should be", s.machine, s.leaving, r.Name)
				}
			}
			for _, name := range s.cover.RuleNames() {
				if !s.leaving && !slices.Contains(e.ours(), name) {
					t.Fatalf("%s is not closed by %s", s.machine, name)
				}
			}
		}
	}
	protect := func(s *sentry) {
		m, err := e.Locate(e.ctx, vm(s.machine))
		if err != nil {
			t.Fatal(err)
		}
		g, err := e.Group(e.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if s.done = false; len(s.cover.Ports) > 0 {
			s.former = append(s.former, s.cover)
		}
		s.cover = nsg.Cover{Ports: rapid.SampledFrom(closedPorts).Draw(t, s.machine+" ports"), Addresses: m.Interfaces[0].Addresses}
		if g.OnlyFor(m.Interfaces[0].ID.String()) != alone {
			t.Fatalf("alone: %v", !alone)
		}
		remove, _ := g.Opens(s.cover, alone)
		s.removed = append(s.removed, remove...) // what it opened before is gone already
		removed += len(remove)
		if s.flush = rapid.Bool().Draw(t, s.machine+" flush"); s.flush {
			s.flushSet = s.flushSet || !g.FlushConnection || slices.ContainsFunc(on, func(o *sentry) bool { return o.flushSet })
		}
		match()
		s.done = true
		match()
		s.former = nil
		s.flushSet = s.flushSet && s.flush
	}

	for _, machine := range rapid.Permutation(machines).Draw(t, "order")[:rapid.IntRange(1, len(machines)).Draw(t, "machines")] {
		on = append(on, &sentry{machine: machine})
		protect(on[len(on)-1])
	}
	if rapid.Bool().Draw(t, "other ports") {
		protect(on[0])
	}
	for len(on) > 0 {
		s := on[rapid.IntRange(0, len(on)-1).Draw(t, "leaves")]
		s.leaving, s.done = true, false
		match()
		on = slices.DeleteFunc(on, func(o *sentry) bool { return o == s })
	}
	if _, err := e.match(); err != nil { // the grants end
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, e.json(t)); diff != "" {
		t.Fatal(diff)
	}
	return removed
}
