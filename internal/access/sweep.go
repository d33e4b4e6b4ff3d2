package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	Rules    int // rules of ours that no live grant backs
}

// Sweep finds what lost messages and dead processes left behind and nudges it. It
// changes no NSG itself: Enforce does, under its session. One fault does not stop
// the others from being found; all are returned together.
func (s *Service) Sweep(ctx context.Context) (Swept, error) {
	var found Swept
	var faults []error
	faults = append(faults, s.sweepRequests(ctx, &found))
	books, err := s.sweepBooks(ctx, &found)
	faults = append(faults, err)
	if err == nil { // without the grants every rule would look like an orphan
		faults = append(faults, s.sweepRules(ctx, books, &found))
	}
	return found, errors.Join(faults...)
}

// sweepRequests looks at every request that is not finished and has been so for
// longer than work takes.
func (s *Service) sweepRequests(ctx context.Context, found *Swept) error {
	var faults []error
	q := Query{Unfinished: true, Limit: 200}
	for {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return errors.Join(append(faults, fmt.Errorf("list unfinished requests: %w", err))...)
		}
		for _, r := range page.Requests {
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
// simply is open, or was touched a moment ago.
func (s *Service) unattended(r *Request) bool {
	now := s.now()
	return slices.ContainsFunc(r.Targets, func(t Target) bool {
		switch t.State {
		case Active:
			return now.After(t.ExpiresAt.Add(Patience))
		case AwaitingApproval:
			return false
		}
		return now.After(r.CreatedAt.Add(Patience))
	})
}

// resume does at once what the lost message would have led to. Access past its
// time whose grants are gone, which no ordinary course of events brings about, is
// put on the way out.
func (s *Service) resume(ctx context.Context, r Request) error {
	now := s.now()
	updated, err := s.Store.UpdateRequest(ctx, r.ID, func(r *Request) ([]audit.Event, error) {
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
	if slices.ContainsFunc(updated.Targets, func(t Target) bool { return t.State == Pending }) {
		return s.Queue.Evaluate(ctx, r.ID)
	}
	return s.carryOut(ctx, &updated)
}

// sweepBooks looks at every NSG that has grants. It returns which rules are backed
// by a live grant, by NSG key.
func (s *Service) sweepBooks(ctx context.Context, found *Swept) (map[string]map[string]bool, error) {
	backed := map[string]map[string]bool{}
	var faults []error
	now := s.now()
	err := s.Store.Books(ctx, func(b Book) error {
		rules := map[string]bool{}
		for _, g := range b.Grants {
			if !g.Closing && !g.Due(now) {
				rules[g.Rule] = true
			}
		}
		backed[b.NSG.Key()] = rules
		if err := s.sweepWakeUps(ctx, b, found); err != nil {
			faults = append(faults, err)
		}
		if !b.Settled(now) && now.After(b.attendedSince().Add(Patience)) {
			found.NSGs++
			if err := s.nudge(ctx, b.NSG); err != nil {
				faults = append(faults, err)
			}
		}
		return nil
	})
	return backed, errors.Join(append(faults, err)...)
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

// sweepRules reads the NSGs themselves. A rule of ours that says it is over, or
// that no live grant backs, is an orphan: the store may have been lost, so the
// rule's own word is enough to have it removed.
func (s *Service) sweepRules(ctx context.Context, backed map[string]map[string]bool, found *Swept) error {
	var faults []error
	now := s.now()
	for _, subscription := range s.Subscriptions {
		err := s.Network.Groups(ctx, subscription, func(id armid.ID, g nsg.Group) error {
			orphans := 0
			for _, rule := range g.Rules {
				if _, _, ours := nsg.ParseAllowName(rule.Name); !ours {
					continue
				}
				expiry, known := nsg.ExpiryOf(rule)
				if !backed[id.Key()][rule.Name] || (known && now.After(expiry.Add(Patience))) {
					orphans++
				}
			}
			if orphans == 0 {
				return nil
			}
			found.Rules += orphans
			s.Log.WarnContext(ctx, "rules of ours without a live grant; having them removed", "nsg", id, "rules", orphans)
			if err := s.nudge(ctx, id); err != nil {
				faults = append(faults, err)
			}
			return nil
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("list the NSGs of subscription %s: %w", subscription, err))
		}
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
