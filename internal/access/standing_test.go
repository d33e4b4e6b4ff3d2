package access_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// assigned are app roles by Azure's role assignments: object id and VM name → roles.
type assigned map[string][]string

func (a assigned) Roles(_ context.Context, who access.Person, vm armid.ID) ([]string, error) {
	return a[who.Object+" "+vm.Name()], nil
}

const (
	bobsID     = "b0b00000-0000-4000-8000-000000000002"
	workflowID = "10c1ca00-0000-4000-8000-000000000012"
)

// realBob has an object id, as lockdowns want one.
var realBob = access.Person{Tenant: "t", Object: bobsID, Name: bob.Name}

// TestAnApproverOfOneMachineDecidesNoOther: a vote is for the whole request, and was
// taken because it counts for one machine.
func TestAnApproverOfOneMachineDecidesNoOther(t *testing.T) {
	w := newWorld(t)
	w.service.Rights = assigned{
		"alice-oid web01": {access.RequesterRole}, "alice-oid db01": {access.RequesterRole},
		"bob-oid web01": {access.ApproverRole}, "dave-oid db01": {access.ApproverRole},
	}
	w.rule("approval: {}")
	r := w.awaiting("web01", "db01")
	w.vote(r.ID, access.Vote{By: as(bob), Agrees: true})
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	w.wantRules(subnetNSG, 0)
	w.vote(r.ID, access.Vote{By: as(dave), Agrees: true})
	w.deliver()
	w.wantState(r.ID, access.Active)
}

// TestTheWordOfALockedApproverDoesNotCount: given before the lockdown or after, by
// themselves or by a workflow that is locked down.
func TestTheWordOfALockedApproverDoesNotCount(t *testing.T) {
	w := newWorld(t)
	w.rule(twoApprovers)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(realBob))
	w.deliver()
	l, _ := w.lockDown(access.Lockdown{User: strings.ToUpper(bobsID)})
	w.vote(r.ID, approver(dave))
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	must(t, w.service.Lift(ctx, l.ID, carol, ""))
	w.sweep()
	w.wantState(r.ID, access.Active)

	w.rule("approval: {approvers: {applications: [" + workflowID + "]}}")
	other := w.awaiting("web01")
	w.lockDown(access.Lockdown{User: workflowID})
	_, err := w.service.Vote(ctx, other.ID, access.Vote{By: access.Actor{Person: realBob}, Via: access.Person{Tenant: "t", Object: workflowID}, Agrees: true})
	wantCode(t, err, access.LockedDown)
}

// TestALockdownSeesPastAMachineThatIsClosing: one machine of the request is closing and
// stays so, because Azure refuses; the others are open.
func TestALockdownSeesPastAMachineThatIsClosing(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01", "db01")
	_, err := w.service.Store.UpdateRequest(ctx, r.ID, func(r *access.Request) ([]audit.Event, error) {
		return []audit.Event{{Kind: audit.RevokeAsked, At: w.clock.Now()}}, r.Targets[0].Apply(access.Revoke)
	})
	must(t, err)
	w.wantState(r.ID, access.Closing)
	_, n := w.lockDown(access.Lockdown{Scope: policy.Tenant})
	w.deliver()
	if n != 1 {
		t.Errorf("%d requests ended, want one", n)
	}
	w.wantRules(subnetNSG, 0)
	if got := w.request(r.ID).Targets[1].State; got != access.Revoked {
		t.Errorf("the other machine is %s", got)
	}
}

