package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

const subscription = "/subscriptions/11111111-2222-3333-4444-555555555555"

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	alice = access.Person{Tenant: "99999999-0000-0000-0000-000000000001", Object: "aaaaaaaa-0000-0000-0000-000000000001", Name: "alice@example.com"}
	bob   = access.Person{Tenant: alice.Tenant, Object: "bbbbbbbb-0000-0000-0000-000000000002", Name: "bob@example.com"}
)

func vm(n int) armid.ID {
	return armid.MustParse(fmt.Sprintf("%s/resourceGroups/Rg-One/providers/Microsoft.Compute/virtualMachines/vm-%d", subscription, n))
}

func group(n int) armid.ID {
	return armid.MustParse(fmt.Sprintf("%s/resourceGroups/Rg-Net/providers/Microsoft.Network/networkSecurityGroups/nsg-%d", subscription, n))
}

// shouted is the same id as Azure might return it on another day.
func shouted(id armid.ID) armid.ID { return armid.MustParse(strings.ToUpper(id.String())) }

func id(n int) string { return fmt.Sprintf("00000000-0000-7000-8000-%012d", n) }

// request n was made n minutes after noon by alice for VM n.
func request(n int) access.Request {
	return access.Request{
		ID: id(n), Requester: alice, Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour,
		Justification: "ticket 4711", CreatedAt: noon.Add(time.Duration(n) * time.Minute), Fingerprint: "f00d",
		Targets: []access.Target{{
			VM: vm(n), State: access.Pending,
			Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}},
		}},
		Events: 1,
	}
}

// complete is a request with every field set, some of which exclude each other in
// real life.
func complete() access.Request {
	r := request(1)
	r.Standing = standing()
	r.BreakGlass, r.DecideBy, r.Extensions = true, noon.Add(time.Hour), 2
	r.Votes = []access.Vote{
		{By: access.Actor{Person: bob, Standing: standing()}, Via: alice, Agrees: true, Comment: "Go on.", At: noon.Add(7)},
		{By: access.Actor{Person: alice}, At: noon.Add(8)},
	}
	r.Review = &access.Review{DueAt: noon.Add(time.Hour), Overdue: true, By: bob, Comment: "Fine.", ClosedAt: noon.Add(2 * time.Hour)}
	r.Callbacks = []access.Callback{
		{ID: "c1", Sealed: "sealed", Events: []access.Result{access.Granted, access.Over}, At: noon.Add(9), Done: true},
		{ID: "c2", Sealed: "sealed too", Events: access.Results, At: noon.Add(10)},
	}
	r.Told = map[string]int{"teams": 1, "mail": 3}
	t := &r.Targets[0]
	t.State, t.Ending, t.Policy, t.Reminded = access.Closing, access.Expired, "scope version 3", true
	t.Reason, t.Warning = access.Reason{Code: access.NSGFull, Sentence: "Full."}, access.Reason{Code: access.Outranked, Sentence: "Look out."}
	t.Unmet = access.Refusals{
		{Code: access.LockedDown, Field: "targets[0]", Sentence: "Locked.", Policy: "scope version 3", Passes: "nothing"},
		{Code: access.NoApprover, Sentence: "Nobody."},
	}
	t.Tags = map[string]string{"Env": "prod", "empty": "", "ü/?#": "<&>\""}
	t.Approval = &policy.Approval{
		Approvers: []policy.Principals{{Roles: []string{"r"}, Groups: []string{"g", "h"}, Users: []string{"u"}, Applications: []string{"a"}}, {}},
		Quorum:    2, Within: 90 * time.Minute, Policies: []string{"scope version 3", "guardrail tenant version 1"},
	}
	t.ExpiresAt, t.OpenedAt, t.EndedAt = noon.Add(time.Hour), noon.Add(time.Minute), noon.Add(2*time.Hour)
	t.Ways = ways(1)
	t.Openings = []access.Opening{{
		NSG: group(1), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Open: true, Until: noon.Add(time.Hour), Closed: true, Stuck: true,
		Rules: []access.PlannedRule{{Name: "rule", Protocol: nsg.UDP, Ports: []uint16{53}}},
	}}
	return r
}

func standing() access.Standing {
	return access.Standing{Roles: []string{"Jit.Request", "Jit.Admin"}, Groups: []string{"g1"}, GroupsIncomplete: true, Application: true, Guest: true}
}

