package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

func (w *world) lockDown(l access.Lockdown) (access.Lockdown, int) {
	w.tb.Helper()
	l.Reason = "Suspected break-in."
	l, n, err := w.service.LockDown(ctx, l, carol)
	if err != nil {
		w.tb.Fatalf("lock down: %v", err)
	}
	return l, n
}

func (w *world) ledgerKinds() []string {
	w.tb.Helper()
	events, err := w.service.Ledgers.LedgerEvents(ctx, 0, 0)
	if err != nil {
		w.tb.Fatal(err)
	}
	var out []string
	for _, e := range events {
		out = append(out, string(e.Kind))
	}
	return out
}

func TestLockdownOfAMachine(t *testing.T) {
	w := newWorld(t)
	open, other := w.active("web01"), w.active("db01")
	pending := w.submit(ask("web01"))
	l, n := w.lockDown(access.Lockdown{Scope: policy.ScopeOf(vmID("web01"))})
	if n != 2 {
		t.Errorf("%d requests ended, want 2", n)
	}
	w.deliver()
	got := w.wantState(open.ID, access.Revoked)
	w.wantState(pending.ID, access.Cancelled)
	w.wantState(other.ID, access.Active)
	w.wantRules(nicNSG, 0)
	if got.Targets[0].Reason.Code != access.LockedDown {
		t.Errorf("reason %+v", got.Targets[0].Reason)
	}
	_, err := w.service.Submit(ctx, as(bob), "", ask("web01"))
	wantCode(t, err, access.LockedDown)

	must(t, w.service.Lift(ctx, l.ID, bob, "All clear."))
	w.active("web01")
	err = w.service.Lift(ctx, l.ID, bob, "")
	wantCode(t, err, access.LockdownNotFound)
	if got := w.ledgerKinds(); len(got) != 2 || got[0] != "lockdown.set" || got[1] != "lockdown.lifted" {
		t.Errorf("the record: %v", got)
	}
}

// TestALockedPersonCannotUndoIt: nor ask, nor decide, nor extend, nor take from others
// what is theirs.
func TestALockedPersonCannotUndoIt(t *testing.T) {
	w := newWorld(t)
	bob := access.Person{Tenant: "t", Object: "b0b00000-0000-4000-8000-000000000002", Name: bob.Name}
	w.rule("extensions: 1")
	theirs := w.active("web01")
	mine, err := w.service.Submit(ctx, as(bob), "", ask("web01"))
	must(t, err)
	w.deliver()
	w.rule(oneApprover + "\nextensions: 1")
	waiting := w.awaiting("web01")
	_, _, err = newCrash(w, 2).LockDown(ctx, access.Lockdown{User: bob.Object, Reason: "x"}, carol)
	if l := w.ledger().Lockdowns; err == nil || len(l) != 1 {
		t.Fatalf("it has to die when the lockdown is saved, and nothing closed: %v, %+v", err, l)
	}
	_, err = w.service.Extend(ctx, mine.ID, as(bob), "PT30M")
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Revoke(ctx, theirs.ID, bob)
	wantCode(t, err, access.LockedDown)
	w.wantState(theirs.ID, access.Active)
	_, err = w.service.Revoke(ctx, mine.ID, bob) // that harms nobody
	must(t, err)
	l := w.ledger().Lockdowns[0]
	_, err = w.service.Vote(ctx, waiting.ID, approver(bob))
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Submit(ctx, as(bob), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
	wantCode(t, w.service.Lift(ctx, l.ID, bob, ""), access.LockedDown)
	_, _, err = w.service.LockDown(ctx, access.Lockdown{Scope: policy.Tenant, Reason: "x"}, bob)
	wantCode(t, err, access.LockedDown)
	_, err = w.service.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscope: "+demoScope+plainRest, bob)
	wantCode(t, err, access.LockedDown)
	w.wantState(waiting.ID, access.AwaitingApproval) // others are not concerned
}

// TestWhatABrokenProcessLeavesOpenTheSweepCloses: the lockdown was saved and the
// process died before it had closed anything; a decision was taken at that moment.
func TestWhatABrokenProcessLeavesOpenTheSweepCloses(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01")
	crash := newCrash(w, 2)
	if _, _, err := crash.LockDown(ctx, access.Lockdown{Scope: policy.Tenant, Reason: "x"}, carol); err == nil {
		t.Fatal("it did not die")
	}
	w.wantState(r.ID, access.Active)
	w.sweep()
	w.wantState(r.ID, access.Revoked)
}

func TestALockdownEnds(t *testing.T) {
	w := newWorld(t)
	w.lockDown(access.Lockdown{Scope: policy.Tenant, Until: w.clock.Now().Add(time.Hour)})
	_, err := w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
	w.clock.Advance(time.Hour)
	w.active("web01")
	w.sweep()
	if got := w.ledgerKinds(); got[len(got)-1] != "lockdown.ended" {
		t.Errorf("the record: %v", got)
	}
	ledger, err := w.service.Ledgers.Ledger(ctx)
	must(t, err)
	if len(ledger.Lockdowns) != 0 {
		t.Errorf("still there: %+v", ledger.Lockdowns)
	}
}

// TestALockdownStopsWhatWasDecidedAMomentAgo: a request that was saved before the
// lockdown and is evaluated after it.
func TestALockdownStopsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	l, _ := w.lockDown(access.Lockdown{Scope: policy.ScopeOf(vmID("db01"))})
	must(t, w.service.Lift(ctx, l.ID, bob, ""))
	r := w.submit(ask("web01"))
	w.queue.DropAll()
	must(t, w.service.Evaluate(ctx, r.ID)) // approved, nothing written yet
	w.lockDown(access.Lockdown{Scope: policy.ScopeOf(vmID("web01"))})
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
}

