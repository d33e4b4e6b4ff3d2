package broker_test

import (
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"pgregory.net/rapid"

	"jitgate/internal/local/servicebus/broker"
)

// This test drives a queue with random operations and steps of the clock and
// compares it with a model that is too simple to be wrong: a set of messages,
// each in one place. After every step it checks that no message is lost or
// twice anywhere, that none is with two holders, that each delivery is the
// oldest message available to its receiver, that delivery counts and lock times
// are right, and that nobody with credit waits while there is something to get.

const (
	lockDuration = time.Minute
	maxDelivery  = 3
	defaultTTL   = 10 * time.Minute
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

type place int

const (
	scheduled place = iota
	active
	deferred
	dead
	gone // completed or cancelled
)

type modelMessage struct {
	id, session string
	place       place
	seq         int64
	count       int
	ttl         time.Duration
	due         time.Time // while scheduled
	expires     time.Time
	held        *modelLock
	reason      string // while dead
}

type modelLock struct {
	token    uuid.UUID
	until    time.Time // without session
	consumer *modelConsumer
}

type modelConsumer struct {
	m        *machine
	consumer *broker.Consumer
	session  string
	until    time.Time // of the session's lock
	closed   bool
	credit   int
	got      int
	lost     bool
}

type event struct {
	to *modelConsumer
	d  broker.Delivery
}

// Deliver and SessionLost run inside the broker, perhaps on its timer.
func (c *modelConsumer) Deliver(d broker.Delivery) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.m.events = append(c.m.events, event{c, d})
}

func (c *modelConsumer) SessionLost() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.lost = true
}

type machine struct {
	sessions bool
	clock    *clockwork.FakeClock
	broker   *broker.Broker
	q, dlq   *broker.Queue

	messages  map[string]*modelMessage
	consumers []*modelConsumer
	tokens    []uuid.UUID
	numbers   []int64 // every sequence number seen

	mu     sync.Mutex
	events []event
}

func newMachine(t *rapid.T, sessions bool) *machine {
	m := &machine{sessions: sessions, clock: clockwork.NewFakeClockAt(epoch), messages: map[string]*modelMessage{}}
	var err error
	m.broker, err = broker.New(m.clock, []broker.Settings{{Name: "q", LockDuration: lockDuration, MaxDeliveryCount: maxDelivery,
		DefaultTimeToLive: defaultTTL, DeadLetterOnExpiration: true, RequiresSession: sessions}})
	if err != nil {
		t.Fatal(err)
	}
	m.q, _ = m.broker.Queue("q")
	m.dlq, _ = m.broker.Queue("Q/$DeadLetterQueue")
	return m
}

func (m *machine) available(x *modelMessage, session string) bool {
	return x.place == active && x.held == nil && (!m.sessions || x.session == session)
}

func (m *machine) holder(session string) *modelConsumer {
	for _, c := range m.consumers {
		if !c.closed && c.session == session {
			return c
		}
	}
	return nil
}

// bury and back mirror what ends a delivery.
func (x *modelMessage) bury(reason string) { x.place, x.held, x.reason = dead, nil, reason }

func (m *machine) back(x *modelMessage, counted bool) {
	x.held = nil
	if counted {
		x.count++
	}
	switch {
	case counted && x.count >= maxDelivery:
		x.bury(broker.ReasonMaxDeliveryCount)
	case !x.expires.After(m.clock.Now()):
		x.bury(broker.ReasonExpired)
	}
}

// next returns when the model changes by itself, if before limit.
func (m *machine) next(limit time.Time) time.Time {
	consider := func(t time.Time) {
		if t.Before(limit) {
			limit = t
		}
	}
	for _, x := range m.messages {
		switch {
		case x.place == scheduled:
			consider(x.due)
		case x.held != nil && !m.sessions:
			consider(x.held.until)
		case x.held == nil && (x.place == active || x.place == deferred):
			consider(x.expires)
		}
	}
	for _, c := range m.consumers {
		if m.sessions && !c.closed {
			consider(c.until)
		}
	}
	return limit
}

