package nsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// TestExposeSaysWhatDecideSays holds Expose against Decide, asked about every
// address and port at which anything can change: the ends of all ranges that the
// rules, the surroundings and the space speak of, and their neighbours.
func TestExposeSaysWhatDecideSays(t *testing.T) {
	seen := map[Reach]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]Surroundings{home, home, home, {ASGMembers: home.ASGMembers}}).Draw(t, "surroundings")
		to := rapid.SampledFrom([]netip.Addr{machine, machine, machine, machine6}).Draw(t, "to")
		groups := make([]Group, rapid.IntRange(0, 2).Draw(t, "groups"))
		for i := range groups {
			groups[i] = drawUnsureGroup(t, fmt.Sprint("group-", i))
		}
		first := rapid.SampledFrom([]uint16{22, 22, 21, 0, 65535, 442}).Draw(t, "first")
		last := max(first, rapid.SampledFrom([]uint16{0, 0, 25, 443, 65535}).Draw(t, "last"))
		asked := PortRange{rapid.SampledFrom([]Protocol{TCP, TCP, "TCP", UDP, AnyProtocol, ICMP}).Draw(t, "protocol"), first, last}
		for _, space := range []Space{
			Internet(s), InVirtualNetwork(s), From(netip.MustParsePrefix("0.0.0.0/0")), From(netip.MustParsePrefix("::/0")),
			From(netip.MustParsePrefix("203.0.113.4/30")), From(netip.MustParsePrefix("10.0.0.0/24")), {},
		} {
			got := Expose(space, to, asked, s, groups...)
			seen[got.Reach]++
			want := exposeByDecide(space, to, asked, s, groups)
			if diff := cmp.Diff(want.Exposure, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Exposure{}, "Allowed")); diff != "" {
				t.Fatalf("of %v, decided one by one (-) and at once (+): %s", space.Prefixes(), diff)
			}
			for a, certain := range want.certain {
				if within(got.Allowed, a) != certain {
					t.Fatalf("%s certainly gets through: %v, allowed are %v", a, certain, got.Allowed)
				}
			}
			for _, p := range got.Allowed {
				if len(subtract([]span{spanOf(p)}, space.spans)) > 0 {
					t.Fatalf("%s is outside the space", p)
				}
			}
		}
	})
	for _, reach := range []Reach{Open, Partly, Unsure, Shut} {
		if !testing.Short() && !t.Failed() && seen[reach] < 10 {
			t.Errorf("%d scenes are %q, that proves little: %v", seen[reach], reach, seen)
		}
	}
}

var (
	machine  = netip.MustParseAddr("10.0.0.5")
	machine6 = netip.MustParseAddr("fd00:1::5")
)

// drawUnsureGroup draws rules of which some cannot be judged.
func drawUnsureGroup(t *rapid.T, id string) Group {
	g := Group{ID: id}
	if rapid.IntRange(0, 4).Draw(t, "defaults") > 0 {
		g.Defaults = defaults()
	}
	pick := func(label string, words ...string) string { return rapid.SampledFrom(words).Draw(t, label) }
	// Azure has no two rules of one priority. Here an allow and a deny may share
	// one, which Decide speaks about.
	for i, place := range rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 10, rapid.ID[int]).Draw(t, "places") {
		access := pick("access", "Allow", "allow")
		if place%2 == 1 {
			access = pick("access", "Deny", "Permit")
		}
		r := in(fmt.Sprintf("%s-%d", id, i), 100+place/2, Access(access), Protocol(pick("protocol", "*", "*", "Tcp", "TCP", "Udp", "Icmp", "All")),
			pick("source", "*", "*", "Internet", "VirtualNetwork", "AzureLoadBalancer", "AzureCloud", "203.0.113.7", "203.0.113.0/29 10.0.0.0/25", "0.0.0.0/0", "128.0.0.0/1 ::/1", "789", "20.1.0.0/23 2001:4860::/32 Sql", "fd00:1::/64"),
			pick("destination", "*", "*", "VirtualNetwork", "10.0.0.5", "10.0.0.0/24 fd00:1::/64", "10.0.0.6", "Storage"),
			pick("port", "*", "22", "22", "20-25 443", "0-21 23-65535", "ssh", "ssh 22", "65535", "0-65535"))
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			r.Sources, r.SourceASGs = nil, []string{pick("group", "/subscriptions/s/asg/web", "/subscriptions/s/asg/other", "/subscriptions/s/asg/empty")}
		case 1:
			r.Destinations, r.DestinationASGs = nil, []string{pick("group", "/subscriptions/s/asg/web", "/subscriptions/s/asg/other")}
		case 2:
			r.SourcePorts = strings.Fields(pick("source port", "1024-65535", "0-1023 1024-65535"))
		case 3:
			r.Direction = Outbound
		case 4:
			*rapid.SampledFrom([]*[]string{&r.Sources, &r.Destinations, &r.DestinationPorts}).Draw(t, "part") = nil
		}
		g.Rules = append(g.Rules, r)
	}
	return g
}

