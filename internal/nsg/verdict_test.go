package nsg

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// defaults are the inbound default rules as ARM returns them, and one outbound.
func defaults() []Rule {
	rule := func(name string, access Access, priority int, source, destination string) Rule {
		return Rule{Name: name, Direction: Inbound, Access: access, Protocol: AnyProtocol, Priority: priority,
			Sources: []string{source}, SourcePorts: []string{"*"}, Destinations: []string{destination}, DestinationPorts: []string{"*"}}
	}
	out := rule("AllowInternetOutBound", Allow, 65001, "*", "Internet")
	out.Direction = Outbound
	return []Rule{
		rule("DenyAllInBound", Deny, 65500, "*", "*"),
		rule("AllowVnetInBound", Allow, 65000, "VirtualNetwork", "VirtualNetwork"),
		rule("AllowAzureLoadBalancerInBound", Allow, 65001, "AzureLoadBalancer", "*"),
		out,
	}
}

func in(name string, priority int, access Access, protocol Protocol, source, destination, port string) Rule {
	return Rule{Name: name, Direction: Inbound, Access: access, Protocol: protocol, Priority: priority,
		Sources: strings.Fields(source), SourcePorts: []string{"*"}, Destinations: strings.Fields(destination), DestinationPorts: strings.Fields(port)}
}

var home = Surroundings{
	VirtualNetwork: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("20.1.0.0/24"), netip.MustParsePrefix("fd00:1::/48")},
	ASGMembers: map[string][]netip.Addr{
		"/subscriptions/s/asg/web":   {netip.MustParseAddr("10.0.0.5")},
		"/subscriptions/s/asg/empty": {},
	},
}

func packet(source, destination string, port uint16, protocol Protocol) Packet {
	return Packet{Source: netip.MustParseAddr(source), Destination: netip.MustParseAddr(destination), Port: port, Protocol: protocol}
}

func names(rules []Rule) (list []string) {
	for _, r := range rules {
		list = append(list, r.Name)
	}
	return list
}

