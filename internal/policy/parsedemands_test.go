package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/armid"
)

func TestParseEverything(t *testing.T) {
	want := demoDocument()
	want.Text = full
	want.Tags = map[string]string{"Env": "prod"}
	want.Ports, want.Sources = want.Ports[:1], want.Sources[:1]
	want.MaxDuration, want.DefaultDuration = Duration(4*time.Hour), Duration(30*time.Minute)
	want.Requesters = &Requesters{Principals: Principals{Roles: []string{"Jit.Oncall"}, Groups: []string{groupA}, Users: []string{alice}, Applications: []string{runner}}}
	want.Justification = &JustificationRule{Required: true, Pattern: "^(INC|CHG)-[0-9]+", Message: "Start with a ticket, INC-… or CHG-…."}
	want.Approval = &ApprovalRule{Approvers: &Principals{Groups: []string{groupB}}, Quorum: 2, Within: Duration(4 * time.Hour)}
	want.Windows = []Window{{"Europe/Berlin", []string{"mon", "tue", "wed", "thu", "fri"}, "07:00", "19:00"}}
	want.Maintenance = []Period{{instant(t, "2026-03-07T20:00:00Z"), instant(t, "2026-03-08T04:00:00Z")}}
	want.Conditions = []Condition{
		{`request.duration <= duration("1h") || "` + groupB + `" in requester.groups`, "More than an hour is for group B."},
		{`machine.tags["owner"] == requester.name`, "The machine is not yours."},
	}
	want.BreakGlass = &BreakGlassRule{Principals{Roles: []string{"Jit.BreakGlass"}}, Duration(48 * time.Hour)}
	want.FlushConnection = true
	if yaml := string(want.YAML()); !strings.Contains(yaml, `request.duration <= duration(\"1h\") ||`) {
		t.Errorf("expressions cannot be read in %s", yaml)
	}
	if diff := cmp.Diff(want, parse(t, full), exactly); diff != "" {
		t.Error(diff)
	}
}

// TestUsualValuesMayBeWritten: what says nothing new leaves the digest as it was,
// also that of documents from before there was more to say.
func TestUsualValuesMayBeWritten(t *testing.T) {
	const digest = "47248f69631e0582152b9ac18daa3a64b264d4b1d8e36f8f14e1675bd35d27bc"
	if got := parse(t, demo).Digest(); got != digest {
		t.Errorf("the digest of today's documents became %s", got)
	}
	for _, more := range []string{"enforced: false\n", "flushConnection: false\n", "interfaces: primary\n", "reach: public\n"} {
		if got := parse(t, demo+more).Digest(); got != digest {
			t.Errorf("%q makes another document", more)
		}
	}
	for a, b := range map[string]string{
		"approval: {}\n": "approval: {quorum: 1, within: PT4H}\n",
		"breakGlass: {requesters: {users: [" + alice + "]}}\n":                       "breakGlass: {reviewWithin: P2D, requesters: {users: [" + strings.ToUpper(alice) + "]}}\n",
		"windows: [{zone: UTC, from: \"07:00\", to: \"08:00\"}]\n":                   "windows: [{zone: UTC, days: [sun, mon, tue, thu, wed, fri, sat], from: 07:00, to: 08:00}]\n",
		"maintenance: [{from: 2026-03-07T20:00:00Z, to: 2026-03-08T04:00:00Z}]\n":    "maintenance: [{from: '2026-03-07T21:00:00+01:00', to: 2026-03-08T05:00:00+01:00}]\n",
		"justification: {required: true, pattern: ^x}\n":                             "justification: {pattern: '^x', required: true}\n",
		"conditions: [{expression: \"1 == 1 &&\\n2 == 2\", message: Never mind.}]\n": "conditions:\n  - expression: |\n      1 == 1 &&\n      2 == 2\n    message: Never mind.\n",
		"tags: {env: prod}\n": "tags: {Env: prod}\n",
	} {
		if parse(t, demo+a).Digest() != parse(t, demo+b).Digest() || parse(t, demo+a).Digest() == digest {
			t.Errorf("%q and %q are different documents, or make no difference", a, b)
		}
	}
}

