package servicebus_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/servicebus"
)

func TestSendReceiveComplete(t *testing.T) {
	b := start(t)
	b.send(t, "plain", &azservicebus.Message{Body: []byte("hello"), Subject: new("s"), CorrelationID: new("c"),
		ContentType: new("application/json"), TimeToLive: new(10 * time.Minute),
		ApplicationProperties: map[string]any{"int": int64(7), "text": "x", "at": b.clock.Now().UTC()}})
	r := b.receiver(t, "PLAIN") // names do not differ by case
	m := receiveOne(t, r)
	if string(m.Body) != "hello" || m.DeliveryCount != 1 || *m.SequenceNumber != 1 || m.MessageID == "" {
		t.Fatalf("unexpected message %+v", m)
	}
	if *m.Subject != "s" || *m.CorrelationID != "c" || *m.ContentType != "application/json" || *m.TimeToLive != 10*time.Minute {
		t.Errorf("properties changed: %+v", m)
	}
	if diff := cmp.Diff(map[string]any{"int": int64(7), "text": "x", "at": b.clock.Now().UTC()}, m.ApplicationProperties); diff != "" {
		t.Error(diff)
	}
	if want := b.clock.Now(); !m.EnqueuedTime.Equal(want) || !m.LockedUntil.Equal(want.Add(time.Minute)) {
		t.Errorf("enqueued %v, locked until %v at %v", m.EnqueuedTime, m.LockedUntil, want)
	}
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})
	check(t, r.CompleteMessage(within(t), m, nil))
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func wantCounts(t *testing.T, b *bus, queue string, want servicebus.Counts) {
	t.Helper()
	if diff := cmp.Diff(want, b.counts(t, queue)); diff != "" {
		t.Errorf("counts of %s (-want +got):\n%s", queue, diff)
	}
}

func TestUnknownEntity(t *testing.T) {
	b := start(t)
	err := b.sender(t, "nowhere").SendMessage(within(t), text("x"), nil)
	wantCode(t, err, azservicebus.CodeNotFound)
	_, err = b.receiver(t, "nowhere").ReceiveMessages(within(t), 1, nil)
	wantCode(t, err, azservicebus.CodeNotFound)
}

func TestAbandonCountsAndDeadLetters(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("bad"))
	r := b.receiver(t, "plain")
	for i := range 3 {
		m := receiveOne(t, r)
		if m.DeliveryCount != uint32(i+1) {
			t.Fatalf("delivery %d has count %d", i+1, m.DeliveryCount)
		}
		if i > 0 && m.ApplicationProperties["attempt"] != int64(i-1) {
			t.Errorf("properties after abandon: %v", m.ApplicationProperties)
		}
		check(t, r.AbandonMessage(within(t), m, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"attempt": int64(i)}}))
	}
	wantCounts(t, b, "plain", servicebus.Counts{DeadLetter: 1})
	dead := b.deadLetters(t, "plain")
	for range 5 { // the count does not rise any more
		m := receiveOne(t, dead)
		if m.DeliveryCount != 4 || *m.DeadLetterReason != "MaxDeliveryCountExceeded" || *m.DeadLetterSource != "plain" || string(m.Body) != "bad" {
			t.Fatalf("dead letter: count %d, %+v", m.DeliveryCount, m)
		}
		check(t, dead.AbandonMessage(within(t), m, nil))
	}
	m := receiveOne(t, dead)
	check(t, dead.CompleteMessage(within(t), m, nil))
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestDeadLetter(t *testing.T) {
	b := start(t)
	b.send(t, "plain", &azservicebus.Message{Body: []byte("x"), ApplicationProperties: map[string]any{"keep": "me"}})
	r := b.receiver(t, "plain")
	check(t, r.DeadLetterMessage(within(t), receiveOne(t, r), &azservicebus.DeadLetterOptions{
		Reason: new("because"), ErrorDescription: new("it is so"), PropertiesToModify: map[string]any{"more": int32(1)}}))
	m := receiveOne(t, b.deadLetters(t, "plain"))
	if *m.DeadLetterReason != "because" || *m.DeadLetterErrorDescription != "it is so" || m.DeliveryCount != 1 {
		t.Errorf("dead letter %+v", m)
	}
	if m.ApplicationProperties["keep"] != "me" || m.ApplicationProperties["more"] != int32(1) {
		t.Errorf("properties %v", m.ApplicationProperties)
	}
}

