package access_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

func (w *world) notes(id armid.ID) string {
	w.tb.Helper()
	events, err := w.service.Store.Notes(ctx, id)
	if err != nil {
		w.tb.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, string(e.Kind)+" "+e.Rule+": "+e.Text)
	}
	return strings.Join(out, "\n")
}

func remove(name string) func(*nsg.Group) {
	return func(g *nsg.Group) {
		g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r nsg.Rule) bool { return r.Name == name })
	}
}

func change(name string, f func(*nsg.Rule)) func(*nsg.Group) {
	return func(g *nsg.Group) {
		g.Rules = slices.Clone(g.Rules)
		for i := range g.Rules {
			if g.Rules[i].Name == name {
				f(&g.Rules[i])
			}
		}
	}
}

// TestDriftIsRepaired: whatever is done to our rules by hand is undone by the next
// sweep, and said.
func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	r := w.submit(ask("open01"))
	w.deliver()
	steady := w.group(openNSG)
	allow := slices.Collect(maps.Keys(w.wantRules(openNSG, 1)))[0]
	deny := slices.DeleteFunc(names(steady), func(n string) bool { return n == allow })[0]

	for _, c := range []struct {
		what    string
		edit    func(*nsg.Group)
		request bool   // told to the request, else to the NSG
		say     string // in the event
	}{
		{"allow rule deleted", remove(allow), true, "deleted"},
		{"allow rule widened", change(allow, func(r *nsg.Rule) { r.Sources = []string{"*"} }), true, "changed"},
		{"allow rule renumbered", change(allow, func(r *nsg.Rule) { r.Priority = 4000 }), true, "priority"},
		{"deny rule deleted", remove(deny), false, "drift.deny-repaired " + deny},
		{"deny rule turned round", change(deny, func(r *nsg.Rule) { r.Access = nsg.Allow }), false, "drift.deny-repaired " + deny},
		{"removed rule re-created", func(g *nsg.Group) {
			g.Rules = append(slices.Clone(g.Rules), allowFrom("allow-ssh", 300, "*", "*", "22"))
		}, false, "drift.rule-returned allow-ssh"},
		{"rule with our prefix made by hand", func(g *nsg.Group) {
			g.Rules = append(slices.Clone(g.Rules), allowFrom("jitgate-backdoor", 200, "*", "*", "22"))
		}, false, "drift.rule-unbacked jitgate-backdoor"},
		{"terraform apply without our rules", func(g *nsg.Group) { g.Rules = []nsg.Rule{allowFrom("allow-ssh", 300, "*", "*", "22")} }, true, "deleted"},
	} {
		told, noted := len(w.kinds(r.ID)), w.notes(openNSG)
		w.network.Edit(openNSG, c.edit)
		found := w.sweep()
		if found.Drifted != 1 {
			t.Errorf("%s: the sweep found %+v", c.what, found)
		}
		wantSame(t, steady, w.group(openNSG))
		events, err := w.service.Store.Events(ctx, r.ID)
		must(t, err)
		switch last := events[len(events)-1]; {
		case c.request && (len(events) != told+1 || last.Kind != "rule.repaired" || last.Rule != allow || !strings.Contains(last.Text, c.say)):
			t.Errorf("%s: the request was told %+v", c.what, events[told:])
		case !c.request && len(events) != told:
			t.Errorf("%s: the request was told %+v", c.what, events[told:])
		case !c.request && !strings.Contains(strings.TrimPrefix(w.notes(openNSG), noted), c.say):
			t.Errorf("%s: noted %q", c.what, strings.TrimPrefix(w.notes(openNSG), noted))
		}
		if found := w.sweep(); found != (access.Swept{}) {
			t.Errorf("%s: after the repair the sweep finds %+v", c.what, found)
		}
	}
	w.revoke(r.ID)
	w.deliver()
	w.wantState(r.ID, access.Revoked)
}

// TestADenyRuleMadeByOthersIsSaidOnce, in an NSG that has something of ours and in one
// that has nothing. It stays where it is.
func TestADenyRuleMadeByOthersIsSaidOnce(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	made := allowFrom(nsg.DenyPrefix+"by-hand", 900, "*", "*", "443")
	made.Access = nsg.Deny
	for i, id := range []armid.ID{openNSG, nicNSG} {
		w.edit(id, made)
		if found := w.sweep(); found.Drifted != 1 {
			t.Errorf("%s: the sweep found %+v", id.Name(), found)
		}
		if got := w.noteKinds(id); !slices.Equal(got, []string{"drift.rule-unbacked"}) || !strings.Contains(w.notes(id), made.Name+": ") {
			t.Errorf("%s: noted %q", id.Name(), w.notes(id))
		}
		if !slices.Contains(names(w.group(id)), made.Name) {
			t.Errorf("%s: the rule was removed", id.Name())
		}
		must(t, w.service.Enforce(ctx, id))
		w.submit(ask("web01")) // has the NSG of its NIC enforced
		w.deliver()
		if found := w.sweep(); found != (access.Swept{}) {
			t.Errorf("%s: the next sweep found %+v", id.Name(), found)
		}
		if got := len(w.noteKinds(id)); got != 1 || len(w.found()) != i+1 {
			t.Errorf("%s: %d notes, found %v", id.Name(), got, w.found())
		}
	}
}

