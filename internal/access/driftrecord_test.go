package access_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
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
