package arm_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/arm"
)

// collect follows a pager of the SDK to its end and also counts the pages.
func collect[P, T any](t testing.TB, p *runtime.Pager[P], value func(P) []*T) (all []*T, pages int) {
	t.Helper()
	for ; p.More(); pages++ {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, value(page)...)
	}
	return all, pages
}

func interfaces(p armnetwork.InterfacesClientListAllResponse) []*armnetwork.Interface { return p.Value }

func allGroups(p armnetwork.SecurityGroupsClientListAllResponse) []*armnetwork.SecurityGroup {
	return p.Value
}

// Each pager of the SDK sees every item once, in pages of the ordered size, and
// each page is one call.
func TestPaging(t *testing.T) {
	const size = 7
	e := start(t, arm.Options{Topology: arm.Varied(100), PageSize: size})
	const group = "rg-varied2"
	vm := func(v *armcompute.VirtualMachine) string { return *v.ID }
	nic := func(v *armnetwork.Interface) string { return *v.ID }
	vnet := func(v *armnetwork.VirtualNetwork) string { return *v.ID }
	nsg := func(v *armnetwork.SecurityGroup) string { return *v.ID }
	ip := func(v *armnetwork.PublicIPAddress) string { return *v.ID }
	for _, c := range []struct {
		kind, scope string
		want        int
		list        func() ([]string, int)
	}{
		{"vm.list", "", 100, func() ([]string, int) {
			return ids(vm)(collect(t, e.machines.NewListAllPager(nil), func(p armcompute.VirtualMachinesClientListAllResponse) []*armcompute.VirtualMachine { return p.Value }))
		}},
		{"vm.list", group, 20, func() ([]string, int) {
			return ids(vm)(collect(t, e.machines.NewListPager(group, nil), func(p armcompute.VirtualMachinesClientListResponse) []*armcompute.VirtualMachine { return p.Value }))
		}},
		{"nic.list", "", 110, func() ([]string, int) {
			return ids(nic)(collect(t, e.network.NewInterfacesClient().NewListAllPager(nil), interfaces))
		}},
		{"nic.list", group, 22, func() ([]string, int) {
			return ids(nic)(collect(t, e.network.NewInterfacesClient().NewListPager(group, nil), func(p armnetwork.InterfacesClientListResponse) []*armnetwork.Interface { return p.Value }))
		}},
		{"vnet.list", "", 4, func() ([]string, int) {
			return ids(vnet)(collect(t, e.network.NewVirtualNetworksClient().NewListAllPager(nil), func(p armnetwork.VirtualNetworksClientListAllResponse) []*armnetwork.VirtualNetwork { return p.Value }))
		}},
		{"vnet.list", group, 1, func() ([]string, int) {
			return ids(vnet)(collect(t, e.network.NewVirtualNetworksClient().NewListPager(group, nil), func(p armnetwork.VirtualNetworksClientListResponse) []*armnetwork.VirtualNetwork { return p.Value }))
		}},
		{"nsg.list", "", 29, func() ([]string, int) {
			return ids(nsg)(collect(t, e.groups.NewListAllPager(nil), allGroups))
		}},
		{"nsg.list", group, 6, func() ([]string, int) {
			return ids(nsg)(collect(t, e.groups.NewListPager(group, nil), func(p armnetwork.SecurityGroupsClientListResponse) []*armnetwork.SecurityGroup { return p.Value }))
		}},
		{"publicip.list", "", 90, func() ([]string, int) {
			return ids(ip)(collect(t, e.network.NewPublicIPAddressesClient().NewListAllPager(nil), func(p armnetwork.PublicIPAddressesClientListAllResponse) []*armnetwork.PublicIPAddress {
				return p.Value
			}))
		}},
		{"subnet.list", group, 3, func() ([]string, int) {
			return ids(func(v *armnetwork.Subnet) string { return *v.ID })(collect(t, e.network.NewSubnetsClient().NewListPager(group, "vnet-varied", nil),
				func(p armnetwork.SubnetsClientListResponse) []*armnetwork.Subnet { return p.Value }))
		}},
	} {
		e.ResetCounts()
		got, pages := c.list()
		wantPages := (c.want + size - 1) / size
		if len(got) != c.want || len(slices.Compact(slices.Sorted(slices.Values(got)))) != c.want || pages != wantPages {
			t.Errorf("%s %s: %d items in %d pages, want %d in %d: %v", c.kind, c.scope, len(got), pages, c.want, wantPages, got)
		}
		if diff := cmp.Diff(map[string]int{c.kind: wantPages}, e.Counts()); diff != "" {
			t.Errorf("%s %s: calls (-want +got):\n%s", c.kind, c.scope, diff)
		}
		for _, id := range got {
			if c.scope != "" && !strings.Contains(id, "/resourceGroups/"+c.scope+"/") {
				t.Errorf("%s of %s has %s", c.kind, c.scope, id)
			}
		}
	}
	if resp, body := e.call(t, "GET", "/subscriptions/"+sub+"/providers/Microsoft.Network/networkSecurityGroups"+version+"&$skiptoken=%25", nil); resp.StatusCode != 400 {
		t.Errorf("a broken skip token got %d %s", resp.StatusCode, errorCode(body))
	}
}

