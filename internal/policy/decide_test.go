package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/armid"
)

func instant(t interface{ Fatal(...any) }, text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// full is a policy with one of everything.
const full = `apiVersion: jitgate/v1
scope: /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo
tags: {Env: prod}
ports: [{port: 22, protocol: TCP}]
sources: [{range: 203.0.113.0/24, widest: 32}]
maxDuration: PT4H
defaultDuration: PT30M
requesters: {roles: [Jit.Oncall], groups: [` + groupA + `], users: [` + alice + `], applications: [` + runner + `]}
justification: {required: true, pattern: '^(INC|CHG)-[0-9]+', message: "Start with a ticket, INC-… or CHG-…."}
approval: {approvers: {groups: [` + groupB + `]}, quorum: 2, within: PT4H}
windows: [{zone: Europe/Berlin, days: [mon, tue, wed, thu, fri], from: "07:00", to: "19:00"}]
maintenance: [{from: 2026-03-07T20:00:00Z, to: 2026-03-08T04:00:00Z}]
conditions:
  - {expression: 'request.duration <= duration("1h") || "` + groupB + `" in requester.groups', message: "More than an hour is for group B."}
  - {expression: 'machine.tags["owner"] == requester.name', message: "The machine is not yours."}
breakGlass: {requesters: {roles: [Jit.BreakGlass]}, reviewWithin: P2D}
flushConnection: true
`

// fullQuestion passes all of it: Tuesday, 10:00 in Berlin.
func fullQuestion(t interface{ Fatal(...any) }) Question {
	return Question{
		Ask:           Ask{VM: armid.MustParse(machine), Ports: []Port{{22, TCP}}, Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour},
		Justification: "INC-7 disk full",
		Requester:     Subject{Object: alice, Name: "alice"},
		Tags:          map[string]string{"ENV": "prod", "Owner": "alice"},
		At:            instant(t, "2026-03-10T09:00:00Z"),
	}
}

func TestEveryRefusal(t *testing.T) {
	const ref = group + " [Env=prod] version 3"
	const who = "role Jit.Oncall, group " + groupA + ", user " + alice + " or application " + runner
	const times = "mon–fri 07:00–19:00 Europe/Berlin or 2026-03-07T20:00:00Z to 2026-03-08T04:00:00Z"
	const policyFor = "he policy for resource group rg-demo (Env=prod)"
	set := Set{New(parse(t, full), 3)}
	for _, c := range []struct {
		what   string
		change func(*Question)
		want   []Refusal
	}{
		{"all met", func(*Question) {}, nil},
		{"port", func(q *Question) { q.Ports = []Port{{23, TCP}} }, []Refusal{{PortNotAllowed, "T" + policyFor + " does not allow port 23/TCP; it allows 22/TCP.", ref, "22/TCP"}}},
		{"source", func(q *Question) { q.Source = netip.MustParsePrefix("192.0.2.1/32") }, []Refusal{{SourceNotAllowed, "T" + policyFor + " does not allow the source 192.0.2.1/32; it allows single addresses of 203.0.113.0/24.", ref, "single addresses of 203.0.113.0/24"}}},
		{"source too wide", func(q *Question) { q.Source = netip.MustParsePrefix("203.0.113.0/30") }, []Refusal{{SourceTooWide, "The source 203.0.113.0/30 is wider than t" + policyFor + " allows; ask for single addresses of 203.0.113.0/24.", ref, "single addresses of 203.0.113.0/24"}}},
		{"duration", func(q *Question) { q.Duration = 5 * time.Hour; q.Requester.Groups = []string{groupB} }, []Refusal{{DurationOverPolicy, "T" + policyFor + " allows at most 4h (PT4H); ask for less.", ref, "at most 4h (PT4H)"}}},
		{"requester", func(q *Question) { q.Requester.Object = bob }, []Refusal{{RequesterNotAllowed, "T" + policyFor + " lets only " + who + " ask, and you are none of these.", ref, who}}},
		{"an application with a user's id", func(q *Question) { q.Requester.Application = true }, []Refusal{{RequesterNotAllowed, "T" + policyFor + " lets only " + who + " ask, and you are none of these.", ref, who}}},
		{"no justification", func(q *Question) { q.Justification = " " }, []Refusal{{JustificationRequired, "T" + policyFor + " asks for a justification. Start with a ticket, INC-… or CHG-….", ref, "a justification that matches ^(INC|CHG)-[0-9]+"}}},
		{"another justification", func(q *Question) { q.Justification = "disk full" }, []Refusal{{JustificationPattern, "Start with a ticket, INC-… or CHG-….", ref, "a justification that matches ^(INC|CHG)-[0-9]+"}}},
		{"before the window", func(q *Question) { q.At = instant(t, "2026-03-10T05:59:59Z") }, []Refusal{{OutsideWindow, "T" + policyFor + " allows access only " + times + ", and access would open at Tue 2026-03-10 06:59 CET; ask again from Tue 2026-03-10 07:00 CET on.", ref, "an ask from Tue 2026-03-10 07:00 CET on"}}},
		{"past its end", func(q *Question) { q.At = instant(t, "2026-03-10T17:29:00Z") }, []Refusal{{OutsideWindow, "T" + policyFor + " allows access " + times + ", which from Tue 2026-03-10 18:29 CET on leaves 31m (PT31M); ask for at most 30m (PT30M), or again from Wed 2026-03-11 07:00 CET on.", ref, "at most 30m (PT30M)"}}},
		{"past its end, by seconds", func(q *Question) { q.At = instant(t, "2026-03-10T17:15:13Z") }, []Refusal{{OutsideWindow, "T" + policyFor + " allows access " + times + ", which from Tue 2026-03-10 18:15 CET on leaves 44m (PT44M); ask for at most 43m (PT43M), or again from Wed 2026-03-11 07:00 CET on.", ref, "at most 43m (PT43M)"}}},
		{"six minutes before its end, less a second", func(q *Question) { q.At = instant(t, "2026-03-13T17:54:01Z") }, []Refusal{{OutsideWindow, "T" + policyFor + " allows access only " + times + ", and access would open at Fri 2026-03-13 18:54 CET; ask again from Mon 2026-03-16 07:00 CET on.", ref, "an ask from Mon 2026-03-16 07:00 CET on"}}},
		{"just before its end", func(q *Question) { q.At = instant(t, "2026-03-13T17:56:00Z") }, []Refusal{{OutsideWindow, "T" + policyFor + " allows access only " + times + ", and access would open at Fri 2026-03-13 18:56 CET; ask again from Mon 2026-03-16 07:00 CET on.", ref, "an ask from Mon 2026-03-16 07:00 CET on"}}},
		{"maintenance on a Saturday", func(q *Question) { q.At = instant(t, "2026-03-08T03:00:00Z") }, nil},
		{"outside, for no time at all", func(q *Question) { q.At, q.Duration = instant(t, "2026-03-14T09:00:00Z"), 0 }, []Refusal{{OutsideWindow, "", ref, ""}}},
		{"no time", func(q *Question) { q.At = time.Time{} }, []Refusal{{OutsideWindow, "", ref, ""}}},
		{"condition", func(q *Question) { q.Duration = 61 * time.Minute }, []Refusal{{ConditionUnmet, "More than an hour is for group B.", ref, `an ask for which request.duration <= duration("1h") || "` + groupB + `" in requester.groups`}}},
		{"condition without what it asks about", func(q *Question) { delete(q.Tags, "Owner") }, []Refusal{{ConditionFailed, "A condition of t" + policyFor + " cannot be judged for this ask: no such key: owner. It reads: The machine is not yours.", ref, `an ask for which machine.tags["owner"] == requester.name`}}},
		{"no tags at all", func(q *Question) { q.Tags = nil }, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"a tag in another case", func(q *Question) { q.Tags["ENV"] = "PROD" }, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"several at once", func(q *Question) {
			q.Ports, q.Requester, q.Duration = []Port{{23, TCP}}, Subject{Name: "alice"}, 6*time.Hour
		}, []Refusal{
			{Code: PortNotAllowed}, {Code: DurationOverPolicy}, {Code: RequesterNotAllowed}, {Code: ConditionUnmet},
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			q := fullQuestion(t)
			c.change(&q)
			got := set.Decide(q).Refusals
			for i := range min(len(got), len(c.want)) {
				if c.want[i].Sentence == "" {
					got[i] = Refusal{Code: got[i].Code, Policy: c.want[i].Policy} // only the code is looked at
				}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJustificationWithoutAMessage(t *testing.T) {
	base := demoDocument()
	for _, c := range []struct {
		rule JustificationRule
		text string
		want string // code: sentence
	}{
		{JustificationRule{Required: true}, "", "justification_required: The policy for resource group rg-demo asks for a justification; say what the access is for."},
		{JustificationRule{Required: true}, "why not", ""},
		{JustificationRule{Required: true, Pattern: "^INC-"}, "", "justification_required: The policy for resource group rg-demo asks for a justification; write one that matches ^INC-."},
		{JustificationRule{Pattern: "^INC-"}, "", "justification_pattern: The justification is not of the form that the policy for resource group rg-demo asks for; write one that matches ^INC-."},
		{JustificationRule{Pattern: "^(INC-.*)?$"}, "  ", ""},
		{JustificationRule{Pattern: "^INC-"}, "  INC-1 ", ""},
		{JustificationRule{Pattern: "("}, "(", "justification_pattern: The justification is not of the form that the policy for resource group rg-demo asks for; write one that matches (."},
	} {
		base.Justification = &c.rule
		var got []string
		for _, r := range (Set{New(base, 1)}).Decide(Question{Ask: demoAsk(), Justification: c.text}).Refusals {
			got = append(got, r.Code+": "+r.Sentence)
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%+v, %q: %q", c.rule, c.text, got)
		}
	}
}

func TestApprovalIsTheStrictest(t *testing.T) {
	d := parse(t, full)
	guard := func(scope, approval string) Policy {
		return New(parse(t, "apiVersion: jitgate/v1\nenforced: true\nscope: "+scope+"\napproval: "+approval+"\n"), 2)
	}
	q := fullQuestion(t)
	set := Set{guard("tenant", "{quorum: 1, within: P1D}"), New(d, 3), guard(subscription, "{quorum: 3, within: PT6H, approvers: {roles: [Jit.Security]}}")}
	got := set.Decide(q)
	want := &Approval{
		Approvers: []Principals{{Groups: []string{groupB}}, {Roles: []string{"Jit.Security"}}}, Quorum: 3, Within: 4 * time.Hour,
		Policies: []string{group + " [Env=prod] version 3", "guardrail " + subscription + " version 2", "guardrail tenant version 2"},
	}
	if diff := cmp.Diff(want, got.Approval); diff != "" || got.Verdict() != NeedsApproval {
		t.Errorf("%s %s", got.Verdict(), diff)
	}
	for _, c := range []struct {
		who  Subject
		want bool
	}{
		{Subject{Groups: []string{strings.ToUpper(groupB)}, Roles: []string{"Jit.Security"}}, true},
		{Subject{Groups: []string{groupB}}, false},
		{Subject{Roles: []string{"Jit.Security"}}, false},
		{Subject{Groups: []string{groupB}, Roles: []string{"jit.security"}}, false},
	} {
		if got.Approval.Accepts(c.who) != c.want {
			t.Errorf("%+v: %v", c.who, !c.want)
		}
	}
	if a := (Set{guard("tenant", "{}"), New(demoDocument(), 1)}).Decide(Question{Ask: demoAsk()}).Approval; a == nil || !a.Accepts(Subject{}) || a.Quorum != 1 || a.Within != 4*time.Hour {
		t.Errorf("approval by whoever may: %+v", a)
	}
	if a := (Set{New(demoDocument(), 1)}).Decide(Question{Ask: demoAsk()}).Approval; a != nil {
		t.Errorf("approval that nobody asks for: %+v", a)
	}
}

func TestBreakGlass(t *testing.T) {
	leader := Subject{Object: bob, Name: "bob", Roles: []string{"Jit.BreakGlass"}}
	const ref = group + " [Env=prod] version 3"
	enforced := "apiVersion: jitgate/v1\nenforced: true\nscope: tenant\n"
	for _, c := range []struct {
		what, guardrail string
		change          func(*Question)
		want            *BreakGlass
	}{
		{"everything that gives way", "", func(q *Question) {
			q.Justification, q.At, q.Duration = "all is lost", instant(t, "2026-03-10T01:00:00Z"), 4*time.Hour
			delete(q.Tags, "Owner")
		}, &BreakGlass{48 * time.Hour, []string{ref}}},
		{"nothing in the way", "", func(*Question) {}, &BreakGlass{48 * time.Hour, []string{ref}}},
		{"another role", "", func(q *Question) { q.Requester.Roles = []string{"Jit.Oncall"} }, nil},
		{"a port that is not allowed", "", func(q *Question) { q.Ports = []Port{{23, TCP}} }, nil},
		{"too long", "", func(q *Question) { q.Duration = 5 * time.Hour }, nil},
		{"from elsewhere", "", func(q *Question) { q.Source = netip.MustParsePrefix("192.0.2.1/32") }, nil},
		{"without a reason where one is due", "", func(q *Question) { q.Justification = "" }, nil},
		{"a guardrail that is met", enforced + "maxDuration: PT1H\n", func(*Question) {}, &BreakGlass{48 * time.Hour, []string{ref}}},
		{"a guardrail that is not", enforced + "requesters: {roles: [Jit.Lead]}\n", func(*Question) {}, nil},
		{"a guardrail that wants approval", enforced + "approval: {}\n", func(*Question) {}, nil},
		{"a guardrail that lets it be broken", enforced + "approval: {}\nbreakGlass: {requesters: {roles: [Jit.BreakGlass]}, reviewWithin: PT12H}\n", func(*Question) {}, &BreakGlass{12 * time.Hour, []string{ref, "guardrail tenant version 1"}}},
		{"a guardrail that lets others", enforced + "approval: {}\nbreakGlass: {requesters: {roles: [Jit.Lead]}}\n", func(*Question) {}, nil},
	} {
		set := Set{New(parse(t, full), 3)}
		if c.guardrail != "" {
			set = append(set, New(parse(t, c.guardrail), 1))
		}
		q := fullQuestion(t)
		q.Requester = leader
		c.change(&q)
		if diff := cmp.Diff(c.want, set.Decide(q).BreakGlass); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
	if b := (Set{New(parse(t, enforced+"breakGlass: {requesters: {roles: [Jit.BreakGlass]}}\nmaxDuration: PT1H"), 1)}).Decide(Question{Ask: demoAsk(), Requester: leader}).BreakGlass; b != nil {
		t.Errorf("broken where no policy allows anything: %+v", b)
	}
}

func TestPrincipals(t *testing.T) {
	p := Principals{Roles: []string{"Jit.Oncall", ""}, Groups: []string{groupA, ""}, Users: []string{alice, ""}, Applications: []string{runner}}
	for _, c := range []struct {
		who  Subject
		want bool
	}{
		{Subject{Object: alice}, true},
		{Subject{Object: strings.ToUpper(alice)}, true},
		{Subject{Object: runner, Application: true}, true},
		{Subject{Object: bob, Groups: []string{groupB, groupA}}, true},
		{Subject{Object: bob, Roles: []string{"Jit.Oncall"}}, true},
		{Subject{Object: runner}, false},
		{Subject{Object: alice, Application: true}, false},
		{Subject{Object: bob, Name: alice, Roles: []string{groupA}, Groups: []string{alice, "Jit.Oncall", ""}}, false},
		{Subject{}, false},
	} {
		if p.Match(c.who) != c.want {
			t.Errorf("%+v: %v", c.who, !c.want)
		}
	}
	if (Principals{}).Match(Subject{Object: alice, Roles: []string{"x"}, Groups: []string{groupA}}) {
		t.Error("nobody is somebody")
	}
}

// TestRequestersOfOtherTenants: nobody but people of the home tenant is meant unless a
// tenant is named, and then whoever else is named has to be of it.
func TestRequestersOfOtherTenants(t *testing.T) {
	ours := Subject{Object: alice, Tenant: "00000000-0000-4000-8000-000000000000", Groups: []string{groupA}}
	theirs := Subject{Object: bob, Tenant: fabrikam, Guest: true, Groups: []string{groupB}, Roles: []string{"Jit.Request"}}
	pipeline := Subject{Object: runner, Tenant: fabrikam, Guest: true, Application: true}
	others := Subject{Object: bob, Tenant: alice, Guest: true, Groups: []string{groupB}, Roles: []string{"Jit.Request"}}
	groups := "groups: [" + groupA + ", " + groupB + "]"
	for _, c := range []struct {
		requesters string
		want       []Subject
		lets       string // what others are told
	}{
		{"", []Subject{ours}, "those of the home tenant"},
		{groups, []Subject{ours}, "group " + groupA + " or group " + groupB + " (of the home tenant)"},
		{"users: [" + alice + ", " + bob + "], applications: [" + runner + "], roles: [Jit.Request]", []Subject{ours}, "role Jit.Request, user " + alice + ", user " + bob + " or application " + runner + " (of the home tenant)"},
		{"tenants: [home]", []Subject{ours}, "those of the home tenant"},
		{"tenants: [" + fabrikam + "]", []Subject{theirs, pipeline}, "those of tenant " + fabrikam},
		{"tenants: [home, " + fabrikam + "]", []Subject{ours, theirs, pipeline}, "those of the home tenant or tenant " + fabrikam},
		{"tenants: [" + fabrikam + "], " + groups, []Subject{theirs}, "group " + groupA + " or group " + groupB + " (of tenant " + fabrikam + ")"},
		{"tenants: [home, " + fabrikam + "], " + groups, []Subject{ours, theirs}, "group " + groupA + " or group " + groupB + " (of the home tenant or tenant " + fabrikam + ")"},
		{"tenants: [" + strings.ToUpper(fabrikam) + "], users: [" + bob + "]", []Subject{theirs}, "user " + bob + " (of tenant " + fabrikam + ")"},
	} {
		text := demo
		if c.requesters != "" {
			text += "requesters: {" + c.requesters + "}\n"
		}
		set := Set{New(parse(t, text), 1)}
		for _, who := range []Subject{ours, theirs, pipeline, others} {
			got := set.Decide(Question{Ask: demoAsk(), Requester: who}).Refusals
			in := slices.ContainsFunc(c.want, func(s Subject) bool { return s.Object == who.Object && s.Tenant == who.Tenant })
			switch {
			case in && len(got) > 0:
				t.Errorf("%q keeps %+v out: %v", c.requesters, who, got)
			case !in && (len(got) != 1 || got[0].Code != RequesterNotAllowed || who.Guest && !strings.Contains(got[0].Sentence, "lets only "+c.lets+" ask")):
				t.Errorf("%q, %+v: %v", c.requesters, who, got)
			}
		}
	}

	named := Principals{Roles: []string{"Jit.Request"}, Groups: []string{groupB}, Users: []string{bob}}
	if named.Match(theirs) || (Approval{Approvers: []Principals{named}}).Accepts(theirs) {
		t.Error("somebody of another tenant approves")
	}
	open := demoDocument()
	open.Requesters, open.Approval = &Requesters{Tenants: []string{fabrikam}}, &ApprovalRule{Quorum: 1, Within: Duration(time.Hour)}
	open.BreakGlass = &BreakGlassRule{Requesters: named, ReviewWithin: Duration(time.Hour)}
	if d := (Set{New(open, 1)}).Decide(Question{Ask: demoAsk(), Requester: theirs}); d.BreakGlass != nil || d.Verdict() != NeedsApproval {
		t.Errorf("somebody of another tenant breaks the glass: %+v", d)
	}

	silent := New(parse(t, "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\nmaxDuration: PT1H\n"), 1)
	demands := New(parse(t, "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\nrequesters: {roles: [Jit.Request]}\n"), 1)
	q := Question{Ask: demoAsk(), Requester: theirs}
	q.Duration, open.Approval = time.Hour, nil
	if got := (Set{New(open, 1), silent}).Decide(q).Refusals; len(got) > 0 {
		t.Errorf("a guardrail that says nothing of requesters: %v", got)
	}
	if got := (Set{New(open, 1), demands}).Decide(q).Refusals; len(got) != 1 || got[0].Policy != demands.Ref() {
		t.Errorf("a guardrail that names requesters and no tenant: %v", got)
	}
}

func TestLongest(t *testing.T) {
	set := Set{New(parse(t, full), 3)}
	for _, c := range []struct {
		what   string
		change func(*Question)
		want   time.Duration
	}{
		{"as conditions let", func(*Question) {}, time.Hour},
		{"as the limit lets", func(q *Question) { q.Requester.Groups = []string{groupB} }, 4 * time.Hour},
		{"whatever was asked", func(q *Question) { q.Duration = 20 * time.Hour }, time.Hour},
		{"to the end of the window", func(q *Question) { q.At = instant(t, "2026-03-10T17:28:30Z") }, 30 * time.Minute},
		{"to a multiple of five minutes", func(q *Question) { q.At = instant(t, "2026-03-10T16:58:30Z") }, time.Hour},
		{"less than anything may last", func(q *Question) { q.At = instant(t, "2026-03-10T17:56:00Z") }, 0},
		{"something else is not met", func(q *Question) { q.Justification = "" }, 0},
		{"no duration helps", func(q *Question) { q.Requester.Name = "mallory" }, 0},
	} {
		q := fullQuestion(t)
		c.change(&q)
		if got := set.Decide(q).Longest; got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	set = append(set, New(parse(t, "apiVersion: jitgate/v1\nenforced: true\nscope: tenant\nmaxDuration: PT40M\n"), 1))
	if got := set.Decide(fullQuestion(t)).Longest; got != 40*time.Minute {
		t.Errorf("under a guardrail: %v", got)
	}
}

// TestAPreApprovalNeverOverrulesAGuardrail: an alert may stand in for the approver of
// the policy that governs a machine, not for one that is asked for from above.
func TestAPreApprovalNeverOverrulesAGuardrail(t *testing.T) {
	approval := &ApprovalRule{Quorum: 1, Within: Duration(time.Hour)}
	plain := Document{Scope: ScopeOf(armid.MustParse(group)), Ports: []Port{{22, TCP}}, Sources: everybody, MaxDuration: Duration(time.Hour), Approval: approval}
	guardrail := Document{Scope: Tenant, Enforced: true, Approval: &ApprovalRule{Quorum: 2, Within: Duration(time.Hour)}}
	q := Question{Ask: Ask{VM: armid.MustParse(machine), Ports: []Port{{22, TCP}}, Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour}, PreApproved: true}

	d := Set{New(plain, 1)}.Decide(q)
	if d.Verdict() != Allow || !d.Spared {
		t.Errorf("alone: %s, spared %t", d.Verdict(), d.Spared)
	}
	d = Set{New(plain, 1), New(guardrail, 1)}.Decide(q)
	if d.Verdict() != NeedsApproval || d.Approval.Quorum != 2 {
		t.Errorf("under a guardrail: %s %+v", d.Verdict(), d.Approval)
	}
}

// TestNobodyCouldEverApprove: it is refused, also in cases, since the service does.
func TestNobodyCouldEverApprove(t *testing.T) {
	d := demoDocument()
	d.Approval = &ApprovalRule{Approvers: &Principals{Users: []string{alice}}, Quorum: 1, Within: Duration(time.Hour)}
	d.BreakGlass = &BreakGlassRule{Requesters: Principals{Users: []string{alice}}, ReviewWithin: Duration(time.Hour)}
	set := Set{New(d, 2)}
	q := Question{Ask: demoAsk(), Requester: Subject{Object: alice}}
	got := set.Decide(q)
	want := []Refusal{{NoApprover, group + " version 2 wants 1 other people to agree and names fewer, so nobody could ever approve this; its owners must name more.", group + " version 2", ""}}
	if diff := cmp.Diff(want, got.Refusals); diff != "" || got.Verdict() != Deny || got.Longest != 0 || got.BreakGlass == nil {
		t.Errorf("%+v %s", got, diff)
	}
	if r := RunCases(set, []Case{{Question: q, Expect: NeedsApproval}})[0]; r.Passed {
		t.Error("a case passes that the service refuses")
	}
	q.PreApproved = true
	if got := set.Decide(q); len(got.Refusals) > 0 {
		t.Errorf("with an alert in the approver's place: %v", got.Refusals)
	}
	q.PreApproved, q.Requester.Object = false, bob
	if got := set.Decide(q); got.Verdict() != NeedsApproval {
		t.Errorf("for another: %v", got.Refusals)
	}
}

func TestWhoseConsentCounts(t *testing.T) {
	named := Principals{Users: []string{alice, bob}}
	trusting := Principals{Applications: []string{runner}}
	for _, c := range []struct {
		name     string
		approval Approval
		vouched  bool // for bob, by the workflow runner
		reach    bool // for alice as the requester
	}{
		{"nobody named", Approval{Quorum: 1}, false, true},
		{"people named", Approval{Quorum: 1, Approvers: []Principals{named}}, true, true},
		{"too few besides the requester", Approval{Quorum: 2, Approvers: []Principals{named}}, true, false},
		{"the workflow named", Approval{Quorum: 3, Approvers: []Principals{trusting}}, true, true},
		{"a role named", Approval{Quorum: 3, Approvers: []Principals{{Roles: []string{"Jit.Approve"}}}}, false, true},
		{"both asked for", Approval{Quorum: 1, Approvers: []Principals{named, trusting}}, true, true},
		{"one of two does not know them", Approval{Quorum: 1, Approvers: []Principals{named, {Users: []string{alice}}}}, false, false},
	} {
		if got := c.approval.AcceptsVouched(bob, runner); got != c.vouched {
			t.Errorf("%s: vouched for is %t", c.name, got)
		}
		if got := !c.approval.OutOfReach(alice); got != c.reach {
			t.Errorf("%s: in reach is %t", c.name, got)
		}
	}
}
