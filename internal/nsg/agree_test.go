package nsg_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

// The stand-in for ARM judges packets with an evaluator of its own, written from
// the same pages of documentation by other hands. Estates drawn at random must
// get the same verdicts, by the same rules, from both.

const (
	groupPath = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg"
	asgPath   = groupPath + "/providers/Microsoft.Network/applicationSecurityGroups/"
)

var (
	target    = netip.MustParseAddr("10.0.1.4") // in asg-a
	neighbour = netip.MustParseAddr("10.0.1.5") // in asg-b

	surroundings = nsg.Surroundings{
		VirtualNetwork: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("20.1.0.0/24"), netip.MustParsePrefix("fd00:1::/48")},
		ASGMembers:     map[string][]netip.Addr{strings.ToLower(asgPath + "asg-a"): {target}, strings.ToLower(asgPath + "asg-b"): {neighbour}},
	}

	// Left out are addresses that nothing sends from (0.0.0.0/8, 240.0.0.0/4),
	// about which the documentation says nothing.
	sources = addresses(`10.0.1.5 10.0.1.4 10.0.7.7 10.9.0.1 20.1.0.9 20.1.1.9 203.0.113.7 203.0.113.8 203.0.113.200 198.51.100.1
		8.8.8.8 168.63.129.16 192.168.1.1 172.16.0.1 172.32.0.1 100.64.0.1 100.128.0.1 169.254.1.1 127.0.0.1 1.0.0.1 223.255.255.255
		::ffff:203.0.113.7 ::ffff:10.0.1.5 2001:4860::1 fd00:1::7 fd00:2::7 fe80::1`)
)

func addresses(words string) (list []netip.Addr) {
	for _, word := range strings.Fields(words) {
		list = append(list, netip.MustParseAddr(word))
	}
	return list
}

// Every estate is asked all of these, so that the server need not be loaded for a
// handful of packets.
var packets = func() (list []nsg.Packet) {
	for _, source := range sources {
		for _, port := range []uint16{0, 1, 19, 20, 22, 25, 26, 79, 80, 81, 442, 443, 1023, 1024, 3388, 3389, 3390, 49152, 65534, 65535} {
			for _, protocol := range []nsg.Protocol{nsg.TCP, nsg.UDP} {
				list = append(list, nsg.Packet{Source: source, Destination: target, Port: port, Protocol: protocol})
			}
		}
		for _, protocol := range []nsg.Protocol{nsg.ICMP, nsg.ESP, nsg.AH} {
			list = append(list, nsg.Packet{Source: source, Destination: target, Protocol: protocol})
		}
	}
	return list
}()

func TestVerdictsAgreeWithTheStandIn(t *testing.T) {
	pairs, allowed, exposed := 0, 0, 0
	var server *arm.Server
	rapid.Check(t, func(t *rapid.T) {
		onSubnet, onInterface := drawGroup(t, "subnet"), drawGroup(t, "interface")
		topology := topologyOf(onSubnet, onInterface)
		var err error
		if server == nil {
			server, err = arm.New(arm.Options{Topology: topology})
		} else {
			err = server.Load(topology)
		}
		if err != nil {
			t.Fatalf("the stand-in refuses the estate: %v", err)
		}
		var groups []nsg.Group
		for _, g := range []*drawnGroup{onSubnet, onInterface} {
			if g != nil {
				groups = append(groups, nsg.Group{ID: groupPath + "/" + fmt.Sprint(len(groups)), Rules: g.ours, Defaults: defaultRules()})
			}
		}
		for _, p := range packets {
			theirs, err := server.Probe(arm.Packet{VM: "vm-1", Source: p.Source, Port: p.Port, Protocol: string(p.Protocol)})
			if err != nil {
				t.Fatal(err)
			}
			open, steps := nsg.Path(p, surroundings, groups...)
			if !agree(open, steps, theirs) {
				t.Fatalf("%+v: we say %v by %+v, the stand-in says %+v", p, open, steps, theirs)
			}
			pairs++
			if open {
				allowed++
			}
		}
		exposed += compareExposures(t, groups)
	})
	if !testing.Short() && !t.Failed() && (pairs < 100_000 || allowed < pairs/20 || allowed > pairs*19/20) {
		t.Errorf("%d pairs, %d of them allowed: that proves little", pairs, allowed)
	}
	if !testing.Short() && !t.Failed() && exposed < 10_000 {
		t.Errorf("%d sources held against an exposure: that proves little", exposed)
	}
}

