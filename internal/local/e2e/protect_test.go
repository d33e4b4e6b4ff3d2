package e2e_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local"
)

const (
	stranger  = "198.51.100.99" // somebody on the internet
	neighbour = "10.20.1.4"     // web01, in the same virtual network
)

// TestProtectingAnOpenMachine is the whole way there and back: foreseen, done, opened
// for one grant, taken back.
func TestProtectingAnOpenMachine(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice, carol := as(stack, "alice"), as(stack, "carol")
	before := groupJSON(t, stack, "nsg-open01")
	for _, source := range []string{stranger, neighbour} {
		probe(t, stack, "open01", source, "Allow")
	}

	foreseen, err := carol.Protect(t.Context(), vmID("open01"), api.NewProtection{}, true)
	if err != nil || !foreseen.WhatIf {
		t.Fatalf("what-if: %+v, %v", foreseen, err)
	}
	quiet(t, stack)
	if now := groupJSON(t, stack, "nsg-open01"); now != before || nsgWrites(stack) > 0 {
		t.Errorf("what-if changed the NSG with %d writes:\n%s", nsgWrites(stack), cmp.Diff(before, now))
	}
	if p := waitMachine(t, carol, "open01", "Unprotected"); p.ChangedAt != nil || len(machineKinds(t, stack, "open01")) > 0 {
		t.Errorf("what-if left a record: %+v", p)
	}
	wantReach := []string{"internet: open → closed", "virtual network: open → closed", "203.0.113.0/24: open → closed"}
	if diff := cmp.Diff(wantReach, reaches(foreseen, "10.20.1.5")); diff != "" {
		t.Errorf("who gets in (-want +got):\n%s", diff)
	}
	if len(foreseen.Warnings) > 0 {
		t.Errorf("warnings: %v", warnings(foreseen))
	}

	done := protect(t, stack, "open01")
	closed := groupJSON(t, stack, "nsg-open01")
	for what, diff := range map[string]string{
		"rules": cmp.Diff(foreseen.NSGs, done.NSGs), "verdicts": cmp.Diff(foreseen.Verdicts, done.Verdicts), "warnings": cmp.Diff(foreseen.Warnings, done.Warnings),
	} {
		if diff != "" {
			t.Errorf("the what-if said other %s (-what-if +done):\n%s", what, diff)
		}
	}
	if len(done.NSGs) != 1 {
		t.Fatalf("NSGs: %+v", done.NSGs)
	}
	wantChanged(t, before, closed, done.NSGs[0].Rules)
	for _, source := range []string{inside, stranger, neighbour} {
		probe(t, stack, "open01", source, "Deny")
	}

	r := create(t, alice, ask("open01", "PT1H"))
	if r = waitFor(t, alice, r.ID, "Active"); r.Targets[0].Warning != nil {
		t.Errorf("warning %+v", r.Targets[0].Warning)
	}
	probe(t, stack, "open01", inside, "Allow")
	for _, source := range []string{"203.0.113.8", stranger, neighbour} {
		probe(t, stack, "open01", source, "Deny")
	}
	if _, _, err := alice.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, r.ID, "Revoked")
	probe(t, stack, "open01", inside, "Deny")
	if now := groupJSON(t, stack, "nsg-open01"); now != closed {
		t.Errorf("the grant left something behind:\n%s", cmp.Diff(closed, now))
	}

	back := unprotect(t, stack, "open01")
	if now := groupJSON(t, stack, "nsg-open01"); now != before {
		t.Errorf("unprotecting did not bring back what was (-before +now):\n%s", cmp.Diff(before, now))
	}
	wantChanged(t, closed, before, back.NSGs[0].Rules)
	for _, source := range []string{stranger, neighbour} {
		probe(t, stack, "open01", source, "Allow")
	}
	wantKinds := []string{
		"machine.protect-asked", "rule.set-aside", "nsg.closed", "machine.protected",
		"machine.unprotect-asked", "rule.restored", "nsg.released", "machine.unprotected",
	}
	if diff := cmp.Diff(wantKinds, machineKinds(t, stack, "open01")); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

