package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jitgate/internal/armid"
	"jitgate/internal/audit"

	"golang.org/x/sync/errgroup"
)

// Revoke ends a request now: what is not decided is cancelled, what is open or
// opening is closed. It returns once the intention is saved and the NSGs were
// nudged; the state says Revoked when Azure confirmed. Revoking twice is harmless
// while the request has not ended. Whoever is locked down gives up what is theirs and
// nothing of others: a stolen account must not take their access from responders.
//
// Errors: [ErrNotFound]; [Refusals] with RequestEnded or LockedDown; [ErrUnavailable],
// after which the revocation may be saved already and is then carried out by the sweep
// at the latest.
func (s *Service) Revoke(ctx context.Context, id string, by Person) (Request, error) {
	r, err := s.Store.Request(ctx, id)
	if err != nil {
		return Request{}, err
	}
	if !r.Requester.Same(by) {
		if err := s.unlocked(ctx, by); err != nil {
			return Request{}, err
		}
	}
	return s.end(ctx, id, ending{by: by, pending: "Taken back before it was decided.", open: "To be closed before its time."})
}

// ending says by whom and why a request ends now: what the record says of targets that
// were not decided, and of those that are open or opening. A reason stands on the targets.
type ending struct {
	by            Person
	pending, open string
	reason        Reason
}

// endable reports whether a target is left to end. The state of the request does not
// say: one that is stuck on its way out would hide others that are open.
func (r *Request) endable() bool { return slices.ContainsFunc(r.Targets, Target.endable) }

func (s *Service) end(ctx context.Context, id string, why ending) (Request, error) {
	at := s.now()
	r, err := s.update(ctx, id, func(r *Request) ([]audit.Event, error) {
		if r.State().Ended() {
			return nil, refuse(RequestEnded, "", fmt.Sprintf("The request has ended already (%s); there is nothing to revoke.", r.State()))
		}
		rec := record{at: at, by: why.by}
		for i := range r.Targets {
			if err := r.Targets[i].end(why, &rec); err != nil {
				return nil, err
			}
		}
		return rec.events, nil
	})
	if err != nil {
		return Request{}, err
	}
	return r, s.withdraw(ctx, &r)
}

func (t Target) endable() bool {
	return t.State == Pending || t.State == AwaitingApproval || t.State.Live()
}

func (t *Target) end(why ending, rec *record) error {
	switch {
	case t.State == Pending || t.State == AwaitingApproval:
		t.EndedAt = rec.at
		rec.add(audit.RequestCancelled, t, audit.Event{Text: why.pending})
		if why.reason.Code != "" {
			t.Reason = why.reason
		}
		return t.Apply(Cancel)
	case t.State.Live():
		rec.add(audit.RevokeAsked, t, audit.Event{Text: why.open})
		if why.reason.Code != "" {
			t.Reason = why.reason
		}
		return t.Apply(Revoke)
	}
	return nil
}

// withdraw marks the grants of whatever must go and is not confirmed gone, nudges
// their NSGs, and takes back wake-ups that nobody needs any more. Marking inserts a
// grant that is missing: the decision may have been saved by a process that died
// before it filed the grant, and only a grant makes enforce look and report.
func (s *Service) withdraw(ctx context.Context, r *Request) error {
	for _, n := range grantsOf(r, mustGo) {
		for i := range n.Grants {
			n.Grants[i].Closing = true
		}
		generation, grants, err := s.Store.PutGrants(ctx, n.NSG, n.Grants)
		if err != nil {
			return fmt.Errorf("mark grants of request %s as closing: %w", r.ID, err)
		}
		if err := s.Queue.Enforce(ctx, n.NSG, generation); err != nil {
			return fmt.Errorf("nudge %s: %w", n.NSG.Name(), err)
		}
		s.cancelWakeUps(ctx, n.NSG, r, grants)
	}
	return nil
}

// cancelWakeUps is a courtesy to the queue: a wake-up that fires for nothing ends
// after one read, so a failure is only logged. It stays while another target of
// the request is still open in this NSG and needs it.
func (s *Service) cancelWakeUps(ctx context.Context, id armid.ID, r *Request, grants []Grant) {
	for i := range r.Targets {
		if t := &r.Targets[i]; t.State.Live() && t.opening(id) != nil {
			return
		}
	}
	done := map[int64]bool{0: true}
	for _, g := range grants {
		if done[g.WakeUp] {
			continue
		}
		done[g.WakeUp] = true
		if err := s.Queue.CancelWakeUp(ctx, g.WakeUp); err != nil {
			s.Log.WarnContext(ctx, "a scheduled message could not be cancelled; it will find nothing to do", "request", r.ID, "nsg", id, "error", err)
		}
	}
}

// closeAll ends the unfinished requests that why gives an ending for. One that cannot be
// ended does not keep others open.
func (s *Service) closeAll(ctx context.Context, why func(*Request) *ending) (int, error) {
	var faults []error
	ended := 0
	q := Query{Unfinished: true, Limit: 200}
	for {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return ended, errors.Join(append(faults, fmt.Errorf("list unfinished requests: %w", err))...)
		}
		results := make([]error, len(page.Requests))
		var group errgroup.Group
		group.SetLimit(readers)
		for i, r := range page.Requests {
			if !r.endable() {
				continue
			}
			how := why(&r)
			if how == nil {
				continue
			}
			ended++
			group.Go(func() error {
				_, err := s.end(ctx, r.ID, *how)
				var refused Refusals
				if err != nil && !errors.As(err, &refused) { // refused: it has ended meanwhile
					results[i] = fmt.Errorf("end request %s: %w", r.ID, err)
				}
				return nil
			})
		}
		_ = group.Wait()
		faults = append(faults, results...)
		if page.Next == "" {
			return ended, errors.Join(faults...)
		}
		q.Cursor = page.Next
	}
}
