package machines

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

const inGroup = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/"

var (
	web01  = armid.MustParse(inGroup + "Microsoft.Compute/virtualMachines/web01")
	nic    = armid.MustParse(inGroup + "Microsoft.Network/networkInterfaces/web01-nic")
	edge   = armid.MustParse(inGroup + "Microsoft.Network/networkSecurityGroups/nsg-edge")
	ssh    = nsg.PortRange{Protocol: nsg.TCP, First: 22, Last: 22}
	winrm  = nsg.PortRange{Protocol: nsg.TCP, First: 5985, Last: 5986}
	open   = nsg.Rule{Name: "allow-ssh", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: "tcp", Priority: 300, Sources: []string{"*"}, Destinations: []string{"*"}, DestinationPorts: []string{"22"}}
	closed = nsg.Rule{Name: "jitgate-deny-0123456789ab", Direction: nsg.Inbound, Access: nsg.Deny, Protocol: nsg.TCP, Priority: 1000,
		Sources: []string{"*"}, Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22", "5985-5986"}}
)

// same compares a value with JSON text, by meaning. JSON is what callers see: a
// null where a list belongs would not show in a comparison of Go values.
func same(t *testing.T, got any, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v in %s", err, want)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAMachineThatNeverWasProtected(t *testing.T) {
	same(t, encodeProtection(access.Protection{VM: web01}), `{"vm":"`+web01.String()+`","state":"Unprotected"}`)
}

func TestProtection(t *testing.T) {
	p := access.Protection{
		VM: web01, Wanted: true, Ports: []nsg.PortRange{ssh, winrm, {Protocol: nsg.AnyProtocol, First: 53, Last: 53}}, AllInterfaces: true, Flush: true,
		By: access.Person{Tenant: "t", Object: "o", Name: "carol@example.org"}, ChangedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Revision: 7,
		Parts: []access.Part{
			{NSG: edge, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Removed: []nsg.Rule{open}, FlushSet: true, Done: true},
			{NSG: edge, Problem: access.Reason{Code: access.PriorityTaken, Sentence: "Priority 300 is taken."}},
		},
		Reason: access.Reason{Code: access.VMGone, Sentence: "The VM is gone."},
	}
	same(t, encodeProtection(p), `{"vm":"`+web01.String()+`","state":"Blocked","allInterfaces":true,"flushConnection":true,
		"ports":[{"ports":"22","protocol":"TCP"},{"ports":"5985-5986","protocol":"TCP"},{"ports":"53","protocol":"*"}],
		"by":{"object":"o","name":"carol@example.org"},"changedAt":"2026-03-01T09:00:00Z",
		"nsgs":[{"nsg":"`+edge.String()+`","addresses":["10.0.0.4"],"removed":[{"name":"allow-ssh","priority":300}],"done":true},
		        {"nsg":"`+edge.String()+`","done":false,"problem":{"code":"priority_taken","text":"Priority 300 is taken."}}],
		"reason":{"code":"vm_gone","text":"The VM is gone."}}`)
}

// TestRuleChanges: what each rule's action is, and that what goes stands before what
// takes its priority.
func TestRuleChanges(t *testing.T) {
	rule := func(name string, priority int) nsg.Rule {
		return nsg.Rule{Name: name, Priority: priority, Access: nsg.Deny, Protocol: nsg.TCP}
	}
	n := access.NSGForecast{
		NSG:    edge,
		Before: nsg.Group{Rules: []nsg.Rule{rule("keeps", 200), rule("moves", 1001), rule("grows", 1002), rule("goes", 300), rule("silent", 150), rule("again", 310)}},
		Plan: nsg.Plan{
			Put:    []nsg.Rule{rule("moves", 1005), rule("grows", 1002), rule("new", 300), rule("again", 311)},
			Delete: []string{"goes", "again", "was-never-there"},
		},
		Kept: []nsg.Rule{rule("keeps", 200)},
	}
	var got []string
	for _, r := range encodeNSG(n).Rules {
		got = append(got, fmt.Sprintf("%d %s %s", r.Priority, r.Action, r.Name))
	}
	want := []string{"200 keep keeps", "300 remove goes", "300 add new", "311 change again", "1002 change grows", "1005 change moves"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestForecast(t *testing.T) {
	on := true
	f := access.Forecast{
		Protection: access.Protection{VM: web01, Wanted: true, Ports: []nsg.PortRange{ssh}, Parts: []access.Part{{NSG: edge, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}}}},
		NSGs: []access.NSGForecast{{NSG: edge, Before: nsg.Group{Rules: []nsg.Rule{open}},
			Plan: nsg.Plan{Put: []nsg.Rule{closed}, Delete: []string{"allow-ssh"}, Flush: &on},
			Kept: []nsg.Rule{{Name: "from-asg", Priority: 400, Access: "Allow", Protocol: nsg.AnyProtocol, SourceASGs: []string{"/asg/a"}, Sources: []string{"10.1.0.0/16"},
				Destinations: []string{"VirtualNetwork"}, DestinationASGs: []string{"/asg/b"}, DestinationPorts: []string{"*"}}}}},
		Verdicts: []access.VerdictChange{{Interface: nic, Address: netip.MustParseAddr("10.0.0.4"), Ports: ssh, From: "internet",
			Before: nsg.Exposure{Reach: nsg.Open, Allowed: []netip.Prefix{netip.MustParsePrefix("1.0.0.0/8")}, By: []nsg.Decider{{Group: edge.String(), Rule: open}}},
			After: nsg.Exposure{Reach: nsg.Unsure, By: []nsg.Decider{{Group: edge.String(), Rule: closed}},
				Depends: []nsg.Decider{{Group: edge.String(), Rule: nsg.Rule{Name: "from-tag", Priority: 500, Access: nsg.Allow}}}}}},
		Warnings: []access.Warning{{Code: policy.NoPolicyCode, Sentence: "No policy."}, {Code: access.TagUnknown, NSG: edge, Rule: "from-tag", Sentence: "A tag."}},
	}
	same(t, encodeForecast(f), `{"whatIf":false,"protection":{"vm":"`+web01.String()+`","state":"Protecting","ports":[{"ports":"22","protocol":"TCP"}],"nsgs":[{"nsg":"`+edge.String()+`","addresses":["10.0.0.4"],"done":false}]},
		"nsgs":[{"nsg":"`+edge.String()+`","flushConnection":true,"rules":[
			{"action":"remove","name":"allow-ssh","priority":300,"access":"Allow","protocol":"TCP","sources":["*"],"destinations":["*"],"ports":["22"]},
			{"action":"keep","name":"from-asg","priority":400,"access":"Allow","protocol":"*","sources":["10.1.0.0/16","/asg/a"],"destinations":["VirtualNetwork","/asg/b"],"ports":["*"]},
			{"action":"add","name":"jitgate-deny-0123456789ab","priority":1000,"access":"Deny","protocol":"TCP","sources":["*"],"destinations":["10.0.0.4"],"ports":["22","5985-5986"]}]}],
		"verdicts":[{"interface":"`+nic.String()+`","address":"10.0.0.4","ports":{"ports":"22","protocol":"TCP"},"from":"internet",
			"before":{"reach":"open","by":[{"nsg":"`+edge.String()+`","rule":"allow-ssh","priority":300,"access":"Allow"}]},
			"after":{"reach":"depends","by":[{"nsg":"`+edge.String()+`","rule":"jitgate-deny-0123456789ab","priority":1000,"access":"Deny"}],
			         "depends":[{"nsg":"`+edge.String()+`","rule":"from-tag","priority":500,"access":"Allow"}]}}],
		"warnings":[{"code":"no_policy","text":"No policy."},{"code":"tag_unknown","nsg":"`+edge.String()+`","rule":"from-tag","text":"A tag."}]}`)
}

// TestNothingChanges: lists that callers loop over are there, and empty.
func TestNothingChanges(t *testing.T) {
	same(t, encodeForecast(access.Forecast{Protection: access.Protection{VM: web01}, NSGs: []access.NSGForecast{{NSG: edge}}}),
		`{"whatIf":false,"protection":{"vm":"`+web01.String()+`","state":"Unprotected"},"nsgs":[{"nsg":"`+edge.String()+`","rules":[]}],"verdicts":[]}`)
	same(t, encodeReport(access.Report{}), `{"checkedAt":"0001-01-01T00:00:00Z","summary":{"machines":0,"closed":0,"open":0,"protected":0},"machines":[]}`)
}

// TestSourcesLetIn: they are told only when they are a part, and not all of hundreds.
func TestSourcesLetIn(t *testing.T) {
	var many []netip.Prefix
	for i := range 30 {
		many = append(many, netip.MustParsePrefix(fmt.Sprintf("203.0.%d.0/24", 2*i)))
	}
	for _, c := range []struct {
		reach   nsg.Reach
		allowed []netip.Prefix
		want    []string
	}{
		{nsg.Partly, many[:2], []string{"203.0.0.0/24", "203.0.2.0/24"}},
		{nsg.Open, many[:2], nil},
		{nsg.Shut, nil, nil},
		{nsg.Unsure, nil, nil},
	} {
		if diff := cmp.Diff(c.want, encodeExposure(nsg.Exposure{Reach: c.reach, Allowed: c.allowed}).Allowed); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.reach, diff)
		}
	}
	if got := encodeExposure(nsg.Exposure{Reach: nsg.Partly, Allowed: many}).Allowed; len(got) != 20 || got[19] != "203.0.38.0/24" {
		t.Errorf("of 30 sources: %v", got)
	}
}

