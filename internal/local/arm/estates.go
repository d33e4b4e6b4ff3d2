package arm

import (
	"fmt"
	"net/netip"
)

const madeSubscription = "00000000-0000-0000-0000-000000000001"

// Fleet returns an estate for load tests: subscription
// 00000000-0000-0000-0000-000000000001, resource group rg-fleet, and n machines
// fleet01… that share one subnet NSG, nsg-fleet, with the management ports denied.
// n is at most 60,000, what the subnet holds.
func Fleet(n int) Topology {
	g := ResourceGroup{
		Name: "rg-fleet", Location: "westeurope",
		NSGs: []SecurityGroup{{Name: "nsg-fleet", Rules: []Rule{closed()}}},
		VNets: []VirtualNetwork{{Name: "vnet-fleet", Space: []string{"10.64.0.0/16"},
			Subnets: []Subnet{{Name: "fleet", Prefix: "10.64.0.0/16", NSG: "nsg-fleet"}}}},
	}
	private := netip.MustParseAddr("10.64.0.4") // Azure keeps the first four addresses of a subnet
	public := netip.MustParseAddr("198.18.0.1")
	for i := range min(n, 60000) {
		name := fmt.Sprintf("fleet%02d", i+1)
		g.PublicIPs = append(g.PublicIPs, PublicIP{Name: name + "-ip", Address: public.String()})
		g.VMs = append(g.VMs, VirtualMachine{Name: name, NICs: []Interface{{
			Name: name + "-nic", Subnet: "vnet-fleet/fleet", Private: private.String(), PublicIP: name + "-ip"}}})
		private, public = private.Next(), public.Next()
	}
	return Topology{Subscriptions: []Subscription{{ID: madeSubscription, Name: "fleet", ResourceGroups: []ResourceGroup{g}}}}
}

// varied is what differs between the twenty kinds of machine in [Varied]. A kind
// without rules has no NSG of its own.
type varied struct {
	home, second string // subnets of the NICs; second is empty for one NIC
	rules        func(i int, address string) []Rule
	inner        bool // no public address
	windows      bool
}

var kinds = [20]varied{
	0:  {home: "plain", rules: openToAll},
	1:  {home: "plain", rules: openToOffice},
	2:  {home: "plain"},
	3:  {home: "front", inner: true},
	4:  {home: "front", rules: func(int, string) []Rule { return []Rule{closed()} }},
	5:  {home: "plain", rules: byDefender},
	6:  {home: "plain", rules: besideDefender, windows: true},
	7:  {home: "front", second: "back"},
	8:  {home: "front"},
	9:  {home: "front"},
	10: {home: "front"},
	11: {home: "front"},
	12: {home: "front"},
	13: {home: "front", inner: true},
	14: {home: "back"},
	15: {home: "back"},
	16: {home: "back"},
	17: {home: "back", second: "front"},
	18: {home: "back"},
	19: {home: "back"},
}