// agree holds the steps of a path against the stand-in's, which looks no further
// than the first group that denies.
func agree(open bool, steps []nsg.Verdict, theirs arm.Answer) bool {
	if open != (theirs.Access == "Allow") {
		return false
	}
	for _, step := range theirs.Path {
		if step.NSG == "" {
			continue
		}
		if len(steps) == 0 || string(steps[0].Access) != step.Access || steps[0].Rule.Name != step.Rule {
			return false
		}
		steps = steps[1:]
	}
	return len(steps) == 0 || !open
}

// compareExposures asks for whole spaces what was asked for single packets, and
// counts the sources compared. Sources about which a rule cannot be judged are
// left out; exposure_test.go deals with those.
func compareExposures(t *rapid.T, groups []nsg.Group) (compared int) {
	for _, space := range []nsg.Space{
		nsg.Internet(surroundings), nsg.InVirtualNetwork(surroundings),
		nsg.From(netip.MustParsePrefix("0.0.0.0/0")), nsg.From(netip.MustParsePrefix("203.0.113.0/24")),
	} {
		all := space.Prefixes()
		for _, asked := range []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.UDP, First: 3388, Last: 3390}, {Protocol: nsg.AnyProtocol, First: 20, Last: 25}} {
			e := nsg.Expose(space, target, asked, surroundings, groups...)
			for _, source := range sources {
				if source = source.Unmap(); !source.Is4() || !inside(all, source) {
					continue
				}
				open, sure := false, true
				for port := asked.First; port <= asked.Last; port++ {
					for _, protocol := range []nsg.Protocol{nsg.TCP, nsg.UDP} {
						if asked.Protocol != nsg.AnyProtocol && asked.Protocol != protocol {
							continue
						}
						allowed, steps := nsg.Path(nsg.Packet{Source: source, Destination: target, Port: port, Protocol: protocol}, surroundings, groups...)
						open = open || allowed
						for _, v := range steps {
							sure = sure && v.Sure()
						}
					}
				}
				if !sure {
					continue
				}
				compared++
				if open != inside(e.Allowed, source) {
					t.Fatalf("%s to %v: the path says %v, the exposure is %+v", source, asked, open, e)
				}
			}
		}
	}
	return compared
}