func TestLockExpiryAndRenewal(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("x"))
	r := b.receiver(t, "plain")
	m := receiveOne(t, r)
	b.clock.Advance(45 * time.Second)
	check(t, r.RenewMessageLock(within(t), m, nil))
	if want := b.clock.Now().Add(time.Minute); !m.LockedUntil.Equal(want) {
		t.Errorf("renewed until %v, expected %v", m.LockedUntil, want)
	}
	b.clock.Advance(59 * time.Second)
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})
	if p := must(r.PeekMessages(within(t), 1, nil))(t); len(p) != 1 || p[0].LockToken != [16]byte{} || p[0].LockedUntil != nil {
		t.Errorf("peeking shows somebody's lock: %+v", p)
	}

	// A receiver that waits already gets the message when the lock expires.
	other := b.receiver(t, "plain")
	again := make(chan *azservicebus.ReceivedMessage, 1)
	go func() {
		got, _ := other.ReceiveMessages(within(t), 1, nil)
		again <- append(got, nil)[0]
	}()
	b.clock.Advance(2 * time.Second)
	got := <-again
	if got == nil || got.DeliveryCount != 2 || got.LockToken == m.LockToken {
		t.Fatalf("after the lock expired: %+v", got)
	}
	wantCode(t, r.CompleteMessage(within(t), m, nil), azservicebus.CodeLockLost)
	wantCode(t, r.RenewMessageLock(within(t), m, nil), azservicebus.CodeLockLost)
	check(t, other.CompleteMessage(within(t), got, nil))
}

func TestReceiverWaitsForScheduledMessage(t *testing.T) {
	b := start(t)
	r := b.receiver(t, "plain")
	s := b.sender(t, "plain")
	due := b.clock.Now().Add(time.Hour)
	numbers := must(s.ScheduleMessages(within(t), []*azservicebus.Message{text("alarm"), text("second")}, due, nil))(t)
	wantCounts(t, b, "plain", servicebus.Counts{Scheduled: 2})
	got := make(chan []*azservicebus.ReceivedMessage, 1)
	go func() { m, _ := r.ReceiveMessages(within(t), 1, nil); got <- m }()
	b.clock.Advance(time.Hour - time.Millisecond)
	wantCounts(t, b, "plain", servicebus.Counts{Scheduled: 2})
	b.clock.Advance(time.Millisecond)
	m := <-got
	if len(m) != 1 || string(m[0].Body) != "alarm" || *m[0].SequenceNumber == numbers[0] || !m[0].EnqueuedTime.Equal(due) ||
		!m[0].ScheduledEnqueueTime.Equal(due) {
		t.Fatalf("scheduled as %v, got %+v", numbers, m)
	}
	wantCode(t, s.CancelScheduledMessages(within(t), numbers[:1], nil), azservicebus.CodeNotFound)
}

func TestRealClock(t *testing.T) {
	b := startWith(t, servicebus.Options{Config: queues})
	due := time.Now().Add(200 * time.Millisecond).Truncate(time.Millisecond)
	b.send(t, "sessions", &azservicebus.Message{SessionID: new("s"), ScheduledEnqueueTime: &due})
	r := must(b.client.AcceptNextSessionForQueue(within(t), "sessions", nil))(t)
	if receiveOne(t, r); time.Now().Before(due) {
		t.Error("a scheduled message came too early")
	}
}

