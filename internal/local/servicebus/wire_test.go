package servicebus_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"jitgate/internal/local/servicebus"
	"jitgate/internal/local/servicebus/amqp"
)

func TestTokens(t *testing.T) {
	w := dialWire(t, start(t), 65536)
	cbs := w.requester("$cbs", 0)
	for _, c := range []struct {
		operation string
		p         amqp.Map
		want      int32
	}{
		{"put-token", token("amqp://host/plain"), 202},
		{"put-token", token("sb://host:1/PLAIN/$management"), 202},
		{"put-token", token("amqp://host/plain/$DeadLetterQueue"), 202},
		{"put-token", token("amqp://host/nowhere"), 404},
		{"put-token", token("nothing"), 401},
		{"put-token", amqp.Map{{Key: "type", Value: "password"}}, 401},
		{"delete-token", nil, 501},
	} {
		if got, _, _ := cbs.call(c.operation, c.p, nil); got != c.want {
			t.Errorf("%s %v: %d, expected %d", c.operation, c.p, got, c.want)
		}
	}
	refused := func(a *amqp.Attach, condition amqp.Symbol) {
		t.Helper()
		w.send(a)
		if reply := expect[*amqp.Attach](w); reply.Source != nil && reply.Target != nil {
			t.Fatalf("%s was not refused", a.Name)
		}
		if d := expect[*amqp.Detach](w); d.Error == nil || d.Error.Condition != condition || !d.Closed {
			t.Errorf("%s: %+v, expected %s", a.Name, d.Error, condition)
		}
	}
	refused(&amqp.Attach{Name: "no token", Handle: 10, Role: amqp.RoleSender, Target: &amqp.Target{Address: new("dedup")}}, "amqp:unauthorized-access")
	refused(&amqp.Attach{Name: "unknown", Handle: 11, Role: amqp.RoleSender, Target: &amqp.Target{Address: new("nowhere")}}, "amqp:not-found")
	refused(&amqp.Attach{Name: "second cbs", Handle: 12, Role: amqp.RoleSender, Target: &amqp.Target{Address: new("$cbs")}}, "amqp:not-allowed")
	refused(&amqp.Attach{Name: "dead", Handle: 13, Role: amqp.RoleSender, Target: &amqp.Target{Address: new("plain/$DeadLetterQueue")}}, "amqp:not-allowed")
	refused(&amqp.Attach{Name: "no address", Handle: 14, Role: amqp.RoleSender, Target: &amqp.Target{}}, "amqp:invalid-field")
	// What a client sent before it saw the refusal is dropped.
	w.sendMessage(11, 50, &amqp.Message{})
	w.send(&amqp.Detach{Handle: 11, Closed: true})
	w.send(&amqp.Flow{Echo: true, NextIncomingID: new(uint32(0)), IncomingWindow: 10})
	expect[*amqp.Flow](w)
}

func TestDrain(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("one"))
	w := dialWire(t, b, 65536)
	w.putTokens("plain")
	w.attachReceiver(0, "plain", nil)
	expect[*amqp.Attach](w)
	w.credit(0, 0, 5, false)
	expect[*amqp.Transfer](w)
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Handle: new(uint32(0)), DeliveryCount: new(uint32(0)),
		LinkCredit: new(uint32(5)), Echo: true})
	if f := expect[*amqp.Flow](w); f.Drain || *f.DeliveryCount != 1 || *f.LinkCredit != 4 || *f.Handle != 0 {
		t.Errorf("echo after one of five: %+v", f)
	}
	w.credit(0, 1, 4, true)
	if f := expect[*amqp.Flow](w); !f.Drain || *f.LinkCredit != 0 || *f.DeliveryCount != 5 || f.NextIncomingID == nil {
		t.Errorf("after one of five: %+v", f)
	}
	// The drained credit is gone.
	b.send(t, "plain", text("two"))
	wantCounts(t, b, "plain", servicebus.Counts{Active: 1, Locked: 1})
	w.credit(0, 5, 1, false)
	expect[*amqp.Transfer](w)
}

