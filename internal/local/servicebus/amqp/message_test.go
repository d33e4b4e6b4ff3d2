package amqp_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	client "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus/amqp"
)

// sample is a message as the SDK's own codec writes it.
func sample(t testing.TB) []byte {
	t.Helper()
	b, err := (&client.Message{
		Header:                &client.MessageHeader{Durable: true, Priority: 7, TTL: time.Minute, DeliveryCount: 2},
		DeliveryAnnotations:   client.Annotations{"d": "1"},
		Annotations:           client.Annotations{"x-opt-partition-key": "pk", "x-opt-scheduled-enqueue-time": time.UnixMilli(1e12).UTC()},
		Properties:            &client.MessageProperties{MessageID: "id", ReplyTo: new("me"), GroupID: new("g"), GroupSequence: new(uint32(3))},
		ApplicationProperties: map[string]any{"n": int64(1), "f": 1.5, "t": time.UnixMilli(5).UTC()},
		Data:                  [][]byte{[]byte("one"), []byte("two")},
		Footer:                client.Annotations{"foot": "er"},
	}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageOfTheClient(t *testing.T) {
	raw := sample(t)
	m, err := amqp.DecodeMessage(raw)
	if err != nil {
		t.Fatal(err)
	}
	if m.HeaderField(amqp.HeaderTTL) != uint32(60000) || m.HeaderField(amqp.HeaderDeliveryCount) != uint32(2) || m.HeaderField(9) != nil {
		t.Errorf("header %v", m.Header)
	}
	if m.Property(amqp.PropMessageID) != "id" || m.Property(amqp.PropReplyTo) != "me" || m.Property(amqp.PropGroupID) != "g" {
		t.Errorf("properties %v", m.Properties)
	}
	if m.Annotations.Get("x-opt-partition-key") != "pk" || m.DeliveryAnnotations.Get("d") != "1" {
		t.Errorf("annotations %v, %v", m.Annotations, m.DeliveryAnnotations)
	}
	app, err := m.ApplicationProperties()
	if err != nil || app.Get("n") != int64(1) {
		t.Errorf("application properties %v, %v", app, err)
	}
	data, err := m.Data()
	if err != nil || !cmp.Equal([][]byte{[]byte("one"), []byte("two")}, data) {
		t.Errorf("data %q, %v", data, err)
	}

	// Encoded again, the client reads the same.
	var want, got client.Message
	if err := want.UnmarshalBinary(raw); err != nil {
		t.Fatal(err)
	}
	if err := got.UnmarshalBinary(m.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(client.Message{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessageParts(t *testing.T) {
	m := &amqp.Message{Properties: amqp.WithField(nil, amqp.PropCorrelationID, "c")}
	m.SetValue(amqp.Map{{Key: "k", Value: int32(1)}})
	m.SetApplicationProperties(amqp.Map{{Key: "a", Value: true}})
	got, err := amqp.DecodeMessage(m.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}
	if v, err := got.Value(); err != nil || !cmp.Equal(any(amqp.Map{{Key: "k", Value: int32(1)}}), v) {
		t.Errorf("value %v, %v", v, err)
	}
	if _, err := got.Data(); !errors.Is(err, amqp.ErrMalformed) {
		t.Errorf("a value is not data: %v", err)
	}
	list := []any{1}
	if amqp.WithField(list, 0, 2); list[0] != 1 {
		t.Error("WithField changed its argument")
	}
}

func TestMalformedMessages(t *testing.T) {
	header, data, value := "\x00\x53\x70\x45", "\x00\x53\x75\xa0\x01x", "\x00\x53\x77\x40"
	for name, in := range map[string]string{
		"no descriptor":       "\x40",
		"unknown section":     "\x00\x53\x79\x40",
		"symbolic descriptor": "\x00\xa3\x01x\x40",
		"out of order":        data + header,
		"repeated":            header + header,
		"two kinds of body":   data + value,
		"two values":          value + value,
		"header not a list":   "\x00\x53\x70\x40",
		"cut short":           header + data[:4],
	} {
		if m, err := amqp.DecodeMessage([]byte(in)); !errors.Is(err, amqp.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte("\x00\x53\x77\xc1\x01\x00"))
	f.Add([]byte("\x00\x53\x75\xb0\x00\x00\x00\x01x\x00\x53\x75\xa0\x00\x00\x53\x78\xc1\x01\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := amqp.DecodeMessage(b)
		if err != nil {
			if !errors.Is(err, amqp.ErrMalformed) {
				t.Fatalf("%v is not marked as malformed", err)
			}
			return
		}
		for _, read := range []func() error{
			func() error { _, err := m.ApplicationProperties(); return err },
			func() error { _, err := m.Data(); return err },
			func() error { _, err := m.Value(); return err },
		} {
			if err := read(); err != nil && !errors.Is(err, amqp.ErrMalformed) {
				t.Fatalf("%v is not marked as malformed", err)
			}
		}
		encoded := m.Append(nil)
		again, err := amqp.DecodeMessage(encoded)
		if err != nil {
			t.Fatalf("decoded, but not after encoding: %v", err)
		}
		if !bytes.Equal(encoded, again.Append(nil)) {
			t.Fatal("encoding is not stable")
		}
	})
}
