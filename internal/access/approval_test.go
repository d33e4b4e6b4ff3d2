package access_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

const (
	demoScope = subscription + "/resourceGroups/rg-demo"
	plainRest = `
ports: [{port: 22, protocol: TCP}]
sources: [{range: 203.0.113.0/24}]
maxDuration: PT3H
`
)

// rule applies a policy of the resource group with something more in it.
func (w *world) rule(more string) {
	w.tb.Helper()
	w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + plainRest + more + "\n")
}

const twoApprovers = "approval: {approvers: {roles: [Jit.Approve]}, quorum: 2, within: PT4H}"
const oneApprover = "approval: {approvers: {roles: [Jit.Approve]}, quorum: 1, within: PT4H}"

func approver(p access.Person) access.Vote {
	return access.Vote{By: as(p, access.ApproverRole), Agrees: true, Comment: "Fine."}
}

func (w *world) vote(id string, v access.Vote) access.Request {
	w.tb.Helper()
	r, err := w.service.Vote(ctx, id, v)
	if err != nil {
		w.tb.Fatalf("vote: %v", err)
	}
	return r
}

// awaiting submits a request that waits for approval.
func (w *world) awaiting(vms ...string) access.Request {
	w.tb.Helper()
	r := w.submit(ask(vms...))
	w.deliver()
	return w.wantState(r.ID, access.AwaitingApproval)
}

func TestAQuorumOfDistinctApproversOpens(t *testing.T) {
	w := newWorld(t)
	w.rule(twoApprovers)
	r := w.awaiting("web01", "app01")
	w.wantRules(nicNSG, 0)
	if r.Targets[0].Approval == nil || r.Targets[0].Approval.Quorum != 2 || !r.DecideBy.Equal(w.clock.Now().Add(4*time.Hour)) {
		t.Errorf("the request does not say what it waits for: %+v until %s", r.Targets[0].Approval, r.DecideBy)
	}

	w.clock.Advance(time.Hour)
	w.vote(r.ID, approver(bob))
	w.vote(r.ID, approver(bob)) // once more is not one more
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	w.vote(r.ID, approver(dave))
	w.deliver()
	r = w.wantState(r.ID, access.Active)
	w.wantRules(nicNSG, 1)
	if want := w.clock.Now().Add(time.Hour); !r.Targets[0].ExpiresAt.Equal(want) || !r.Targets[1].ExpiresAt.Equal(want) {
		t.Errorf("the clock did not start when it opened: %s, want %s", r.ExpiresAt(), want)
	}
	w.wantKinds(r.ID, "request.created", "request.awaiting-approval", "request.awaiting-approval", "approval.given", "approval.given",
		"request.approved", "request.approved", "rule.created", "access.opened", "rule.created", "rule.created", "access.opened")
	if w.request(r.ID).Votes[0].By.Name != bob.Name || !strings.Contains(r.Targets[0].Policy, "version 2 sha256:") {
		t.Errorf("votes %+v, policy %q", r.Votes, r.Targets[0].Policy)
	}
}

func TestWhoMayNotApprove(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	workflow := access.Person{Tenant: "t", Object: "workflow-oid", Name: "workflow"}
	for _, c := range []struct {
		name string
		vote access.Vote
		code access.Code
	}{
		{"the requester, also with the role", approver(alice), access.OwnRequest},
		{"the requester under another tenant", approver(access.Person{Tenant: "other", Object: alice.Object}), access.OwnRequest},
		{"somebody without the role that policy names", access.Vote{By: as(bob), Agrees: true}, access.ApproverNotAllowed},
		{"a workflow that policy does not name", access.Vote{By: access.Actor{Person: bob}, Via: workflow, Agrees: true}, access.ApproverNotAllowed},
		{"a workflow for the requester", access.Vote{By: access.Actor{Person: alice}, Via: workflow, Agrees: true}, access.OwnRequest},
		{"the requester as a workflow", access.Vote{By: access.Actor{Person: bob}, Via: alice, Agrees: true}, access.OwnRequest},
		{"the requester against it", access.Vote{By: as(alice, access.ApproverRole)}, access.OwnRequest},
	} {
		_, err := w.service.Vote(ctx, r.ID, c.vote)
		t.Log(c.name)
		wantCode(t, err, c.code)
	}
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	w.wantKinds(r.ID, "request.created", "request.awaiting-approval")
}

