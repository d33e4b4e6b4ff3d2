package access

import (
	"context"
	"fmt"
	"slices"

	"jitgate/internal/audit"
)

// MaxCallbacks bounds how many workflows may wait for one request.
const MaxCallbacks = 10

// Subscribe notes that a workflow waits for an outcome of a request. Saying so twice
// is one subscription. An outcome that has come already is told at once.
//
// Whoever is locked down cannot: what is told is who reaches which machine from where.
//
// Errors: [ErrNotFound]; [Refusals]; [ErrUnavailable].
func (s *Service) Subscribe(ctx context.Context, request, url string, events []string, by Person) (id string, err error) {
	waits, err := readResults(events)
	if err != nil {
		return "", err
	}
	if err := s.unlocked(ctx, by); err != nil {
		return "", err
	}
	id, sealed, err := s.Messages.Seal(request, url)
	if err != nil {
		return "", err
	}
	at := s.now()
	hashes := s.Messages.Hashes(url)
	r, err := s.update(ctx, request, func(r *Request) ([]audit.Event, error) {
		for i := range r.Callbacks {
			if c := &r.Callbacks[i]; slices.Contains(hashes, c.ID) && !c.Done {
				id = c.ID
				return nil, nil
			}
		}
		if len(r.openCallbacks()) >= MaxCallbacks {
			return nil, refuse(CallbacksTooMany, "", fmt.Sprintf("%d workflows wait for this request already; cancel one of them.", MaxCallbacks))
		}
		// Those that are done go: kept, they would fill the row up until nothing about the
		// request, its end included, could be saved any more.
		r.Callbacks = append(r.openCallbacks(), Callback{ID: id, Sealed: sealed, Events: waits, At: at})
		rec := record{at: at, by: by}
		rec.add(audit.CallbackSet, nil, audit.Event{Text: fmt.Sprintf("A workflow waits for %v.", waits)})
		return rec.events, nil
	})
	if err != nil {
		return "", err
	}
	if r.State().Ended() {
		// A request that was finished is on no list of the sweep's: whoever gets no answer
		// asks again, and nobody else would look.
		if err := s.Queue.Tell(ctx, r.ID, r.Events); err != nil {
			return "", fmt.Errorf("have the workflow called: %w", err)
		}
	}
	return id, nil
}

// Unsubscribe forgets a workflow that waits. One that nobody knows is none.
//
// Errors: [ErrUnavailable].
func (s *Service) Unsubscribe(ctx context.Context, request, url string, by Person) error {
	hashes := s.Messages.Hashes(url)
	_, err := s.update(ctx, request, func(r *Request) ([]audit.Event, error) {
		rec := record{at: s.now(), by: by}
		for i := range r.Callbacks {
			if c := &r.Callbacks[i]; !c.Done && slices.Contains(hashes, c.ID) {
				c.Done, c.Sealed = true, ""
				rec.add(audit.CallbackEnded, nil, audit.Event{Text: "The workflow does not wait any more."})
			}
		}
		return rec.events, nil
	})
	return err
}

func readResults(events []string) ([]Result, error) {
	var out []Result
	for i, e := range events {
		if !slices.Contains(Results, Result(e)) || slices.Contains(out, Result(e)) {
			return nil, refuse(EventsInvalid, fmt.Sprintf("events[%d]", i), fmt.Sprintf("%q cannot be waited for, or is named twice; send some of %v.", clip(e), Results))
		}
		out = append(out, Result(e))
	}
	if len(out) == 0 {
		return Results, nil
	}
	return out, nil
}
