package access_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

var (
	openNSG = armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-open")
	open01  = vmID("open01")
)

// withOpen adds a VM whose own NSG lets everybody in to port 22.
func (w *world) withOpen() *world {
	w.network.AddMachine(open01, "10.0.0.9", openNSG)
	w.edit(openNSG, allowFrom("allow-ssh", 300, "*", "*", "22"))
	return w
}

func (w *world) edit(id armid.ID, rules ...nsg.Rule) {
	w.network.Edit(id, func(g *nsg.Group) { g.Rules = append(slices.Clone(g.Rules), rules...) })
}

func allowFrom(name string, priority int, source, destination, ports string) nsg.Rule {
	return nsg.Rule{Name: name, Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP, Priority: priority,
		Sources: []string{source}, SourcePorts: []string{"*"}, Destinations: []string{destination}, DestinationPorts: []string{ports},
		Verbatim: []byte(`{"priority":` + "0" + `,"note":"` + name + `"}`)}
}

var ports22 = access.ProtectAsk{Ports: []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.TCP, First: 3389, Last: 3389}}}

func (w *world) protect(vm armid.ID) access.Forecast {
	w.tb.Helper()
	f, err := w.service.Protect(ctx, vm, ports22, bob)
	if err != nil {
		w.tb.Fatalf("protect %s: %v", vm.Name(), err)
	}
	return f
}

func (w *world) unprotect(vm armid.ID) {
	w.tb.Helper()
	if _, err := w.service.Unprotect(ctx, vm, nil, bob); err != nil {
		w.tb.Fatalf("unprotect %s: %v", vm.Name(), err)
	}
}

func (w *world) wantProtection(vm armid.ID, want access.ProtectionState) access.Protection {
	w.tb.Helper()
	p, err := w.service.Store.Protection(ctx, vm)
	if err != nil {
		w.tb.Fatalf("protection of %s: %v", vm.Name(), err)
	}
	if p.State() != want {
		w.tb.Errorf("%s is %s (%+v), want %s", vm.Name(), p.State(), p.Parts, want)
	}
	return p
}

func (w *world) group(id armid.ID) nsg.Group {
	w.tb.Helper()
	g, err := w.service.Network.Group(ctx, id)
	if err != nil {
		w.tb.Fatal(err)
	}
	return g
}

func names(g nsg.Group) []string {
	var out []string
	for _, r := range g.Rules {
		out = append(out, r.Name)
	}
	slices.Sort(out)
	return out
}

// wantSame compares the custom rules of two states of an NSG as sets.
func wantSame(t tb, before, after nsg.Group) {
	t.Helper()
	sorted := func(g nsg.Group) []nsg.Rule {
		return slices.SortedFunc(slices.Values(g.Rules), func(a, b nsg.Rule) int { return strings.Compare(a.Name, b.Name) })
	}
	if diff := cmp.Diff(sorted(before), sorted(after)); diff != "" {
		t.Errorf("the rules are not what they were: %s", diff)
	}
}

func (w *world) machineKinds(vm armid.ID) []string {
	w.tb.Helper()
	events, err := w.service.Store.ProtectionEvents(ctx, vm)
	if err != nil {
		w.tb.Fatal(err)
	}
	return kindsOf(w.tb, events)
}

func (w *world) noteKinds(id armid.ID) []string {
	w.tb.Helper()
	events, err := w.service.Store.Notes(ctx, id)
	if err != nil {
		w.tb.Fatal(err)
	}
	return kindsOf(w.tb, events)
}

func kindsOf(t tb, events []audit.Event) []string {
	t.Helper()
	var out []string
	for i, e := range events {
		if e.Sequence != i+1 || e.Text == "" || e.At.IsZero() || e.Actor == "" {
			t.Errorf("event %d is %+v", i+1, e)
		}
		out = append(out, string(e.Kind))
	}
	return out
}

