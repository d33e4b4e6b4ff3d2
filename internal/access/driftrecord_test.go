package access_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// A change of ports was carried out long ago. A later hitch must not close the old ports
// again.
func TestAHitchDoesNotRevivePortsOfAnEarlierWish(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protectOn(open01, portsOf(22, 443))
	w.deliver()
	w.protectOn(open01, portsOf(22))
	w.deliver()
	closes := func() bool {
		return w.group(openNSG).Denies(netip.MustParseAddr("10.0.0.9"), nsg.PortRange{Protocol: nsg.TCP, First: 443, Last: 443})
	}
	if closes() {
		t.Fatal("443 is still closed")
	}
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22")) // re-created, and locked
	w.network.RefuseRule("allow-ssh", access.ErrForbidden)
	w.sweep()
	w.sweep()
	if closes() {
		t.Errorf("443 was let go long ago and is closed again: %v", names(w.group(openNSG)))
	}
}

// Our own second step, and what owners do to rules of their own, is nobody's tampering.
func TestOurOwnChangesAreNoDrift(t *testing.T) {
	t.Run("address", func(t *testing.T) {
		w := newWorld(t).withOpen()
		w.protect(open01)
		w.deliver()
		w.network.AddMachine(open01, "10.0.0.19", openNSG)
		w.sweep()
		if got := w.notes(openNSG); got != "" {
			t.Errorf("noted: %s", got)
		}
	})
	t.Run("ports", func(t *testing.T) {
		w := newWorld(t)
		w.protect(vmID("db01"))
		w.protect(vmID("db02"))
		w.deliver()
		w.protectOn(vmID("db01"), portsOf(22))
		w.deliver()
		if got := w.notes(subnetNSG); got != "" {
			t.Errorf("noted: %s", got)
		}
	})
	t.Run("place", func(t *testing.T) {
		w := newWorld(t).withOpen()
		w.edit(openNSG, allowFrom("mine", 1000, "203.0.113.9", "*", "443"))
		w.protect(open01)
		w.deliver()
		w.network.Edit(openNSG, remove("mine"))
		w.sweep()
		if got := w.notes(openNSG); got != "" {
			t.Errorf("the owner removed a rule of his own; noted: %s", got)
		}
	})
}

// A rule with our prefix that Azure does not let us remove is told of once.
func TestWhatAzureRefusesIsNotedOnce(t *testing.T) {
	w := newWorld(t)
	w.edit(nicNSG, allowFrom("jitgate-by-hand", 200, "198.51.100.9", "*", "8443"))
	w.network.RefuseRule("jitgate-by-hand", access.ErrForbidden)
	w.sweep()
	first := len(w.noteKinds(nicNSG))
	for range 10 {
		w.sweep()
	}
	if got := len(w.noteKinds(nicNSG)); got > first+1 {
		t.Errorf("%d notes after eleven sweeps, %d after the first", got, first)
	}
}

// The process dies after it repaired the NSG and before it could note what it found. The
// finding must not be lost, or whoever deleted the deny rule would stay unseen.
func TestACrashAfterARepairKeepsTheFinding(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	deny := names(w.group(openNSG))[0]
	w.network.Edit(openNSG, remove(deny))
	w.clock.Advance(access.Patience + time.Second)
	_, err := w.service.Sweep(ctx)
	must(t, err)
	crash := &accesstest.Crash{At: 1, After: true}
	due := w.queue.Due(w.clock.Now())
	if err := accesstest.Deliver(ctx, crash.Service(w.service), due[0]); err == nil {
		t.Fatal("it did not die")
	}
	if _, where := crash.Died(); where != "match" {
		t.Fatalf("died at %q", where)
	}
	w.deliver()
	w.sweep()
	if got := w.notes(openNSG); !strings.Contains(got, "drift.deny-repaired") {
		t.Errorf("noted: %q", got)
	}
}

