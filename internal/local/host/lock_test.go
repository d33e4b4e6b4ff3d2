package host

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"jitgate/internal/local/servicebus"
)

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
			deliveries := make(chan delivery, 10)
			release, letGo := hold(t)
			b.handle(func(d delivery) *answer { deliveries <- d; <-release; return nil })
			b.start()
			b.send(queue, inSession("s", "long"))
			d := wait(t, deliveries, "the delivery")
			for range 4 { // 200 seconds under a lock of 60
				b.advanceWhenRenewing()
				wait(t, b.ops, "the renewal")
			}
			letGo()
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
	deliveries := make(chan delivery, 10)
	release, letGo := hold(t)
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
	b.roundTrips()
	b.clock.Advance(50 * time.Second)
	b.roundTrips()
	if n := b.taken(); n != 0 {
		t.Errorf("%d renewals after maxAutoLockRenewalDuration", n)
	}
	b.clock.Advance(11 * time.Second)
	if d := wait(t, deliveries, "the redelivery"); d.Count != 2 {
		t.Errorf("delivery count %d, want 2", d.Count)
	}
	letGo()
	eventually(t, "the lost lock to be noticed", func() bool { return strings.Contains(b.log.String(), "settling failed") })
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
}

func TestLostLockIsNotRenewedAgain(t *testing.T) {
	t.Parallel()
	b := newBusRig(t, defaultBus(), map[string]string{"work": onQueue("plain", "")})
	attempts := make(chan servicebus.Op, 10)
	b.server.SetFaults(func(op servicebus.Op) *servicebus.Fault {
		if op.Kind != "renew-lock" {
			return nil
		}
		attempts <- op
		return &servicebus.Fault{Condition: "com.microsoft:message-lock-lost"}
	}, func(servicebus.Op) {})
	deliveries := make(chan delivery, 10)
	release, letGo := hold(t)
	b.handle(func(d delivery) *answer { deliveries <- d; <-release; return nil })
	b.start()
	b.send("plain", message("m"))
	wait(t, deliveries, "the delivery")
	b.advanceWhenRenewing()
	wait(t, attempts, "the renewal")
	eventually(t, "the loss to be logged", func() bool { return strings.Contains(b.log.String(), "renewing a lock failed") })
	for range 4 {
		b.clock.Advance(2 * time.Second)
		b.roundTrips()
	}
	letGo()
	eventually(t, "the queue to be empty", func() bool { return b.empty("plain") })
	if len(attempts) != 0 {
		t.Error("a lost lock was renewed again")
	}
}
