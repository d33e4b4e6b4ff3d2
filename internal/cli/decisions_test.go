package cli

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"jitgate/internal/api"
)

const (
	officeSSH = "apiVersion: jitgate/v1\nscope: tenant\nports: [{port: 22, protocol: TCP}]\nsources: [{range: 127.0.0.0/8}]\n"
	guardrail = "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\njustification: {required: true}\n"
)

// as is the same shell with somebody else signed in.
func (d *desk) as(name string) *desk {
	d.without()
	d.env["JITGATE_TOKEN"] = secret(name)
	return d
}

// awaiting is a desk of an approver, with a request that waits for one.
func awaiting(t *testing.T) *desk {
	d := newDesk(t)
	d.ok("request", "--vm", "waiting-1", "--port", "22")
	d.ok("show", firstID)
	d.ok("show", firstID) // every second look moves it on
	return d.as("root")
}

func TestJSONOfDecisionsHasTheShapesOfTheAPI(t *testing.T) {
	d := awaiting(t)
	stored := func(i int) api.Request { return d.service.requests[i].Request }
	approved := decode[api.Request](t, d.ok("approve", firstID, "--comment", "fine", "-o", "json").stdout)
	same(t, "approve", approved, stored(0))
	if len(approved.Votes) != 1 || !approved.Votes[0].Agrees || approved.Votes[0].Comment != "fine" {
		t.Errorf("votes %+v", approved.Votes)
	}
	d.ok("show", firstID)
	d.ok("show", firstID)
	same(t, "extend", decode[api.Request](t, d.ok("extend", firstID, "--duration", "PT30M", "--wait", "-o", "json").stdout), stored(0))

	d.as("ada").ok("request", "--vm", "waiting-1", "--port", "22", "--break-glass", "--reason", "down", "--wait")
	if got := d.service.requests[1]; !got.BreakGlass || got.Duration != "PT1H" {
		t.Errorf("asked for %+v", got)
	}
	d.as("root")
	same(t, "review", decode[api.Request](t, d.ok("review", stored(1).ID, "--comment", "right", "-o", "json").stdout), stored(1))
	if got := d.service.requests[1].Review; got.ClosedAt == nil || got.Comment != "right" {
		t.Errorf("review %+v", got)
	}

	locked := decode[api.LockedDown](t, d.ok("lockdown", "--vm", "WEB-1", "--until", "PT4H", "--reason", "x", "-o", "json").stdout)
	same(t, "lockdown", locked.Lockdown, d.service.lockdowns[0])
	if locked.Ended != 2 || locked.Lockdown.Scope != web1 || !locked.Lockdown.Until.Equal(noon.Add(4*time.Hour)) {
		t.Errorf("locked down %+v", locked)
	}
	d.ok("lockdown", "--user", "0b1d", "--until", "2026-03-02T00:00:00+01:00", "--reason", "x")
	list := decode[api.LockdownList](t, d.ok("lockdown", "list", "-o", "json").stdout)
	same(t, "lockdown list", list.Lockdowns, d.service.lockdowns)
	if u := list.Lockdowns[1]; u.User != "0b1d" || u.Scope != "" || u.Until.UTC().Hour() != 23 {
		t.Errorf("locked down %+v", u)
	}
	left := decode[api.LockdownList](t, d.ok("lockdown", "lift", locked.Lockdown.ID, "-o", "json").stdout)
	same(t, "lockdown lift", left.Lockdowns, list.Lockdowns[1:])
	same(t, "events", decode[api.EventList](t, d.ok("events", "-o", "json").stdout).Events, d.service.events)
	if none := d.ok("events", "--after", "99", "-o", "json").stdout; strings.Contains(none, "null") {
		t.Errorf("no events are %s", none)
	}
}

