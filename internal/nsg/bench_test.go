package nsg

import (
	"fmt"
	"net/netip"
	"testing"
)

// crowded is a group at Azure's limit of rules: 800 foreign ones, 200 of ours.
// Every rule speaks about the port in question, so none is sorted out cheaply.
func crowded(b *testing.B) (Group, []Want) {
	g := Group{Defaults: defaults()}
	for i := range 800 {
		g.Rules = append(g.Rules, in(fmt.Sprintf("theirs-%d", i), 1000+i, Allow, TCP,
			fmt.Sprintf("198.51.%d.0/24 192.0.2.%d", i%256, i%256), fmt.Sprintf("10.1.%d.%d", i/256, i%256), "20-25 3389"))
	}
	var wants []Want
	for i := range 200 {
		wants = append(wants, want(i))
		g.Rules = append(g.Rules, ruleFor(b, want(i), 100+i))
	}
	return g, wants
}

func BenchmarkDecide(b *testing.B) {
	g, _ := crowded(b)
	p := packet("8.8.8.8", "10.0.0.5", 22, TCP)
	if v := g.Decide(p, home); v.Rule.Name != "DenyAllInBound" {
		b.Fatal(v)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.Decide(p, home)
	}
}

// BenchmarkPlan also has 200 machines closed, by two deny rules.
func BenchmarkPlan(b *testing.B) {
	g, wants := crowded(b)
	g.Rules = append(g.Rules[:798:798], g.Rules[800:]...)
	d := Desired{Open: wants}
	for i := range 200 {
		d.Closed = append(d.Closed, Cover{Ports: portSets[i%2], Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}})
	}
	full := MakePlan(g, d, DefaultBands).Apply(g)
	if len(full.Rules) != MaxRules || !MakePlan(full, d, DefaultBands).Empty() {
		b.Fatalf("%d rules", len(full.Rules))
	}
	for _, c := range []struct {
		what  string
		group Group
	}{{"nothing to do", full}, {"200 new rules", Group{Rules: full.Rules[:798]}}} {
		b.Run(c.what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				MakePlan(c.group, d, DefaultBands)
			}
		})
	}
}
