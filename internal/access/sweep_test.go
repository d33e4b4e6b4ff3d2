package access_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"jitgate/internal/access"
)

// TestTheStoreIsLost: the rules' own word is enough to have them removed.
func TestTheStoreIsLost(t *testing.T) {
	w := newWorld(t)
	w.submit(ask("app01"))
	w.deliver()
	fresh := newWorld(t)
	w.service.Store, w.service.Policies = fresh.service.Store, fresh.service.Policies
	w.queue.DropAll()
	if found := w.sweep(); found.Drifted != 2 {
		t.Errorf("swept %+v, want 2 NSGs", found)
	}
	w.wantRules(nicNSG, 0)
	w.wantRules(subnetNSG, 0)
}

func TestTheSweepLeavesHealthyThingsAlone(t *testing.T) {
	w := newWorld(t)
	w.submit(ask("app01"))
	w.deliver()
	writes := w.network.Writes()
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("found %+v in a healthy installation", found)
	}
	if w.network.Writes() != writes {
		t.Error("the sweep led to a write")
	}
}

// TestALostWakeUpIsReplaced: the grant is there, its scheduled message is not.
func TestALostWakeUpIsReplaced(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.queue.DropAll()
	w.clock.Advance(time.Hour)
	w.sweep()
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
}

// TestOneFaultDoesNotStopTheSweep: a subscription that cannot be read must not hide
// what is wrong elsewhere.
func TestOneFaultDoesNotStopTheSweep(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	w.queue.DropAll()
	lost := w.submit(ask("db01"))
	w.queue.DropAll()
	w.clock.Advance(90 * time.Minute)
	w.service.Subscriptions = append([]string{"broken"}, w.service.Subscriptions...)
	w.service.Network = &brokenListing{w.service.Network}
	if _, err := w.service.Sweep(ctx); err == nil {
		t.Error("the fault was swallowed")
	}
	w.deliver()
	w.wantState(r.ID, access.Expired)
	w.wantState(lost.ID, access.Active)
}

type brokenListing struct{ access.Network }

func (b *brokenListing) Estate(ctx context.Context, subscription string) (access.Estate, error) {
	if subscription == "broken" {
		return access.Estate{}, access.ErrForbidden
	}
	return b.Network.Estate(ctx, subscription)
}

// TestTheSweepIsPatient: what was begun a moment ago is somebody's work already.
func TestTheSweepIsPatient(t *testing.T) {
	w := newWorld(t)
	w.submit(ask("web01"))
	_, err := w.service.Store.Touch(ctx, subnetNSG)
	must(t, err)
	w.clock.Advance(access.Patience - time.Second)
	if found, err := w.service.Sweep(ctx); err != nil || found != (access.Swept{}) {
		t.Errorf("found %+v, %v", found, err)
	}
	w.clock.Advance(2 * time.Second)
	if found, err := w.service.Sweep(ctx); err != nil || found.Requests != 1 || found.NSGs != 1 {
		t.Errorf("found %+v, %v, want the request and the NSG", found, err)
	}
}

// TestAGrantWithoutWakeUpGetsOne: the process died between saving the grant and
// scheduling its end, and the nudge came through another way.
func TestAGrantWithoutWakeUpGetsOne(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.queue.Fail = func(call string) error {
		if call == "schedule" {
			return access.ErrUnavailable
		}
		return nil
	}
	if err := w.service.Evaluate(ctx, r.ID); !errors.Is(err, access.ErrUnavailable) {
		t.Fatalf("evaluate: %v", err)
	}
	w.queue.Fail = nil
	w.queue.DropAll()
	must(t, w.service.Enforce(ctx, nicNSG))
	w.wantState(r.ID, access.Active)
	if found := w.sweep(); found.WakeUps != 1 || w.queue.Len() != 1 {
		t.Errorf("found %+v; %d messages wait, want the wake-up", found, w.queue.Len())
	}
	w.pass(time.Hour)
	w.wantState(r.ID, access.Expired)
}

// TestActiveWithoutGrant: the request says it is open, no grant backs it any more. It
// comes to its end all the same.
func TestActiveWithoutGrant(t *testing.T) {
	w := newWorld(t)
	r := w.submit(ask("web01"))
	w.deliver()
	book, err := w.service.Store.Book(ctx, nicNSG)
	must(t, err)
	must(t, w.service.Store.Settle(ctx, nicNSG, access.Settlement{Enforced: book.Generation, Closed: []string{book.Grants[0].Key()}}))
	w.queue.DropAll()
	w.clock.Advance(time.Hour)
	w.sweep()
	w.sweep()
	if r := w.wantState(r.ID, access.Expired); !r.Finished() {
		t.Errorf("not finished: %+v", r.Targets[0])
	}
	w.wantRules(nicNSG, 0)
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("found %+v at rest", found)
	}
}

// TestWaitingForAnApproverIsNoFault: such a request may rest for hours.
func TestWaitingForAnApproverIsNoFault(t *testing.T) {
	w := newWorld(t)
	must(t, w.service.Store.InsertRequest(ctx, access.Request{ID: "0192f0c1-2222-7333-8444-555566667777", Requester: alice, CreatedAt: w.clock.Now(),
		Source: ask("web01").Source, Targets: []access.Target{{VM: vmID("web01"), State: access.AwaitingApproval}}}, nil))
	if found := w.sweep(); found != (access.Swept{}) {
		t.Errorf("found %+v", found)
	}
}