type exposedOneByOne struct {
	Exposure
	certain map[netip.Addr]bool
}

// exposeByDecide reckons an exposure from single packets.
func exposeByDecide(space Space, to netip.Addr, asked PortRange, s Surroundings, groups []Group) exposedOneByOne {
	type shot struct {
		source   netip.Addr
		verdicts []Verdict
	}
	var shots []shot
	certain, possible := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, source := range turningAddresses(space, to, s, groups) {
		certain[source] = false
		for _, p := range turningPackets(asked, groups) {
			p.Source, p.Destination = source, to
			sure, may := true, true
			var verdicts []Verdict
			for _, g := range groups {
				v := g.Decide(p, s)
				verdicts = append(verdicts, v)
				sure = sure && v.Access == Allow && v.Sure()
				may = may && (v.Access == Allow || !v.Sure())
			}
			certain[source] = certain[source] || sure
			possible[source] = possible[source] || may
			shots = append(shots, shot{source, verdicts})
		}
	}
	e := exposedOneByOne{certain: certain}
	count := func(m map[netip.Addr]bool) (n int) {
		for _, v := range m {
			if v {
				n++
			}
		}
		return n
	}
	switch {
	case count(possible) == 0:
		e.Reach = Shut
	case count(certain) == 0:
		e.Reach = Unsure
	case count(certain) == len(certain):
		e.Reach = Open
	default:
		e.Reach = Partly
	}
	by, depends := map[string]bool{}, map[string]bool{}
	for _, shot := range shots {
		sure, may, open := true, true, true
		firstDeny, firstSureDeny := "", ""
		for i, v := range shot.verdicts {
			sure = sure && v.Access == Allow && v.Sure()
			may = may && (v.Access == Allow || !v.Sure())
			if open && v.Access == Deny {
				open, firstDeny = false, groups[i].ID+v.Rule.Name
			}
			if v.Access == Deny && v.Sure() && firstSureDeny == "" {
				firstSureDeny = groups[i].ID + v.Rule.Name
			}
		}
		switch {
		case e.Reach == Shut:
			by[firstSureDeny] = true
		case sure && e.Reach != Unsure, may && open && e.Reach == Unsure:
			for i, v := range shot.verdicts {
				by[groups[i].ID+v.Rule.Name] = true
			}
		case may && e.Reach == Unsure:
			by[firstDeny] = true
		}
		if may && !certain[shot.source] {
			for i, v := range shot.verdicts {
				for _, r := range v.Depends {
					if r.Access.is(Allow) != (v.Access == Allow) {
						depends[groups[i].ID+r.Name] = true
					}
				}
			}
		}
	}
	e.By, e.Depends = deciders(groups, by), deciders(groups, depends)
	return e
}

// deciders lists the inbound rules named by group and rule, in order of path and priority.
func deciders(groups []Group, named map[string]bool) (list []Decider) {
	for _, g := range groups {
		var rules []Rule
		for _, r := range slices.Concat(g.Rules, g.Defaults) {
			if named[g.ID+r.Name] && r.Direction.is(Inbound) {
				rules = append(rules, r)
			}
		}
		slices.SortStableFunc(rules, func(a, b Rule) int { return inOrder(&a, &b) })
		for _, r := range rules {
			list = append(list, Decider{g.ID, r})
		}
	}
	return list
}