// ids names the items that collect has found.
func ids[T any](id func(*T) string) func([]*T, int) ([]string, int) {
	return func(all []*T, pages int) (out []string, _ int) {
		for _, v := range all {
			out = append(out, id(v))
		}
		return out, pages
	}
}

// What was already sent may vanish between two pages without the client missing
// another item.
func TestPagingWhileThingsVanish(t *testing.T) {
	e := start(t, arm.Options{Topology: arm.Varied(100), PageSize: 10})
	var names []string
	for p := e.machines.NewListAllPager(nil); p.More(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, vm := range page.Value {
			names = append(names, *vm.Name)
		}
		for _, vm := range page.Value[len(page.Value)-2:] {
			if err := e.DeleteMachine(*vm.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(names) != 100 || len(slices.Compact(slices.Sorted(slices.Values(names)))) != 100 {
		t.Errorf("%d machines: %v", len(names), names)
	}
}

// The list of an NSG's rules has the order they have inside the NSG, over pages too.
func TestRulesAreListedInStoredOrder(t *testing.T) {
	e := start(t, arm.Options{PageSize: 2})
	var rules []arm.Rule
	want := []string{"m", "z", "a", "k", "b"}
	for i, name := range want {
		rules = append(rules, arm.Rule{Name: name, Priority: 4000 - i, Direction: "Inbound", Access: "Deny", Protocol: "Tcp",
			SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "22"})
	}
	if err := e.ReplaceRules(web, rules); err != nil {
		t.Fatal(err)
	}
	inside := func(g *armnetwork.SecurityGroup) (names []string) {
		for _, r := range g.Properties.SecurityRules {
			names = append(names, *r.Name)
		}
		return names
	}
	got := must(e.groups.Get(t.Context(), rg, "nsg-web01", nil)).SecurityGroup
	if diff := cmp.Diff(want, inside(&got)); diff != "" {
		t.Errorf("inside the NSG (-want +got):\n%s", diff)
	}
	all, _ := collect(t, e.groups.NewListAllPager(nil), allGroups)
	for _, g := range all {
		if *g.ID == web {
			if diff := cmp.Diff(want, inside(g)); diff != "" {
				t.Errorf("inside the list of NSGs (-want +got):\n%s", diff)
			}
		}
	}
	listed, pages := ids(func(r *armnetwork.SecurityRule) string { return *r.Name })(
		collect(t, e.rules.NewListPager(rg, "nsg-web01", nil), func(p armnetwork.SecurityRulesClientListResponse) []*armnetwork.SecurityRule { return p.Value }))
	if diff := cmp.Diff(want, listed); diff != "" || pages != 3 {
		t.Errorf("%d pages (-want +got):\n%s", pages, diff)
	}

	// When the rule that a page ended with vanishes, rules come twice, none is missed.
	seen := map[string]bool{}
	for p, first := e.rules.NewListPager(rg, "nsg-web01", nil), true; p.More(); first = false {
		page := must(p.NextPage(t.Context()))
		for _, r := range page.Value {
			seen[*r.Name] = true
		}
		if first {
			if err := e.DeleteRule(web, *page.Value[1].Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("%s was missed", name)
		}
	}
}