func TestJSONOfPolicyChangesHasTheShapesOfTheAPI(t *testing.T) {
	d := admin(t)
	d.service.policies.secondAdmin = true
	d.stdin = officeSSH
	r := d.ok("policy", "apply", "-f", "-", "-o", "json")
	proposed := decode[api.ChangedPolicy](t, r.stdout)
	same(t, "proposal", *proposed.Proposal, d.service.policies.proposals[0])
	contains(t, "stderr", r.stderr, "nothing has changed yet: another administrator has to agree, with: jitgate policy approve "+proposed.Proposal.ID)
	if len(d.service.policies.inForce) > 0 {
		t.Error("it is in force")
	}
	contains(t, "stdout", d.ok("policy", "proposals").stdout, "put in force: the policy for the tenant")
	same(t, "proposals", decode[api.ProposalList](t, d.ok("policy", "proposals", "-o", "json").stdout).Proposals, d.service.policies.proposals)
	if r := d.run("policy", "approve", proposed.Proposal.ID); r.code != exitNotAllowed {
		t.Errorf("one's own proposal: exit code %d\n%s", r.code, r.stderr)
	}
	changed := decode[api.ChangedPolicy](t, d.as("rita").ok("policy", "approve", proposed.Proposal.ID, "-o", "json").stdout)
	same(t, "approve", changed, api.ChangedPolicy{Policy: new(encodePolicy(d.service.set()[0]))})

	history := decode[api.PolicyHistory](t, d.ok("policy", "history", "tenant", "-o", "json").stdout)
	same(t, "history", history.Versions, d.service.policies.versions[changed.Policy.Key])
	contains(t, "history", d.ok("policy", "history", "tenant").stdout, "root", "rita")

	d.ok("policy", "remove", "tenant", "--key", changed.Policy.Key)
	contains(t, "proposals", d.ok("policy", "proposals").stdout, "take out of force: the policy for the tenant")
	left := decode[api.ProposalList](t, d.ok("policy", "reject", d.service.policies.proposals[0].ID, "-o", "json").stdout)
	if left.Proposals == nil || len(left.Proposals) > 0 || len(d.service.policies.inForce) != 1 {
		t.Errorf("after the rejection: %+v", left)
	}

	d.stdin = "apiVersion: jitgate/alerts/v1\nrules: []\n"
	d.ok("alerts", "apply", "-f", "-")
	contains(t, "proposals", d.ok("policy", "proposals").stdout, "put in force: the alert rules")
	rules := decode[api.ChangedPolicy](t, d.as("root").ok("policy", "approve", d.service.policies.proposals[0].ID, "-o", "json").stdout)
	same(t, "rules", rules.Rules, d.service.policies.rules)
	same(t, "alerts show", decode[api.AlertRules](t, d.ok("alerts", "show", "-o", "json").stdout), *d.service.policies.rules)

	answers := decode[api.PolicyAnswers](t, d.ok("policy", "explain", "--vm", "web-1,web-2", "--port", "22", "--at", "2026-03-07T22:00:00Z", "-o", "json").stdout)
	if len(answers.Answers) != 2 || answers.Answers[0].Verdict != "allow" || answers.Answers[0].Longest != "PT3H" {
		t.Errorf("explain: %+v", answers)
	}
	d.ok("policy", "explain", "--vm", "web-1", "--port", "22", "--at", "2026-03-07T22:00:00Z", "--source", "192.0.2.0/28", "--duration", "90m", "--reason", "INC-1", "--break-glass")
	same(t, "question", d.service.policies.question, api.PolicyQuestion{At: new(time.Date(2026, 3, 7, 22, 0, 0, 0, time.UTC)), NewRequest: api.NewRequest{
		Source: "192.0.2.0/28", Duration: "PT1H30M", Justification: "INC-1", BreakGlass: true, Targets: []api.NewTarget{{VM: web1, Ports: []api.Port{{Port: 22, Protocol: "TCP"}}}}}})
	d.ok("request", "--vm", "web-1", "--port", "22")
	d.stdin = guardrail
	forecast := decode[api.PolicyForecast](t, d.ok("policy", "what-if", "-f", "-", "-o", "json").stdout)
	if forecast.Looked != 1 || len(forecast.Differences) != 1 || forecast.Differences[0].After != "deny" || forecast.Differences[0].Unmet[0].Code != "justification_required" {
		t.Errorf("what-if: %+v", forecast)
	}
}

