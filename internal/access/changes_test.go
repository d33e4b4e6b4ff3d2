package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/policy"
)

func TestAChangeOfPolicyWaitsForASecondAdministrator(t *testing.T) {
	w := newWorld(t)
	w.service.SecondAdmin = true
	text := "apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + oneApprover
	done, err := w.service.ApplyPolicy(ctx, text, carol)
	must(t, err)
	if done.Proposal == nil || done.Policy.Version != 0 {
		t.Fatalf("it is in force at once: %+v", done)
	}
	w.active("web01") // nothing has changed
	_, err = w.service.AgreeToProposal(ctx, done.Proposal.ID, carol)
	wantCode(t, err, access.OwnProposal)
	again, err := w.service.ApplyPolicy(ctx, text, carol)
	must(t, err)
	if again.Proposal.ID != done.Proposal.ID {
		t.Error("the same change is another proposal")
	}
	agreed, err := w.service.AgreeToProposal(ctx, done.Proposal.ID, dave)
	must(t, err)
	if agreed.Policy.Version != 2 {
		t.Errorf("in force: %+v", agreed.Policy)
	}
	w.awaiting("web01")
	versions, err := w.service.Policies.PolicyVersions(ctx, agreed.Policy.Scope, agreed.Policy.Key())
	must(t, err)
	if len(versions) != 2 || versions[0].By != carol || versions[0].Approver != dave {
		t.Errorf("versions %+v", versions)
	}
	_, err = w.service.AgreeToProposal(ctx, done.Proposal.ID, dave)
	wantCode(t, err, access.ProposalNotFound)

	gone, err := w.service.RemovePolicy(ctx, agreed.Policy.Scope, agreed.Policy.Key(), carol)
	must(t, err)
	must(t, w.service.RejectProposal(ctx, gone.Proposal.ID, dave))
	w.awaiting("web01")
	gone, err = w.service.RemovePolicy(ctx, agreed.Policy.Scope, agreed.Policy.Key(), carol)
	must(t, err)
	_, err = w.service.AgreeToProposal(ctx, gone.Proposal.ID, dave)
	must(t, err)
	_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, "no_policy")
	rules, err := w.service.ApplyAlertRules(ctx, alertRules, carol)
	must(t, err)
	if rules.Proposal == nil || rules.Proposal.Key != access.AlertRulesKey {
		t.Errorf("alert rules: %+v", rules)
	}
	want := []string{"policy.proposed", "policy.proposed", "policy.applied", "policy.proposed", "policy.proposal-rejected", "policy.proposed", "policy.removed", "policy.proposed"}
	if got := w.ledgerKinds(); !slices.Equal(got, want) {
		t.Errorf("the record: %v, want %v", got, want)
	}
}

// slowPolicies is a store of policies where somebody else comes first.
type slowPolicies struct {
	access.Policies
	drop, put func() // run before the store's own
}

func (m *slowPolicies) DropProposal(ctx context.Context, p access.Proposal) error {
	if m.drop != nil {
		m.drop()
	}
	return m.Policies.DropProposal(ctx, p)
}

func (m *slowPolicies) PutPolicy(ctx context.Context, doc policy.Document, sign access.Signature) (policy.Policy, error) {
	if do := m.put; do != nil {
		m.put = nil
		do()
	}
	return m.Policies.PutPolicy(ctx, doc, sign)
}

