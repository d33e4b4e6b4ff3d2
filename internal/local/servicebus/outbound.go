package servicebus

import (
	"time"

	"github.com/google/uuid"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// outbound is the state of a link on which the client receives: messages of a
// queue, or replies to requests.
type outbound struct {
	l     *link
	sent  uint32 // deliveries started; the protocol's delivery-count
	limit uint32 // sent may rise to this

	replies [][]byte // waiting for credit

	consumer *broker.Consumer
	waiter   *broker.Waiter // while waiting for any session
	settled  bool           // receive and delete
}

// Filter and properties of session receivers (azservicebus v1.11
// session_receiver.go).
const (
	sessionFilter    = "com.microsoft:session-filter"
	sessionTimeout   = "com.microsoft:timeout"          // uint, milliseconds
	lockedUntilProp  = "com.microsoft:locked-until-utc" // long, .NET ticks
	defaultNextWait  = time.Minute
	ticksAtUnixEpoch = 621355968000000000
)

// attachReceiver connects a client to a queue or to one of its sessions.
func (l *link) attachReceiver(a *amqp.Attach) {
	q := l.node.queue
	l.out = &outbound{l: l, settled: a.SenderSettleMode != nil && *a.SenderSettleMode == amqp.SenderSettled}
	if !a.Source.Filter.Has(sessionFilter) {
		consumer, err := q.Consume(l)
		if err != nil {
			l.refuse(a, &failure{condition: "amqp:not-allowed", description: "It is not possible for an entity that " +
				"requires sessions to create a non-sessionful message receiver."})
			return
		}
		l.out.consumer = consumer
		l.accept(a, nil)
		return
	}
	wanted := a.Source.Filter.Get(sessionFilter)
	if d, ok := wanted.(amqp.Described); ok {
		wanted = d.Value
	}
	id, named := wanted.(string)
	if !named && wanted != nil {
		l.refuse(a, &failure{condition: "amqp:invalid-field", description: "the session filter is neither a string nor null"})
		return
	}
	op := Op{Kind: "accept-session", Entity: q.Name(), SessionID: id}
	if f := l.s.c.before(op); f != nil {
		l.refuse(a, f)
		return
	}
	if named {
		consumer, err := q.Accept(id, l)
		if err != nil {
			l.refuse(a, failureOf(err))
			return
		}
		l.sessionAccepted(a, op, consumer)
		return
	}
	l.pending = true
	waiter, err := q.AcceptNext(nextWait(a.Properties), l, func(c *broker.Consumer) {
		l.s.c.post(func() { l.nextSession(a, op, c) })
	})
	if err != nil {
		l.refuse(a, failureOf(err))
		return
	}
	l.out.waiter = waiter
}

func nextWait(properties amqp.Map) time.Duration {
	if ms, ok := properties.Get(sessionTimeout).(uint32); ok {
		return time.Duration(ms) * time.Millisecond
	}
	return defaultNextWait
}

// nextSession is the outcome of waiting for any session.
func (l *link) nextSession(a *amqp.Attach, op Op, consumer *broker.Consumer) {
	if l.detached {
		return // the client gave up; close has cancelled the wait
	}
	if consumer == nil {
		l.refuse(a, &failure{condition: "com.microsoft:timeout", description: "No session with messages became " +
			"available within the time allowed."})
		return
	}
	l.out.waiter = nil
	l.sessionAccepted(a, op, consumer)
}

func (l *link) sessionAccepted(a *amqp.Attach, op Op, consumer *broker.Consumer) {
	l.out.consumer = consumer
	id, _ := consumer.SessionID()
	op.SessionID = id
	l.s.c.srv.after(op)
	// The filter goes back in the shape it came in: Go needs the described
	// value, JavaScript the bare one.
	var value any = id
	if d, ok := a.Source.Filter.Get(sessionFilter).(amqp.Described); ok {
		value = amqp.Described{Descriptor: d.Descriptor, Value: id}
	}
	a.Source.Filter = a.Source.Filter.Set(amqp.Symbol(sessionFilter), value)
	l.accept(a, amqp.Map{{Key: amqp.Symbol(lockedUntilProp), Value: ticks(consumer.LockedUntil())}})
	consumer.Allow(l.out.limit)
}

func ticks(t time.Time) int64 { return ticksAtUnixEpoch + t.UnixMilli()*10000 }

func (o *outbound) close() {
	if o.waiter != nil {
		o.waiter.Cancel()
	}
	if o.consumer != nil {
		o.consumer.Close()
	}
}

// allow is the client's credit.
func (o *outbound) allow(limit uint32, drain, echo bool) {
	o.limit = limit
	if o.l.pending {
		return // kept until there is a session
	}
	if o.consumer == nil {
		o.sendReplies()
	} else {
		o.consumer.Allow(limit)
	}
	if drain {
		if o.consumer != nil {
			limit = o.consumer.Drain()
		}
		// What was delivered before the drain goes out before its answer.
		o.l.s.c.runPosted()
		if o.l.detached {
			return
		}
		o.sent, o.limit = limit, limit
	}
	if drain || echo {
		o.l.s.sendFlow(&amqp.Flow{Handle: &o.l.handle, DeliveryCount: &o.sent, LinkCredit: new(o.limit - o.sent), Drain: drain})
	}
}

func (o *outbound) sendReplies() {
	for len(o.replies) > 0 && int32(o.limit-o.sent) > 0 {
		payload := o.replies[0]
		o.replies = o.replies[1:]
		o.l.s.enqueue(&outgoing{l: o.l, tag: []byte{0}, settled: true, payload: payload})
	}
}

// Deliver takes a message from the broker.
func (l *link) Deliver(d broker.Delivery) {
	l.s.c.post(func() { l.deliver(d) })
}

// SessionLost takes note that the broker ended the link's session.
func (l *link) SessionLost() {
	l.s.c.post(func() {
		l.detach(&failure{condition: "com.microsoft:session-lock-lost",
			description: "The session lock has expired on the session. Accept a new session."})
	})
}

func (l *link) deliver(d broker.Delivery) {
	if l.detached {
		l.out.consumer.Return(d.LockToken)
		return
	}
	op := opOf("receive", l.node.queue, d)
	if f := l.s.c.before(op); f != nil {
		l.detach(f)
		l.out.consumer.Return(d.LockToken)
		return
	}
	out := &outgoing{l: l, settled: l.out.settled, op: op}
	if out.settled {
		if err := l.node.queue.Complete(d.LockToken); err != nil {
			l.out.consumer.Return(d.LockToken) // the lock ended before the message was on its way
			return
		}
		d.LockToken, d.LockedUntil = uuid.Nil, time.Time{}
		out.tag = []byte(uuid.NewString())
	} else {
		out.token, out.tag = d.LockToken, guidBytes(d.LockToken)
	}
	l.s.c.srv.after(op)
	out.payload = render(d, ordinary)
	l.s.enqueue(out)
}

func opOf(kind string, q *broker.Queue, d broker.Delivery) Op {
	op := Op{Kind: kind, Entity: q.Name(), MessageID: d.ID, SequenceNumber: d.SequenceNumber}
	if d.SessionID != nil {
		op.SessionID = *d.SessionID
	}
	return op
}

// guidBytes is the byte order of a .NET Guid, which delivery tags use.
func guidBytes(u uuid.UUID) []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}
