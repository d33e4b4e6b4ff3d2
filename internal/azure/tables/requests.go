package tables

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

const requestRow = "request"

func requestsIn(t table) journal[access.Request] {
	return journal[access.Request]{
		table: t, store: requestColumns, load: readRequest,
		count: func(r *access.Request) *int { return &r.Events },
		keep: func(edited, stored access.Request) access.Request {
			edited.ID, edited.CreatedAt = stored.ID, stored.CreatedAt // keys and index are made of them
			edited.Told = stored.Told                                 // MarkTold's to say
			return edited
		},
	}
}

// idForm is what an id of a request may be; it is the row key's and the cursor's
// last part too. Anything else comes from a caller's imagination.
var idForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// requestPlace gives each request a partition of its own: they come by the
// thousand, and nobody reads a range of them.
func requestPlace(id string) place {
	return place{name: "request " + id, partition: id, row: requestRow, events: eventPrefix, digits: 6}
}

// InsertRequest implements [access.Store]. The index rows go first: one without a
// request is skipped by every reader, whereas a request without its index rows
// would be found by nobody, the sweep included.
func (s *Store) InsertRequest(ctx context.Context, r access.Request, events []audit.Event) error {
	index, err := indexRows(&r)
	if err != nil {
		return fmt.Errorf("request %s cannot be stored: %w", r.ID, err)
	}
	r.Events = 0
	save, _, err := s.requests.changes(requestPlace(r.ID), row{}, r, events)
	if err != nil {
		return err
	}

	notes := make([]change, len(index))
	for i, key := range index {
		notes[i] = note(indexPartition, key)
	}
	if err := s.lookups.write(ctx, notes...); err != nil {
		return err
	}
	err = s.requests.write(ctx, save...)
	if !errors.Is(err, access.ErrExists) {
		return err
	}
	if ours, werr := s.requests.wrote(ctx, save); ours || werr != nil {
		return werr
	}
	return err
}

// Request implements [access.Store].
func (s *Store) Request(ctx context.Context, id string) (access.Request, error) {
	_, r, err := s.request(ctx, id)
	return r, err
}

func (s *Store) request(ctx context.Context, id string) (row, access.Request, error) {
	if !idForm.MatchString(id) {
		return row{}, access.Request{}, noSuchRequest(id)
	}
	return s.requests.read(ctx, requestPlace(id))
}

func noSuchRequest(id string) error { return fmt.Errorf("request %.64q: %w", id, access.ErrNotFound) }

// UpdateRequest implements [access.Store].
func (s *Store) UpdateRequest(ctx context.Context, id string, edit func(*access.Request) ([]audit.Event, error)) (access.Request, error) {
	if !idForm.MatchString(id) {
		return access.Request{}, noSuchRequest(id)
	}
	result, saved, err := s.requests.update(ctx, requestPlace(id), nil, func(r *access.Request) ([]audit.Event, error) {
		finished := r.Finished()
		events, err := edit(r)
		if err != nil || len(events) == 0 || !finished || r.Finished() {
			return events, err
		}
		// It is unfinished again. As with a new request, the row of the index goes first.
		return events, s.lookups.write(ctx, note(indexPartition, openPrefix+indexSuffix(r)))
	})
	if saved && result.Finished() {
		s.dropIndex(ctx, openPrefix+indexSuffix(&result))
	}
	return result, err
}

// MarkTold implements [access.Store].
func (s *Store) MarkTold(ctx context.Context, id string, told map[string]int) error {
	if !idForm.MatchString(id) {
		return noSuchRequest(id)
	}
	return s.requests.markTold(ctx, requestPlace(id), told)
}

// WithdrawRequest implements [access.Store]. Withdrawing a request that is gone is
// no error. One that was decided meanwhile, because the same caller's repeat had
// it evaluated, was accepted after all: it stays, and an error says so.
func (s *Store) WithdrawRequest(ctx context.Context, id string) error {
	var gone access.Request
	at := requestPlace(id)
	err := contend(ctx, at.name, func() error {
		stored, r, err := s.request(ctx, id)
		if err != nil {
			return err
		}
		for _, t := range r.Targets {
			if t.State != access.Pending {
				return fmt.Errorf("request %s was accepted meanwhile and stays", id)
			}
		}
		gone = r
		// The ETag of the request row guards its events: none is added without it.
		changes := []change{remove(stored)}
		for n := range r.Events {
			changes = append(changes, removeAny(id, at.event(n+1)))
		}
		return s.requests.swap(ctx, changes...)
	})
	switch {
	case errors.Is(err, access.ErrNotFound) && gone.ID == "":
		return nil
	case err != nil && !errors.Is(err, access.ErrNotFound):
		return err
	}
	index, err := indexRows(&gone)
	if err != nil {
		return err
	}
	for _, key := range index {
		s.dropIndex(ctx, key)
	}
	return nil
}

// Events implements [access.Store]. A request that does not exist has none.
func (s *Store) Events(ctx context.Context, id string) ([]audit.Event, error) {
	if !idForm.MatchString(id) {
		return nil, nil
	}
	return s.requests.events(ctx, requestPlace(id), 0, 0)
}
