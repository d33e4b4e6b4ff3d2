package access_test

import (
	"errors"
	"slices"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

func (w *world) report(scopes ...armid.ID) access.Report {
	w.tb.Helper()
	r, err := w.service.Report(ctx, scopes)
	if err != nil {
		w.tb.Fatal(err)
	}
	return r
}

func of(r access.Report, vm string) access.MachineReport {
	i := slices.IndexFunc(r.Machines, func(m access.MachineReport) bool { return m.VM.Equal(vmID(vm)) })
	if i < 0 {
		return access.MachineReport{}
	}
	return r.Machines[i]
}

func codes(m access.MachineReport) []access.Code {
	var out []access.Code
	for _, f := range m.Findings {
		out = append(out, f.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestReport(t *testing.T) {
	w := newWorld(t).withOpen()
	office := vmID("office01")
	officeNSG := armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-office")
	w.network.AddMachine(office, "10.0.0.20", officeNSG)
	w.edit(officeNSG, allowFrom("office", 500, "203.0.113.0/28", "*", "22"), allowFrom("cloud", 510, "AzureCloud", "*", "3389"),
		allowFrom("SecurityCenter-JITRule_-123_0123456789abcdef0123456789abcdef", 4000, "198.51.100.1", "*", "8080"), allowFrom("jitgate-by-hand", 600, "198.51.100.9", "*", "8443"))
	w.network.SetMachine(access.Machine{VM: vmID("lost01")})
	w.network.SetMachine(access.Machine{VM: vmID("dark01"), Interfaces: []access.Interface{{
		ID: accesstest.NIC(vmID("dark01"), 0), Addresses: addrs("10.0.0.21"), NSGs: []armid.ID{armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-dark")}}}})
	w.network.Hide(armid.MustParse(subscription+"/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-dark"), true)
	w.protect(vmID("web01"))
	r := w.submit(ask("web01"))
	w.deliver()
	w.wantState(r.ID, access.Active)

	got := w.report()
	if !got.Open() || got.CheckedAt.IsZero() {
		t.Errorf("open %v at %v", got.Open(), got.CheckedAt)
	}
	for _, c := range []struct {
		vm                string
		closed, protected bool
		port22            nsg.Reach
		network22         nsg.Reach
		findings          []access.Code
	}{
		{"open01", false, false, nsg.Open, nsg.Open, nil},
		{"web01", true, true, nsg.Shut, nsg.Shut, nil}, // its live grant does not count
		{"db01", true, false, nsg.Shut, nsg.Open, nil},
		{"lone01", false, false, nsg.Open, nsg.Open, []access.Code{access.NoNSG}},
		{"office01", false, false, nsg.Partly, nsg.Open, []access.Code{access.DefenderRules, access.RuleWithoutGrant, access.TagUnknown}},
		{"lost01", false, false, "", "", []access.Code{access.MachineUnreadable}},
		{"dark01", false, false, nsg.Unsure, nsg.Unsure, []access.Code{access.MachineUnreadable}},
	} {
		m := of(got, c.vm)
		if m.Closed != c.closed || m.Protected != c.protected || !slices.Equal(codes(m), c.findings) {
			t.Errorf("%s: closed %v, protected %v, findings %v", c.vm, m.Closed, m.Protected, m.Findings)
		}
		if c.port22 == "" {
			continue
		}
		if len(m.Ports) != 3 || m.Ports[0].Internet.Reach != c.port22 || m.Ports[0].Network.Reach != c.network22 {
			t.Errorf("%s: %+v", c.vm, m.Ports)
		}
	}
	if by := of(got, "open01").Ports[0].Internet.By; len(by) != 1 || by[0].Rule.Name != "allow-ssh" {
		t.Errorf("open01 is opened by %+v", by)
	}
	if !slices.IsSortedFunc(got.Machines, func(a, b access.MachineReport) int {
		return map[bool]int{true: -1, false: 1}[a.VM.Name() <= b.VM.Name()]
	}) {
		t.Error("not sorted by name")
	}
}

func TestReportSaysWhatProtectionLacks(t *testing.T) {
	w := newWorld(t).withOpen()
	w.edit(openNSG, allowFrom("office", 200, "203.0.113.0/28", "*", "22"))
	w.protect(open01)
	w.deliver()
	m := of(w.report(), "open01")
	if m.Closed || !m.Protected || m.Protection != access.Protected || !slices.Equal(codes(m), []access.Code{access.StillOpen}) {
		t.Errorf("a rule before the deny rule: %+v", m)
	}
	w.network.Edit(openNSG, func(g *nsg.Group) { g.Rules = nil })
	m = of(w.report(), "open01")
	if m.Protected || !slices.Contains(codes(m), access.ProtectionMissing) {
		t.Errorf("the deny rule is gone: %+v", m)
	}
}

func TestReportScopes(t *testing.T) {
	w := newWorld(t)
	w.network.AddMachine(vmIn("rg-other", "web01"), "10.0.9.4", armid.MustParse(subscription+"/resourceGroups/rg-other/providers/Microsoft.Network/networkSecurityGroups/nsg-other"))
	all := w.report()
	one := w.report(armid.MustParse("/SUBSCRIPTIONS/00000000-0000-0000-0000-000000000001/resourcegroups/RG-OTHER"))
	if len(one.Machines) != 1 || len(all.Machines) != 6 || one.Open() {
		t.Errorf("%d of %d machines: %+v", len(one.Machines), len(all.Machines), one.Machines)
	}
	var refused access.Refusals
	for scope, want := range map[string]access.Code{
		"/subscriptions/99999999-0000-0000-0000-000000000009": access.ScopeNotLookedAt,
		vmID("web01").String():                                access.ScopeInvalid,
	} {
		if _, err := w.service.Report(ctx, []armid.ID{armid.MustParse(scope)}); !errors.As(err, &refused) || refused[0].Code != want {
			t.Errorf("%s: %v", scope, err)
		}
	}
	w.service.Network = &brokenListing{w.service.Network}
	w.service.Subscriptions = []string{"broken"}
	if _, err := w.service.Report(ctx, nil); !errors.Is(err, access.ErrForbidden) {
		t.Errorf("a subscription that cannot be listed: %v", err)
	}
}
