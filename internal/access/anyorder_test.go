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
	"jitgate/internal/policy"
)

// crowd is a world in which many people do what they like.
type crowd struct {
	*world
	rt     *rapid.T
	quorum int             // what policy asks for now
	opened map[string]bool // requests that were seen approved, and found right
	ids    []string
}

func (c *crowd) rules(quorum int) {
	c.quorum = quorum
	more := "extensions: 3\nbreakGlass: {requesters: {roles: [Jit.Oncall]}, reviewWithin: PT2H}\n"
	if quorum > 0 {
		more += fmt.Sprintf("approval: {approvers: {roles: [Jit.Approve]}, quorum: %d, within: PT2H}", quorum)
	}
	c.rule(more)
}

// allowed passes over what people are refused.
func (c *crowd) allowed(err error) {
	var refused access.Refusals
	if err != nil && !errors.As(err, &refused) {
		c.rt.Fatalf("%v", err)
	}
}

func (c *crowd) some(label string, people ...access.Person) access.Person {
	return rapid.SampledFrom(people).Draw(c.rt, label)
}

func (c *crowd) submit() {
	a := ask(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"web01", "db01", "app01"}), 1, 2, rapid.ID[string]).Draw(c.rt, "vms")...)
	a.Duration = time.Duration(rapid.IntRange(5, 120).Draw(c.rt, "minutes")) * time.Minute
	a.BreakGlass = rapid.IntRange(0, 4).Draw(c.rt, "glass") == 0
	r, err := c.service.Submit(ctx, as(c.some("who", alice, bob), "Jit.Oncall"), "", a)
	if c.allowed(err); err == nil {
		c.ids = append(c.ids, r.ID)
	}
}

// act does something about a request.
func (c *crowd) act(what string) {
	if len(c.ids) == 0 {
		return
	}
	id, err := rapid.SampledFrom(c.ids).Draw(c.rt, "id"), error(nil)
	switch what {
	case "vote":
		v := approver(c.some("voter", alice, bob, carol, dave))
		v.Agrees = rapid.IntRange(0, 5).Draw(c.rt, "agrees") > 0
		_, err = c.service.Vote(ctx, id, v)
	case "extend":
		_, err = c.service.Extend(ctx, id, as(alice, "Jit.Oncall"), "PT30M")
	case "revoke":
		_, err = c.service.Revoke(ctx, id, carol)
	case "review":
		_, err = c.service.CloseReview(ctx, id, as(c.some("reviewer", alice, bob, carol)), "Seen.")
	}
	c.allowed(err)
}

func (c *crowd) lock() {
	l := rapid.SampledFrom([]access.Lockdown{{Scope: scopeOf("web01")}, {Scope: scopeOf("db01")}, {User: alice.Object}, {Scope: policy.Tenant}}).Draw(c.rt, "lockdown")
	if rapid.Bool().Draw(c.rt, "ends") {
		l.Until = c.clock.Now().Add(time.Hour)
	}
	c.lockDown(l)
}

func (c *crowd) lift() {
	for _, l := range c.ledger().Lockdowns {
		if err := c.service.Lift(ctx, l.ID, carol, ""); err != nil {
			c.rt.Fatalf("lift: %v", err)
		}
	}
}

// message delivers one of those that are due, loses it, or delivers it to a process
// that dies.
func (c *crowd) message() {
	due := c.queue.Due(c.clock.Now())
	if len(due) == 0 {
		return
	}
	m, s := rapid.SampledFrom(due).Draw(c.rt, "message"), c.service
	luck := rapid.IntRange(0, 9).Draw(c.rt, "luck")
	if luck == 0 {
		c.queue.Drop(m)
		return
	}
	if luck == 1 {
		s = (&accesstest.Crash{At: rapid.IntRange(1, 8).Draw(c.rt, "effect"), After: true}).Service(s)
	}
	err := accesstest.Deliver(ctx, s, m)
	if err != nil && !errors.Is(err, accesstest.ErrCrashed) {
		c.rt.Fatalf("deliver: %v", err)
	}
	if err == nil && luck > 3 {
		c.queue.Drop(m)
	}
}

// wantAgreed: what was approved since the last look was agreed to by as many others
// as policy asks for.
func (c *crowd) wantAgreed() {
	for _, id := range c.ids {
		if c.opened[id] {
			continue
		}
		r := c.request(id)
		if r.ExpiresAt().IsZero() {
			continue
		}
		c.opened[id] = true
		others := map[string]bool{}
		for _, v := range r.Votes {
			if v.Agrees && v.By.Object != r.Requester.Object {
				others[v.By.Object] = true
			}
		}
		if len(others) < c.quorum && !r.BreakGlass {
			c.rt.Errorf("request %s was approved with the votes %+v; policy wants %d", id, r.Votes, c.quorum)
		}
	}
}

// TestAnyOrderOfDecisions lets people ask, vote, extend, break the glass, lock down and
// change policy in any order, while messages are late, repeated and lost, processes
// die and a channel comes and goes. Then everything settles down.
func TestAnyOrderOfDecisions(t *testing.T) {
	t.Parallel()
	steps := []string{"submit", "submit", "vote", "vote", "vote", "message", "message", "message", "deliver", "extend", "extend", "revoke", "review", "lock", "lift", "policy", "channel", "time", "sweep"}
	rapid.Check(t, func(rt *rapid.T) {
		down := false
		c := &crowd{world: newWorld(rt), rt: rt, opened: map[string]bool{}}
		c.channel.Names = []string{"team"}
		c.channel.Fail = func(accesstest.Sent) error {
			if down {
				return access.ErrUnavailable
			}
			return nil
		}
		c.rules(rapid.IntRange(0, 2).Draw(rt, "quorum"))
		for range rapid.IntRange(3, 16).Draw(rt, "steps") {
			switch step := rapid.SampledFrom(steps).Draw(rt, "step"); step {
			case "submit":
				c.submit()
			case "lock":
				c.lock()
			case "lift":
				c.lift()
			case "policy":
				c.rules(rapid.IntRange(0, 2).Draw(rt, "quorum"))
			case "channel":
				down = !down
			case "message":
				c.message()
			case "deliver":
				c.deliver()
			case "time":
				c.clock.Advance(time.Duration(rapid.IntRange(1, 45).Draw(rt, "minutes")) * time.Minute)
			case "sweep":
				if _, err := c.service.Sweep(ctx); err != nil {
					rt.Fatalf("sweep: %v", err)
				}
			default:
				c.act(step)
			}
			c.wantAgreed()
		}
		down = false
		c.settleDown()
		c.wantAgreed()
		c.wantSafe()
		c.pass(5 * time.Hour)
		c.settleDown()
		c.wantRules(nicNSG, 0)
		c.wantRules(subnetNSG, 0)
		for _, id := range c.ids {
			if r := c.request(id); r.Review.Open() {
				if _, err := c.service.CloseReview(ctx, id, as(carol), "Seen."); err != nil || !r.Review.Overdue {
					rt.Errorf("review %+v of %s: %v", r.Review, id, err)
				}
			}
		}
		c.deliver()
		for _, id := range c.ids {
			if r := c.request(id); !r.Finished() {
				rt.Errorf("request %s is not finished: told %v of %d, %+v", id, r.Told, r.Events, r.Targets)
			}
			if got := strings.Join(c.kinds(id), " "); strings.Count(got, "breakglass.opened") > 1 {
				rt.Errorf("the record: %s", got)
			}
		}
		c.wantTold("team", 1000)
	})
}