func TestSmallFramesAndWindow(t *testing.T) {
	b := start(t)
	body := bytes.Repeat([]byte("x"), 3000)
	b.send(t, "plain", &azservicebus.Message{Body: body}, text("next"))
	w := dialWire(t, b, 512)
	w.send(&amqp.End{})
	expect[*amqp.End](w)
	w.begin(100)
	w.putTokens("plain")
	// The tokens took one frame of the window, which was not renewed: take it
	// down to three from here.
	w.attachReceiver(0, "plain", nil)
	expect[*amqp.Attach](w)
	w.send(&amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 3, Handle: new(uint32(0)), DeliveryCount: new(uint32(0)), LinkCredit: new(uint32(2))})
	var payload []byte
	take := func(n int) (last *amqp.Transfer) {
		for i := range n {
			f := w.next()
			tr, ok := f.Body.(*amqp.Transfer)
			if !ok {
				t.Fatalf("frame %d: %T", i, f.Body)
			}
			if (tr.DeliveryID != nil) != (len(payload) == 0) {
				t.Errorf("frame %d: %+v", i, tr)
			}
			payload = append(payload, f.Payload...)
			last = tr
		}
		return last
	}
	if last := take(3); !last.More {
		t.Fatal("3000 bytes in three frames of 512")
	}
	// The window is closed: the answer to an echo comes first.
	w.send(&amqp.Flow{NextIncomingID: new(uint32(4)), IncomingWindow: 0, Echo: true})
	if f := expect[*amqp.Flow](w); f.NextOutgoingID != 4 {
		t.Errorf("next-outgoing-id %d", f.NextOutgoingID)
	}
	w.send(&amqp.Flow{NextIncomingID: new(uint32(4)), IncomingWindow: 100})
	for take(1).More {
	}
	data := must(must(amqp.DecodeMessage(payload))(t).Data())(t)
	if len(data) != 1 || !bytes.Equal(data[0], body) {
		t.Error("the message did not survive")
	}
	payload = nil
	if tr := take(1); tr.More || *tr.DeliveryID != 2 {
		t.Errorf("second message: %+v", tr)
	}
}

func TestMultiFrameSendAndAbort(t *testing.T) {
	b := start(t)
	w := dialWire(t, b, 65536)
	w.putTokens("plain")
	w.send(&amqp.Attach{Name: "s", Handle: 0, Role: amqp.RoleSender, Source: &amqp.Source{}, Target: &amqp.Target{Address: new("plain")}})
	if a := expect[*amqp.Attach](w); *a.MaxMessageSize != 262144 {
		t.Errorf("max-message-size %d", *a.MaxMessageSize)
	}
	if f := expect[*amqp.Flow](w); *f.LinkCredit == 0 {
		t.Error("no credit")
	}
	part := func(id uint32, more, aborted bool, payload []byte) {
		tr := &amqp.Transfer{Handle: 0, More: more, Aborted: aborted}
		if id > 0 {
			tr.DeliveryID, tr.DeliveryTag, tr.MessageFormat = &id, []byte{1}, new(uint32(0))
		}
		w.frame(amqp.Frame{Body: tr, Payload: payload})
	}
	outcome := func(id uint32) amqp.Performative {
		d := expect[*amqp.Disposition](w)
		if d.First != id || !d.Settled || d.Role != amqp.RoleReceiver {
			t.Errorf("disposition %+v", d)
		}
		return d.State
	}
	m := (&amqp.Message{Body: amqp.Append(nil, amqp.Described{Descriptor: uint64(0x75), Value: []byte("whole")})}).Append(nil)
	part(1, true, false, m[:3])
	part(0, true, true, m[3:]) // aborted
	part(2, true, false, m[:3])
	part(0, true, false, m[3:5])
	part(0, false, false, m[5:])
	if _, ok := outcome(2).(*amqp.Accepted); !ok {
		t.Error("not accepted")
	}
	// Azure's limit is enforced by the server, not only by kind clients.
	chunk := make([]byte, 60000)
	part(3, true, false, chunk)
	for i := range 5 {
		part(0, i < 4, false, chunk)
	}
	if r, ok := outcome(3).(*amqp.Rejected); !ok || r.Error.Condition != "amqp:link:message-size-exceeded" {
		t.Errorf("300 KB: %+v", r)
	}
	part(4, false, false, []byte("nonsense"))
	if r, ok := outcome(4).(*amqp.Rejected); !ok || r.Error.Condition != "amqp:decode-error" {
		t.Errorf("nonsense: %+v", r)
	}
	if got := receiveOne(t, b.receiver(t, "plain")); string(got.Body) != "whole" {
		t.Errorf("stored %q", got.Body)
	}
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})
}

