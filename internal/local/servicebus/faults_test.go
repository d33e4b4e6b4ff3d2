package servicebus_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus"
)

// once makes one fault for the first operation of a kind.
func once(kind string, f servicebus.Fault) func(servicebus.Op) *servicebus.Fault {
	var done atomic.Bool
	return func(op servicebus.Op) *servicebus.Fault {
		if op.Kind == kind && done.CompareAndSwap(false, true) {
			return &f
		}
		return nil
	}
}

func TestDropIsSurvived(t *testing.T) {
	for _, kind := range []string{"send", "receive", "schedule", "peek", "renew-lock"} {
		t.Run(kind, func(t *testing.T) {
			b := start(t)
			b.SetFaults(once(kind, servicebus.Fault{Drop: true}), nil)
			s := b.sender(t, "plain")
			check(t, s.SendMessage(within(t), text("x"), nil))
			if kind == "schedule" {
				must(s.ScheduleMessages(within(t), []*azservicebus.Message{text("y")}, b.clock.Now().Add(time.Hour), nil))(t)
				wantCounts(t, b, "plain", servicebus.Counts{Active: 1, Scheduled: 1})
				return
			}
			r := b.receiver(t, "plain")
			if kind == "peek" {
				if p := must(r.PeekMessages(within(t), 1, nil))(t); len(p) != 1 {
					t.Errorf("peeked %v", p)
				}
			}
			m := receiveOne(t, r)
			if m.DeliveryCount != 1 {
				t.Errorf("delivery count %d: the fault must have no effect", m.DeliveryCount)
			}
			if kind == "renew-lock" {
				check(t, r.RenewMessageLock(within(t), m, nil))
				// azservicebus v1.11 would try to settle on the dead connection, for
				// most of a minute. With the lock token alone it uses $management.
				m = &azservicebus.ReceivedMessage{LockToken: m.LockToken}
			}
			check(t, r.CompleteMessage(within(t), m, nil))
			wantCounts(t, b, "plain", servicebus.Counts{})
		})
	}
}

func TestConditionWithoutEffect(t *testing.T) {
	b := start(t)
	b.SetFaults(once("send", servicebus.Fault{Condition: "com.microsoft:server-busy", Description: "wait"}), nil)
	b.send(t, "plain", text("x")) // the SDK tries again
	wantCounts(t, b, "plain", servicebus.Counts{Active: 1})

	b.SetFaults(once("schedule", servicebus.Fault{Condition: "amqp:unauthorized-access", Description: "no"}), nil)
	s := b.sender(t, "plain")
	at := b.clock.Now().Add(time.Hour)
	_, err := s.ScheduleMessages(within(t), []*azservicebus.Message{text("y")}, at, nil)
	wantCode(t, err, azservicebus.CodeUnauthorizedAccess)
	wantCounts(t, b, "plain", servicebus.Counts{Active: 1})

	b.SetFaults(once("complete", servicebus.Fault{Condition: "com.microsoft:message-lock-lost", Description: "gone"}), nil)
	r := b.receiver(t, "plain")
	m := receiveOne(t, r)
	wantCode(t, r.CompleteMessage(within(t), m, nil), azservicebus.CodeLockLost)
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})

	b.SetFaults(once("accept-session", servicebus.Fault{Condition: "com.microsoft:session-cannot-be-locked"}), nil)
	_, err = b.client.AcceptSessionForQueue(within(t), "sessions", "a", nil)
	wantCondition(t, err, "com.microsoft:session-cannot-be-locked")
	b.session(t, "a")
}

// An operation that took effect but whose answer is lost: the client must
// expect it to be done twice.
func TestDroppedAfterEffect(t *testing.T) {
	b := start(t)
	var dropped atomic.Bool
	b.SetFaults(nil, func(op servicebus.Op) {
		if op.Kind == "send" && dropped.CompareAndSwap(false, true) {
			b.DropConnections()
		}
	})
	b.send(t, "plain", &azservicebus.Message{Body: []byte("x"), MessageID: new("m")})
	wantCounts(t, b, "plain", servicebus.Counts{Active: 2})
	dropped.Store(false)
	b.send(t, "dedup", &azservicebus.Message{Body: []byte("x"), MessageID: new("m")})
	wantCounts(t, b, "dedup", servicebus.Counts{Active: 1})
}

func TestConnectionLossFreesSessionButNotMessages(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("x"))
	receiveOne(t, b.receiver(t, "plain"))
	b.send(t, "sessions", inSession("a", "y"))
	receiveOne(t, b.session(t, "a"))
	b.DropConnections()
	b.client = b.dial(t)
	var r *azservicebus.SessionReceiver
	for { // the server notices the loss in its own time
		var err error
		if r, err = b.client.AcceptSessionForQueue(within(t), "sessions", "a", nil); err == nil {
			break
		}
		wantCondition(t, err, "com.microsoft:session-cannot-be-locked")
	}
	if m := receiveOne(t, r); m.DeliveryCount != 1 {
		t.Errorf("delivery count %d", m.DeliveryCount)
	}
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})
	b.clock.Advance(time.Minute)
	if m := receiveOne(t, b.receiver(t, "plain")); m.DeliveryCount != 2 {
		t.Errorf("delivery count %d", m.DeliveryCount)
	}
}

func TestHooksSeeOperations(t *testing.T) {
	b := start(t)
	var mu sync.Mutex
	var before, after []servicebus.Op
	b.SetFaults(func(op servicebus.Op) *servicebus.Fault {
		mu.Lock()
		defer mu.Unlock()
		before = append(before, op)
		return nil
	}, func(op servicebus.Op) {
		mu.Lock()
		defer mu.Unlock()
		after = append(after, op)
	})
	b.send(t, "sessions", &azservicebus.Message{MessageID: new("m1"), SessionID: new("a")})
	r := must(b.client.AcceptNextSessionForQueue(within(t), "sessions", nil))(t)
	m := receiveOne(t, r)
	check(t, r.RenewSessionLock(within(t), nil))
	check(t, r.AbandonMessage(within(t), m, nil))
	check(t, r.CompleteMessage(within(t), receiveOne(t, r), nil))
	s := b.sender(t, "sessions")
	n := must(s.ScheduleMessages(within(t), []*azservicebus.Message{{MessageID: new("m2"), SessionID: new("b")}}, b.clock.Now().Add(time.Hour), nil))(t)
	check(t, s.CancelScheduledMessages(within(t), n, nil))

	want := []servicebus.Op{
		{Kind: "send", Entity: "sessions", SessionID: "a", MessageID: "m1", SequenceNumber: 1},
		{Kind: "accept-session", Entity: "sessions", SessionID: "a"},
		{Kind: "receive", Entity: "sessions", SessionID: "a", MessageID: "m1", SequenceNumber: 1},
		{Kind: "renew-session-lock", Entity: "sessions", SessionID: "a"},
		{Kind: "abandon", Entity: "sessions", SessionID: "a", MessageID: "m1", SequenceNumber: 1},
		{Kind: "receive", Entity: "sessions", SessionID: "a", MessageID: "m1", SequenceNumber: 1},
		{Kind: "complete", Entity: "sessions", SessionID: "a", MessageID: "m1", SequenceNumber: 1},
		{Kind: "schedule", Entity: "sessions", SessionID: "b", MessageID: "m2", SequenceNumber: 2},
		{Kind: "cancel", Entity: "sessions", SequenceNumber: 2},
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	want = slices.Clone(want)
	want[0].SequenceNumber, want[1].SessionID, want[7].SequenceNumber = 0, "", 0
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("before (-want +got):\n%s", diff)
	}
}
