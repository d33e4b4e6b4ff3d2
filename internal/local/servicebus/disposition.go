package servicebus

import (
	"slices"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// disposition is the client's verdict on deliveries it received.
func (s *session) disposition(d *amqp.Disposition) {
	if d.Role != amqp.RoleReceiver {
		return // about its own transfers, which are settled already
	}
	span := uint32(0)
	if d.Last != nil {
		span = *d.Last - d.First
	}
	// Looking through what is known bounds the work, whatever the client says.
	var ids []uint32
	for id := range s.unsettled {
		if id-d.First <= span {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint32) int { return int(int32(a - b)) })
	for _, id := range ids {
		s.settle(id, d)
	}
}

func (s *session) settle(id uint32, d *amqp.Disposition) {
	u := s.unsettled[id]
	kind, apply := verdict(u, d.State)
	if apply == nil && !d.Settled {
		return // not an outcome yet
	}
	delete(s.unsettled, id)
	answer := d.State
	if apply == nil {
		// Settled without an outcome: the source's default outcome, released.
		apply = func(q *broker.Queue) error { return q.Release(u.token) }
	}
	u.op.Kind = kind
	if f := s.c.apply(u.op, u.l.node.queue, apply); f != nil {
		answer = rejected(f)
	} else if _, ok := answer.(*amqp.Rejected); ok {
		// An error in the answer would become the error of a dead-lettering
		// that succeeded.
		answer = &amqp.Rejected{}
	}
	if !d.Settled {
		s.c.send(s.channel, &amqp.Disposition{Role: amqp.RoleSender, First: id, Settled: true, State: answer}, nil)
	}
}

// apply does one settlement with the hooks around it. Releasing has no kind
// and no hooks: azservicebus does it on its own, for messages the program has
// never seen.
func (c *conn) apply(op Op, q *broker.Queue, f func(*broker.Queue) error) *failure {
	if op.Kind != "" {
		if f := c.before(op); f != nil {
			return f
		}
	}
	if err := f(q); err != nil {
		return failureOf(err)
	}
	if op.Kind != "" {
		c.srv.after(op)
	}
	return nil
}

// verdict translates an outcome into an operation.
func verdict(u *unsettled, state amqp.Performative) (kind string, apply func(*broker.Queue) error) {
	switch state := state.(type) {
	case *amqp.Accepted:
		return "complete", func(q *broker.Queue) error { return q.Complete(u.token) }
	case *amqp.Released:
		return "", func(q *broker.Queue) error { return q.Release(u.token) }
	case *amqp.Modified:
		properties := stringKeys(state.Annotations)
		if state.UndeliverableHere {
			return "defer", func(q *broker.Queue) error { return q.Defer(u.token, properties) }
		}
		return "abandon", func(q *broker.Queue) error { return q.Abandon(u.token, properties) }
	case *amqp.Rejected:
		reason, description, properties := deadLetterInfo(state.Error)
		return "deadletter", func(q *broker.Queue) error { return q.DeadLetter(u.token, reason, description, properties) }
	}
	return "", nil
}

// deadLetterInfo takes reason, description and properties out of the error of
// a rejection. A rejection by another error condition gives that as reason.
func deadLetterInfo(e *amqp.Error) (reason, description string, properties map[string]any) {
	if e == nil {
		return "", "", nil
	}
	if e.Condition != "com.microsoft:dead-letter" {
		return string(e.Condition), e.Description, nil
	}
	properties = stringKeys(e.Info)
	reason, _ = properties[broker.PropReason].(string)
	description, _ = properties[broker.PropDescription].(string)
	return reason, description, properties
}

func stringKeys(m amqp.Map) map[string]any {
	out := map[string]any{}
	for _, p := range m {
		switch k := p.Key.(type) {
		case string:
			out[k] = p.Value
		case amqp.Symbol:
			out[string(k)] = p.Value
		}
	}
	return out
}