func TestProtectAndUnprotect(t *testing.T) {
	w := newWorld(t).withOpen()
	before := w.group(openNSG)
	f := w.protect(open01)
	if got := f.Protection.State(); got != access.Protecting {
		t.Errorf("it is %s while nothing was written", got)
	}
	if got := names(w.group(openNSG)); !slices.Equal(got, []string{"allow-ssh"}) {
		t.Errorf("the call itself wrote: %v", got)
	}
	w.deliver()
	p := w.wantProtection(open01, access.Protected)
	if got := p.Parts[0].Removed; len(got) != 1 || got[0].Name != "allow-ssh" || string(got[0].Verbatim) != string(before.Rules[0].Verbatim) {
		t.Errorf("kept %+v", got)
	}
	g := w.group(openNSG)
	if len(g.Rules) != 1 || g.Rules[0].Access != nsg.Deny || g.Rules[0].Priority != 1000 || !slices.Equal(g.Rules[0].Destinations, []string{"10.0.0.9"}) {
		t.Errorf("the NSG holds %+v", g.Rules)
	}
	if got, want := w.machineKinds(open01), []string{"machine.protect-asked", "rule.set-aside", "nsg.closed", "machine.protected"}; !slices.Equal(got, want) {
		t.Errorf("the record is %v, want %v", got, want)
	}

	w.unprotect(open01)
	w.wantProtection(open01, access.Unprotecting)
	w.deliver()
	w.wantProtection(open01, access.Unprotected)
	wantSame(t, before, w.group(openNSG))
	if got, want := w.machineKinds(open01)[4:], []string{"machine.unprotect-asked", "rule.restored", "nsg.released", "machine.unprotected"}; !slices.Equal(got, want) {
		t.Errorf("the record ends with %v, want %v", got, want)
	}
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("the sweep found %+v afterwards", found)
	}
}

func TestProtectingAgainIsHarmless(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	first, writes := w.wantProtection(open01, access.Protected), w.network.Writes()
	f := w.protect(open01)
	if f.Protection.Revision != first.Revision {
		t.Errorf("revision %d became %d", first.Revision, f.Protection.Revision)
	}
	w.deliver()
	if got := w.network.Writes(); got != writes {
		t.Errorf("%d writes more", got-writes)
	}
	if got := w.machineKinds(open01); len(got) != first.Events {
		t.Errorf("the record grew: %v", got)
	}
}

func TestWhatIfChangesNothing(t *testing.T) {
	w := newWorld(t).withOpen()
	f, err := w.service.ForecastProtect(ctx, open01, ports22, bob)
	must(t, err)
	if got := f.NSGs[0].Plan; len(got.Put) != 1 || !slices.Equal(got.Delete, []string{"allow-ssh"}) {
		t.Errorf("the plan is %+v", got)
	}
	reach := map[string][2]nsg.Reach{}
	for _, v := range f.Verdicts {
		if v.Ports.First == 22 {
			reach[v.From] = [2]nsg.Reach{v.Before.Reach, v.After.Reach}
		}
	}
	want := map[string][2]nsg.Reach{access.FromInternet: {nsg.Open, nsg.Shut}, access.FromNetwork: {nsg.Open, nsg.Shut}, "203.0.113.0/24": {nsg.Open, nsg.Shut}}
	if diff := cmp.Diff(want, reach); diff != "" {
		t.Error(diff)
	}
	w.deliver()
	if _, err := w.service.Store.Protection(ctx, open01); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("something was saved: %v", err)
	}
	if got := w.network.Writes(); got != 0 {
		t.Errorf("%d writes", got)
	}
}

// TestMachinesShareASubnetNSG: neither protecting nor unprotecting one touches the
// other.
func TestMachinesShareASubnetNSG(t *testing.T) {
	w := newWorld(t)
	db01, db02 := vmID("db01"), vmID("db02")
	denied := func() []string {
		for _, r := range w.group(subnetNSG).Rules {
			if r.Access == nsg.Deny {
				return r.Destinations
			}
		}
		return nil
	}
	w.protect(db01)
	w.protect(db02)
	w.deliver()
	if got := denied(); !slices.Equal(got, []string{"10.0.1.4", "10.0.1.5"}) || len(w.group(subnetNSG).Rules) != 1 {
		t.Errorf("denied are %v by %v", got, names(w.group(subnetNSG)))
	}
	w.unprotect(db01)
	w.deliver()
	w.wantProtection(db01, access.Unprotected)
	w.wantProtection(db02, access.Protected)
	if got := denied(); !slices.Equal(got, []string{"10.0.1.5"}) {
		t.Errorf("denied are %v", got)
	}
}

