package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// Swept counts what a sweep found and set going again.
type Swept struct {
	Requests int // saved but unattended
	NSGs     int // not matching their grants, or with a grant past its expiry
	WakeUps  int // grants that had no scheduled message
	Drifted  int // NSGs whose rules are not what was confirmed
	Machines int // protections unattended, or of machines that moved or are gone
}

// Sweep finds what lost messages and dead processes left behind and nudges it. It
// changes no NSG itself: Enforce does, under its session. One fault does not stop
// the others from being found; all are returned together.
func (s *Service) Sweep(ctx context.Context) (Swept, error) {
	var found Swept
	estates, err := s.estates(ctx)
	faults := []error{err}
	faults = append(faults, s.sweepLedger(ctx, &found), s.sweepSignals(ctx))
	faults = append(faults, s.sweepRequests(ctx, estates, &found))
	faults = append(faults, s.sweepProtections(ctx, estates, &found))
	faults = append(faults, s.sweepBooks(ctx, estates, &found))
	return found, errors.Join(faults...)
}

// sweepRequests looks at every request that is not finished and has been so for
// longer than work takes, or whose machine is not what it was.
func (s *Service) sweepRequests(ctx context.Context, estates estates, found *Swept) error {
	var faults []error
	q := Query{Unfinished: true, Limit: 200}
	for {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return errors.Join(append(faults, fmt.Errorf("list unfinished requests: %w", err))...)
		}
		for _, r := range page.Requests {
			if lost := s.lostTargets(ctx, &r, estates); len(lost) > 0 {
				found.Requests++
				if err := s.closeLost(ctx, r.ID, lost); err != nil {
					faults = append(faults, fmt.Errorf("close request %s, whose machine is gone: %w", r.ID, err))
				}
				continue
			}
			s.haveTold(ctx, &r)
			if !s.unattended(&r) {
				continue
			}
			found.Requests++
			if err := s.resume(ctx, r); err != nil {
				faults = append(faults, fmt.Errorf("resume request %s: %w", r.ID, err))
			}
		}
		if page.Next == "" {
			return errors.Join(faults...)
		}
		q.Cursor = page.Next
	}
}

// unattended tells a request that somebody should be working on from one that
// simply is open, waits for people, or was touched a moment ago.
func (s *Service) unattended(r *Request) bool {
	now := s.now()
	patient := now.Add(-Patience)
	if r.reviewDue(patient) {
		return true
	}
	return slices.ContainsFunc(r.Targets, func(t Target) bool {
		switch {
		case t.State == Active:
			return patient.After(t.ExpiresAt) || t.reminderDue(patient) || t.toBeOpened()
		case t.State == AwaitingApproval:
			return r.lapsed(patient) || r.votedBefore(patient)
		case t.State.Ended() && !slices.ContainsFunc(t.Openings, func(o Opening) bool { return mustGo(&t, &o) }):
			return false
		}
		return patient.After(r.CreatedAt)
	})
}

// votedBefore tells whether votes lie there that the evaluation should have looked at.
func (r *Request) votedBefore(at time.Time) bool {
	last := r.lastVote()
	return !last.IsZero() && at.After(last)
}

// resume does at once what the lost message would have led to. Access past its
// time whose grants are gone, which no ordinary course of events brings about, is
// put on the way out.
func (s *Service) resume(ctx context.Context, r Request) error {
	now := s.now()
	updated, err := s.update(ctx, r.ID, func(r *Request) ([]audit.Event, error) {
		rec := record{at: now, by: jitgate}
		for i := range r.Targets {
			if t := &r.Targets[i]; t.State == Active && now.After(t.ExpiresAt.Add(Patience)) {
				if err := t.Apply(Expire); err != nil {
					return nil, err
				}
				rec.add(audit.AccessOverdue, t, audit.Event{Text: "Found open past its time by the sweep."})
			}
		}
		return rec.events, nil
	})
	if err != nil {
		return err
	}
	if updated.undecided() {
		return s.Queue.Evaluate(ctx, r.ID, updated.Events)
	}
	if updated, err = s.noteTimes(ctx, updated, updated.lastVote()); err != nil {
		return err
	}
	return s.carryOut(ctx, &updated)
}