func TestOneApproverAgainstItEndsIt(t *testing.T) {
	w := newWorld(t)
	w.rule(twoApprovers)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(bob))
	w.vote(r.ID, access.Vote{By: as(dave, access.ApproverRole), Comment: "Not today."})
	w.deliver()
	got := w.wantState(r.ID, access.Rejected)
	if reason := got.Targets[0].Reason; reason.Code != access.RejectedByApprover || !strings.Contains(reason.Sentence, "Not today.") {
		t.Errorf("reason %+v", reason)
	}
	_, err := w.service.Vote(ctx, r.ID, approver(carol))
	wantCode(t, err, access.RequestNotAwaiting)
}

func TestNobodyDecidesInTime(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.pass(4*time.Hour - time.Minute)
	w.wantState(r.ID, access.AwaitingApproval)
	w.pass(time.Minute)
	w.wantState(r.ID, access.Lapsed)
	w.wantKinds(r.ID, "request.created", "request.awaiting-approval", "request.lapsed")
	_, err := w.service.Vote(ctx, r.ID, approver(bob))
	wantCode(t, err, access.RequestNotAwaiting)

	lost := w.awaiting("web01")
	w.queue.DropAll()
	w.clock.Advance(4 * time.Hour)
	_, err = w.service.Vote(ctx, lost.ID, approver(bob))
	wantCode(t, err, access.RequestNotAwaiting) // whether its end was looked at or not
	w.sweep()
	w.wantState(lost.ID, access.Lapsed)
}

// TestAVoteOnWhatIsTakenBackMeanwhile: it waited when the approver's rights were looked
// up, and does not any more.
func TestAVoteOnWhatIsTakenBackMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	slow := *w.service
	slow.Store = &meanwhile{w.service.Store, 1, func() { w.revoke(r.ID) }}
	_, err := slow.Vote(ctx, r.ID, approver(bob))
	wantCode(t, err, access.RequestNotAwaiting)
	if got := w.wantState(r.ID, access.Cancelled); len(got.Votes) != 0 {
		t.Errorf("votes %+v", got.Votes)
	}
}

// TestTheFirstToRunOutOfTimeDecides: a request of two machines waits for as long as the
// more impatient of their policies allows, whichever is named first.
func TestTheFirstToRunOutOfTimeDecides(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + plainRest + strings.Replace(oneApprover, "PT4H", "PT1H", 1))
	for _, vms := range [][]string{{"web01", "db01"}, {"db01", "web01"}} {
		if r := w.awaiting(vms...); !r.DecideBy.Equal(w.clock.Now().Add(time.Hour)) {
			t.Errorf("%v: to be decided by %s", vms, r.DecideBy)
		}
	}
}

// TestAVoteInTimeCounts also when it is looked at late, and when it is given while the
// end of the time is being looked at. One that is not enough lapses with the rest.
func TestAVoteInTimeCounts(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.clock.Advance(4*time.Hour - time.Minute)
	w.vote(r.ID, approver(bob))
	w.clock.Advance(time.Minute) // the queue is slow
	w.deliver()
	w.wantState(r.ID, access.Active)

	w.rule(twoApprovers)
	r, short := w.awaiting("web01"), w.awaiting("db01")
	w.vote(r.ID, approver(bob))
	w.vote(short.ID, approver(bob))
	w.deliver()
	w.clock.Advance(4 * time.Hour)
	slow := approver(dave)
	slow.At = r.DecideBy.Add(-time.Minute)
	busy := *w.service
	busy.Store = &meanwhile{w.service.Store, 2, func() { // between the decision and the look at the time
		_, err := w.service.Store.UpdateRequest(ctx, r.ID, func(r *access.Request) ([]audit.Event, error) {
			r.Votes = append(r.Votes, slow)
			return []audit.Event{{Kind: audit.ApprovalGiven, At: slow.At}}, nil
		})
		must(t, err)
	}}
	must(t, busy.Evaluate(ctx, r.ID))
	w.wantState(r.ID, access.AwaitingApproval)
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.wantState(short.ID, access.Lapsed)
}

// TestAVoteDuringTheDecision, after the votes were read and before it is too late.
func TestAVoteDuringTheDecision(t *testing.T) {
	w := newWorld(t)
	w.rule(twoApprovers)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(bob))
	w.deliver()
	w.clock.Advance(4*time.Hour - 3*time.Second)
	busy, voted := *w.service, false
	busy.Rights = asking(func() {
		if !voted {
			voted = true
			w.vote(r.ID, approver(dave))
			w.clock.Advance(2 * time.Second)
		}
	})
	must(t, busy.Evaluate(ctx, r.ID))
	w.wantState(r.ID, access.AwaitingApproval)
	w.deliver()
	w.wantState(r.ID, access.Active)
}

