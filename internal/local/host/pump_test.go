package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
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
	b := &busRig{clock: clockwork.NewFakeClockAt(epoch), ops: make(chan servicebus.Op, 1000)}
	server, err := servicebus.New(servicebus.Options{
		Clock: b.clock,
		Config: servicebus.Config{Queues: []servicebus.Queue{
			{Name: "plain", LockDuration: time.Minute, MaxDeliveryCount: 3},
			{Name: "sessions", LockDuration: time.Minute, MaxDeliveryCount: 3, RequiresSession: true},
		}},
		After: func(op servicebus.Op) {
			for _, kind := range kinds {
				if op.Kind == kind {
					b.ops <- op
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

func TestBurstIsPumpedConcurrentlyAndCompleted(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", "")})
	const burst = 300
	var mu sync.Mutex
	seen := map[string]int{}
	full := make(chan struct{}) // closed when eight are at work at once
	busy, most := 0, 0
	b.handle(func(d delivery) *answer {
		mu.Lock()
		seen[d.ID]++
		busy++
		if most = max(most, busy); busy == 8 && most == 8 {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		select {
		case <-full:
		case <-within(t).Done():
		}
		mu.Lock()
		busy--
		mu.Unlock()
		return nil
	})
	var messages []*azservicebus.Message
	for i := range burst {
		messages = append(messages, message(fmt.Sprint("m", i)))
	}
	b.start()
	b.send("plain", messages...)
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
	eventually(t, "all to be counted", func() bool { return b.Invocations()["work"].Succeeded == burst })
	mu.Lock()
	defer mu.Unlock()
	if most != 8 {
		t.Errorf("at most %d at once, want maxConcurrentCalls = 8", most)
	}
	if len(seen) != burst {
		t.Errorf("%d of %d messages arrived", len(seen), burst)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
}

func TestFailureAbandonsUntilDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", ""), "dead": onQueue("plain/$DeadLetterQueue", "")})
	deliveries := make(chan delivery, 10)
	b.handle(func(d delivery) *answer {
		deliveries <- d
		if d.Function == "work" {
			return &answer{Status: 500}
		}
		return nil
	})
	b.start()
	b.send("plain", message("poison"))
	for n := 1; n <= 3; n++ {
		d := wait(t, deliveries, "a delivery")
		if d.Function != "work" || d.ID != "poison" || d.Body != "body of poison" || d.Count != n {
			t.Errorf("delivery %d: %+v", n, d)
		}
	}
	d := wait(t, deliveries, "the dead letter")
	if d.Function != "dead" || d.ID != "poison" {
		t.Errorf("dead letter %+v", d)
	}
	var properties map[string]string
	if err := json.Unmarshal(d.invocation.Metadata["ApplicationProperties"], &properties); err != nil || properties["DeadLetterReason"] != "MaxDeliveryCountExceeded" {
		t.Errorf("application properties %s, %v", d.invocation.Metadata["ApplicationProperties"], err)
	}
	eventually(t, "both queues to be empty", func() bool {
		c, err := b.server.Count("plain")
		return err == nil && c == servicebus.Counts{}
	})
	if c := b.Invocations()["work"]; c != (Count{Started: 3, Failed: 3}) {
		t.Errorf("counts %+v", c)
	}
}

func TestKillInFlightMeansRedelivery(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", ""), "ordered": onQueue("sessions", withSessions)})
	deliveries := make(chan delivery, 10)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	b.handle(func(d delivery) *answer {
		deliveries <- d
		if d.Count == 1 {
			<-release // the handler dies before it can answer
		}
		return nil
	})
	b.start()
	b.send("plain", message("m"))
	b.send("sessions", inSession("s", "first"))
	wait(t, deliveries, "a first delivery")
	wait(t, deliveries, "the other first delivery")
	b.Kill()
	got := map[string]int{}
	for range 2 {
		d := wait(t, deliveries, "a redelivery")
		got[d.Function+" "+d.ID] = d.Count
	}
	if got["work m"] != 2 || got["ordered first"] != 2 {
		t.Errorf("redeliveries %v", got)
	}
	eventually(t, "the queues to be empty", func() bool { return b.empty("plain") && b.empty("sessions") })
	if b.Err() != nil {
		t.Errorf("Err = %v", b.Err())
	}
}

func TestSessionsAreOrderedInsideAndParallelOutside(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("sessions", withSessions)})
	const sessions, each = 8, 6
	var mu sync.Mutex
	next, busy, most := map[string]int{}, map[string]bool{}, 0
	meet := make(chan struct{}) // closed when three sessions are at work at once
	failed := map[string]bool{}
	b.handle(func(d delivery) *answer {
		mu.Lock()
		if busy[d.Session] {
			t.Errorf("two messages of session %s at once", d.Session)
		}
		busy[d.Session] = true
		if n := len(busy); n > most {
			if most = n; n == 3 {
				close(meet)
			}
		}
		mu.Unlock()
		select {
		case <-meet:
		case <-within(t).Done():
		}
		mu.Lock()
		defer mu.Unlock()
		delete(busy, d.Session)
		if want := fmt.Sprintf("%s-%d", d.Session, next[d.Session]); d.ID != want {
			t.Errorf("got %s, want %s", d.ID, want)
		}
		if next[d.Session] == 2 && !failed[d.Session] {
			failed[d.Session] = true
			return &answer{Status: 500} // it must come back before the next one
		}
		next[d.Session]++
		return nil
	})
	var messages []*azservicebus.Message
	for i := range each {
		for s := range sessions {
			messages = append(messages, inSession(fmt.Sprint("s", s), fmt.Sprintf("s%d-%d", s, i)))
		}
	}
	b.start()
	b.send("sessions", messages...)
	eventually(t, "the queue to be empty", func() bool { return b.empty("sessions") })
	mu.Lock()
	defer mu.Unlock()
	if most != 3 {
		t.Errorf("at most %d sessions at once, want maxConcurrentSessions = 3", most)
	}
	for s := range sessions {
		if n := next[fmt.Sprint("s", s)]; n != each {
			t.Errorf("session %d: %d of %d messages", s, n, each)
		}
	}
}

func TestLocksAreRenewedWhileTheHandlerWorks(t *testing.T) {
	t.Parallel()
	for queue, kind := range map[string]string{"plain": "renew-lock", "sessions": "renew-session-lock"} {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			extra := ""
			if queue == "sessions" {
				extra = withSessions
			}
			b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue(queue, extra)}, kind)
			deliveries, release := make(chan delivery, 10), make(chan struct{})
			b.handle(func(d delivery) *answer { deliveries <- d; <-release; return nil })
			b.start()
			b.send(queue, inSession("s", "long"))
			d := wait(t, deliveries, "the delivery")
			for range 4 { // 200 seconds under a lock of 60
				b.advanceWhenRenewing()
				wait(t, b.ops, "the renewal")
			}
			close(release)
			eventually(t, "the queue to be empty", func() bool { return b.empty(queue) })
			if c := b.Invocations()["work"]; c != (Count{Started: 1, Succeeded: 1}) {
				t.Errorf("counts %+v", c)
			}
			var actions map[string]time.Time
			raw := d.invocation.Metadata["MessageActions"]
			if err := json.Unmarshal(raw, &actions); err != nil || (queue == "sessions") != actions["SessionLockedUntil"].Equal(epoch.Add(time.Minute)) {
				t.Errorf("MessageActions %s, %v", raw, err)
			}
		})
	}
}

