package servicebus_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"jitgate/internal/local/servicebus/amqp"
)

// wire is a client that speaks frames, for what azservicebus never does: what
// the JavaScript SDK does, and what a broken client does.
type wire struct {
	t    *testing.T
	conn net.Conn
}

func dialWire(t *testing.T, b *bus, maxFrame uint32) *wire {
	t.Helper()
	w := rawWire(t, b)
	w.header(amqp.HeaderSASL)
	if m := expect[*amqp.SASLMechanisms](w); len(m.Mechanisms) == 0 {
		t.Error("no SASL mechanisms")
	}
	w.frame(amqp.Frame{Type: amqp.TypeSASL, Body: &amqp.SASLInit{Mechanism: "ANONYMOUS", Response: []byte("x")}})
	if o := expect[*amqp.SASLOutcome](w); o.Code != 0 {
		t.Fatalf("SASL outcome %d", o.Code)
	}
	w.header(amqp.HeaderAMQP)
	w.send(&amqp.Open{ContainerID: "test", MaxFrameSize: &maxFrame})
	if o := expect[*amqp.Open](w); o.ContainerID == "" || *o.ChannelMax == 0 || *o.MaxFrameSize != 65536 {
		t.Errorf("open %+v", o)
	}
	w.begin(100)
	return w
}

func rawWire(t *testing.T, b *bus) *wire {
	t.Helper()
	w := &wire{t: t, conn: must(net.Dial("tcp", b.addr))(t)}
	t.Cleanup(func() { _ = w.conn.Close() })
	check(t, w.conn.SetDeadline(time.Now().Add(20*time.Second)))
	return w
}

func (w *wire) header(h [8]byte) {
	w.t.Helper()
	_, err := w.conn.Write(h[:])
	check(w.t, err)
	var got [8]byte
	_, err = io.ReadFull(w.conn, got[:])
	check(w.t, err)
	if got != h {
		w.t.Fatalf("protocol header % x", got)
	}
}

func (w *wire) frame(f amqp.Frame) {
	w.t.Helper()
	_, err := w.conn.Write(amqp.AppendFrame(nil, f))
	check(w.t, err)
}

func (w *wire) send(p amqp.Performative) { w.frame(amqp.Frame{Body: p}) }

func (w *wire) begin(window uint32) {
	w.t.Helper()
	w.send(&amqp.Begin{IncomingWindow: window, OutgoingWindow: 100})
	if b := expect[*amqp.Begin](w); b.RemoteChannel == nil || *b.RemoteChannel != 0 {
		w.t.Errorf("begin %+v", b)
	}
}

// next reads a frame that is not a heartbeat.
func (w *wire) next() amqp.Frame {
	w.t.Helper()
	for {
		f, err := amqp.ReadFrame(w.conn, 65536)
		check(w.t, err)
		if f.Body != nil {
			return f
		}
	}
}

// expect reads the next frame and its type must be T.
func expect[T amqp.Performative](w *wire) T {
	w.t.Helper()
	f := w.next()
	p, ok := f.Body.(T)
	if !ok {
		w.t.Fatalf("got %T %+v, expected %T", f.Body, f.Body, p)
	}
	return p
}

// sendMessage sends a message in one frame and returns its outcome.
func (w *wire) sendMessage(handle, id uint32, m *amqp.Message) {
	w.t.Helper()
	w.frame(amqp.Frame{Body: &amqp.Transfer{Handle: handle, DeliveryID: &id, DeliveryTag: []byte{1}, MessageFormat: new(uint32(0)),
		Settled: new(true)}, Payload: m.Append(nil)})
}

// requester is a pair of links to a request node, as JavaScript makes it: the
// receiver has no target address and reply-to is the link's name.
type requester struct {
	w    *wire
	base uint32
	n    uint32
	cbs  bool
}

func (w *wire) requester(address string, base uint32) *requester {
	w.t.Helper()
	w.send(&amqp.Attach{Name: fmt.Sprint("s", base), Handle: base, Role: amqp.RoleSender, Source: &amqp.Source{}, Target: &amqp.Target{Address: &address}, InitialDeliveryCount: new(uint32(0))})
	if a := expect[*amqp.Attach](w); a.Target == nil {
		w.t.Fatalf("attach to %s refused: %+v", address, expect[*amqp.Detach](w).Error)
	}
	expect[*amqp.Flow](w)
	w.send(&amqp.Attach{Name: fmt.Sprint("r", base), Handle: base + 1, Role: amqp.RoleReceiver, Source: &amqp.Source{Address: &address}, Target: &amqp.Target{}})
	if a := expect[*amqp.Attach](w); a.Source == nil || a.MaxMessageSize != nil || *a.InitialDeliveryCount != 0 {
		w.t.Fatalf("attach %+v", a)
	}
	w.credit(base+1, 0, 100, false)
	return &requester{w: w, base: base, cbs: address == "$cbs"}
}

func (w *wire) credit(handle, count, credit uint32, drain bool) {
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Handle: &handle, DeliveryCount: &count, LinkCredit: &credit, Drain: drain})
}

func (r *requester) call(operation string, properties, body amqp.Map) (status int32, condition any, result amqp.Map) {
	r.w.t.Helper()
	m := &amqp.Message{Properties: amqp.WithField(nil, amqp.PropMessageID, fmt.Sprint("id", r.n))}
	m.SetApplicationProperties(append(amqp.Map{{Key: "operation", Value: operation}}, properties...))
	m.SetValue(body)
	r.w.sendMessage(r.base, r.n, m)
	f := r.w.next()
	tr, ok := f.Body.(*amqp.Transfer)
	if !ok || tr.Handle != r.base+1 || !*tr.Settled {
		r.w.t.Fatalf("reply %T %+v", f.Body, f.Body)
	}
	reply := must(amqp.DecodeMessage(f.Payload))(r.w.t)
	if id := reply.Property(amqp.PropCorrelationID); id != fmt.Sprint("id", r.n) {
		r.w.t.Errorf("correlation id %v", id)
	}
	r.n++
	app := must(reply.ApplicationProperties())(r.w.t)
	key := "statusCode"
	if r.cbs {
		key = "status-code"
	}
	status, ok = app.Get(key).(int32)
	if !ok {
		r.w.t.Fatalf("reply without %s: %v", key, app)
	}
	result, _ = must(reply.Value())(r.w.t).(amqp.Map)
	if len(result) == 0 {
		r.w.t.Error("an empty result cannot be read by azservicebus")
	}
	return status, app.Get("errorCondition"), result
}

func (w *wire) putTokens(entities ...string) {
	w.t.Helper()
	cbs := w.requester("$cbs", 1000)
	for _, e := range entities {
		if status, _, _ := cbs.call("put-token", token("sb://127.0.0.1:5672/"+e), nil); status != 202 {
			w.t.Fatalf("put-token for %s: %d", e, status)
		}
	}
}

func token(audience string) amqp.Map {
	return amqp.Map{{Key: "type", Value: "servicebus.windows.net:sastoken"}, {Key: "name", Value: audience}}
}

func (w *wire) attachReceiver(handle uint32, queue string, filter amqp.Map) {
	w.send(&amqp.Attach{Name: fmt.Sprint("link", handle), Handle: handle, Role: amqp.RoleReceiver,
		Source: &amqp.Source{Address: &queue, Filter: filter}, Target: &amqp.Target{}})
}
