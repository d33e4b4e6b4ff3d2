package access_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// opened: does the NSG let a stranger from the internet in to a port of an address?
func (w *world) opened(id armid.ID, address string, port uint16) bool {
	w.tb.Helper()
	p := nsg.Packet{Source: netip.MustParseAddr("198.51.100.77"), Destination: netip.MustParseAddr(address), Port: port, Protocol: nsg.TCP}
	return w.group(id).Decide(p, nsg.Surroundings{VirtualNetwork: []netip.Prefix{accesstest.Space}}).Access == nsg.Allow
}

// A rule for "*" was removed while the NSG served one machine. Meanwhile another one
// is behind it, and protected. Unprotecting the first must not open the second.
func TestUnprotectingOneDoesNotOpenAnother(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01) // removes allow-ssh (* → *:22), alone behind its NSG
	w.deliver()
	w.network.AddMachine(vmID("late01"), "10.0.0.10", openNSG)
	w.protect(vmID("late01"))
	w.deliver()
	w.wantProtection(vmID("late01"), access.Protected)
	if w.opened(openNSG, "10.0.0.10", 22) {
		t.Fatal("late01 is open already")
	}
	f, err := w.service.ForecastUnprotect(ctx, open01, nil, bob)
	must(t, err)
	t.Logf("warnings of the what-if: %+v", f.Warnings)
	if _, err := w.service.Unprotect(ctx, open01, nil, bob); err != nil {
		t.Logf("refused: %v", err)
	}
	w.deliver()
	w.wantProtection(vmID("late01"), access.Protected)
	if w.opened(openNSG, "10.0.0.10", 22) {
		t.Errorf("late01 is recorded as Protected, and unprotecting open01 opened its port 22 to the internet: %v", names(w.group(openNSG)))
	}
}

// A2: a rule that also serves others is not removed. It served only open01 when it
// was recorded; now the NSG serves another machine, whose owner writes it anew.
func TestARuleThatServesOthersNowIsLeftAlone(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG) // leaves the NSG
	w.sweep()
	w.network.AddMachine(vmID("other01"), "10.0.0.10", openNSG) // which now serves somebody else only
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	w.sweep()
	if !slices.Contains(names(w.group(openNSG)), "allow-ssh") {
		t.Errorf("a rule that serves only another, unprotected machine was deleted: %v", w.notes(openNSG))
	}
}

// 3389 is not protected any more: the rule that opened it may be made anew by its owner.
func TestARuleOfAPortThatWasLetGoIsLeftAlone(t *testing.T) {
	w := newWorld(t).withOpen()
	w.edit(openNSG, allowFrom("allow-rdp", 310, "*", "10.0.0.9", "3389"))
	w.protect(open01)
	w.deliver()
	w.protectOn(open01, portsOf(22))
	w.deliver()
	back := slices.Contains(names(w.group(openNSG)), "allow-rdp")
	if !back {
		w.edit(openNSG, allowFrom("allow-rdp", 310, "*", "10.0.0.9", "3389"))
		w.sweep()
	}
	if !slices.Contains(names(w.group(openNSG)), "allow-rdp") {
		t.Errorf("jitgate deletes a rule for a port that it does not protect: %v", w.notes(openNSG))
	}
}

// The rule was made anew in another case and at another priority, and protect is
// repeated: ARM takes the two names for one, so only one of them can come back.
func TestARuleIsKeptOnceWhateverItsCase(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.edit(openNSG, allowFrom("Allow-SSH", 320, "*", "*", "22"))
	w.protect(open01)
	w.deliver()
	p := w.wantProtection(open01, access.Protected)
	_, err := w.service.Unprotect(ctx, open01, nil, bob)
	if err != nil {
		t.Errorf("%d copies; the NSG holds %v; unprotect: %v", len(p.Parts[0].Removed), names(w.group(openNSG)), err)
	}
}

// More rules to remove than one transaction holds events.
func TestAHundredRemovedRules(t *testing.T) {
	w := newWorld(t).withOpen()
	for i := range 120 {
		w.edit(openNSG, allowFrom(fmt.Sprintf("allow-%03d", i), 400+i, "*", "10.0.0.9", "22"))
	}
	w.protect(open01)
	for range 3 {
		for _, m := range w.queue.Due(w.clock.Now()) {
			if err := accesstest.Deliver(ctx, w.service, m); err != nil {
				t.Fatalf("deliver: %v", err)
			}
			w.queue.Drop(m)
		}
	}
	w.wantProtection(open01, access.Protected)
}

// Two NSGs hold a removed rule of one name; one of them cannot come back. The other
// must come back as it was.
func TestAPriorityIsForTheRuleThatNeedsIt(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-ssh", 300, "*", "10.0.0.5", "22"))
	w.edit(nicNSG, allowFrom("allow-ssh", 300, "*", "10.0.0.5", "22"))
	before := w.group(subnetNSG)
	w.protect(vmID("app01"))
	w.deliver()
	w.edit(nicNSG, allowFrom("intruder", 300, "198.51.100.7", "*", "443"))
	_, err := w.service.Unprotect(ctx, vmID("app01"), map[string]int{"allow-ssh": 310}, bob)
	must(t, err)
	w.deliver()
	wantSame(t, before, w.group(subnetNSG))
}

// The owner narrows the rule between the wish and the work: it stays, nothing of it has
// to come back, and the record says so.
func TestARuleChangedBeforeItWentStays(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.network.Edit(openNSG, change("allow-ssh", func(r *nsg.Rule) { r.Sources = []string{"203.0.113.9"} }))
	w.deliver()
	events, err := w.service.Store.ProtectionEvents(ctx, open01)
	must(t, err)
	for _, e := range events {
		if e.Kind == "rule.set-aside" && slices.Contains(names(w.group(openNSG)), e.Rule) {
			t.Errorf("%s: %s; it is there", e.Rule, e.Text)
		}
	}
	var rs access.Refusals
	if _, err := w.service.Unprotect(ctx, open01, nil, bob); errors.As(err, &rs) {
		t.Errorf("and unprotect is refused: %v", err)
	}
}

// Only rules that open a port of exactly that machine are removed.
func TestARuleForAnotherAddressIsLeftAlone(t *testing.T) {
	w := newWorld(t).withOpen()
	w.edit(openNSG, allowFrom("allow-other", 310, "*", "10.77.0.7", "22"))
	w.protect(open01)
	w.deliver()
	if !slices.Contains(names(w.group(openNSG)), "allow-other") {
		t.Error("a rule for 10.77.0.7 was removed while protecting 10.0.0.9")
	}
}

// The record says once that a rule was set aside, however often the wish changes.
func TestARuleIsSetAsideOnce(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.19", openNSG)
	w.sweep()
	n := 0
	for _, kind := range w.machineKinds(open01) {
		if kind == "rule.set-aside" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("one rule was set aside %d times: %v", n, w.machineKinds(open01))
	}
}
