package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

func TestGrantAndExpiry(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.wantState(r.ID, access.Pending)
	w.wantRules(nicNSG, 0)
	w.deliver()

	r = w.wantState(r.ID, access.Active)
	rules := w.wantRules(nicNSG, 1)
	rule := rules[nsg.AllowName(r.ID, 0)]
	if !slices.Equal(rule.Sources, []string{"203.0.113.7"}) && !slices.Equal(rule.Sources, []string{"203.0.113.7/32"}) {
		t.Errorf("sources %v", rule.Sources)
	}
	if !slices.Equal(rule.DestinationPorts, []string{"22"}) || rule.Priority != 100 || !strings.HasPrefix(rule.Destinations[0], "10.0.0.4") {
		t.Errorf("rule %+v", rule)
	}
	if want := "JIT rule for alice@contoso.example until 2026-03-01T09:00:00Z"; rule.Description != want {
		t.Errorf("description %q, want %q", rule.Description, want)
	}
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "access.opened")

	w.pass(59 * time.Minute)
	w.wantState(r.ID, access.Active)
	w.pass(time.Minute)
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "access.opened", "access.ending", "rule.removed", "access.expired")
	if w.queue.Len() != 0 {
		t.Errorf("%d messages are left", w.queue.Len())
	}
}

// TestGrantsEndEachAtItsOwnTime: the earlier end of two grants in one NSG must not
// wait for the later.
func TestGrantsEndEachAtItsOwnTime(t *testing.T) {
	w := newWorld(t)
	long, short := ask("web01"), ask("web01")
	short.Duration = 10 * time.Minute
	first, second, third := w.submit(long), w.submit(short), w.submit(long)
	w.deliver()
	w.pass(10 * time.Minute)
	w.wantState(second.ID, access.Expired)
	w.wantState(first.ID, access.Active)
	w.wantState(third.ID, access.Active)
	w.wantRules(nicNSG, 2)
}

func TestBothNSGsMustOpen(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("app01"))
	for _, m := range w.queue.Due(w.clock.Now()) {
		must(t, accesstest.Deliver(ctx, w.service, m))
		w.queue.Drop(m)
	}
	must(t, w.service.Enforce(ctx, nicNSG))
	r = w.wantState(r.ID, access.Approved) // one of two
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.wantRules(nicNSG, 1)
	w.wantRules(subnetNSG, 1)
	w.pass(time.Hour)
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	w.wantRules(subnetNSG, 0)
}

func TestRevokeClosesAtOnceAndCancelsTheAlarm(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	if w.queue.Len() != 2 {
		t.Fatalf("%d messages, want the wake-up and the reminder", w.queue.Len())
	}
	w.revoke(r.ID)
	w.wantState(r.ID, access.Closing)
	w.revoke(r.ID) // harmless
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
	if w.queue.Len() != 1 { // the reminder, which will find nothing to do
		t.Error("the wake-up was not cancelled")
	}
	_, err := w.service.Revoke(ctx, r.ID, alice)
	wantCode(t, err, access.RequestEnded)
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "access.opened", "access.revoke-asked", "rule.removed", "access.revoked")
}

func TestRevokeBeforeTheDecision(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.revoke(r.ID)
	w.deliver()
	w.wantState(r.ID, access.Cancelled)
	w.wantRules(nicNSG, 0)
}