// advanceWhenRenewing moves the clock to just before a lock of one minute ends, once the host waits for that. The
// broker's own alarm waits on the clock too.
func (b *busRig) advanceWhenRenewing() {
	b.t.Helper()
	if err := b.clock.BlockUntilContext(within(b.t), 2); err != nil {
		b.t.Fatal("the host does not wait to renew a lock")
	}
	b.clock.Advance(50 * time.Second)
}

func TestRenewalEndsAndTheMessageComesBack(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, fmt.Sprintf(busHostJSON, "00:10:00", "00:01:00"), map[string]string{"work": onQueue("plain", "")}, "renew-lock")
	deliveries, release := make(chan delivery, 10), make(chan struct{})
	b.handle(func(d delivery) *answer {
		deliveries <- d
		if d.Count == 1 {
			<-release
		}
		return nil
	})
	b.start()
	b.send("plain", message("long"))
	wait(t, deliveries, "the delivery")
	b.advanceWhenRenewing()
	wait(t, b.ops, "the only renewal")
	b.clock.Advance(time.Minute + time.Second)
	if d := wait(t, deliveries, "the redelivery"); d.Count != 2 {
		t.Errorf("delivery count %d, want 2", d.Count)
	}
	close(release)
	eventually(t, "the lost lock to be noticed", func() bool { return strings.Contains(b.log.String(), "settling failed") })
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
}

