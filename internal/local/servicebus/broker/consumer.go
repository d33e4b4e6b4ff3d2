package broker

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Sink receives what the broker has for a consumer. Its methods are called
// while the broker is locked: they must return at once and must not call the
// broker.
type Sink interface {
	// Deliver hands over a message that is locked for the consumer.
	Deliver(Delivery)
	// SessionLost says that the session's lock expired. Nothing follows.
	SessionLost()
}

// Consumer is a receiver attached to a queue, or to one session of it.
type Consumer struct {
	q       *Queue
	sink    Sink
	session *session // nil in a queue without sessions

	// Deliveries are counted and the receiver's credit is a limit on that
	// count, both modulo 2³²: so neither side's view of messages under way can
	// disturb the other's.
	delivered, limit uint32
	closed           bool
}

// Consume attaches a receiver to a queue without sessions; ErrSessionRequired
// otherwise. It gets messages after Allow.
func (q *Queue) Consume(sink Sink) (*Consumer, error) {
	if q.settings.RequiresSession {
		return nil, ErrSessionRequired
	}
	return &Consumer{q: q, sink: sink}, nil
}

func (c *Consumer) credit() uint32 {
	if n := int32(c.limit - c.delivered); n > 0 && !c.closed {
		return uint32(n)
	}
	return 0
}

// Allow permits deliveries until the number of all deliveries to this consumer
// is limit.
func (c *Consumer) Allow(limit uint32) {
	c.q.b.enter()
	defer c.q.b.leave()
	c.limit = limit
	c.offer()
}

// offer lets a consumer whose credit changed take what is waiting.
func (c *Consumer) offer() {
	if c.session != nil {
		c.q.sessionReady(c.session)
		return
	}
	at := slices.Index(c.q.consumers, c)
	switch {
	case c.credit() == 0 && at >= 0:
		c.q.consumers = slices.Delete(c.q.consumers, at, at+1)
	case c.credit() > 0 && at < 0:
		c.q.consumers = append(c.q.consumers, c)
	}
	c.q.dispatch()
}

// Drain takes back what is left of the permission and returns the number of
// all deliveries up to now, where the untaken ones count as made.
func (c *Consumer) Drain() uint32 {
	c.q.b.enter()
	defer c.q.b.leave()
	if c.credit() > 0 {
		c.delivered = c.limit
		c.offer()
	}
	return c.delivered
}

// Return undoes a delivery that never left: the message is as before and the
// permission for it is valid again.
func (c *Consumer) Return(token uuid.UUID) {
	c.q.b.enter()
	defer c.q.b.leave()
	if m := c.q.locks[token]; m != nil {
		c.q.giveBack(m, false)
	}
	c.delivered--
	if !c.closed {
		c.offer()
	}
}

// Close detaches the receiver. Messages it holds stay locked until their locks
// expire; but a session is given up at once, with its messages, as if they had
// not been delivered.
func (c *Consumer) Close() {
	c.q.b.enter()
	defer c.q.b.leave()
	if c.closed {
		return
	}
	if c.session != nil {
		c.q.endSession(c.session, false)
		return
	}
	c.closed = true
	c.offer()
}

// dispatch gives waiting messages to waiting consumers of a queue without
// sessions.
func (q *Queue) dispatch() {
	for len(q.consumers) > 0 {
		m := q.waiting.take()
		if m == nil {
			return
		}
		c := q.consumers[0]
		c.deliver(m)
		if c.credit() == 0 {
			q.consumers = slices.Delete(q.consumers, 0, 1)
		}
	}
}

func (c *Consumer) deliver(m *message) {
	c.delivered++
	c.sink.Deliver(c.q.lock(m))
}

// SessionID returns the session's id; ok is false without a session.
func (c *Consumer) SessionID() (id string, ok bool) {
	if c.session == nil {
		return "", false
	}
	return c.session.id, true
}

func (c *Consumer) holds() bool { return !c.closed && c.session != nil && c.session.holder == c }

// LockedUntil returns when the session's lock ends.
func (c *Consumer) LockedUntil() time.Time {
	c.q.b.enter()
	defer c.q.b.leave()
	return c.session.lockedUntil
}
