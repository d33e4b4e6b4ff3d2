package broker_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"jitgate/internal/local/servicebus/broker"
)

// The operations of the model test: each does the same to the queue and to the
// model and compares the outcomes.

func (m *machine) send(t *rapid.T) {
	x := &modelMessage{id: fmt.Sprint("m", len(m.messages)), place: active,
		ttl: rapid.SampledFrom([]time.Duration{defaultTTL, 90 * time.Second}).Draw(t, "ttl")}
	msg := broker.Message{ID: x.id, TimeToLive: x.ttl}
	if m.sessions {
		x.session = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "session")
		msg.SessionID = &x.session
	}
	x.expires = m.clock.Now().Add(x.ttl)
	if rapid.Bool().Draw(t, "later") {
		x.place = scheduled
		// Microseconds keep it apart from any lock that ends.
		x.due = m.clock.Now().Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "seconds"))*time.Second + time.Duration(len(m.messages))*time.Microsecond)
		msg.ScheduledFor = x.due
	}
	numbers, err := m.q.Send(msg)
	if err != nil {
		t.Fatal(err)
	}
	x.seq = numbers[0]
	m.numbers = append(m.numbers, x.seq)
	m.messages[x.id] = x
}

func (m *machine) cancel(t *rapid.T) {
	n := rapid.SampledFrom(m.numbers).Draw(t, "number")
	var want error = broker.ErrMessageNotFound
	for _, x := range m.messages {
		if x.seq == n && x.place == scheduled {
			x.place, want = gone, nil
		}
	}
	if err := m.q.Cancel([]int64{n}); !errors.Is(err, want) {
		t.Fatalf("cancel %d: %v, expected %v", n, err, want)
	}
}

func (m *machine) attach(t *rapid.T) {
	c := &modelConsumer{m: m, until: m.clock.Now().Add(lockDuration)}
	var err, want error
	if m.sessions {
		c.session = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "session")
		if m.holder(c.session) != nil {
			want = broker.ErrSessionLocked
		}
		c.consumer, err = m.q.Accept(c.session, c)
	} else {
		c.consumer, err = m.q.Consume(c)
	}
	if !errors.Is(err, want) {
		t.Fatalf("attach: %v, expected %v", err, want)
	}
	if err == nil {
		m.consumers = append(m.consumers, c)
	}
}

func (m *machine) acceptNext(t *rapid.T) {
	if !m.sessions {
		t.Skip("no sessions")
	}
	free := map[string]bool{}
	for _, x := range m.messages {
		if m.available(x, x.session) && m.holder(x.session) == nil {
			free[x.session] = true
		}
	}
	c := &modelConsumer{m: m, until: m.clock.Now().Add(lockDuration)}
	w, err := m.q.AcceptNext(time.Hour, c, func(granted *broker.Consumer) { c.consumer = granted })
	if err != nil {
		t.Fatal(err)
	}
	if (c.consumer != nil) != (len(free) > 0) {
		t.Fatalf("accepted %v, free are %v", c.consumer, slices.Collect(maps.Keys(free)))
	}
	if c.consumer == nil {
		w.Cancel()
		return
	}
	c.session, _ = c.consumer.SessionID()
	if !free[c.session] {
		t.Fatalf("accepted %q, free are %v", c.session, slices.Collect(maps.Keys(free)))
	}
	m.consumers = append(m.consumers, c)
}

func (m *machine) some(t *rapid.T) *modelConsumer {
	return rapid.SampledFrom(m.consumers).Draw(t, "consumer")
}

func (m *machine) allow(t *rapid.T) {
	c := m.some(t)
	n := rapid.IntRange(0, 3).Draw(t, "credit")
	if !c.closed {
		c.credit = n
	}
	c.consumer.Allow(uint32(c.got + n))
}

func (m *machine) drain(t *rapid.T) {
	c := m.some(t)
	got := c.consumer.Drain()
	if !c.closed {
		c.got += c.credit
		c.credit = 0
		if int(got) != c.got {
			t.Fatalf("drained at %d, model %d", got, c.got)
		}
	}
}

func (m *machine) detach(t *rapid.T) {
	c := m.some(t)
	if !c.closed {
		m.end(c, false)
	}
	c.consumer.Close()
}

