package tables

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// What is in customers' tables today must be readable tomorrow. If this test fails,
// the stored form has changed: readers must go on accepting the old one.
func TestStoredForm(t *testing.T) {
	r := sample(1)
	r.Justification, r.Events = "ticket", 2
	target := &r.Targets[0]
	target.State, target.Ending, target.Policy = access.Closing, access.Expired, "scope version 3"
	target.Reason, target.Warning = access.Reason{Code: access.NSGFull, Sentence: "Full."}, access.Reason{Code: access.NSGFull, Sentence: "Nearly."}
	target.Ways = []access.Interface{{ID: nicID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, NSGs: []armid.ID{nsgID}, Public: true,
		Network: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ASGs: []string{"asg"}}}
	target.ExpiresAt, target.OpenedAt, target.EndedAt = noon.Add(time.Hour), noon, noon.Add(1)
	target.Openings = []access.Opening{{NSG: nsgID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Open: true, Closed: true, Stuck: true,
		Rules: []access.PlannedRule{{Name: "rule", Protocol: nsg.TCP, Ports: []uint16{22}}}}}
	c, err := requestColumns(&r)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"CreatedAt":"2026-03-01T12:01:00Z","Requester":"alice@example.com","State":"Closing","Body":
		{"id":"00000000-0000-7000-8000-000000000001","requester":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},
		"source":"203.0.113.7/32","durationNanoseconds":3600000000000,"justification":"ticket","createdAt":"2026-03-01T12:01:00Z","fingerprint":"f00d",
		"targets":[{"vm":"`+vmID.String()+`","ports":[{"port":22,"protocol":"TCP"}],"state":"Closing","ending":"Expired",
			"reasonCode":"nsg_full","reasonSentence":"Full.","warning":{"code":"nsg_full","sentence":"Nearly."},"policy":"scope version 3",
			"expiresAt":"2026-03-01T13:00:00Z","openedAt":"2026-03-01T12:00:00Z","endedAt":"2026-03-01T12:00:00.000000001Z",
			"ways":[{"id":"`+nicID.String()+`","addresses":["10.0.0.4"],"nsgs":["`+nsgID.String()+`"],"public":true,"firewall":false,"network":["10.0.0.0/8"],"asgs":["asg"]}],
			"openings":[{"nsg":"`+nsgID.String()+`","addresses":["10.0.0.4"],"rules":[{"name":"rule","protocol":"Tcp","ports":[22]}],"open":true,"closed":true,"stuck":true}]}],
		"events":2}}`)

	c, err = eventColumns(audit.Event{Sequence: 2, At: noon, Kind: audit.RuleCreated, Actor: "o", Name: "n", VM: "v", NSG: "g", Rule: "r", Policy: "p", Text: "t"})
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"At":"2026-03-01T12:00:00Z","Kind":"rule.created","Body":
		{"sequence":2,"at":"2026-03-01T12:00:00Z","kind":"rule.created","actor":"o","name":"n","vm":"v","nsg":"g","rule":"r","policy":"p","text":"t"}}`)

	g := sampleGrant(1)
	g.WakeUp, g.Opened, g.Closing = 7, true, true
	if c, err = grantColumns(g); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Closing":true,"Opened":true,"WakeUp":"7","ExpiresAt":"2026-03-01T13:00:00Z","Request":"00000000-0000-7000-8000-000000000001","Body":
		{"request":"00000000-0000-7000-8000-000000000001","target":1,"rule":"jitgate-00000000-0000-7000-8000-000000000001-0","requester":"alice@example.com",
		"source":"203.0.113.7/32","addresses":["10.0.0.4"],"protocol":"Tcp","ports":[22],"expiresAt":"2026-03-01T13:00:00Z"}}`)

	wantColumns(t, headColumns(access.Head{NSG: nsgID, Generation: 3, Enforced: 2, NextDue: noon}),
		`{"NSG":"`+nsgID.String()+`","Generation":"3","Enforced":"2","NextDue":"2026-03-01T12:00:00Z","ChangedAt":""}`)
}

// The fields that came with approvals, extensions, notices and workflows.
func TestStoredFormOfDecisions(t *testing.T) {
	standing := access.Standing{Roles: []string{"r"}, Groups: []string{"g"}, GroupsIncomplete: true, Application: true, Guest: true}
	wantStanding := `{"roles":["r"],"groups":["g"],"groupsIncomplete":true,"application":true,"guest":true}`
	wantPerson := `{"tenant":"t-1","object":"o-1","name":"alice@example.com"}`
	r := sample(1)
	r.Standing, r.BreakGlass, r.DecideBy, r.Extensions = standing, true, noon.Add(time.Hour), 2
	r.Votes = []access.Vote{{By: access.Actor{Person: person, Standing: standing}, Via: person, Agrees: true, Comment: "yes", At: noon}, {}}
	r.Review = &access.Review{DueAt: noon, Overdue: true, By: person, Comment: "fine", ClosedAt: noon.Add(1)}
	r.Callbacks = []access.Callback{{ID: "c", Sealed: "s", Events: access.Results, At: noon, Done: true}}
	r.Told = map[string]int{"teams": 3, "mail": 1}
	target := &r.Targets[0]
	target.State, target.Reminded, target.Tags = access.AwaitingApproval, true, map[string]string{"env": "prod"}
	target.Unmet = access.Refusals{{Code: access.LockedDown, Field: "f", Sentence: "No.", Policy: "p", Passes: "w"}, {Code: access.NoApprover, Sentence: "None."}}
	target.Approval = &policy.Approval{Approvers: []policy.Principals{{Roles: []string{"r"}, Groups: []string{"g"}, Users: []string{"u"}, Applications: []string{"a"}}, {}},
		Quorum: 2, Within: time.Hour, Policies: []string{"p"}}
	target.Openings = []access.Opening{{NSG: nsgID, Open: true, Until: noon}}
	c, err := requestColumns(&r)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"CreatedAt":"2026-03-01T12:01:00Z","Requester":"alice@example.com","State":"AwaitingApproval","Told":"{\"mail\":1,\"teams\":3}","Body":
		{"id":"00000000-0000-7000-8000-000000000001","requester":`+wantPerson+`,"standing":`+wantStanding+`,
		"source":"203.0.113.7/32","durationNanoseconds":3600000000000,"justification":"","createdAt":"2026-03-01T12:01:00Z","fingerprint":"f00d",
		"targets":[{"vm":"`+vmID.String()+`","ports":[{"port":22,"protocol":"TCP"}],"state":"AwaitingApproval","reminded":true,"tags":{"env":"prod"},
			"unmet":[{"code":"locked_down","field":"f","sentence":"No.","policy":"p","passes":"w"},{"code":"no_approver","sentence":"None."}],
			"approval":{"approvers":[{"roles":["r"],"groups":["g"],"users":["u"],"applications":["a"]},{}],"quorum":2,"withinNanoseconds":3600000000000,"policies":["p"]},
			"openings":[{"nsg":"`+nsgID.String()+`","addresses":null,"rules":null,"open":true,"until":"2026-03-01T12:00:00Z","closed":false,"stuck":false}]}],
		"breakGlass":true,"decideBy":"2026-03-01T13:00:00Z","extensions":2,
		"votes":[{"by":`+wantPerson+`,"standing":`+wantStanding+`,"via":`+wantPerson+`,"agrees":true,"comment":"yes","at":"2026-03-01T12:00:00Z"},
			{"by":{"tenant":"","object":"","name":""},"agrees":false,"at":"0001-01-01T00:00:00Z"}],
		"review":{"dueAt":"2026-03-01T12:00:00Z","overdue":true,"by":`+wantPerson+`,"comment":"fine","closedAt":"2026-03-01T12:00:00.000000001Z"},
		"callbacks":[{"id":"c","sealed":"s","events":["granted","denied","expired"],"at":"2026-03-01T12:00:00Z","done":true}],
		"events":1}}`)
}