// TestAProposalHasOneOutcome: whoever rejects or agrees a moment too late is told so, and
// what was rejected or replaced does not come into force.
func TestAProposalHasOneOutcome(t *testing.T) {
	const text = "apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + oneApprover
	for _, c := range []struct {
		name string
		run  func(*testing.T, *world, *access.Service, *slowPolicies, string)
		want []string // what the record says of the proposal
	}{
		{"rejected while it is agreed to", func(t *testing.T, w *world, first *access.Service, m *slowPolicies, id string) {
			m.put = func() { must(t, first.RejectProposal(ctx, id, dave)) }
			_, err := w.service.AgreeToProposal(ctx, id, bob)
			wantCode(t, err, access.ProposalNotFound)
		}, []string{"policy.proposed", "policy.proposal-rejected"}},
		{"agreed to while it is rejected", func(t *testing.T, w *world, first *access.Service, m *slowPolicies, id string) {
			m.drop = func() {
				_, err := first.AgreeToProposal(ctx, id, dave)
				must(t, err)
			}
			wantCode(t, w.service.RejectProposal(ctx, id, bob), access.ProposalNotFound)
		}, []string{"policy.proposed", "policy.applied"}},
		{"replaced while it is agreed to", func(t *testing.T, w *world, first *access.Service, m *slowPolicies, id string) {
			m.put = func() {
				_, err := first.ApplyPolicy(ctx, strings.Replace(text, "PT3H", "PT1H", 1), carol)
				must(t, err)
			}
			_, err := w.service.AgreeToProposal(ctx, id, bob)
			wantCode(t, err, access.ProposalNotFound)
		}, []string{"policy.proposed", "policy.proposed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.service.SecondAdmin = true
			done, err := w.service.ApplyPolicy(ctx, text, carol)
			must(t, err)
			first, m := *w.service, &slowPolicies{Policies: w.service.Policies}
			w.service.Policies = m
			c.run(t, w, &first, m, done.Proposal.ID)
			if got := w.ledgerKinds(); !slices.Equal(got, c.want) {
				t.Errorf("the record: %v, want %v", got, c.want)
			}
			inForce, err := first.Policies.PoliciesAt(ctx, policy.ScopeOf(vmID("web01").Scopes()[1]))
			must(t, err)
			if applied := slices.Contains(c.want, "policy.applied"); (inForce[0].Version == 2) != applied {
				t.Errorf("version %d is in force", inForce[0].Version)
			}
		})
	}
}

func TestApplyAndRemove(t *testing.T) {
	w := newWorld(t)
	text := "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\nmaxDuration: PT30M\n"
	first, err := w.service.ApplyPolicy(ctx, text, carol)
	must(t, err)
	same, err := w.service.ApplyPolicy(ctx, "# reworded\n"+text, dave)
	must(t, err)
	if first.Policy.Version != 1 || same.Policy.Version != 1 {
		t.Errorf("versions %d and %d", first.Policy.Version, same.Policy.Version)
	}
	_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, "duration_over_policy")
	_, err = w.service.RemovePolicy(ctx, policy.Tenant, first.Policy.Key(), carol)
	must(t, err)
	w.active("web01")
	_, err = w.service.RemovePolicy(ctx, policy.Tenant, first.Policy.Key(), carol)
	wantCode(t, err, access.PolicyNotFound)
	var faults policy.Faults
	if _, err = w.service.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscoop: x", carol); !errors.As(err, &faults) {
		t.Errorf("no faults: %v", err)
	}
	if _, err = w.service.ApplyAlertRules(ctx, "rules: 7", carol); !errors.As(err, &faults) {
		t.Errorf("no faults: %v", err)
	}
}