// sweepBooks looks at every NSG that has grants or guards, and at every NSG there
// is: one that is settled but does not look as it was left has drifted.
func (s *Service) sweepBooks(ctx context.Context, estates estates, found *Swept) error {
	known := map[string]bool{}
	var faults []error
	now := s.now()
	err := s.Store.Books(ctx, func(b Book) error {
		known[b.NSG.Key()] = true
		if err := s.sweepWakeUps(ctx, b, found); err != nil {
			faults = append(faults, err)
		}
		switch settled := b.Settled(now); {
		case !settled && now.After(b.attendedSince().Add(Patience)):
			found.NSGs++
		case settled:
			drifted, err := s.drifted(ctx, &b, estates)
			faults = append(faults, err)
			if !drifted {
				return nil
			}
			found.Drifted++
		default:
			return nil
		}
		faults = append(faults, s.nudge(ctx, b.NSG))
		return nil
	})
	if err != nil { // without the books every rule would look like an orphan
		return errors.Join(append(faults, err)...)
	}
	for _, e := range estates {
		for key, g := range e.Groups {
			if known[key] {
				continue
			}
			drifted, err := s.differs(ctx, g, &Book{Head: Head{NSG: nsgID(g.ID)}})
			faults = append(faults, err)
			if !drifted {
				continue
			}
			found.Drifted++
			s.Log.WarnContext(ctx, "rules of ours in an NSG that nothing is wanted of; what allows is being removed", "nsg", g.ID)
			faults = append(faults, s.nudge(ctx, nsgID(g.ID)))
		}
	}
	return errors.Join(faults...)
}

// drifted compares an NSG as listed with its book. An NSG that is not listed may
// have been deleted; looking at it tells.
func (s *Service) drifted(ctx context.Context, b *Book, estates estates) (bool, error) {
	e, read := estates[strings.ToLower(b.NSG.Subscription())]
	if !read {
		return false, nil
	}
	g, listed := e.Groups[b.NSG.Key()]
	if !listed {
		return len(b.Grants)+len(b.Guards) > 0, nil
	}
	return s.differs(ctx, g, b)
}

// differs tells whether there is something to change in an NSG, or a deny rule that
// stays and is not on its record yet.
func (s *Service) differs(ctx context.Context, g nsg.Group, b *Book) (bool, error) {
	if !nsg.MakePlan(g, b.desired(g, b.live(s.now())), s.Bands).Empty() {
		return true, nil
	}
	strays := b.strays(g)
	if len(strays) == 0 {
		return false, nil
	}
	said, err := s.Store.Notes(ctx, b.NSG)
	if err != nil {
		return false, fmt.Errorf("read the record of %s: %w", b.NSG.Name(), err)
	}
	last := lastWords(said)
	return slices.ContainsFunc(strays, func(rule string) bool { return last[rule] != stray }), nil
}

// attendedSince is when the NSG last got something to do.
func (h Head) attendedSince() time.Time {
	if h.Generation == h.Enforced {
		return h.NextDue
	}
	return h.ChangedAt
}

// sweepWakeUps schedules the message that a grant lacks because the process died
// between saving and scheduling.
func (s *Service) sweepWakeUps(ctx context.Context, b Book, found *Swept) error {
	byRequest := map[string][]Grant{}
	for _, g := range b.Grants {
		if g.WakeUp == 0 && !g.Closing && !g.Due(s.now()) {
			byRequest[g.Request] = append(byRequest[g.Request], g)
		}
	}
	var faults []error
	for request, grants := range byRequest {
		found.WakeUps++
		faults = append(faults, s.arrangeWakeUp(ctx, b.NSG, request, grants))
	}
	return errors.Join(faults...)
}

// nudge has an NSG looked at whatever its generation says.
func (s *Service) nudge(ctx context.Context, id armid.ID) error {
	generation, err := s.Store.Touch(ctx, id)
	if err != nil {
		return fmt.Errorf("touch %s: %w", id.Name(), err)
	}
	if err := s.Queue.Enforce(ctx, id, generation); err != nil {
		return fmt.Errorf("nudge %s: %w", id.Name(), err)
	}
	return nil
}
