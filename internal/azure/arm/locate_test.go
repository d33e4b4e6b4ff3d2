package arm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
)

func vm(name string) armid.ID {
	return armid.MustParse(scope + "Microsoft.Compute/virtualMachines/" + name)
}

// landscape has three networks in a row, hub - spoke - far, with an Azure Firewall
// in the hub, and a fourth by itself.
func landscape() local.Topology {
	nic := func(name, subnet, private string) local.Interface {
		return local.Interface{Name: name, Subnet: subnet, Private: private}
	}
	guarded := nic("guarded-nic", "spoke/guarded", "10.2.1.4")
	guarded.PublicIP, guarded.Secondary = "guarded-ip", []string{"10.2.1.5"}
	both := nic("both-nic", "alone/guarded", "10.9.1.4")
	both.Secondary, both.NSG, both.ASGs = []string{"10.9.1.5"}, "nsg-b", []string{"asg-Web", "asg-db"}
	balanced := nic("balanced-nic", "alone/plain", "10.9.0.4")
	balanced.LoadBalanced, balanced.NSG, balanced.ASGs = true, "nsg-b", []string{"asg-Web"}
	second := nic("second-nic", "far/plain", "10.3.0.8")
	second.PublicIP = "second-ip"
	return local.Topology{Subscriptions: []local.Subscription{{ID: sub, Name: "test", ResourceGroups: []local.ResourceGroup{{
		Name: "rg-test", Location: "westeurope", ASGs: []string{"asg-Web", "asg-db"},
		NSGs:      []local.SecurityGroup{{Name: "nsg-a", Rules: foreignRules()[:2]}, {Name: "nsg-b"}},
		PublicIPs: []local.PublicIP{{Name: "guarded-ip", Address: "203.0.113.4"}, {Name: "second-ip", Address: "203.0.113.5"}},
		VNets: []local.VirtualNetwork{
			{Name: "alone", Space: []string{"10.9.0.0/16", "fd09::/48"}, Subnets: []local.Subnet{{Name: "plain", Prefix: "10.9.0.0/24"}, {Name: "guarded", Prefix: "10.9.1.0/24", NSG: "nsg-a"}}},
			{Name: "hub", Space: []string{"10.1.0.0/16"}, Subnets: []local.Subnet{{Name: "AzureFirewallSubnet", Prefix: "10.1.0.0/24"}, {Name: "plain", Prefix: "10.1.1.0/24"}}},
			{Name: "spoke", Space: []string{"10.2.0.0/16"}, Subnets: []local.Subnet{{Name: "plain", Prefix: "10.2.0.0/24"}, {Name: "guarded", Prefix: "10.2.1.0/24", NSG: "nsg-a"}}, Peers: []string{"hub", "far"}},
			{Name: "far", Space: []string{"10.3.0.0/16"}, Subnets: []local.Subnet{{Name: "plain", Prefix: "10.3.0.0/24"}}},
		},
		VMs: []local.VirtualMachine{
			{Name: "both", NICs: []local.Interface{both}},
			{Name: "balanced", NICs: []local.Interface{balanced}},
			{Name: "in-hub", NICs: []local.Interface{nic("in-hub-nic", "hub/plain", "10.1.1.4")}},
			{Name: "in-spoke", NICs: []local.Interface{nic("in-spoke-nic", "spoke/plain", "10.2.0.4")}},
			{Name: "in-far", NICs: []local.Interface{nic("in-far-nic", "far/plain", "10.3.0.4")}},
			{Name: "guarded", NICs: []local.Interface{guarded}},
			{Name: "unborn", NICs: []local.Interface{nic("unborn-nic", "alone/guarded", "")}},
			{Name: "many", NICs: []local.Interface{nic("first-nic", "spoke/guarded", "10.2.1.8"), second,
				nic("third-nic", "spoke/guarded", "10.2.1.9"), nic("fourth-nic", "hub/plain", "10.1.1.9")}},
		},
	}}}}}
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func networkID(kind, name string) armid.ID {
	return armid.MustParse(scope + "Microsoft.Network/" + kind + "/" + name)
}

func nicID(name string) armid.ID { return networkID("networkInterfaces", name) }

func nsgs(names ...string) []armid.ID {
	var out []armid.ID
	for _, n := range names {
		out = append(out, networkID("networkSecurityGroups", n))
	}
	return out
}

func asg(name string) string {
	return strings.ToLower(networkID("applicationSecurityGroups", name).String())
}

// machines is what the landscape must be read as.
func machines() map[string][]access.Interface {
	alone, spoke := prefixes("10.9.0.0/16", "fd09::/48"), prefixes("10.2.0.0/16", "10.1.0.0/16", "10.3.0.0/16")
	hub, far := prefixes("10.1.0.0/16", "10.2.0.0/16"), prefixes("10.3.0.0/16", "10.2.0.0/16")
	return map[string][]access.Interface{
		"both":     {{ID: nicID("both-nic"), Addresses: addrs("10.9.1.4", "10.9.1.5"), NSGs: nsgs("nsg-a", "nsg-b"), Network: alone, ASGs: []string{asg("asg-web"), asg("asg-db")}}},
		"balanced": {{ID: nicID("balanced-nic"), Addresses: addrs("10.9.0.4"), NSGs: nsgs("nsg-b"), Public: true, Network: alone, ASGs: []string{asg("asg-web")}}},
		"in-hub":   {{ID: nicID("in-hub-nic"), Addresses: addrs("10.1.1.4"), Firewall: true, Network: hub}},
		"in-spoke": {{ID: nicID("in-spoke-nic"), Addresses: addrs("10.2.0.4"), Firewall: true, Network: spoke}},
		"in-far":   {{ID: nicID("in-far-nic"), Addresses: addrs("10.3.0.4"), Network: far}}, // peering is not transitive
		"guarded":  {{ID: nicID("guarded-nic"), Addresses: addrs("10.2.1.4", "10.2.1.5"), NSGs: nsgs("nsg-a"), Public: true, Network: spoke}},
		"unborn":   {{ID: nicID("unborn-nic"), NSGs: nsgs("nsg-a"), Network: alone}},
		"many": {
			{ID: nicID("first-nic"), Addresses: addrs("10.2.1.8"), NSGs: nsgs("nsg-a"), Network: spoke},
			{ID: nicID("second-nic"), Addresses: addrs("10.3.0.8"), Public: true, Network: far},
			{ID: nicID("third-nic"), Addresses: addrs("10.2.1.9"), NSGs: nsgs("nsg-a"), Network: spoke},
			{ID: nicID("fourth-nic"), Addresses: addrs("10.1.1.9"), Firewall: true, Network: hub},
		},
	}
}

func TestLocate(t *testing.T) {
	calls := map[string]map[string]int{ // nothing is read that is not needed, and nothing twice
		"both":     {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 1},
		"balanced": {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 1},
		"in-hub":   {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 1}, // its own firewall is enough
		"in-spoke": {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 3},
		"in-far":   {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 2},
		"guarded":  {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 1},
		"unborn":   {"vm.get": 1, "nic.get": 1, "subnet.get": 1, "vnet.get": 1},
		"many":     {"vm.get": 1, "nic.get": 4, "subnet.get": 3, "vnet.get": 3},
	}
	e := start(t, local.Options{Topology: landscape()})
	for name, want := range machines() {
		for _, spelling := range []string{name, strings.ToUpper(name)} {
			t.Run(spelling, func(t *testing.T) {
				e.ResetCounts()
				got, err := e.Locate(e.ctx, vm(spelling))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(access.Machine{VM: vm(name), Interfaces: want}, got, same); diff != "" {
					t.Error(diff)
				}
				if got.VM.Name() != name {
					t.Errorf("VM %s: not the id Azure gave", got.VM)
				}
				if diff := cmp.Diff(calls[name], e.Counts()); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
	if lines := e.logs.take(slog.LevelWarn); len(lines) > 0 {
		t.Errorf("warnings: %q", lines)
	}
}

// TestLocateReadsSideBySide holds the first NIC until another one is asked for.
func TestLocateReadsSideBySide(t *testing.T) {
	e := start(t, local.Options{Topology: landscape()})
	var arrived atomic.Int32
	both := make(chan struct{})
	e.SetHooks(func(op local.Op) *local.Fault {
		if op.Kind != "nic.get" {
			return nil
		}
		if arrived.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-time.After(10 * time.Second):
			t.Error("the second NIC is not read before the first has come")
		}
		return nil
	}, nil)
	if _, err := e.Locate(e.ctx, vm("many")); err != nil {
		t.Fatal(err)
	}
	if e.wire.most > 4 {
		t.Errorf("%d calls at once", e.wire.most)
	}
}

func wantRefusal(t tb, err error, code access.Code, vm string) {
	t.Helper()
	var refusals access.Refusals
	if !errors.As(err, &refusals) || refusals[0].Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if s := refusals[0].Sentence; !strings.Contains(s, vm) || !strings.HasSuffix(s, ".") {
		t.Errorf("the sentence %q does not name the VM", s)
	}
}

func TestLocateRefuses(t *testing.T) {
	e := start(t, local.Options{})
	_, err := e.Locate(e.ctx, vm("nobody"))
	wantRefusal(t, err, access.VMNotFound, "nobody")
	_, err = e.Locate(e.ctx, armid.MustParse(strings.Replace(vm("both").String(), "rg-test", "rg-none", 1)))
	wantRefusal(t, err, access.VMNotFound, "both")
	// Azure hides it; nobody may conclude that the machine is gone.
	_, err = e.Locate(e.ctx, armid.MustParse(strings.Replace(vm("both").String(), sub, "00000000-0000-0000-0000-00000000ffff", 1)))
	var refusals access.Refusals
	if !errors.Is(err, access.ErrForbidden) || errors.As(err, &refusals) {
		t.Errorf("a subscription that Azure does not show: %v", err)
	}
}

// TestMissingNIC deletes NICs that a VM goes on naming. Locate asks for each and is
// told that it does not exist; the lists do not say why it is not in them.
func TestMissingNIC(t *testing.T) {
	e := start(t, local.Options{Topology: landscape()})
	all := machines()["many"]
	for i, step := range []struct {
		gone   string
		left   []access.Interface
		listed []access.Interface
	}{
		{"third-nic", []access.Interface{all[0], all[1], all[3]}, []access.Interface{all[0], all[1], all[3]}},
		{"first-nic", []access.Interface{all[1], all[3]}, nil}, // the primary one
		{"fourth-nic", []access.Interface{all[1]}, nil},
		{"second-nic", nil, nil},
	} {
		left := step.left
		if err := e.DeleteInterface(nicID(step.gone).String()); err != nil {
			t.Fatal(err)
		}
		estate, err := e.Estate(e.ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range estate.Machines {
			if m.VM.Name() != "many" {
				continue
			}
			want := access.Machine{VM: vm("many"), Interfaces: step.listed, Unseen: true}
			if diff := cmp.Diff(want, m, same); diff != "" {
				t.Errorf("in the estate: %s", diff)
			}
		}
		if lines := e.logs.take(slog.LevelWarn); len(lines) != i+1 {
			t.Errorf("warnings: %q", lines)
		}
		got, err := e.Locate(e.ctx, vm("many"))
		if left == nil {
			wantRefusal(t, err, access.NoInterface, "many")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(left, got.Interfaces, same); diff != "" {
			t.Error(diff)
		}
		if lines := e.logs.take(slog.LevelWarn); len(lines) != i+1 {
			t.Errorf("warnings: %q", lines)
		}
	}
}

func TestLocateFails(t *testing.T) {
	for _, kind := range []string{"vm.get", "nic.get", "subnet.get"} {
		for _, test := range []struct {
			fault local.Fault
			want  error
		}{
			{local.Fault{Status: 403, Code: "AuthorizationFailed"}, access.ErrForbidden},
			{local.Fault{Status: 404, Code: "SubscriptionNotFound"}, access.ErrForbidden},
			{local.Fault{Status: 404, Code: "Gateway"}, access.ErrUnavailable},
			{local.Fault{Status: 429, Code: "TooManyRequests"}, access.ErrUnavailable},
			{local.Fault{Status: 502}, access.ErrUnavailable},
		} {
			t.Run(fmt.Sprintf("%s %d %s", kind, test.fault.Status, test.fault.Code), func(t *testing.T) {
				e := start(t, local.Options{})
				e.FailNext(kind, 4, test.fault)
				_, err := e.Locate(e.ctx, vm("both"))
				var refusals access.Refusals
				if !errors.Is(err, test.want) || errors.As(err, &refusals) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
	t.Run("the subnet goes meanwhile", func(t *testing.T) {
		e := start(t, local.Options{})
		e.FailNext("subnet.get", 1, local.Fault{Status: 404, Code: "NotFound"})
		if _, err := e.Locate(e.ctx, vm("both")); !errors.Is(err, access.ErrUnavailable) || errors.Is(err, access.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// TestNetworksMayBeHidden: access was possible before anybody read networks, and
// must stay so.
func TestNetworksMayBeHidden(t *testing.T) {
	for _, fault := range []local.Fault{
		{Status: 403, Code: "AuthorizationFailed"}, {Status: 404, Code: "ResourceNotFound"}, {Status: 404, Code: "SubscriptionNotFound"}, {Status: 500}, {Drop: true},
	} {
		t.Run(fmt.Sprint(fault.Status, fault.Code), func(t *testing.T) {
			e := start(t, local.Options{Topology: landscape()})
			e.FailNext("vnet.get", 99, fault)
			want := machines()["many"]
			for i := range want {
				want[i].Network, want[i].Firewall = nil, false
			}
			got, err := e.Locate(e.ctx, vm("many"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Interfaces, same); diff != "" {
				t.Error(diff)
			}
			if lines := e.logs.take(slog.LevelInfo); len(lines) != 1 {
				t.Errorf("said %q", lines)
			}
		})
	}
	t.Run("a peer", func(t *testing.T) {
		e := start(t, local.Options{Topology: landscape()})
		e.SetHooks(func(op local.Op) *local.Fault {
			if op.Kind == "vnet.get" && strings.HasSuffix(op.ID, "/hub") {
				return &local.Fault{Status: 403, Code: "AuthorizationFailed"}
			}
			return nil
		}, nil)
		want := machines()["in-spoke"]
		want[0].Firewall = false
		got, err := e.Locate(e.ctx, vm("in-spoke"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Interfaces, same); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("for want of time", func(t *testing.T) {
		e := start(t, local.Options{Topology: landscape()})
		ctx, cancel := context.WithCancel(e.ctx)
		e.SetHooks(func(op local.Op) *local.Fault {
			if op.Kind == "vnet.get" && strings.HasSuffix(op.ID, "/hub") {
				cancel()
			}
			return nil
		}, nil)
		if _, err := e.Locate(ctx, vm("in-spoke")); !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if lines := e.logs.take(slog.LevelInfo); len(lines) > 0 {
			t.Errorf("said %q", lines)
		}
	})
}