func TestAnySource(t *testing.T) {
	d := parse(t, strings.Replace(demo, "  - range: 198.51.100.7", "  - {any: true}", 1))
	for _, source := range []string{"0.0.0.0/0", "::/0", "192.0.2.0/24", "2001:db8:1::1/128"} {
		a := demoAsk()
		if err := a.Source.UnmarshalText([]byte(source)); err != nil {
			t.Fatal(err)
		}
		if got := refusals(d, a); len(got) > 0 {
			t.Errorf("%s: %v", source, got)
		}
		if got := refusals(demoDocument(), a); len(got) == 0 && source != "2001:db8:1::1/128" {
			t.Errorf("%s passes without the word", source)
		}
	}
}

func TestGuardrailsMaySayLittle(t *testing.T) {
	g := parse(t, "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\njustification: {required: true}\n")
	if !g.Scope.Equal(Tenant) || g.MaxDuration != 0 || g.Ports != nil {
		t.Errorf("%+v", g)
	}
	q := Question{Ask: Ask{VM: armid.MustParse(machine), Duration: MaxDuration}, Justification: "x"}
	if got := New(g, 1).unmet(q); len(got) > 0 {
		t.Errorf("it speaks of what it left out: %v", got)
	}
}

func TestFaultsOfDemands(t *testing.T) {
	guid := alice
	for _, c := range []struct {
		add  string // from line 15 on
		want []string
	}{
		{"tags: {}", []string{"15:7 tags: tags has 0 entries"}},
		{"tags: [a]", []string{"15:7 tags: tags must be keys and values"}},
		{"tags: {a: 1}", []string{"15:11 tags.a: tags.a must be text, not the number 1."}},
		{"tags: {a: x, A: y}", []string{"15:14 tags.A: Tag A is given twice; the case of its letters does not count."}},
		{"tags: {a/b: x}", []string{`15:8 tags.a/b: "a/b" cannot be the name of a tag`}},
		{"tags: {1: x}", []string{"15:8 tags: A key is a plain word; put others in quotes."}},
		{"tags: {a: ''}", []string{"15:11 tags.a: tags.a is empty"}},
		{"enforced: yes", []string{"15:11 enforced: enforced must be true or false, not text."}},
		{"enforced: true\nreach: any\ndefaultDuration: PT1H", []string{"16:8 reach: reach counts for nothing in a guardrail", "17:18 defaultDuration: defaultDuration counts for nothing"}},
		{"defaultDuration: PT4H", []string{"15:18 defaultDuration: defaultDuration is 4h (PT4H), longer than maxDuration with 3h (PT3H)."}},
		{"defaultDuration: PT1M", []string{"15:18 defaultDuration: defaultDuration is 1m (PT1M); it must lie between"}},
		{"flushConnection: 1", []string{"15:18 flushConnection: flushConnection must be true or false, not the number 1."}},

		{"requesters: {}", []string{"15:13 requesters: requesters names nobody; list tenants, roles, groups, users, applications, or leave it out."}},
		{"requesters: {roles: []}", []string{"15:21 requesters.roles: requesters.roles is empty; leave it out or fill it."}},
		{"requesters: {roles: [a b, '']}", []string{`15:22 requesters.roles[0]: "a b" cannot be the value of an app role`, `15:27 requesters.roles[1]: "" cannot be`}},
		{"requesters: {users: [alice@contoso.com]}", []string{`15:22 requesters.users[0]: "alice@contoso.com" is no object id`}},
		{"requesters: {users: ['{" + guid + "}', 'urn:uuid:" + guid + "', " + strings.ReplaceAll(guid, "-", "") + "]}", []string{`15:22 requesters.users[0]: "{` + guid, `15:64 requesters.users[1]: "urn:uuid:`, `15:113 requesters.users[2]: "cccccccc0000`}},
		{"requesters: {tenants: [contoso.com]}", []string{`15:24 requesters.tenants[0]: "contoso.com" is no tenant id; write the GUID that Entra ID shows, or home for the installation's own.`}},
		{"requesters: {tenants: [home, home]}", []string{"15:30 requesters.tenants[1]: home is listed twice"}},
		{"approval: {approvers: {tenants: [home]}}", []string{`15:24 approval.approvers.tenants: "tenants" is not known here`}},
		{"breakGlass: {requesters: {tenants: [home]}}", []string{`15:27 breakGlass.requesters.tenants: "tenants" is not known here`}},
		{"requesters: {groups: [00000000-0000-0000-0000-000000000000]}", []string{`15:23 requesters.groups[0]: "00000000-0000-0000-0000-000000000000" is no object id`}},
		{"requesters: {users: [" + guid + ", " + strings.ToUpper(guid) + "]}", []string{"15:60 requesters.users[1]: " + guid + " is listed twice"}},
		{"requesters: {people: [a]}", []string{`15:14 requesters.people: "people" is not known here`}},

		{"justification: {}", []string{"15:16 justification: justification asks for nothing"}},
		{"justification: {required: false, message: x}", []string{"15:16 justification: justification asks for nothing"}},
		{"justification: {pattern: '(INC'}", []string{"15:26 justification.pattern: pattern is no RE2 expression: missing closing )."}},
		{"justification: {pattern: '(?=x)'}", []string{"15:26 justification.pattern: pattern is no RE2 expression: invalid or unsupported Perl syntax."}},
		{"justification: {required: true, message: \"a\\nb\"}", []string{"15:42 justification.message: justification.message holds characters that cannot be shown"}},

		{"approval: true", []string{"15:11 approval: approval must be keys and values, not true."}},
		{"approval: {quorum: 0}", []string{"15:20 approval.quorum: quorum is 0; it must lie between 1 and 10."}},
		{"approval: {within: PT1M}", []string{"15:20 approval.within: within is 1m (PT1M); it must lie between 5m (PT5M) and 720h (PT720H)."}},
		{"extensions: -1", []string{"15:13 extensions: extensions is -1; it must lie between 0 and 20."}},
		{"extensions: 21", []string{"15:13 extensions: extensions is 21; it must lie between 0 and 20."}},
		{"extensions: many", []string{"15:13 extensions"}},
		{"breakGlass: {}", []string{"15:13 breakGlass.requesters: requesters is missing."}},
		{"breakGlass: {requesters: {roles: [x]}, reviewWithin: P1Y}", []string{`15:54 breakGlass.reviewWithin: reviewWithin is not usable: "P1Y" has years`}},

		{"windows: []", []string{"15:10 windows: windows is empty; leave it out or fill it."}},
		{"windows: [{}]", []string{"15:11 windows[0].zone: zone is missing.", "15:11 windows[0].from: from is missing.", "15:11 windows[0].to: to is missing."}},
		{"windows: [{zone: Berlin, from: 7:00, to: '24:00'}]", []string{`15:18 windows[0].zone: "Berlin" is no IANA time zone`, `15:32 windows[0].from: "7:00" is no time of day`, `15:42 windows[0].to: "24:00" is no time of day`}},
		{"windows: [{zone: Local, from: '07:00', to: '08:00'}]", []string{`15:18 windows[0].zone: "Local" is no IANA time zone`}},
		{"windows: [{zone: ../UTC, from: '07:00', to: '08:00'}]", []string{`15:18 windows[0].zone: "../UTC" is no IANA time zone`}},
		{"windows: [{zone: UTC, days: [Mon, tue, tue], from: '07:00', to: '08:00'}]", []string{`15:30 windows[0].days[0]: Day "Mon" is not known; write mon, tue`, "15:40 windows[0].days[2]: tue is listed twice"}},
		{"maintenance: [{from: 2026-03-08T04:00:00Z, to: 2026-03-08T04:00:00Z}]", []string{"15:48 maintenance[0].to: to is not after from."}},
		{"maintenance: [{from: 0001-01-01T00:00:00+14:00, to: 9999-12-31T23:59:59-14:00}]", []string{`15:22 maintenance[0].from: "0001-01-01T00:00:00+14:00" is no instant`, `15:53 maintenance[0].to: "9999-12-31T23:59:59-14:00" is no instant`}},
		{"maintenance: [{from: 0000-06-01T00:00:00Z, to: 9999-12-31T23:59:59Z}]", []string{`15:22 maintenance[0].from: "0000-06-01T00:00:00Z" is no instant`}},
		{"maintenance: [{from: 2026-03-08, to: tomorrow}]", []string{`15:22 maintenance[0].from: "2026-03-08" is no instant`, `15:38 maintenance[0].to: "tomorrow" is no instant`}},

		{"conditions: [{expression: 'true'}]", []string{"15:14 conditions[0].message: message is missing."}},
		{"conditions: [{expression: true, message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression must be text, not true."}},
		{"conditions: [{expression: '1', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 1: it gives int; a condition gives bool."}},
		{"conditions: [{expression: 'dyn(1)', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 1: it gives dyn"}},
		{"conditions: [{expression: 'request.durations == time', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 8: undeclared reference to 'request.durations' (did you mean 'request.duration'?). Conditions can speak of request.ports, request.source,"}},
		{"conditions: [{expression: 'machine.name == 1 || requester.application == machine.tags', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 14: found no matching overload", "15:27 conditions[0].expression: conditions[0].expression is not usable, at character 44: found no matching overload"}},
		{"conditions: [{expression: 'machine.name ==', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 16: Syntax error"}},
		{"conditions: [{expression: 'request.duration < duration(\"1 hour\")', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character"}},
		{"conditions: [{expression: 'requester.groups.all(a, requester.groups.all(b, a == b))', message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable, at character 1: it can take more work than the 20000 steps"}},
		{"conditions: [{expression: \"" + strings.Repeat(" ", 2000) + "true\", message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression has 2004 bytes; at most 2000 are read."}},
		{"conditions: [{expression: \"" + strings.Repeat("(", 1000) + "\", message: x}]", []string{"15:27 conditions[0].expression: conditions[0].expression is not usable"}},

		{"approval: {quorum: 0}\nwindows: [{zone: x, from: a, to: b}]\nconditions: [{expression: x, message: ''}]", []string{
			"15:20 approval.quorum", "16:18 windows[0].zone", "16:27 windows[0].from", "16:34 windows[0].to", "17:27 conditions[0].expression", "17:39 conditions[0].message",
		}},
	} {
		t.Run(printable(c.add, 60), func(t *testing.T) { checkFaults(t, demo+c.add+"\n", c.want) })
	}
}

