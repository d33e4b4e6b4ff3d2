package access_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
)

// The old NSG was replaced by a new one (a template's new name). An enforcement of the
// old one, here by the end of a grant, comes before the sweep.
func TestAProtectionOutlivesItsNSG(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	r := w.submit(ask("open01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	fresh := armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-fresh")
	w.network.AddMachine(open01, "10.0.0.9", fresh)
	w.network.Remove(openNSG)
	w.edit(fresh, allowFrom("allow-vendor", 2000, "*", "10.0.0.0/24", "22"))
	w.revoke(r.ID)
	w.deliver()
	w.sweep()
	w.sweep()
	w.wantProtection(open01, access.Protected)
	if w.opened(fresh, "10.0.0.9", 22) {
		t.Errorf("jitgate did not follow: %v", names(w.group(fresh)))
	}
}

// The same when the sweep looks while the machine stands between its old NSG, deleted,
// and its new one, not yet attached.
func TestASweepBetweenTwoNSGs(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9")
	w.network.Remove(openNSG)
	w.sweep()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG)
	w.sweep()
	w.sweep()
	w.wantProtection(open01, access.Protected)
	if len(w.group(nicNSG).Rules) != 1 {
		t.Errorf("jitgate did not follow the machine to its new NSG: %v", names(w.group(nicNSG)))
	}
}

// After a move the record keeps a part for the NSG that was left. It does not make up
// for the NSG that the machine is really behind.
func TestAnNSGThatWasLeftProtectsNothing(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG)
	w.sweep()
	w.wantProtection(open01, access.Protected)
	w.network.AddMachine(open01, "10.0.0.9")
	w.network.AddMachine(vmID("web01"), "10.0.0.4")
	w.network.AddMachine(vmID("app01"), "10.0.0.5", subnetNSG)
	w.network.Remove(nicNSG)
	w.sweep()
	w.sweep()
	p, err := w.service.Store.Protection(ctx, open01)
	must(t, err)
	if p.State() == access.Protected {
		t.Errorf("no NSG stands before the machine and the record says %s: %+v", p.State(), p.Parts)
	}
}

// A VM that is moved to another resource group has a new id; Azure says of the old one
// that it does not exist. The machine, its NIC and its address are the same.
func TestAMachineUnderANewIDStaysClosed(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-ssh-vendors", 2000, "*", "10.0.1.0/24", "22"))
	w.protect(vmID("db01"))
	w.deliver()
	if w.opened(subnetNSG, "10.0.1.4", 22) {
		t.Fatal("open already")
	}
	w.network.RemoveMachine(vmID("db01"))
	w.network.AddMachine(vmIn("rg-other", "db01"), "10.0.1.4", subnetNSG)
	w.sweep()
	w.sweep()
	if w.opened(subnetNSG, "10.0.1.4", 22) {
		t.Errorf("the machine is where it was, at the same address, and the sweep opened it: %v", names(w.group(subnetNSG)))
	}
}