// TestMachinesThatShareAnNSG: what serves one machine goes, what serves both stays
// and is named, and releasing one leaves the other closed.
func TestMachinesThatShareAnNSG(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	before := groupJSON(t, stack, "nsg-shared")

	f := protect(t, stack, "shared01")
	wantChanged(t, before, groupJSON(t, stack, "nsg-shared"), f.NSGs[0].Rules)
	action := map[string]string{}
	for _, r := range f.NSGs[0].Rules {
		action[r.Name] = r.Action
	}
	if action["allow-ssh-shared01"] != "remove" || action["allow-ssh-all"] != "keep" {
		t.Errorf("foretold %v", action)
	}
	if diff := cmp.Diff([]string{"rule_shared allow-ssh-all", "still_open allow-ssh-all"}, warnings(f)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"internet: open → open", "virtual network: open → open", "203.0.113.0/24: open → open"}, reaches(f, "10.20.5.4")); diff != "" {
		t.Errorf("who gets in (-want +got):\n%s", diff)
	}
	probe(t, stack, "shared01", stranger, "Allow") // as it was warned

	// Its owner does what the warning says.
	behind := fileRule(t, "nsg-shared", "allow-ssh-all")
	behind.Priority = 1500
	if err := stack.ARM.PutRule(nsgID("nsg-shared"), behind); err != nil {
		t.Fatal(err)
	}
	probe(t, stack, "shared01", stranger, "Deny")
	probe(t, stack, "shared02", stranger, "Allow")

	f = protect(t, stack, "shared02")
	if got := warnings(f); !slices.Equal(got, []string{"rule_shared allow-ssh-all"}) {
		t.Errorf("warnings %v", got)
	}
	for _, vm := range []string{"shared01", "shared02"} {
		probe(t, stack, vm, stranger, "Deny")
		probe(t, stack, vm, neighbour, "Deny")
	}
	if rules := ours(stack, nsgID("nsg-shared")); len(rules) != 1 {
		t.Errorf("rules of ours: %v, want one for both machines", rules)
	}

	unprotect(t, stack, "shared01")
	probe(t, stack, "shared01", stranger, "Allow")
	probe(t, stack, "shared02", stranger, "Deny")
	probe(t, stack, "shared02", neighbour, "Deny")
	unprotect(t, stack, "shared02")
	probe(t, stack, "shared02", stranger, "Allow")
	if err := stack.ARM.PutRule(nsgID("nsg-shared"), fileRule(t, "nsg-shared", "allow-ssh-all")); err != nil {
		t.Fatal(err)
	}
	if now := groupJSON(t, stack, "nsg-shared"); now != before {
		t.Errorf("besides what its owner changed (-before +now):\n%s", cmp.Diff(before, now))
	}
}

// TestAllInterfaces: the primary one is closed; the others too once policy says so.
func TestAllInterfaces(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	alice, carol := as(stack, "alice"), as(stack, "carol")
	web, edge := netip.MustParseAddr("10.20.1.9"), netip.MustParseAddr("10.20.6.4")
	beforeWeb, beforeEdge := groupJSON(t, stack, "nsg-duo01-web"), groupJSON(t, stack, "nsg-duo01-edge")

	if f := protect(t, stack, "duo01"); len(f.NSGs) != 1 || f.Protection.AllInterfaces {
		t.Errorf("without a word about interfaces: %+v", f)
	}
	probeTo(t, stack, "duo01", web, stranger, "Deny")
	probeTo(t, stack, "duo01", edge, stranger, "Allow")
	if now := groupJSON(t, stack, "nsg-duo01-edge"); now != beforeEdge {
		t.Errorf("the other NSG changed:\n%s", cmp.Diff(beforeEdge, now))
	}

	if _, err := carol.ApplyPolicy(t.Context(), `{apiVersion: jitgate/v1, scope: `+vmID("duo01")+`, ports: [{port: 22, protocol: TCP}],
sources: [{range: 203.0.113.0/24}], maxDuration: PT3H, interfaces: all}`); err != nil {
		t.Fatal(err)
	}
	f := protect(t, stack, "duo01")
	if len(f.NSGs) != 2 || !f.Protection.AllInterfaces {
		t.Fatalf("with interfaces: all: %+v", f)
	}
	wantChanged(t, beforeEdge, groupJSON(t, stack, "nsg-duo01-edge"), f.NSGs[slices.IndexFunc(f.NSGs, func(n api.NSGChange) bool {
		return strings.EqualFold(n.NSG, nsgID("nsg-duo01-edge"))
	})].Rules)
	for _, to := range []netip.Addr{web, edge} {
		probeTo(t, stack, "duo01", to, stranger, "Deny")
		probeTo(t, stack, "duo01", to, inside, "Deny")
	}
	r := create(t, alice, ask("duo01", "PT1H"))
	waitFor(t, alice, r.ID, "Active")
	for _, to := range []netip.Addr{web, edge} {
		probeTo(t, stack, "duo01", to, stranger, "Deny")
		probeTo(t, stack, "duo01", to, inside, "Allow")
	}
	if _, _, err := alice.Revoke(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, alice, r.ID, "Revoked")
	unprotect(t, stack, "duo01")
	for name, before := range map[string]string{"nsg-duo01-web": beforeWeb, "nsg-duo01-edge": beforeEdge} {
		if now := groupJSON(t, stack, name); now != before {
			t.Errorf("%s (-before +now):\n%s", name, cmp.Diff(before, now))
		}
	}
}