func turningAddresses(space Space, to netip.Addr, s Surroundings, groups []Group) (list []netip.Addr) {
	ends := []netip.Addr{hostAddress}
	add := func(prefixes ...netip.Prefix) {
		for _, p := range prefixes {
			ends = append(ends, spanOf(p).first, spanOf(p).last)
		}
	}
	add(notPublic...)
	add(s.VirtualNetwork...)
	add(space.Prefixes()...)
	for _, members := range s.ASGMembers {
		ends = append(ends, members...)
	}
	for _, g := range groups {
		for _, r := range g.Rules {
			for _, text := range r.Sources {
				if p, ok := parsePrefix(text); ok {
					add(p)
				}
			}
		}
	}
	mine := space.Prefixes()
	for _, end := range ends {
		for _, a := range []netip.Addr{end.Prev(), end, end.Next()} {
			if a.IsValid() && a.BitLen() == to.BitLen() && !a.Is4In6() && within(mine, a) && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

func turningPackets(asked PortRange, groups []Group) (list []Packet) {
	if asked.Protocol == ICMP {
		return []Packet{{Protocol: ICMP}}
	}
	turns := []uint16{asked.First, asked.Last}
	for _, g := range groups {
		for _, r := range g.Rules {
			runs, _ := portSet(r.DestinationPorts)
			for _, run := range runs {
				turns = append(turns, run.first, run.last+1)
			}
		}
	}
	slices.Sort(turns)
	for _, port := range slices.Compact(turns) {
		if port < asked.First || port > asked.Last {
			continue
		}
		if asked.Protocol == AnyProtocol {
			list = append(list, Packet{Port: port, Protocol: TCP}, Packet{Port: port, Protocol: UDP})
		} else {
			list = append(list, Packet{Port: port, Protocol: asked.Protocol})
		}
	}
	return list
}

func TestExposures(t *testing.T) {
	ssh := PortRange{TCP, 22, 22}
	group := func(id string, rules ...Rule) Group { return Group{ID: id, Rules: rules, Defaults: defaults()} }
	any22 := in("any-ssh", 300, Allow, TCP, "*", "*", "22")
	deny22 := in("deny-ssh", 1000, Deny, AnyProtocol, "*", "10.0.0.5", "22 3389")
	tag := func(access Access) Rule { return in("tag", 100, access, TCP, "AzureCloud", "*", "22") }
	for _, c := range []struct {
		what        string
		from        Space
		to          netip.Addr
		asked       PortRange
		groups      []Group
		reach       Reach
		allowed     string
		by, depends string
	}{
		{"no group", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, nil, Open, "203.0.113.0/24", "", ""},
		{"no source", Space{}, machine, ssh, nil, Shut, "", "", ""},
		{"sources of the other family", From(netip.MustParsePrefix("2001:db8::/32")), machine, ssh, nil, Shut, "", "", ""},
		{"no target", Internet(home), netip.Addr{}, ssh, nil, Shut, "", "", ""},
		{"a target written as IPv6", From(netip.MustParsePrefix("::ffff:203.0.113.7/128")), netip.MustParseAddr("::ffff:10.0.0.5"), ssh, []Group{group("g", any22)}, Open, "203.0.113.7/32", "g any-ssh", ""},
		{"a range that holds no port", Internet(home), machine, PortRange{TCP, 23, 22}, nil, Shut, "", "", ""},
		{"a group that says nothing", Internet(home), machine, ssh, []Group{{ID: "g"}}, Shut, "", "", ""},
		{"defaults shut the internet out", Internet(home), machine, ssh, []Group{group("g")}, Shut, "", "g DenyAllInBound", ""},
		{"defaults leave the network in", InVirtualNetwork(home), machine, ssh, []Group{group("g")}, Open, "10.0.0.0/16 20.1.0.0/24 168.63.129.16/32", "g AllowVnetInBound", ""},
		{"both groups are named", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("subnet", any22), group("nic", any22)}, Open, "203.0.113.0/24", "subnet any-ssh, nic any-ssh", ""},
		{"one group in both places is named once", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("g", any22), group("g", any22)}, Open, "203.0.113.0/24", "g any-ssh", ""},
		{"the first group that denies", Internet(home), machine, ssh, []Group{group("subnet", any22), group("nic", deny22), group("more")}, Shut, "", "nic deny-ssh", ""},
		{"each source in the first group that denies it", From(netip.MustParsePrefix("203.0.113.0/30")), machine, ssh, []Group{
			group("subnet", in("low", 100, Deny, TCP, "203.0.113.0/31", "*", "22"), any22),
			group("nic", in("high", 100, Deny, TCP, "203.0.113.2/31", "*", "22"), any22)}, Shut, "", "subnet low, nic high", ""},
		{"a grant above a deny", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("g", in("grant", 100, Allow, TCP, "203.0.113.7", "10.0.0.5", "22"), deny22)}, Partly, "203.0.113.7/32", "g grant", ""},
		{"what no rule lets alone lets two rules together", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("g",
			in("low", 100, Allow, TCP, "203.0.113.0/25", "*", "22"), in("high", 200, Allow, TCP, "203.0.113.128/25", "*", "22"))}, Open, "203.0.113.0/24", "g low, g high", ""},
		{"each half through another port", From(netip.MustParsePrefix("203.0.113.0/24")), machine, PortRange{TCP, 22, 23}, []Group{group("g",
			in("low", 100, Allow, TCP, "203.0.113.0/25", "*", "22"), in("high", 200, Allow, TCP, "203.0.113.128/25", "*", "23"))}, Open, "203.0.113.0/24", "g low, g high", ""},
		{"both groups, but for different ports", Internet(home), machine, PortRange{TCP, 22, 23}, []Group{group("subnet", any22), group("nic", in("telnet", 300, Allow, TCP, "*", "*", "23"))}, Shut, "", "subnet DenyAllInBound, nic DenyAllInBound", ""},
		{"one of many ports", From(netip.MustParsePrefix("203.0.113.0/24")), machine, PortRange{AnyProtocol, 0, 65535}, []Group{group("g", in("snmp", 300, Allow, UDP, "*", "*", "161"))}, Open, "203.0.113.0/24", "g snmp", ""},
		{"IPv6 is judged apart", Internet(home), machine6, ssh, []Group{group("g", in("v4", 300, Allow, TCP, "0.0.0.0/0", "*", "22"))}, Shut, "", "g DenyAllInBound", ""},

		{"an unknown allow above a deny", Internet(home), machine, ssh, []Group{group("g", tag(Allow), deny22)}, Unsure, "", "g deny-ssh", "g tag"},
		{"an unknown deny above an allow", Internet(home), machine, ssh, []Group{group("g", tag(Deny), any22)}, Unsure, "", "g any-ssh", "g tag"},
		{"an allow without ports above a deny", Internet(home), machine, ssh, []Group{group("g", in("portless", 100, Allow, TCP, "*", "*", ""), deny22)}, Unsure, "", "g deny-ssh", "g portless"},
		{"an unknown allow above an allow", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("g", tag(Allow), any22)}, Open, "203.0.113.0/24", "g any-ssh", ""},
		{"an unknown deny above a deny", Internet(home), machine, ssh, []Group{group("g", tag(Deny), deny22)}, Shut, "", "g deny-ssh", ""},
		{"an unknown allow below the deny", Internet(home), machine, ssh, []Group{group("g", func() Rule { r := tag(Allow); r.Priority = 2000; return r }(), deny22)}, Shut, "", "g deny-ssh", ""},
		{"an unknown allow that the other group shuts", Internet(home), machine, ssh, []Group{group("subnet", tag(Allow)), group("nic", deny22)}, Shut, "", "nic deny-ssh", ""},
		{"a grant beside an unknown allow", From(netip.MustParsePrefix("203.0.113.0/24")), machine, ssh, []Group{group("g", tag(Allow), in("grant", 200, Allow, TCP, "203.0.113.7", "*", "22"), deny22)}, Partly, "203.0.113.7/32", "g grant", "g tag"},
		{"an unknown group lets nobody in from outside the network", Internet(home), machine, ssh, []Group{group("g", func() Rule {
			r := in("asg", 100, Allow, TCP, "", "*", "22")
			r.SourceASGs = []string{"/subscriptions/s/asg/other"}
			return r
		}(), deny22)}, Shut, "", "g deny-ssh", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := Expose(c.from, c.to, c.asked, home, c.groups...)
			words := func(list []Decider) string {
				var all []string
				for _, d := range list {
					all = append(all, d.Group+" "+d.Rule.Name)
				}
				return strings.Join(all, ", ")
			}
			if allowed := strings.Trim(fmt.Sprint(e.Allowed), "[]"); e.Reach != c.reach || allowed != c.allowed {
				t.Errorf("%s: %s, want %s: %s", e.Reach, allowed, c.reach, c.allowed)
			}
			if words(e.By) != c.by || words(e.Depends) != c.depends {
				t.Errorf("by %q, depends on %q", words(e.By), words(e.Depends))
			}
		})
	}
}

