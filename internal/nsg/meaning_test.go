package nsg

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func baseRule() Rule {
	return Rule{
		Name: "allow-ssh", Description: "for ops", Direction: Inbound, Access: Allow, Protocol: TCP, Priority: 200,
		Sources: []string{"203.0.113.0/24"}, SourcePorts: []string{"*"},
		Destinations: []string{"10.0.0.5"}, DestinationPorts: []string{"22"},
	}
}

func with(change func(*Rule)) Rule {
	r := baseRule()
	change(&r)
	return r
}

func TestSameMeaning(t *testing.T) {
	sources := func(list ...string) Rule { return with(func(r *Rule) { r.Sources = list }) }
	portsOf := func(list ...string) Rule { return with(func(r *Rule) { r.DestinationPorts = list }) }
	asgs := func(list ...string) Rule { return with(func(r *Rule) { r.SourceASGs = list }) }
	for _, c := range []struct {
		what string
		a, b Rule
		same bool
	}{
		{"priority does not count", baseRule(), with(func(r *Rule) { r.Priority = 4096 }), true},
		{"name in other letters", baseRule(), with(func(r *Rule) { r.Name = "Allow-SSH" }), true},
		{"another name", baseRule(), with(func(r *Rule) { r.Name = "allow-ssh2" }), false},
		{"description is text", baseRule(), with(func(r *Rule) { r.Description = "For ops" }), false},
		{"direction in other letters", baseRule(), with(func(r *Rule) { r.Direction = "inbound" }), true},
		{"direction", baseRule(), with(func(r *Rule) { r.Direction = Outbound }), false},
		{"access", baseRule(), with(func(r *Rule) { r.Access = Deny }), false},
		{"protocol in other letters", baseRule(), with(func(r *Rule) { r.Protocol = "TCP" }), true},
		{"protocol", baseRule(), with(func(r *Rule) { r.Protocol = AnyProtocol }), false},

		{"order", sources("10.0.0.1", "10.0.0.9"), sources("10.0.0.9", "10.0.0.1"), true},
		{"duplicates", sources("10.0.0.1", "10.0.0.1"), sources("10.0.0.1"), true},
		{"one more", sources("10.0.0.1", "10.0.0.9"), sources("10.0.0.1"), false},
		{"address or /32", sources("10.0.0.5"), sources("10.0.0.5/32"), true},
		{"address or /128", sources("2001:db8::5"), sources("2001:0db8:0::5/128"), true},
		{"host bits", sources("10.0.0.5/24"), sources("10.0.0.0/24"), true},
		{"two halves", sources("10.0.0.0/25", "10.0.0.128/25"), sources("10.0.0.0/24"), true},
		{"a part of the other", sources("10.0.0.0/24", "10.0.0.7"), sources("10.0.0.0/24"), true},
		{"a gap", sources("10.0.0.0/25", "10.0.0.192/26"), sources("10.0.0.0/24"), false},
		{"IPv4 written as IPv6", sources("::ffff:10.0.0.5"), sources("10.0.0.5"), true},
		{"IPv4 range written as IPv6", sources("::ffff:10.0.0.0/120"), sources("10.0.0.0/24"), true},
		{"a mapped range of both families is none", sources("::ffff:0.0.0.0/90"), sources("::ffff:0.0.0.0/90"), true},
		{"nor all of IPv4", sources("::ffff:0.0.0.0/90"), sources("0.0.0.0/0"), false},
		{"a mask too many", sources("10.0.0.0/24"), sources("10.0.0.0/23"), false},
		{"tag case", sources("virtualnetwork"), sources("VirtualNetwork"), true},
		{"tags", sources("VirtualNetwork"), sources("Internet"), false},
		{"any is not all of IPv4", sources("*"), sources("0.0.0.0/0"), false},
		{"any is both families", sources("*"), sources("::/0", "0.0.0.0/0"), true},
		{"all of IPv4 in halves", sources("0.0.0.0/1", "128.0.0.0/1"), sources("0.0.0.0/0"), true},
		{"end of IPv4 does not touch IPv6", sources("255.255.255.255", "::"), sources("255.255.255.255"), false},
		{"any is not the internet", sources("*"), sources("Internet"), false},
		{"any covers the rest", sources("*", "10.0.0.0/8", "Internet"), sources("*"), true},
		{"no address at all", sources("789"), sources("789"), true},
		{"no addresses", sources("789"), sources("790"), false},
		{"empty", sources(), sources("10.0.0.0/8"), false},

		{"ports as range", portsOf("22", "23", "24"), portsOf("22-24"), true},
		{"ports in order", portsOf("3389", "22"), portsOf("22", "3389"), true},
		{"all ports", portsOf("*"), portsOf("0-65535"), true},
		{"all ports in two", portsOf("0-100", "101-65535"), portsOf("*"), true},
		{"nearly all ports", portsOf("*"), portsOf("1-65535"), false},
		{"the last port", portsOf("65535", "0"), portsOf("65535"), false},
		{"leading zero", portsOf("022"), portsOf("22"), true},
		{"no port", portsOf("ssh"), portsOf("22"), false},
		{"a range backwards", portsOf("24-22"), portsOf("22-24"), false},
		{"source ports", baseRule(), with(func(r *Rule) { r.SourcePorts = []string{"1024-65535"} }), false},
		{"destinations", baseRule(), with(func(r *Rule) { r.Destinations = []string{"10.0.0.6"} }), false},
		{"ASG ids in other letters and order", asgs("/a/B", "/c"), asgs("/C", "/A/b", "/c"), true},
		{"ASG ids", asgs("/a"), asgs("/b"), false},
		{"ASG at the other end", asgs("/a"), with(func(r *Rule) { r.DestinationASGs = []string{"/a"} }), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := c.a.SameMeaning(c.b); got != c.same {
				t.Errorf("same is %v", got)
			}
			if got := c.b.SameMeaning(c.a); got != c.same {
				t.Errorf("the other way round same is %v", got)
			}
		})
	}
}