// TestNobodyOpensAMachineThatIsLockedDown: unprotecting puts rules back that let in
// whoever comes; and whoever is locked down does neither.
func TestNobodyOpensAMachineThatIsLockedDown(t *testing.T) {
	w := newWorld(t).withOpen()
	only22 := access.ProtectAsk{Ports: ports22.Ports[:1]}
	_, err := w.service.Protect(ctx, open01, access.ProtectAsk{}, bob)
	must(t, err)
	w.deliver()
	l, _ := w.lockDown(access.Lockdown{Scope: policy.ScopeOf(open01)})
	_, err = w.service.Unprotect(ctx, open01, nil, bob)
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Protect(ctx, open01, only22, bob) // lets go of 3389
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Protect(ctx, open01, access.ProtectAsk{}, bob) // opens nothing
	must(t, err)
	must(t, w.service.Lift(ctx, l.ID, bob, ""))

	w.lockDown(access.Lockdown{User: bobsID})
	_, err = w.service.Unprotect(ctx, open01, nil, realBob)
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Protect(ctx, vmID("web01"), access.ProtectAsk{}, realBob)
	wantCode(t, err, access.LockedDown)
	_, err = w.service.Unprotect(ctx, open01, nil, carol)
	must(t, err)
}

// TestWorkflowsThatAreLockedDown are told nothing more, and say nothing that counts.
func TestWorkflowsThatAreLockedDown(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	workflow := access.Person{Tenant: "t", Object: workflowID, Name: "workflow"}
	r := w.submit(ask("web01"))
	w.take(own(t, "7", "lockdown", "web01"), access.Accepted)
	w.lockDown(access.Lockdown{User: workflowID})
	_, err := w.service.Subscribe(ctx, r.ID, callback, nil, workflow)
	wantCode(t, err, access.LockedDown)
	_, err = w.service.TakeAlert(ctx, own(t, "7", "unlock", "web01"), workflow)
	wantCode(t, err, access.LockedDown)
	w.deliver()
	_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
}

// TestExtendingNeedsTheAzureRoleOfToday: a role that was taken away is not one.
func TestExtendingNeedsTheAzureRoleOfToday(t *testing.T) {
	w := newWorld(t)
	rights := assigned{"alice-oid web01": {access.RequesterRole}}
	w.service.Rights = rights
	w.rule("extensions: 2")
	r := w.active("web01")
	must(t, w.extend(r.ID, "PT30M"))
	delete(rights, "alice-oid web01")
	wantCode(t, w.extend(r.ID, "PT30M"), access.RBACMissing)
}

// TestSubscriptionsDoNotPileUp: a request whose row is full can be saved no more, so
// neither be revoked nor locked down.
func TestSubscriptionsDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01")
	long := callback + strings.Repeat("x", 4000)
	for i := range 2 * access.MaxCallbacks {
		url := fmt.Sprint(long, i)
		if _, err := w.service.Subscribe(ctx, r.ID, url, []string{"expired"}, carol); err != nil {
			t.Fatalf("subscription %d: %v", i, err)
		}
		must(t, w.service.Unsubscribe(ctx, r.ID, url, carol))
	}
	if all := w.request(r.ID).Callbacks; len(all) > access.MaxCallbacks || all[0].Sealed != "" {
		t.Errorf("%d callbacks are kept, with %.20q", len(all), all[0].Sealed)
	}
}

