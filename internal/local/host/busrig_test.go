package host

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/azfunc"
	"jitgate/internal/local/servicebus"
)

// busRig is a rig with a Service Bus beside it.
type busRig struct {
	*rig
	server *servicebus.Server
	client *azservicebus.Client
	clock  *clockwork.FakeClock
	ops    chan servicebus.Op // what took effect at the broker, of the kinds asked for
}

// delivery is one message as the handler got it.
type delivery struct {
	Function, ID, Session, Body string
	Count                       int
	invocation                  azfunc.Invocation
}

const busHostJSON = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"handler"},"enableForwardingHttpRequest":true},
 "functionTimeout":"%s","extensionBundle":{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"},
 "extensions":{"serviceBus":{"maxConcurrentCalls":8,"maxConcurrentSessions":3,"sessionIdleTimeout":"00:00:00.05","maxAutoLockRenewalDuration":"%s"}}}`

func onQueue(queue, extra string) string {
	return `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"message","dataType":"binary","queueName":"` + queue + `","connection":"BUS"` + extra + `}]}`
}

const withSessions = `,"isSessionsEnabled":true`

func newBusRig(t *testing.T, hostJSON string, functions map[string]string, kinds ...string) *busRig {
	t.Helper()
	b := &busRig{clock: clockwork.NewFakeClockAt(epoch), ops: make(chan servicebus.Op, 100)}
	server, err := servicebus.New(servicebus.Options{
		Clock: b.clock,
		Config: servicebus.Config{Queues: []servicebus.Queue{
			{Name: "plain", LockDuration: time.Minute, MaxDeliveryCount: 3},
			{Name: "sessions", LockDuration: time.Minute, MaxDeliveryCount: 3, RequiresSession: true},
		}},
		After: func(op servicebus.Op) {
			for _, kind := range kinds {
				if op.Kind != kind {
					continue
				}
				select {
				case b.ops <- op:
				default: // nobody counts that far
				}
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	b.server = server
	connection := servicebus.ConnectionString(l.Addr().String())
	if b.client, err = azservicebus.NewClientFromConnectionString(connection, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.client.Close(context.Background()) })
	b.rig = newRig(t, hostJSON, functions)
	b.options.Settings["BUS"] = connection
	b.options.Clock = b.clock
	return b
}

func defaultBus() string { return fmt.Sprintf(busHostJSON, "00:10:00", "00:05:00") }

// handle makes f answer every delivery; nil means success.
func (b *busRig) handle(f func(delivery) *answer) {
	b.answerWith(func(in request) answer {
		inv, err := azfunc.Decode(asHTTP(in))
		if err != nil {
			b.t.Error(err)
			return answer{Status: 500}
		}
		body, err := inv.Body("message")
		if err != nil {
			b.t.Error(err)
		}
		session, _ := inv.Text("SessionId")
		if a := f(delivery{inv.Function, inv.MessageID, session, string(body), inv.DeliveryCount, inv}); a != nil {
			return *a
		}
		return ok("{}")
	})
}

func (b *busRig) send(queue string, messages ...*azservicebus.Message) {
	b.t.Helper()
	s, err := b.client.NewSender(queue, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	batch, err := s.NewMessageBatch(within(b.t), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range messages {
		if err := batch.AddMessage(m, nil); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := s.SendMessageBatch(within(b.t), batch, nil); err != nil {
		b.t.Fatal(err)
	}
	if err := s.Close(within(b.t)); err != nil {
		b.t.Fatal(err)
	}
}

func message(id string) *azservicebus.Message {
	return &azservicebus.Message{MessageID: &id, Body: []byte("body of " + id)}
}

func inSession(session, id string) *azservicebus.Message {
	m := message(id)
	m.SessionID = &session
	return m
}

func (b *busRig) empty(queue string) bool {
	c, err := b.server.Count(queue)
	if err != nil {
		b.t.Fatal(err)
	}
	return c == servicebus.Counts{DeadLetter: c.DeadLetter}
}

// roundTrips gives the host time for what it must not do: each is a call to the broker and back.
func (b *busRig) roundTrips() {
	b.t.Helper()
	r, err := b.client.NewReceiverForQueue("plain", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	if err != nil {
		b.t.Fatal(err)
	}
	for range 30 {
		if _, err := r.PeekMessages(within(b.t), 1, nil); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := r.Close(within(b.t)); err != nil {
		b.t.Fatal(err)
	}
}

// taken drains the operations seen so far and counts them.
func (b *busRig) taken() (n int) {
	for {
		select {
		case <-b.ops:
			n++
		default:
			return n
		}
	}
}
