package access_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
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
	w.wantKinds(r.ID, "request.created", "request.approved", "rule.created", "access.opened", "rule.removed", "access.expired")
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

// TestAWakeUpThatIsALittleEarly: nothing would look again before the sweep, so it
// closes the grant.
func TestAWakeUpThatIsALittleEarly(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.clock.Advance(time.Hour - access.Skew - time.Millisecond)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.wantState(r.ID, access.Active)
	w.clock.Advance(2 * time.Millisecond)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.wantState(r.ID, access.Expired)
}

func TestEvaluatingTwiceSchedulesOnce(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	must(t, w.service.Evaluate(ctx, r.ID))
	w.deliver()
	if w.queue.Len() != 1 {
		t.Errorf("%d messages wait, want one wake-up", w.queue.Len())
	}
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
	if w.queue.Len() != 1 {
		t.Fatalf("%d messages, want the wake-up alone", w.queue.Len())
	}
	w.revoke(r.ID)
	w.wantState(r.ID, access.Closing)
	w.revoke(r.ID) // harmless
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
	if w.queue.Len() != 0 {
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

// TestTargetsThatShareARuleEndAlone: app01 cannot be opened because its NIC NSG is
// full; the rule it shares with db02 in the subnet NSG stays, for db02 alone.
func TestTargetsThatShareARuleEndAlone(t *testing.T) {
	w := newWorld(t)
	w.service.Band = nsg.Band{First: 100, Last: 100}
	w.submit(ask("web01")) // takes the only place in the NIC NSG
	w.deliver()
	r := w.submit(ask("db02", "app01"))
	w.deliver()
	r = w.wantState(r.ID, access.Active)
	if r.Targets[0].State != access.Active || r.Targets[1].State != access.Failed {
		t.Errorf("db02 is %s, app01 is %s", r.Targets[0].State, r.Targets[1].State)
	}
	for _, rule := range w.wantRules(subnetNSG, 1) {
		if !slices.Equal(rule.Destinations, []string{"10.0.1.5"}) {
			t.Errorf("the shared rule still opens %v", rule.Destinations)
		}
	}
	w.pass(time.Hour)
	if r := w.wantState(r.ID, access.Expired); !r.Finished() {
		t.Errorf("not finished: %+v", r.Targets)
	}
	w.wantRules(subnetNSG, 0)
}

func TestRefusedCallsLeaveNoTrace(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*access.Ask)
		code  access.Code
	}{
		"no policy":      {func(a *access.Ask) { a.Targets[0].VM = otherGroup }, policy.NoPolicyCode},
		"port":           {func(a *access.Ask) { a.Targets[0].Ports[0].Number = 8080 }, policy.PortNotAllowed},
		"source outside": {func(a *access.Ask) { a.Source = netip.MustParsePrefix("198.51.100.1/32") }, policy.SourceNotAllowed},
		"over policy":    {func(a *access.Ask) { a.Duration = 4 * time.Hour }, policy.DurationOverPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := ask("web01")
			c.spoil(&a)
			_, err := w.service.Submit(ctx, alice, "", a)
			wantCode(t, err, c.code)
			page, err := w.service.Store.List(ctx, access.Query{})
			if err != nil || len(page.Requests) != 0 || w.queue.Len() != 0 {
				t.Errorf("left %d requests and %d messages (%v)", len(page.Requests), w.queue.Len(), err)
			}
		})
	}
}

