package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// 443 is to be let go; when the second step comes, the NSG cannot be read for a while.
func TestUnreadableIsNotLetGo(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protectOn(open01, portsOf(22, 443))
	w.deliver()
	w.protectOn(open01, portsOf(22))
	first := w.queue.Due(w.clock.Now())
	for _, m := range first {
		must(t, accesstest.Deliver(ctx, w.service, m))
		w.queue.Drop(m)
	}
	w.network.Hide(openNSG, true)
	w.deliver()
	w.network.Hide(openNSG, false)
	w.sweep()
	w.sweep()
	w.unprotect(open01)
	w.deliver()
	w.sweep()
	if got := names(w.group(openNSG)); !slices.Equal(got, []string{"allow-ssh"}) {
		t.Errorf("unprotected, and the NSG holds %v", got)
	}
}

// A lock keeps the old deny rule from going. At rest the record does not grow.
func TestARefusedLetGoIsSaidOnce(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protectOn(open01, portsOf(22, 443))
	w.deliver()
	old := nsg.DenyName(nsg.TCP, portsOf(22, 443).Ports, false)
	w.network.RefuseRule(old, access.ErrForbidden)
	w.protectOn(open01, portsOf(22))
	w.deliver()
	w.sweep()
	w.sweep()
	n := len(w.machineKinds(open01))
	for range 10 {
		w.sweep()
	}
	if got := w.machineKinds(open01); len(got) > n+1 {
		t.Errorf("ten sweeps under a lock made %d events: %v", len(got)-n, got[n:])
	}
}

// flushConnection was switched off where the machine left; from then on it is the
// owner's. Unprotecting must leave it as it is.
func TestFlushOfAnNSGThatWasLeft(t *testing.T) {
	w := newWorld(t).withOpen()
	flush := ports22
	flush.Flush = new(true)
	w.protectOn(open01, flush)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG)
	w.sweep()
	if w.group(openNSG).FlushConnection {
		t.Fatal("still on")
	}
	w.network.Edit(openNSG, func(g *nsg.Group) { g.FlushConnection = true })
	w.sweep()
	w.unprotect(open01)
	w.deliver()
	if !w.group(openNSG).FlushConnection {
		t.Error("the owner had switched it on after the machine had left, and unprotect switched it off")
	}
}

// The wish for flushConnection ended long ago. A later hitch must not touch it.
func TestAHitchDoesNotReviveFlush(t *testing.T) {
	w := newWorld(t).withOpen()
	flush := ports22
	flush.Flush = new(true)
	w.protectOn(open01, flush)
	w.deliver()
	flush.Flush = new(false)
	w.protectOn(open01, flush)
	w.deliver()
	w.network.Edit(openNSG, func(g *nsg.Group) { g.FlushConnection = true }) // the owner's
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	w.network.RefuseRule("allow-ssh", access.ErrForbidden)
	w.sweep()
	w.sweep()
	if !w.group(openNSG).FlushConnection {
		t.Error("switched off, though nobody protects with flushConnection any more")
	}
}

// The hitch is on record, the process dies before the book has it, and the lock goes.
func TestACrashBetweenBlockedAndTheBook(t *testing.T) {
	for at := 1; at <= 8; at++ {
		w := newWorld(t).withOpen()
		w.protect(open01)
		w.deliver()
		w.network.Refuse(openNSG, access.ErrForbidden)
		w.network.Edit(openNSG, func(g *nsg.Group) { g.Rules = nil })
		w.clock.Advance(access.Patience + time.Second)
		_, err := w.service.Sweep(ctx)
		must(t, err)
		crash := &accesstest.Crash{At: at, After: true}
		due := w.queue.Due(w.clock.Now())
		_ = accesstest.Deliver(ctx, crash.Service(w.service), due[0])
		died, where := crash.Died()
		w.network.Refuse(openNSG, nil)
		w.deliver()
		w.sweep()
		w.sweep()
		if p, _ := w.service.Store.Protection(ctx, open01); p.State() != access.Protected {
			t.Errorf("died after effect %d (%s): the NSG is as it should be (%v), and the record says %s for good: %+v", at, where, names(w.group(openNSG)), p.State(), p.Parts[0].Problem)
		}
		if !died {
			break
		}
	}
}

// 300 rules with long names are set aside.
func TestManyLongNames(t *testing.T) {
	w := newWorld(t).withOpen()
	for i := range 600 {
		w.edit(openNSG, allowFrom(fmt.Sprintf("allow-%03d-%s", i, strings.Repeat("x", 66)), 1100+i, "*", "10.0.0.9", "22"))
	}
	w.protect(open01)
	for range 3 {
		for _, m := range w.queue.Due(w.clock.Now()) {
			if err := accesstest.Deliver(ctx, w.service, m); err != nil {
				t.Fatalf("deliver: %.300v", err)
			}
			w.queue.Drop(m)
		}
	}
	w.wantProtection(open01, access.Protected)
}

// Rules in two NSGs are changed by their owner between wish and work, and the process
// dies at any effect.
func TestStandingRulesInTwoNSGsAndACrash(t *testing.T) {
	app01 := vmID("app01")
	for at := 1; at <= 60; at++ {
		w := newWorld(t)
		w.edit(subnetNSG, allowFrom("allow-a", 300, "*", "10.0.0.5", "22"))
		w.edit(nicNSG, allowFrom("allow-b", 300, "*", "10.0.0.5", "22"))
		w.protect(app01)
		for id, name := range map[armid.ID]string{subnetNSG: "allow-a", nicNSG: "allow-b"} {
			w.network.Edit(id, change(name, func(r *nsg.Rule) { r.Sources = []string{"203.0.113.9"} }))
		}
		crash := &accesstest.Crash{At: at, After: at%2 == 0}
		_ = w.deliverTo(crash.Service(w.service))
		died, where := crash.Died()
		w.deliver()
		w.sweep()
		w.sweep()
		if p := w.wantProtection(app01, access.Protected); len(p.Parts[0].Removed)+len(p.Parts[1].Removed) > 0 {
			t.Errorf("died at %d %s: %+v", at, where, p.Parts)
		}
		if found := w.sweep(); found != (access.Swept{}) {
			t.Errorf("died at %d %s: at rest the sweep finds %+v", at, where, found)
		}
		w.unprotect(app01)
		w.deliver()
		w.wantProtection(app01, access.Unprotected)
		if !died {
			break
		}
	}
}

// Protect is repeated while one of two NSGs is unprotected already.
func TestProtectWhileUnprotecting(t *testing.T) {
	app01 := vmID("app01")
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-a", 300, "*", "10.0.0.5", "22"))
	w.edit(nicNSG, allowFrom("allow-b", 300, "*", "10.0.0.5", "22"))
	before := []nsg.Group{w.group(subnetNSG), w.group(nicNSG)}
	w.protect(app01)
	w.deliver()
	w.unprotect(app01)
	m := w.queue.Due(w.clock.Now())[0]
	must(t, accesstest.Deliver(ctx, w.service, m))
	w.queue.Drop(m)
	w.protect(app01)
	w.deliver()
	w.wantProtection(app01, access.Protected)
	w.unprotect(app01)
	w.deliver()
	wantSame(t, before[0], w.group(subnetNSG))
	wantSame(t, before[1], w.group(nicNSG))
}