func created(r access.Request) []audit.Event {
	return []audit.Event{{Sequence: 1, At: r.CreatedAt, Kind: audit.RequestCreated, Actor: r.Requester.Object, Name: r.Requester.Name, Text: "Asked."}}
}

func note(text string) []audit.Event {
	return []audit.Event{{At: noon, Kind: audit.RequestApproved, Actor: audit.System, Name: audit.System, Text: text}}
}

// largest is as big as a request may become.
func largest() access.Request {
	r := request(1)
	r.Justification = strings.Repeat("é𝄞\n\"", access.MaxJustification/4)
	full := complete()
	r.Standing, r.BreakGlass, r.DecideBy, r.Review, r.Extensions, r.Told = full.Standing, true, full.DecideBy, full.Review, 24, full.Told
	r.Standing.Groups = slices.Repeat([]string{id(1)}, 200) // more no token names
	for range 20 {
		v := full.Votes[0]
		v.By.Groups, v.Comment = r.Standing.Groups, r.Justification
		r.Votes = append(r.Votes, v)
	}
	for n := range access.MaxCallbacks {
		r.Callbacks = append(r.Callbacks, access.Callback{ID: id(n), Sealed: strings.Repeat("s", 2000), Events: access.Results, At: noon})
	}
	tags := map[string]string{}
	for n := range 15 {
		tags[fmt.Sprint("name of tag ", n)] = strings.Repeat("value ", 8)
	}
	r.Targets = nil
	name := strings.Repeat("n", 70)
	for i := range access.MaxTargets {
		t := access.Target{
			VM:    armid.MustParse(fmt.Sprintf("%s/resourceGroups/%s/providers/Microsoft.Compute/virtualMachines/%s%02d", subscription, strings.Repeat("g", 90), name, i)),
			State: access.Closing, Ending: access.Revoked, Policy: vm(i).String() + " version 12",
			Reason:  access.Reason{Code: access.NSGFull, Sentence: strings.Repeat("Reason enough. ", 20)},
			Warning: access.Reason{Code: access.NSGFull, Sentence: strings.Repeat("Be warned. ", 20)},
			Ways:    ways(4),
			Unmet:   slices.Repeat(access.Refusals{{Code: access.NSGFull, Field: "targets", Sentence: strings.Repeat("Reason enough. ", 20), Policy: vm(i).String(), Passes: "nothing"}}, 5),
			Tags:    tags, Approval: full.Targets[0].Approval, Reminded: true,
			ExpiresAt: noon.Add(time.Hour), OpenedAt: noon.Add(time.Minute), EndedAt: noon.Add(2 * time.Hour),
		}
		for p := range access.MaxPorts {
			t.Ports = append(t.Ports, policy.Port{Number: uint16(60000 + p), Protocol: policy.TCP})
		}
		for n := range 2 {
			o := access.Opening{
				NSG:       armid.MustParse(fmt.Sprintf("%s/resourceGroups/%s/providers/Microsoft.Network/networkSecurityGroups/%s%d", subscription, strings.Repeat("g", 90), name, n)),
				Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("fd00::1234:5678:9abc:def0")},
				Open:      n == 0, Until: noon.Add(time.Hour), Closed: n == 1, Stuck: n == 1,
			}
			rule := access.PlannedRule{Name: nsg.AllowName(r.ID, i), Protocol: nsg.TCP}
			for _, p := range t.Ports {
				rule.Ports = append(rule.Ports, p.Number)
			}
			o.Rules = append(o.Rules, rule)
			t.Openings = append(t.Openings, o)
		}
		r.Targets = append(r.Targets, t)
	}
	return r
}

// grant is target n of request r.
func grant(r, n int) access.Grant {
	return access.Grant{
		Request: id(r), Target: n, Rule: nsg.AllowName(id(r), 0), Requester: alice.Name,
		Source: netip.MustParsePrefix("203.0.113.0/28"), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")},
		Protocol: nsg.TCP, Ports: []uint16{22, 3389}, ExpiresAt: noon.Add(time.Hour),
	}
}