// asking is called when Azure is asked for rights, of which everybody has all.
type asking func()

func (f asking) Roles(context.Context, access.Person, armid.ID) ([]string, error) {
	f()
	return []string{access.RequesterRole, access.ApproverRole}, nil
}

// meanwhile is a store in which something happens right before its n-th change of a
// request: whoever changes it had read it earlier.
type meanwhile struct {
	access.Store
	n  int
	do func()
}

func (m *meanwhile) UpdateRequest(ctx context.Context, id string, change func(*access.Request) ([]audit.Event, error)) (access.Request, error) {
	if m.n--; m.n == 0 {
		m.do()
	}
	return m.Store.UpdateRequest(ctx, id, change)
}

// TestPolicyIsAskedAgainWhenItIsApproved: what was allowed when it was asked for may
// not be any more, and somebody else may have to agree by now.
func TestPolicyIsAskedAgainWhenItIsApproved(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	stricter, shut := w.awaiting("web01"), w.awaiting("web01")
	w.rule(twoApprovers)
	w.vote(stricter.ID, approver(bob))
	w.deliver()
	if r := w.wantState(stricter.ID, access.AwaitingApproval); r.Targets[0].Approval.Quorum != 2 {
		t.Errorf("it still says %+v", r.Targets[0].Approval)
	}
	w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + "\nports: [{port: 3389, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n" + oneApprover)
	w.vote(shut.ID, approver(bob))
	w.deliver()
	got := w.wantState(shut.ID, access.Denied)
	if u := got.Targets[0].Unmet; len(u) != 1 || u[0].Code != "port_not_allowed" || !strings.Contains(u[0].Policy, "version 4") || u[0].Passes == "" {
		t.Errorf("unmet %+v", u)
	}
}

// TestTwoApproversAtTheSameMoment: both votes count, and there is one grant.
func TestTwoApproversAtTheSameMoment(t *testing.T) {
	for range 5 {
		w := newWorld(t)
		w.rule(twoApprovers)
		r := w.awaiting("web01")
		var group sync.WaitGroup
		for _, p := range []access.Person{bob, dave, carol} {
			group.Go(func() {
				if _, err := w.service.Vote(ctx, r.ID, approver(p)); err != nil {
					t.Errorf("%s: %v", p.Name, err)
				}
			})
		}
		group.Wait()
		for range 3 { // each vote's message, at once
			group.Go(func() {
				if err := w.service.Evaluate(ctx, r.ID); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		w.deliver()
		w.wantState(r.ID, access.Active)
		w.wantRules(nicNSG, 1)
		if n := len(slices.DeleteFunc(w.kinds(r.ID), func(k string) bool { return k != "request.approved" })); n != 1 {
			t.Errorf("approved %d times: %v", n, w.kinds(r.ID))
		}
	}
}

// TestALostVoteMessageIsFound: the vote was saved and the process died before it
// could have the request evaluated.
func TestALostVoteMessageIsFound(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(bob))
	w.queue.DropAll()
	w.sweep()
	w.wantState(r.ID, access.Active)
}

func TestARequestWaitsAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + plainRest + oneApprover)
	r := w.awaiting("web01", "db01")
	w.wantRules(nicNSG, 0)
	w.vote(r.ID, approver(bob))
	w.deliver()
	r = w.wantState(r.ID, access.Active)
	if !r.Targets[0].ExpiresAt.Equal(r.Targets[1].ExpiresAt) {
		t.Errorf("its parts end at %s and %s", r.Targets[0].ExpiresAt, r.Targets[1].ExpiresAt)
	}
}

// TestNobodyCouldEverApprove is said at once, where it can be known.
func TestNobodyCouldEverApprove(t *testing.T) {
	w := newWorld(t)
	const one, two = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
	w.rule("approval: {approvers: {users: [" + one + "]}, quorum: 1}")
	me := access.Actor{Person: access.Person{Tenant: "t", Object: one, Name: "me"}}
	_, err := w.service.Submit(ctx, me, "", ask("web01"))
	wantCode(t, err, access.NoApprover)
	w.rule("approval: {approvers: {users: [" + one + ", " + two + "]}, quorum: 1}")
	if _, err = w.service.Submit(ctx, me, "", ask("web01")); err != nil {
		t.Error(err)
	}
}