func TestWhatTheMachineRulesOut(t *testing.T) {
	for vm, code := range map[string]access.Code{"lone01": access.NoNSG, "gone01": access.VMNotFound} {
		w := newWorld(t)
		r := w.submit(ask(vm, "web01"))
		w.deliver()
		r = w.wantState(r.ID, access.Active) // the other target is served
		if r.Targets[0].State != access.Denied || r.Targets[0].Reason.Code != code {
			t.Errorf("%s: %+v", vm, r.Targets[0])
		}
	}
	w := newWorld(t)
	w.apply(`{apiVersion: jitgate/v1, scope: ` + subscription + `, ports: [{port: 22, protocol: TCP}], sources: [{range: "2001:db8::/32"}], maxDuration: PT3H}`)
	w.apply(`{apiVersion: jitgate/v1, scope: ` + web01 + `, ports: [{port: 22, protocol: TCP}], sources: [{range: "2001:db8::/32"}], maxDuration: PT3H}`)
	a := ask("web01")
	a.Source = netip.MustParsePrefix("2001:db8::7/128")
	r := w.submit(a)
	w.deliver()
	if r = w.wantState(r.ID, access.Denied); r.Targets[0].Reason.Code != access.NoAddress {
		t.Errorf("IPv6 source, IPv4 VM: %+v", r.Targets[0])
	}
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
	first, err := w.service.Submit(ctx, alice, "k1", ask("web01"))
	must(t, err)
	again, err := w.service.Submit(ctx, alice, "k1", ask("web01"))
	must(t, err)
	if first.ID != again.ID {
		t.Errorf("a repeat made request %s beside %s", again.ID, first.ID)
	}
	w.deliver()
	w.wantRules(nicNSG, 1)
	_, err = w.service.Submit(ctx, alice, "k1", ask("db01"))
	wantCode(t, err, access.IdempotencyReused)
	other, err := w.service.Submit(ctx, bob, "k1", ask("web01"))
	must(t, err)
	if other.ID == first.ID {
		t.Error("two people share a key")
	}
	_, err = w.service.Submit(ctx, alice, strings.Repeat("k", 201), ask("web01"))
	wantCode(t, err, access.IdempotencyInvalid)
	page, err := w.service.Store.List(ctx, access.Query{Requester: alice})
	if err != nil || len(page.Requests) != 1 {
		t.Errorf("%d requests of alice listed (%v)", len(page.Requests), err)
	}
}

// TestARepeatReplacesALostMessage: the caller need not wait for the sweep.
func TestARepeatReplacesALostMessage(t *testing.T) {
	w := newWorld(t)
	r, err := w.service.Submit(ctx, alice, "k", ask("web01"))
	must(t, err)
	w.queue.DropAll()
	_, err = w.service.Submit(ctx, alice, "k", ask("web01"))
	must(t, err)
	w.deliver()
	w.wantState(r.ID, access.Active)
}

// TestQueueDown: a caller who reads that nothing was accepted must be able to rely
// on it.
func TestQueueDown(t *testing.T) {
	w := newWorld(t)
	w.queue.Fail = func(string) error { return fmt.Errorf("%w: no route", access.ErrUnavailable) }
	if _, err := w.service.Submit(ctx, alice, "k", ask("web01")); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	w.queue.Fail = nil
	w.sweep()
	w.sweep()
	w.wantRules(nicNSG, 0)
	r, err := w.service.Submit(ctx, alice, "k", ask("web01")) // the repeat it asked for
	must(t, err)
	w.deliver()
	w.wantState(r.ID, access.Active)
}

