package e2e_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

// closeShared protects both machines behind nsg-shared, with a grant each, after the
// rule that opens them both was put behind where our deny rule will be. It returns
// the requests and the name of the deny rule.
func closeShared(t *testing.T, stack *local.Stack) (first, second api.Request, deny string) {
	t.Helper()
	behind := fileRule(t, "nsg-shared", "allow-ssh-all")
	behind.Priority = 1500
	if err := stack.ARM.PutRule(nsgID("nsg-shared"), behind); err != nil {
		t.Fatal(err)
	}
	protect(t, stack, "shared01")
	protect(t, stack, "shared02")
	deny = ours(stack, nsgID("nsg-shared"))[0]
	alice := as(stack, "alice")
	first, second = create(t, alice, ask("shared01", "PT1H")), create(t, alice, ask("shared02", "PT1H"))
	first, second = waitFor(t, alice, first.ID, "Active"), waitFor(t, alice, second.ID, "Active")
	quiet(t, stack)
	return first, second, deny
}

// wantDenied checks which addresses a deny rule names.
func wantDenied(t *testing.T, stack *local.Stack, nsg, deny string, want ...string) {
	t.Helper()
	var got []string
	storedRule(t, stack, nsg, deny, func(r *arm.Rule) {
		if got = r.DestinationAddressPrefixes; r.DestinationAddressPrefix != "" {
			got = []string{r.DestinationAddressPrefix}
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s in %s names %v, want %v", deny, nsg, got, want)
	}
}

// wantNoWork: after what happened, a sweep finds everything as it should be.
func wantNoWork(t *testing.T, stack *local.Stack, what string) {
	t.Helper()
	writes := nsgWrites(stack)
	sweep(t, stack)
	if n := nsgWrites(stack) - writes; n > 0 {
		t.Errorf("%s: the next sweep made %d writes", what, n)
	}
}

// TestDeletedMachine: what was there for it goes, its rules do not come back for
// whoever gets its address next, and its neighbour notices nothing.
func TestDeletedMachine(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice, carol := as(stack, "alice"), as(stack, "carol")
	gone, stays, deny := closeShared(t, stack)
	wantDenied(t, stack, "nsg-shared", deny, "10.20.5.4", "10.20.5.5")
	if err := stack.ARM.DeleteMachine(vmID("shared01")); err != nil {
		t.Fatal(err)
	}
	if err := stack.ARM.DeleteInterface(nicID("shared01-nic")); err != nil {
		t.Fatal(err)
	}
	sweep(t, stack)

	if r := waitFor(t, alice, gone.ID, "Revoked"); r.Targets[0].Reason == nil || r.Targets[0].Reason.Code != "vm_gone" {
		t.Errorf("the reason is %+v", r.Targets[0].Reason)
	}
	if p := waitMachine(t, carol, "shared01", "Unprotected"); p.Reason == nil || p.Reason.Code != "vm_gone" {
		t.Errorf("the protection's reason is %+v", p.Reason)
	}
	record := machineKinds(t, stack, "shared01")
	if got := record[len(record)-4:]; !slices.Equal(got, []string{"machine.gone", "rule.kept-away", "nsg.released", "machine.unprotected"}) {
		t.Errorf("the record ends with %v", got)
	}
	wantDenied(t, stack, "nsg-shared", deny, "10.20.5.5")
	if names := stack.ARM.RuleNames(nsgID("nsg-shared")); slices.Contains(names, "allow-ssh-shared01") || slices.Contains(names, gone.Targets[0].NSGs[0].Rules[0]) {
		t.Errorf("rules of a machine that is gone: %v", names)
	}

	waitFor(t, alice, stays.ID, "Active")
	waitMachine(t, carol, "shared02", "Protected")
	probe(t, stack, "shared02", inside, "Allow")
	probe(t, stack, "shared02", stranger, "Deny")
	probe(t, stack, "shared02", neighbour, "Deny")
	wantNoWork(t, stack, "after the deletion")
}

// TestChangedAddress: the deny rule follows the machine; the grant, whose rule opens
// an address that somebody else may get, is closed.
func TestChangedAddress(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice, carol := as(stack, "alice"), as(stack, "carol")
	removed := ruleJSON(t, stack, "nsg-shared", "allow-ssh-shared01")
	moved, stays, deny := closeShared(t, stack)
	if err := stack.ARM.SetPrivateAddress(nicID("shared01-nic"), netip.MustParseAddr("10.20.5.9")); err != nil {
		t.Fatal(err)
	}
	probe(t, stack, "shared01", stranger, "Allow")
	sweep(t, stack)
	if r := waitFor(t, alice, moved.ID, "Revoked"); r.Targets[0].Reason == nil || r.Targets[0].Reason.Code != "address_changed" {
		t.Errorf("the reason is %+v", r.Targets[0].Reason)
	}
	p := waitMachine(t, carol, "shared01", "Protected")
	if len(p.NSGs) != 1 || !slices.Equal(p.NSGs[0].Addresses, []string{"10.20.5.9"}) || len(p.NSGs[0].Removed) != 1 {
		t.Errorf("the protection: %+v", p.NSGs)
	}
	wantDenied(t, stack, "nsg-shared", deny, "10.20.5.5", "10.20.5.9")
	for _, source := range []string{inside, stranger, neighbour} {
		probe(t, stack, "shared01", source, "Deny")
	}
	waitFor(t, alice, stays.ID, "Active")
	probe(t, stack, "shared02", inside, "Allow")
	probe(t, stack, "shared02", stranger, "Deny")
	if record := machineKinds(t, stack, "shared01"); !slices.Contains(record, "machine.moved") {
		t.Errorf("the record is %v", record)
	}
	wantNoWork(t, stack, "after the change of address")

	again := create(t, alice, ask("shared01", "PT1H"))
	waitFor(t, alice, again.ID, "Active")
	probe(t, stack, "shared01", inside, "Allow")
	if _, _, err := alice.Revoke(t.Context(), again.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, again.ID, "Revoked")
	unprotect(t, stack, "shared01")
	wantDenied(t, stack, "nsg-shared", deny, "10.20.5.5")
	if now := ruleJSON(t, stack, "nsg-shared", "allow-ssh-shared01"); now != removed {
		t.Errorf("what came back (-before +now):\n%s", cmp.Diff(removed, now))
	}
}

// TestAnotherNSG: a machine whose NIC gets another NSG is protected there, and the one
// it left is let go of; what was removed there comes back at the end.
func TestAnotherNSG(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	carol := as(stack, "carol")
	old, other := groupJSON(t, stack, "nsg-open01"), groupJSON(t, stack, "nsg-inner01")
	protect(t, stack, "open01")
	if err := stack.ARM.AttachGroup(nicID("open01-nic"), nsgID("nsg-inner01")); err != nil {
		t.Fatal(err)
	}
	probe(t, stack, "open01", neighbour, "Allow")
	sweep(t, stack)
	p := waitMachine(t, carol, "open01", "Protected")
	covered := map[string]int{}
	for _, n := range p.NSGs {
		covered[n.NSG[len(nsgID("")):]] = len(n.Addresses)
	}
	if diff := cmp.Diff(map[string]int{"nsg-open01": 0, "nsg-inner01": 1}, covered); diff != "" {
		t.Errorf("addresses by NSG (-want +got):\n%s", diff)
	}
	probe(t, stack, "open01", neighbour, "Deny")
	probe(t, stack, "open01", stranger, "Deny")
	probe(t, stack, "inner01", neighbour, "Allow") // the other machine behind it
	if rules := ours(stack, nsgID("nsg-open01")); len(rules) > 0 {
		t.Errorf("left behind: %v", rules)
	}
	wantNoWork(t, stack, "after the move")

	unprotect(t, stack, "open01")
	for name, before := range map[string]string{"nsg-open01": old, "nsg-inner01": other} {
		if now := groupJSON(t, stack, name); now != before {
			t.Errorf("%s (-before +now):\n%s", name, cmp.Diff(before, now))
		}
	}
}