func TestScheduleByAnnotationPeekCancel(t *testing.T) {
	b := start(t)
	due := b.clock.Now().Add(time.Hour)
	b.send(t, "plain", text("now"), &azservicebus.Message{Body: []byte("later"), ScheduledEnqueueTime: &due},
		&azservicebus.Message{Body: []byte("past"), ScheduledEnqueueTime: new(b.clock.Now().Add(-time.Hour))})
	r := b.receiver(t, "plain")
	peeked := must(r.PeekMessages(within(t), 10, nil))(t)
	var got []string
	for _, m := range peeked {
		got = append(got, fmt.Sprint(string(m.Body), m.State, *m.SequenceNumber, m.LockToken == [16]byte{}))
	}
	if diff := cmp.Diff([]string{"now0 1 true", "later2 2 true", "past0 3 true"}, got); diff != "" {
		t.Error(diff)
	}
	s := b.sender(t, "plain")
	check(t, s.CancelScheduledMessages(within(t), []int64{2}, nil))
	wantCode(t, s.CancelScheduledMessages(within(t), []int64{2}, nil), azservicebus.CodeNotFound)
	wantCode(t, s.CancelScheduledMessages(within(t), []int64{1}, nil), azservicebus.CodeNotFound) // active
	b.clock.Advance(time.Hour)
	if again := must(r.PeekMessages(within(t), 10, &azservicebus.PeekMessagesOptions{FromSequenceNumber: new(int64(0))}))(t); len(again) != 0 {
		// TTL of the others is one hour as well.
		t.Errorf("%d messages are left", len(again))
	}
}

func TestTimeToLive(t *testing.T) {
	b := start(t)
	short := &azservicebus.Message{Body: []byte("short"), TimeToLive: new(time.Minute)}
	b.send(t, "plain", short, text("default"))
	b.send(t, "forgetful", short)
	b.clock.Advance(time.Minute)
	wantCounts(t, b, "plain", servicebus.Counts{Active: 1, DeadLetter: 1})
	wantCounts(t, b, "forgetful", servicebus.Counts{})
	m := receiveOne(t, b.deadLetters(t, "plain"))
	if *m.DeadLetterReason != "TTLExpiredException" || string(m.Body) != "short" {
		t.Errorf("expired message %+v", m)
	}
	// Not while locked, but as soon as the lock is gone.
	r := b.receiver(t, "plain")
	b.clock.Advance(58*time.Minute + 30*time.Second)
	m = receiveOne(t, r)
	b.clock.Advance(45 * time.Second)
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1, DeadLetter: 1})
	check(t, r.AbandonMessage(within(t), m, nil))
	wantCounts(t, b, "plain", servicebus.Counts{DeadLetter: 2})
}

func TestDefer(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("later"))
	r := b.receiver(t, "plain")
	m := receiveOne(t, r)
	check(t, r.DeferMessage(within(t), m, &azservicebus.DeferMessageOptions{PropertiesToModify: map[string]any{"why": "busy"}}))
	wantCounts(t, b, "plain", servicebus.Counts{Deferred: 1})
	if p := must(r.PeekMessages(within(t), 1, nil))(t); len(p) != 1 || p[0].State != azservicebus.MessageStateDeferred {
		t.Errorf("peeked %+v", p)
	}
	numbers := []int64{*m.SequenceNumber}
	d := must(r.ReceiveDeferredMessages(within(t), numbers, nil))(t)
	if len(d) != 1 || d[0].State != azservicebus.MessageStateDeferred || d[0].ApplicationProperties["why"] != "busy" || d[0].DeliveryCount != 1 {
		t.Fatalf("deferred message %+v", d)
	}
	_, err := r.ReceiveDeferredMessages(within(t), numbers, nil) // locked now
	wantCode(t, err, azservicebus.CodeNotFound)
	check(t, r.CompleteMessage(within(t), d[0], nil))
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestReceiveAndDelete(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("1"), text("2"), text("3"))
	r := must(b.client.NewReceiverForQueue("plain", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete}))(t)
	for i, m := range receive(t, r, 2) {
		if string(m.Body) != fmt.Sprint(i+1) || m.LockedUntil != nil {
			t.Errorf("message %+v", m)
		}
	}
	wantCounts(t, b, "plain", servicebus.Counts{Active: 1})
}