// A request from before these fields reads as one that has none of it.
func TestOlderRequest(t *testing.T) {
	c := columns{}
	if err := c.setText("Body", `{"id":"00000000-0000-7000-8000-000000000001","requester":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},
		"source":"203.0.113.7/32","durationNanoseconds":3600000000000,"justification":"","createdAt":"2026-03-01T12:01:00Z","fingerprint":"f00d",
		"targets":[{"vm":"`+vmID.String()+`","ports":[{"port":22,"protocol":"TCP"}],"state":"Active",
			"openings":[{"nsg":"`+nsgID.String()+`","addresses":["10.0.0.4"],"rules":[{"name":"rule","protocol":"Tcp","ports":[22]}],"open":true,"closed":false,"stuck":false}]}],
		"events":1}`); err != nil {
		t.Fatal(err)
	}
	want := sample(1)
	want.Targets[0].State = access.Active
	want.Targets[0].Openings = []access.Opening{{NSG: nsgID, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Open: true,
		Rules: []access.PlannedRule{{Name: "rule", Protocol: nsg.TCP, Ports: []uint16{22}}}}}
	got, err := readRequest(c)
	wantSame(t, want, got, err)
}

func TestStoredFormOfLedger(t *testing.T) {
	ports := []policy.Port{{Number: 22, Protocol: policy.TCP}}
	wantPorts := `[{"port":22,"protocol":"TCP"}]`
	l := access.Ledger{
		Lockdowns: []access.Lockdown{
			{ID: "l", User: "u", Scope: policy.ScopeOf(vmID), Until: noon, Alert: "a", By: person, Reason: "why", At: noon},
			{ID: "m", Scope: policy.Tenant, At: noon},
		},
		PreApprovals: []access.PreApproval{{Alert: "a", Rule: "r", Group: "g", Machines: []armid.ID{vmID}, Ports: ports, Until: noon}},
		Told:         map[string]int{"teams": 3}, Events: 4,
	}
	c, err := ledgerColumns(&l)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Told":"{\"teams\":3}","Body":{"lockdowns":[
		{"id":"l","user":"u","scope":"`+vmID.String()+`","until":"2026-03-01T12:00:00Z","alert":"a","by":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},"reason":"why","at":"2026-03-01T12:00:00Z"},
		{"id":"m","scope":"tenant","by":{"tenant":"","object":"","name":""},"at":"2026-03-01T12:00:00Z"}],
		"preApprovals":[{"alert":"a","rule":"r","group":"g","machines":["`+vmID.String()+`"],"ports":`+wantPorts+`,"until":"2026-03-01T12:00:00Z"}],"events":4}}`)

	c, err = habitsColumns(&access.Habits{Denials: []time.Time{noon}, Sources: []access.Sighting{{Source: netip.MustParsePrefix("10.0.0.0/8"), Last: noon}},
		Approved: []access.Approving{{Request: "r", At: noon}}, Warned: map[string]time.Time{"k": noon}})
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Body":{"denials":["2026-03-01T12:00:00Z"],"sources":[{"source":"10.0.0.0/8","last":"2026-03-01T12:00:00Z"}],
		"approved":[{"request":"r","at":"2026-03-01T12:00:00Z"}],"warned":{"k":"2026-03-01T12:00:00Z"}}}`)

	c, err = signalColumns(access.Signal{Key: "k", End: "e", Alert: "a", Rule: "r", Rules: "v", By: person, ReceivedAt: noon, Done: true, Action: alert.Action{
		Rule: "r", Machines: []armid.ID{vmID}, Revoke: true, Unlock: true, Lockdown: &alert.Lock{For: time.Hour, Until: noon, UntilResolved: true},
		PreApproval: &alert.PreApproval{Group: "g", For: time.Hour, Ports: ports}}})
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Alert":"a","Done":true,"ReceivedAt":"2026-03-01T12:00:00Z","Body":{"key":"k","end":"e","alert":"a","rule":"r","rules":"v","by":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},"receivedAt":"2026-03-01T12:00:00Z",
		"action":{"rule":"r","machines":["`+vmID.String()+`"],"revoke":true,"unlock":true,
			"lockdown":{"forNanoseconds":3600000000000,"until":"2026-03-01T12:00:00Z","untilResolved":true},
			"preApproval":{"group":"g","forNanoseconds":3600000000000,"ports":`+wantPorts+`}}}}`)
}

func TestStoredFormOfPolicies(t *testing.T) {
	doc := samplePolicy(22)
	wantSigned := `"ByTenant":"t-1","ByObject":"o-1","ByName":"alice@example.com","ApproverTenant":"t-1","ApproverObject":"o-2","ApproverName":"bob@example.com","At":"2026-03-01T12:00:00Z"`
	c, err := policyColumns(policy.New(doc, 3), signed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(doc.Text)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Scope":"`+vmID.String()+`","Version":"3","Hash":"`+doc.Digest()+`",`+wantSigned+`,"Text":`+string(text)+`}`)
	if c, err = rulesColumns("rules", 3, signed); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"Version":"3","Hash":"6c621d1a05138a7888d37d9269a9da8e2e11e4aced2f6cfd24b05ab1b9e61bb0",`+wantSigned+`,"Text":"rules"}`)
	if c, err = proposalColumns(access.Proposal{ID: "i", Key: "k", Scope: policy.ScopeOf(vmID), Text: "rules", Remove: true, By: person, At: noon}); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"ID":"i","Key":"k","Scope":"`+vmID.String()+`","Remove":true,"ByTenant":"t-1","ByObject":"o-1","ByName":"alice@example.com","At":"2026-03-01T12:00:00Z","Text":"rules"}`)
}