func inside(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// drawnGroup is one group in both languages.
type drawnGroup struct {
	ours   []nsg.Rule
	theirs []arm.Rule
}

func drawGroup(t *rapid.T, label string) *drawnGroup {
	if rapid.IntRange(0, 7).Draw(t, label+" absent") == 0 {
		return nil
	}
	var g drawnGroup
	priorities := rapid.SliceOfNDistinct(rapid.IntRange(100, 4096), 0, 14, rapid.ID[int]).Draw(t, label)
	for i, priority := range priorities {
		ours := nsg.Rule{
			Name:     fmt.Sprintf("%s-%d", label, i),
			Priority: priority,
			// Anything but inbound must not count; nothing but Tcp is common.
			Direction: rapid.SampledFrom([]nsg.Direction{nsg.Inbound, nsg.Inbound, nsg.Inbound, nsg.Outbound}).Draw(t, "direction"),
			Access:    rapid.SampledFrom([]nsg.Access{nsg.Allow, nsg.Deny}).Draw(t, "access"),
			Protocol:  rapid.SampledFrom([]nsg.Protocol{"*", "Tcp", "tcp", "TCP", "Udp", "Icmp", "Esp", "Ah"}).Draw(t, "protocol"),
		}
		theirs := arm.Rule{Name: ours.Name, Priority: priority, Direction: string(ours.Direction), Access: string(ours.Access), Protocol: string(ours.Protocol)}
		// Source ports are all or none that a client would use: which it has is
		// not part of our packets.
		ours.SourcePorts = drawOne(t, "source port", &theirs.SourcePortRange, "*", "*", "*", "0-65535", "1-1023")
		if rapid.Bool().Draw(t, "port list") {
			ours.DestinationPorts = drawSome(t, "ports", &theirs.DestinationPortRanges, "22", "20-25", "3389", "0-21", "80", "65535", "443-65535", "0-65535")
		} else {
			ours.DestinationPorts = drawOne(t, "port", &theirs.DestinationPortRange, "*", "0-65535", "22", "20-25", "1-65535", "0")
		}
		switch rapid.IntRange(0, 3).Draw(t, "source") {
		case 0:
			ours.Sources = drawOne(t, "one source", &theirs.SourceAddressPrefix, "*", "Internet", "internet", "VirtualNetwork", "AzureLoadBalancer", "AzureCloud", "Storage.WestEurope", "0.0.0.0/0", "::/0")
		case 1, 2:
			ours.Sources = drawSome(t, "sources", &theirs.SourceAddressPrefixes, "203.0.113.0/24", "203.0.113.7", "203.0.113.8/31", "::ffff:203.0.113.7", "10.0.0.0/8", "10.0.1.5/32", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", "fd00:1::/64", "20.1.0.0/23", "169.254.0.0/16")
		case 3:
			for _, name := range drawSome(t, "source groups", &theirs.SourceApplicationSecurityGroups, "asg-a", "asg-b", "asg-a") {
				ours.SourceASGs = append(ours.SourceASGs, asgPath+name)
			}
		}
		switch rapid.IntRange(0, 3).Draw(t, "destination") {
		case 0, 1:
			ours.Destinations = drawOne(t, "one destination", &theirs.DestinationAddressPrefix, "*", "VirtualNetwork", "Internet", "10.0.1.4", "10.0.0.0/16")
		case 2:
			ours.Destinations = drawSome(t, "destinations", &theirs.DestinationAddressPrefixes, "10.0.1.4", "10.0.1.5", "10.0.1.0/29", "10.0.2.0/24", "0.0.0.0/0")
		case 3:
			for _, name := range drawSome(t, "destination groups", &theirs.DestinationApplicationSecurityGroups, "asg-a", "asg-b") {
				ours.DestinationASGs = append(ours.DestinationASGs, asgPath+name)
			}
		}
		g.ours, g.theirs = append(g.ours, ours), append(g.theirs, theirs)
	}
	return &g
}

func drawOne(t *rapid.T, label string, field *string, words ...string) []string {
	*field = rapid.SampledFrom(words).Draw(t, label)
	return []string{*field}
}

func drawSome(t *rapid.T, label string, field *[]string, words ...string) []string {
	*field = rapid.SliceOfN(rapid.SampledFrom(words), 1, 3).Draw(t, label)
	return *field
}

// topologyOf puts two machines into one subnet; vm-1 has the groups.
func topologyOf(onSubnet, onInterface *drawnGroup) arm.Topology {
	rg := arm.ResourceGroup{Name: "rg", Location: "westeurope", ASGs: []string{"asg-a", "asg-b"}}
	attach := func(name string, g *drawnGroup) string {
		if g == nil {
			return ""
		}
		rg.NSGs = append(rg.NSGs, arm.SecurityGroup{Name: name, Rules: g.theirs})
		return name
	}
	rg.VNets = []arm.VirtualNetwork{{Name: "net", Space: []string{"10.0.0.0/16", "20.1.0.0/24", "fd00:1::/48"},
		Subnets: []arm.Subnet{{Name: "sub", Prefix: "10.0.1.0/24", NSG: attach("on-subnet", onSubnet)}}}}
	rg.VMs = []arm.VirtualMachine{
		{Name: "vm-1", NICs: []arm.Interface{{Name: "nic-1", Subnet: "net/sub", Private: target.String(), NSG: attach("on-interface", onInterface), ASGs: []string{"asg-a"}}}},
		{Name: "vm-2", NICs: []arm.Interface{{Name: "nic-2", Subnet: "net/sub", Private: neighbour.String(), ASGs: []string{"asg-b"}}}},
	}
	return arm.Topology{Subscriptions: []arm.Subscription{{ID: "00000000-0000-0000-0000-000000000001", Name: "test", ResourceGroups: []arm.ResourceGroup{rg}}}}
}

func defaultRules() []nsg.Rule {
	rule := func(name string, access nsg.Access, priority int, source, destination string) nsg.Rule {
		return nsg.Rule{Name: name, Direction: nsg.Inbound, Access: access, Protocol: nsg.AnyProtocol, Priority: priority,
			Sources: []string{source}, SourcePorts: []string{"*"}, Destinations: []string{destination}, DestinationPorts: []string{"*"}}
	}
	return []nsg.Rule{
		rule("AllowVnetInBound", nsg.Allow, 65000, "VirtualNetwork", "VirtualNetwork"),
		rule("AllowAzureLoadBalancerInBound", nsg.Allow, 65001, "AzureLoadBalancer", "*"),
		rule("DenyAllInBound", nsg.Deny, 65500, "*", "*"),
	}
}
