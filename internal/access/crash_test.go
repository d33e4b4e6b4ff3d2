package access_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
)

// settleDown is what happens after any accident: a living process gets the messages
// that are left, and the sweep runs.
func (w *world) settleDown() {
	w.tb.Helper()
	w.deliver()
	w.sweep()
	w.sweep()
}

// wantSafe checks what must hold at rest whatever happened: a rule of ours exists
// exactly where a live grant wants it, and says when it ends; nothing is open under a
// lockdown; and every request is at rest too.
func (w *world) wantSafe() {
	w.tb.Helper()
	wanted := map[string]map[string]time.Time{} // NSG and rule → end
	now, ledger := w.clock.Now(), w.ledger()
	page, err := w.service.Store.List(ctx, access.Query{Limit: 200})
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, r := range page.Requests {
		for _, t := range r.Targets {
			waits := t.State == access.AwaitingApproval && now.Before(r.DecideBy)
			if !t.State.Ended() && t.State != access.Active && !waits {
				w.tb.Errorf("request %s is stuck in %s", r.ID, t.State)
			}
			if locks(ledger, &r, now) && !t.State.Ended() {
				w.tb.Errorf("request %s is %s under a lockdown", r.ID, t.State)
			}
			if t.State != access.Active {
				continue
			}
			if !w.clock.Now().Before(t.ExpiresAt) {
				w.tb.Errorf("request %s is open past its time", r.ID)
			}
			for _, o := range t.Openings {
				for _, rule := range o.Rules {
					if wanted[o.NSG.Key()] == nil {
						wanted[o.NSG.Key()] = map[string]time.Time{}
					}
					wanted[o.NSG.Key()][rule.Name] = t.ExpiresAt
				}
			}
		}
	}
	for _, id := range []armid.ID{nicNSG, subnetNSG} {
		rules := w.network.Rules(id)
		for name, rule := range rules {
			end, live := wanted[id.Key()][name]
			if !live {
				w.tb.Errorf("%s holds %s, which no live grant wants", id.Name(), name)
			} else if !strings.Contains(rule.Description, end.Format(time.RFC3339)) {
				w.tb.Errorf("%s says %q, want the end %s", name, rule.Description, end)
			}
		}
		book, err := w.service.Store.Book(ctx, id)
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			w.tb.Fatal(err)
		}
		for _, g := range book.Grants {
			if end, live := wanted[id.Key()][g.Rule]; !live || !end.Equal(g.ExpiresAt) || !g.Opened || g.WakeUp == 0 || g.Closing {
				w.tb.Errorf("%s holds the grant %+v; the request says %s, live %v", id.Name(), g, end, live)
			}
		}
		for name := range wanted[id.Key()] {
			if _, there := rules[name]; !there {
				w.tb.Errorf("%s lacks %s, which an active request wants", id.Name(), name)
			}
		}
	}
}

// locks tells whether something of the request is under a lockdown.
func locks(ledger access.Ledger, r *access.Request, now time.Time) bool {
	for _, l := range ledger.Lockdowns {
		for _, t := range r.Targets {
			if l.InForce(now) && (l.User != "" && l.User == r.Requester.Object || l.User == "" && l.Scope.Contains(t.VM)) {
				return true
			}
		}
	}
	return false
}

// life is one grant from the call to its end. Steps return the error that a dying
// process leaves; what the caller was told is in accepted.
func life(w *world, s *access.Service, revoke bool) (accepted bool, id string, err error) {
	r, err := s.Submit(ctx, as(alice), "key", ask("app01"))
	if err != nil {
		return false, "", err
	}
	if err := w.deliverTo(s); err != nil {
		return true, r.ID, err
	}
	if revoke {
		if _, err := s.Revoke(ctx, r.ID, alice); err != nil {
			return true, r.ID, err
		}
	} else {
		w.clock.Advance(time.Hour)
	}
	return true, r.ID, w.deliverTo(s)
}

// deliverTo delivers until nothing is due or the process is dead.
func (w *world) deliverTo(s *access.Service) error {
	for range 1000 {
		due := w.queue.Due(w.clock.Now())
		if len(due) == 0 {
			return nil
		}
		if err := accesstest.Deliver(ctx, s, due[0]); err != nil {
			return err
		}
		w.queue.Drop(due[0])
	}
	w.tb.Fatal("messages breed messages")
	return nil
}

