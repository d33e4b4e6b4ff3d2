package servicebus_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus"
)

func TestLargeMessageAndBatch(t *testing.T) {
	b := start(t)
	large := bytes.Repeat([]byte("0123456789"), 20_000)
	s := b.sender(t, "plain")
	check(t, s.SendMessage(within(t), &azservicebus.Message{Body: large}, nil))
	r := b.receiver(t, "plain")
	if m := receiveOne(t, r); !bytes.Equal(m.Body, large) {
		t.Fatalf("%d bytes came back of %d", len(m.Body), len(large))
	} else {
		check(t, r.CompleteMessage(within(t), m, nil))
	}

	if err := s.SendMessage(within(t), &azservicebus.Message{Body: make([]byte, 256*1024)}, nil); err == nil {
		t.Error("a message over the limit was accepted")
	}

	batch := must(s.NewMessageBatch(within(t), nil))(t)
	for i := range 50 {
		check(t, batch.AddMessage(&azservicebus.Message{Body: fmt.Appendf(nil, "%d", i), MessageID: new(fmt.Sprint("id", i))}, nil))
	}
	check(t, s.SendMessageBatch(within(t), batch, nil))
	for i, m := range receive(t, r, 50) {
		if string(m.Body) != fmt.Sprint(i) || m.MessageID != fmt.Sprint("id", i) {
			t.Fatalf("message %d is %q with id %q", i, m.Body, m.MessageID)
		}
		check(t, r.CompleteMessage(within(t), m, nil))
	}
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestAnyAMQPBodySurvives(t *testing.T) {
	b := start(t)
	s := b.sender(t, "plain")
	r := b.receiver(t, "plain")
	for name, body := range map[string]azservicebus.AMQPAnnotatedMessageBody{
		"data":     {Data: [][]byte{[]byte("one"), []byte("two")}},
		"value":    {Value: map[string]any{"k": []any{int64(1), "x", nil}}},
		"sequence": {Sequence: [][]any{{"a", int32(1)}, {true}}},
	} {
		check(t, s.SendAMQPAnnotatedMessage(within(t), &azservicebus.AMQPAnnotatedMessage{Body: body,
			Properties:            &azservicebus.AMQPAnnotatedMessageProperties{MessageID: uint64(7), UserID: []byte("u")},
			Footer:                map[any]any{"foot": "er"},
			MessageAnnotations:    map[any]any{"mine": "kept", "x-opt-sequence-number": int64(999)},
			DeliveryAnnotations:   map[any]any{"hop": "gone"},
			ApplicationProperties: map[string]any{"u8": uint8(1), "f": float32(1.5), "bin": []byte{1}, "nil": nil}}, nil))
		peeked := must(r.PeekMessages(within(t), 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: new(int64(0))}))(t)[0]
		if got := peeked.RawAMQPMessage.DeliveryAnnotations; len(got) > 0 {
			t.Errorf("%s: the sender's delivery annotations were meant for us: %v", name, got)
		}
		m := receiveOne(t, r)
		raw := m.RawAMQPMessage
		if diff := cmp.Diff(body, raw.Body); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if raw.Properties.MessageID != uint64(7) || raw.MessageAnnotations["mine"] != "kept" || *m.SequenceNumber == 999 ||
			raw.Footer["foot"] != "er" || raw.DeliveryAnnotations["hop"] != nil {
			t.Errorf("%s: %+v", name, raw)
		}
		if diff := cmp.Diff(map[string]any{"u8": uint8(1), "f": float32(1.5), "bin": []byte{1}, "nil": nil}, raw.ApplicationProperties); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		check(t, r.CompleteMessage(within(t), m, nil))
	}
}

func TestLongIDsAreRefused(t *testing.T) {
	b := start(t)
	check(t, b.sender(t, "sessions").SendMessage(within(t), inSession(strings.Repeat("é", 128), "x"), nil))
	err := b.sender(t, "sessions").SendMessage(within(t), inSession(strings.Repeat("x", 129), "x"), nil)
	// A condition azservicebus does not know: it tries new connections, then this.
	wantCode(t, err, azservicebus.CodeConnectionLost)
}

func TestManySendersAndReceivers(t *testing.T) {
	b := start(t)
	const senders, each = 4, 250
	var wg sync.WaitGroup
	for i := range senders {
		s := b.sender(t, "plain")
		wg.Go(func() {
			for n := range each {
				if err := s.SendMessage(within(t), text(fmt.Sprint(i, "/", n)), nil); err != nil {
					t.Errorf("send: %v", err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	seen := map[string]int{}
	done := make(chan struct{})
	for range 3 {
		r := must(b.dial(t).NewReceiverForQueue("plain", nil))(t)
		wg.Go(func() {
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			go func() {
				<-done
				cancel()
			}()
			for ctx.Err() == nil {
				messages, _ := r.ReceiveMessages(ctx, 20, nil)
				for _, m := range messages {
					mu.Lock()
					seen[string(m.Body)]++
					if len(seen) == senders*each {
						select {
						case <-done:
						default:
							close(done)
						}
					}
					mu.Unlock()
					if err := r.CompleteMessage(within(t), m, nil); err != nil {
						t.Errorf("complete: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s was delivered %d times", body, n)
		}
	}
	if len(seen) != senders*each {
		t.Errorf("%d of %d messages arrived", len(seen), senders*each)
	}
	wantCounts(t, b, "plain", servicebus.Counts{})
}
