package access_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/alert"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// step is what one person, or a sender of alerts, does.
type step func(w *world, s *access.Service) error

// deliver stands for the delivery of all messages that are due.
var deliver step

func voting(p access.Person) step {
	return func(w *world, s *access.Service) error {
		_, err := s.Vote(ctx, w.first(), approver(p))
		return err
	}
}

func locking(l access.Lockdown) step {
	l.Reason = "Suspected break-in."
	return func(_ *world, s *access.Service) error {
		_, _, err := s.LockDown(ctx, l, carol)
		return err
	}
}

func taking(a alert.Alert) step {
	return func(_ *world, s *access.Service) error {
		_, err := s.TakeAlert(ctx, a, carol)
		return err
	}
}

// accident is a piece of life in which the process may die.
type accident struct {
	told  bool // a channel is told of it
	ready func(w *world)
	steps []step
	// end checks what became of it, with all messages lost and after the sweep. forgot:
	// whoever got no answer has not tried again.
	end func(w *world, forgot bool)
}

// TestKilledWhileDeciding kills the process after the first effect of each kind in
// every step of what people and alerts decide. All messages are lost, the sweep runs,
// and whoever got no answer tries again or does not. Then life goes on; the end is the
// same as without the accident, and nothing is stuck, open that should not be, or untold.
func TestKilledWhileDeciding(t *testing.T) {
	for name, a := range accidents(t) {
		whole := &accesstest.Crash{}
		w := a.world(t)
		done := 0
		for i, do := range a.steps {
			if err := a.take(w, whole.Service(w.service), i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			effects := whole.Trace()
			for at := done; at < len(effects); at++ {
				if slices.Contains(effects[done:at], effects[at]) || testing.Short() && at%4 > 0 {
					continue
				}
				for _, forgot := range []bool{false, true} {
					if forgot && do == nil {
						continue // nobody waits for an answer
					}
					t.Run(fmt.Sprintf("%s/effect=%d/forgot=%v", name, at+1, forgot), func(t *testing.T) {
						t.Parallel()
						a.test(t, at+1, forgot)
					})
				}
			}
			done = len(effects)
		}
		a.end(w, false)
	}
}

func (a *accident) world(tb tb) *world {
	w := newWorld(tb)
	if a.told {
		w.channel.Names = []string{"team"}
	}
	a.ready(w)
	w.deliver()
	return w
}

func (a *accident) take(w *world, s *access.Service, i int) error {
	if a.steps[i] == nil {
		return w.deliverTo(s)
	}
	return a.steps[i](w, s)
}

func (a *accident) test(t *testing.T, at int, forgot bool) {
	w := a.world(t)
	crash := &accesstest.Crash{At: at, After: true}
	mortal := crash.Service(w.service)
	next := 0
	for ; next < len(a.steps); next++ {
		err := a.take(w, mortal, next)
		if died, where := crash.Died(); died {
			t.Logf("died after %q", where)
			break
		}
		if err != nil {
			t.Fatalf("step %d: %v", next, err)
		}
	}
	if died, _ := crash.Died(); !died {
		t.Fatal("it did not die")
	}
	w.queue.DropAll()
	w.settleDown()
	w.wantSafe()
	if forgot {
		next++
	}
	for ; next < len(a.steps); next++ {
		var refused access.Refusals // what is done already, or cannot be done any more
		if err := a.take(w, w.service, next); err != nil && !errors.As(err, &refused) {
			t.Fatalf("step %d, by a living process: %v", next, err)
		}
	}
	w.deliver()
	w.sweep()
	w.wantSafe()
	a.end(w, forgot)
	w.deliver()
	w.pass(30 * time.Hour)
	w.settleDown()
	w.wantRules(nicNSG, 0)
	w.wantRules(subnetNSG, 0)
	for _, r := range w.all() {
		if !r.Finished() {
			t.Errorf("request %s is not finished: told %v of %d, %+v", r.ID, r.Told, r.Events, r.Targets)
		}
	}
	if a.told {
		w.wantTold("team", 2)
	}
}

// all are the requests there are, oldest first.
func (w *world) all() []access.Request {
	w.tb.Helper()
	page, err := w.service.Store.List(ctx, access.Query{Limit: 200})
	if err != nil {
		w.tb.Fatal(err)
	}
	slices.Reverse(page.Requests)
	return page.Requests
}

func (w *world) first() string {
	w.tb.Helper()
	all := w.all()
	if len(all) == 0 {
		return "none"
	}
	return all[0].ID
}

func (w *world) states() string {
	var out []string
	for _, r := range w.all() {
		out = append(out, string(r.State()))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (w *world) ledger() access.Ledger {
	w.tb.Helper()
	l, err := w.service.Ledgers.Ledger(ctx)
	if err != nil {
		w.tb.Fatal(err)
	}
	return l
}

// wantTold checks that a channel was told of every event, in order, and of none more
// often than most times. One notice may speak for a request's events of one kind at one
// moment.
func (w *world) wantTold(channel string, most int) {
	w.tb.Helper()
	told := map[string][]int{} // by request; "" = the ledger
	for _, s := range w.channel.Sent() {
		id := ""
		if s.Notice.Request != nil {
			id = s.Notice.Request.ID
		}
		if s.To == channel {
			told[id] = append(told[id], s.Notice.Event.Sequence)
		}
	}
	check := func(id string, events []audit.Event, err error) {
		w.tb.Helper()
		must(w.tb, err)
		times, last := map[int]int{}, 0
		for _, n := range told[id] {
			if times[n]++; times[n] > most {
				w.tb.Errorf("%s was told %d times of event %d of %q", channel, times[n], n, id)
			}
			if times[n] == 1 && n < last {
				w.tb.Errorf("%s was told of event %d of %q after event %d", channel, n, id, last)
			}
			last = max(last, n)
		}
		for i, e := range events {
			if e.Sequence != i+1 {
				w.tb.Errorf("event %d of %q bears number %d", i+1, id, e.Sequence)
			}
			if e.Kind == audit.ApprovalAsked || e.Kind == audit.AccessEnding {
				continue // not told any more once it is decided or over
			}
			repeats := id != "" && i > 0 && events[i-1].Kind == e.Kind && events[i-1].At.Equal(e.At)
			if times[e.Sequence] == 0 && !repeats {
				w.tb.Errorf("%s was told of the events %v of %q, and not of %d, %s", channel, told[id], id, e.Sequence, e.Kind)
			}
		}
	}
	for _, r := range w.all() {
		events, err := w.service.Store.Events(ctx, r.ID)
		check(r.ID, events, err)
	}
	events, err := w.service.Ledgers.LedgerEvents(ctx, 0, 0)
	check("", events, err)
}

func accidents(t *testing.T) map[string]*accident {
	closed := func(states string) bool { return !strings.Contains(states, "A") } // Active, Approved, AwaitingApproval
	opens := func(w *world) {
		w.active("web01")
		w.active("app01")
		w.apply("apiVersion: jitgate/v1\nscope: " + vmID("db02").String() + plainRest + oneApprover)
		w.awaiting("db02")
	}
	return map[string]*accident{
		"approval": {
			ready: func(w *world) { w.rule(twoApprovers); w.awaiting("app01") },
			steps: []step{voting(bob), deliver, voting(dave), deliver},
			end: func(w *world, forgot bool) {
				r := w.request(w.first())
				if s := r.State(); s != access.Active && !(forgot && s == access.AwaitingApproval && len(r.Votes) < 2) {
					w.tb.Errorf("%s with votes %+v", s, r.Votes)
				}
				if len(r.Votes) > 2 {
					w.tb.Errorf("votes %+v", r.Votes)
				}
			},
		},
		"extension": {
			ready: func(w *world) { w.rule("extensions: 1"); w.active("app01") },
			steps: []step{func(w *world, s *access.Service) error {
				_, err := s.Extend(ctx, w.first(), as(alice), "PT30M")
				return err
			}, deliver},
			end: func(w *world, forgot bool) {
				r := w.wantState(w.first(), access.Active)
				open := r.ExpiresAt().Sub(r.Targets[0].OpenedAt)
				if want := time.Hour + time.Duration(r.Extensions)*30*time.Minute; open != want || r.Extensions != 1 && !forgot {
					w.tb.Errorf("open for %s after %d extensions", open, r.Extensions)
				}
				w.pass(r.ExpiresAt().Add(-time.Minute).Sub(w.clock.Now()))
				w.wantState(r.ID, access.Active)
				w.pass(time.Minute)
				w.settleDown() // its wake-up may be among what was lost
				w.wantState(r.ID, access.Expired)
				w.wantRules(nicNSG, 0)
			},
		},
		"lockdown of everything": {
			ready: opens,
			steps: []step{locking(access.Lockdown{Scope: policy.Tenant}), deliver},
			end: func(w *world, _ bool) {
				if s := w.states(); !closed(s) {
					w.tb.Errorf("under a lockdown: %s", s)
				}
				_, err := w.service.Submit(ctx, as(bob), "", ask("web01"))
				var refused access.Refusals
				if !errors.As(err, &refused) || refused[0].Code != access.LockedDown {
					w.tb.Errorf("asked under a lockdown: %v", err)
				}
			},
		},
		"lockdown of a person": {
			ready: func(w *world) {
				opens(w)
				if _, err := w.service.Submit(ctx, as(bob), "", ask("web01")); err != nil {
					w.tb.Fatal(err)
				}
			},
			steps: []step{locking(access.Lockdown{User: alice.Object}), deliver},
			end: func(w *world, _ bool) {
				if s := w.states(); s != "Active Cancelled Revoked Revoked" {
					w.tb.Errorf("only what is open is not theirs: %s", s)
				}
			},
		},
		"breaking the glass": {
			told: true,
			ready: func(w *world) {
				w.rule(oneApprover + "\nbreakGlass: {requesters: {roles: [Jit.Oncall]}, reviewWithin: P1D}")
			},
			steps: []step{func(_ *world, s *access.Service) error {
				_, err := s.Submit(ctx, as(alice, "Jit.Oncall"), "key", glassAsk("web01"))
				return err
			}, deliver},
			end: func(w *world, forgot bool) {
				all := w.all()
				if len(all) == 0 && forgot {
					return
				}
				if len(all) != 1 || all[0].State() != access.Active || !all[0].Review.Open() {
					w.tb.Fatalf("%s, want one that is open, and its review with it", w.states())
				}
				w.queue.DropAll() // with what was to remind of the review
				w.clock.Advance(25 * time.Hour)
				w.settleDown()
				if r := w.wantState(all[0].ID, access.Expired); !r.Review.Overdue {
					w.tb.Errorf("review %+v", r.Review)
				}
				if _, err := w.service.CloseReview(ctx, all[0].ID, as(bob), "Right."); err != nil {
					w.tb.Errorf("close the review: %v", err)
				}
				record := strings.Join(w.kinds(all[0].ID), " ")
				for _, kind := range []string{"opened", "review-overdue", "reviewed"} {
					if n := strings.Count(record, "breakglass."+kind); n != 1 {
						w.tb.Errorf("%s %d times: %s", kind, n, record)
					}
				}
			},
		},
		"alert": {
			told:  true,
			ready: func(w *world) { w.alertRules(); w.active("app01") },
			steps: []step{taking(metric(t, "01-metric-fired.json", "app01")), deliver, taking(metric(t, "05-extra-metric-resolved-same-alertId.json", "app01")), deliver},
			end: func(w *world, forgot bool) {
				if l := w.ledger(); len(l.Lockdowns) > 1 || len(l.Lockdowns) > 0 && !forgot {
					w.tb.Errorf("lockdowns: %+v", l.Lockdowns)
				}
				if s := w.states(); s != "Revoked" && !forgot {
					w.tb.Errorf("the machine's access is %s", s)
				}
				if n := strings.Count(fmt.Sprint(w.ledgerKinds()), "alert.taken"); !forgot && n != 1 && n != 2 {
					w.tb.Errorf("taken %d times: %v", n, w.ledgerKinds()) // once more if it died before it was settled
				}
			},
		},
		"callback": {
			told:  true,
			ready: func(w *world) { w.rule(oneApprover); w.awaiting("web01") },
			steps: []step{func(w *world, s *access.Service) error {
				_, err := s.Subscribe(ctx, w.first(), callback, []string{"granted", "denied"}, carol)
				return err
			}, deliver, voting(bob), deliver},
			end: func(w *world, forgot bool) {
				r := w.request(w.first())
				calls := len(w.calls())
				switch {
				case calls > 2, slices.ContainsFunc(w.calls(), func(s access.State) bool { return s != access.Active }):
					w.tb.Errorf("called with %v", w.calls())
				case calls == 0 && r.State() == access.Active && len(r.Callbacks) > 0, calls == 0 && !forgot:
					w.tb.Errorf("never called: %+v", r.Callbacks)
				}
			},
		},
		"proposal": {
			told:  true,
			ready: func(w *world) { w.service.SecondAdmin = true },
			steps: []step{func(_ *world, s *access.Service) error {
				_, err := s.ApplyPolicy(ctx, "apiVersion: jitgate/v1\nscope: "+demoScope+plainRest+oneApprover, bob)
				return err
			}, func(w *world, s *access.Service) error {
				all, err := s.Policies.Proposals(ctx)
				if err != nil || len(all) == 0 {
					return err
				}
				_, err = s.AgreeToProposal(ctx, all[0].ID, carol)
				return err
			}, deliver},
			end: func(w *world, forgot bool) {
				waits, err := w.service.Policies.Proposals(ctx)
				if err != nil {
					w.tb.Fatal(err)
				}
				inForce, err := w.service.Policies.PoliciesAt(ctx, policy.ScopeOf(vmID("web01").Scopes()[1]))
				if err != nil || len(inForce) != 1 || inForce[0].Version > 2 {
					w.tb.Fatalf("in force: %+v, %v", inForce, err)
				}
				// It comes into force and is forgotten in one step; that is what proves it, and
				// the line on the record may be lost.
				if done := inForce[0].Version == 2; done && len(waits) > 0 || !forgot && !done {
					w.tb.Errorf("in force %v, %d proposals wait, record %v", done, len(waits), w.ledgerKinds())
				}
			},
		},
	}
}
