package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

// Note implements [access.Store]. There is no row to clash on: several processes
// may note at once, each under keys that sort by the time of writing and that
// nobody else can have. Within a process they also sort in the order of the calls
// (uuid v1.6 version7.go). Up to 100 events are one transaction.
func (s *Store) Note(ctx context.Context, id armid.ID, events []audit.Event) error {
	changes := make([]change, len(events))
	for i, e := range events {
		key, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("note on %s: %w", id, err)
		}
		e.Sequence = 0 // its place is known when the record is read
		c, err := eventColumns(e)
		if err != nil {
			return fmt.Errorf("note on %s cannot be stored: %w", id, err)
		}
		changes[i] = insert(id.Key(), eventPrefix+key.String(), c)
	}
	for chunk := range slices.Chunk(changes, maxChanges) {
		// A key that is taken is ours: the SDK has repeated a write whose answer was lost.
		if err := s.nsgs.write(ctx, chunk...); err != nil && !errors.Is(err, access.ErrExists) {
			return err
		}
	}
	return nil
}

// Notes implements [access.Store].
func (s *Store) Notes(ctx context.Context, id armid.ID) ([]audit.Event, error) {
	events, err := s.nsgs.events(ctx, place{name: id.String(), partition: id.Key(), events: eventPrefix}, 0, 0)
	for i := range events {
		events[i].Sequence = i + 1
	}
	return events, err
}