func TestProtectionHasItsRefusals(t *testing.T) {
	w := newWorld(t).withOpen()
	set := func(change func(*access.Interface)) armid.ID {
		vm := vmID("odd01")
		i := access.Interface{ID: accesstest.NIC(vm, 0), Addresses: addrs("10.0.0.30"), NSGs: []armid.ID{nicNSG}, Public: true}
		change(&i)
		w.network.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{i}})
		return vm
	}
	refused := func(err error) access.Code {
		var rs access.Refusals
		if !errors.As(err, &rs) {
			return ""
		}
		return rs[0].Code
	}
	for _, c := range []struct {
		what string
		vm   func() armid.ID
		want access.Code
	}{
		{"no such VM", func() armid.ID { return vmID("ghost") }, access.VMNotFound},
		{"no NIC", func() armid.ID {
			w.network.SetMachine(access.Machine{VM: vmID("bare01")})
			return vmID("bare01")
		}, access.NoInterface},
		{"no NSG", func() armid.ID { return set(func(i *access.Interface) { i.NSGs = nil }) }, access.NoNSG},
		{"a firewall only", func() armid.ID { return set(func(i *access.Interface) { i.NSGs, i.Firewall = nil, true }) }, access.FirewallOnly},
		{"no address", func() armid.ID { return set(func(i *access.Interface) { i.Addresses = nil }) }, access.NoAddress},
		{"no public address", func() armid.ID { return set(func(i *access.Interface) { i.Public = false }) }, access.NoPublicAddress},
		{"a full NSG", func() armid.ID {
			for i := range nsg.MaxRules {
				w.edit(nicNSG, allowFrom(fmt.Sprintf("https-%d", i), 1000+i, "198.51.100.7", "10.0.0.99", "443"))
			}
			return vmID("web01")
		}, access.NSGFull},
	} {
		vm := c.vm()
		for _, try := range []func() error{
			func() error { _, err := w.service.ForecastProtect(ctx, vm, ports22, bob); return err },
			func() error { _, err := w.service.Protect(ctx, vm, ports22, bob); return err },
		} {
			if err := try(); refused(err) != c.want {
				t.Errorf("%s: %v, want %s", c.what, err, c.want)
			}
		}
		if _, err := w.service.Store.Protection(ctx, vm); !errors.Is(err, access.ErrNotFound) {
			t.Errorf("%s: something was saved", c.what)
		}
	}
	if _, err := w.service.Unprotect(ctx, open01, nil, bob); refused(err) != access.NotProtected {
		t.Errorf("unprotect what is not protected: %v", err)
	}
}