func TestOneOfSeveralDocumentsIsNamed(t *testing.T) {
	d := admin(t)
	for _, document := range []string{officeSSH, guardrail, strings.Replace(officeSSH, "tenant\n", "tenant\ntags: {env: prod}\n", 1)} {
		d.stdin = document
		d.ok("policy", "apply", "-f", "-")
	}
	for _, command := range []string{"show", "remove"} {
		r := d.run("policy", command, "tenant")
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("%s: exit code %d\n%s", command, r.code, r.stderr)
		}
		for _, p := range d.service.set() {
			contains(t, command, r.stderr, "3 documents are in force at tenant", "--key", p.Key()+"  "+kindOf(encodePolicy(p)))
		}
	}
	d.stdin = strings.Replace(officeSSH, "22", "23", 1)
	d.ok("policy", "apply", "-f", "-")
	contains(t, "diff", d.ok("policy", "diff", "tenant").stdout, "port: 23")
	d.ok("policy", "rollback", "tenant", "--to", "1") // the plain one, whatever else is there
	history := decode[api.PolicyHistory](t, d.ok("policy", "history", "tenant", "-o", "json").stdout)
	if len(history.Versions) != 3 || history.Versions[0].Document != officeSSH {
		t.Errorf("history: %+v", history)
	}
	var key string
	for _, p := range d.service.set() {
		if p.Enforced {
			key = p.Key()
		}
	}
	if got := d.ok("policy", "show", "tenant", "--key", key).stdout; got != guardrail {
		t.Errorf("show --key: %s", got)
	}
	d.ok("policy", "remove", "tenant", "--key", key)
	if len(d.service.policies.inForce) != 2 {
		t.Errorf("%d are in force", len(d.service.policies.inForce))
	}
	if r := d.run("policy", "show", "tenant", "--key", key); r.code != exitNotFound {
		t.Errorf("exit code %d for one that was removed\n%s", r.code, r.stderr)
	}
	d.ok("policy", "rollback", "tenant", "--key", key, "--to", "1")
	if p := d.service.policies.inForce[key]; p.Version != 3 || p.Text != guardrail {
		t.Errorf("rolled back to %+v", p)
	}
}

// TestWhatWouldHappenTwiceIsAskedOnce: an answer that was lost is not asked for again
// by asking again.
func TestWhatWouldHappenTwiceIsAskedOnce(t *testing.T) {
	d := awaiting(t)
	d.ok("approve", firstID)
	d.ok("show", firstID)
	d.ok("show", firstID)
	d.service.lose = 1
	r := d.run("extend", firstID, "--duration", "30m")
	if r.code != exitUnavailable || d.service.requests[0].Extensions != 1 {
		t.Errorf("exit code %d, extended %d times\n%s", r.code, d.service.requests[0].Extensions, r.stderr)
	}
	contains(t, "stderr", r.stderr, "it may have arrived; before you repeat it, look with: jitgate show "+firstID)
	d.service.lose = 1
	r = d.run("lockdown", "--scope", "tenant", "--reason", "x")
	if r.code != exitUnavailable || len(d.service.lockdowns) != 1 {
		t.Errorf("exit code %d, %d lockdowns\n%s", r.code, len(d.service.lockdowns), r.stderr)
	}
	contains(t, "stderr", r.stderr, "look with: jitgate lockdown list")
	// What is only looked at on the way is asked for again.
	d.service.down = 2
	d.ok("lockdown", "--vm", "web-1", "--reason", "x")
}

