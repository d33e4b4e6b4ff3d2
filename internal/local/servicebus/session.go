package servicebus

import (
	"math"
	"slices"

	"github.com/google/uuid"

	"jitgate/internal/local/servicebus/amqp"
)

// incomingWindow is how many transfer frames a client may send ahead of the
// next flow. It is never closed: frames are handled as they come.
const incomingWindow = 5000

// session is an AMQP session: links share its windows and delivery ids. It has
// nothing to do with the sessions of a queue.
type session struct {
	c       *conn
	channel uint16
	links   map[uint32]*link // by handle; both sides use the client's numbers

	nextIncoming uint32
	sinceFlow    int // transfers received since the client was told the window

	nextOutgoing uint32 // transfer frames, counted by the session's windows
	nextDelivery uint32
	window       uint32      // frames the client will take
	outgoing     []*outgoing // waiting for the window, in order
	unsettled    map[uint32]*unsettled
}

// outgoing is a delivery to the client on its way into frames.
type outgoing struct {
	l       *link
	tag     []byte
	settled bool
	payload []byte
	token   uuid.UUID // zero for replies and settled deliveries
	op      Op
	started bool
}

// unsettled is a delivery whose outcome the client still owes.
type unsettled struct {
	l     *link
	token uuid.UUID
	op    Op
}

func newSession(c *conn, channel uint16, b *amqp.Begin) *session {
	return &session{c: c, channel: channel, links: map[uint32]*link{}, nextIncoming: b.NextOutgoingID,
		window: b.IncomingWindow, unsettled: map[uint32]*unsettled{}}
}

func (s *session) close() {
	for _, l := range s.links {
		l.close()
	}
}

func (s *session) handle(f amqp.Frame) error {
	switch body := f.Body.(type) {
	case *amqp.Attach:
		return s.attach(body)
	case *amqp.Flow:
		return s.flow(body)
	case *amqp.Transfer:
		return s.transfer(body, f.Payload)
	case *amqp.Disposition:
		s.disposition(body)
		return nil
	case *amqp.Detach:
		return s.detach(body)
	case *amqp.End:
		s.close()
		delete(s.c.sessions, s.channel)
		s.c.send(s.channel, &amqp.End{}, nil)
		return nil
	}
	return illegal("amqp:not-allowed", "%T inside a session", f.Body)
}

func (s *session) flow(f *amqp.Flow) error {
	var next uint32 // the client has not seen our Begin yet: counting starts at zero
	if f.NextIncomingID != nil {
		next = *f.NextIncomingID
	}
	// What is under way has to fit into the window as well.
	s.window = uint32(max(int64(int32(next-s.nextOutgoing))+int64(f.IncomingWindow), 0))
	s.flush()
	if f.Handle == nil {
		if f.Echo {
			s.sendFlow(nil)
		}
		return nil
	}
	l := s.links[*f.Handle]
	if l == nil {
		return illegal("amqp:session:unattached-handle", "flow for handle %d", *f.Handle)
	}
	if l.detached {
		return nil
	}
	l.flow(f)
	return nil
}

// sendFlow tells the client the session's windows and, with a link, what the
// link adds.
func (s *session) sendFlow(link *amqp.Flow) {
	f := link
	if f == nil {
		f = &amqp.Flow{}
	}
	f.NextIncomingID, f.IncomingWindow = &s.nextIncoming, incomingWindow
	f.NextOutgoingID, f.OutgoingWindow = s.nextOutgoing, math.MaxInt32
	s.sinceFlow = 0
	s.c.send(s.channel, f, nil)
}

func (s *session) transfer(t *amqp.Transfer, payload []byte) error {
	s.nextIncoming++
	if s.sinceFlow++; s.sinceFlow >= incomingWindow/2 {
		s.sendFlow(nil)
	}
	l := s.links[t.Handle]
	if l == nil {
		return illegal("amqp:session:unattached-handle", "transfer for handle %d", t.Handle)
	}
	if l.detached {
		// The client had not seen our detach yet and will send this again.
		// Storing it would store it twice.
		return nil
	}
	if l.in == nil {
		return illegal("amqp:not-allowed", "transfer on a receiving link")
	}
	return l.in.transfer(t, payload)
}

func (s *session) detach(d *amqp.Detach) error {
	l := s.links[d.Handle]
	if l == nil {
		return illegal("amqp:session:unattached-handle", "detach of handle %d", d.Handle)
	}
	delete(s.links, d.Handle)
	if !l.detached {
		l.close()
		// A link that was still waiting for its session was never attached:
		// an answer would refer to a handle the client does not know.
		if !l.pending {
			s.c.send(s.channel, &amqp.Detach{Handle: l.handle, Closed: true}, nil)
		}
	}
	return nil
}

// enqueue sends a delivery as soon as the window allows.
func (s *session) enqueue(o *outgoing) {
	s.outgoing = append(s.outgoing, o)
	s.flush()
}

func (s *session) flush() {
	for len(s.outgoing) > 0 && s.window > 0 {
		o := s.outgoing[0]
		t := &amqp.Transfer{Handle: o.l.handle}
		if !o.started {
			o.started = true
			t.DeliveryID, t.DeliveryTag, t.MessageFormat = new(s.nextDelivery), o.tag, new(uint32(0))
			t.Settled = new(o.settled)
			if !o.settled {
				s.unsettled[s.nextDelivery] = &unsettled{o.l, o.token, o.op}
			}
			s.nextDelivery++
			o.l.out.sent++
		}
		n := min(len(o.payload), s.c.maxFrame-amqp.TransferOverhead)
		t.More = n < len(o.payload)
		s.c.send(s.channel, t, o.payload[:n])
		s.nextOutgoing++
		s.window--
		if o.payload = o.payload[n:]; !t.More {
			s.outgoing[0] = nil
			s.outgoing = s.outgoing[1:]
		}
	}
}

// forget drops everything of a link that ended and returns its deliveries that
// never got on the wire.
func (s *session) forget(l *link) (unsent []*outgoing) {
	s.outgoing = slices.DeleteFunc(s.outgoing, func(o *outgoing) bool {
		if o.l == l && !o.started {
			unsent = append(unsent, o)
		}
		return o.l == l
	})
	for id, u := range s.unsettled {
		if u.l == l {
			delete(s.unsettled, id)
		}
	}
	return unsent
}