func TestDecide(t *testing.T) {
	ssh := packet("203.0.113.7", "10.0.0.5", 22, TCP)
	from := func(source string) Packet { p := ssh; p.Source = netip.MustParseAddr(source); return p }
	restricted := in("high-ports", 100, Allow, TCP, "*", "*", "22")
	restricted.SourcePorts = []string{"1024-65535"}
	allSources := in("all-ports", 100, Allow, TCP, "*", "*", "22")
	allSources.SourcePorts = []string{"0-1023", "1024-65535"}
	asg := func(name string, ids ...string) Rule {
		r := in(name, 100, Allow, TCP, "*", "", "22")
		r.DestinationASGs = ids
		return r
	}
	outbound := in("out", 100, Allow, AnyProtocol, "*", "*", "*")
	outbound.Direction = Outbound
	hundreds := in("hundreds", 100, Allow, TCP, strings.Repeat("198.51.100.0/24 ", 400)+"203.0.113.7", "*", strings.Repeat("80 443 ", 200)+"20-25")

	for _, c := range []struct {
		what    string
		rules   []Rule
		p       Packet
		access  Access
		by      string
		depends []string
	}{
		{"nothing but defaults denies the internet", nil, ssh, Deny, "DenyAllInBound", nil},
		{"defaults allow the network", nil, from("10.0.7.7"), Allow, "AllowVnetInBound", nil},
		{"defaults allow public space of the network", nil, from("20.1.0.9"), Allow, "AllowVnetInBound", nil},
		{"defaults allow the network over IPv6", nil, packet("fd00:1::7", "fd00:1::5", 22, TCP), Allow, "AllowVnetInBound", nil},
		{"private space elsewhere is not the network", nil, from("10.9.0.1"), Deny, "DenyAllInBound", nil},
		{"the host belongs to the network", nil, from("168.63.129.16"), Allow, "AllowVnetInBound", nil},
		{"probes reach what is not the network", nil, packet("168.63.129.16", "192.168.9.9", 80, TCP), Allow, "AllowAzureLoadBalancerInBound", nil},
		{"lower number first, whatever the order", []Rule{
			in("b", 300, Allow, TCP, "*", "*", "22"), in("a", 200, Deny, TCP, "*", "*", "22"), in("c", 250, Allow, TCP, "*", "*", "22"),
		}, ssh, Deny, "a", nil},
		{"an allow above the deny", []Rule{
			in("deny", 1000, Deny, AnyProtocol, "*", "10.0.0.5", "22 3389"), in("allow", 100, Allow, TCP, "203.0.113.7", "10.0.0.5", "22"),
		}, ssh, Allow, "allow", nil},
		{"only for its source", []Rule{
			in("deny", 1000, Deny, AnyProtocol, "*", "10.0.0.5", "22 3389"), in("allow", 100, Allow, TCP, "203.0.113.7", "10.0.0.5", "22"),
		}, from("203.0.113.8"), Deny, "deny", nil},
		{"only for its destination", []Rule{in("allow", 100, Allow, TCP, "*", "10.0.0.6", "22")}, ssh, Deny, "DenyAllInBound", nil},
		{"only for its protocol", []Rule{in("allow", 100, Allow, UDP, "*", "*", "22")}, ssh, Deny, "DenyAllInBound", nil},
		{"protocol in other letters", []Rule{in("allow", 100, Allow, "TCP", "*", "*", "22")}, ssh, Allow, "allow", nil},
		{"outbound rules do not count", []Rule{outbound}, ssh, Deny, "DenyAllInBound", nil},
		{"inbound in other letters counts", []Rule{func() Rule { r := in("a", 100, "allow", TCP, "*", "*", "22"); r.Direction = "INBOUND"; return r }()}, ssh, Allow, "a", nil},
		{"of two at one priority the deny", []Rule{in("a", 100, Allow, TCP, "*", "*", "22"), in("d", 100, Deny, TCP, "*", "*", "22")}, ssh, Deny, "d", nil},

		{"port range", []Rule{in("a", 100, Allow, TCP, "*", "*", "20-22")}, ssh, Allow, "a", nil},
		{"port below", []Rule{in("a", 100, Allow, TCP, "*", "*", "23-65535")}, ssh, Deny, "DenyAllInBound", nil},
		{"all ports written out", []Rule{in("a", 100, Allow, TCP, "*", "*", "0-65535")}, ssh, Allow, "a", nil},
		{"hundreds of entries", []Rule{hundreds}, ssh, Allow, "hundreds", nil},
		{"ICMP by a rule for all ports", []Rule{in("a", 100, Allow, ICMP, "*", "*", "*")}, packet("203.0.113.7", "10.0.0.5", 0, ICMP), Allow, "a", nil},
		{"ICMP by any protocol", []Rule{in("a", 100, Allow, AnyProtocol, "*", "*", "0-65535")}, packet("203.0.113.7", "10.0.0.5", 0, ICMP), Allow, "a", nil},
		{"ICMP has no port", []Rule{in("a", 100, Allow, AnyProtocol, "*", "*", "0-1024")}, packet("203.0.113.7", "10.0.0.5", 0, ICMP), Deny, "DenyAllInBound", nil},

		{"range with host bits", []Rule{in("a", 100, Allow, TCP, "203.0.113.99/24", "*", "22")}, ssh, Allow, "a", nil},
		{"all of IPv4 is not IPv6", []Rule{in("a", 100, Allow, TCP, "0.0.0.0/0", "*", "22")}, packet("2001:4860::1", "fd00:1::5", 22, TCP), Deny, "DenyAllInBound", nil},
		{"any is IPv6 too", []Rule{in("a", 100, Allow, TCP, "*", "*", "22")}, packet("2001:4860::1", "fd00:1::5", 22, TCP), Allow, "a", nil},
		{"IPv6 range", []Rule{in("a", 100, Allow, TCP, "2001:4860::/32", "fd00:1::5", "22")}, packet("2001:4860::1", "fd00:1::5", 22, TCP), Allow, "a", nil},
		{"mapped source", []Rule{in("a", 100, Allow, TCP, "203.0.113.7", "*", "22")}, packet("::ffff:203.0.113.7", "::ffff:10.0.0.5", 22, TCP), Allow, "a", nil},
		{"mapped rule", []Rule{in("a", 100, Allow, TCP, "::ffff:203.0.113.7", "*", "22")}, ssh, Allow, "a", nil},

		{"internet", []Rule{in("a", 100, Allow, TCP, "Internet", "*", "22")}, ssh, Allow, "a", nil},
		{"internet over IPv6", []Rule{in("a", 100, Allow, TCP, "internet", "*", "22")}, packet("2001:4860::1", "fd00:1::5", 22, TCP), Allow, "a", nil},
		{"private space is not the internet", []Rule{in("d", 100, Deny, TCP, "Internet", "*", "22")}, from("10.0.7.7"), Allow, "AllowVnetInBound", nil},
		{"foreign private space is not the internet", []Rule{in("a", 100, Allow, TCP, "Internet", "*", "22")}, from("192.168.1.1"), Deny, "DenyAllInBound", nil},
		{"carrier space is not the internet", []Rule{in("a", 100, Allow, TCP, "Internet", "*", "22")}, from("100.64.0.1"), Deny, "DenyAllInBound", nil},
		{"public space of the network is not the internet", []Rule{in("a", 100, Deny, TCP, "Internet", "*", "22")}, from("20.1.0.9"), Allow, "AllowVnetInBound", nil},
		{"the host is not the internet", []Rule{in("a", 100, Deny, TCP, "Internet", "*", "22")}, from("168.63.129.16"), Allow, "AllowVnetInBound", nil},

		{"an unknown tag is passed over and named", []Rule{
			in("d", 200, Deny, TCP, "*", "*", "22"), in("tag", 100, Allow, TCP, "AzureCloud.westeurope", "*", "22"),
		}, ssh, Deny, "d", []string{"tag"}},
		{"below the decider it does not matter", []Rule{
			in("tag", 300, Allow, TCP, "AzureCloud", "*", "22"), in("d", 200, Deny, TCP, "*", "*", "22"),
		}, ssh, Deny, "d", nil},
		{"before the decider was found it does not matter either", []Rule{
			in("tag", 300, Allow, TCP, "AzureCloud", "*", "22"), in("tag2", 100, Allow, TCP, "AzureCloud", "*", "22"), in("d", 200, Deny, TCP, "*", "*", "22"),
		}, ssh, Deny, "d", []string{"tag2"}},
		{"another port settles it", []Rule{in("tag", 100, Allow, TCP, "AzureCloud", "*", "23")}, ssh, Deny, "DenyAllInBound", nil},
		{"another destination settles it", []Rule{in("tag", 100, Allow, TCP, "AzureCloud", "10.0.0.6", "22")}, ssh, Deny, "DenyAllInBound", nil},
		{"a known entry beside it settles it", []Rule{in("a", 100, Allow, TCP, "AzureCloud 203.0.113.0/24", "*", "22")}, ssh, Allow, "a", nil},
		{"several, in order of priority", []Rule{
			in("y", 120, Allow, TCP, "Storage", "*", "22"), in("x", 110, Deny, TCP, "Sql", "*", "22"),
		}, ssh, Deny, "DenyAllInBound", []string{"x", "y"}},
		{"no address", []Rule{in("odd", 100, Allow, TCP, "789", "*", "22")}, ssh, Deny, "DenyAllInBound", []string{"odd"}},
		{"no range", []Rule{in("odd", 100, Allow, TCP, "203.0.113.0/33", "*", "22")}, ssh, Deny, "DenyAllInBound", []string{"odd"}},
		{"no port", []Rule{in("odd", 100, Allow, TCP, "*", "*", "ssh")}, ssh, Deny, "DenyAllInBound", []string{"odd"}},
		{"no sources", []Rule{in("odd", 100, Allow, TCP, "", "*", "22")}, ssh, Deny, "DenyAllInBound", []string{"odd"}},
		{"no protocol", []Rule{in("odd", 100, Allow, "All", "*", "*", "22")}, ssh, Deny, "DenyAllInBound", []string{"odd"}},
		{"restricted source ports", []Rule{restricted}, ssh, Deny, "DenyAllInBound", []string{"high-ports"}},
		{"source ports in pieces", []Rule{allSources}, ssh, Allow, "all-ports", nil},
		{"member of a group", []Rule{asg("g", "/subscriptions/S/asg/WEB")}, ssh, Allow, "g", nil},
		{"not a member", []Rule{asg("g", "/subscriptions/s/asg/empty")}, ssh, Deny, "DenyAllInBound", nil},
		{"unknown group", []Rule{asg("g", "/subscriptions/s/asg/other")}, ssh, Deny, "DenyAllInBound", []string{"g"}},
		{"no group has members outside the network", []Rule{func() Rule {
			r := in("g", 100, Allow, TCP, "", "*", "22")
			r.SourceASGs = []string{"/subscriptions/s/asg/other"}
			return r
		}()}, ssh, Deny, "DenyAllInBound", nil},
		{"unknown group beside a known one", []Rule{asg("g", "/subscriptions/s/asg/other", "/subscriptions/s/asg/web")}, ssh, Allow, "g", nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := Group{Rules: c.rules, Defaults: defaults()}.Decide(c.p, home)
			if got.Access != c.access || got.Rule.Name != c.by {
				t.Errorf("%s by %q, want %s by %q", got.Access, got.Rule.Name, c.access, c.by)
			}
			if diff := cmp.Diff(c.depends, names(got.Depends), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("depends: %s", diff)
			}
		})
	}
}