func TestExitCodesOfDecisions(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want int
		says string
	}{
		{"approve without an id", []string{"approve"}, exitUsage, "jitgate list shows ids"},
		{"an id that is a path", []string{"deny", "..", "--comment", "x"}, exitUsage, "not the id of a request"},
		{"deny without a word", []string{"deny", firstID, "--comment", ""}, exitUsage, "--comment is empty"},
		{"unknown request", []string{"approve", "nothing"}, exitNotFound, "jitgate list --mine"},
		{"extend what waits", []string{"extend", firstID, "--duration", "30m"}, exitConflict, "request_not_active"},
		{"extend by nothing", []string{"extend", firstID, "--duration", "0s"}, exitUsage, `"0s"`},
		{"extend without a duration", []string{"extend", firstID}, exitUsage, `"duration"`},
		{"nothing to review", []string{"review", firstID, "--comment", "x"}, exitConflict, "review_not_due"},
		{"awaiting and a state", []string{"list", "--awaiting", "--state", "active"}, exitUsage, "awaiting"},
		{"lock nothing down", []string{"lockdown", "--reason", "x"}, exitUsage, "user vm scope"},
		{"lock two things down", []string{"lockdown", "--user", "x", "--vm", "web-1", "--reason", "x"}, exitUsage, "user vm"},
		{"lock down for no reason", []string{"lockdown", "--vm", "web-1"}, exitUsage, `"reason"`},
		{"lock down until noon", []string{"lockdown", "--vm", "web-1", "--until", "noon", "--reason", "x"}, exitUsage, `"noon" is neither`},
		{"lock down until after the end of time", []string{"lockdown", "--vm", "web-1", "--until", "9999-12-31T23:59:59-14:00", "--reason", "x"}, exitUsage, "neither a duration"},
		{"lock down until yesterday", []string{"lockdown", "--scope", "tenant", "--until", "2026-02-28T12:00:00Z", "--reason", "x"}, exitUsage, "lockdown_invalid"},
		{"lock an unknown machine down", []string{"lockdown", "--vm", "web-9", "--reason", "x"}, exitNotFound, `"web-9"`},
		{"lift a path", []string{"lockdown", "lift", "."}, exitUsage, "not the id of a lockdown"},
		{"lift nothing", []string{"lockdown", "lift", "x"}, exitNotFound, "jitgate lockdown list"},
		{"a command of lockdown", []string{"lockdown", "drop"}, exitUsage, `"drop"`},
		{"events without limit", []string{"events", "--limit", "201"}, exitUsage, "200"},
		{"agree to nothing", []string{"policy", "approve", "x"}, exitNotFound, "jitgate policy proposals"},
		{"reject a path", []string{"policy", "reject", ".."}, exitUsage, "not the id of a proposal"},
		{"history of nothing", []string{"policy", "history", subscription}, exitNotFound, "there never was a plain policy"},
		{"history of no scope", []string{"policy", "history", "production"}, exitNotFound, "policy_not_found"},
		{"compare a scope and a file", []string{"policy", "diff", "tenant", "-f", "x.yaml"}, exitUsage, "a scope or -f FILE"},
		{"compare a file's versions", []string{"policy", "diff", "-f", "x.yaml", "--from", "1"}, exitUsage, "file from"},
		{"compare nothing", []string{"policy", "diff"}, exitUsage, "jitgate policy list"},
		{"explain at noon", []string{"policy", "explain", "--vm", "web-1", "--port", "22", "--at", "noon"}, exitUsage, `"noon" is not a time`},
		{"explain after the end of time", []string{"policy", "explain", "--vm", "web-1", "--port", "22", "--at", "9999-12-31T23:59:59-14:00"}, exitUsage, "is not a time"},
		{"explain without a port", []string{"policy", "explain", "--vm", "web-1"}, exitUsage, `"port"`},
		{"what if nothing", []string{"policy", "what-if"}, exitUsage, "[file remove]"},
		{"no alert rules", []string{"alerts", "show"}, exitNotFound, "alert_rules_not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := awaiting(t)
			r := d.run(c.args...)
			if r.code != c.want {
				t.Errorf("exit code %d, want %d\n%s", r.code, c.want, r.stderr)
			}
			contains(t, "stderr", r.stderr, c.says)
		})
	}
}

func TestDiffOfAFileThatWouldBeNew(t *testing.T) {
	d := admin(t)
	d.stdin = officeSSH
	r := d.ok("policy", "diff", "-f", "-")
	contains(t, "stderr", r.stderr, "all of it would be new")
	contains(t, "stdout", r.stdout, "+ scope: tenant\n", "+ maxDuration: PT3H\n")
	d.tty, d.stdin = func(io.Writer) bool { return true }, officeSSH
	contains(t, "stdout", d.ok("policy", "diff", "-f", "-").stdout, "\x1b[32m+ scope: tenant\x1b[0m\n")
}

