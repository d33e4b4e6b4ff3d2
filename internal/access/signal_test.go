package access_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/alert"
	"jitgate/internal/audit"
)

const alertRules = `apiVersion: jitgate/alerts/v1
rules:
  - name: attack
    when: {rule: [vm-cpu-*], severity: [0, 1]}
    do: {revoke: true, lockdown: {untilResolved: true}}
  - name: unwell
    when: {service: [Resource Health]}
    do:
      preapprove: {group: ` + oncall + `, within: ` + subscription + `, for: PT1H, ports: [{port: 22, protocol: TCP}]}
  - name: soc
    when: {source: [sentinel]}
    allow: [revoke, lockdown, unlock]
`

const oncall = "99999999-0000-4000-8000-0000000000e1"

// metric is an alert of Azure Monitor about a machine of the demo.
func metric(t *testing.T, sample, vm string) alert.Alert {
	t.Helper()
	text, err := os.ReadFile("../alert/testdata/" + sample)
	if err != nil {
		t.Fatal(err)
	}
	const there = "/subscriptions/11111111-2222-3333-4444-555555555555/resourcegroups/rg-prod-app/providers/microsoft.compute/virtualmachines/vm-app-01"
	if !strings.Contains(string(text), there) {
		t.Fatalf("%s does not name the machine", sample)
	}
	a, err := alert.Parse([]byte(strings.ReplaceAll(string(text), there, strings.ToLower(vmID(vm).String()))))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func own(t *testing.T, id, action, vm string) alert.Alert { return ownUntil(t, id, action, vm, "") }

func ownUntil(t *testing.T, id, action, vm, until string) alert.Alert {
	t.Helper()
	a, err := alert.Parse(fmt.Appendf(nil, `{"source":"sentinel","externalId":%q,"action":%q,"vmResourceId":%q,"reason":"brute force","until":%q}`, id, action, vmID(vm), until))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (w *world) take(a alert.Alert, status string) {
	w.tb.Helper()
	got, err := w.service.TakeAlert(ctx, a, carol)
	if err != nil {
		w.tb.Fatalf("take: %v", err)
	}
	if got.Status != status {
		w.tb.Errorf("%+v, want %s", got, status)
	}
	w.deliver()
}

func (w *world) alertRules() {
	w.tb.Helper()
	if _, err := w.service.ApplyAlertRules(ctx, alertRules, carol); err != nil {
		w.tb.Fatal(err)
	}
}

func TestAnAlertClosesAndLocksAMachineUntilItIsResolved(t *testing.T) {
	w := newWorld(t)
	w.take(metric(t, "01-metric-fired.json", "web01"), access.Ignored) // no rules yet
	w.alertRules()
	r, other := w.active("web01"), w.active("db01")
	w.take(metric(t, "01-metric-fired.json", "web01"), access.Accepted)
	got := w.wantState(r.ID, access.Revoked)
	w.wantState(other.ID, access.Active)
	w.wantRules(nicNSG, 0)
	if got.Targets[0].Reason.Code != access.LockedDown {
		t.Errorf("reason %+v", got.Targets[0].Reason)
	}
	_, err := w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
	w.take(metric(t, "01-metric-fired.json", "web01"), access.Duplicate)
	w.take(metric(t, "05-extra-metric-resolved-same-alertId.json", "web01"), access.Accepted)
	w.active("web01")
	want := []string{"policy.applied", "lockdown.set", "alert.taken", "lockdown.lifted"}
	if got := w.ledgerKinds(); !slices.Equal(got, want) {
		t.Errorf("the record: %v, want %v", got, want)
	}
}

func TestAlertsAboutNothingOfOurs(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	text, err := os.ReadFile("../alert/testdata/01-metric-fired.json")
	must(t, err)
	foreign, err := alert.Parse(text)
	must(t, err)
	w.take(foreign, access.Ignored)
	w.take(metric(t, "06-extra-resource-health.json", "web01"), access.Accepted)
	elsewhere := own(t, "1", "preapprove", "web01")
	w.take(elsewhere, access.Ignored) // the rule does not allow it
}

// TestALostAlertIsCarriedOut: filed, and the process died before it could queue it,
// or half-way through.
func TestALostAlertIsCarriedOut(t *testing.T) {
	for n := 1; n <= 8; n++ {
		w := newWorld(t)
		w.alertRules()
		r := w.active("web01")
		a := metric(t, "01-metric-fired.json", "web01")
		mortal := newCrash(w, n)
		if _, err := mortal.TakeAlert(ctx, a, carol); err == nil {
			_ = mortal.CarryOutSignal(ctx, a.Key)
		}
		w.queue.DropAll()
		w.take(a, map[bool]string{true: access.Accepted, false: access.Duplicate}[n == 1])
		w.sweep()
		w.wantState(r.ID, access.Revoked)
		ledger, err := w.service.Ledgers.Ledger(ctx)
		must(t, err)
		if len(ledger.Lockdowns) != 1 {
			t.Errorf("dead at %d: %d lockdowns, want one", n, len(ledger.Lockdowns))
		}
	}
}

func TestAWorkflowAsksForALockdown(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	r := w.active("web01")
	w.take(own(t, "7", "lockdown", "web01"), access.Accepted)
	w.wantState(r.ID, access.Revoked)
	w.take(own(t, "8", "unlock", "web01"), access.Accepted) // another's
	_, err := w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
	w.take(own(t, "7", "unlock", "web01"), access.Accepted)
	second := w.active("web01")
	w.take(own(t, "9", "revoke", "web01"), access.Accepted)
	if got := w.wantState(second.ID, access.Revoked); got.Targets[0].Reason.Code != access.ClosedByAlert {
		t.Errorf("reason %+v", got.Targets[0].Reason)
	}
}

func TestAnAlertStandsInForTheApprover(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	w.rule(oneApprover)
	w.take(metric(t, "06-extra-resource-health.json", "web01"), access.Accepted)
	me := as(alice)
	me.Groups = []string{oncall}
	submit := func(who access.Actor, vm string, want access.State) {
		t.Helper()
		r, err := w.service.Submit(ctx, who, "", ask(vm))
		must(t, err)
		w.deliver()
		w.wantState(r.ID, want)
	}
	submit(me, "web01", access.Active)
	submit(me, "db01", access.AwaitingApproval)
	submit(as(bob), "web01", access.AwaitingApproval)
	w.apply("apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n" + twoApprovers)
	submit(me, "web01", access.AwaitingApproval) // never in the place of a guardrail's
	w.pass(time.Hour)
	w.sweep()
	if got := w.ledgerKinds(); got[len(got)-1] != "alert.pre-approval-ended" {
		t.Errorf("the record: %v", got)
	}
}

// TestAnIncidentOfTwoMachines: it has one id, and each machine its own word.
func TestAnIncidentOfTwoMachines(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	for _, action := range []string{"revoke", "lockdown"} {
		for _, vm := range []string{"web01", "db01"} {
			r := w.active(vm)
			w.take(own(t, "7", action, vm), access.Accepted)
			w.take(own(t, "7", action, vm), access.Duplicate)
			w.wantState(r.ID, access.Revoked)
		}
	}
	w.take(own(t, "7", "unlock", "web01"), access.Accepted)
	w.active("web01")
	_, err := w.service.Submit(ctx, as(alice), "", ask("db01"))
	wantCode(t, err, access.LockedDown)
}

// TestTheLastWordOfAWorkflowHolds also when what it says was said before.
func TestTheLastWordOfAWorkflowHolds(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	for range 2 {
		r := w.active("web01")
		w.take(own(t, "7", "lockdown", "web01"), access.Accepted)
		w.take(own(t, "7", "lockdown", "web01"), access.Duplicate)
		w.wantState(r.ID, access.Revoked)
		_, err := w.service.Submit(ctx, as(alice), "", ask("web01"))
		wantCode(t, err, access.LockedDown)
		w.take(own(t, "7", "unlock", "web01"), access.Accepted)
		w.take(own(t, "7", "unlock", "web01"), access.Duplicate)
	}
	w.active("web01")
}

// TestTheLastWordOvertakesTheOneBefore: it is taken and carried out while the one before
// it is all done but for being settled.
func TestTheLastWordOvertakesTheOneBefore(t *testing.T) {
	for _, last := range []string{"unlock", "lockdown"} {
		w := newWorld(t)
		w.alertRules()
		first := map[string]string{"unlock": "lockdown", "lockdown": "unlock"}[last]
		if first == "unlock" {
			w.take(own(t, "7", "lockdown", "web01"), access.Accepted)
		}
		_, err := w.service.TakeAlert(ctx, own(t, "7", first, "web01"), carol)
		must(t, err)
		slow := *w.service
		slow.Ledgers = &slowToSettle{w.service.Ledgers, func() { w.take(own(t, "7", last, "web01"), access.Accepted) }}
		must(t, slow.CarryOutSignal(ctx, own(t, "7", first, "web01").Key))
		_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
		if last == "unlock" {
			must(t, err)
		} else {
			wantCode(t, err, access.LockedDown)
		}
	}
}

// TestALockdownThatAnUnlockOvertook: the unlock is carried out after the lockdown was read
// and before it is saved, so that there is nothing to lift yet.
func TestALockdownThatAnUnlockOvertook(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	lock := own(t, "7", "lockdown", "web01")
	_, err := w.service.TakeAlert(ctx, lock, carol)
	must(t, err)
	slow := *w.service
	slow.Ledgers = &slowToSave{w.service.Ledgers, func() { w.take(own(t, "7", "unlock", "web01"), access.Accepted) }}
	must(t, slow.CarryOutSignal(ctx, lock.Key))
	w.active("web01")
}

// TestAnUnlockThatALockdownOvertook lifts nothing newer than itself: when it cannot be
// settled and comes again, there is nothing left of it that would mend that.
func TestAnUnlockThatALockdownOvertook(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	w.take(own(t, "7", "lockdown", "web01"), access.Accepted)
	unlock := own(t, "7", "unlock", "web01")
	_, err := w.service.TakeAlert(ctx, unlock, carol)
	must(t, err)
	slow := *w.service
	slow.Ledgers = unsettled{&slowToSave{w.service.Ledgers, func() { w.take(own(t, "7", "lockdown", "web01"), access.Accepted) }}}
	if err := slow.CarryOutSignal(ctx, unlock.Key); !errors.Is(err, access.ErrUnavailable) {
		t.Fatal(err)
	}
	must(t, w.service.CarryOutSignal(ctx, unlock.Key))
	w.sweep()
	_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
}

// unsettled cannot settle anything.
type unsettled struct{ access.LedgerStore }

func (unsettled) SettleSignal(context.Context, access.Signal) error { return access.ErrUnavailable }

// slowToSave has something happen before it changes the ledger for the first time.
type slowToSave struct {
	access.LedgerStore
	meanwhile func()
}

func (s *slowToSave) UpdateLedger(ctx context.Context, change func(*access.Ledger) ([]audit.Event, error)) (access.Ledger, error) {
	if meanwhile := s.meanwhile; meanwhile != nil {
		s.meanwhile = nil
		meanwhile()
	}
	return s.LedgerStore.UpdateLedger(ctx, change)
}

// TestALockdownIsAskedForAnew with another end, in force or not, or after an unlock that
// was not carried out yet: the last word holds.
func TestALockdownIsAskedForAnew(t *testing.T) {
	in := func(w *world, d time.Duration) string { return w.clock.Now().Add(d).Format(time.RFC3339) }
	locked := func(w *world, want bool) {
		w.tb.Helper()
		_, err := w.service.Submit(ctx, as(alice), "", ask("web01"))
		if want {
			wantCode(t, err, access.LockedDown)
		} else {
			must(t, err)
		}
	}
	w := newWorld(t)
	w.alertRules()
	w.take(ownUntil(t, "7", "lockdown", "web01", in(w, 2*time.Hour)), access.Accepted)
	w.take(ownUntil(t, "7", "lockdown", "web01", in(w, 6*time.Hour)), access.Accepted)
	w.take(ownUntil(t, "7", "lockdown", "web01", in(w, 6*time.Hour)), access.Duplicate)
	if l := w.ledger(); len(l.Lockdowns) != 1 {
		t.Errorf("%d lockdowns of one machine", len(l.Lockdowns))
	}
	w.pass(3 * time.Hour)
	w.sweep()
	locked(w, true)
	w.pass(3 * time.Hour)
	w.sweep()
	locked(w, false)
	w.take(ownUntil(t, "7", "lockdown", "web01", in(w, time.Hour)), access.Accepted)
	locked(w, true)
	_, err := w.service.TakeAlert(ctx, own(t, "7", "unlock", "web01"), carol)
	must(t, err)
	w.queue.DropAll()
	w.take(own(t, "7", "lockdown", "web01"), access.Accepted) // until somebody unlocks it
	w.pass(2 * time.Hour)
	w.sweep()
	locked(w, true)
	w.take(own(t, "7", "unlock", "web01"), access.Accepted)
	locked(w, false)

	w.take(ownUntil(t, "8", "lockdown", "web01", in(w, time.Hour)), access.Accepted)
	w.pass(2 * time.Hour)
	r := w.active("web01")
	w.take(own(t, "8", "unlock", "web01"), access.Accepted) // late: it closes nothing
	w.wantState(r.ID, access.Active)
}

// TestAWordThatIsNotFiled leaves the one before as it was: it is carried out.
func TestAWordThatIsNotFiled(t *testing.T) {
	for n := 1; n <= 3; n++ {
		w := newWorld(t)
		w.alertRules()
		r := w.active("web01")
		_, err := w.service.TakeAlert(ctx, own(t, "7", "lockdown", "web01"), carol)
		must(t, err)
		if _, err := newCrash(w, n).TakeAlert(ctx, own(t, "7", "unlock", "web01"), carol); err == nil && n < 3 {
			t.Errorf("it did not die at effect %d", n)
		}
		w.deliver()
		w.sweep()
		w.wantState(r.ID, access.Revoked)
	}
}

// slowToSettle has something happen before it settles a signal for the first time.
type slowToSettle struct {
	access.LedgerStore
	meanwhile func()
}

func (s *slowToSettle) SettleSignal(ctx context.Context, signal access.Signal) error {
	if meanwhile := s.meanwhile; meanwhile != nil {
		s.meanwhile = nil
		meanwhile()
	}
	return s.LedgerStore.SettleSignal(ctx, signal)
}

// TestALockdownForATimeIsUnlockedBefore, and one that would be over already is refused.
func TestALockdownForATimeIsUnlockedBefore(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	until := w.clock.Now().Add(20 * time.Hour).Format(time.RFC3339)
	for _, vm := range []string{"web01", "db01"} {
		w.take(ownUntil(t, "7", "lockdown", vm, until), access.Accepted)
		_, err := w.service.Submit(ctx, as(alice), "", ask(vm))
		wantCode(t, err, access.LockedDown)
	}
	w.take(own(t, "7", "unlock", "web01"), access.Accepted)
	w.active("web01")
	events, err := w.service.Ledgers.LedgerEvents(ctx, 0, 0)
	must(t, err)
	if last := events[len(events)-1]; last.Actor != carol.Object || !strings.Contains(last.Text, "1 lockdown(s) of it lifted") {
		t.Errorf("the record says %+v", last)
	}
	w.pass(20 * time.Hour)
	w.sweep()
	w.active("db01")
	_, err = w.service.TakeAlert(ctx, ownUntil(t, "8", "lockdown", "web01", until), carol)
	if refused := (alert.Refusal{}); !errors.As(err, &refused) || refused.Code != alert.Malformed {
		t.Errorf("a lockdown until a time that is past: %v", err)
	}
}

// TestTheEndOfNobodysAlert is on no record: an action group tells of every alert.
func TestTheEndOfNobodysAlert(t *testing.T) {
	w := newWorld(t)
	_, err := w.service.ApplyAlertRules(ctx, "apiVersion: jitgate/alerts/v1\nrules: [{name: soc, when: {source: [sentinel]}, allow: [revoke]}]\n", carol)
	must(t, err)
	before := w.ledgerKinds()
	w.take(metric(t, "05-extra-metric-resolved-same-alertId.json", "web01"), access.Accepted)
	if got := w.ledgerKinds(); !slices.Equal(got, before) {
		t.Errorf("the record: %v", got[len(before):])
	}
}

// TestTheEndOfAnAlertOvertakesIt: its message is late, or whoever carried it out died
// before it was settled, or it is delivered after the news of its end. A machine stays
// locked for an alert that is over in none of these cases.
func TestTheEndOfAnAlertOvertakesIt(t *testing.T) {
	fired := func(t *testing.T) alert.Alert { return metric(t, "01-metric-fired.json", "web01") }
	over := func(t *testing.T) alert.Alert {
		return metric(t, "05-extra-metric-resolved-same-alertId.json", "web01")
	}
	for name, c := range map[string]struct {
		first, second func(*testing.T) alert.Alert
		late          func(w *world, key string)
	}{
		"late": {fired, over, func(*world, string) {}},
		"half-way": {fired, over, func(w *world, key string) {
			if err := newCrash(w, 2).CarryOutSignal(ctx, key); err == nil {
				w.tb.Fatal("it did not die")
			}
		}},
		"not settled": {fired, over, func(w *world, key string) {
			crash := &accesstest.Crash{At: 7}
			err := crash.Service(w.service).CarryOutSignal(ctx, key)
			if _, where := crash.Died(); err == nil || where != "settle signal" {
				w.tb.Fatalf("it died at %q: %v", where, err)
			}
		}},
		"delivered after it": {over, fired, func(*world, string) {}},
		"of a workflow": {
			func(t *testing.T) alert.Alert { return own(t, "7", "lockdown", "web01") },
			func(t *testing.T) alert.Alert { return own(t, "7", "unlock", "web01") },
			func(*world, string) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.alertRules()
			r := w.active("web01")
			first, second := c.first(t), c.second(t)
			_, err := w.service.TakeAlert(ctx, first, carol)
			must(t, err)
			if first.Condition == alert.Fired {
				c.late(w, first.Key)
			} else {
				w.deliver()
			}
			w.queue.DropAll()
			w.take(second, access.Accepted)
			w.sweep()
			w.sweep()
			w.wantState(r.ID, access.Revoked) // in whatever order, it was closed
			ledger, err := w.service.Ledgers.Ledger(ctx)
			must(t, err)
			if len(ledger.Lockdowns) != 0 {
				t.Errorf("locked down for an alert that is over: %v", w.ledgerKinds())
			}
			w.active("web01")
		})
	}
}

// TestEveryMachineOfAnAlertIsLocked also when what is open on one of them cannot be
// closed this time.
func TestEveryMachineOfAnAlertIsLocked(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	stuck, r := w.active("web01"), w.active("db01")
	a := metric(t, "01-metric-fired.json", "web01")
	a.Machines = append(a.Machines, vmID("db01"))
	_, err := w.service.TakeAlert(ctx, a, carol)
	must(t, err)
	sick := *w.service
	sick.Store = &sickStore{w.service.Store, stuck.ID}
	if err := sick.CarryOutSignal(ctx, a.Key); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("%v; want it tried again", err)
	}
	for _, m := range w.queue.Due(w.clock.Now()) {
		if m.Signal != "" {
			w.queue.Drop(m)
		}
	}
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantState(stuck.ID, access.Active)
	w.sweep()
	w.wantState(stuck.ID, access.Revoked)
}

// sickStore cannot save one request.
type sickStore struct {
	access.Store
	request string
}

func (s *sickStore) UpdateRequest(ctx context.Context, id string, change func(*access.Request) ([]audit.Event, error)) (access.Request, error) {
	if id == s.request {
		return access.Request{}, access.ErrUnavailable
	}
	return s.Store.UpdateRequest(ctx, id, change)
}