// TestPolicyMayWantPrivateReachAndAllInterfaces.
func TestPolicyMayWantPrivateReachAndAllInterfaces(t *testing.T) {
	w := newWorld(t)
	vm, second := vmID("duo01"), armid.MustParse(subscription+"/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-second")
	w.network.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{
		{ID: accesstest.NIC(vm, 0), Addresses: addrs("10.0.0.40"), NSGs: []armid.ID{nicNSG}},
		{ID: accesstest.NIC(vm, 1), Addresses: addrs("10.0.0.41"), NSGs: []armid.ID{second}},
	}})
	document := func(more string) string {
		return "apiVersion: jitgate/v1\nscope: " + subscription + "/resourceGroups/rg-demo\nports: [{port: 22, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n" + more
	}
	w.apply(document("reach: any\n"))
	w.protect(vm)
	w.deliver()
	if p := w.wantProtection(vm, access.Protected); len(p.Parts) != 1 {
		t.Errorf("parts: %+v", p.Parts)
	}
	w.apply(document("reach: any\ninterfaces: all\n"))
	w.protect(vm)
	w.deliver()
	if p := w.wantProtection(vm, access.Protected); len(p.Parts) != 2 {
		t.Errorf("parts: %+v", p.Parts)
	}
	r := w.submit(ask("duo01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.wantRules(nicNSG, 1)
	w.wantRules(second, 1)
}

// TestARuleThatCannotComeBackIsNotLost: its priority was taken meanwhile.
func TestARuleThatCannotComeBackIsNotLost(t *testing.T) {
	w := newWorld(t).withOpen()
	before := w.group(openNSG).Rules[0]
	w.protect(open01)
	w.deliver()
	w.edit(openNSG, allowFrom("intruder", 300, "198.51.100.7", "*", "443"))

	_, err := w.service.Unprotect(ctx, open01, nil, bob)
	var rs access.Refusals
	if !errors.As(err, &rs) || rs[0].Code != access.PriorityTaken || !strings.Contains(rs[0].Sentence, "intruder") || !strings.Contains(rs[0].Sentence, "--priority allow-ssh=") {
		t.Fatalf("unprotect: %v", err)
	}
	if p := w.wantProtection(open01, access.Protected); len(p.Parts[0].Removed) != 1 {
		t.Errorf("the copy is gone: %+v", p.Parts)
	}
	f, err := w.service.ForecastUnprotect(ctx, open01, nil, bob)
	if err != nil || len(f.Warnings) == 0 || f.Warnings[0].Code != access.PriorityTaken {
		t.Errorf("what-if: %+v, %v", f.Warnings, err)
	}
	for name, n := range map[string]int{"allow-ssh": 99, "other": 310} {
		if _, err := w.service.Unprotect(ctx, open01, map[string]int{name: n}, bob); !errors.As(err, &rs) || rs[0].Code != access.PriorityInvalid {
			t.Errorf("--priority %s=%d: %v", name, n, err)
		}
	}
	if _, err := w.service.Unprotect(ctx, open01, map[string]int{"ALLOW-SSH": 310}, bob); err != nil {
		t.Fatal(err)
	}
	w.deliver()
	w.wantProtection(open01, access.Unprotected)
	g := w.group(openNSG)
	i := slices.IndexFunc(g.Rules, func(r nsg.Rule) bool { return r.Name == "allow-ssh" })
	if i < 0 || g.Rules[i].Priority != 310 || !g.Rules[i].SameMeaning(before) {
		t.Errorf("the NSG holds %+v", g.Rules)
	}
}

// TestAConflictThatArisesLateBlocks: between the call and the write.
func TestAConflictThatArisesLateBlocks(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	w.unprotect(open01)
	w.edit(openNSG, allowFrom("intruder", 300, "198.51.100.7", "*", "443"))
	w.deliver()
	p := w.wantProtection(open01, access.Blocked)
	if p.Parts[0].Problem.Code != access.PriorityTaken {
		t.Errorf("the problem is %+v", p.Parts[0].Problem)
	}
	if got := names(w.group(openNSG)); len(got) != 2 {
		t.Errorf("half of it was done: %v", got)
	}
	w.wantUnsettled(openNSG)
	events := len(w.machineKinds(open01))
	w.sweep()
	if got := len(w.machineKinds(open01)); got != events {
		t.Errorf("the same problem was recorded again: %v", w.machineKinds(open01))
	}
	w.network.Edit(openNSG, func(g *nsg.Group) {
		g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r nsg.Rule) bool { return r.Name == "intruder" })
	})
	w.sweep()
	w.wantProtection(open01, access.Unprotected)
	if got := names(w.group(openNSG)); !slices.Equal(got, []string{"allow-ssh"}) {
		t.Errorf("the NSG holds %v", got)
	}
}

