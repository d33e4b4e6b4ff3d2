package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
)

// both: open01 was protected alone (its rule for everybody went), late01 joined the NSG
// and is protected too, so it holds the rule.
func both(t *testing.T) *world {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(late01, "10.0.0.10", openNSG)
	w.protect(late01)
	w.deliver()
	return w
}

var late01 = vmID("late01")

// The rule is open01's. It stays away for late01's sake "until that one is unprotected".
// late01 is deleted instead.
func TestARuleKeptForAMachineThatIsGoneReturns(t *testing.T) {
	w := both(t)
	w.unprotect(open01)
	w.deliver()
	w.wantProtection(open01, access.Unprotected)
	w.network.RemoveMachine(late01)
	w.sweep()
	w.sweep()
	w.wantProtection(late01, access.Unprotected)
	if !slices.Contains(names(w.group(openNSG)), "allow-ssh") {
		t.Errorf("open01 lives, is unprotected, and nothing is protected here; its rule is lost: %v", names(w.group(openNSG)))
	}
}

// The same with both leaving or gone, in other orders.
func TestHandOverOrders(t *testing.T) {
	for _, order := range [][]armid.ID{{open01, late01}, {late01, open01}} {
		w := both(t)
		for _, vm := range order {
			w.unprotect(vm)
			w.deliver()
		}
		if !slices.Contains(names(w.group(openNSG)), "allow-ssh") {
			t.Errorf("%v: %v", order, names(w.group(openNSG)))
		}
		w = both(t)
		for _, vm := range order {
			w.unprotect(vm)
		}
		w.deliver()
		if !slices.Contains(names(w.group(openNSG)), "allow-ssh") {
			t.Errorf("at once %v: %v", order, names(w.group(openNSG)))
		}
	}
}

// The owner has made the rule anew for both machines, so it stays. It stands already:
// nothing that comes back can open late01 any further.
func TestUnprotectWhenTheRuleStandsAlready(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(late01, "10.0.0.10", openNSG)
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	w.sweep()
	w.protect(late01)
	w.deliver()
	if !slices.Contains(names(w.group(openNSG)), "allow-ssh") {
		t.Fatal("not the scene")
	}
	_, err := w.service.Unprotect(ctx, open01, nil, bob)
	if err == nil {
		return
	}
	t.Logf("first: %v", err)
	w.protect(late01) // what the refusal asks for
	w.deliver()
	if _, err := w.service.Unprotect(ctx, open01, nil, bob); err != nil {
		t.Errorf("after doing what the refusal says: %v", err)
	}
}

// A repeat of protect wants nothing new.
func TestARepeatWithAStandingHeldRule(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(late01, "10.0.0.10", openNSG)
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	w.sweep()
	w.protect(late01)
	w.deliver()
	n := len(w.machineKinds(late01))
	for range 5 {
		w.protect(late01)
		w.deliver()
	}
	if got := w.machineKinds(late01); len(got) != n {
		t.Errorf("five repeats made %d events: %v", len(got)-n, got[n:])
	}
	events, _ := w.service.Store.ProtectionEvents(ctx, late01)
	for _, e := range events {
		if e.Kind == "rule.kept" && strings.Contains(e.Text, "changed by its owner before") {
			t.Errorf("%s: %s (nobody changed it in between)", e.Rule, e.Text)
			break
		}
	}
}

// A NIC is replaced; the new one has the same address behind the same NSG. A rule that
// was removed and comes back by a template goes again, as before.
func TestANewNICWithTheOldAddress(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	m, err := w.network.Locate(ctx, open01)
	must(t, err)
	m.Interfaces = slices.Clone(m.Interfaces)
	m.Interfaces[0].ID = accesstest.NIC(open01, 7)
	w.network.SetMachine(m)
	w.sweep()
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	w.sweep()
	w.sweep()
	if w.opened(openNSG, "10.0.0.9", 22) {
		t.Errorf("the rule that was removed is back, serves this machine only, and the sweep leaves it: %v", names(w.group(openNSG)))
	}
	w.protect(open01)
	w.deliver()
	w.wantProtection(open01, access.Protected)
	if w.opened(openNSG, "10.0.0.9", 22) {
		t.Errorf("protecting once more does not help either: %v", names(w.group(openNSG)))
	}
}

// While late01's wish is being changed, its guard counts as late and is out of the book:
// unprotecting open01 at that moment must not bring back what opens late01.
func TestAStaleGuardStillKeepsRulesAway(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(late01, "10.0.0.10", openNSG)
	w.protect(late01) // filed, not carried out
	w.unprotect(open01)
	crash := &accesstest.Crash{At: 1, After: true} // saved, not filed
	_, _ = crash.Service(w.service).Protect(ctx, late01, portsOf(22), bob)
	w.deliver()
	w.sweep()
	w.sweep()
	w.wantProtection(late01, access.Protected)
	if w.opened(openNSG, "10.0.0.10", 22) {
		t.Errorf("late01 holds allow-ssh and is Protected, and the rule is back: %v", names(w.group(openNSG)))
	}
}

// A rule that was set aside and that open01 gave another priority while it stays away.
func TestAPriorityForARuleThatStaysAway(t *testing.T) {
	w := both(t)
	w.edit(openNSG, allowFrom("mine", 300, "198.51.100.7", "*", "443"))
	var refused access.Refusals
	if _, err := w.service.Unprotect(ctx, open01, map[string]int{"allow-ssh": 310}, bob); !errors.As(err, &refused) || refused[0].Code != access.PriorityInvalid {
		t.Errorf("the number would be forgotten: %v", err)
	}
}
