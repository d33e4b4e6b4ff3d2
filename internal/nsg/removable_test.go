package nsg

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOpens(t *testing.T) {
	const none, remove, shared = "", "remove", "shared"
	base := in("allow-ssh", 300, Allow, TCP, "*", "10.0.0.5", "22")
	c := cover("10.0.0.5 ::ffff:10.0.0.6 fd00::5", ssh, rdp, PortRange{UDP, 3389, 3389}, PortRange{AnyProtocol, 5985, 5986})
	sources := func(list ...string) Rule { return edited(base, func(r *Rule) { r.Sources = list }) }
	to := func(list ...string) Rule { return edited(base, func(r *Rule) { r.Destinations = list }) }
	portsOf := func(p Protocol, list ...string) Rule {
		return edited(base, func(r *Rule) { r.Protocol, r.DestinationPorts = p, list })
	}
	asg := func(list ...string) Rule {
		return edited(base, func(r *Rule) { r.Destinations, r.DestinationASGs = list, []string{"/asg/web"} })
	}
	for _, k := range []struct {
		what            string
		rule            Rule
		among, byItself string // where it is found when others are behind the group, and when not
	}{
		{"its address, its port", base, remove, remove},
		{"in other letters", edited(base, func(r *Rule) { r.Direction, r.Access, r.Protocol = "inbound", "ALLOW", "TCP" }), remove, remove},
		{"the internet", sources("internet"), remove, remove},
		{"all of IPv4", sources("0.0.0.0/0"), remove, remove},
		{"all of IPv6", sources("::/0"), remove, remove},
		{"all of IPv4 in halves", sources("128.0.0.0/1", "0.0.0.0/1"), remove, remove},
		{"all and more", sources("203.0.113.0/24", "0.0.0.0/0"), remove, remove},
		{"nearly all", sources("0.0.0.0/1", "128.0.0.0/2"), none, none},
		{"some", sources("203.0.113.0/24"), none, none},
		{"another tag", sources("VirtualNetwork", "AzureCloud"), none, none},
		{"members of a group", edited(base, func(r *Rule) { r.Sources, r.SourceASGs = nil, []string{"/asg/web"} }), none, none},
		{"some source ports", edited(base, func(r *Rule) { r.SourcePorts = []string{"1024-65535"} }), none, none},
		{"all source ports", edited(base, func(r *Rule) { r.SourcePorts = []string{"0-65535"} }), remove, remove},
		{"a denying rule", edited(base, func(r *Rule) { r.Access = Deny }), none, none},
		{"an outbound rule", edited(base, func(r *Rule) { r.Direction = Outbound }), none, none},
		{"a rule of ours", edited(base, func(r *Rule) { r.Name = "jitgate-by-hand" }), none, none},
		{"a rule that only looks like ours", edited(base, func(r *Rule) { r.Name = "Jitgate-by-hand" }), remove, remove},

		{"all its addresses", to("10.0.0.5/32", "10.0.0.6", "fd00::5"), remove, remove},
		{"another machine's", to("10.0.0.7"), none, none},
		{"also another machine's", to("10.0.0.5", "10.0.0.7"), shared, remove},
		{"a range with it", to("10.0.0.0/24"), shared, remove},
		{"a range without", to("10.1.0.0/24"), none, none},
		{"other machines' and something unreadable", to("10.0.0.7", "789"), shared, remove},
		{"any", to("*"), shared, remove},
		{"a tag", to("VirtualNetwork"), shared, remove},
		{"a group", asg(), shared, remove},
		{"its address and a group", asg("10.0.0.5"), shared, remove},

		{"both ports", portsOf(TCP, "22", "3389"), remove, remove},
		{"a port more", portsOf(TCP, "22", "443"), shared, shared},
		{"a range too wide", portsOf(TCP, "20-22"), shared, shared},
		{"all ports", portsOf(TCP, "*"), shared, shared},
		{"another port", portsOf(TCP, "443"), none, none},
		{"a port of the other protocol", portsOf(UDP, "22"), none, none},
		{"of this protocol", portsOf(UDP, "3389"), remove, remove},
		{"closed for any protocol", portsOf(UDP, "5985", "5986"), remove, remove},
		{"closed in two ways", portsOf(TCP, "22", "5985-5986"), remove, remove},
		{"any protocol, closed for one", portsOf(AnyProtocol, "22"), shared, shared},
		{"any protocol, closed for any", portsOf(AnyProtocol, "5985-5986"), remove, remove},
		{"something that is no port", portsOf(TCP, "22", "ssh"), shared, shared},
		{"nothing that is a port", portsOf(TCP, "ssh"), shared, shared},
		{"protocols without ports", portsOf(ICMP, "*"), none, none},
		{"ESP", portsOf(ESP, "*"), none, none},
		{"AH", portsOf(AH, "*"), none, none},
	} {
		t.Run(k.what, func(t *testing.T) {
			k.rule.Verbatim = []byte("{}")
			for alone, where := range map[bool]string{false: k.among, true: k.byItself} {
				gotRemove, gotShared := Group{Rules: []Rule{k.rule}}.Opens(c, alone)
				var wantRemove, wantShared []Rule
				// Rules of ours do let sources in, and are not for removing.
				if got := k.rule.OpensFor(c); got != (where != none || k.rule.ours()) {
					t.Errorf("opens is %v", got)
				}
				switch where {
				case remove:
					wantRemove = []Rule{k.rule}
				case shared:
					wantShared = []Rule{k.rule}
				}
				if diff := cmp.Diff(wantRemove, gotRemove, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("alone %v, remove: %s", alone, diff)
				}
				if diff := cmp.Diff(wantShared, gotShared, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("alone %v, shared: %s", alone, diff)
				}
			}
		})
	}
}

