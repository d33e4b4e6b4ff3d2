package arm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// patience is the longest Retry-After that is waited for. Beyond it the message
// that brought us here is better off in its queue than in our hands.
const patience = time.Minute

// errMoving is why we wait when nobody refused anything: the group is being
// changed, so what we read may not be what stays.
var errMoving = errors.New("another change of the NSG is under way")

// matching is one call of Match.
type matching struct {
	*Network
	*clients
	id      armid.ID
	outcome access.Outcome
	doubts  map[string]int // failures by rule that are not final yet
	single  bool           // rules are changed one by one from here on
	flushes int            // writes of FlushConnection that Azure took
}

// Match implements [access.Network]. Attempts are counted in writes and waits
// together, so it ends even if somebody undoes each of our changes.
func (n *Network) Match(ctx context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (access.Outcome, error) {
	c, err := n.in(id.Subscription())
	if err != nil {
		return access.Outcome{}, err
	}
	m := &matching{Network: n, clients: c, id: id, doubts: map[string]int{}}
	m.outcome.Refused = map[string]error{}
	// Half a second, doubled each time, is about 15 s in all: a write of somebody
	// else takes 3 to 10 s (recorded NSG writes; azure-powershell#8365).
	pause := backoff.NewExponentialBackOff()
	pause.Multiplier = 2
	for attempt := 1; ; attempt++ {
		todo, err := m.round(ctx, attempt, plan)
		if err == nil && nothing(todo) {
			m.outcome.Unplaced = todo.Unplaced
			return m.outcome, nil
		}
		if err == nil && attempt <= n.attempts {
			continue // written, now see what came of it
		}
		if err == nil {
			err = errors.New("somebody seems to undo our changes")
		}
		if attempt >= n.attempts || !patient(err) {
			return access.Outcome{}, m.ended(err)
		}
		n.log.InfoContext(ctx, "the NSG is busy; reading and planning again", "nsg", id, "attempt", attempt, "cause", err)
		if err := n.rest(ctx, pause.NextBackOff(), err); err != nil {
			return access.Outcome{}, err
		}
	}
}

// round reads, plans and writes once. It returns what was to be done.
func (m *matching) round(ctx context.Context, attempt int, plan func(nsg.Group) nsg.Plan) (nsg.Plan, error) {
	g, err := m.readGroup(ctx, m.id)
	if err != nil {
		return nsg.Plan{}, failed(err, reading)
	}
	m.outcome.Group = g.Group
	if g.moving {
		return nsg.Plan{}, errMoving
	}
	todo := m.allowed(plan(g.Group))
	if nothing(todo) || attempt > m.attempts {
		return todo, nil
	}
	return todo, m.write(ctx, g, todo, attempt)
}

// allowed leaves out what Azure has refused before. FlushConnection counts as
// refused when it was written and did not stay: where Azure offers it is not known,
// and rules must not wait for it.
func (m *matching) allowed(p nsg.Plan) nsg.Plan {
	p.Delete = slices.DeleteFunc(slices.Clone(p.Delete), func(name string) bool { return m.outcome.Refused[name] != nil })
	p.Put = slices.DeleteFunc(slices.Clone(p.Put), func(r nsg.Rule) bool { return m.outcome.Refused[r.Name] != nil })
	if p.Flush != nil && m.flushes == 2 {
		m.refuse("", errors.New("it was written twice and does not show"))
	}
	if m.outcome.Refused[""] != nil {
		p.Flush = nil
	}
	return p
}

// nothing reports whether there is nothing to write.
func nothing(p nsg.Plan) bool { return len(p.Put)+len(p.Delete) == 0 && p.Flush == nil }

// patient reports whether waiting may help.
func patient(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return errors.Is(err, errMoving)
	}
	reaction := f.reaction()
	return (reaction == wait || reaction == once) && f.retryAfter <= patience
}

// ended turns what stopped us into an error of the port.
func (m *matching) ended(err error) error {
	var f *failure
	if errors.As(err, &f) && !f.write {
		return unread(m.id.String(), f.cause)
	}
	return fmt.Errorf("%w: %s does not match after %d writes: %w", access.ErrUnavailable, m.id, m.outcome.Writes, err)
}

// rest waits between two attempts: as long as Azure asks for, and on top of it a
// pause with a random part so that two writers do not meet again.
func (n *Network) rest(ctx context.Context, pause time.Duration, cause error) error {
	var f *failure
	if errors.As(cause, &f) {
		pause += f.retryAfter
	}
	select {
	case <-n.clock.After(pause):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w, while waiting because %w", access.ErrUnavailable, ctx.Err(), cause)
	}
}
