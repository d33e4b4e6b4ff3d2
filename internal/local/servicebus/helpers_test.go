package servicebus_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/servicebus"
)

// bus is a running server with a client.
type bus struct {
	*servicebus.Server
	addr   string
	clock  *clockwork.FakeClock
	client *azservicebus.Client
}

// Queues every test finds. Durations are only ever reached by the fake clock.
var queues = servicebus.Config{Queues: []servicebus.Queue{
	{Name: "plain", LockDuration: time.Minute, MaxDeliveryCount: 3, DeadLetteringOnMessageExpiration: true},
	{Name: "forgetful", LockDuration: time.Minute},
	{Name: "sessions", LockDuration: time.Minute, MaxDeliveryCount: 3, RequiresSession: true},
	{Name: "dedup", RequiresDuplicateDetection: true, DuplicateDetectionHistoryTimeWindow: 20 * time.Second},
}}

func start(t *testing.T) *bus {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	b := startWith(t, servicebus.Options{Config: queues, Clock: clock})
	b.clock = clock
	return b
}

func startWith(t *testing.T, o servicebus.Options) *bus {
	t.Helper()
	s, err := servicebus.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	b := &bus{Server: s, addr: l.Addr().String()}
	b.client = b.dial(t)
	return b
}

// dial makes another client, on its own connection.
func (b *bus) dial(t *testing.T) *azservicebus.Client {
	t.Helper()
	c, err := azservicebus.NewClientFromConnectionString(servicebus.ConnectionString(b.addr), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 10 * time.Millisecond, MaxRetryDelay: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// within is a generous limit for something that must happen.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bus) sender(t *testing.T, queue string) *azservicebus.Sender {
	t.Helper()
	return must(b.client.NewSender(queue, nil))(t)
}

func (b *bus) send(t *testing.T, queue string, messages ...*azservicebus.Message) {
	t.Helper()
	s := b.sender(t, queue)
	for _, m := range messages {
		check(t, s.SendMessage(within(t), m, nil))
	}
	check(t, s.Close(within(t)))
}

func (b *bus) receiver(t *testing.T, queue string) *azservicebus.Receiver {
	t.Helper()
	return must(b.client.NewReceiverForQueue(queue, nil))(t)
}

func (b *bus) deadLetters(t *testing.T, queue string) *azservicebus.Receiver {
	t.Helper()
	return must(b.client.NewReceiverForQueue(queue, &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter}))(t)
}

type receiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

// receive gets exactly n messages. An empty answer without error is how the
// SDK says that it lost its link and will try again.
func receive(t *testing.T, r receiver, n int) []*azservicebus.ReceivedMessage {
	t.Helper()
	var all []*azservicebus.ReceivedMessage
	ctx := within(t)
	for len(all) < n {
		some, err := r.ReceiveMessages(ctx, n-len(all), nil)
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(all), n, err)
		}
		all = append(all, some...)
	}
	return all
}

func receiveOne(t *testing.T, r receiver) *azservicebus.ReceivedMessage {
	t.Helper()
	return receive(t, r, 1)[0]
}

func text(s string) *azservicebus.Message { return &azservicebus.Message{Body: []byte(s)} }

func inSession(id, s string) *azservicebus.Message {
	return &azservicebus.Message{Body: []byte(s), SessionID: &id}
}

func (b *bus) counts(t *testing.T, queue string) servicebus.Counts {
	t.Helper()
	return must(b.Count(queue))(t)
}

func wantCode(t *testing.T, err error, code azservicebus.Code) {
	t.Helper()
	var sb *azservicebus.Error
	if !errors.As(err, &sb) || sb.Code != code {
		t.Fatalf("error %v, expected code %s", err, code)
	}
}
