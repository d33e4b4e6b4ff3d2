package arm_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/arm"
)

// networkEstate has a chain of peers, hub-left and hub-right, in two resource
// groups, and NICs of every kind.
const networkEstate = `
subscriptions:
  - id: 00000000-0000-0000-0000-000000000001
    resourceGroups:
      - name: rg-demo
        location: westeurope
        nsgs:
          - {name: bare}
          - name: no-internet
            rules:
              - {name: internet, priority: 110, direction: Inbound, access: Allow, protocol: Tcp, sourceAddressPrefix: Internet,
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "80"}
        vnets:
          - {name: left, space: [10.1.0.0/16], peers: [hub], subnets: [{name: s, prefix: 10.1.0.0/24, nsg: bare}]}
          - name: hub
            space: [10.2.0.0/16, 172.99.0.0/24]
            peers: [left, /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/RG-Far/providers/Microsoft.Network/virtualNetworks/right]
            subnets:
              - {name: s, prefix: 10.2.0.0/24, nsg: no-internet}
              - {name: AzureFirewallSubnet, prefix: 10.2.1.0/26}
          - {name: alone, space: [10.1.0.0/16], subnets: [{name: s, prefix: 10.1.0.0/24, nsg: bare}]}
        vms:
          - {name: l, nics: [{name: l-nic, subnet: left/s, private: 10.1.0.4}]}
          - {name: h, nics: [
              {name: h-nic, subnet: hub/s, private: 10.2.0.4, secondary: [10.2.0.5], loadBalanced: true},
              {name: h-nic2, subnet: hub/s, nsg: bare, secondary: [10.2.0.6]}]}
          - {name: a, nics: [{name: a-nic, subnet: alone/s, private: 10.1.0.4}]}
      - name: rg-far
        location: northeurope
        nsgs: [{name: bare}]
        vnets: [{name: right, space: [10.3.0.0/16], subnets: [{name: s, prefix: 10.3.0.0/24, nsg: bare}]}]
        vms: [{name: r, nics: [{name: r-nic, subnet: right/s, private: 10.3.0.4}]}]
`