func TestPauseStopsPumping(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", ""), "ordered": onQueue("sessions", withSessions)}, "receive")
	deliveries := make(chan delivery, 10)
	b.handle(func(d delivery) *answer { deliveries <- d; return nil })
	b.start()
	b.send("plain", message("a"))
	b.send("sessions", inSession("s", "b"))
	wait(t, deliveries, "a message")
	wait(t, deliveries, "a message")
	eventually(t, "the queues to be empty", func() bool { return b.empty("plain") && b.empty("sessions") })
	b.Pause()
	b.Kill()
	b.send("plain", message("c"))
	b.send("sessions", inSession("s", "d"))
	if n := b.starts(); n != 1 {
		t.Errorf("%d starts", n)
	}
	b.Resume()
	got := map[string]int{}
	for range 2 {
		d := wait(t, deliveries, "a message after the pause")
		got[d.ID] = d.Count
	}
	if got["c"] != 1 || got["d"] != 1 {
		t.Errorf("delivered %v: the pause must not cost deliveries", got)
	}
	eventually(t, "the queues to be empty", func() bool { return b.empty("plain") && b.empty("sessions") })
}

func TestHangEndsTheHost(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", "")})
	b.handle(func(d delivery) *answer {
		if d.Count == 1 {
			return &answer{Status: 200, Header: map[string]string{"Content-Type": "application/json"}}
		}
		return nil
	})
	b.start()
	b.send("plain", message("m"))
	wait(t, b.Done(), "Done")
	if !errors.Is(b.Err(), ErrHang) || !strings.Contains(b.Err().Error(), "work") {
		t.Errorf("Err = %v, want ErrHang that names the function", b.Err())
	}
	eventually(t, "the redelivery", func() bool { return b.Invocations()["work"] == Count{Started: 2, Succeeded: 1, Failed: 1, Hung: 1} })
}

func TestToleratedHangLastsUntilFunctionTimeout(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, fmt.Sprintf(busHostJSON, "00:00:00.3", "00:05:00"), map[string]string{"work": onQueue("plain", "")})
	b.options.TolerateHangs = true
	deliveries := make(chan delivery, 10)
	b.handle(func(d delivery) *answer {
		deliveries <- d
		if d.Count == 1 {
			return &answer{Status: 204}
		}
		return nil
	})
	b.start()
	b.send("plain", message("m"))
	wait(t, deliveries, "the delivery")
	wait(t, b.born, "the start")
	wait(t, b.born, "the restart after functionTimeout")
	if d := wait(t, deliveries, "the redelivery"); d.Count != 2 {
		t.Errorf("delivery count %d", d.Count)
	}
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
	if b.Err() != nil {
		t.Errorf("Err = %v", b.Err())
	}
}

func TestMessagesAreNotCompletedWithoutAutoComplete(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", `,"autoCompleteMessages":false`)})
	b.start()
	b.send("plain", message("m"))
	eventually(t, "the warning", func() bool { return strings.Contains(b.log.String(), "a custom handler cannot settle") })
	if b.empty("plain") {
		t.Error("the message was completed")
	}
}

func TestPumpSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", ""), "ordered": onQueue("sessions", withSessions)})
	deliveries := make(chan delivery, 100)
	b.handle(func(d delivery) *answer { deliveries <- d; return nil })
	b.start()
	b.send("plain", message("a"))
	wait(t, deliveries, "a message")
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
	b.server.DropConnections()
	b.send("plain", message("b"))
	b.send("sessions", inSession("s", "c"))
	got := map[string]bool{}
	for !got["b"] || !got["c"] {
		got[wait(t, deliveries, "a message after the loss").ID] = true
	}
	eventually(t, "the queues to be empty", func() bool { return b.empty("plain") && b.empty("sessions") })
}

func TestStartChecksTheQueues(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{
		"absent": onQueue("absent", ""), "lacks": onQueue("plain", withSessions), "needs": onQueue("sessions", ""),
	})
	err := b.tryStart()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"function absent: queue absent", "function lacks: queue plain: it has no sessions", "function needs: queue sessions: it requires sessions"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
