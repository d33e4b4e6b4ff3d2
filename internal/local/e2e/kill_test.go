package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
	"jitgate/internal/local/servicebus"
	"jitgate/internal/local/tables"
)

// reaper kills the handler at its n-th effect on Azure, seen from Azure's side: in
// the stand-ins, before the effect takes place or after it did and before the handler
// hears of it.
type reaper struct {
	stack *local.Stack
	at    int
	after bool

	mu    sync.Mutex
	count int
	name  string
}

// effects are the operations by which the handler changes something. Receiving and
// settling messages is the host's.
var effects = map[string]bool{
	"insert": true, "upsert": true, "merge": true, "replace": true, "delete": true, "transaction": true,
	"send": true, "schedule": true, "cancel": true,
	"nsg.put": true, "rule.put": true, "rule.delete": true,
}

// strike counts an operation and says whether the handler has just been killed.
func (r *reaper) strike(name string, after bool) bool {
	if !effects[name] || after != r.after {
		return false
	}
	r.mu.Lock()
	r.count++
	mine := r.count == r.at
	if mine {
		r.name = name
	}
	r.mu.Unlock()
	if mine {
		r.stack.Host.Kill()
	}
	return mine
}

func (r *reaper) attach() {
	r.stack.Tables.SetFaults(
		func(o tables.Op) *tables.Fault {
			return drop[tables.Fault](r.strike(o.Kind, false), tables.Fault{Drop: true})
		},
		func(o tables.Op) *tables.Fault {
			return drop[tables.Fault](r.strike(o.Kind, true), tables.Fault{Drop: true})
		})
	r.stack.ARM.SetHooks(
		func(o arm.Op) *arm.Fault { return drop[arm.Fault](r.strike(o.Kind, false), arm.Fault{Drop: true}) },
		func(o arm.Op) *arm.Fault { return drop[arm.Fault](r.strike(o.Kind, true), arm.Fault{Drop: true}) })
	r.stack.ServiceBus.SetFaults(
		func(o servicebus.Op) *servicebus.Fault {
			return drop[servicebus.Fault](r.strike(o.Kind, false), servicebus.Fault{Drop: true})
		},
		func(o servicebus.Op) { r.strike(o.Kind, true) })
}

func drop[F any](yes bool, f F) *F {
	if !yes {
		return nil
	}
	return &f
}

// rest lets the handler live from now on.
func (r *reaper) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = 0
}

func (r *reaper) seen() (int, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count, r.name
}

// life is one grant from the call to its end, as a client lives it: a call that gets
// no good answer is repeated with the same key.
func life(t *testing.T, stack *local.Stack) string {
	t.Helper()
	alice := as(stack, "alice")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	id := ""
	for id == "" {
		if r, _, err := alice.Create(ctx, ask("app01", "PT1H"), "the-key"); err == nil {
			id = r.ID
		} else if ctx.Err() != nil {
			t.Fatalf("create: %v", err)
		}
	}
	settled := func(r api.Request) bool { return r.State == "Active" || r.State == "Revoked" }
	if _, err := await(ctx, alice, id, settled); err != nil {
		t.Logf("%v", err)
		return id
	}
	for {
		r, _, err := alice.Revoke(ctx, id)
		if err == nil || r.State == "Revoked" {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("revoke: %v", err)
		}
	}
	return id
}

// TestKilledBetweenAnyTwoSteps kills the real process at every effect it has, lets
// the host restart it, and runs the sweep minutes later. What was accepted must come
// to its end, and nothing may stay open.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	root, zero := clockedApp(t)
	whole := start(t, local.Options{AppRoot: root, Settings: map[string]string{clockVariable: zero.file}})
	counter := &reaper{stack: whole}
	counter.attach()
	id := life(t, whole)
	waitFor(t, as(whole, "alice"), id, "Revoked")
	total, _ := counter.seen()
	if total < 15 {
		t.Fatalf("only %d effects were seen; is everything counted?", total)
	}
	lanes := make(chan struct{}, 6) // more would make the machine, not the handler, miss deadlines
	for at := 1; at <= total; at++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("effect=%d/after=%v", at, after), func(t *testing.T) {
				t.Parallel()
				lanes <- struct{}{}
				defer func() { <-lanes }()
				root, clock := clockedApp(t)
				stack := start(t, local.Options{AppRoot: root, Settings: map[string]string{clockVariable: clock.file}})
				r := &reaper{stack: stack, at: at, after: after}
				r.attach()
				id := life(t, stack)
				alice := as(stack, "alice")

				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				_, err := await(ctx, alice, id, func(r api.Request) bool { return r.State == "Revoked" })
				cancel()
				r.rest()
				_, where := r.seen()
				if err != nil {
					t.Logf("killed at %q: %v; the sweep has to help", where, err)
				}
				// One sweep finds what was left alone; a second one what the first set going.
				for i := range 2 {
					clock.set(t, time.Duration(i+1)*(access.Patience+time.Second))
					if err := stack.Host.Trigger(t.Context(), "sweep"); err != nil {
						t.Errorf("sweep: %v", err)
					}
				}
				waitFor(t, alice, id, "Revoked")
				probe(t, stack, "app01", inside, "Deny")
				for _, nsg := range []string{"nsg-app01", "nsg-app-subnet"} {
					if rules := ours(stack, nsgID(nsg)); len(rules) > 0 {
						t.Errorf("killed at %q: %s still holds %v", where, nsg, rules)
					}
				}
			})
		}
	}
}