func (m *machine) settle(t *rapid.T) {
	token := rapid.SampledFrom(m.tokens).Draw(t, "token")
	var x *modelMessage
	for _, y := range m.messages {
		if y.held != nil && y.held.token == token {
			x = y
		}
	}
	var err error
	how := rapid.SampledFrom([]string{"complete", "abandon", "release", "defer", "dead-letter", "renew"}).Draw(t, "how")
	switch how {
	case "complete":
		err = m.q.Complete(token)
	case "abandon":
		err = m.q.Abandon(token, map[string]any{"a": 1})
	case "release":
		err = m.q.Release(token)
	case "defer":
		err = m.q.Defer(token, nil)
	case "dead-letter":
		err = m.q.DeadLetter(token, "r", "d", nil)
	case "renew":
		_, err = m.q.RenewLock([]uuid.UUID{token})
	}
	if x == nil || how == "renew" && m.sessions {
		if !errors.Is(err, broker.ErrMessageLockLost) {
			t.Fatalf("%s with a lock that does not count: %v", how, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s of %s: %v", how, x.id, err)
	}
	switch how {
	case "complete":
		x.place, x.held = gone, nil
	case "abandon":
		m.back(x, true)
	case "release":
		m.back(x, false)
	case "defer":
		x.place = deferred
		m.back(x, false)
	case "dead-letter":
		x.bury("r")
	case "renew":
		x.held.until = m.clock.Now().Add(lockDuration)
	}
}

func (m *machine) renewSession(t *rapid.T) {
	if !m.sessions {
		t.Skip("no sessions")
	}
	c := m.some(t)
	end, err := c.consumer.Renew()
	if c.closed != errors.Is(err, broker.ErrSessionLockLost) {
		t.Fatalf("renew: %v, model closed: %v", err, c.closed)
	}
	if err == nil {
		c.until = m.clock.Now().Add(lockDuration)
		if !end.Equal(c.until) {
			t.Fatalf("renewed until %v", end)
		}
	}
}

func (m *machine) receiveDeferred(t *rapid.T) {
	n := rapid.SampledFrom(m.numbers).Draw(t, "number")
	var by *modelConsumer
	var holder *broker.Consumer
	if m.sessions {
		by = m.some(t)
		holder = by.consumer
	}
	found, err := m.q.ReceiveDeferred([]int64{n}, holder)
	if by != nil && by.closed {
		if !errors.Is(err, broker.ErrSessionLockLost) {
			t.Fatalf("received without session: %v", err)
		}
		return
	}
	for _, x := range m.messages {
		if x.seq == n && x.place == deferred && x.held == nil && (by == nil || by.session == x.session) {
			if err != nil || len(found) != 1 || found[0].ID != x.id {
				t.Fatalf("deferred %s: %v, %v", x.id, found, err)
			}
			m.hold(t, x, found[0], by)
			return
		}
	}
	if !errors.Is(err, broker.ErrMessageNotFound) {
		t.Fatalf("received %v, %v", found, err)
	}
}

func testModel(t *testing.T, sessions bool) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, sessions)
		defer m.broker.Close()
		when := func(ok func() bool, f func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				if !ok() {
					t.Skip("nothing to do it to")
				}
				f(t)
				m.check(t)
				// Locks taken by different steps end at different times.
				m.advance(t, time.Millisecond)
			}
		}
		always := func() bool { return true }
		someNumber := func() bool { return len(m.numbers) > 0 && (!sessions || len(m.consumers) > 0) }
		someConsumer := func() bool { return len(m.consumers) > 0 }
		someToken := func() bool { return len(m.tokens) > 0 }
		t.Repeat(map[string]func(*rapid.T){
			"send":             when(always, m.send),
			"cancel":           when(someNumber, m.cancel),
			"attach":           when(always, m.attach),
			"accept next":      when(always, m.acceptNext),
			"allow":            when(someConsumer, m.allow),
			"allow more":       when(someConsumer, m.allow),
			"drain":            when(someConsumer, m.drain),
			"detach":           when(someConsumer, m.detach),
			"settle":           when(someToken, m.settle),
			"settle more":      when(someToken, m.settle),
			"renew session":    when(someConsumer, m.renewSession),
			"receive deferred": when(someNumber, m.receiveDeferred),
			"advance": when(always, func(t *rapid.T) {
				m.advance(t, time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds"))*time.Second)
			}),
		})
	})
}

func TestQueueAgainstModel(t *testing.T)    { testModel(t, false) }
func TestSessionsAgainstModel(t *testing.T) { testModel(t, true) }