func TestSendCreditIsRenewed(t *testing.T) {
	b := start(t)
	w := dialWire(t, b, 65536)
	w.putTokens("plain")
	w.send(&amqp.Attach{Name: "s", Handle: 0, Role: amqp.RoleSender, Source: &amqp.Source{}, Target: &amqp.Target{Address: new("plain")}})
	expect[*amqp.Attach](w)
	f := expect[*amqp.Flow](w)
	var sent uint32
	for range 3 { // rounds of credit
		granted := *f.LinkCredit
		for ; sent < *f.DeliveryCount+granted/2; sent++ {
			w.sendMessage(0, 10+sent, &amqp.Message{})
		}
		if f = expect[*amqp.Flow](w); *f.DeliveryCount != sent || *f.LinkCredit != granted {
			t.Fatalf("after %d messages: %+v", sent, f)
		}
	}
	wantCounts(t, b, "plain", servicebus.Counts{Active: int(sent)})
}

// Deliveries that never got on the wire go back, whatever ended the link.
func TestUnsentDeliveriesGoBack(t *testing.T) {
	attach := func(t *testing.T, window uint32) (*bus, *wire) {
		b := start(t)
		b.send(t, "plain", text("1"), text("2"))
		w := dialWire(t, b, 65536)
		w.putTokens("plain")
		w.attachReceiver(0, "plain", nil)
		expect[*amqp.Attach](w)
		w.send(&amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: window})
		return b, w
	}
	credit := &amqp.Flow{NextIncomingID: new(uint32(1)), Handle: new(uint32(0)), DeliveryCount: new(uint32(0)), LinkCredit: new(uint32(2))}
	t.Run("window closed", func(t *testing.T) {
		b, w := attach(t, 0)
		w.send(credit)
		w.send(&amqp.Flow{NextIncomingID: new(uint32(1)), Echo: true})
		expect[*amqp.Flow](w)
		w.send(&amqp.Detach{Handle: 0, Closed: true})
		expect[*amqp.Detach](w)
		wantCounts(t, b, "plain", servicebus.Counts{Active: 2})
	})
	t.Run("fault", func(t *testing.T) {
		b, w := attach(t, 10)
		b.SetFaults(once("receive", servicebus.Fault{Condition: "com.microsoft:server-busy"}), nil)
		credit.IncomingWindow = 10
		w.send(credit)
		if d := expect[*amqp.Detach](w); d.Error.Condition != "com.microsoft:server-busy" {
			t.Errorf("detach %+v", d.Error)
		}
		w.send(&amqp.Detach{Handle: 0, Closed: true})
		w.send(&amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 10, Echo: true})
		expect[*amqp.Flow](w) // the second message has come up by now
		wantCounts(t, b, "plain", servicebus.Counts{Active: 2})
	})
}

// Credit given before there is a session counts once there is one.
func TestCreditBeforeTheSession(t *testing.T) {
	b := start(t)
	w := dialWire(t, b, 65536)
	w.putTokens("sessions")
	w.attachReceiver(0, "sessions", amqp.Map{{Key: amqp.Symbol("com.microsoft:session-filter"), Value: nil}})
	w.credit(0, 0, 1, true)
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Echo: true})
	expect[*amqp.Flow](w)
	b.send(t, "sessions", inSession("a", "1"))
	expect[*amqp.Attach](w)
	tr := expect[*amqp.Transfer](w)

	// The answer to a dead-lettering names no error: it would become the
	// client's.
	w.send(&amqp.Disposition{Role: amqp.RoleReceiver, First: *tr.DeliveryID, State: &amqp.Rejected{Error: &amqp.Error{Condition: "com.microsoft:dead-letter"}}})
	if d := expect[*amqp.Disposition](w); d.Role != amqp.RoleSender || !d.Settled || d.State.(*amqp.Rejected).Error != nil {
		t.Errorf("disposition %+v", d)
	}
	wantCounts(t, b, "sessions", servicebus.Counts{DeadLetter: 1})
}

// Replies wait for credit like any delivery.
func TestRepliesNeedCredit(t *testing.T) {
	w := dialWire(t, start(t), 65536)
	cbs := w.requester("$cbs", 0)
	w.credit(1, 0, 1, false)
	cbs.call("put-token", token("sb://host/plain"), nil)
	m := &amqp.Message{}
	m.SetApplicationProperties(amqp.Map{{Key: "operation", Value: "put-token"}})
	w.sendMessage(0, 1, m)
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Echo: true})
	expect[*amqp.Flow](w) // no reply before this
	w.credit(1, 1, 1, false)
	expect[*amqp.Transfer](w)
}