// TestAlertsDoNotFillTheLedgerUp: the same news again and again is one entry, and what
// is not leaves room for people to lock something down.
func TestAlertsDoNotFillTheLedgerUp(t *testing.T) {
	w := newWorld(t)
	_, err := w.service.ApplyAlertRules(ctx, strings.Replace(alertRules, "untilResolved: true", "for: PT4H", 1), carol)
	must(t, err)
	ledger := func() access.Ledger {
		t.Helper()
		l, err := w.service.Ledgers.Ledger(ctx)
		must(t, err)
		return l
	}
	for i := range 3 {
		w.clock.Advance(time.Minute)
		for _, sample := range []string{"01-metric-fired.json", "06-extra-resource-health.json"} {
			a := metric(t, sample, "web01")
			a.ID, a.Key = fmt.Sprint(a.ID, i), fmt.Sprintf("%x%s", i, a.Key[1:])
			w.take(a, access.Accepted)
		}
	}
	l := ledger()
	if len(l.Lockdowns) != 1 || !l.Lockdowns[0].Until.Equal(w.clock.Now().Add(4*time.Hour)) {
		t.Errorf("lockdowns: %+v", l.Lockdowns)
	}
	if len(l.PreApprovals) != 1 || !l.PreApprovals[0].Until.Equal(w.clock.Now().Add(time.Hour)) {
		t.Errorf("pre-approvals: %+v", l.PreApprovals)
	}

	// Filed before those and carried out after them.
	for i, sample := range []string{"01-metric-fired.json", "06-extra-resource-health.json"} {
		a := metric(t, sample, "web01")
		a.Key = fmt.Sprintf("a%d%s", i, a.Key[2:])
		must(t, w.service.Ledgers.InsertSignal(ctx, earlier(w, a, i == 1)))
		must(t, w.service.CarryOutSignal(ctx, a.Key))
	}
	if l := ledger(); len(l.Lockdowns) != 1 || len(l.PreApprovals) != 1 {
		t.Errorf("%d lockdowns and %d pre-approvals", len(l.Lockdowns), len(l.PreApprovals))
	}

	r := w.active("db01")
	_, err = w.service.Ledgers.UpdateLedger(ctx, func(l *access.Ledger) ([]audit.Event, error) {
		for i := range access.MaxAlertLockdowns - 1 {
			l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: fmt.Sprint(i), Scope: scopeOf(fmt.Sprint("no-such-", i)), Alert: "/1",
				By: access.Person{Object: audit.System, Name: audit.System}, Reason: strings.Repeat("x", 300)})
		}
		return []audit.Event{{Kind: audit.LockdownSet, At: w.clock.Now()}}, nil
	})
	must(t, err)
	late := metric(t, "01-metric-fired.json", "db01")
	late.Key = "f" + late.Key[1:]
	_, err = w.service.TakeAlert(ctx, late, carol)
	must(t, err)
	if err := w.service.CarryOutSignal(ctx, late.Key); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("there is room for everything: %v", err)
	}
	if n := len(ledger().Lockdowns); n != access.MaxAlertLockdowns {
		t.Errorf("%d lockdowns", n)
	}
	w.queue.DropAll()
	w.wantState(r.ID, access.Closing)
	w.lockDown(access.Lockdown{User: bobsID})
	sick := metric(t, "06-extra-resource-health.json", "web01")
	sick.Key = "e" + sick.Key[1:]
	for i := range access.MaxPreApproved {
		sick.Machines = append(sick.Machines, vmID(fmt.Sprint("no-such-", i)))
	}
	_, err = w.service.TakeAlert(ctx, sick, carol)
	must(t, err)
	must(t, w.service.CarryOutSignal(ctx, sick.Key))
	if l := ledger(); len(l.PreApprovals) != 1 {
		t.Errorf("%d pre-approvals", len(l.PreApprovals))
	}
	events, err := w.service.Ledgers.LedgerEvents(ctx, 0, 0)
	must(t, err)
	if last := events[len(events)-1]; !strings.Contains(last.Text, "nobody pre-approved") {
		t.Errorf("the record says %q", last.Text)
	}
}

// earlier is an alert of five minutes ago as it was filed.
func earlier(w *world, a alert.Alert, sick bool) access.Signal {
	out := access.Signal{Key: a.Key, Alert: a.ID, Rule: a.Rule, ReceivedAt: w.clock.Now().Add(-5 * time.Minute)}
	out.Action = alert.Action{Rule: "attack", Machines: a.Machines, Lockdown: &alert.Lock{For: 4 * time.Hour}}
	if sick {
		given := alert.PreApproval{Group: oncall, For: time.Hour, Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}}}
		out.Action = alert.Action{Rule: "unwell", Machines: a.Machines, PreApproval: &given}
	}
	return out
}