func TestWhoIsWaitedFor(t *testing.T) {
	a := &App{Clock: clockwork.NewFakeClockAt(noon)}
	role := api.Principals{Roles: []string{"Jit.Approve"}}
	team := api.Principals{Groups: []string{"g1"}, Users: []string{"u1"}}
	target := func(quorum int, who ...api.Principals) api.Target {
		return api.Target{VM: web1, State: "AwaitingApproval", Approval: &api.Approval{Quorum: quorum, Within: "PT4H", Approvers: who}}
	}
	yes, no := api.Vote{Agrees: true}, api.Vote{}
	today, tomorrow := noon.Add(2*time.Hour).UTC(), noon.Add(26*time.Hour)
	for _, c := range []struct {
		want string
		r    api.Request
	}{
		{"", api.Request{State: "AwaitingApproval", Targets: []api.Target{{State: "AwaitingApproval"}}}},
		{"", api.Request{State: "Active", Targets: []api.Target{{State: "Active", Approval: &api.Approval{Quorum: 1}}}}},
		{"waits for 1 approval until 14:00 CET", api.Request{DecideBy: &today, Targets: []api.Target{target(1)}}},
		{"waits for 2 approvals until 2026-03-02 14:00 CET by role Jit.Approve", api.Request{DecideBy: &tomorrow, Targets: []api.Target{target(2, role)}}},
		{"waits for 1 approval by role Jit.Approve who is also group g1 or user u1", api.Request{Votes: []api.Vote{yes, no}, Targets: []api.Target{target(2, role, team)}}},
		{"waits for 1 approval", api.Request{Votes: []api.Vote{yes, yes, yes}, Targets: []api.Target{target(2)}}},
		{"waits for 3 approvals by role Jit.Approve", api.Request{Targets: []api.Target{target(1), target(3, role), {State: "Denied"}}}},
	} {
		if got := a.waiting(c.r); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestEveryFaultNamesItsPolicy(t *testing.T) {
	d := newDesk(t)
	d.service.fail = &api.Problem{Status: 403, Code: "a", Detail: "A. B.", Errors: []api.Fault{
		{Code: "a", Detail: "A.", Policy: "tenant version 1", Passes: "22/TCP"}, {Field: "targets[0]", Code: "b", Detail: "B."}}}
	r := d.run("request", "--vm", web1, "--port", "22")
	want := "jitgate: refused, 2 things are wrong:\n  A.\n    policy: tenant version 1\n    would pass: 22/TCP\n  targets[0]: B.\ncode: a\n"
	if r.code != exitNotAllowed || r.stderr != want {
		t.Errorf("exit code %d\n%swant\n%s", r.code, r.stderr, want)
	}
}

// TestTextAboutDecisionsCannotSteerTheTerminal: comments, reasons and the texts of
// policies are what others wrote.
func TestTextAboutDecisionsCannotSteerTheTerminal(t *testing.T) {
	const evil = "x\x1b]0;owned\a\u202e\r\n\x1b[35m"
	evils := []string{evil}
	who := api.Person{Object: evil, Name: evil}
	approval := &api.Approval{Quorum: 1, Within: evil, Approvers: []api.Principals{{Roles: evils, Groups: evils}}, Policies: evils}
	unmet := []api.Unmet{{Code: evil, Text: evil, Policy: evil, Passes: evil}}
	for _, wide := range []bool{false, true} {
		a, out := onTerminal()
		a.terminal, a.wide, a.Clock, a.Stdout, a.Stderr = func(io.Writer) bool { return false }, wide, clockwork.NewFakeClockAt(noon), out, out
		a.writeRequest(out, api.Request{ID: evil, Votes: []api.Vote{{By: who, Via: &who, Comment: evil}}, Review: &api.Review{By: &who, Comment: evil, ClosedAt: &noon},
			Targets: []api.Target{{VM: evil, State: "AwaitingApproval", Approval: approval}, {VM: evil, State: evil, Unmet: unmet}}})
		a.writeRequests(out, []api.Request{{Targets: []api.Target{{State: "AwaitingApproval", Approval: approval}}}})
		a.writeLockdowns(out, []api.Lockdown{{ID: evil, User: evil, By: who, Reason: evil}, {Scope: evil}})
		a.writeAnswer(out, api.PolicyAnswer{VM: evil, Verdict: evil, Policies: evil, Unmet: unmet, Approval: approval, Longest: evil})
		a.writePolicyForecast(out, api.PolicyForecast{Differences: []api.Difference{{Request: evil, VM: evil, Requester: who, State: evil, Before: evil, After: evil, Unmet: unmet}}})
		a.writeProposals(out, []api.Proposal{{ID: evil, What: evil, Document: evil, By: who}})
		a.writePolicies(out, []api.Policy{{Scope: evil, Tags: map[string]string{evil: evil}, Key: evil, Hash: evil}})
		writeFaults(out, []fileFault{{File: evil, Text: evil}})
		_ = a.printDiff(difference{Diff: "+ " + evil})
		_ = a.printChange(api.ChangedPolicy{Findings: []api.Lint{{Policy: evil, Code: evil, Text: evil}}, Rules: &api.AlertRules{Hash: evil, By: who}})
		text := out.String()
		if i := strings.IndexAny(text, "\x1b\a\r\u202e"); i >= 0 {
			t.Errorf("wide %v: %q gets through", wide, text[max(0, i-40):i+20])
		}
	}
}