// ways are n interfaces.
func ways(n int) []access.Interface {
	var out []access.Interface
	for i := range n {
		out = append(out, access.Interface{
			ID:        armid.MustParse(fmt.Sprintf("%s/resourceGroups/%s/providers/Microsoft.Network/networkInterfaces/nic-%d", subscription, strings.Repeat("g", 90), i)),
			Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("fd00::4")},
			NSGs:      []armid.ID{group(2), group(1)}, Public: true, Firewall: i%2 == 0,
			Network: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("fd00::/48")},
			ASGs:    []string{strings.ToLower(subscription) + "/resourcegroups/rg/providers/microsoft.network/applicationsecuritygroups/web"},
		})
	}
	return out
}

// foreignRule has every field set. Its copy has a layout, escapes and characters that
// writing JSON anew would change.
func foreignRule(name string) nsg.Rule {
	return nsg.Rule{
		Name: name, Description: "why, \"and\" <how>", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.AnyProtocol, Priority: 300,
		Sources: []string{"Internet", "*"}, SourcePorts: []string{"*"}, SourceASGs: []string{"asg-1"},
		Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22", "3389-3390"}, DestinationASGs: []string{"asg-2", "asg-3"},
		Verbatim: []byte("{ \"access\":\t\"Allow\",\r\n\"new\": [1.50, 1e3, \"\\u00e9 é 𝄞 <&>\\/\"] , \"access\": null}\n"),
	}
}

// longRules are n rules with as many prefixes as people really put into one.
func longRules(n int) []nsg.Rule {
	var out []nsg.Rule
	for i := range n {
		r := foreignRule(fmt.Sprint("long-", i))
		for p := range 1000 {
			r.Sources = append(r.Sources, fmt.Sprintf("198.%d.%d.128/25", 18+p/256, p%256))
		}
		r.Verbatim = []byte(`{"sourceAddressPrefixes": ["` + strings.Join(r.Sources, `", "`) + `"]}`)
		out = append(out, r)
	}
	return out
}

func covers(first uint16) []nsg.Cover {
	return []nsg.Cover{{Ports: portRanges(first), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.9")}}, {Ports: portRanges(first + 10)}}
}

func portRanges(first uint16) []nsg.PortRange {
	return []nsg.PortRange{{Protocol: nsg.TCP, First: first, Last: first + 5}, {Protocol: nsg.AnyProtocol, First: 65535, Last: 65535}}
}

// protection n is that of VM n, in full; it counts no event yet.
func protection(n int) access.Protection {
	return access.Protection{
		VM: vm(n), Wanted: true, Ports: portRanges(22), AllInterfaces: true, Flush: true, By: alice,
		ChangedAt: noon.Add(time.Duration(n)), Revision: 3, Reason: access.Reason{Code: access.NSGFull, Sentence: "Why."},
		Parts: []access.Part{
			{
				NSG: group(1), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("fd00::4")},
				Former: covers(80), Removed: []nsg.Rule{foreignRule("a"), foreignRule("b")}, SetAside: []string{"a"}, FlushSet: true,
				Problem: access.Reason{Code: access.NSGFull, Sentence: "No place."},
			},
			{NSG: group(2), Done: true},
		},
	}
}

// guard is one of VM n; the revision shows in what it covers.
func guard(n, revision int) access.Guard {
	return access.Guard{
		VM: vm(n), Revision: revision, Wanted: true, Restore: true, Ports: portRanges(uint16(revision)),
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Former: covers(uint16(100 * revision)),
		Removed: []nsg.Rule{foreignRule("a")}, Flush: true, FlushSet: true,
	}
}

func document(scope armid.ID, port int) policy.Document {
	return parsed(fmt.Sprintf("# kept as written\napiVersion: jitgate/v1\nscope: %s\n", scope) + allowing(port))
}

func allowing(port int) string {
	return fmt.Sprintf(`ports:
  - {port: %d, protocol: TCP}
sources:
  - range: 203.0.113.0/24
    widest: 32
maxDuration: PT1H
`, port)
}

func parsed(text string) policy.Document {
	d, err := policy.Parse([]byte(text))
	if err != nil {
		panic(err)
	}
	return d
}

// signature n is alice's with bob's consent, n minutes after noon.
func signature(n int) access.Signature {
	return access.Signature{By: alice, Approver: bob, At: noon.Add(time.Duration(n) * time.Minute)}
}