func TestExplanation(t *testing.T) {
	e := access.Explanation{
		Question: access.Question{VM: web01, Source: netip.MustParseAddr("203.0.113.7"), Port: 22, Protocol: nsg.UDP},
		Verdict:  access.Depends,
		Ways: []access.Way{
			{Interface: nic, Address: netip.MustParseAddr("10.0.0.4"), Verdict: access.Stopped, NSGs: []access.NSGExplanation{{NSG: edge, Verdict: access.Stopped,
				Steps: []nsg.Step{{Rule: open, Matches: nsg.No, Why: "it is for TCP"}, {Rule: closed, Matches: nsg.Yes}}}}},
			{Interface: nic, Address: netip.MustParseAddr("2001:db8::4"), Verdict: access.Allowed},
		},
		Grants: []access.LiveGrant{{Request: "r", Rule: "jitgate-r-0", NSG: edge, ExpiresAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}},
		Remedy: "Ask for access.", Policy: "/subscriptions/x v3",
	}
	same(t, encodeExplanation(e), `{"vm":"`+web01.String()+`","source":"203.0.113.7","port":22,"protocol":"UDP","verdict":"depends","remedy":"Ask for access.","policy":"/subscriptions/x v3",
		"ways":[{"interface":"`+nic.String()+`","address":"10.0.0.4","verdict":"deny","nsgs":[{"nsg":"`+edge.String()+`","verdict":"deny","steps":[
			{"rule":"allow-ssh","priority":300,"access":"Allow","matches":"no","why":"it is for TCP"},
			{"rule":"jitgate-deny-0123456789ab","priority":1000,"access":"Deny","matches":"yes"}]}]},
			{"interface":"`+nic.String()+`","address":"2001:db8::4","verdict":"allow","nsgs":[]}],
		"grants":[{"request":"r","rule":"jitgate-r-0","nsg":"`+edge.String()+`","expiresAt":"2026-03-01T09:00:00Z"}],"blind":[]}`)
}

