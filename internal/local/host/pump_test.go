package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"jitgate/internal/local/servicebus"
)

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
	release, _ := hold(t)
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

func TestCrashCostsOneDelivery(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("sessions", withSessions)})
	deliveries := make(chan delivery, 10)
	b.handle(func(d delivery) *answer {
		deliveries <- d
		if d.Count == 1 && d.ID == "m2" {
			return &answer{Exit: code(1)}
		}
		return nil
	})
	b.start()
	b.send("sessions", inSession("s", "m1"), inSession("s", "m2"))
	wait(t, deliveries, "m1") // now there is a connection that breaks
	wait(t, deliveries, "m2")
	if d := wait(t, deliveries, "the redelivery"); d.ID != "m2" || d.Count != 2 {
		t.Errorf("redelivered %s with count %d, want m2 with 2", d.ID, d.Count)
	}
	eventually(t, "the queue to be empty", func() bool { return b.empty("sessions") })
}

func TestSessionsAreOrderedInsideAndParallelOutside(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("sessions", withSessions)}, "accept-session")
	const sessions, each = 8, 6
	var mu sync.Mutex
	next, busy := map[string]int{}, map[string]bool{}
	arrived := make(chan delivery, sessions*each*2)
	release, letGo := hold(t)
	failed := map[string]bool{}
	b.handle(func(d delivery) *answer {
		mu.Lock()
		if busy[d.Session] {
			t.Errorf("two messages of session %s at once", d.Session)
		}
		busy[d.Session] = true
		mu.Unlock()
		arrived <- d
		<-release
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
	for range 3 {
		wait(t, arrived, "three sessions at once")
	}
	b.roundTrips()
	if n := b.taken(); n != 3 || len(arrived) != 0 {
		t.Errorf("%d sessions accepted, want maxConcurrentSessions = 3", n)
	}
	letGo()
	eventually(t, "the queue to be empty", func() bool { return b.empty("sessions") })
	mu.Lock()
	defer mu.Unlock()
	for s := range sessions {
		if n := next[fmt.Sprint("s", s)]; n != each {
			t.Errorf("session %d: %d of %d messages", s, n, each)
		}
	}
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
	eventually(t, "the host to leave the queues alone", func() bool {
		b.taken()
		b.roundTrips()
		return b.taken() == 0
	})
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