// TestADenyRuleComesFirst: where it stands does not matter until a rule of others
// stands before it.
func TestADenyRuleComesFirst(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	deny := names(w.group(openNSG))[0]
	w.network.Edit(openNSG, change(deny, func(r *nsg.Rule) { r.Priority = 4000 }))
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("it closes what it closed before, and the sweep found %+v", found)
	}
	w.edit(openNSG, allowFrom("allow-vendors", 1500, "198.51.100.0/24", "*", "22"))
	w.sweep()
	for _, r := range w.group(openNSG).Rules {
		if r.Name == deny && r.Priority != 1000 {
			t.Errorf("it stands at %d, behind a rule that opens what it is to close", r.Priority)
		}
	}
	if got := w.notes(openNSG); got != "" {
		t.Errorf("nobody touched the rule but us, and it was noted: %q", got)
	}
}

// TestARepairThatAzureRefusesIsSaid.
func TestARepairThatAzureRefusesIsSaid(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	deny := names(w.group(openNSG))[0]
	w.network.Edit(openNSG, remove(deny))
	w.network.Refuse(openNSG, access.ErrForbidden)
	w.sweep()
	if got := w.notes(openNSG); !strings.Contains(got, "Azure refuses") {
		t.Errorf("noted %q", got)
	}
	if p := w.wantProtection(open01, access.Blocked); p.Parts[0].Problem.Code != access.WriteRefused {
		t.Errorf("%+v", p.Parts)
	}
	w.network.Refuse(openNSG, nil)
	w.sweep()
	w.wantProtection(open01, access.Protected)
	if got := names(w.group(openNSG)); !slices.Equal(got, []string{deny}) {
		t.Errorf("the NSG holds %v", got)
	}
}

// TestALostStoreOpensNothing: with an empty store our allow rules go and our deny
// rules stay, also when one of the machines is protected anew.
func TestALostStoreOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.protect(vmID("db01"))
	w.protect(vmID("db02"))
	w.submit(ask("db01"))
	w.deliver()
	w.wantRules(subnetNSG, 1)
	fresh := newWorld(t)
	fresh.network, fresh.service.Network = w.network, w.network
	fresh.clock.Advance(time.Minute)
	fresh.sweep()
	fresh.wantRules(subnetNSG, 0)
	denied := func() []string {
		g := fresh.group(subnetNSG)
		if len(g.Rules) != 1 {
			t.Fatalf("the NSG holds %v", names(g))
		}
		return g.Rules[0].Destinations
	}
	if got := denied(); len(got) != 2 {
		t.Errorf("denied are %v", got)
	}
	fresh.protect(vmID("db01"))
	fresh.deliver()
	if got := denied(); len(got) != 2 {
		t.Errorf("denied are %v after protecting one anew", got)
	}
}

func TestAMachineThatIsGoneLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.edit(subnetNSG, allowFrom("allow-ssh-db01", 300, "*", "10.0.1.4", "22"))
	w.protect(vmID("db01"))
	w.protect(vmID("db02"))
	r := w.submit(ask("db01"))
	other := w.submit(ask("db02"))
	w.deliver()
	w.wantRules(subnetNSG, 2)
	w.network.RemoveMachine(vmID("db01"))
	w.sweep()
	if got := w.wantState(r.ID, access.Revoked).Targets[0].Reason.Code; got != access.VMGone {
		t.Errorf("the reason is %s", got)
	}
	w.wantState(other.ID, access.Active)
	w.wantRules(subnetNSG, 1)
	if p := w.wantProtection(vmID("db01"), access.Unprotected); p.Reason.Code != access.VMGone {
		t.Errorf("the reason is %+v", p.Reason)
	}
	w.wantProtection(vmID("db02"), access.Protected)
	for _, rule := range w.group(subnetNSG).Rules {
		if rule.Name == "allow-ssh-db01" {
			t.Error("a rule came back for a machine that is gone")
		}
		if rule.Access == nsg.Deny && !slices.Equal(rule.Destinations, []string{"10.0.1.5"}) {
			t.Errorf("denied are %v", rule.Destinations)
		}
	}
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("the sweep finds %+v afterwards", found)
	}
}