// TestPortsOfAProtectionChange: what the old ports denied is let go.
func TestPortsOfAProtectionChange(t *testing.T) {
	w := newWorld(t).withOpen()
	before := w.group(openNSG)
	w.protect(open01)
	w.deliver()
	if _, err := w.service.Protect(ctx, open01, access.ProtectAsk{Ports: []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}}}, bob); err != nil {
		t.Fatal(err)
	}
	w.deliver()
	w.wantProtection(open01, access.Protected)
	g := w.group(openNSG)
	if len(g.Rules) != 1 || !slices.Equal(g.Rules[0].DestinationPorts, []string{"22"}) {
		t.Errorf("the NSG holds %+v", g.Rules)
	}
	w.unprotect(open01)
	w.deliver()
	wantSame(t, before, w.group(openNSG))
}

func TestGrantsOpenAProtectedMachine(t *testing.T) {
	w := newWorld(t).withOpen()
	before := w.group(openNSG)
	w.protect(open01)
	w.deliver()
	r := w.submit(ask("open01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.unprotect(open01)
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.revoke(r.ID)
	w.deliver()
	wantSame(t, before, w.group(openNSG))
}

// TestFlushConnection is switched on for one machine and off again with the last.
func TestFlushConnection(t *testing.T) {
	w := newWorld(t)
	flush := ports22
	flush.Flush = new(true)
	for _, vm := range []string{"db01", "db02"} {
		if _, err := w.service.Protect(ctx, vmID(vm), flush, bob); err != nil {
			t.Fatal(err)
		}
		w.deliver()
	}
	want := func(on bool) {
		t.Helper()
		if got := w.group(subnetNSG).FlushConnection; got != on {
			t.Errorf("flushConnection is %v", got)
		}
	}
	want(true)
	w.network.Edit(subnetNSG, func(g *nsg.Group) { g.FlushConnection = false })
	w.sweep()
	want(true)
	if got := w.noteKinds(subnetNSG); !slices.Equal(got, []string{"drift.flush-repaired", "drift.repaired"}) {
		t.Errorf("notes: %v", got)
	}
	w.unprotect(vmID("db01"))
	w.deliver()
	want(true)
	flush.Flush = new(false)
	if _, err := w.service.Protect(ctx, vmID("db02"), flush, bob); err != nil {
		t.Fatal(err)
	}
	w.deliver()
	want(false)
	w.network.Edit(subnetNSG, func(g *nsg.Group) { g.FlushConnection = true }) // the owner's own wish
	w.unprotect(vmID("db02"))
	w.deliver()
	want(true)
}

func addrs(words ...string) []netip.Addr {
	out := make([]netip.Addr, len(words))
	for i, word := range words {
		out[i] = netip.MustParseAddr(word)
	}
	return out
}

// TestALateGuardBringsNothingBack: a process that had saved the wish to unprotect
// goes on with it long after others have carried it out, and the owner has deleted
// the rule that came back.
func TestALateGuardBringsNothingBack(t *testing.T) {
	w := newWorld(t).withOpen()
	w.protect(open01)
	w.deliver()
	protected, err := w.service.Store.Book(ctx, openNSG)
	must(t, err)
	w.unprotect(open01)
	leaving, err := w.service.Store.Book(ctx, openNSG)
	must(t, err)
	w.deliver()
	w.network.Edit(openNSG, remove("allow-ssh"))
	for _, book := range []access.Book{leaving, protected} {
		for _, g := range book.Guards {
			g.Done = false
			n, err := w.service.Store.PutGuard(ctx, openNSG, g)
			must(t, err)
			must(t, w.service.Queue.Enforce(ctx, openNSG, n))
		}
		w.deliver()
		if got := names(w.group(openNSG)); len(got) != 0 {
			t.Errorf("the NSG holds %v", got)
		}
		if b, err := w.service.Store.Book(ctx, openNSG); err != nil || len(b.Guards) != 0 || !b.Settled(w.clock.Now()) {
			t.Errorf("left in the book: %+v, %v", b, err)
		}
	}
	w.wantProtection(open01, access.Unprotected)
}