func TestWhatIf(t *testing.T) {
	w := newWorld(t)
	live := w.active("web01")
	denied := w.submit(ask("web01"))
	w.queue.DropAll()
	w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + "\nports: [{port: 3389, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n")
	must(t, w.service.Evaluate(ctx, denied.ID))
	w.wantState(denied.ID, access.Denied)

	doc, err := policy.Parse([]byte("apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + oneApprover))
	must(t, err)
	before := w.kinds(live.ID)
	f, err := w.service.WhatIf(ctx, []policy.Document{doc}, nil)
	must(t, err)
	if f.Looked != 2 || len(f.Differences) != 2 || f.Partial {
		t.Fatalf("%+v", f)
	}
	states := map[string]access.State{}
	for _, d := range f.Differences {
		states[d.Request] = d.State
		if d.Before != policy.Deny || d.After != policy.NeedsApproval {
			t.Errorf("%s: from %s to %s", d.Request, d.Before, d.After)
		}
	}
	if states[live.ID] != access.Active || states[denied.ID] != access.Denied || !slices.Equal(before, w.kinds(live.ID)) {
		t.Errorf("states %v", states)
	}
	w.clock.Advance(access.MaxLookBack + time.Hour)
	if f, err = w.service.WhatIf(ctx, []policy.Document{doc}, nil); err != nil || f.Looked != 1 {
		t.Errorf("after 30 days only what is unfinished counts: %+v, %v", f, err)
	}
	_, err = w.service.WhatIf(ctx, nil, nil)
	wantCode(t, err, access.PolicyInvalid)
}

// TestWhatIfAsksOthers: whose approval is asked counts where it is yet to be given or was
// given for access that is open, and by content, not by the version that asks.
func TestWhatIfAsksOthers(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	waiting, live, over := w.awaiting("web01"), w.awaiting("db01"), w.awaiting("app01")
	for _, r := range []access.Request{live, over} {
		w.vote(r.ID, approver(bob))
	}
	w.deliver()
	w.revoke(over.ID)
	w.deliver()
	for approval, want := range map[string][]string{
		oneApprover + "\nextensions: 1":                             nil, // another version, the same approval
		twoApprovers:                                                {waiting.ID, live.ID},
		strings.Replace(oneApprover, "PT4H", "PT3H", 1):             {waiting.ID, live.ID},
		strings.Replace(oneApprover, "Jit.Approve", "Jit.Admin", 1): {waiting.ID, live.ID},
		"": {waiting.ID, live.ID, over.ID},
	} {
		doc, err := policy.Parse([]byte("apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + approval))
		must(t, err)
		f, err := w.service.WhatIf(ctx, []policy.Document{doc}, nil)
		must(t, err)
		var got []string
		for _, d := range f.Differences {
			got = append(got, d.Request)
			if d.ApprovalBefore == nil || (d.ApprovalAfter != nil) != (d.After == policy.NeedsApproval) {
				t.Errorf("%q: from %+v to %+v", approval, d.ApprovalBefore, d.ApprovalAfter)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", approval, got, want)
		}
	}
}

// TestWhatIfWithout: policies that are to be taken out of force.
func TestWhatIfWithout(t *testing.T) {
	w := newWorld(t)
	guardrail, err := w.service.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n"+oneApprover, carol)
	must(t, err)
	w.awaiting("web01")
	without := func(keys ...access.PolicyKey) (access.PolicyForecast, error) { return w.service.WhatIf(ctx, nil, keys) }
	f, err := without(access.PolicyKey{Scope: policy.Tenant, Key: guardrail.Policy.Key()})
	must(t, err)
	if len(f.Differences) != 1 || f.Differences[0].After != policy.Allow {
		t.Errorf("without the guardrail: %+v", f)
	}
	scope := policy.ScopeOf(vmID("web01").Scopes()[1])
	f, err = without(access.PolicyKey{Scope: scope, Key: scope.Key()})
	must(t, err)
	if len(f.Differences) != 1 || f.Differences[0].After != policy.Deny || f.Differences[0].Refusals[0].Code != "no_policy" {
		t.Errorf("without the policy: %+v", f)
	}
	for _, wrong := range []access.PolicyKey{{Scope: scope, Key: guardrail.Policy.Key()}, {Scope: policy.Tenant, Key: policy.Tenant.Key()}, {}} {
		_, err = without(wrong)
		wantCode(t, err, access.PolicyNotFound)
	}
}

// TestWhatIfLooksBack: a request is judged as of when it was asked for, by the tags that
// the machine had when it was decided.
func TestWhatIfLooksBack(t *testing.T) {
	w := newWorld(t)
	tagged := func(value string) {
		t.Helper()
		m, err := w.network.Locate(ctx, vmID("web01"))
		must(t, err)
		m.Tags = map[string]string{"env": value}
		w.network.SetMachine(m)
	}
	w.apply("apiVersion: jitgate/v1\nscope: tenant\ntags: {env: other}\nenforced: true\nmaxDuration: PT1H\n") // so that tags are kept
	tagged("test")
	w.active("web01")
	tagged("prod")
	w.clock.Advance(6 * time.Hour)
	for rest, want := range map[string]int{
		"\nwindows: [{zone: UTC, from: '08:00', to: '10:00'}]":                          0, // it was open then
		"\nwindows: [{zone: UTC, from: '13:00', to: '16:00'}]":                          1, // it is open now
		"\nconditions: [{expression: 'machine.tags[\"env\"] == \"test\"', message: x}]": 0,
		"\nconditions: [{expression: 'machine.tags[\"env\"] == \"prod\"', message: x}]": 1,
	} {
		doc, err := policy.Parse([]byte("apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + rest))
		must(t, err)
		f, err := w.service.WhatIf(ctx, []policy.Document{doc}, nil)
		must(t, err)
		if len(f.Differences) != want {
			t.Errorf("%s: %+v", rest, f.Differences)
		}
	}
}

// TestALockedAdministratorRejectsNothing: it would undo what others are about to agree to.
func TestALockedAdministratorRejectsNothing(t *testing.T) {
	w := newWorld(t)
	w.service.SecondAdmin = true
	done, err := w.service.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscope: "+demoScope+plainRest+oneApprover, carol)
	must(t, err)
	l, _ := w.lockDown(access.Lockdown{User: bobsID})
	wantCode(t, w.service.RejectProposal(ctx, done.Proposal.ID, realBob), access.LockedDown)
	waiting, err := w.service.Policies.Proposals(ctx)
	must(t, err)
	if len(waiting) != 1 {
		t.Error("it is forgotten all the same")
	}
	must(t, w.service.Lift(ctx, l.ID, carol, ""))
	must(t, w.service.RejectProposal(ctx, done.Proposal.ID, realBob))
}

// TestTagsDecide: they are asked of Azure where some policy wants to know, and kept
// with the decision.
func TestTagsDecide(t *testing.T) {
	w := newWorld(t)
	w.apply("apiVersion: jitgate/v1\nscope: tenant\ntags: {env: prod}\nenforced: true\n" + oneApprover)
	m, err := w.network.Locate(ctx, vmID("web01"))
	must(t, err)
	m.Tags = map[string]string{"Env": "prod"}
	w.network.SetMachine(m)
	r := w.awaiting("web01")
	if r.Targets[0].Tags["Env"] != "prod" {
		t.Errorf("tags %v", r.Targets[0].Tags)
	}
	w.active("db01")
}

func TestAskPolicy(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover + "\njustification: {required: true}\nextensions: 2")
	a := ask("web01")
	a.Justification, a.Duration = "", 0
	answers, err := w.service.AskPolicy(ctx, as(alice), a, time.Time{})
	must(t, err)
	got := answers[0]
	if got.Verdict != policy.Deny || got.Refusals[0].Code != "justification_required" || !strings.Contains(got.Refusals[0].Policy, "version 2") ||
		got.Approval == nil || got.Extensions != 2 || !strings.Contains(got.Policies, "sha256:") {
		t.Errorf("%+v", got)
	}
	a.Justification = "INC-1"
	answers, err = w.service.AskPolicy(ctx, as(alice), a, time.Time{})
	must(t, err)
	if answers[0].Verdict != policy.NeedsApproval || answers[0].Longest != 3*time.Hour {
		t.Errorf("%+v", answers[0])
	}
	if n := w.queue.Len(); n != 0 {
		t.Errorf("asking left %d messages", n)
	}
}

// TestAskPolicyKnowsAllThatSubmitDoes: one ask, and both say the same to it.
func TestAskPolicyKnowsAllThatSubmitDoes(t *testing.T) {
	w := newWorld(t)
	w.rule("justification: {pattern: ^INC-}\nwindows: [{zone: UTC, from: '10:00', to: '12:00'}]\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}")
	w.service.Limits.Longest = 90 * time.Minute
	w.service.Rights = assigned{"alice-oid web01": {access.RequesterRole}}
	both := func(who access.Actor, a access.Ask) access.PolicyAnswer {
		t.Helper()
		answers, err := w.service.AskPolicy(ctx, who, a, time.Time{})
		must(t, err)
		_, err = w.service.Submit(ctx, who, "", a)
		var refused access.Refusals
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		for i := range refused {
			refused[i].Field = ""
		}
		if !slices.Equal(refused, answers[0].Refusals) {
			t.Errorf("explained as %v, refused as %v", answers[0].Refusals, refused)
		}
		return answers[0]
	}
	codes := func(a access.PolicyAnswer) (list []string) {
		for _, r := range a.Refusals {
			list = append(list, string(r.Code))
		}
		return list
	}
	vague := ask("web01")
	vague.Justification = "because"
	if got := codes(both(as(bob), vague)); !slices.Equal(got, []string{"justification_pattern", "outside_window", "rbac_role_missing"}) {
		t.Errorf("all that stands against it: %v", got)
	}
	if got := both(as(alice, "Jit.Oncall"), glassAsk("web01")); got.Verdict != policy.Allow || !got.BreakGlass || got.Longest != 90*time.Minute {
		t.Errorf("breaking the glass: %+v", got)
	}
	if got := both(as(bob, "Jit.Oncall"), glassAsk("web01")); got.Verdict != policy.Deny || got.BreakGlass || got.Longest != 0 {
		t.Errorf("breaking the glass without a role in Azure: %+v", got)
	}
	if got := both(as(alice), glassAsk("web01")); !slices.Contains(codes(got), "break_glass_not_allowed") || got.BreakGlass || got.Longest != 0 {
		t.Errorf("breaking the glass without the role for it: %+v", got)
	}
	if got := both(as(alice, "Jit.Oncall"), ask("web01")); got.Verdict != policy.Deny || !got.BreakGlass {
		t.Errorf("the glass is there to be broken: %+v", got)
	}
	w.clock.Advance(2 * time.Hour) // ten o'clock, and the window is open for two hours
	if got := both(as(alice), ask("web01")); got.Verdict != policy.Allow || got.Longest != 90*time.Minute {
		t.Errorf("in the window: %+v", got)
	}
	w.service.Limits.Shortest, w.service.Limits.Longest = 3*time.Hour, 24*time.Hour
	if got := both(as(alice), ask("web01")); got.Longest != 0 {
		t.Errorf("shorter than anything may last here: %s", got.Longest)
	}
	w.lockDown(access.Lockdown{Scope: policy.Tenant})
	if got := both(as(alice), ask("web01")); got.Longest != 0 || codes(got)[0] != "locked_down" {
		t.Errorf("locked down: %+v", got)
	}
	ghost := ask("ghost")
	w.apply("apiVersion: jitgate/v1\nscope: tenant\ntags: {env: prod}\nenforced: true\n" + oneApprover)
	if got := codes(both(as(alice), ghost)); !slices.Equal(got, []string{"vm_not_found", "rbac_role_missing"}) {
		t.Errorf("a machine that is not there: %v", got)
	}
}

// TestAskPolicyAtAnotherTime: as if it were asked then.
func TestAskPolicyAtAnotherTime(t *testing.T) {
	w := newWorld(t)
	w.rule("windows: [{zone: UTC, from: '10:00', to: '12:00'}]")
	for at, want := range map[time.Time]policy.Verdict{{}: policy.Deny, w.clock.Now().Add(2 * time.Hour): policy.Allow} {
		answers, err := w.service.AskPolicy(ctx, as(alice), ask("web01"), at)
		must(t, err)
		if answers[0].Verdict != want {
			t.Errorf("at %s: %s, want %s", at, answers[0].Verdict, want)
		}
	}
}

func TestTheDurationIsPolicysWhereItIsLeftOut(t *testing.T) {
	w := newWorld(t)
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + plainRest + "defaultDuration: PT20M")
	a := ask("web01", "db01")
	a.Duration = 0
	if r := w.submit(a); r.Duration != 20*time.Minute {
		t.Errorf("it lasts %s", r.Duration)
	}
}
