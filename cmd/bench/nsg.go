package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"jitgate/internal/nsg"
)

type nsgResult struct {
	Bench           string  `json:"bench"`
	Rules           int     `json:"rules"`
	Verdict         float64 `json:"verdict_us"`
	BaselineVerdict float64 `json:"baseline_verdict_us"`
	Explain         float64 `json:"explain_us"`
	Expose          float64 `json:"expose_us"`
	// The same for a group like that of a network interface: the rules of others are
	// for any destination, so that none is sorted out by it.
	AnyVerdict         float64 `json:"any_destination_verdict_us"`
	AnyBaselineVerdict float64 `json:"baseline_any_destination_verdict_us"`
	AnyExpose          float64 `json:"any_destination_expose_us"`

	Grants        int     `json:"grants"`
	Protected     int     `json:"protected"`
	PlanUnchanged float64 `json:"plan_unchanged_ms"`
	PlanNew       float64 `json:"plan_new_ms"`
}

const (
	nsgGrants    = 200
	nsgProtected = 200
)

// groupOfThousand measures what is computed about one NSG at Azure's limit of rules,
// beside a loop that decides the same and skips nothing.
func groupOfThousand(context.Context, string) (any, error) {
	foreign, wanted := crowd()
	full := nsg.MakePlan(foreign, wanted, nsg.DefaultBands).Apply(foreign)
	if again := nsg.MakePlan(full, wanted, nsg.DefaultBands); len(full.Rules) != nsg.MaxRules || !again.Empty() || len(again.Unplaced) > 0 {
		return nil, fmt.Errorf("the NSG was to hold what is wanted and %d rules, it holds %d", nsg.MaxRules, len(full.Rules))
	}
	around := nsg.Surroundings{VirtualNetwork: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	// One rule in the middle speaks of the machine that is asked about.
	packet := nsg.Packet{Source: netip.MustParseAddr("8.8.8.8"), Destination: netip.MustParseAddr("10.1.1.144"), Port: 22, Protocol: nsg.TCP}
	wide := forAnyDestination(full)
	for _, c := range []struct {
		group           nsg.Group
		source, decider string
	}{
		{full, "8.8.8.8", "DenyAllInBound"}, {full, "198.51.144.7", "theirs-400"}, {full, "10.9.9.9", "AllowVnetInBound"},
		{wide, "8.8.8.8", "DenyAllInBound"}, {wide, "198.51.144.7", "theirs-144"},
	} {
		p := packet
		p.Source = netip.MustParseAddr(c.source)
		if v, plain := c.group.Decide(p, around), decidePlainly(c.group, p, around); v.Rule.Name != c.decider || plain != c.decider {
			return nil, fmt.Errorf("%s is to be decided by %s: the verdict says %q, the baseline %q", c.source, c.decider, v.Rule.Name, plain)
		}
	}
	ssh := nsg.PortRange{Protocol: nsg.TCP, First: 22, Last: 22}
	return nsgResult{
		Bench: "nsg", Rules: len(full.Rules), Grants: nsgGrants, Protected: nsgProtected,
		Verdict:            microseconds(timed(func() { full.Decide(packet, around) })),
		BaselineVerdict:    microseconds(timed(func() { decidePlainly(full, packet, around) })),
		Explain:            microseconds(timed(func() { full.Explain(packet, around) })),
		Expose:             microseconds(timed(func() { nsg.Expose(nsg.Internet(around), packet.Destination, ssh, around, full) })),
		AnyVerdict:         microseconds(timed(func() { wide.Decide(packet, around) })),
		AnyBaselineVerdict: microseconds(timed(func() { decidePlainly(wide, packet, around) })),
		AnyExpose:          microseconds(timed(func() { nsg.Expose(nsg.Internet(around), packet.Destination, ssh, around, wide) })),
		PlanUnchanged:      milliseconds(timed(func() { nsg.MakePlan(full, wanted, nsg.DefaultBands) })),
		PlanNew:            milliseconds(timed(func() { nsg.MakePlan(foreign, wanted, nsg.DefaultBands) })),
	}, nil
}

// timed repeats f for about a second and returns what one call takes.
func timed(f func()) time.Duration {
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			f()
		}
	})
	return time.Duration(r.NsPerOp())
}

