package access_test

import (
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// A machine is gone and a lock keeps its deny rule. At rest the record does not grow.
func TestAGoneMachineUnderALock(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.network.Refuse(openNSG, access.ErrForbidden)
	w.network.RemoveMachine(open01)
	w.sweep()
	w.sweep()
	n := len(w.machineKinds(open01))
	for range 10 {
		w.sweep()
	}
	if got := w.machineKinds(open01); len(got) > n+1 {
		t.Errorf("ten sweeps made %d events: %v", len(got)-n, got[n:])
	}
}

// The heir is protected, on other ports than the machine that is gone.
func TestAnHeirProtectedOnOtherPorts(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-vendors", 2000, "*", "10.0.1.0/24", "22"), allowFrom("allow-web", 2010, "*", "10.0.1.0/24", "443"))
	w.protectOn(vmID("db01"), portsOf(22, 443))
	w.deliver()
	heir := vmIn("rg-other", "db01")
	w.apply(`apiVersion: jitgate/v1
scope: ` + subscription + `
ports: [{port: 22, protocol: TCP}]
sources: [{range: 203.0.113.0/24}]
`)
	w.network.RemoveMachine(vmID("db01"))
	w.network.AddMachine(heir, "10.0.1.4", subnetNSG)
	w.sweep()
	w.wantProtection(vmID("db01"), access.Blocked)
	w.protectOn(heir, portsOf(22))
	w.deliver()
	w.sweep()
	w.sweep()
	if w.opened(subnetNSG, "10.0.1.4", 443) {
		t.Errorf("443 of the same machine was protected under its old id; nobody let go of it: %v", names(w.group(subnetNSG)))
	}
}

// The machine has a new id and is listed, but its NIC cannot be read there.
func TestAnHeirThatCannotBeSeen(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-vendors", 2000, "*", "10.0.1.0/24", "22"))
	w.protect(vmID("db01"))
	w.deliver()
	w.network.RemoveMachine(vmID("db01"))
	w.network.SetMachine(access.Machine{VM: vmIn("rg-other", "db01"), Unseen: true})
	w.sweep()
	w.sweep()
	if w.opened(subnetNSG, "10.0.1.4", 22) {
		t.Errorf("a machine of the estate could not be seen in full, and the address was opened: %v", names(w.group(subnetNSG)))
	}
}

// One NSG of two was deleted while the other one refuses: the machine is not without NSG.
func TestOneOfTwoNSGsGone(t *testing.T) {
	w := newWorld(t)
	app01 := vmID("app01")
	w.protect(app01)
	w.deliver()
	w.network.Edit(subnetNSG, func(g *nsg.Group) { g.Rules = nil })
	w.network.Refuse(subnetNSG, access.ErrForbidden)
	w.sweep()
	w.wantProtection(app01, access.Blocked)
	w.network.AddMachine(app01, "10.0.0.5", subnetNSG)
	w.network.AddMachine(vmID("web01"), "10.0.0.4")
	w.network.Remove(nicNSG)
	must(t, w.service.Enforce(ctx, nicNSG))
	_, err := w.service.Store.Touch(ctx, nicNSG)
	must(t, err)
	must(t, w.service.Enforce(ctx, nicNSG))
	p, err := w.service.Store.Protection(ctx, app01)
	must(t, err)
	if p.Reason.Code == access.NSGGone {
		t.Errorf("nsg-subnet still stands before it, and the record says: %s", p.Reason.Sentence)
	}
}

// Two machines have the addresses of one that is gone: the sentence names one of them,
// whichever the lists have first.
func TestTwoHeirs(t *testing.T) {
	w := newWorld(t)
	vm := vmID("duo01")
	w.network.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{{ID: accesstest.NIC(vm, 0), Addresses: addrs("10.0.1.40", "10.0.1.41"), NSGs: []armid.ID{subnetNSG}, Public: true}}})
	w.protect(vm)
	w.deliver()
	w.network.RemoveMachine(vm)
	w.network.AddMachine(vmID("heir1"), "10.0.1.40", subnetNSG)
	w.network.AddMachine(vmID("heir2"), "10.0.1.41", subnetNSG)
	w.sweep()
	n := len(w.machineKinds(vm))
	for range 20 {
		w.sweep()
	}
	if got := len(w.machineKinds(vm)); got != n {
		t.Errorf("20 sweeps at rest made %d events", got-n)
	}
}

// Unprotecting is hindered for good, and the machine is deleted meanwhile: it is let go.
func TestUnprotectingAndGone(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.unprotect(open01)
	w.edit(openNSG, allowFrom("mine", 300, "198.51.100.7", "*", "443")) // holds the priority
	w.deliver()
	w.wantProtection(open01, access.Blocked)
	w.network.RemoveMachine(open01)
	w.sweep()
	w.sweep()
	w.wantProtection(open01, access.Unprotected)
}