// TestALockdownOfMoreThanAPage ends everything under it, however many pages of requests
// there are.
func TestALockdownOfMoreThanAPage(t *testing.T) {
	w := newWorld(t)
	w.service.Store = pages{w.service.Store}
	for range 5 {
		w.submit(ask("web01"))
	}
	if _, n := w.lockDown(access.Lockdown{Scope: policy.Tenant}); n != 5 {
		t.Errorf("%d requests ended, want 5", n)
	}
	if s := w.states(); strings.Contains(s, "Pending") {
		t.Errorf("under a lockdown: %s", s)
	}
}

// pages is a store whose pages hold two requests.
type pages struct{ access.Store }

func (p pages) List(ctx context.Context, q access.Query) (access.Page, error) {
	q.Limit = min(q.Limit, 2)
	return p.Store.List(ctx, q)
}

// TestTheLedgerCannotBeSaved: a lockdown whose time is over closes nothing any more, and
// one in force what was left open, although nothing can be taken out of the ledger.
func TestTheLedgerCannotBeSaved(t *testing.T) {
	w := newWorld(t)
	w.lockDown(access.Lockdown{Scope: scopeOf("web01"), Until: w.clock.Now().Add(time.Hour)})
	w.clock.Advance(time.Hour)
	free, left := w.active("web01"), w.active("db01")
	if _, _, err := newCrash(w, 2).LockDown(ctx, access.Lockdown{Scope: scopeOf("db01"), Reason: "x"}, carol); err == nil {
		t.Fatal("it did not die")
	}
	w.service.Ledgers = unsaved{w.service.Ledgers}
	if _, err := w.service.Sweep(ctx); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("the sweep says %v", err)
	}
	w.deliver()
	w.wantState(free.ID, access.Active)
	w.wantState(left.ID, access.Revoked)
}

// unsaved is a ledger that can only be read.
type unsaved struct{ access.LedgerStore }

func (unsaved) UpdateLedger(context.Context, func(*access.Ledger) ([]audit.Event, error)) (access.Ledger, error) {
	return access.Ledger{}, access.ErrUnavailable
}

func TestLockdownForms(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	good := access.LockdownForm{Scope: vmID("web01").String(), Reason: "x", Until: "2026-03-01T09:00:00Z"}
	if l, err := good.Read(now); err != nil || !l.Scope.Equal(policy.ScopeOf(vmID("WEB01"))) || l.Until.IsZero() {
		t.Errorf("%+v, %v", l, err)
	}
	for name, spoil := range map[string]func(*access.LockdownForm){
		"nobody":             func(f *access.LockdownForm) { f.Scope = "" },
		"both":               func(f *access.LockdownForm) { f.User = "b0b00000-0000-4000-8000-000000000002" },
		"a name":             func(f *access.LockdownForm) { f.Scope, f.User = "", "bob@contoso.example" },
		"an NSG":             func(f *access.LockdownForm) { f.Scope = nicNSG.String() },
		"no id":              func(f *access.LockdownForm) { f.Scope = "web01" },
		"a time gone by":     func(f *access.LockdownForm) { f.Until = "2026-03-01T08:00:00Z" },
		"a time in words":    func(f *access.LockdownForm) { f.Until = "tomorrow" },
		"a year too far":     func(f *access.LockdownForm) { f.Until = "9999-12-31T23:59:59-23:00" },
		"without a reason":   func(f *access.LockdownForm) { f.Reason = " " },
		"an escape sequence": func(f *access.LockdownForm) { f.Reason = "\x1b[2J" },
	} {
		form := good
		spoil(&form)
		if _, err := form.Read(now); err == nil {
			t.Errorf("%s: no fault", name)
		}
	}
	good.Until = "9999-12-31T23:59:59+23:00"
	if _, err := good.Read(now); err != nil {
		t.Error(err)
	}
}

// TestALockdownClosesWhatIsLeftOfARequest: one of its machines is stuck on the way out,
// the other is open.
func TestALockdownClosesWhatIsLeftOfARequest(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01", "db01")
	w.network.Refuse(nicNSG, errors.New("a lock"))
	w.network.RemoveMachine(vmID("web01"))
	w.sweep()
	if got := w.wantState(r.ID, access.Closing); got.Targets[1].State != access.Active {
		t.Fatalf("db01 is %s; it has to be open for this", got.Targets[1].State)
	}
	if _, n := w.lockDown(access.Lockdown{Scope: scopeOf("db01")}); n != 1 {
		t.Errorf("%d requests ended, want 1", n)
	}
	w.deliver()
	w.wantRules(subnetNSG, 0)
	if got := w.request(r.ID).Targets[1]; got.State != access.Revoked || got.Reason.Code != access.LockedDown {
		t.Errorf("db01 is %s because of %+v", got.State, got.Reason)
	}
}