// TestAWorkflowVouches: its word counts for whom policy names, or because policy names
// the workflow; it is on record whose word it was and who vouched.
func TestAWorkflowVouches(t *testing.T) {
	w := newWorld(t)
	const workflow, manager = "aaaaaaaa-0000-4000-8000-00000000000f", "aaaaaaaa-0000-4000-8000-000000000009"
	w.rule("approval: {approvers: {applications: [" + workflow + "]}, quorum: 2}")
	r := w.awaiting("web01")
	via := access.Actor{Person: access.Person{Tenant: "t", Object: workflow, Name: "approval-flow"}, Standing: access.Standing{Application: true, Roles: []string{"Jit.Decide.Workflow"}}}
	for _, who := range []string{manager, manager, "aaaaaaaa-0000-4000-8000-000000000008"} {
		w.wantState(r.ID, access.AwaitingApproval)
		v, err := access.VoteForm{Agrees: true, Approver: &access.Person{Object: strings.ToUpper(who), Name: "manager@contoso.example"}}.Read(via)
		if err != nil {
			t.Fatal(err)
		}
		w.vote(r.ID, v)
		w.deliver()
	}
	r = w.wantState(r.ID, access.Active)
	if v := r.Votes[0]; v.By.Object != manager || v.Via.Object != workflow {
		t.Errorf("on record: %+v", v)
	}
	events, err := w.service.Store.Events(ctx, r.ID)
	must(t, err)
	at := slices.IndexFunc(events, func(e audit.Event) bool { return e.Kind == "approval.given" })
	if e := events[at]; e.Actor != manager || !strings.Contains(e.Text, "Vouched for by application approval-flow") {
		t.Errorf("event %+v", e)
	}
}

func TestVoteForms(t *testing.T) {
	person, workflow := as(bob, access.ApproverRole), as(carol)
	workflow.Application = true
	other := &access.Person{Object: "aaaaaaaa-0000-4000-8000-000000000001"}
	for _, c := range []struct {
		name string
		by   access.Actor
		form access.VoteForm
		code access.Code
	}{
		{"a person speaks for another", person, access.VoteForm{Approver: other}, access.ApproverInvalid},
		{"a workflow for nobody", workflow, access.VoteForm{}, access.ApproverInvalid},
		{"a workflow for a name", workflow, access.VoteForm{Approver: &access.Person{Object: "bob@contoso.example"}}, access.ApproverInvalid},
		{"a novel", person, access.VoteForm{Comment: strings.Repeat("x", 1001)}, access.CommentInvalid},
		{"an escape sequence", person, access.VoteForm{Comment: "\x1b[2J"}, access.CommentInvalid},
	} {
		_, err := c.form.Read(c.by)
		t.Log(c.name)
		wantCode(t, err, c.code)
	}
}

// TestTheSameWordWithOtherRights: policy asks for another role by now, and somebody who
// has agreed already agrees once more with it.
func TestTheSameWordWithOtherRights(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.rule("approval: {approvers: {roles: [Jit.Oncall]}, quorum: 1, within: PT4H}")
	_, err := w.service.Vote(ctx, r.ID, approver(bob))
	wantCode(t, err, access.ApproverNotAllowed)
	w.rule(twoApprovers)
	w.vote(r.ID, approver(bob))
	w.rule("approval: {approvers: {roles: [Jit.Oncall]}, quorum: 1, within: PT4H}")
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	w.vote(r.ID, access.Vote{By: as(bob, "Jit.Oncall"), Agrees: true})
	w.deliver()
	if got := w.wantState(r.ID, access.Active); len(got.Votes) != 1 {
		t.Errorf("votes %+v", got.Votes)
	}
}

// TestTheSameNoAboutAnotherMachine: it counted for one machine; by now it counts for
// the other as well.
func TestTheSameNoAboutAnotherMachine(t *testing.T) {
	w := newWorld(t)
	for _, vm := range []string{"web01", "db01"} {
		w.apply("apiVersion: jitgate/v1\nscope: " + vmID(vm).String() + plainRest + "approval: {approvers: {roles: [Jit." + vm + "]}, quorum: 1}")
	}
	r := w.awaiting("web01", "db01")
	no := access.Vote{By: as(bob, "Jit.web01"), Comment: "Not today."}
	w.vote(r.ID, no)
	w.deliver()
	if got := w.wantState(r.ID, access.AwaitingApproval); got.Targets[0].State != access.Rejected {
		t.Fatalf("web01 is %s", got.Targets[0].State)
	}
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + plainRest + "approval: {approvers: {roles: [Jit.web01]}, quorum: 1}")
	w.vote(r.ID, no)
	w.deliver()
	w.wantState(r.ID, access.Rejected)
}