// TestWhatIsMerelyNotListedIsNotGone: without its role the identity sees empty
// lists, and Azure says "forbidden" when asked.
func TestWhatIsMerelyNotListedIsNotGone(t *testing.T) {
	w := newWorld(t)
	w.protect(vmID("db01"))
	r := w.submit(ask("db01"))
	w.deliver()
	w.service.Network = &blind{w.service.Network}
	w.sweep()
	w.wantProtection(vmID("db01"), access.Protected)
	w.wantState(r.ID, access.Active)
}

type blind struct{ access.Network }

func (b *blind) Estate(_ context.Context, _ string) (access.Estate, error) {
	return access.Estate{}, nil
}
func (b *blind) Locate(_ context.Context, _ armid.ID) (access.Machine, error) {
	return access.Machine{}, access.ErrForbidden
}

func TestAnNSGThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.protect(vmID("app01"))
	w.protect(vmID("db01"))
	r := w.submit(ask("app01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.network.AddMachine(vmID("app01"), "10.0.0.5", nicNSG)
	w.network.AddMachine(vmID("db01"), "10.0.1.4")
	w.network.AddMachine(vmID("db02"), "10.0.1.5")
	w.network.Remove(subnetNSG)
	w.sweep()
	w.sweep()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
	if p := w.wantProtection(vmID("app01"), access.Protected); len(p.Parts) != 1 {
		t.Errorf("parts: %+v", p.Parts)
	}
	// The wish outlives the NSG, and says why it cannot hold.
	if p := w.wantProtection(vmID("db01"), access.Blocked); p.Reason.Code != access.NoNSG || len(p.Parts) != 0 {
		t.Errorf("the reason is %+v", p.Reason)
	}
	if _, err := w.service.Store.Book(ctx, subnetNSG); err != nil {
		t.Fatal(err)
	}
	if b, _ := w.service.Store.Book(ctx, subnetNSG); len(b.Grants)+len(b.Guards) != 0 {
		t.Errorf("left in the book: %+v", b)
	}
}

// TestAMovedMachineIsFollowed: another address, then another NSG.
func TestAMovedMachineIsFollowed(t *testing.T) {
	w := newWorld(t).withOpen()
	before := w.group(openNSG)
	w.protect(open01)
	r := w.submit(ask("open01"))
	w.deliver()
	w.network.AddMachine(open01, "10.0.0.19", openNSG)
	w.sweep()
	if got := w.wantState(r.ID, access.Revoked).Targets[0].Reason.Code; got != access.AddressChanged {
		t.Errorf("the reason is %s", got)
	}
	w.wantProtection(open01, access.Protected)
	if g := w.group(openNSG); len(g.Rules) != 1 || !slices.Equal(g.Rules[0].Destinations, []string{"10.0.0.19"}) {
		t.Errorf("the NSG holds %+v", g.Rules)
	}
	w.network.AddMachine(open01, "10.0.0.19", nicNSG)
	w.sweep()
	w.wantProtection(open01, access.Protected)
	if g := w.group(openNSG); len(g.Rules) != 0 {
		t.Errorf("the NSG it left holds %+v", g.Rules)
	}
	if g := w.group(nicNSG); len(g.Rules) != 1 || g.Rules[0].Access != nsg.Deny {
		t.Errorf("its new NSG holds %+v", g.Rules)
	}
	w.unprotect(open01)
	w.deliver()
	w.wantProtection(open01, access.Unprotected)
	wantSame(t, before, w.group(openNSG))
	if g := w.group(nicNSG); len(g.Rules) != 0 {
		t.Errorf("its new NSG holds %+v", g.Rules)
	}
}

// TestAForeignDenyIsToldToTheRequester: the grant is active, and says that it will
// not help.
func TestAForeignDenyIsToldToTheRequester(t *testing.T) {
	w := newWorld(t)
	block := allowFrom("block-ssh", 100, "*", "*", "22")
	block.Access = nsg.Deny
	w.edit(subnetNSG, block)
	r := w.submit(ask("app01", "web01"))
	w.deliver()
	got := w.wantState(r.ID, access.Active)
	if warning := got.Targets[0].Warning; warning.Code != access.Outranked || !strings.Contains(warning.Sentence, "block-ssh") || !strings.Contains(warning.Sentence, subnetNSG.Name()) {
		t.Errorf("app01: %+v", warning)
	}
	if warning := got.Targets[1].Warning; warning.Code != "" {
		t.Errorf("web01: %+v", warning)
	}
	if got := w.kinds(r.ID); !slices.Contains(got, "access.outranked") {
		t.Errorf("the record is %v", got)
	}
}
