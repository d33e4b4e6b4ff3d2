package nsg

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWithout(t *testing.T) {
	one, two, three, four := want(1), want(2), want(3), want(4)
	longer, spoilt := three, four
	longer.Description = Description("user@domain.com", until.Add(time.Hour))
	spoilt.Source = netip.Prefix{}
	contradicting := two
	contradicting.Ports = []uint16{3389}
	g := Group{ID: "g", Defaults: defaults(), Rules: []Rule{
		in("theirs", 300, Allow, TCP, "*", "*", "443"),
		edited(ruleFor(t, one, 2000), func(r *Rule) { r.Protocol, r.SourcePorts, r.Verbatim = "TCP", []string{"0-65535"}, []byte("{}") }),
		in(DenyPrefix+"0123456789ab", 1000, Deny, AnyProtocol, "*", "10.0.0.5", "22"),
		ruleFor(t, two, 101), ruleFor(t, three, 102), ruleFor(t, four, 103), ruleFor(t, want(5), 104),
	}}
	before := slices.Clone(g.Rules)
	for _, c := range []struct {
		what  string
		wants []Want
		edit  func(*Rule) // of the rule of one
		drops []string
	}{
		{what: "no grant"},
		{what: "as it is wanted, wherever and however it is written", wants: []Want{one}, drops: []string{one.Name}},
		{what: "several, also twice", wants: []Want{two, one, two}, drops: []string{one.Name, two.Name}},
		{what: "two wants of one name, one of which stands", wants: []Want{two, contradicting}, drops: []string{two.Name}},
		{what: "two wants in the other order", wants: []Want{contradicting, two}, drops: []string{two.Name}},
		{what: "another expiry", wants: []Want{longer}},
		{what: "a want that makes no rule", wants: []Want{spoilt}},
		{what: "a want without a rule", wants: []Want{want(6)}},
		{what: "a source widened", wants: []Want{one, two}, edit: func(r *Rule) { r.Sources = []string{"*"} }, drops: []string{two.Name}},
		{what: "a port more", wants: []Want{one}, edit: func(r *Rule) { r.DestinationPorts = append(r.DestinationPorts, "23") }},
		{what: "another machine too", wants: []Want{one}, edit: func(r *Rule) { r.Destinations = []string{"10.0.0.0/24"} }},
		{what: "turned to denying", wants: []Want{one}, edit: func(r *Rule) { r.Access = Deny }},
		{what: "turned outbound", wants: []Want{one}, edit: func(r *Rule) { r.Direction = Outbound }},
		{what: "in other letters", wants: []Want{one}, edit: func(r *Rule) { r.Name = strings.ToUpper(r.Name) }},
	} {
		g := g
		g.Rules = slices.Clone(before)
		if c.edit != nil {
			c.edit(&g.Rules[1])
		}
		handedIn := slices.Clone(g.Rules)
		should := g
		should.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r Rule) bool { return slices.Contains(c.drops, r.Name) })
		if diff := cmp.Diff(should, g.Without(c.wants)); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
		if diff := cmp.Diff(handedIn, g.Rules); diff != "" {
			t.Errorf("%s: the group was changed: %s", c.what, diff)
		}
	}
}

func TestDefenderMade(t *testing.T) {
	const hex = "0123456789abcdef0123456789abcdef"
	for name, want := range map[string]bool{
		"SecurityCenter-JITRule_-1234567_" + hex:         true,
		"SecurityCenter-JITRule-1234567-" + hex:          true,
		"MicrosoftDefenderForCloud-JITRule_99_" + hex:    true,
		"microsoftdefenderforcloud-jitrule-99-" + hex:    true,
		"SECURITYCENTER-JITRULE-1-" + hex:                true,
		"SecurityCenter-JIT":                             false,
		"my-SecurityCenter-JITRule-1":                    false,
		"MicrosoftDefenderForCloud":                      false,
		"jitgate-0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b-1": false,
		"": false,
	} {
		if got := DefenderMade(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
