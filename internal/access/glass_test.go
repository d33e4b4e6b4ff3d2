package access_test

import (
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
)

func glassAsk(vm string) access.Ask {
	a := ask(vm)
	a.BreakGlass, a.Justification = true, "The shop is down."
	return a
}

func TestBreakingTheGlass(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}, reviewWithin: P1D}")
	_, err := w.service.Submit(ctx, as(alice), "", glassAsk("web01"))
	wantCode(t, err, access.BreakGlassNotAllowed)
	silent := glassAsk("web01")
	silent.Justification = ""
	_, err = w.service.Submit(ctx, as(alice, "Jit.Oncall"), "", silent)
	wantCode(t, err, "justification_required")

	r, err := w.service.Submit(ctx, as(alice, "Jit.Oncall"), "", glassAsk("web01"))
	must(t, err)
	w.deliver()
	r = w.wantState(r.ID, access.Active)
	if !r.Review.Open() || !r.Review.DueAt.Equal(w.clock.Now().Add(25*time.Hour)) {
		t.Errorf("review %+v", r.Review)
	}
	w.wantKinds(r.ID, "request.created", "request.approved", "breakglass.opened", "rule.created", "access.opened")
	_, err = w.service.CloseReview(ctx, r.ID, as(bob), "Fine so far.")
	wantCode(t, err, access.ReviewNotDue) // nobody knows yet what will have been done

	w.pass(2 * time.Hour)
	w.wantState(r.ID, access.Expired)
	due, err := w.service.Store.List(ctx, access.Query{ReviewDue: true})
	must(t, err)
	if len(due.Requests) != 1 {
		t.Errorf("%d reviews are due", len(due.Requests))
	}
	_, err = w.service.CloseReview(ctx, r.ID, as(alice), "I was right.")
	wantCode(t, err, access.OwnRequest)
	_, err = w.service.CloseReview(ctx, r.ID, as(bob), " ")
	wantCode(t, err, access.CommentMissing)
	w.pass(23*time.Hour - time.Minute)
	if kinds := w.kinds(r.ID); kinds[len(kinds)-1] != "access.expired" {
		t.Errorf("the record: %v", kinds)
	}
	w.pass(time.Minute)
	if kinds := w.kinds(r.ID); kinds[len(kinds)-1] != "breakglass.review-overdue" {
		t.Errorf("the record: %v", kinds)
	}
	r, err = w.service.CloseReview(ctx, r.ID, as(bob), "Right, and the cause is mended.")
	must(t, err)
	if r.Review.Open() || !r.Finished() {
		t.Errorf("review %+v", r.Review)
	}
	_, err = w.service.CloseReview(ctx, r.ID, as(carol), "Once more.")
	wantCode(t, err, access.ReviewNotDue)
}

// TestTheMostImpatientPolicyHasItReviewed, whichever machine is named first.
func TestTheMostImpatientPolicyHasItReviewed(t *testing.T) {
	w := newWorld(t)
	glass := func(within string) string {
		return plainRest + oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}, reviewWithin: " + within + "}\n"
	}
	w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + glass("P2D"))
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + glass("P1D"))
	for _, vms := range [][]string{{"web01", "db01"}, {"db01", "web01"}} {
		a := ask(vms...)
		a.BreakGlass = true
		r, err := w.service.Submit(ctx, as(alice, "Jit.Oncall"), "", a)
		must(t, err)
		w.deliver()
		if r = w.wantState(r.ID, access.Active); !r.Review.DueAt.Equal(r.ExpiresAt().Add(24 * time.Hour)) {
			t.Errorf("%v: the review is due at %s", vms, r.Review.DueAt)
		}
	}
}

// TestALockedPersonReviewsNothing.
func TestALockedPersonReviewsNothing(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}")
	r, err := w.service.Submit(ctx, as(alice, "Jit.Oncall"), "", glassAsk("web01"))
	must(t, err)
	w.deliver()
	w.revoke(r.ID)
	w.deliver()
	l, _ := w.lockDown(access.Lockdown{User: bobsID})
	_, err = w.service.CloseReview(ctx, r.ID, as(realBob), "Fine.")
	wantCode(t, err, access.LockedDown)
	must(t, w.service.Lift(ctx, l.ID, carol, ""))
	_, err = w.service.CloseReview(ctx, r.ID, as(realBob), "Fine.")
	must(t, err)
}

// TestWhatNobodyAgreedToIsNotExtended where somebody would have to agree: access by
// breaking the glass, and by an alert that has let go since.
func TestWhatNobodyAgreedToIsNotExtended(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	const glass = "\nextensions: 5\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}"
	w.rule(oneApprover + glass)
	me := as(alice, "Jit.Oncall")
	me.Groups = []string{oncall}
	submit := func(a access.Ask) access.Request {
		t.Helper()
		r, err := w.service.Submit(ctx, me, "", a)
		must(t, err)
		w.deliver()
		return w.wantState(r.ID, access.Active)
	}
	extend := func(r access.Request) error {
		_, err := w.service.Extend(ctx, r.ID, me, "PT10M")
		return err
	}
	err := extend(submit(glassAsk("web01")))
	wantCode(t, err, access.ExtensionNotAllowed)
	if !strings.Contains(err.Error(), "Ask anew") {
		t.Errorf("it does not say what to do: %v", err)
	}

	w.take(metric(t, "06-extra-resource-health.json", "web01"), access.Accepted)
	given := submit(ask("web01"))
	w.pass(59 * time.Minute)
	must(t, extend(given))
	w.pass(time.Minute)
	wantCode(t, extend(given), access.ExtensionNotAllowed)

	agreed := w.awaiting("db01")
	w.vote(agreed.ID, approver(realBob))
	w.deliver()
	must(t, extend(agreed))
	l, _ := w.lockDown(access.Lockdown{User: bobsID}) // while it lasts, what they said does not count
	wantCode(t, extend(agreed), access.ExtensionNotAllowed)
	must(t, w.service.Lift(ctx, l.ID, carol, ""))
	must(t, extend(agreed))
	w.rule(twoApprovers + glass)
	wantCode(t, extend(agreed), access.ExtensionNotAllowed)

	w.rule(glass) // nobody has to agree
	loose := submit(glassAsk("db02"))
	must(t, extend(loose))
	if due := w.request(loose.ID).Review.DueAt; due.Sub(loose.Review.DueAt) != 10*time.Minute {
		t.Errorf("the review of a longer access is due at %s instead of %s", due, loose.Review.DueAt)
	}
}

// TestTheGlassKeepsLimits: it opens at once, not wider or longer, and not under a
// lockdown or past a guardrail that does not know it.
func TestTheGlassKeepsLimits(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}")
	me := as(alice, "Jit.Oncall")
	long := glassAsk("web01")
	long.Duration = 4 * time.Hour
	_, err := w.service.Submit(ctx, me, "", long)
	wantCode(t, err, "duration_over_policy")
	w.apply("apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n" + oneApprover)
	_, err = w.service.Submit(ctx, me, "", glassAsk("web01"))
	wantCode(t, err, access.BreakGlassNotAllowed)
	w.apply("apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n" + oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}")
	w.lockDown(access.Lockdown{User: "", Scope: scopeOf("web01")})
	_, err = w.service.Submit(ctx, me, "", glassAsk("web01"))
	wantCode(t, err, access.LockedDown)
	if !strings.Contains(err.Error(), "Suspected break-in.") {
		t.Errorf("it does not say why: %v", err)
	}
}