func TestRevokeWhileOpening(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("app01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	must(t, w.service.Enforce(ctx, nicNSG))
	w.revoke(r.ID)
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
	w.wantRules(subnetNSG, 0)
}

func TestOverlappingGrantsDoNotCutEachOther(t *testing.T) {
	w := newWorld(t)
	first, second := w.submit(ask("web01")), w.submit(ask("web01"))
	w.deliver()
	w.wantRules(nicNSG, 2)
	w.revoke(first.ID)
	w.deliver()
	w.wantState(first.ID, access.Revoked)
	w.wantState(second.ID, access.Active)
	w.wantRules(nicNSG, 1)
	w.pass(time.Hour)
	w.wantState(second.ID, access.Expired)
	w.wantRules(nicNSG, 0)
}

func TestABurstIsWrittenTogether(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 50 {
		ids = append(ids, w.submit(ask("db01")).ID)
	}
	for _, id := range ids {
		must(t, w.service.Evaluate(ctx, id))
	}
	w.deliver()
	for _, id := range ids {
		w.wantState(id, access.Active)
	}
	if w.network.Writes() != 1 {
		t.Errorf("%d writes for 50 grants, want 1", w.network.Writes())
	}
}

func TestOneRulePerRequestAndNSG(t *testing.T) {
	w := newWorld(t)
	a := ask("db01", "db02")
	a.Targets[0].Ports = []policy.Port{{Number: 3389, Protocol: policy.TCP}, {Number: 22, Protocol: policy.TCP}}
	a.Targets[1].Ports = []policy.Port{{Number: 22, Protocol: policy.TCP}, {Number: 3389, Protocol: policy.TCP}}
	w.submit(a)
	w.deliver()
	for _, rule := range w.wantRules(subnetNSG, 1) {
		if len(rule.Destinations) != 2 || !slices.Equal(rule.DestinationPorts, []string{"22", "3389"}) {
			t.Errorf("rule %+v", rule)
		}
	}
	// Different ports must never be merged: each VM gets only what was asked for it.
	w = newWorld(t)
	a.Targets[1].Ports = a.Targets[1].Ports[:1]
	w.submit(a)
	w.deliver()
	for _, rule := range w.wantRules(subnetNSG, 2) {
		if len(rule.Destinations) != 1 {
			t.Errorf("rule %+v", rule)
		}
	}
	// Two protocols are two rules.
	w = newWorld(t)
	a = ask("db01")
	a.Targets[0].Ports = append(a.Targets[0].Ports, policy.Port{Number: 53, Protocol: policy.UDP})
	r := w.submit(a)
	w.deliver()
	w.wantRules(subnetNSG, 2)
	w.wantState(r.ID, access.Active)
	w.pass(time.Hour)
	w.wantState(r.ID, access.Expired)
	w.wantRules(subnetNSG, 0)
}

// TestThePolicyDecidesAgain: what was fine at the call is denied if the policy
// changed before the evaluation.
func TestThePolicyDecidesAgain(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.apply(`{apiVersion: jitgate/v1, scope: ` + web01 + `, ports: [{port: 3389, protocol: TCP}], sources: [{range: 203.0.113.0/24}], maxDuration: PT3H}`)
	w.deliver()
	r = w.wantState(r.ID, access.Denied)
	if r.Targets[0].Reason.Code != policy.PortNotAllowed || !strings.Contains(r.Targets[0].Policy, "version 1") {
		t.Errorf("%+v", r.Targets[0])
	}
	w.wantKinds(r.ID, "request.created", "request.denied")
}

func TestIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	first, err := w.service.Submit(ctx, as(alice), "k1", ask("web01"))
	must(t, err)
	again, err := w.service.Submit(ctx, as(alice), "k1", ask("web01"))
	must(t, err)
	if first.ID != again.ID {
		t.Errorf("a repeat made request %s beside %s", again.ID, first.ID)
	}
	w.deliver()
	w.wantRules(nicNSG, 1)
	_, err = w.service.Submit(ctx, as(alice), "k1", ask("db01"))
	wantCode(t, err, access.IdempotencyReused)
	other, err := w.service.Submit(ctx, as(bob), "k1", ask("web01"))
	must(t, err)
	if other.ID == first.ID {
		t.Error("two people share a key")
	}
	_, err = w.service.Submit(ctx, as(alice), strings.Repeat("k", 201), ask("web01"))
	wantCode(t, err, access.IdempotencyInvalid)
	page, err := w.service.Store.List(ctx, access.Query{Requester: alice})
	if err != nil || len(page.Requests) != 1 {
		t.Errorf("%d requests of alice listed (%v)", len(page.Requests), err)
	}
}

// TestARepeatReplacesALostMessage: the caller need not wait for the sweep.
func TestARepeatReplacesALostMessage(t *testing.T) {
	w := newWorld(t)
	r, err := w.service.Submit(ctx, as(alice), "k", ask("web01"))
	must(t, err)
	w.queue.DropAll()
	_, err = w.service.Submit(ctx, as(alice), "k", ask("web01"))
	must(t, err)
	w.deliver()
	w.wantState(r.ID, access.Active)
}

var otherGroup = vmIn("rg-other", "x")

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code access.Code) {
	t.Helper()
	var refusals access.Refusals
	if !errors.As(err, &refusals) || refusals[0].Code != code {
		t.Errorf("got %v, want code %s", err, code)
	}
}