// advance moves the clock from change to change: between two of them the order
// of what happens is the broker's own business.
func (m *machine) advance(t *rapid.T, d time.Duration) {
	for end := m.clock.Now().Add(d); m.clock.Now().Before(end); {
		m.clock.Advance(m.next(end).Sub(m.clock.Now()))
		now := m.clock.Now()
		for _, c := range m.consumers {
			if m.sessions && !c.closed && !c.until.After(now) {
				m.end(c, true)
			}
		}
		for _, x := range m.messages {
			switch {
			case x.place == scheduled && !x.due.After(now):
				x.place, x.seq, x.expires = active, 0, now.Add(min(x.ttl, defaultTTL))
			case x.held != nil && !m.sessions && !x.held.until.After(now):
				m.back(x, true)
			case x.held == nil && (x.place == active || x.place == deferred) && !x.expires.After(now):
				x.bury(broker.ReasonExpired)
			}
		}
		m.check(t)
	}
}

func (m *machine) end(c *modelConsumer, expired bool) {
	c.closed = true
	if !m.sessions {
		return
	}
	for _, x := range m.messages {
		if x.held != nil && x.held.consumer == c {
			m.back(x, expired)
		}
	}
}

// check brings the model up to date with deliveries and compares.
func (m *machine) check(t *rapid.T) {
	counts := m.q.Counts() // everything due has happened when this returns
	live := m.q.Peek(0, 1<<20, nil)
	buried := m.dlq.Peek(0, 1<<20, nil)
	seen := map[string]broker.Delivery{}
	for i, d := range append(slices.Clone(live), buried...) {
		if _, ok := seen[d.ID]; ok {
			t.Fatalf("message %s is there twice", d.ID)
		}
		seen[d.ID] = d
		x := m.messages[d.ID]
		if x == nil || (x.place == dead) != (i >= len(live)) {
			t.Fatalf("message %s is in the wrong queue, model %+v", d.ID, x)
		}
		if x.seq == 0 { // activated or just sent
			x.seq = d.SequenceNumber
			m.numbers = append(m.numbers, x.seq)
		}
		if x.seq != d.SequenceNumber || x.count != d.DeliveryCount {
			t.Fatalf("message %s: seq %d count %d, model %+v", d.ID, d.SequenceNumber, d.DeliveryCount, x)
		}
		if x.place == dead && d.Properties[broker.PropReason] != x.reason {
			t.Fatalf("message %s died of %v, model %s", d.ID, d.Properties[broker.PropReason], x.reason)
		}
	}

	m.mu.Lock()
	events := m.events
	m.events = nil
	m.mu.Unlock()
	for _, e := range events {
		m.delivered(t, e)
	}

	want := broker.Counts{}
	for id, x := range m.messages {
		if _, ok := seen[id]; ok != (x.place != gone) {
			t.Fatalf("message %s found: %v, model %+v", id, ok, x)
		}
		switch {
		case x.held != nil:
			want.Locked++
		case x.place == active:
			want.Active++
		case x.place == scheduled:
			want.Scheduled++
		case x.place == deferred:
			want.Deferred++
		case x.place == dead:
			want.DeadLetter++
		}
	}
	if counts != want {
		t.Fatalf("counts %+v, model %+v", counts, want)
	}
	for _, c := range m.consumers {
		if c.closed || c.credit == 0 {
			continue
		}
		for id, x := range m.messages {
			if m.available(x, c.session) {
				t.Fatalf("message %s is available, but a receiver with credit waits", id)
			}
		}
	}
	for _, c := range m.consumers {
		m.mu.Lock()
		if c.lost && !c.closed {
			t.Fatalf("session %s was taken away too early", c.session)
		}
		m.mu.Unlock()
	}
}

func (m *machine) delivered(t *rapid.T, e event) {
	x := m.messages[e.d.ID]
	if e.to.closed || e.to.credit == 0 {
		t.Fatalf("message %s was delivered to a receiver that is closed or has no credit", x.id)
	}
	if !m.available(x, e.to.session) {
		t.Fatalf("message %s was delivered, model %+v", x.id, x)
	}
	for _, other := range m.messages {
		if m.available(other, e.to.session) && other.seq < x.seq {
			t.Fatalf("message %s overtook %s", x.id, other.id)
		}
	}
	e.to.credit--
	e.to.got++
	m.hold(t, x, e.d, e.to)
}

func (m *machine) hold(t *rapid.T, x *modelMessage, d broker.Delivery, by *modelConsumer) {
	until := m.clock.Now().Add(lockDuration)
	if m.sessions {
		until = by.until
	}
	if !d.LockedUntil.Equal(until) || d.DeliveryCount != x.count || slices.Contains(m.tokens, d.LockToken) {
		t.Fatalf("delivery %+v, model %+v", d, x)
	}
	x.held = &modelLock{d.LockToken, until, by}
	m.tokens = append(m.tokens, d.LockToken)
}
