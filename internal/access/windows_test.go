package access_test

import (
	"context"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

const tillNine = "windows: [{zone: UTC, from: '08:00', to: '09:00'}]"

// untilNine is an ask for all that is left of the window.
func (w *world) untilNine(vms ...string) access.Ask {
	a := ask(vms...)
	a.Duration = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC).Sub(w.clock.Now())
	return a
}

// TestWhatAWindowAcceptsItOpens: some moments pass between an ask and the decision, and
// they push nothing out of a window; nothing outlasts it, either.
func TestWhatAWindowAcceptsItOpens(t *testing.T) {
	w := newWorld(t)
	w.rule(tillNine)
	nine := w.clock.Now().Add(time.Hour)
	w.clock.Advance(15*time.Minute + 13*time.Second)
	r := w.submit(w.untilNine("web01", "app01"))
	w.pass(2 * time.Second)
	if r = w.wantState(r.ID, access.Active); !r.Targets[0].ExpiresAt.Equal(nine) || !r.Targets[1].ExpiresAt.Equal(nine) {
		t.Errorf("open until %s and %s", r.Targets[0].ExpiresAt, r.Targets[1].ExpiresAt)
	}

	shorter := ask("web01")
	shorter.Duration = 20 * time.Minute
	r = w.submit(shorter)
	w.pass(2 * time.Second)
	if r = w.wantState(r.ID, access.Active); !r.Targets[0].ExpiresAt.Equal(w.clock.Now().Add(20 * time.Minute)) {
		t.Errorf("open until %s, with time to spare", r.Targets[0].ExpiresAt)
	}

	late := w.submit(w.untilNine("web01"))
	w.queue.DropAll()
	w.pass(2 * time.Hour)
	must(t, w.service.Evaluate(ctx, late.ID))
	if late = w.wantState(late.ID, access.Denied); late.Targets[0].Reason.Code != access.Code(policy.OutsideWindow) {
		t.Errorf("after the window: %+v", late.Targets[0].Reason)
	}
}

// TestTheFirstWindowToShut ends a request for several machines, in whatever order they
// were named.
func TestTheFirstWindowToShut(t *testing.T) {
	w := newWorld(t)
	w.rule("windows: [{zone: UTC, from: '08:00', to: '12:00'}]")
	w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db01").String() + plainRest + tillNine)
	nine := w.clock.Now().Add(time.Hour)
	w.clock.Advance(15 * time.Minute)
	for _, vms := range [][]string{{"web01", "db01"}, {"db01", "web01"}} {
		r := w.submit(w.untilNine(vms...))
		w.pass(2 * time.Second)
		if r = w.wantState(r.ID, access.Active); !r.ExpiresAt().Equal(nine) {
			t.Errorf("%v: open until %s", vms, r.ExpiresAt())
		}
	}
}

// TestTheGlassIsBrokenOutsideAWindow for as long as was asked.
func TestTheGlassIsBrokenOutsideAWindow(t *testing.T) {
	w := newWorld(t)
	w.rule("windows: [{zone: UTC, from: '10:00', to: '12:00'}]\nbreakGlass: {requesters: {roles: [Jit.Oncall]}}")
	r, err := w.service.Submit(ctx, as(alice, "Jit.Oncall"), "", glassAsk("web01"))
	must(t, err)
	w.deliver()
	if r = w.wantState(r.ID, access.Active); !r.ExpiresAt().Equal(w.clock.Now().Add(time.Hour)) {
		t.Errorf("open until %s", r.ExpiresAt())
	}
}

// TestNobodyGotToIt: a condition on time is not judged by an hour that is long gone.
func TestNobodyGotToIt(t *testing.T) {
	w := newWorld(t)
	w.rule(`conditions: [{expression: 'time < timestamp("2026-03-01T09:00:00Z")', message: The freeze begins at nine.}]`)
	w.clock.Advance(59 * time.Minute)
	r := w.submit(ask("web01"))
	w.queue.DropAll()
	w.pass(5 * time.Hour)
	must(t, w.service.Evaluate(ctx, r.ID))
	w.wantState(r.ID, access.Denied)
}

// slow is Azure's answer to who has which role on a machine, which takes a while.
type slow struct{ clock *clockwork.FakeClock }

func (s slow) Roles(context.Context, access.Person, armid.ID) ([]string, error) {
	s.clock.Advance(300 * time.Millisecond)
	return []string{access.RequesterRole}, nil
}

// TestTheMomentOfAnAsk: it was made when policy was asked, not when it is saved.
func TestTheMomentOfAnAsk(t *testing.T) {
	w := newWorld(t)
	w.rule(tillNine)
	w.service.Rights = slow{w.clock}
	r := w.submit(w.untilNine("web01"))
	w.deliver()
	w.wantState(r.ID, access.Active)
}

// TestApprovalThatComesTooLateForAWindow: the moment of approval counts for what waited.
func TestApprovalThatComesTooLateForAWindow(t *testing.T) {
	w := newWorld(t)
	w.rule(tillNine + "\n" + oneApprover)
	half := ask("web01")
	half.Duration = 30 * time.Minute
	inTime, late := w.submit(half), w.submit(half)
	w.deliver()
	w.clock.Advance(20 * time.Minute)
	w.vote(inTime.ID, approver(bob))
	w.deliver()
	w.wantState(inTime.ID, access.Active)
	w.clock.Advance(11 * time.Minute)
	w.vote(late.ID, approver(bob))
	w.deliver()
	if late = w.wantState(late.ID, access.Denied); late.Targets[0].Reason.Code != access.Code(policy.OutsideWindow) {
		t.Errorf("%+v", late.Targets[0].Reason)
	}
}
