package servicebus

import (
	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// inboundCredit is how many messages a client may send ahead. It is granted
// again when half of it is used.
const inboundCredit = 1000

// inbound is the state of a link on which the client sends.
type inbound struct {
	l *link
	// handle takes a complete message and returns its outcome.
	handle func(raw []byte, format uint32) amqp.Performative

	received uint32 // messages begun
	credit   uint32

	// The message under way:
	active     bool
	deliveryID uint32
	format     uint32
	settled    bool
	tooLarge   bool
	buf        []byte
}

func (l *link) attachInbound(a *amqp.Attach) {
	l.in = &inbound{l: l, credit: inboundCredit}
	switch {
	case l.node.cbs:
		l.in.handle = l.requests(l.s.c.putToken)
	case l.node.management:
		l.in.handle = l.requests(l.manage)
	default:
		if err := l.node.queue.Check(nil); err != nil {
			l.refuse(a, failureOf(err))
			return
		}
		l.in.handle = l.receiveMessages
	}
	l.accept(a, nil)
	l.in.sendCredit()
}

func (in *inbound) sendCredit() {
	in.l.s.sendFlow(&amqp.Flow{Handle: &in.l.handle, DeliveryCount: &in.received, LinkCredit: &in.credit})
}

// transfer collects the frames of a message and hands it on when complete.
func (in *inbound) transfer(t *amqp.Transfer, payload []byte) error {
	if !in.active {
		if t.DeliveryID == nil {
			return illegal("amqp:not-allowed", "the first transfer of a delivery has no delivery-id")
		}
		in.credit--
		in.received++
		*in = inbound{l: in.l, handle: in.handle, received: in.received, credit: in.credit, active: true, deliveryID: *t.DeliveryID}
		if t.MessageFormat != nil {
			in.format = *t.MessageFormat
		}
	}
	if t.Settled != nil {
		in.settled = *t.Settled
	}
	// What is over the limit is read but not kept.
	if in.tooLarge = in.tooLarge || len(in.buf)+len(payload) > maxMessageSize; in.tooLarge {
		in.buf = nil
	} else if in.buf == nil && !t.More {
		in.buf = payload
	} else {
		in.buf = append(in.buf, payload...)
	}
	if t.More && !t.Aborted {
		return nil
	}
	in.active = false
	if !t.Aborted {
		in.complete()
	}
	if in.credit <= inboundCredit/2 && !in.l.detached {
		in.credit = inboundCredit
		in.sendCredit()
	}
	return nil
}

func (in *inbound) complete() {
	raw := in.buf
	in.buf = nil
	var outcome amqp.Performative
	if in.tooLarge {
		outcome = &amqp.Rejected{Error: (&failure{condition: "amqp:link:message-size-exceeded",
			description: "The message exceeds the limit of 262144 bytes."}).amqp()}
	} else {
		outcome = in.handle(raw, in.format)
	}
	if !in.settled {
		in.l.s.c.send(in.l.s.channel, &amqp.Disposition{Role: amqp.RoleReceiver, First: in.deliveryID,
			Settled: true, State: outcome}, nil)
	}
}

func rejected(f *failure) amqp.Performative { return &amqp.Rejected{Error: f.amqp()} }

// receiveMessages stores a message, or all messages of a batch or none.
func (l *link) receiveMessages(raw []byte, format uint32) amqp.Performative {
	messages, err := unpack(raw, format)
	if err != nil {
		return rejected(failureOf(err))
	}
	if _, f := l.s.c.store("send", l.node.queue, messages); f != nil {
		return rejected(f)
	}
	return &amqp.Accepted{}
}

// store puts messages into a queue, with the hooks around it.
func (c *conn) store(kind string, q *broker.Queue, messages []broker.Message) ([]int64, *failure) {
	if err := q.Check(messages); err != nil {
		return nil, failureOf(err)
	}
	ops := make([]Op, len(messages))
	for i, m := range messages {
		ops[i] = Op{Kind: kind, Entity: q.Name(), MessageID: m.ID}
		if m.SessionID != nil {
			ops[i].SessionID = *m.SessionID
		}
		if f := c.before(ops[i]); f != nil {
			return nil, f
		}
	}
	numbers, err := q.Send(messages...)
	if err != nil {
		return nil, failureOf(err)
	}
	for i, op := range ops {
		op.SequenceNumber = numbers[i]
		c.srv.after(op)
	}
	return numbers, nil
}

// before asks the hook. A fault that drops the connection does so here; the
// caller goes on as with any failure and its answer goes nowhere.
func (c *conn) before(op Op) *failure {
	f := c.srv.before(op)
	if f == nil {
		return nil
	}
	if f.Drop {
		c.drop()
	}
	if f.Condition == "" {
		f = &Fault{Condition: "amqp:internal-error", Description: f.Description} // an error must have one
	}
	return &failure{condition: f.Condition, description: f.Description, status: statusOf(f.Condition)}
}