// Varied returns an estate for reports: n machines vm0000… that are guarded in
// different ways, always the same for the same n, which is at most 10,000. Machine i
// lies in resource group rg-varied0 to rg-varied3, by i/20 modulo 4. Each has a
// vnet-varied with the subnets front and back, which share nsg-shared (22 and 3389
// denied at 1000), and plain, which has no NSG. What i is modulo 20 decides the rest:
//
//	0      plain, own NSG: allow-ssh at 300 opens 22 to any source
//	1      plain, own NSG: allow-ssh-office at 300 opens 22 to 203.0.113.0/28
//	2      plain, no NSG: open altogether
//	3, 13  front, no public address
//	4      front, and an own NSG that denies the same once more
//	5      plain, own NSG with Defender's rules under their old names: the deny for
//	       22 and 3389 at 1000, and a live grant for 198.51.100.7 to 22 at 100
//	6      plain, Windows, own NSG with Defender's deny under its new name at 4096,
//	       where somebody's allow-rdp at 1002 leaves 3389 open
//	7      front, with a second NIC in back
//	17     back, with a second NIC in front
//	8–12   front
//	14–16, 18, 19  back
//
// Every machine but 3 and 13 has a public address, on its first NIC. An own NSG is
// called after its machine, vm0000-nsg, and stands before its only NIC.
func Varied(n int) Topology {
	groups := make([]ResourceGroup, 4)
	free := map[string]netip.Addr{} // by group and subnet
	for v := range groups {
		net := func(third, bits int) string { return fmt.Sprintf("10.%d.%d.0/%d", 100+v, third, bits) }
		groups[v] = ResourceGroup{
			Name: fmt.Sprintf("rg-varied%d", v), Location: "westeurope",
			NSGs: []SecurityGroup{{Name: "nsg-shared", Rules: []Rule{closed()}}},
			VNets: []VirtualNetwork{{Name: "vnet-varied", Space: []string{net(0, 16)}, Subnets: []Subnet{
				{Name: "front", Prefix: net(0, 18), NSG: "nsg-shared"},
				{Name: "back", Prefix: net(64, 18), NSG: "nsg-shared"},
				{Name: "plain", Prefix: net(128, 18)},
			}}},
		}
		for _, s := range groups[v].VNets[0].Subnets {
			free[groups[v].Name+s.Name] = netip.MustParsePrefix(s.Prefix).Addr().Next().Next().Next().Next()
		}
	}
	public := netip.MustParseAddr("198.18.0.1")
	for i := range min(n, 10000) {
		g, k, name := &groups[i/20%4], kinds[i%20], fmt.Sprintf("vm%04d", i)
		nic := func(suffix, subnet string) Interface {
			at := free[g.Name+subnet]
			free[g.Name+subnet] = at.Next()
			return Interface{Name: name + suffix, Subnet: "vnet-varied/" + subnet, Private: at.String()}
		}
		m := VirtualMachine{Name: name, NICs: []Interface{nic("-nic", k.home)}}
		first := &m.NICs[0]
		if k.rules != nil {
			first.NSG = name + "-nsg"
			g.NSGs = append(g.NSGs, SecurityGroup{Name: first.NSG, Rules: k.rules(i, first.Private)})
		}
		if !k.inner {
			first.PublicIP = name + "-ip"
			g.PublicIPs = append(g.PublicIPs, PublicIP{Name: first.PublicIP, Address: public.String()})
			public = public.Next()
		}
		if k.second != "" {
			m.NICs = append(m.NICs, nic("-nic2", k.second))
		}
		if k.windows {
			m.OS = "Windows"
		}
		g.VMs = append(g.VMs, m)
	}
	return Topology{Subscriptions: []Subscription{{ID: madeSubscription, Name: "varied", ResourceGroups: groups}}}
}

func openToAll(int, string) []Rule { return []Rule{allow("allow-ssh", 300, "*", "22")} }

func openToOffice(int, string) []Rule {
	return []Rule{allow("allow-ssh-office", 300, "203.0.113.0/28", "22")}
}

// byDefender has the names and descriptions that Defender gave until 2023 (Azure's
// self-help guide): underscores in a deny, hyphens in an allow.
func byDefender(i int, address string) []Rule {
	deny, grant := closed(), allow(fmt.Sprintf("SecurityCenter-JITRule-%d-%032X", 100+i, i), 100, "198.51.100.7", "22")
	deny.Name = fmt.Sprintf("SecurityCenter-JITRule_-%d_%032X", 100+i, i)
	deny.Description = fmt.Sprintf("ASC JIT Network Access rule for policy 'default' of VM 'vm%04d'.", i)
	grant.Description = fmt.Sprintf("ASC JIT Network Access rule created by an initiation request for policy 'default' of VM 'vm%04d'.", i)
	deny.DestinationAddressPrefix, grant.DestinationAddressPrefix = address, address
	return []Rule{grant, deny}
}

// besideDefender has the names since 2023 (Defender's release notes), and the deny
// at the end of the band, where it was seen in groups that hold other rules too.
func besideDefender(i int, address string) []Rule {
	deny := closed()
	deny.Name = fmt.Sprintf("MicrosoftDefenderForCloud-JITRule_%d_%032X", 100+i, i)
	deny.Description = fmt.Sprintf("MDC JIT Network Access rule for policy 'default' of VM 'vm%04d'.", i)
	deny.Priority, deny.DestinationAddressPrefix = 4096, address
	return []Rule{allow("allow-rdp", 1002, "*", "3389"), deny}
}

func closed() Rule {
	return Rule{Name: "deny-management", Priority: 1000, Direction: "Inbound", Access: "Deny", Protocol: "*",
		SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRanges: []string{"22", "3389"}}
}

func allow(name string, priority int, source, port string) Rule {
	return Rule{Name: name, Priority: priority, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
		SourceAddressPrefix: source, SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: port}
}