func TestStoredFormOfProtection(t *testing.T) {
	removed := nsg.Rule{Name: "open", Description: "d", Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP, Priority: 300,
		Sources: []string{"*"}, SourcePorts: []string{"1"}, SourceASGs: []string{"s"},
		Destinations: []string{"10.0.0.4"}, DestinationPorts: []string{"22"}, DestinationASGs: []string{"d"}, Verbatim: []byte(`{ "a":1}`)}
	wantRule := `{"name":"open","description":"d","direction":"Inbound","access":"Allow","protocol":"Tcp","priority":300,"sources":["*"],"sourcePorts":["1"],"sourceASGs":["s"],
		"destinations":["10.0.0.4"],"destinationPorts":["22"],"destinationASGs":["d"],"verbatim":"{ \"a\":1}"}`
	ports := []nsg.PortRange{{Protocol: nsg.UDP, First: 53, Last: 54}}
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.4")}
	wantPorts, wantAddresses := `[{"protocol":"Udp","first":53,"last":54}]`, `["10.0.0.4"]`

	g := access.Guard{VM: vmID, Revision: 3, Restore: true, Ports: ports, Addresses: addresses,
		Former: []nsg.Cover{{Ports: ports, Addresses: addresses}}, Removed: []nsg.Rule{removed}, FlushSet: true, Done: true}
	c, err := guardColumns(g)
	if err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"VM":"`+vmID.String()+`","Revision":"3","Done":true,"LetGo":false,"Body":
		{"vm":"`+vmID.String()+`","wanted":false,"restore":true,"ports":`+wantPorts+`,"addresses":`+wantAddresses+`,
		"former":[{"ports":`+wantPorts+`,"addresses":`+wantAddresses+`}],"removed":[`+wantRule+`],"flush":false,"flushSet":true}}`)

	p := access.Protection{VM: vmID, Wanted: true, Ports: ports, AllInterfaces: true, By: person, ChangedAt: noon, Revision: 3,
		Reason: access.Reason{Code: access.VMNotFound, Sentence: "Gone."}, Events: 2,
		Parts: []access.Part{{NSG: nsgID, Addresses: addresses, Interfaces: []string{nicID.String()}, Former: g.Former, Removed: g.Removed, SetAside: []string{"open"}, FlushSet: true, Done: true,
			Problem: access.Reason{Code: access.NSGFull, Sentence: "Full."}}}}
	if c, err = protectionColumns(&p); err != nil {
		t.Fatal(err)
	}
	wantColumns(t, c, `{"VM":"`+vmID.String()+`","State":"Blocked","ChangedAt":"2026-03-01T12:00:00Z","Body":
		{"vm":"`+vmID.String()+`","wanted":true,"ports":`+wantPorts+`,"allInterfaces":true,"flush":false,
		"by":{"tenant":"t-1","object":"o-1","name":"alice@example.com"},"changedAt":"2026-03-01T12:00:00Z","revision":3,
		"parts":[{"nsg":"`+nsgID.String()+`","addresses":`+wantAddresses+`,"interfaces":["`+nicID.String()+`"],"former":[{"ports":`+wantPorts+`,"addresses":`+wantAddresses+`}],
			"removed":[`+wantRule+`],"setAside":["open"],"flushSet":true,"done":true,"problem":{"code":"nsg_full","sentence":"Full."}}],
		"reason":{"code":"vm_not_found","sentence":"Gone."},"events":2}}`)
}

func wantColumns(t *testing.T, c columns, want string) {
	t.Helper()
	got := map[string]any{}
	for k, v := range c {
		got[k] = v
	}
	if text := c.text("Body"); text != "" {
		got["Body"] = json.RawMessage(text)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("stored form (-want +got):\n%s", d)
	}
}