// TestAProposalOfALockedAdministratorWaits: a stolen account may have written it.
func TestAProposalOfALockedAdministratorWaits(t *testing.T) {
	w := newWorld(t)
	w.service.SecondAdmin = true
	done, err := w.service.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscope: "+demoScope+plainRest, realBob)
	must(t, err)
	l, _ := w.lockDown(access.Lockdown{User: bobsID})
	_, err = w.service.AgreeToProposal(ctx, done.Proposal.ID, carol)
	wantCode(t, err, access.LockedDown)
	must(t, w.service.Lift(ctx, l.ID, carol, ""))
	_, err = w.service.AgreeToProposal(ctx, done.Proposal.ID, carol)
	must(t, err)
}

// TestMachinesThatNobodyLooksAfter are not opened, whatever a policy for everything says:
// neither the sweep nor an alert would close them. Azure is not asked about them.
func TestMachinesThatNobodyLooksAfter(t *testing.T) {
	w := newWorld(t)
	w.apply("apiVersion: jitgate/v1\nscope: tenant" + plainRest)
	a := ask("web01")
	a.Targets[0].VM = armid.MustParse(strings.Replace(a.Targets[0].VM.String(), "000000000001", "000000000009", 1))
	w.network.AddMachine(a.Targets[0].VM, "10.0.7.4", nicNSG)
	_, err := w.service.Submit(ctx, as(alice), "", a)
	wantCode(t, err, access.ScopeNotLookedAt)
	_, err = w.service.AskPolicy(ctx, as(alice), a, time.Time{})
	wantCode(t, err, access.ScopeNotLookedAt)
}

// TestOnePersonDoesNotFillTheLedgerUp, nor do several: a stolen account could not be
// locked down any more.
func TestOnePersonDoesNotFillTheLedgerUp(t *testing.T) {
	w := newWorld(t)
	novel := strings.Repeat("<", access.MaxJustification)
	_, _, err := w.service.LockDown(ctx, access.Lockdown{Scope: scopeOf("db02"), Reason: novel}, realBob)
	must(t, err)
	w.multiplyLockdowns(access.MaxLockdowns)
	for _, who := range []access.Person{realBob, dave} {
		_, _, err = w.service.LockDown(ctx, access.Lockdown{Scope: scopeOf("web01"), Reason: "x"}, who)
		wantCode(t, err, access.LockdownsTooMany)
	}
	w.lockDown(access.Lockdown{User: bobsID})
	_, err = w.service.Submit(ctx, as(realBob), "", ask("web01"))
	wantCode(t, err, access.LockedDown)
	events, err := w.service.Ledgers.LedgerEvents(ctx, 0, 1)
	must(t, err)
	if !strings.Contains(events[0].Text, novel) {
		t.Errorf("the record lost the reason: %.300s", events[0].Text)
	}
	if kept := w.ledger().Lockdowns[0].Reason; len(kept) >= len(novel) || !strings.HasPrefix(kept, "<<<") {
		t.Errorf("the ledger keeps the reason %q", kept)
	}
}