// The JavaScript SDK's session receiver: a bare filter, no property for the
// time, a name for the session in management calls.
func TestSessionOfJavaScript(t *testing.T) {
	b := start(t)
	b.send(t, "sessions", inSession("a", "1"), inSession("b", "2"))
	w := dialWire(t, b, 65536)
	w.putTokens("sessions")
	w.attachReceiver(0, "sessions", amqp.Map{{Key: amqp.Symbol("com.microsoft:session-filter"), Value: nil}})
	a := expect[*amqp.Attach](w)
	if got := a.Source.Filter.Get("com.microsoft:session-filter"); got != "a" {
		t.Errorf("filter came back as %#v", got)
	}
	if ticks := a.Properties.Get("com.microsoft:locked-until-utc"); ticks != int64(621355968000000000)+b.clock.Now().Add(time.Minute).UnixMilli()*10000 {
		t.Errorf("locked until %v", ticks)
	}
	m := w.requester("sessions/$management", 10)
	status, _, body := m.call("com.microsoft:peek-message", nil, amqp.Map{{Key: "from-sequence-number", Value: int64(0)},
		{Key: "message-count", Value: int32(10)}, {Key: "session-id", Value: "b"}})
	if list, _ := body.Get("messages").([]any); status != 200 || len(list) != 1 {
		t.Errorf("peek %d %v", status, body)
	}
	for _, c := range []struct {
		operation string
		body      amqp.Map
		status    int32
		condition any
	}{
		{"com.microsoft:renew-session-lock", amqp.Map{{Key: "session-id", Value: "a"}}, 200, nil},
		{"com.microsoft:renew-session-lock", amqp.Map{{Key: "session-id", Value: "b"}}, 410, amqp.Symbol("com.microsoft:session-lock-lost")},
		{"com.microsoft:get-session-state", amqp.Map{{Key: "session-id", Value: "b"}}, 410, amqp.Symbol("com.microsoft:session-lock-lost")},
		{"com.microsoft:set-session-state", amqp.Map{{Key: "session-id", Value: "a"}, {Key: "session-state", Value: "text"}}, 400, amqp.Symbol("com.microsoft:argument-error")},
		{"com.microsoft:renew-lock", amqp.Map{{Key: "lock-tokens", Value: amqp.Array{Code: amqp.CodeUUID, Items: []any{uuid.New()}}}}, 410, amqp.Symbol("com.microsoft:message-lock-lost")},
		{"com.microsoft:cancel-scheduled-message", amqp.Map{{Key: "sequence-numbers", Value: amqp.Array{Code: amqp.CodeLong, Items: []any{int64(9)}}}}, 404, amqp.Symbol("com.microsoft:message-not-found")},
		{"com.microsoft:cancel-scheduled-message", amqp.Map{{Key: "sequence-numbers", Value: []any{int64(9)}}}, 400, amqp.Symbol("com.microsoft:argument-error")},
		{"com.microsoft:schedule-message", amqp.Map{{Key: "messages", Value: []any{amqp.Map{{Key: "message", Value: (&amqp.Message{}).Append(nil)}}}}}, 400, amqp.Symbol("amqp:not-allowed")},
		{"com.microsoft:update-disposition", amqp.Map{{Key: "lock-tokens", Value: amqp.Array{Code: amqp.CodeUUID}}, {Key: "disposition-status", Value: "eaten"}}, 400, amqp.Symbol("com.microsoft:argument-error")},
		{"com.microsoft:peek-message", amqp.Map{{Key: "from-sequence-number", Value: int64(100)}, {Key: "message-count", Value: int32(1)}}, 204, nil},
		{"com.microsoft:unknown", nil, 501, amqp.Symbol("amqp:not-implemented")},
	} {
		status, condition, _ := m.call(c.operation, amqp.Map{{Key: "com.microsoft:tracking-id", Value: "t"}}, c.body)
		if status != c.status || !cmp.Equal(condition, c.condition) {
			t.Errorf("%s %v: %d %v, expected %d %v", c.operation, c.body, status, condition, c.status, c.condition)
		}
	}
	// The lock expires: the server detaches.
	b.clock.Advance(2 * time.Minute)
	if d := expect[*amqp.Detach](w); d.Error.Condition != "com.microsoft:session-lock-lost" || !d.Closed {
		t.Errorf("detach %+v", d)
	}
}

// A client that gave up waiting must not be sent an attach for a handle it has
// forgotten.
func TestNoLateAttach(t *testing.T) {
	b := start(t)
	w := dialWire(t, b, 65536)
	w.putTokens("sessions")
	w.attachReceiver(0, "sessions", amqp.Map{{Key: amqp.Symbol("com.microsoft:session-filter"), Value: nil}})
	w.send(&amqp.Detach{Handle: 0, Closed: true})
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Echo: true})
	expect[*amqp.Flow](w) // the detach has been handled
	b.send(t, "sessions", inSession("a", "1"))
	w.send(&amqp.Flow{NextIncomingID: new(uint32(0)), IncomingWindow: 100, Echo: true})
	expect[*amqp.Flow](w)
	receiveOne(t, b.session(t, "a"))
}

