package servicebus

import (
	"jitgate/internal/local/servicebus/amqp"
)

// maxMessageSize is the limit of the Standard tier, in bytes.
const maxMessageSize = 256 * 1024

// link is one end of a link; exactly one of in and out is set.
type link struct {
	s      *session
	handle uint32
	name   string
	node   node
	in     *inbound
	out    *outbound
	// pending: the client's attach has not been answered yet.
	// detached: we sent detach, or the session is over; the handle stays taken
	// until the client's detach.
	pending, detached bool
}

// failure is an error as a client is told.
type failure struct {
	condition   string
	description string
	status      int32 // of a management operation
}

func (f *failure) amqp() *amqp.Error {
	return &amqp.Error{Condition: amqp.Symbol(f.condition), Description: f.description}
}

func (s *session) attach(a *amqp.Attach) error {
	if s.links[a.Handle] != nil {
		return illegal("amqp:session:handle-in-use", "handle %d is in use", a.Handle)
	}
	l := &link{s: s, handle: a.Handle, name: a.Name}
	s.links[a.Handle] = l
	var address *string
	if a.Role == amqp.RoleReceiver && a.Source != nil {
		address = a.Source.Address
	}
	if a.Role == amqp.RoleSender && a.Target != nil {
		address = a.Target.Address
	}
	if address == nil {
		l.refuse(a, &failure{condition: "amqp:invalid-field", description: "the link names no address"})
		return nil
	}
	var ok bool
	if l.node, ok = s.c.srv.resolve(*address); !ok {
		l.refuse(a, &failure{condition: "amqp:not-found",
			description: "The messaging entity '" + *address + "' could not be found."})
		return nil
	}
	if f := l.admit(a); f != nil {
		l.refuse(a, f)
		return nil
	}
	switch {
	case a.Role == amqp.RoleSender:
		l.attachInbound(a)
	case l.node.cbs || l.node.management:
		l.out = &outbound{l: l}
		l.accept(a, nil)
	default:
		l.attachReceiver(a)
	}
	return nil
}

// admit checks what does not depend on the queue.
func (l *link) admit(a *amqp.Attach) *failure {
	if !l.node.cbs {
		if !l.s.c.authorized(l.node.address) {
			return &failure{condition: "amqp:unauthorized-access",
				description: "Unauthorized access. 'Send' or 'Listen' claim required: put a token on $cbs for " + l.node.address}
		}
		return nil
	}
	other := l.s.c.link("", func(o *link) bool {
		return o != l && o.node.cbs && !o.detached && (o.in != nil) == (a.Role == amqp.RoleSender)
	})
	if other != nil {
		return &failure{condition: "amqp:not-allowed", description: "the connection already has a $cbs link"}
	}
	return nil
}

// accept answers an attach. Settlement modes are echoed because the client
// closes the link when they differ from what it set.
func (l *link) accept(a *amqp.Attach, properties amqp.Map) {
	reply := &amqp.Attach{Name: a.Name, Handle: l.handle, Role: !a.Role, SenderSettleMode: a.SenderSettleMode,
		ReceiverSettleMode: a.ReceiverSettleMode, Source: a.Source, Target: a.Target, Properties: properties}
	if l.in != nil {
		// Only here: on a link towards the client, azservicebus would take it
		// as a limit for what it receives.
		reply.MaxMessageSize = new(uint64(maxMessageSize))
	} else {
		reply.InitialDeliveryCount = new(uint32(0))
	}
	l.pending = false
	l.s.c.send(l.s.channel, reply, nil)
}

// refuse answers an attach with an attach that leads nowhere and a detach that
// says why.
func (l *link) refuse(a *amqp.Attach, f *failure) {
	reply := &amqp.Attach{Name: a.Name, Handle: l.handle, Role: !a.Role, SenderSettleMode: a.SenderSettleMode,
		ReceiverSettleMode: a.ReceiverSettleMode}
	if a.Role == amqp.RoleSender {
		reply.Source = a.Source
	} else {
		reply.Target = a.Target
		reply.InitialDeliveryCount = new(uint32(0))
	}
	l.pending = false
	l.s.c.send(l.s.channel, reply, nil)
	l.detach(f)
}

// detach ends the link from our side.
func (l *link) detach(f *failure) {
	if l.detached {
		return
	}
	l.close()
	l.s.c.send(l.s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: f.amqp()}, nil)
}

// close ends what the link does, without a frame.
func (l *link) close() {
	if l.detached {
		return
	}
	l.detached = true
	if l.out != nil {
		l.out.close()
	}
	for _, o := range l.s.forget(l) {
		// Settled deliveries are gone for good, as when a network loses them.
		if !o.settled {
			_ = l.node.queue.Release(o.token)
		}
	}
}

func (l *link) flow(f *amqp.Flow) {
	if l.in != nil {
		if f.Echo {
			l.in.sendCredit()
		}
		return
	}
	var count, credit uint32
	if f.DeliveryCount != nil {
		count = *f.DeliveryCount
	}
	if f.LinkCredit != nil {
		credit = *f.LinkCredit
	}
	l.out.allow(count+credit, f.Drain, f.Echo)
}