// A grant for a machine with two addresses, one of which now belongs to another machine.
func TestAGrantEndsWithAnyOfItsAddresses(t *testing.T) {
	w := newWorld(t)
	vm := vmID("duo01")
	set := func(list ...string) {
		w.network.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{{ID: accesstest.NIC(vm, 0), Addresses: addrs(list...),
			NSGs: []armid.ID{subnetNSG}, Public: true, Network: []netip.Prefix{accesstest.Space}}}})
	}
	set("10.0.1.40", "10.0.1.41")
	r := w.submit(ask("duo01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	set("10.0.1.40")
	w.network.AddMachine(vmID("victim01"), "10.0.1.41", subnetNSG)
	w.sweep()
	for name, rule := range w.network.Rules(subnetNSG) {
		if slices.Contains(rule.Destinations, "10.0.1.41") {
			t.Errorf("%s lets the requester in to another machine's address: %v", name, rule.Destinations)
		}
	}
}

// Machines are listed without their NICs (the identity may not read those): nothing can
// be concluded about addresses.
func TestAMachineWithoutListedNICsKeepsItsGrant(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("db01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.service.Network = &withoutNICs{w.service.Network}
	_, _ = w.service.Sweep(ctx)
	w.deliver()
	if got := w.wantState(r.ID, access.Active); got.State() != access.Active {
		t.Errorf("closed because %+v", got.Targets[0].Reason)
	}
}

type withoutNICs struct{ access.Network }

func (b *withoutNICs) Estate(ctx context.Context, subscription string) (access.Estate, error) {
	e, err := b.Network.Estate(ctx, subscription)
	for i := range e.Machines {
		e.Machines[i].Interfaces = nil
	}
	return e, err
}

// One NSG blocks; the guard of the other was never filed. The sweep has to file it.
func TestABlockedPartDoesNotHideAnother(t *testing.T) {
	for at := 1; at <= 6; at++ {
		w := newWorld(t)
		app01 := vmID("app01")
		w.network.Refuse(subnetNSG, access.ErrForbidden)
		crash := &accesstest.Crash{At: at, After: true}
		_, err := crash.Service(w.service).Protect(ctx, app01, ports22, bob)
		died, where := crash.Died()
		if !died {
			break
		}
		p, stored := w.service.Store.Protection(ctx, app01)
		w.deliver()
		w.sweep()
		w.sweep()
		w.sweep()
		if stored == nil && len(w.group(nicNSG).Rules) == 0 {
			q, _ := w.service.Store.Protection(ctx, app01)
			t.Errorf("died at effect %d %q (%v), revision %d: after three sweeps nsg-nic has no deny rule; the record is %s", at, where, err, p.Revision, q.State())
		}
	}
}

// The NSG that a machine has left cannot be read any more: it must not keep the machine
// from being followed to its new one.
func TestAnUnreadableOldNSGDoesNotStopFollowing(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG)
	w.network.Hide(openNSG, true)
	w.clock.Advance(access.Patience + time.Second)
	_, err := w.service.Sweep(ctx)
	w.deliver()
	if len(w.group(nicNSG).Rules) == 0 {
		t.Errorf("its new NSG holds no deny rule (sweep: %v)", err)
	}
}

// The machine has left the NSG; its wish for flushConnection has no business there.
func TestFlushIsNotSetWhereTheMachineIsNot(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9", nicNSG)
	w.sweep()
	flush := ports22
	flush.Flush = new(true)
	w.protectOn(open01, flush)
	w.deliver()
	if w.group(openNSG).FlushConnection {
		t.Error("flushConnection was switched on in an NSG that the machine is not behind")
	}
}

// The sweep follows a machine as it was asked for, not with the policy of today: that
// could let go of interfaces that nobody unprotected.
func TestFollowingLetsGoOfNothing(t *testing.T) {
	w := newWorld(t)
	vm, second := vmID("duo01"), armid.MustParse(subscription+"/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-second-subnet")
	set := func(first string) {
		w.network.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{
			{ID: accesstest.NIC(vm, 0), Addresses: addrs(first), NSGs: []armid.ID{nicNSG}, Public: true},
			{ID: accesstest.NIC(vm, 1), Addresses: addrs("10.0.0.41"), NSGs: []armid.ID{second}, Public: true},
		}})
	}
	set("10.0.0.40")
	document := func(more string) string {
		return "apiVersion: jitgate/v1\nscope: " + subscription + "/resourceGroups/rg-demo\nports: [{port: 22, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n" + more
	}
	w.apply(document("interfaces: all\n"))
	w.edit(second, allowFrom("allow-vendors", 2000, "*", "10.0.0.0/24", "22"))
	w.protect(vm)
	w.deliver()
	w.apply(document(""))
	w.sweep()
	if w.opened(second, "10.0.0.41", 22) {
		t.Fatal("the change of policy alone opened it")
	}
	set("10.0.0.42")
	w.sweep()
	if w.opened(second, "10.0.0.41", 22) {
		t.Error("the address of one interface changed, and the sweep opened the other to the internet; nobody had asked")
	}
}

// A protected machine that stands behind no NSG is Blocked, and told once: it must not
// count as lost messages with every sweep.
func TestAMachineThatCannotBeFollowedIsTold(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.9")
	w.sweep()
	w.sweep()
	if found := w.sweep(); found.Machines != 0 {
		t.Errorf("%+v", found)
	}
	w.wantProtection(open01, access.Blocked)
}
