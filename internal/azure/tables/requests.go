package tables

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/google/uuid"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

const (
	requestRow  = "request"
	eventPrefix = "event-"
)

func eventRow(sequence int) string { return fmt.Sprintf("%s%06d", eventPrefix, sequence) }

// idForm is what an id of a request may be; it is the row key's and the cursor's
// last part too. Anything else comes from a caller's imagination.
var idForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// InsertRequest implements [access.Store]. The index rows go first: one without a
// request is skipped by every reader, whereas a request without its index rows
// would be found by nobody, the sweep included.
func (s *Store) InsertRequest(ctx context.Context, r access.Request, events []audit.Event) error {
	index, err := indexRows(&r)
	if err != nil {
		return fmt.Errorf("request %s cannot be stored: %w", r.ID, err)
	}
	r.Events = 0
	save, _, err := s.saveChanges(row{}, &r, events)
	if err != nil {
		return fmt.Errorf("request %s cannot be stored: %w", r.ID, err)
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
	if ours, werr := s.wrote(ctx, save); ours || werr != nil {
		return werr
	}
	return err
}

// saveChanges makes the changes that save r with more events: an insert when
// stored is the zero row. It numbers the events and counts them in r, and returns
// r as it will be read back.
func (s *Store) saveChanges(stored row, r *access.Request, events []audit.Event) ([]change, access.Request, error) {
	if len(events) >= maxChanges {
		return nil, access.Request{}, fmt.Errorf("%d events do not fit into one transaction", len(events))
	}
	first := r.Events + 1
	r.Events += len(events)
	c, err := requestColumns(r)
	if err != nil {
		return nil, access.Request{}, err
	}
	saved, err := readRequest(c)
	if err != nil {
		return nil, access.Request{}, err
	}
	mark := uuid.NewString()
	c[markColumn] = mark
	changes := []change{insert(r.ID, requestRow, c)}
	if stored.etag != "" {
		changes[0] = replace(stored, c)
	}
	for i, e := range events {
		e.Sequence = first + i
		c, err := eventColumns(e)
		if err != nil {
			return nil, access.Request{}, err
		}
		c[markColumn] = mark
		changes = append(changes, insert(r.ID, eventRow(e.Sequence), c))
	}
	return changes, saved, nil
}

// markColumn holds a random value for each save. The SDK repeats a write whose
// answer was lost, and the repeat then clashes with the first: the mark tells this
// from a clash with somebody else. It is looked for in the first event of the
// save, which nobody changes later, unlike the request row.
const markColumn = "Save"

// wrote reports whether the rows of a save that clashed are in the table after all.
func (s *Store) wrote(ctx context.Context, save []change) (bool, error) {
	proof := save[min(1, len(save)-1)]
	found, err := s.requests.get(ctx, proof.pk, proof.rk)
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	return err == nil && found.columns[markColumn] == proof.columns[markColumn], err
}

// Request implements [access.Store].
func (s *Store) Request(ctx context.Context, id string) (access.Request, error) {
	_, r, err := s.request(ctx, id)
	return r, err
}

func (s *Store) request(ctx context.Context, id string) (row, access.Request, error) {
	if !idForm.MatchString(id) {
		return row{}, access.Request{}, fmt.Errorf("request %.64q: %w", id, access.ErrNotFound)
	}
	stored, err := s.requests.get(ctx, id, requestRow)
	if err != nil {
		return row{}, access.Request{}, err
	}
	r, err := readRequest(stored.columns)
	if err != nil {
		return row{}, access.Request{}, fmt.Errorf("request %s as stored cannot be read: %w", id, err)
	}
	return stored, r, nil
}

// UpdateRequest implements [access.Store].
func (s *Store) UpdateRequest(ctx context.Context, id string, edit func(*access.Request) ([]audit.Event, error)) (access.Request, error) {
	var result access.Request
	var save []change
	err := contend(ctx, "request "+id, func() error {
		stored, r, err := s.request(ctx, id)
		if err != nil {
			return err
		}
		if save != nil { // the last attempt clashed
			if ours, err := s.wrote(ctx, save); ours || err != nil {
				result = r
				return err
			}
		}
		result = r
		edited, err := readRequest(stored.columns) // shares nothing with r
		if err != nil {
			return err
		}
		events, err := edit(&edited)
		if err != nil || len(events) == 0 {
			return err
		}
		// Keys and index are made of these, and the count numbers the events.
		edited.ID, edited.CreatedAt, edited.Events = r.ID, r.CreatedAt, r.Events
		if save, result, err = s.saveChanges(stored, &edited, events); err != nil {
			return fmt.Errorf("request %s cannot be stored: %w", id, err)
		}
		return s.requests.swap(ctx, save...)
	})
	if err != nil {
		return access.Request{}, err
	}
	if save != nil && result.Finished() {
		s.dropIndex(ctx, openPrefix+indexSuffix(&result))
	}
	return result, nil
}

// WithdrawRequest implements [access.Store]. Withdrawing a request that is gone is
// no error. One that was decided meanwhile, because the same caller's repeat had
// it evaluated, was accepted after all: it stays, and an error says so.
func (s *Store) WithdrawRequest(ctx context.Context, id string) error {
	var gone access.Request
	err := contend(ctx, "request "+id, func() error {
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
			changes = append(changes, removeAny(id, eventRow(n+1)))
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
	var events []audit.Event
	for found, err := range s.requests.rows(ctx, starting(id, eventPrefix), pageSize) {
		if err != nil {
			return nil, err
		}
		e, err := readEvent(found.columns)
		if err != nil {
			return nil, fmt.Errorf("event %s of request %s as stored cannot be read: %w", found.rk, id, err)
		}
		events = append(events, e)
	}
	return events, nil
}