// drawList draws from a universe small enough for lists to coincide often.
func drawList(t *rapid.T, label string) []string {
	return rapid.SliceOfN(rapid.SampledFrom([]string{
		"*", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/30", "10.0.0.7/30",
		"10.0.0.3", "10.0.0.3/32", "::ffff:10.0.0.3", "10.0.0.2/31", "fd00::/126", "fd00::3", "VirtualNetwork", "internet", "Internet", "AzureLoadBalancer",
	}), 1, 4).Draw(t, label)
}

func TestSameMeaningIsSameVerdict(t *testing.T) {
	surroundings := Surroundings{VirtualNetwork: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30")}}
	var sources []netip.Addr
	for _, a := range strings.Fields("10.0.0.0 10.0.0.1 10.0.0.3 10.0.0.4 10.0.0.7 10.0.0.8 0.0.0.0 127.255.255.255 128.0.0.0 8.8.8.8 255.255.255.255 168.63.129.16 :: fd00::3 fd00::4 2001:4860::1") {
		sources = append(sources, netip.MustParseAddr(a))
	}
	portLists := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "0-65535", "0-21", "22", "22-23", "23-65535", "23", "0-22"}), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := baseRule(), baseRule()
		a.Destinations, b.Destinations = []string{"*"}, []string{"*"}
		a.Sources, b.Sources = drawList(t, "a"), drawList(t, "b")
		a.DestinationPorts, b.DestinationPorts = portLists.Draw(t, "pa"), portLists.Draw(t, "pb")
		if !a.SameMeaning(b) {
			// Scrambling the text of a must not change its meaning.
			b = a
			b.Sources = append(rapid.Permutation(a.Sources).Draw(t, "scrambled"), a.Sources[0])
			b.DestinationPorts = append(rapid.Permutation(a.DestinationPorts).Draw(t, "scrambled ports"), a.DestinationPorts[0])
			if !a.SameMeaning(b) {
				t.Fatalf("%q %q no longer means %q %q", b.Sources, b.DestinationPorts, a.Sources, a.DestinationPorts)
			}
		}
		for _, source := range sources {
			for _, port := range []uint16{0, 21, 22, 23, 24, 65535} {
				p := Packet{Source: source, Destination: source, Port: port, Protocol: TCP}
				va, vb := Group{Rules: []Rule{a}}.Decide(p, surroundings), Group{Rules: []Rule{b}}.Decide(p, surroundings)
				if va.Access != vb.Access || len(va.Depends) != len(vb.Depends) {
					t.Fatalf("%v: %q gives %v, %q gives %v", p, a.Sources, va, b.Sources, vb)
				}
			}
		}
	})
}
