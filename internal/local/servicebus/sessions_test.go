package servicebus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"jitgate/internal/local/servicebus"
)

func (b *bus) session(t *testing.T, id string) *azservicebus.SessionReceiver {
	t.Helper()
	return must(b.client.AcceptSessionForQueue(within(t), "sessions", id, nil))(t)
}

func wantCondition(t *testing.T, err error, condition amqp.ErrCond) {
	t.Helper()
	var ae *amqp.Error
	if !errors.As(err, &ae) || ae.Condition != condition {
		t.Fatalf("error %v, expected condition %s", err, condition)
	}
}

func TestSessionsAreExclusiveAndInOrder(t *testing.T) {
	b := start(t)
	b.send(t, "sessions", inSession("a", "a1"), inSession("b", "b1"), inSession("a", "a2"), inSession("a", "a3"))
	first := must(b.client.AcceptNextSessionForQueue(within(t), "sessions", nil))(t)
	if first.SessionID() != "a" || !first.LockedUntil().Equal(b.clock.Now().Add(time.Minute)) {
		t.Fatalf("session %q until %v", first.SessionID(), first.LockedUntil())
	}
	_, err := b.client.AcceptSessionForQueue(within(t), "sessions", "a", nil)
	wantCondition(t, err, "com.microsoft:session-cannot-be-locked")
	second := must(b.client.AcceptNextSessionForQueue(within(t), "sessions", nil))(t)
	if second.SessionID() != "b" {
		t.Fatalf("second session %q", second.SessionID())
	}
	for i, m := range receive(t, first, 3) {
		if string(m.Body) != fmt.Sprint("a", i+1) || *m.SessionID != "a" {
			t.Errorf("message %d of a: %+v", i, m)
		}
		check(t, first.CompleteMessage(within(t), m, nil))
	}
	if m := receiveOne(t, second); string(m.Body) != "b1" {
		t.Errorf("b got %s", m.Body)
	}
	// Closing gives the session and its messages back, uncounted.
	check(t, second.Close(within(t)))
	third := b.session(t, "b")
	if m := receiveOne(t, third); m.DeliveryCount != 1 {
		t.Errorf("delivery count %d", m.DeliveryCount)
	}
}

func TestSessionRules(t *testing.T) {
	b := start(t)
	wantCondition(t, b.sender(t, "sessions").SendMessage(within(t), text("x"), nil), "amqp:not-allowed")
	_, err := b.receiver(t, "sessions").ReceiveMessages(within(t), 1, nil)
	wantCondition(t, err, "amqp:not-allowed")
	_, err = b.client.AcceptSessionForQueue(within(t), "plain", "a", nil)
	wantCondition(t, err, "amqp:not-allowed")
	_, err = b.client.AcceptSessionForQueue(within(t), "nowhere", "a", nil)
	wantCode(t, err, azservicebus.CodeNotFound)
	b.send(t, "sessions", inSession("", "blank"))
	if r := b.session(t, ""); string(receiveOne(t, r).Body) != "blank" {
		t.Error("the empty session id is a session id")
	}
}

func TestAcceptNextTimesOut(t *testing.T) {
	b := start(t)
	got := make(chan error, 1)
	go func() {
		_, err := b.client.AcceptNextSessionForQueue(within(t), "sessions", nil)
		got <- err
	}()
	// The client's deadline became the time to wait, on the server's clock. The
	// test cannot see when the request has arrived, so it moves on until then.
	for {
		select {
		case err := <-got:
			wantCode(t, err, azservicebus.CodeTimeout)
			return
		default:
			b.clock.Advance(time.Second)
			runtime.Gosched()
		}
	}
}

func TestAcceptNextWaits(t *testing.T) {
	b := start(t)
	type outcome struct {
		r   *azservicebus.SessionReceiver
		err error
	}
	got := make(chan outcome, 1)
	go func() {
		r, err := b.client.AcceptNextSessionForQueue(within(t), "sessions", nil)
		got <- outcome{r, err}
	}()
	// A scheduled message opens its session only when it is due.
	s := b.sender(t, "sessions")
	must(s.ScheduleMessages(within(t), []*azservicebus.Message{inSession("later", "x")}, b.clock.Now().Add(10*time.Second), nil))(t)
	select {
	case o := <-got:
		t.Fatalf("accepted %v, %v before the message was due", o.r, o.err)
	default:
	}
	b.clock.Advance(10 * time.Second)
	o := <-got
	check(t, o.err)
	if o.r.SessionID() != "later" {
		t.Errorf("session %q", o.r.SessionID())
	}
	receiveOne(t, o.r)
}

