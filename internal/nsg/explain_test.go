package nsg

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestExplanations(t *testing.T) {
	ssh := packet("203.0.113.7", "10.0.0.5", 22, TCP)
	with := func(r Rule, change func(*Rule)) Rule { change(&r); return r }
	plain := in("r", 100, Allow, TCP, "*", "*", "22")
	asg := func(id string) func(*Rule) {
		return func(r *Rule) { r.Sources, r.SourceASGs = nil, []string{"/subscriptions/s/asg/" + id} }
	}
	for _, c := range []struct {
		rule    Rule
		p       Packet
		matches Match
		why     string
	}{
		{plain, ssh, Yes, ""},
		{in("r", 100, Allow, "udp", "*", "*", "22"), ssh, No, "it is for UDP"},
		{in("r", 100, Allow, "All", "*", "*", "22"), ssh, Unknown, `"All" is no protocol that is known here`},
		{in("r", 100, Allow, TCP, "*", "*", "443"), ssh, No, "it is for port 443"},
		{in("r", 100, Allow, TCP, "*", "*", "20-21"), ssh, No, "it is for ports 20-21"},
		{in("r", 100, Allow, TCP, "*", "*", "443 8080-8090"), ssh, No, "it is for ports 443 and 8080-8090"},
		{in("r", 100, Allow, TCP, "*", "*", "80 443 8080-8090"), ssh, No, "it is for ports 80, 443 and 8080-8090"},
		{in("r", 100, Allow, TCP, "*", "*", "80 81 82 83 84"), ssh, No, "it is for ports 80 and 4 more"},
		{in("r", 100, Allow, TCP, "*", "*", "80 ssh"), ssh, Unknown, `"ssh" is no port`},
		{in("r", 100, Allow, TCP, "*", "*", ""), ssh, Unknown, "it names no ports"},
		{in("r", 100, Allow, AnyProtocol, "*", "*", "0-1024"), packet("203.0.113.7", "10.0.0.5", 0, ICMP), No, "it is for certain ports, and ICMP has none"},
		{in("r", 100, Allow, TCP, "*", "10.0.0.6", "22"), ssh, No, "it is for destination 10.0.0.6"},
		{in("r", 100, Allow, TCP, "*", "10.0.1.0/24", "22"), ssh, No, "it is for destinations 10.0.1.0/24"},
		{in("r", 100, Allow, TCP, "*", "Storage.WestEurope", "22"), ssh, Unknown, "which addresses Storage.WestEurope stands for is not known here"},
		{in("r", 100, Allow, TCP, "*", "", "22"), ssh, Unknown, "it names no destinations"},
		{in("r", 100, Allow, TCP, "10.0.0.0/8 11.0.0.0/8 12.0.0.0/8 13.0.0.0/8", "*", "22"), ssh, No, "it is for sources 10.0.0.0/8 and 3 more"},
		{in("r", 100, Allow, TCP, "VirtualNetwork", "*", "22"), ssh, No, "it is for sources VirtualNetwork"},
		{in("r", 100, Allow, TCP, "198.51.100.1 AzureCloud", "*", "22"), ssh, Unknown, "which addresses AzureCloud stands for is not known here"},
		{in("r", 100, Allow, TCP, "789", "*", "22"), ssh, Unknown, `"789" is no address`},
		{with(plain, asg("web")), ssh, No, "it is for sources in the application security group web"},
		{with(plain, asg("other")), ssh, No, "it is for sources in the application security group other"},
		{with(plain, func(r *Rule) { r.DestinationASGs, r.Destinations = []string{"/asg/empty", "/asg/none"}, nil }), packet("203.0.113.7", "203.0.113.9", 22, TCP), No, "it is for destinations in the application security groups empty and none"},
		{with(plain, asg("other")), packet("10.0.0.9", "10.0.0.5", 22, TCP), Unknown, "who is in the application security group other is not known here"},
		{with(plain, func(r *Rule) { r.SourcePorts = []string{"1024-65535"} }), ssh, Unknown, "it restricts source ports, and clients choose theirs"},
		{with(in("r", 100, Allow, TCP, "10.0.0.9", "Sql", "22"), func(r *Rule) { r.SourcePorts = []string{"1"} }), ssh, No, "it is for source 10.0.0.9"},
		{in("r", 100, Allow, UDP, "Sql", "10.0.0.6", "443"), ssh, No, "it is for UDP"},
	} {
		got := Group{Rules: []Rule{c.rule}}.Explain(c.p, home)
		if diff := cmp.Diff([]Step{{c.rule, c.matches, c.why}}, got); diff != "" {
			t.Error(diff)
		}
	}
	if got := (Group{Rules: []Rule{in("tag", 100, Allow, TCP, "VirtualNetwork", "*", "22")}}).Explain(packet("10.9.9.9", "10.0.0.5", 22, TCP), Surroundings{}); got[0].Matches != Unknown || got[0].Why != "which addresses VirtualNetwork stands for is not known here" {
		t.Errorf("%+v", got)
	}
	if got := (Group{Defaults: defaults()}).Explain(Packet{}, home); got != nil {
		t.Errorf("a packet without addresses: %+v", got)
	}
}

func TestExplainAgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]Surroundings{home, {}}).Draw(t, "surroundings")
		g := drawUnsureGroup(t, "g")
		p := Packet{
			Source:      netip.MustParseAddr(rapid.SampledFrom([]string{"203.0.113.7", "::ffff:203.0.113.7", "10.0.0.9", "10.0.0.5", "20.1.0.1", "168.63.129.16", "2001:4860::1", "192.168.0.1"}).Draw(t, "source")),
			Destination: rapid.SampledFrom([]netip.Addr{machine, machine6}).Draw(t, "destination"),
			Port:        rapid.SampledFrom([]uint16{22, 23, 443, 65535}).Draw(t, "port"),
			Protocol:    rapid.SampledFrom([]Protocol{TCP, UDP, ICMP, AnyProtocol}).Draw(t, "protocol"),
		}
		v, steps := g.Decide(p, s), g.Explain(p, s)
		var depends []Rule
		for i, step := range steps {
			if i > 0 && inOrder(&steps[i-1].Rule, &step.Rule) > 0 {
				t.Fatalf("%s comes after %s", step.Rule.Name, steps[i-1].Rule.Name)
			}
			if (step.Matches == Yes) != (step.Why == "") || strings.HasSuffix(step.Why, ".") {
				t.Fatalf("%s, because %q", step.Matches, step.Why)
			}
			switch step.Matches {
			case Unknown:
				depends = append(depends, step.Rule)
			case Yes:
				if i != len(steps)-1 || step.Rule.Name != v.Rule.Name {
					t.Fatalf("%s is said to decide, %s does", step.Rule.Name, v.Rule.Name)
				}
			}
		}
		if diff := cmp.Diff(v.Depends, depends); diff != "" {
			t.Fatalf("depends: %s", diff)
		}
		if v.Rule.Name != "" && (len(steps) == 0 || steps[len(steps)-1].Matches != Yes) {
			t.Fatalf("%s decides and is not said to", v.Rule.Name)
		}
	})
}

// FuzzTextOfRules takes any text for the parts of a rule, as ARM has taken odd
// ones, and any bytes for the source: three ways to the same answer.
func FuzzTextOfRules(f *testing.F) {
	f.Add("*", "*", "22", "Tcp", uint32(0xcb007107))
	f.Add("789", "10.0.0.5", "20-25", "udp", uint32(0x0a000001))
	f.Add("203.0.113.99/24", "VIRTUALNETWORK", "0-65535", "*", uint32(0xcb007107))
	f.Add("::ffff:203.0.113.7/127", "internet", "22-", "All", uint32(0xcb007107))
	f.Add("203.0.113.7%eth0", "10.0.0.0/33", "65536", "", uint32(0))
	f.Add("AzureCloud.westeurope", "::/0", "", "Icmp", uint32(0xa83f8110))
	f.Fuzz(func(t *testing.T, source, destination, port, protocol string, from uint32) {
		r := in("r", 100, Allow, Protocol(protocol), "", "", "")
		r.Sources, r.Destinations, r.DestinationPorts = []string{source}, []string{destination}, []string{port}
		g := Group{ID: "g", Rules: []Rule{r}, Defaults: defaults()}
		p := Packet{Source: netip.AddrFrom4([4]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)}), Destination: machine, Port: 22, Protocol: TCP}
		v := g.Decide(p, home)
		steps := g.Explain(p, home)
		if last := steps[len(steps)-1]; last.Rule.Name != v.Rule.Name || (steps[0].Matches == Unknown) != (len(v.Depends) > 0) {
			t.Fatalf("decided %+v, explained %+v", v, steps)
		}
		want := Shut
		switch {
		case v.Access == Allow && v.Sure():
			want = Open
		case !v.Sure():
			want = Unsure
		}
		if e := Expose(From(netip.PrefixFrom(p.Source, 32)), machine, PortRange{TCP, 22, 22}, home, g); e.Reach != want {
			t.Fatalf("decided %+v, exposed %+v", v, e)
		}
	})
}