func TestNSGFull(t *testing.T) {
	w := newWorld(t)
	w.service.Band = nsg.Band{First: 100, Last: 101}
	first, second := w.submit(ask("web01")), w.submit(ask("web01"))
	w.deliver()
	third := w.submit(ask("app01")) // its subnet NSG has room, its NIC NSG has none
	w.deliver()
	w.wantState(first.ID, access.Active)
	w.wantState(second.ID, access.Active)
	r := w.wantState(third.ID, access.Failed)
	if r.Targets[0].Reason.Code != access.NSGFull || r.Targets[0].Reason.Sentence == "" {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	w.wantRules(nicNSG, 2)
	w.wantRules(subnetNSG, 0) // nothing of a failed target stays open
}

// TestHalfAnOpeningIsNoOpening: of two protocols one finds a place; the target fails
// and the rule that was written goes again.
func TestHalfAnOpeningIsNoOpening(t *testing.T) {
	w := newWorld(t)
	w.service.Band = nsg.Band{First: 100, Last: 100}
	a := ask("web01")
	a.Targets[0].Ports = append(a.Targets[0].Ports, policy.Port{Number: 53, Protocol: policy.UDP})
	r := w.submit(a)
	w.deliver()
	w.wantState(r.ID, access.Failed)
	w.wantRules(nicNSG, 0)
	if r := w.request(r.ID); !r.Finished() {
		t.Errorf("not finished: %+v", r.Targets[0])
	}
}

func TestAzureRefusesTheRule(t *testing.T) {
	w := newWorld(t)
	w.network.Refuse(nicNSG, access.ErrForbidden)
	r := w.submit(ask("app01"))
	w.deliver()
	if r := w.wantState(r.ID, access.Failed); r.Targets[0].Reason.Code != access.WriteRefused {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	w.wantRules(subnetNSG, 0)
}

// TestAzureRefusesTheRemoval: a lock keeps the rule in place. The record must not
// claim that access ended, and the sweep must go on trying.
func TestAzureRefusesTheRemoval(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.network.Refuse(nicNSG, access.ErrForbidden)
	w.pass(time.Hour)
	w.wantState(r.ID, access.Active)
	w.wantRules(nicNSG, 1)
	w.wantUnsettled(nicNSG)
	w.sweep()
	w.wantRules(nicNSG, 1)
	w.network.Refuse(nicNSG, nil)
	w.sweep()
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	if !slices.Contains(w.kinds(r.ID), "rule.removal-failed") {
		t.Errorf("the record does not tell: %v", w.kinds(r.ID))
	}
}

// TestHalfARemovalIsNoRemoval: of a target's two rules one cannot be removed. The
// record must not say that the NSG is closed.
func TestHalfARemovalIsNoRemoval(t *testing.T) {
	w := newWorld(t)
	a := ask("web01")
	a.Targets[0].Ports = append(a.Targets[0].Ports, policy.Port{Number: 53, Protocol: policy.UDP})
	r := w.submit(a)
	w.deliver()
	w.network.RefuseRule(nsg.AllowName(r.ID, 1), access.ErrForbidden)
	w.revoke(r.ID)
	w.deliver()
	w.wantState(r.ID, access.Closing)
	w.wantRules(nicNSG, 1)
	w.wantUnsettled(nicNSG)
	w.network.RefuseRule(nsg.AllowName(r.ID, 1), nil)
	w.sweep()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
}

// TestTheNSGCannotBeRead: the role assignment was lost for a while. What was open is
// not declared closed, what is new fails, and nothing is forgotten.
func TestTheNSGCannotBeRead(t *testing.T) {
	w := newWorld(t)
	open := w.submit(ask("web01"))
	w.deliver()
	w.network.Hide(nicNSG, true)
	fresh := w.submit(ask("web01"))
	w.deliver()
	w.wantState(open.ID, access.Active)
	if r := w.wantState(fresh.ID, access.Failed); r.Targets[0].Reason.Code != access.WriteRefused || r.Finished() {
		t.Errorf("%+v", r.Targets[0])
	}
	w.wantUnsettled(nicNSG)
	w.pass(time.Hour)
	w.wantState(open.ID, access.Active) // its rule may well be there
	w.wantRules(nicNSG, 1)
	w.network.Hide(nicNSG, false)
	w.sweep()
	w.wantState(open.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	if r := w.request(fresh.ID); !r.Finished() {
		t.Errorf("not finished: %+v", r.Targets[0])
	}
}

// TestARewriteIsRefused: a rule edited by hand cannot be put right. The access ends,
// but is only recorded as closed when the rule is gone.
func TestARewriteIsRefused(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.network.Edit(nicNSG, func(g *nsg.Group) { g.Rules[0].Sources = []string{"*"} })
	w.network.Refuse(nicNSG, access.ErrForbidden)
	_, err := w.service.Store.Touch(ctx, nicNSG)
	must(t, err)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.deliver()
	w.wantState(r.ID, access.Closing)
	w.wantRules(nicNSG, 1)
	w.network.Refuse(nicNSG, nil)
	w.sweep()
	if r := w.wantState(r.ID, access.Revoked); r.Targets[0].Reason.Code != access.WriteRefused {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	w.wantRules(nicNSG, 0)
}

func TestTheNSGIsGone(t *testing.T) {
	w := newWorld(t)
	opened := w.submit(ask("app01"))
	w.deliver()
	opening := w.submit(ask("app01"))
	must(t, w.service.Evaluate(ctx, opening.ID))
	w.network.Remove(nicNSG)
	w.deliver()
	if r := w.wantState(opening.ID, access.Failed); r.Targets[0].Reason.Code != access.NSGGone {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	if r := w.wantState(opened.ID, access.Revoked); r.Targets[0].Reason.Code != access.NSGGone {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	w.wantRules(subnetNSG, 0)
}

// TestAGrantThatIsOverIsNeverOpened: the message came after the expiry.
func TestAGrantThatIsOverIsNeverOpened(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	w.clock.Advance(2 * time.Hour)
	w.deliver()
	if r := w.wantState(r.ID, access.Failed); r.Targets[0].Reason.Code != access.NotOpenedInTime {
		t.Errorf("%+v", r.Targets[0].Reason)
	}
	if w.network.Writes() != 0 {
		t.Error("an NSG was written for a grant that was over")
	}
}

// TestALateEvaluationDoesNotReopen: the message of an ended request comes again
// after its grants are gone.
func TestALateEvaluationDoesNotReopen(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	message := w.queue.Due(w.clock.Now())[0]
	must(t, w.service.Evaluate(ctx, r.ID))
	stale := w.request(r.ID)
	w.deliver()
	w.revoke(r.ID)
	w.deliver()
	must(t, accesstest.Deliver(ctx, w.service, message))
	// The worst case: a process that slept since before the revocation files the grant
	// from what it had read.
	_, _, err := w.service.Store.PutGrants(ctx, nicNSG, []access.Grant{{Request: r.ID, Rule: stale.Targets[0].Openings[0].Rules[0].Name,
		Source: stale.Source, Addresses: stale.Targets[0].Openings[0].Addresses, Protocol: nsg.TCP, Ports: []uint16{22}, ExpiresAt: stale.Targets[0].ExpiresAt}})
	must(t, err)
	must(t, w.service.Enforce(ctx, nicNSG))
	w.deliver()
	w.wantState(r.ID, access.Revoked)
	w.wantRules(nicNSG, 0)
}

// TestMessagesThatNameNothing are settled: repeating them cannot help.
func TestMessagesThatNameNothing(t *testing.T) {
	w := newWorld(t)
	must(t, w.service.Evaluate(ctx, "0192f0c1-2222-7333-8444-555566667777"))
	must(t, w.service.Enforce(ctx, nicNSG))
	if w.network.Writes() != 0 {
		t.Error("a forged nudge led to a write")
	}
}

// TestANudgeWithNothingNewReadsOneRow keeps a burst of nudges cheap.
func TestANudgeWithNothingNewReadsOneRow(t *testing.T) {
	w := newWorld(t)
	w.submit(ask("web01"))
	w.deliver()
	before := storage.Counts()
	must(t, w.service.Enforce(ctx, nicNSG))
	after := storage.Counts()
	for kind, n := range after {
		if want := map[string]int{"get": 1}[kind]; n-before[kind] != want {
			t.Errorf("%d %s operations, want %d", n-before[kind], kind, want)
		}
	}
}

// TestAPassReadsOnlyWhatIsNew: with many grants open, one more must not cost a look
// at every request.
func TestAPassReadsOnlyWhatIsNew(t *testing.T) {
	w := newWorld(t)
	for range 30 {
		w.submit(ask("web01"))
	}
	w.deliver()
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	before := storage.Counts()["get"]
	must(t, w.service.Enforce(ctx, nicNSG))
	if reads := storage.Counts()["get"] - before; reads > 6 {
		t.Errorf("%d rows were read one by one for one new grant", reads)
	}
	w.wantState(r.ID, access.Active)
}

func TestParseNudge(t *testing.T) {
	for _, body := range []string{``, `{}`, `null`, `[]`, `{"request":""}`, `{"nsg":""}`, `{"nsg":"nowhere"}`, `{"request":"a"} {"request":"b"}`,
		`{"request":"a","nsg":"` + nicNSG.String() + `"}`, `{"request":"a","state":"Active"}`} {
		if n, err := access.ParseNudge([]byte(body)); err == nil {
			t.Errorf("%s read as %+v", body, n)
		}
	}
	for _, n := range []access.Nudge{{Request: "a"}, {NSG: nicNSG}} {
		body, err := json.Marshal(n)
		must(t, err)
		if again, err := access.ParseNudge(body); err != nil || again.Request != n.Request || !again.NSG.Equal(n.NSG) {
			t.Errorf("%s read as %+v, %v", body, again, err)
		}
	}
}

var otherGroup = vmIn("rg-other", "x")

func must(t *testing.T, err error) {
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

// TestMessagesOfTheWrongKindAreDropped: a nudge for an NSG on the queue without
// sessions must not lead to a second writer, and rubbish must not come back ten
// times.
func TestMessagesOfTheWrongKindAreDropped(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	must(t, w.service.Evaluate(ctx, r.ID))
	for _, body := range []string{`{"nsg":"` + nicNSG.String() + `"}`, `{"request":"a","nsg":"` + nicNSG.String() + `"}`, `{}`, ``, `null`, `[]`, `{"request":"a","state":"Active"}`} {
		must(t, w.service.OnRequestNudge(ctx, []byte(body)))
	}
	for _, body := range []string{`{"request":"` + r.ID + `"}`, `{"nsg":"nowhere"}`, `{"nsg":""}`, `x`} {
		must(t, w.service.OnNSGNudge(ctx, []byte(body)))
	}
	if w.network.Writes() != 0 {
		t.Error("an NSG was written")
	}
}