// What closes all protocols closes each, and the answers come by priority.
func TestOpensAllPorts(t *testing.T) {
	g := Group{Rules: []Rule{
		in("d", 400, Allow, AnyProtocol, "*", "*", "*"), in("c", 300, Allow, AnyProtocol, "*", "10.0.0.5", "*"),
		in("b", 200, Allow, TCP, "*", "10.0.0.5", "0-65535"), in("a", 100, Allow, UDP, "Internet", "*", "1-53"),
	}}
	names := func(rules []Rule) (list []string) {
		for _, r := range rules {
			list = append(list, r.Name)
		}
		return list
	}
	remove, shared := g.Opens(cover("10.0.0.5", PortRange{AnyProtocol, 0, 100}, PortRange{AnyProtocol, 101, 65535}), false)
	if !cmp.Equal(names(remove), []string{"b", "c"}) || !cmp.Equal(names(shared), []string{"a", "d"}) {
		t.Errorf("remove %v, shared %v", names(remove), names(shared))
	}
	if remove, shared := g.Opens(Cover{}, true); remove != nil || shared != nil {
		t.Errorf("nothing is covered: %v, %v", remove, shared)
	}
	if remove, shared := g.Opens(Cover{Ports: []PortRange{all}}, true); remove != nil || shared != nil {
		t.Errorf("no address is covered: %v, %v", remove, shared)
	}
	if remove, shared := g.Opens(cover("10.0.0.5", PortRange{ICMP, 0, 65535}), true); remove != nil || shared != nil {
		t.Errorf("no ports are covered: %v, %v", remove, shared)
	}
}

func TestOnlyFor(t *testing.T) {
	for _, c := range []struct {
		what       string
		g          Group
		interfaces []string
		only       bool
	}{
		{"its interface", Group{Interfaces: []string{"/nic/A"}}, []string{"/NIC/a"}, true},
		{"some of its interfaces", Group{Interfaces: []string{"/nic/a", "/nic/b"}}, []string{"/nic/c", "/nic/b", "/nic/a"}, true},
		{"and another", Group{Interfaces: []string{"/nic/a", "/nic/x"}}, []string{"/nic/a"}, false},
		{"and a subnet", Group{Interfaces: []string{"/nic/a"}, Subnets: []string{"/subnet"}}, []string{"/nic/a"}, false},
		{"nothing", Group{}, []string{"/nic/a"}, false},
		{"no interfaces", Group{Interfaces: []string{"/nic/a"}}, nil, false},
	} {
		if got := c.g.OnlyFor(c.interfaces...); got != c.only {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