// TestTheLedgerHoldsTheMostOfEverything: as many entries of every kind as there may be
// fit into its row, each as long as somebody can make it.
func TestTheLedgerHoldsTheMostOfEverything(t *testing.T) {
	for _, letter := range []string{"<", `"`, "🔒"} { // JSON writes six characters for the first, unless told not to, and two for the others
		w := newWorld(t)
		long := func(n int) string { return strings.Repeat(letter, n) }
		// An id may have letters that count twice, too.
		vm := vmIn(strings.Repeat("𝐠", 90), strings.Repeat("𝐯", 80))
		until := w.clock.Now().Add(time.Hour + 123456789)
		who := access.Person{Tenant: bobsID, Object: bobsID, Name: long(300)}
		for _, l := range []access.Lockdown{{Scope: policy.ScopeOf(vm)}, {User: workflowID}} {
			l.Reason, l.Until = long(access.MaxJustification), until
			_, _, err := w.service.LockDown(ctx, l, who)
			must(t, err)
		}
		w.multiplyLockdowns(access.MaxLockdowns)
		var ports []policy.Port
		for n := range access.MaxPorts {
			ports = append(ports, policy.Port{Number: uint16(65535 - n), Protocol: policy.TCP})
		}
		for i, act := range []alert.Action{{Lockdown: &alert.Lock{Until: until}}, {PreApproval: &alert.PreApproval{Group: oncall, For: time.Hour, Ports: ports}}} {
			act.Rule, act.Machines = long(64/len(letter)), []armid.ID{vm}
			signal := access.Signal{Key: fmt.Sprintf("%064d", i), Alert: strings.Repeat("a", 64), Rule: long(256), Action: act, ReceivedAt: w.clock.Now()}
			must(t, w.service.Ledgers.InsertSignal(ctx, signal))
			must(t, w.service.CarryOutSignal(ctx, signal.Key))
		}
		_, err := w.service.Ledgers.UpdateLedger(ctx, func(l *access.Ledger) ([]audit.Event, error) {
			last := &l.Lockdowns[len(l.Lockdowns)-1]
			if !last.By.Same(access.Person{Object: audit.System}) || len(l.PreApprovals) != 1 {
				t.Fatalf("no entries of alerts: %+v, %d pre-approvals", last, len(l.PreApprovals))
			}
			last.Alert = strings.Repeat("a", 64)
			l.Lockdowns = append(l.Lockdowns, slices.Repeat(l.Lockdowns[len(l.Lockdowns)-1:], access.MaxAlertLockdowns-1)...)
			l.PreApprovals = slices.Repeat(l.PreApprovals, access.MaxPreApproved)
			return []audit.Event{{Kind: audit.LockdownSet, At: w.clock.Now()}}, nil
		})
		if err != nil {
			t.Errorf("with %s: %v", letter, err)
		}
	}
}

// multiplyLockdowns has the ledger hold each lockdown so many times.
func (w *world) multiplyLockdowns(n int) {
	w.tb.Helper()
	_, err := w.service.Ledgers.UpdateLedger(ctx, func(l *access.Ledger) ([]audit.Event, error) {
		l.Lockdowns = slices.Repeat(l.Lockdowns, n)
		return []audit.Event{{Kind: audit.LockdownSet, At: w.clock.Now()}}, nil
	})
	if err != nil {
		w.tb.Fatalf("each lockdown %d times: %v", n, err)
	}
}

// TestMuchThatEndsAtOnce: a change saves at most 99 events. What ends or begins may
// be more than that.
func TestMuchThatEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.alertRules()
	fill := func(change func(*access.Lockdown)) {
		t.Helper()
		_, err := w.service.Ledgers.UpdateLedger(ctx, func(l *access.Ledger) ([]audit.Event, error) {
			for i := range 150 {
				d := access.Lockdown{ID: fmt.Sprint(i), Scope: scopeOf(fmt.Sprint("no-such-", i)), By: access.Person{Object: audit.System}}
				change(&d)
				l.Lockdowns = append(l.Lockdowns, d)
			}
			return []audit.Event{{Kind: audit.LockdownSet, At: w.clock.Now()}}, nil
		})
		must(t, err)
	}
	empty := func() {
		t.Helper()
		if l, err := w.service.Ledgers.Ledger(ctx); err != nil || len(l.Lockdowns) != 0 {
			t.Errorf("%d lockdowns are left, %v", len(l.Lockdowns), err)
		}
	}
	end := w.clock.Now().Add(time.Minute)
	fill(func(d *access.Lockdown) { d.Until = end })
	w.sweep()
	empty()
	resolved := metric(t, "05-extra-metric-resolved-same-alertId.json", "web01")
	fill(func(d *access.Lockdown) { d.Alert = resolved.Key })
	w.take(resolved, access.Accepted)
	empty()

	sick := metric(t, "06-extra-resource-health.json", "web01")
	for i := range access.MaxPreApproved - 1 {
		sick.Machines = append(sick.Machines, vmID(fmt.Sprint("no-such-", i)))
	}
	w.take(sick, access.Accepted)
	if l, err := w.service.Ledgers.Ledger(ctx); err != nil || len(l.PreApprovals) != 1 {
		t.Errorf("%d pre-approvals, %v", len(l.PreApprovals), err)
	}
}
