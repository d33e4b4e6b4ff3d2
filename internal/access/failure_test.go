package access_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// TestTargetsThatShareARuleEndAlone: app01 cannot be opened because its NIC NSG is
// full; the rule it shares with db02 in the subnet NSG stays, for db02 alone.
func TestTargetsThatShareARuleEndAlone(t *testing.T) {
	w := newWorld(t)
	w.service.Bands.Allow = nsg.Band{First: 100, Last: 100}
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
			_, err := w.service.Submit(ctx, as(alice), "", a)
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

// TestQueueDown: a caller who reads that nothing was accepted must be able to rely
// on it.
func TestQueueDown(t *testing.T) {
	w := newWorld(t)
	w.queue.Fail = func(string) error { return fmt.Errorf("%w: no route", access.ErrUnavailable) }
	if _, err := w.service.Submit(ctx, as(alice), "k", ask("web01")); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	w.queue.Fail = nil
	w.sweep()
	w.sweep()
	w.wantRules(nicNSG, 0)
	r, err := w.service.Submit(ctx, as(alice), "k", ask("web01")) // the repeat it asked for
	must(t, err)
	w.deliver()
	w.wantState(r.ID, access.Active)
}

func TestNSGFull(t *testing.T) {
	w := newWorld(t)
	w.service.Bands.Allow = nsg.Band{First: 100, Last: 101}
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
	w.service.Bands.Allow = nsg.Band{First: 100, Last: 100}
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