func TestSettledByTheClient(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("1"), text("2"), text("3"))
	w := dialWire(t, b, 65536)
	w.putTokens("plain")
	w.attachReceiver(0, "plain", nil)
	expect[*amqp.Attach](w)
	w.credit(0, 0, 3, false)
	var ids []uint32
	for range 3 {
		f := w.next()
		tr := f.Body.(*amqp.Transfer)
		// The tag is the lock token in the byte order of a .NET Guid.
		token := must(amqp.DecodeMessage(f.Payload))(t).DeliveryAnnotations.Get("x-opt-lock-token").(uuid.UUID)
		guid := append([]byte{token[3], token[2], token[1], token[0], token[5], token[4], token[7], token[6]}, token[8:]...)
		if !bytes.Equal(tr.DeliveryTag, guid) || *tr.Settled {
			t.Errorf("transfer %+v of %s", tr, token)
		}
		ids = append(ids, *tr.DeliveryID)
	}
	if ids[1] != ids[0]+1 || ids[2] != ids[1]+1 {
		t.Errorf("delivery ids %v", ids)
	}
	// A range, and more of it than there is.
	w.send(&amqp.Disposition{Role: amqp.RoleReceiver, First: ids[0], Last: new(ids[0] + 1<<31), Settled: true, State: &amqp.Accepted{}})
	w.send(&amqp.Flow{NextIncomingID: new(uint32(4)), IncomingWindow: 100, Echo: true})
	expect[*amqp.Flow](w) // no answer to what the client settled
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestBrokenClients(t *testing.T) {
	b := start(t)
	t.Run("no SASL", func(t *testing.T) {
		w := rawWire(t, b)
		_, err := w.conn.Write(amqp.HeaderAMQP[:])
		check(t, err)
		got := must(io.ReadAll(w.conn))(t)
		if !bytes.Equal(got, amqp.HeaderSASL[:]) {
			t.Errorf("answer % x", got)
		}
	})
	t.Run("not AMQP", func(t *testing.T) {
		w := rawWire(t, b)
		_, err := w.conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		check(t, err)
		_, _ = io.ReadAll(w.conn) // ends
	})
	for name, c := range map[string]struct {
		do        func(*wire)
		condition amqp.Symbol
	}{
		"frame too large":  {func(w *wire) { _, _ = w.conn.Write([]byte{1, 0, 0, 0, 2, 0, 0, 0}) }, "amqp:decode-error"},
		"nonsense":         {func(w *wire) { _, _ = w.conn.Write([]byte{0, 0, 0, 9, 2, 0, 0, 0, 0x99}) }, "amqp:decode-error"},
		"unknown channel":  {func(w *wire) { w.frame(amqp.Frame{Channel: 7, Body: &amqp.End{}}) }, "amqp:not-allowed"},
		"begin twice":      {func(w *wire) { w.send(&amqp.Begin{}) }, "amqp:not-allowed"},
		"unknown handle":   {func(w *wire) { w.send(&amqp.Transfer{Handle: 7}) }, "amqp:session:unattached-handle"},
		"detach of nobody": {func(w *wire) { w.send(&amqp.Detach{Handle: 7}) }, "amqp:session:unattached-handle"},
		"open again":       {func(w *wire) { w.send(&amqp.Open{ContainerID: "x"}) }, "amqp:not-allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := dialWire(t, b, 65536)
			c.do(w)
			if cl := expect[*amqp.Close](w); cl.Error == nil || cl.Error.Condition != c.condition {
				t.Errorf("close %+v, expected %s", cl.Error, c.condition)
			}
			if _, err := io.ReadAll(w.conn); err != nil {
				t.Errorf("after close: %v", err)
			}
		})
	}
	b.send(t, "plain", text("still alive"))
}

func TestRegularEnd(t *testing.T) {
	w := dialWire(t, start(t), 65536)
	w.send(&amqp.Close{})
	if c := expect[*amqp.Close](w); c.Error != nil {
		t.Errorf("close %+v", c.Error)
	}
}

func TestHeartbeats(t *testing.T) {
	b := start(t)
	b.SetHeartbeat(time.Millisecond)
	w := dialWire(t, b, 65536)
	f, err := amqp.ReadFrame(w.conn, 512)
	check(t, err)
	if f.Body != nil {
		t.Errorf("got %T instead of a heartbeat", f.Body)
	}
}
