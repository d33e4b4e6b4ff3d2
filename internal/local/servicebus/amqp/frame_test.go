package amqp_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus/amqp"
)

// performatives holds every performative with all its fields set.
var performatives = []amqp.Performative{
	&amqp.Open{ContainerID: "c", Hostname: new("h"), MaxFrameSize: new(uint32(65536)), ChannelMax: new(uint16(9)),
		IdleTimeout: new(uint32(1000)), Properties: amqp.Map{{Key: amqp.Symbol("product"), Value: "x"}}},
	&amqp.Begin{RemoteChannel: new(uint16(1)), NextOutgoingID: 2, IncomingWindow: 3, OutgoingWindow: 4, HandleMax: new(uint32(5))},
	&amqp.Attach{Name: "link", Handle: 1, Role: amqp.RoleReceiver, SenderSettleMode: new(amqp.SenderSettled),
		ReceiverSettleMode: new(amqp.ReceiverSecond),
		Source: &amqp.Source{Address: new("queue"), Durable: 1, ExpiryPolicy: "never", Timeout: 2, Dynamic: true,
			Filter:   amqp.Map{{Key: amqp.Symbol("f"), Value: amqp.Described{Descriptor: uint64(0x137000000c), Value: "s"}}},
			Outcomes: []amqp.Symbol{"amqp:accepted:list", "amqp:rejected:list"}, Capabilities: []amqp.Symbol{"x"}},
		Target:               &amqp.Target{Address: new("reply"), Durable: 1, ExpiryPolicy: "never", Timeout: 2, Dynamic: true, Capabilities: []amqp.Symbol{"y"}},
		InitialDeliveryCount: new(uint32(0)), MaxMessageSize: new(uint64(1 << 40)),
		Properties: amqp.Map{{Key: amqp.Symbol("p"), Value: int64(1)}}},
	&amqp.Flow{NextIncomingID: new(uint32(1)), IncomingWindow: 2, NextOutgoingID: 3, OutgoingWindow: 4, Handle: new(uint32(5)),
		DeliveryCount: new(uint32(6)), LinkCredit: new(uint32(7)), Available: new(uint32(8)), Drain: true, Echo: true},
	&amqp.Transfer{Handle: 1, DeliveryID: new(uint32(2)), DeliveryTag: []byte{3}, MessageFormat: new(uint32(4)), Settled: new(true),
		More: true, ReceiverSettleMode: new(amqp.ReceiverSecond), State: &amqp.Accepted{}, Aborted: true},
	&amqp.Disposition{Role: amqp.RoleReceiver, First: 1, Last: new(uint32(2)), Settled: true,
		State: &amqp.Rejected{Error: &amqp.Error{Condition: "c", Description: "d", Info: amqp.Map{{Key: "k", Value: "v"}}}}},
	&amqp.Disposition{Role: amqp.RoleSender, State: &amqp.Modified{DeliveryFailed: true, UndeliverableHere: true,
		Annotations: amqp.Map{{Key: amqp.Symbol("k"), Value: "v"}}}},
	&amqp.Disposition{State: &amqp.Released{}},
	&amqp.Disposition{State: &amqp.Received{}},
	&amqp.Detach{Handle: 1, Closed: true, Error: &amqp.Error{Condition: "c"}},
	&amqp.End{Error: &amqp.Error{Condition: "c", Description: "d"}},
	&amqp.Close{},
	&amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{"ANONYMOUS"}},
	&amqp.SASLInit{Mechanism: "ANONYMOUS", Response: []byte("anonymous")},
	&amqp.SASLOutcome{Code: 1},
}

func TestFramesSurvive(t *testing.T) {
	var wire []byte
	frames := []amqp.Frame{{}}
	for i, p := range performatives {
		frames = append(frames, amqp.Frame{Type: amqp.TypeAMQP, Channel: uint16(i), Body: p, Payload: []byte("payload")})
	}
	for _, f := range frames {
		wire = amqp.AppendFrame(wire, f)
	}
	r := bytes.NewReader(wire)
	for _, want := range frames {
		got, err := amqp.ReadFrame(r, 512)
		if err != nil {
			t.Fatalf("%T: %v", want.Body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%T (-want +got):\n%s", want.Body, diff)
		}
	}
	if _, err := amqp.ReadFrame(r, 512); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestHeartbeatBytes(t *testing.T) {
	if got := amqp.AppendFrame(nil, amqp.Frame{}); !bytes.Equal(got, []byte{0, 0, 0, 8, 2, 0, 0, 0}) {
		t.Errorf("heartbeat % x", got)
	}
}

func TestMalformedFrames(t *testing.T) {
	good := amqp.AppendFrame(nil, amqp.Frame{Body: &amqp.Close{}})
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"too small":          {0, 0, 0, 7, 2, 0, 0, 0},
		"too large":          {0, 1, 0, 0, 2, 0, 0, 0},
		"offset too small":   change(4, 1),
		"offset too large":   change(4, 200),
		"unknown type":       change(5, 9),
		"unknown descriptor": change(10, 0x99),
		"not a list":         append([]byte{0, 0, 0, 12, 2, 0, 0, 0}, 0x00, 0x53, 0x18, 0x40),
		"missing field":      append([]byte{0, 0, 0, 12, 2, 0, 0, 0}, 0x00, 0x53, 0x10, 0x45),
		"wrong type":         append([]byte{0, 0, 0, 15, 2, 0, 0, 0}, 0x00, 0x53, 0x10, 0xc0, 0x02, 0x01, 0x41),
		"not described":      append([]byte{0, 0, 0, 9, 2, 0, 0, 0}, 0x40),
	} {
		if f, err := amqp.ReadFrame(bytes.NewReader(b), 512); !errors.Is(err, amqp.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if _, err := amqp.ReadFrame(bytes.NewReader(good[:10]), 512); err == nil || errors.Is(err, amqp.ErrMalformed) {
		t.Errorf("a frame cut off by the network is not malformed: %v", err)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, p := range performatives {
		f.Add(amqp.AppendFrame(nil, amqp.Frame{Body: p, Payload: []byte("payload")}))
	}
	f.Add([]byte{0, 0, 0, 8, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := amqp.DecodeFrame(b)
		if err != nil {
			if !errors.Is(err, amqp.ErrMalformed) {
				t.Fatalf("%v is not marked as malformed", err)
			}
			return
		}
		again, err := amqp.DecodeFrame(amqp.AppendFrame(nil, frame))
		if err != nil {
			t.Fatalf("decoded, but not after encoding: %v", err)
		}
		if !bytes.Equal(amqp.AppendFrame(nil, frame), amqp.AppendFrame(nil, again)) {
			t.Fatal("encoding is not stable")
		}
	})
}