func TestGivingUpAcceptNextLeavesNothing(t *testing.T) {
	b := start(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := b.client.AcceptNextSessionForQueue(ctx, "sessions", nil); err == nil {
		t.Fatal("accepted a session that does not exist")
	}
	b.send(t, "sessions", inSession("a", "x"))
	// Had the abandoned wait taken the session, this would fail.
	receiveOne(t, b.session(t, "a"))
}

func TestSessionLockExpiryAndRenewal(t *testing.T) {
	b := start(t)
	b.send(t, "sessions", inSession("a", "1"))
	r := b.session(t, "a")
	m := receiveOne(t, r)
	b.clock.Advance(45 * time.Second)
	check(t, r.RenewSessionLock(within(t), nil))
	if !r.LockedUntil().Equal(b.clock.Now().Add(time.Minute)) {
		t.Errorf("renewed until %v", r.LockedUntil())
	}
	b.clock.Advance(59 * time.Second)
	wantCounts(t, b, "sessions", servicebus.Counts{Locked: 1})
	b.clock.Advance(time.Second)
	wantCounts(t, b, "sessions", servicebus.Counts{Active: 1})
	other := must(b.dial(t).AcceptSessionForQueue(within(t), "sessions", "a", nil))(t)
	if err := r.RenewSessionLock(within(t), nil); err == nil {
		t.Error("renewed a lock that another receiver holds")
	}
	again := receiveOne(t, other)
	if again.DeliveryCount != 2 {
		t.Errorf("delivery count %d after the session's lock expired", again.DeliveryCount)
	}
	if err := r.CompleteMessage(within(t), m, nil); err == nil {
		t.Error("completed with a lock that was lost")
	}
	check(t, other.CompleteMessage(within(t), again, nil))
}

func TestSessionState(t *testing.T) {
	b := start(t)
	r := b.session(t, "a")
	if state := must(r.GetSessionState(within(t), nil))(t); state != nil {
		t.Errorf("fresh state %q", state)
	}
	check(t, r.SetSessionState(within(t), []byte("step 2"), nil))
	check(t, r.Close(within(t)))
	r = b.session(t, "a")
	if state := must(r.GetSessionState(within(t), nil))(t); string(state) != "step 2" {
		t.Errorf("state %q", state)
	}
	check(t, r.SetSessionState(within(t), nil, nil))
	if state := must(r.GetSessionState(within(t), nil))(t); state != nil {
		t.Errorf("cleared state %q", state)
	}
}

func TestSessionDeferAndPeek(t *testing.T) {
	b := start(t)
	b.send(t, "sessions", inSession("a", "1"), inSession("b", "2"))
	r := b.session(t, "a")
	m := receiveOne(t, r)
	check(t, r.DeferMessage(within(t), m, nil))
	p := must(r.PeekMessages(within(t), 10, nil))(t)
	if len(p) != 1 || string(p[0].Body) != "1" || p[0].State != azservicebus.MessageStateDeferred {
		t.Errorf("peeked %+v", p)
	}
	d := must(r.ReceiveDeferredMessages(within(t), []int64{*m.SequenceNumber}, nil))(t)
	check(t, r.CompleteMessage(within(t), d[0], nil))
	_, err := r.ReceiveDeferredMessages(within(t), []int64{2}, nil) // of another session
	wantCode(t, err, azservicebus.CodeNotFound)
	wantCounts(t, b, "sessions", servicebus.Counts{Active: 1})
}

func TestSessionDeadLetters(t *testing.T) {
	b := start(t)
	b.send(t, "sessions", inSession("a", "x"))
	r := b.session(t, "a")
	check(t, r.DeadLetterMessage(within(t), receiveOne(t, r), nil))
	if m := receiveOne(t, b.deadLetters(t, "sessions")); *m.SessionID != "a" {
		t.Errorf("dead letter %+v", m)
	}
}

func TestListSessions(t *testing.T) {
	b := start(t)
	s := b.sender(t, "sessions")
	batch := must(s.NewMessageBatch(within(t), nil))(t)
	for i := range 150 { // more than a page
		check(t, batch.AddMessage(inSession(fmt.Sprintf("%03d", i), "x"), nil))
	}
	check(t, s.SendMessageBatch(within(t), batch, nil))
	list := func(o *azservicebus.ListSessionsOptions) (ids []string) {
		for p := b.client.NewListSessionsForQueuePager("sessions", o); p.More(); {
			ids = append(ids, must(p.NextPage(within(t)))(t).Sessions...)
		}
		return ids
	}
	if ids := list(nil); len(ids) != 150 || ids[0] != "000" || ids[149] != "149" {
		t.Errorf("%d sessions: %v", len(ids), ids)
	}
	since := b.clock.Now()
	b.clock.Advance(time.Second)
	check(t, b.session(t, "007").SetSessionState(within(t), []byte("licensed"), nil))
	if ids := list(&azservicebus.ListSessionsOptions{SessionStateUpdatedAfter: &since}); len(ids) != 1 || ids[0] != "007" {
		t.Errorf("changed sessions: %v", ids)
	}
}

func TestHundredSessions(t *testing.T) {
	b := start(t)
	const sessions, each = 100, 5
	s := b.sender(t, "sessions")
	for i := range each {
		batch := must(s.NewMessageBatch(within(t), nil))(t)
		for id := range sessions {
			check(t, batch.AddMessage(inSession(fmt.Sprint(id), fmt.Sprint(i)), nil))
		}
		check(t, s.SendMessageBatch(within(t), batch, nil))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for range sessions {
		wg.Go(func() {
			r, err := b.client.AcceptNextSessionForQueue(within(t), "sessions", nil)
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			mu.Lock()
			if seen[r.SessionID()] {
				t.Errorf("session %s has two holders", r.SessionID())
			}
			seen[r.SessionID()] = true
			mu.Unlock()
			for i := range each {
				m, err := r.ReceiveMessages(within(t), 1, nil)
				if err != nil || len(m) != 1 || string(m[0].Body) != fmt.Sprint(i) {
					t.Errorf("message %d of %s: %v, %v", i, r.SessionID(), m, err)
					return
				}
				if err := r.CompleteMessage(within(t), m[0], nil); err != nil {
					t.Errorf("complete: %v", err)
				}
			}
		})
	}
	wg.Wait()
	wantCounts(t, b, "sessions", servicebus.Counts{})
}