func TestOnlyRulesOfTheOppositeAccessMakeAVerdictUnsure(t *testing.T) {
	allow, deny := in("allow", 200, Allow, TCP, "*", "*", "22"), in("deny", 200, Deny, TCP, "*", "*", "22")
	tag := func(priority int, access Access) Rule {
		return in(fmt.Sprint("tag-", priority), priority, access, TCP, "AzureCloud", "*", "22")
	}
	for _, c := range []struct {
		what  string
		rules []Rule
		sure  bool
	}{
		{"nothing unknown", []Rule{allow}, true},
		{"an allow above an allow", []Rule{tag(100, "allow"), allow}, true},
		{"a deny above an allow", []Rule{tag(100, Deny), allow}, false},
		{"a deny below an allow", []Rule{tag(300, Deny), allow}, true},
		{"a deny above a deny", []Rule{tag(100, Deny), deny}, true},
		{"an allow above a deny", []Rule{tag(100, Allow), deny}, false},
		{"both above a deny", []Rule{tag(100, Deny), tag(101, Allow), deny}, false},
		{"neither allow nor deny, above a deny", []Rule{tag(100, "Permit"), deny}, true},
		{"an allow above the end of the rules", []Rule{tag(100, Allow)}, false},
	} {
		if v := (Group{Rules: c.rules}).Decide(packet("203.0.113.7", "10.0.0.5", 22, TCP), home); v.Sure() != c.sure {
			t.Errorf("%s: sure is %v", c.what, v.Sure())
		}
	}
}