// TestKilledAtAnyStep kills the process before and after each of its effects, with
// and without the loss of all messages that were under way, and lets a new process
// and the sweep take over. Nothing accepted may be lost, nothing may stay open.
func TestKilledAtAnyStep(t *testing.T) {
	for _, revoke := range []bool{false, true} {
		whole := &accesstest.Crash{}
		w := newWorld(t)
		if _, _, err := life(w, whole.Service(w.service), revoke); err != nil {
			t.Fatal(err)
		}
		if whole.Effects() < 15 {
			t.Fatalf("only %d effects; is everything counted?", whole.Effects())
		}
		for at := 1; at <= whole.Effects(); at++ {
			for _, after := range []bool{false, true} {
				for _, lose := range []bool{false, true} {
					t.Run(fmt.Sprintf("revoke=%v/effect=%d/after=%v/lose=%v", revoke, at, after, lose), func(t *testing.T) {
						t.Parallel()
						w := newWorld(t)
						crash := &accesstest.Crash{At: at, After: after}
						accepted, id, err := life(w, crash.Service(w.service), revoke)
						died, where := crash.Died()
						if !died || (err != nil && !errors.Is(err, accesstest.ErrCrashed)) {
							t.Fatalf("died %v at %q: %v", died, where, err)
						}
						if lose {
							w.queue.DropAll()
						}
						w.settleDown()
						w.wantSafe()
						if accepted {
							if r := w.request(id); r.State() == access.Cancelled || r.State() == access.Denied || r.State() == access.Failed {
								t.Errorf("died at %q: the accepted request ended as %s", where, r.State())
							}
						}
						w.pass(2 * time.Hour)
						w.settleDown()
						w.wantSafe()
						w.wantRules(nicNSG, 0)
						w.wantRules(subnetNSG, 0)
						if accepted {
							if r := w.request(id); !r.Finished() {
								t.Errorf("died at %q: not finished: %+v", where, r)
							}
						}
					})
				}
			}
		}
	}
}

// TestAnyOrderOfEvents lets requests, revocations, time, repeated, lost and reordered
// deliveries and sweeps come in any order, then settles down.
func TestAnyOrderOfEvents(t *testing.T) {
	t.Parallel()
	vms := []string{"web01", "db01", "db02", "app01", "lone01"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		var ids []string
		for range rapid.IntRange(3, 25).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"submit", "submit", "revoke", "deliver", "deliver", "deliver", "repeat", "lose", "time", "sweep"}).Draw(rt, "step") {
			case "submit":
				a := ask(rapid.SliceOfNDistinct(rapid.SampledFrom(vms), 1, 3, rapid.ID[string]).Draw(rt, "vms")...)
				a.Duration = time.Duration(rapid.IntRange(5, 120).Draw(rt, "minutes")) * time.Minute
				ids = append(ids, w.submit(a).ID)
			case "revoke":
				if len(ids) > 0 {
					_, err := w.service.Revoke(ctx, rapid.SampledFrom(ids).Draw(rt, "id"), alice)
					var refusals access.Refusals
					if err != nil && !errors.As(err, &refusals) {
						rt.Fatalf("revoke: %v", err)
					}
				}
			case "deliver", "repeat", "lose":
				if due := w.queue.Due(w.clock.Now()); len(due) > 0 {
					m := rapid.SampledFrom(due).Draw(rt, "message")
					if drop := rapid.IntRange(0, 9).Draw(rt, "luck"); drop == 0 {
						w.queue.Drop(m)
					} else {
						if err := accesstest.Deliver(ctx, w.service, m); err != nil {
							rt.Fatalf("deliver: %v", err)
						}
						if drop > 2 {
							w.queue.Drop(m)
						}
					}
				}
			case "time":
				w.clock.Advance(time.Duration(rapid.IntRange(1, 60).Draw(rt, "minutes")) * time.Minute)
			case "sweep":
				if _, err := w.service.Sweep(ctx); err != nil {
					rt.Fatalf("sweep: %v", err)
				}
			}
		}
		w.settleDown()
		w.wantSafe()
		w.pass(3 * time.Hour)
		w.settleDown()
		w.wantRules(nicNSG, 0)
		w.wantRules(subnetNSG, 0)
		for _, id := range ids {
			if r := w.request(id); !r.Finished() {
				rt.Errorf("request %s is not finished: %+v", id, r.Targets)
			}
			w.kinds(id) // numbered without gaps
		}
	})
}