func BenchmarkExpose(b *testing.B) {
	g, _ := crowded(b)
	// Wide port ranges that all overlap: every few ports meet other rules.
	wide := Group{Defaults: defaults()}
	for i := range MaxRules {
		wide.Rules = append(wide.Rules, in(fmt.Sprint("wide-", i), 100+i, []Access{Allow, Deny}[i/7%2], []Protocol{TCP, UDP, AnyProtocol}[i%3],
			fmt.Sprintf("198.18.%d.0/25 100.64.%d.%d", i*37%256, i/256, i%256), "*", fmt.Sprintf("%d-%d", i*30, i*30+30000)))
	}
	internet, to := Internet(home), machine
	for _, c := range []struct {
		what  string
		asked PortRange
		g     Group
	}{{"one port", PortRange{TCP, 22, 22}, g}, {"all ports", PortRange{AnyProtocol, 0, 65535}, g}, {"wide ranges", PortRange{AnyProtocol, 0, 65535}, wide}} {
		b.Run(c.what, func(b *testing.B) {
			if e := Expose(internet, to, c.asked, home, c.g); e.Reach != Partly {
				b.Fatal(e)
			}
			b.ReportAllocs()
			for b.Loop() {
				Expose(internet, to, c.asked, home, c.g)
			}
		})
	}
}