func TestDuplicateDetection(t *testing.T) {
	b := start(t)
	once := func() *azservicebus.Message { return &azservicebus.Message{Body: []byte("x"), MessageID: new("same")} }
	b.send(t, "dedup", once(), once())
	s := b.sender(t, "dedup")
	ghost := must(s.ScheduleMessages(within(t), []*azservicebus.Message{once()}, b.clock.Now().Add(time.Hour), nil))(t)
	wantCounts(t, b, "dedup", servicebus.Counts{Active: 1})
	wantCode(t, s.CancelScheduledMessages(within(t), ghost, nil), azservicebus.CodeNotFound)
	b.clock.Advance(20 * time.Second)
	b.send(t, "dedup", once())
	wantCounts(t, b, "dedup", servicebus.Counts{Active: 2})
}

func TestReleasedMessagesKeepTheirCount(t *testing.T) {
	b := start(t)
	r := b.receiver(t, "plain")
	// Credit is left over at the server when the context ends; what arrives then
	// is given back by the SDK on its own.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if got, err := r.ReceiveMessages(ctx, 5, nil); len(got) != 0 || err == nil {
		t.Fatalf("%v, %v", got, err)
	}
	b.send(t, "plain", text("x"))
	if m := receiveOne(t, b.receiver(t, "plain")); m.DeliveryCount != 1 {
		t.Errorf("delivery count %d after a release", m.DeliveryCount)
	}
}

func TestSettlingByLockTokenAlone(t *testing.T) {
	b := start(t)
	r := b.receiver(t, "plain")
	// A message with nothing but its token is settled through $management.
	bare := func() *azservicebus.ReceivedMessage {
		return &azservicebus.ReceivedMessage{LockToken: receiveOne(t, r).LockToken}
	}
	b.send(t, "plain", text("x"))
	check(t, r.AbandonMessage(within(t), bare(), &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"a": int64(1)}}))
	m := receiveOne(t, r)
	if m.DeliveryCount != 2 || m.ApplicationProperties["a"] != int64(1) {
		t.Errorf("abandoned message %+v", m)
	}
	check(t, r.DeferMessage(within(t), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	d := must(r.ReceiveDeferredMessages(within(t), []int64{*m.SequenceNumber}, nil))(t)[0]
	check(t, r.DeadLetterMessage(within(t), &azservicebus.ReceivedMessage{LockToken: d.LockToken},
		&azservicebus.DeadLetterOptions{Reason: new("r"), ErrorDescription: new("d")}))
	dead := b.deadLetters(t, "plain")
	m = receiveOne(t, dead)
	if *m.DeadLetterReason != "r" || *m.DeadLetterErrorDescription != "d" || m.DeliveryCount != 2 {
		t.Errorf("dead letter %+v", m)
	}
	m = &azservicebus.ReceivedMessage{LockToken: m.LockToken}
	check(t, dead.CompleteMessage(within(t), m, nil))
	wantCode(t, dead.CompleteMessage(within(t), m, nil), azservicebus.CodeLockLost)
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestDeferredReceiveAndDelete(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("x"))
	r := b.receiver(t, "plain")
	m := receiveOne(t, r)
	check(t, r.DeferMessage(within(t), m, nil))
	eager := must(b.client.NewReceiverForQueue("plain", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete}))(t)
	d := must(eager.ReceiveDeferredMessages(within(t), []int64{*m.SequenceNumber}, nil))(t)
	if len(d) != 1 || string(d[0].Body) != "x" {
		t.Errorf("received %+v", d)
	}
	wantCounts(t, b, "plain", servicebus.Counts{})
}

func TestServeRefusesOtherAddresses(t *testing.T) {
	s := must(servicebus.New(servicebus.Options{}))(t)
	defer s.Close()
	l := must(net.Listen("tcp", "0.0.0.0:0"))(t)
	defer l.Close()
	if err := s.Serve(l); err == nil {
		t.Error("served on all interfaces")
	}
	if _, err := s.Count("nowhere"); err == nil {
		t.Error("counted a queue that does not exist")
	}
}

func TestSettlingAfterTheReceiverClosed(t *testing.T) {
	b := start(t)
	b.send(t, "plain", text("x"))
	r := b.receiver(t, "plain")
	m := receiveOne(t, r)
	check(t, r.Close(within(t)))
	wantCounts(t, b, "plain", servicebus.Counts{Locked: 1})
	check(t, b.receiver(t, "plain").CompleteMessage(within(t), m, nil))
	wantCounts(t, b, "plain", servicebus.Counts{})
}