func (b *noWrites) Match(ctx context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (access.Outcome, error) {
	g, err := b.Group(ctx, id)
	if err != nil {
		return access.Outcome{}, err
	}
	p := plan(g)
	if !p.Empty() {
		return access.Outcome{}, fmt.Errorf("%w: 429", access.ErrUnavailable)
	}
	return access.Outcome{Group: g, Unplaced: p.Unplaced}, nil
}

type noWrites struct{ access.Network }

// The writes of ARM fail for a while: what was found is one fact.
func TestAnOutageIsNotedOnce(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.Edit(openNSG, remove(names(w.group(openNSG))[0]))
	healthy := w.service.Network
	w.service.Network = &noWrites{healthy}
	w.clock.Advance(access.Patience + time.Second)
	_, err := w.service.Sweep(ctx)
	must(t, err)
	for range 10 { // Service Bus delivers ten times
		for _, m := range w.queue.Due(w.clock.Now()) {
			_ = accesstest.Deliver(ctx, w.service, m)
		}
	}
	if got := w.noteKinds(openNSG); len(got) > 2 {
		t.Errorf("one deleted rule is %d notes, each of which says that it is put right: %v", len(got), got)
	}
}

// Somebody writes thousands of addresses into our deny rule, and takes ours out.
func TestALargeFindingDoesNotStopTheRepair(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	r := w.submit(ask("open01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	for _, name := range names(w.group(openNSG)) {
		if strings.HasPrefix(name, nsg.DenyPrefix) {
			w.network.Edit(openNSG, change(name, func(r *nsg.Rule) {
				r.Destinations = nil
				for i := range 3900 {
					r.Destinations = append(r.Destinations, fmt.Sprintf("10.%d.%d.%d", 100+i/65025, i/255%255, 1+i%255))
				}
			}))
		}
	}
	w.clock.Advance(access.Patience + time.Second)
	_, err := w.service.Sweep(ctx)
	must(t, err)
	for range 3 {
		for _, m := range w.queue.Due(w.clock.Now()) {
			if err := accesstest.Deliver(ctx, w.service, m); err != nil {
				t.Errorf("enforce: %.200v", err)
				continue
			}
			w.queue.Drop(m)
		}
	}
	for _, g := range w.group(openNSG).Rules {
		if strings.HasPrefix(g.Name, nsg.DenyPrefix) && !slices.Contains(g.Destinations, "10.0.0.9") {
			t.Errorf("not repaired: %d destinations", len(g.Destinations))
		}
	}
}

// ARM takes names for one whatever their case, so does the planner; the finding does as well.
func TestAReturnedRuleInAnotherCaseIsNoted(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.edit(openNSG, allowFrom("Allow-SSH", 300, "*", "*", "22"))
	w.sweep()
	if slices.Contains(names(w.group(openNSG)), "Allow-SSH") {
		t.Fatal("the rule that came back was not removed")
	}
	if got := w.notes(openNSG); !strings.Contains(got, "drift.rule-returned") {
		t.Errorf("a rule of others was deleted and nothing says so: %q", got)
	}
}

// The deny rule moves because an owner writes a rule of his own. Nobody touched ours.
func TestAMoveOfOursIsNoTampering(t *testing.T) {
	w := newWorld(t).withOpen()
	w.edit(openNSG, allowFrom("web-a", 1000, "203.0.113.9", "*", "443"), allowFrom("web-b", 1001, "203.0.113.9", "*", "443"))
	w.protect(open01)
	w.deliver()
	w.network.Edit(openNSG, remove("web-a"))
	w.network.Edit(openNSG, remove("web-b"))
	w.edit(openNSG, allowFrom("allow-vendors", 1001, "198.51.100.0/24", "*", "22"))
	w.sweep()
	if got := w.notes(openNSG); strings.Contains(got, "by others") {
		t.Errorf("an owner wrote a rule of his own; noted: %s", got)
	}
}

// A deny rule of ours that asks for a source port closes next to nothing.
func TestADenyRuleForOneSourcePortProtectsNothing(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	deny := names(w.group(openNSG))[0]
	w.network.Edit(openNSG, change(deny, func(r *nsg.Rule) { r.SourcePorts = []string{"1"} }))
	for _, m := range w.report().Machines {
		if m.VM.Equal(open01) && m.Protected {
			t.Error("reported as protected: jitgate's deny rules are there for every protected port")
		}
	}
}

// One rule, two things found, and Azure refuses both: each is a fact that is said once.
func TestAlternatingFindings(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	deny := names(w.group(openNSG))[0]
	w.network.RefuseRule(deny, access.ErrForbidden)
	w.network.Edit(openNSG, change(deny, func(r *nsg.Rule) { r.Access = nsg.Allow }))
	w.sweep()
	n := len(w.noteKinds(openNSG))
	for range 5 {
		w.sweep()
	}
	if got := w.noteKinds(openNSG); len(got) > n {
		t.Errorf("five sweeps at rest: %v", got[n:])
	}
	k := len(w.machineKinds(open01))
	for range 5 {
		w.sweep()
	}
	if got := w.machineKinds(open01); len(got) > k {
		t.Errorf("five sweeps at rest: %v", got[k:])
	}
}