func TestReport(t *testing.T) {
	r := access.Report{CheckedAt: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), Machines: []access.MachineReport{
		{VM: web01, Closed: true, Protected: true, Protection: access.Protected, Ports: []access.PortReport{{Interface: nic, Address: netip.MustParseAddr("10.0.0.4"), Ports: winrm, Protected: true,
			Internet: nsg.Exposure{Reach: nsg.Shut}, Network: nsg.Exposure{Reach: nsg.Open}}}},
		{VM: web01, Closed: true, Protection: access.Unprotected},
		{VM: web01, Protection: access.Blocked, Findings: []access.Warning{{Code: access.ProtectionBlocked, NSG: edge, Sentence: "Blocked."}}},
	}}
	same(t, encodeReport(r), `{"checkedAt":"2026-03-01T09:00:00Z","summary":{"machines":3,"closed":2,"open":1,"protected":1},"machines":[
		{"vm":"`+web01.String()+`","closed":true,"protected":true,"state":"Protected","ports":[{"interface":"`+nic.String()+`","address":"10.0.0.4","ports":{"ports":"5985-5986","protocol":"TCP"},
			"internet":{"reach":"closed"},"network":{"reach":"open"},"protected":true}]},
		{"vm":"`+web01.String()+`","closed":true,"protected":false,"state":"Unprotected","ports":[]},
		{"vm":"`+web01.String()+`","closed":false,"protected":false,"state":"Blocked","ports":[],"findings":[{"code":"protection_blocked","nsg":"`+edge.String()+`","text":"Blocked."}]}]}`)
}

func TestProtectFormAsWritten(t *testing.T) {
	body := &api.NewProtection{Ports: []api.PortRange{{Ports: "22"}, {Ports: "53", Protocol: "udp"}, {Ports: "x", Protocol: "icmp"}}, FlushConnection: new(true)}
	want := access.ProtectForm{Ports: []access.FormRange{{Ports: "22"}, {Ports: "53", Protocol: "udp"}, {Ports: "x", Protocol: "icmp"}}, Flush: new(true)}
	if diff := cmp.Diff(want, decodeForm(body)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff(access.ProtectForm{}, decodeForm(nil)); diff != "" {
		t.Errorf("no body: -want +got\n%s", diff)
	}
}

// TestEveryProtectionStateIsKnown holds the list of states against what protections
// turn into.
func TestEveryProtectionStateIsKnown(t *testing.T) {
	for _, p := range []access.Protection{
		{}, {Wanted: true}, {Parts: []access.Part{{}}}, {Wanted: true, Parts: []access.Part{{}}},
		{Parts: []access.Part{{Problem: access.Reason{Code: access.NSGFull}}}},
	} {
		if s, err := readState(strings.ToLower(string(p.State()))); err != nil || s != p.State() {
			t.Errorf("%s is read as %q (%v)", p.State(), s, err)
		}
	}
}
