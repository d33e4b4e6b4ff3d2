package access

import (
	"context"

	"jitgate/internal/audit"
)

// update changes a request and has whoever is to be told of it told. A notice never
// holds anything up: when it cannot be queued, the sweep finds that it is missing.
func (s *Service) update(ctx context.Context, id string, change func(*Request) ([]audit.Event, error)) (Request, error) {
	r, err := s.Store.UpdateRequest(ctx, id, change)
	if err != nil {
		return r, err
	}
	s.haveTold(ctx, &r)
	return r, nil
}

func (s *Service) haveTold(ctx context.Context, r *Request) {
	if !s.untold(r) {
		return
	}
	if err := s.Queue.Tell(ctx, r.ID, r.Events); err != nil {
		s.Log.WarnContext(ctx, "a notice could not be queued; the sweep will do it", "request", r.ID, "error", err)
	}
}

// updateLedger is update for the ledger.
func (s *Service) updateLedger(ctx context.Context, change func(*Ledger) ([]audit.Event, error)) (Ledger, error) {
	l, err := s.Ledgers.UpdateLedger(ctx, change)
	if err != nil {
		return l, err
	}
	if s.behind(l.Told, l.Events) {
		if err := s.Queue.Tell(ctx, "", l.Events); err != nil {
			s.Log.WarnContext(ctx, "a notice could not be queued; the sweep will do it", "error", err)
		}
	}
	return l, nil
}
