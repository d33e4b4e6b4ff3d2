package broker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/servicebus/broker"
)

// inbox is a receiver that passes on what it gets.
type inbox struct {
	got  chan broker.Delivery
	lost chan struct{}
}

func newInbox() *inbox { return &inbox{make(chan broker.Delivery, 100), make(chan struct{}, 1)} }

func (i *inbox) Deliver(d broker.Delivery) { i.got <- d }
func (i *inbox) SessionLost()              { i.lost <- struct{}{} }

func (i *inbox) next(t *testing.T) broker.Delivery {
	t.Helper()
	select {
	case d := <-i.got:
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("no delivery")
		panic("unreachable")
	}
}

func (i *inbox) none(t *testing.T) {
	t.Helper()
	if len(i.got) > 0 {
		t.Fatalf("unexpected delivery %+v", <-i.got)
	}
}

func open(t *testing.T, settings ...broker.Settings) (*clockwork.FakeClock, []*broker.Queue) {
	t.Helper()
	clock, _, queues := openAll(t, settings...)
	return clock, queues
}

func openAll(t *testing.T, settings ...broker.Settings) (*clockwork.FakeClock, *broker.Broker, []*broker.Queue) {
	t.Helper()
	clock := clockwork.NewFakeClockAt(epoch)
	for i := range settings {
		s := &settings[i]
		s.Name, s.LockDuration, s.MaxDeliveryCount, s.DefaultTimeToLive = fmt.Sprint("q", i), time.Minute, 3, time.Hour
	}
	b, err := broker.New(clock, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	var queues []*broker.Queue
	for _, s := range settings {
		q, _ := b.Queue(s.Name)
		queues = append(queues, q)
	}
	return clock, b, queues
}

func send(t *testing.T, q *broker.Queue, m ...broker.Message) []int64 {
	t.Helper()
	n, err := q.Send(m...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func consume(t *testing.T, q *broker.Queue, credit uint32) (*broker.Consumer, *inbox) {
	t.Helper()
	in := newInbox()
	c, err := q.Consume(in)
	if err != nil {
		t.Fatal(err)
	}
	c.Allow(credit)
	return c, in
}

func msg(id string) broker.Message { return broker.Message{ID: id} }

func in(session, id string) broker.Message { return broker.Message{ID: id, SessionID: &session} }

func ids(list []broker.Delivery) (out []string) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

// Moving the clock is enough: nobody calls the broker afterwards.
func TestClockWakesWaitingReceivers(t *testing.T) {
	clock, qs := open(t, broker.Settings{}, broker.Settings{RequiresSession: true})
	_, plain := consume(t, qs[0], 10)
	send(t, qs[0], broker.Message{ID: "late", ScheduledFor: epoch.Add(3 * time.Minute)}, broker.Message{ID: "soon", ScheduledFor: epoch.Add(time.Minute)})
	clock.Advance(time.Minute)
	if d := plain.next(t); d.ID != "soon" || d.SequenceNumber != 3 || d.State != broker.Active || !d.EnqueuedAt.Equal(clock.Now()) {
		t.Errorf("got %+v", d)
	}
	clock.Advance(time.Minute) // the lock expires
	if d := plain.next(t); d.ID != "soon" || d.DeliveryCount != 1 {
		t.Errorf("got %+v", d)
	}

	granted := make(chan *broker.Consumer, 1)
	session := newInbox()
	if _, err := qs[1].AcceptNext(5*time.Minute, session, func(c *broker.Consumer) { granted <- c }); err != nil {
		t.Fatal(err)
	}
	send(t, qs[1], broker.Message{ID: "x", SessionID: new("s"), ScheduledFor: clock.Now().Add(time.Minute)})
	clock.Advance(time.Minute)
	c := <-granted
	c.Allow(1)
	session.next(t)
	clock.Advance(time.Minute)
	<-session.lost
	if _, err := c.Renew(); !errors.Is(err, broker.ErrSessionLockLost) {
		t.Errorf("renewed a lost session: %v", err)
	}
}

// jumpy is a clock that a test moves just when a timer is being set.
type jumpy struct {
	*clockwork.FakeClock
	jump time.Duration
}

func (c *jumpy) AfterFunc(d time.Duration, f func()) clockwork.Timer {
	c.Advance(c.jump)
	return c.FakeClock.AfterFunc(d, f)
}

func TestClockMovesWhileTheTimerIsSet(t *testing.T) {
	clock := &jumpy{clockwork.NewFakeClockAt(epoch), 30 * time.Second}
	b, err := broker.New(clock, []broker.Settings{{Name: "q", LockDuration: time.Minute, MaxDeliveryCount: 3, DefaultTimeToLive: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q, _ := b.Queue("q")
	_, got := consume(t, q, 1)
	send(t, q, broker.Message{ID: "x", ScheduledFor: epoch.Add(time.Minute)})
	clock.Advance(30 * time.Second)
	got.next(t) // nothing but the timer brings it
}

func TestAcceptNextIsPunctualAndInTurn(t *testing.T) {
	clock, qs := open(t, broker.Settings{RequiresSession: true})
	q := qs[0]
	type outcome struct {
		who string
		c   *broker.Consumer
	}
	got := make(chan outcome, 10)
	wait := func(who string, d time.Duration) *broker.Waiter {
		w, err := q.AcceptNext(d, newInbox(), func(c *broker.Consumer) { got <- outcome{who, c} })
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	wait("short", time.Second)
	second := wait("second", time.Minute)
	wait("third", time.Minute)
	clock.Advance(time.Second - 1)
	if len(got) > 0 {
		t.Fatalf("too early: %v", <-got)
	}
	clock.Advance(1)
	if o := <-got; o.who != "short" || o.c != nil {
		t.Fatalf("timed out: %+v", o)
	}
	second.Cancel()
	send(t, q, in("a", "1"), in("a", "2"), in("b", "3"))
	o := <-got
	if id, _ := o.c.SessionID(); o.who != "third" || id != "a" {
		t.Fatalf("%s accepted %s", o.who, id)
	}
	// "a" goes to the end of the line when it is given back.
	o.c.Close()
	for _, want := range []string{"b", "a"} {
		w := wait(want, time.Minute)
		if id, _ := (<-got).c.SessionID(); id != want {
			t.Errorf("accepted %s, expected %s", id, want)
		}
		defer w.Cancel()
	}
	if _, err := q.Accept("a", newInbox()); !errors.Is(err, broker.ErrSessionLocked) {
		t.Errorf("accept: %v", err)
	}
}

// A receiver that gives up after it was granted a session, and before it knew,
// must not keep it.
func TestCancelGivesBackAGrantedSession(t *testing.T) {
	_, qs := open(t, broker.Settings{RequiresSession: true})
	send(t, qs[0], in("a", "1"))
	w, err := qs[0].AcceptNext(time.Minute, newInbox(), func(*broker.Consumer) {})
	if err != nil {
		t.Fatal(err)
	}
	w.Cancel()
	if _, err := qs[0].Accept("a", newInbox()); err != nil {
		t.Error(err)
	}
}

func TestCancelIsAllOrNothing(t *testing.T) {
	clock, qs := open(t, broker.Settings{})
	later := broker.Message{ScheduledFor: clock.Now().Add(time.Hour)}
	n := send(t, qs[0], later, later, msg("now"))
	for _, bad := range [][]int64{{n[0], 99}, {n[0], n[2]}, {n[0], n[0]}} {
		if err := qs[0].Cancel(bad); !errors.Is(err, broker.ErrMessageNotFound) {
			t.Errorf("cancel %v: %v", bad, err)
		}
	}
	if c := qs[0].Counts(); c.Scheduled != 2 {
		t.Errorf("counts %+v", c)
	}
	if err := qs[0].Cancel(n[:2]); err != nil {
		t.Error(err)
	}
	clock.Advance(2 * time.Hour)
	if left := qs[0].Peek(0, 10, nil); len(left) > 0 {
		t.Errorf("left %v", ids(left))
	}
}

func TestDuplicateDetection(t *testing.T) {
	clock, qs := open(t, broker.Settings{DuplicateDetection: true, DuplicateDetectionSpan: time.Minute}, broker.Settings{})
	q := qs[0]
	send(t, q, msg("a"), msg("a"), msg("b"))
	clock.Advance(30 * time.Second)
	send(t, q, msg("a"), broker.Message{ID: "b", ScheduledFor: clock.Now().Add(time.Hour)})
	if got := ids(q.Peek(0, 10, nil)); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("stored %v", got)
	}
	clock.Advance(30 * time.Second) // the repetition has not prolonged it
	send(t, q, msg("a"))
	if got := ids(q.Peek(0, 10, nil)); !cmp.Equal(got, []string{"a", "b", "a"}) {
		t.Errorf("stored %v", got)
	}
	// A cancelled message was there: its id stays taken.
	n := send(t, q, broker.Message{ID: "c", ScheduledFor: clock.Now().Add(time.Hour)})
	if err := q.Cancel(n); err != nil {
		t.Fatal(err)
	}
	send(t, q, msg("c"))
	if got := ids(q.Peek(0, 10, nil)); slices.Contains(got, "c") {
		t.Errorf("stored %v", got)
	}
	send(t, qs[1], msg("a"), msg("a"))
	if c := qs[1].Counts(); c.Active != 2 {
		t.Errorf("without detection: %+v", c)
	}
}

func TestExpiry(t *testing.T) {
	clock, qs := open(t, broker.Settings{DeadLetterOnExpiration: true}, broker.Settings{})
	for _, q := range qs {
		send(t, q, broker.Message{ID: "short", TimeToLive: time.Minute}, broker.Message{ID: "long", TimeToLive: 100 * time.Hour},
			broker.Message{ID: "scheduled", TimeToLive: time.Minute, ScheduledFor: epoch.Add(2 * time.Hour)})
	}
	clock.Advance(time.Minute)
	if got := ids(qs[0].Peek(0, 10, nil)); !cmp.Equal(got, []string{"long", "scheduled"}) {
		t.Errorf("left %v", got)
	}
	clock.Advance(time.Hour - time.Minute) // the queue's limit caps the sender's
	if got := ids(qs[0].Peek(0, 10, nil)); !cmp.Equal(got, []string{"scheduled"}) {
		t.Errorf("left %v", got)
	}
	clock.Advance(time.Hour + time.Minute - 1) // a scheduled message lives from its activation
	if c := qs[0].Counts(); c.Active != 1 {
		t.Errorf("counts %+v", c)
	}
	clock.Advance(1)
	clock.Advance(1000 * time.Hour)
	if diff := cmp.Diff(broker.Counts{DeadLetter: 3}, qs[0].Counts()); diff != "" {
		t.Errorf("dead letters do not expire: %s", diff)
	}
	if diff := cmp.Diff(broker.Counts{}, qs[1].Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestReturnedDeliveryIsDeliveredAgain(t *testing.T) {
	_, qs := open(t, broker.Settings{})
	c, got := consume(t, qs[0], 1)
	send(t, qs[0], msg("a"))
	d := got.next(t)
	got.none(t)
	c.Return(d.LockToken)
	if again := got.next(t); again.ID != "a" || again.DeliveryCount != 0 || again.LockToken == d.LockToken {
		t.Errorf("again %+v", again)
	}
}

func TestCreditIsServedInOrderOfArrival(t *testing.T) {
	_, qs := open(t, broker.Settings{})
	first, one := consume(t, qs[0], 1)
	_, two := consume(t, qs[0], 1)
	first.Allow(2) // does not push it back
	send(t, qs[0], msg("a"), msg("b"), msg("c"), msg("d"))
	if got := []string{one.next(t).ID, one.next(t).ID, two.next(t).ID}; !cmp.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("served %v", got)
	}
	if n := first.Drain(); n != 2 {
		t.Errorf("drained at %d", n)
	}
	two.none(t)
}

func TestDeadLetterQueue(t *testing.T) {
	_, all, qs := openAll(t, broker.Settings{RequiresSession: true})
	send(t, qs[0], in("s", "a"), in("s", "b"))
	got := newInbox()
	c, err := qs[0].Accept("s", got)
	if err != nil {
		t.Fatal(err)
	}
	c.Allow(2)
	a, b := got.next(t), got.next(t)
	for _, d := range []broker.Delivery{b, a} { // the younger dies first
		if err := qs[0].DeadLetter(d.LockToken, "why", "because", map[string]any{"p": 1}); err != nil {
			t.Fatal(err)
		}
	}
	dlq, _ := all.Queue("Q0/$deadletterqueue")
	dead := dlq.Peek(0, 10, nil)
	if got := ids(dead); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("dead letters %v", got)
	}
	want := map[string]any{broker.PropReason: "why", broker.PropDescription: "because", "p": 1}
	if dead[0].SequenceNumber != 1 || dead[0].DeadLetterSource != "q0" || !cmp.Equal(dead[0].Properties, want) {
		t.Errorf("dead letter %+v", dead[0])
	}
	if _, err := dlq.Send(msg("x")); !errors.Is(err, broker.ErrReadOnly) {
		t.Errorf("sent to the dead: %v", err)
	}
	// It has no sessions, its own locks, and nowhere to go from here.
	consumer, dlGot := consume(t, dlq, 1)
	defer consumer.Close()
	if err := dlq.DeadLetter(dlGot.next(t).LockToken, "again", "", nil); err != nil {
		t.Error(err)
	}
	if n := len(dlq.Peek(0, 10, nil)); n != 2 {
		t.Errorf("%d dead letters", n)
	}
}

func TestSessionsListAndState(t *testing.T) {
	clock, qs := open(t, broker.Settings{RequiresSession: true})
	q := qs[0]
	send(t, q, in("c", "1"), in("a", "2"))
	c, err := q.Accept("b", newInbox())
	if err != nil {
		t.Fatal(err)
	}
	if got := q.Sessions(time.Time{}, 0, 10); !cmp.Equal(got, []string{"a", "c"}) {
		t.Errorf("sessions %v", got)
	}
	clock.Advance(time.Second)
	state := []byte("state")
	if err := c.SetState(state); err != nil {
		t.Fatal(err)
	}
	state[0] = 'X'
	if got, err := c.State(); err != nil || string(got) != "state" {
		t.Errorf("state %q, %v", got, err)
	}
	c.Close()
	if _, err := c.State(); !errors.Is(err, broker.ErrSessionLockLost) {
		t.Errorf("state without lock: %v", err)
	}
	if err := c.SetState(nil); !errors.Is(err, broker.ErrSessionLockLost) {
		t.Errorf("state without lock: %v", err)
	}
	if got := q.Sessions(time.Time{}, 1, 1); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("second page %v", got)
	}
	if got := q.Sessions(epoch, 0, 10); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("changed %v", got)
	}
	if got := q.Sessions(clock.Now(), 5, 10); len(got) > 0 {
		t.Errorf("changed later %v", got)
	}
}

func TestRules(t *testing.T) {
	_, qs := open(t, broker.Settings{}, broker.Settings{RequiresSession: true})
	if _, err := qs[1].Send(in("a", "1"), msg("2")); !errors.Is(err, broker.ErrSessionRequired) {
		t.Errorf("send: %v", err)
	}
	if c := qs[1].Counts(); c.Active != 0 {
		t.Errorf("half a batch was stored: %+v", c)
	}
	if _, err := qs[1].Consume(newInbox()); !errors.Is(err, broker.ErrSessionRequired) {
		t.Errorf("consume: %v", err)
	}
	if _, err := qs[0].Accept("a", newInbox()); !errors.Is(err, broker.ErrNoSessions) {
		t.Errorf("accept: %v", err)
	}
	if _, err := qs[0].AcceptNext(0, newInbox(), func(*broker.Consumer) {}); !errors.Is(err, broker.ErrNoSessions) {
		t.Errorf("accept next: %v", err)
	}
	if _, err := qs[0].RenewLock([]uuid.UUID{uuid.New()}); !errors.Is(err, broker.ErrMessageLockLost) {
		t.Errorf("renew: %v", err)
	}
	if _, err := broker.New(clockwork.NewFakeClock(), []broker.Settings{{Name: "a"}, {Name: "A"}}); err == nil {
		t.Error("two queues of one name")
	}
}

func TestPeek(t *testing.T) {
	clock, qs := open(t, broker.Settings{RequiresSession: true})
	q := qs[0]
	for i := range 200 {
		send(t, q, in(fmt.Sprint(i%2), fmt.Sprint(i)))
	}
	c, err := q.Accept("0", newInbox())
	if err != nil {
		t.Fatal(err)
	}
	got := newInbox()
	c.Close()
	if c, err = q.Accept("0", got); err != nil {
		t.Fatal(err)
	}
	c.Allow(100)
	for range 100 { // makes holes, and enough of them for tidying up
		if err := q.Complete(got.next(t).LockToken); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(q.Peek(100, 2, nil)); !cmp.Equal(got, []string{"99", "101"}) {
		t.Errorf("from 100: %v", got)
	}
	if got := q.Peek(0, 1000, new("0")); len(got) > 0 {
		t.Errorf("session 0: %v", ids(got))
	}
	if got := q.Peek(-1<<63, 1000, new("1")); len(got) != 100 {
		t.Errorf("session 1: %d", len(got))
	}
	clock.Advance(time.Hour)
	if got := q.Peek(0, 1000, nil); len(got) > 0 {
		t.Errorf("after an hour: %v", ids(got))
	}
}