func TestFaultsOfGuardrailsAndSources(t *testing.T) {
	const head = "apiVersion: jitgate/v1\nscope: tenant\n"
	for text, want := range map[string][]string{
		head:                      {"1:1 ports: ports is missing.", "1:1 sources: sources is missing."},
		head + "enforced: true\n": {"1:1 : The guardrail demands nothing"},
		head + "enforced: true\nbreakGlass: {requesters: {roles: [x]}}":                    {"1:1 : The guardrail demands nothing"},
		head + "enforced: true\nsources: [{any: false}]":                                   {"4:17 sources[0].any: any is true or not there at all"},
		head + "enforced: true\nsources: [{any: true, widest: 24}]":                        {"4:31 sources[0].widest: widest says less than any"},
		head + "enforced: true\nsources: [{any: true}, {range: '::/0', widest: 64}]":       {"4:32 sources[1].range: Range ::/0 is listed twice"},
		strings.Replace(head, "tenant", "''", 1) + "enforced: true\nmaxDuration: PT1H":     {"2:8 scope: scope is no ARM id"},
		strings.Replace(head, "tenant", "Tenant", 1) + "enforced: true\nmaxDuration: PT1H": {"2:8 scope: scope is no ARM id"},
	} {
		t.Run(printable(text, 60), func(t *testing.T) { checkFaults(t, text, want) })
	}
}