func TestDecideWithoutKnowingTheNetwork(t *testing.T) {
	g := Group{Defaults: defaults(), Rules: []Rule{in("web", 100, Allow, TCP, "Internet", "*", "22")}}
	if v := g.Decide(packet("203.0.113.7", "10.0.0.5", 22, TCP), Surroundings{}); v.Access != Allow || v.Rule.Name != "web" {
		t.Errorf("a public source: %+v", v)
	}
	v := g.Decide(packet("10.0.7.7", "10.0.0.5", 22, TCP), Surroundings{})
	if v.Access != Deny || !cmp.Equal(names(v.Depends), []string{"AllowVnetInBound"}) {
		t.Errorf("a private source: %+v", v)
	}
}

func TestDecideFailsClosed(t *testing.T) {
	open := Group{Rules: []Rule{in("all", 100, Allow, AnyProtocol, "*", "*", "*")}}
	if v := open.Decide(Packet{Port: 22, Protocol: TCP}, home); v.Access != Deny {
		t.Errorf("a packet without addresses: %+v", v)
	}
	if v := (Group{}).Decide(packet("203.0.113.7", "10.0.0.5", 22, TCP), home); v.Access != Deny || v.Rule.Name != "" {
		t.Errorf("a group without rules: %+v", v)
	}
	odd := Group{Rules: []Rule{in("odd", 100, "Permit", TCP, "*", "*", "22")}}
	if v := odd.Decide(packet("203.0.113.7", "10.0.0.5", 22, TCP), home); v.Access != Deny || v.Rule.Name != "odd" {
		t.Errorf("a rule that neither allows nor denies: %+v", v)
	}
}

func TestPathNeedsEveryGroup(t *testing.T) {
	p := packet("203.0.113.7", "10.0.0.5", 22, TCP)
	open := Group{Rules: []Rule{in("open", 100, Allow, TCP, "*", "*", "22")}, Defaults: defaults()}
	shut := Group{Defaults: defaults()}
	for _, c := range []struct {
		what    string
		groups  []Group
		allowed bool
		steps   []string
	}{
		{"no group", nil, true, nil},
		{"both open", []Group{open, open}, true, []string{"open", "open"}},
		{"subnet shut", []Group{shut, open}, false, []string{"DenyAllInBound", "open"}},
		{"interface shut", []Group{open, shut}, false, []string{"open", "DenyAllInBound"}},
		{"both shut", []Group{shut, shut}, false, []string{"DenyAllInBound", "DenyAllInBound"}},
	} {
		allowed, steps := Path(p, home, c.groups...)
		var names []string
		for _, v := range steps {
			names = append(names, v.Rule.Name)
		}
		if allowed != c.allowed || !cmp.Equal(names, c.steps) {
			t.Errorf("%s: %v by %q", c.what, allowed, names)
		}
	}
}