// crowd is an NSG that others have filled as far as leaves room for the rules of 200
// grants and two deny rules, which together protect 200 machines. Every rule speaks
// of port 22, so that none is sorted out by its port.
func crowd() (nsg.Group, nsg.Desired) {
	rule := func(name string, access nsg.Access, priority int, protocol nsg.Protocol, sources, destination, ports string) nsg.Rule {
		return nsg.Rule{Name: name, Direction: nsg.Inbound, Access: access, Priority: priority, Protocol: protocol,
			Sources: strings.Fields(sources), SourcePorts: []string{"*"}, Destinations: []string{destination}, DestinationPorts: strings.Fields(ports)}
	}
	g := nsg.Group{Defaults: []nsg.Rule{
		rule("AllowVnetInBound", nsg.Allow, 65000, nsg.AnyProtocol, "VirtualNetwork", "VirtualNetwork", "*"),
		rule("AllowAzureLoadBalancerInBound", nsg.Allow, 65001, nsg.AnyProtocol, "AzureLoadBalancer", "*", "*"),
		rule("DenyAllInBound", nsg.Deny, 65500, nsg.AnyProtocol, "*", "*", "*"),
	}}
	for i := range nsg.MaxRules - nsgGrants - 2 {
		g.Rules = append(g.Rules, rule(fmt.Sprintf("theirs-%d", i), nsg.Allow, 1100+i, nsg.TCP,
			fmt.Sprintf("198.51.%d.0/24 192.0.2.%d", i%256, i%256), fmt.Sprintf("10.1.%d.%d", i/256, i%256), "20-25 3389"))
	}
	machine := func(i int) []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})} }
	var d nsg.Desired
	for i := range nsgGrants {
		d.Open = append(d.Open, nsg.Want{
			Name:        nsg.AllowName(fmt.Sprintf("00000000-0000-4000-8000-%012d", i), 0),
			Description: nsg.Description("alice@contoso.example", time.Now().Add(time.Hour)),
			Source:      netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32), Destinations: machine(i), Protocol: nsg.TCP, Ports: []uint16{22},
		})
	}
	ports := []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.TCP, First: 3389, Last: 3389}}
	for i := range nsgProtected {
		d.Closed = append(d.Closed, nsg.Cover{Ports: ports[:1+i%2], Addresses: machine(i)})
	}
	return g, d
}

// forAnyDestination is the group with every rule of others widened.
func forAnyDestination(g nsg.Group) nsg.Group {
	g.Rules = slices.Clone(g.Rules)
	for i, r := range g.Rules {
		if !r.Ours() {
			g.Rules[i].Destinations = []string{"*"}
		}
	}
	return g
}

// decidePlainly is the baseline of a verdict: it reads every field of every rule and
// keeps the first in order that matches. It returns the name of that rule.
func decidePlainly(g nsg.Group, p nsg.Packet, around nsg.Surroundings) (decider string) {
	first := math.MaxInt
	for _, rules := range [][]nsg.Rule{g.Rules, g.Defaults} {
		for _, r := range rules {
			inbound := strings.EqualFold(string(r.Direction), string(nsg.Inbound))
			protocol := r.Protocol == nsg.AnyProtocol || strings.EqualFold(string(r.Protocol), string(p.Protocol))
			port := hasPort(r.DestinationPorts, p.Port)
			destination := hasAddress(r.Destinations, p.Destination, around)
			source := hasAddress(r.Sources, p.Source, around)
			if inbound && protocol && port && destination && source && r.Priority < first {
				first, decider = r.Priority, r.Name
			}
		}
	}
	return decider
}

func hasPort(list []string, port uint16) (has bool) {
	for _, text := range list {
		low, high, isRange := strings.Cut(strings.Replace(text, "*", "0-65535", 1), "-")
		if !isRange {
			high = low
		}
		first, errFirst := strconv.Atoi(low)
		last, errLast := strconv.Atoi(high)
		has = has || errFirst == nil && errLast == nil && first <= int(port) && int(port) <= last
	}
	return has
}

func hasAddress(list []string, a netip.Addr, around nsg.Surroundings) (has bool) {
	for _, text := range list {
		switch text {
		case "*":
			has = true
			continue
		case "VirtualNetwork":
			has = has || slices.ContainsFunc(around.VirtualNetwork, func(p netip.Prefix) bool { return p.Contains(a) })
			continue
		case "AzureLoadBalancer":
			text = "168.63.129.16"
		}
		if prefix, err := netip.ParsePrefix(text); err == nil {
			has = has || prefix.Contains(a)
		} else if one, err := netip.ParseAddr(text); err == nil {
			has = has || one == a
		}
	}
	return has
}