// TestMachinesThatNeedAWord: those that cannot be protected as they are, and one that
// stays open to somebody all the same.
func TestMachinesThatNeedAWord(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	carol := as(stack, "carol")
	for vm, want := range map[string]string{"inner01": "no_public_address", "lone01": "no_nsg"} {
		for _, whatIf := range []bool{true, false} {
			if _, err := carol.Protect(t.Context(), vmID(vm), api.NewProtection{}, whatIf); client.Code(err) != want {
				t.Errorf("%s, what-if %v: %v, want %s", vm, whatIf, err, want)
			}
		}
		if p, _, err := carol.Machine(t.Context(), vmID(vm)); err != nil || p.State != "Unprotected" || p.ChangedAt != nil {
			t.Errorf("the refusal left a record: %+v, %v", p, err)
		}
	}
	quiet(t, stack)
	if n := nsgWrites(stack); n > 0 {
		t.Errorf("%d writes for calls that were refused", n)
	}

	// From inside the network only, and policy wants it closed there.
	inner := groupJSON(t, stack, "nsg-inner01")
	if _, err := carol.ApplyPolicy(t.Context(), `{apiVersion: jitgate/v1, scope: `+vmID("inner01")+`, ports: [{port: 22, protocol: TCP}],
sources: [{range: 10.20.0.0/16}], maxDuration: PT3H, reach: any}`); err != nil {
		t.Fatal(err)
	}
	probe(t, stack, "inner01", neighbour, "Allow")
	protect(t, stack, "inner01")
	probe(t, stack, "inner01", neighbour, "Deny")
	unprotect(t, stack, "inner01")
	if now := groupJSON(t, stack, "nsg-inner01"); now != inner {
		t.Errorf("inner01 (-before +now):\n%s", cmp.Diff(inner, now))
	}

	office := fileRule(t, "nsg-office01", "allow-ssh-office")
	f := protect(t, stack, "office01")
	if got := warnings(f); !slices.Equal(got, []string{"still_open allow-ssh-office"}) {
		t.Errorf("office01 warns of %v", got)
	}
	probe(t, stack, "office01", inside, "Allow")
	probe(t, stack, "office01", stranger, "Deny")
	probe(t, stack, "office01", neighbour, "Deny")
	if _, err := stack.ARM.RuleJSON(nsgID("nsg-office01"), office.Name); err != nil {
		t.Errorf("a rule that does not open to everybody is gone: %v", err)
	}
	// It ends what it warns of once its owner follows.
	office.Priority = 1500
	if err := stack.ARM.PutRule(nsgID("nsg-office01"), office); err != nil {
		t.Fatal(err)
	}
	probe(t, stack, "office01", inside, "Deny")
	again, err := carol.Protect(t.Context(), vmID("office01"), api.NewProtection{}, true)
	if err != nil || len(again.Warnings) > 0 {
		t.Errorf("afterwards: %v, %v", warnings(again), err)
	}
}