func TestPeerings(t *testing.T) {
	e := start(t, arm.Options{Topology: must(arm.ParseTopology([]byte(networkEstate)))})
	networks := e.network.NewVirtualNetworksClient()
	vnets := scope + "/providers/Microsoft.Network/virtualNetworks/"
	right := strings.Replace(vnets, rg, "rg-far", 1) + "right"
	type half struct{ Local, Remote, Space string }
	var got []half
	listed, _ := collect(t, networks.NewListAllPager(nil), func(p armnetwork.VirtualNetworksClientListAllResponse) []*armnetwork.VirtualNetwork { return p.Value })
	for _, v := range listed {
		for _, p := range v.Properties.VirtualNetworkPeerings {
			x := p.Properties
			if *x.PeeringState != armnetwork.VirtualNetworkPeeringStateConnected || !*x.AllowVirtualNetworkAccess || *x.ProvisioningState != armnetwork.ProvisioningStateSucceeded ||
				*p.ID != *v.ID+"/virtualNetworkPeerings/"+*p.Name {
				t.Errorf("%s: %s, access %v", *p.ID, *x.PeeringState, *x.AllowVirtualNetworkAccess)
			}
			if diff := cmp.Diff(x.RemoteAddressSpace, x.RemoteVirtualNetworkAddressSpace); diff != "" {
				t.Errorf("%s: the two remote spaces differ:\n%s", *p.ID, diff)
			}
			var space []string
			for _, prefix := range x.RemoteAddressSpace.AddressPrefixes {
				space = append(space, *prefix)
			}
			got = append(got, half{last(*v.ID), *x.RemoteVirtualNetwork.ID, strings.Join(space, " ")})
		}
	}
	slices.SortFunc(got, func(a, b half) int { return strings.Compare(a.Local+a.Remote, b.Local+b.Remote) })
	// hub and left name each other, right is named by hub alone: one pair for each.
	want := []half{
		{"hub", vnets + "left", "10.1.0.0/16"}, {"hub", right, "10.3.0.0/16"},
		{"left", vnets + "hub", "10.2.0.0/16 172.99.0.0/24"}, {"right", vnets + "hub", "10.2.0.0/16 172.99.0.0/24"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("peerings (-want +got):\n%s", diff)
	}
	one := must(networks.Get(t.Context(), rg, "left", nil))
	if n := len(one.Properties.VirtualNetworkPeerings); n != 1 || *one.Properties.AddressSpace.AddressPrefixes[0] != "10.1.0.0/16" {
		t.Errorf("left has %d peerings", n)
	}

	for _, c := range []struct {
		vm, source, access, rule string
		port                     uint16
	}{
		{"l", "10.2.0.4", "Allow", "AllowVnetInBound", 22},   // a peer
		{"l", "172.99.0.9", "Allow", "AllowVnetInBound", 22}, // public addresses that a peer uses
		{"l", "10.3.0.4", "Deny", "DenyAllInBound", 22},      // the peer's peer
		{"h", "10.1.0.4", "Allow", "AllowVnetInBound", 22},
		{"h", "10.3.0.4", "Allow", "AllowVnetInBound", 22},
		{"r", "10.2.0.4", "Allow", "AllowVnetInBound", 22}, // named from the other side
		{"r", "172.99.0.9", "Allow", "AllowVnetInBound", 22},
		{"r", "10.1.0.4", "Deny", "DenyAllInBound", 22},
		{"a", "10.2.0.4", "Deny", "DenyAllInBound", 22},
		{"h", "8.8.8.8", "Allow", "internet", 80},
		{"h", "172.99.0.9", "Allow", "AllowVnetInBound", 80}, // so they are not the internet
	} {
		if a := probe(t, e, c.vm, c.source, c.port); a.Access != c.access || a.Rule != c.rule {
			t.Errorf("%s to %s: %s by %s, want %s by %s", c.source, c.vm, a.Access, a.Rule, c.access, c.rule)
		}
	}
}

func TestInterfacesOfEveryKind(t *testing.T) {
	e := start(t, arm.Options{Topology: must(arm.ParseTopology([]byte(networkEstate)))})
	nics := e.network.NewInterfacesClient()
	vm := must(e.machines.Get(t.Context(), rg, "h", nil))
	refs := vm.Properties.NetworkProfile.NetworkInterfaces
	if len(refs) != 2 || !*refs[0].Properties.Primary || *refs[1].Properties.Primary || last(*refs[0].ID) != "h-nic" {
		t.Errorf("the machine's references: %+v", refs)
	}
	first := must(nics.Get(t.Context(), rg, "h-nic", nil))
	configs := first.Properties.IPConfigurations
	if !*first.Properties.Primary || len(configs) != 2 {
		t.Fatalf("primary %v, %d configurations", *first.Properties.Primary, len(configs))
	}
	rules := configs[0].Properties.LoadBalancerInboundNatRules
	if len(rules) != 1 || *rules[0].ID != scope+"/providers/Microsoft.Network/loadBalancers/h-nic-lb/inboundNatRules/h-nic" {
		t.Errorf("NAT rules of the first configuration: %+v", rules)
	}
	if configs[1].Properties.LoadBalancerInboundNatRules != nil || *configs[1].Properties.PrivateIPAddress != "10.2.0.5" || *configs[1].Properties.Primary {
		t.Errorf("the second configuration: %+v", configs[1].Properties)
	}
	second := must(nics.Get(t.Context(), rg, "h-nic2", nil))
	configs = second.Properties.IPConfigurations
	if *second.Properties.Primary || len(configs) != 2 || configs[0].Properties.PrivateIPAddress != nil ||
		*configs[0].Properties.PrivateIPAllocationMethod != armnetwork.IPAllocationMethodDynamic || !*configs[0].Properties.Primary ||
		*configs[1].Properties.PrivateIPAddress != "10.2.0.6" || configs[0].Properties.LoadBalancerInboundNatRules != nil {
		t.Errorf("a NIC whose first address is not allocated: %+v", second.Properties)
	}
	sub := must(e.network.NewSubnetsClient().Get(t.Context(), rg, "hub", "s", nil))
	if n := len(sub.Properties.IPConfigurations); n != 4 {
		t.Errorf("the subnet lists %d configurations", n)
	}

	// The subnet's exact name is how Azure Firewall is recognised.
	hub := must(e.network.NewVirtualNetworksClient().Get(t.Context(), rg, "hub", nil))
	if name := *hub.Properties.Subnets[1].Name; name != "AzureFirewallSubnet" {
		t.Errorf("the firewall's subnet is called %s", name)
	}
	firewall := must(e.network.NewSubnetsClient().Get(t.Context(), rg, "hub", "azurefirewallsubnet", nil))
	if *firewall.Name != "AzureFirewallSubnet" || *firewall.Properties.AddressPrefix != "10.2.1.0/26" {
		t.Errorf("the firewall's subnet: %s %s", *firewall.Name, *firewall.Properties.AddressPrefix)
	}
}

// A packet may be sent to any address of a machine, and meets that NIC's NSG.
func TestProbeOfOtherAddresses(t *testing.T) {
	e := start(t, arm.Options{Topology: must(arm.ParseTopology([]byte(networkEstate)))})
	send := func(vm, to string) (arm.Answer, error) {
		p := arm.Packet{VM: vm, Source: netip.MustParseAddr("8.8.8.8"), Port: 80, Protocol: "Tcp"}
		if to != "" {
			p.To = netip.MustParseAddr(to)
		}
		return e.Probe(p)
	}
	for to, want := range map[string]string{"": "Allow", "10.2.0.4": "Allow", "10.2.0.5": "Allow", "::ffff:10.2.0.5": "Allow", "10.2.0.6": "Deny"} {
		if a, err := send("h", to); err != nil || a.Access != want {
			t.Errorf("to %q: %+v %v, want %s", to, a, err, want)
		}
	}
	if err := e.PutRule(nsgs+"no-internet", arm.Rule{Name: "not-this-one", Priority: 100, Direction: "Inbound", Access: "Deny", Protocol: "*",
		SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "10.2.0.5", DestinationPortRange: "*"}); err != nil {
		t.Fatal(err)
	}
	if a, err := send("h", "10.2.0.5"); err != nil || a.Rule != "not-this-one" {
		t.Errorf("a rule for the second address: %+v %v", a, err)
	}
	if a, err := send("h", ""); err != nil || a.Rule != "internet" {
		t.Errorf("a rule for the second address only: %+v %v", a, err)
	}
	if _, err := send("h", "10.1.0.4"); err == nil {
		t.Error("another machine's address was taken")
	}
	if err := e.SetPrivateAddress(nicID("h-nic"), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if a, err := send("h", ""); err == nil {
		t.Errorf("a NIC without an address answered %+v", a)
	}
	resp, out := e.call(t, "GET", "/probe?vm=h&to=10.2.0.6&source=8.8.8.8&port=80", nil)
	if resp.StatusCode != 200 || out["access"] != "Deny" {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
	if resp, _ := e.call(t, "GET", "/probe?vm=h&to=x&source=8.8.8.8&port=80", nil); resp.StatusCode != 400 {
		t.Errorf("a destination that is none: %d", resp.StatusCode)
	}
}

func nicID(name string) string {
	return scope + "/providers/Microsoft.Network/networkInterfaces/" + name
}
