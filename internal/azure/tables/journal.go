package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

// journal keeps subjects of one kind (requests, protections, the ledger): for each
// one row that says how it stands, and one for each event of its record. Both are
// always saved together.
type journal[T any] struct {
	table
	store func(*T) (columns, error)
	load  func(columns) (T, error)
	count func(*T) *int            // where T counts the events of its record
	keep  func(edited, stored T) T // edited, with what no change may touch as it was stored
}

// place is where the rows of one subject are: all in one partition, because a
// transaction reaches no further.
type place struct {
	name      string // of the subject, for errors
	partition string
	row       string // key of the row that says how it stands
	events    string // what the keys of its events begin with, and no other keys do
	digits    int    // of the number that follows, so that key order is the order of the record
}

const eventPrefix = "event-"

// event is the key of an event's row.
func (at place) event(sequence int) string {
	return fmt.Sprintf("%s%0*d", at.events, at.digits, sequence)
}

// read returns a subject with its row.
func (j journal[T]) read(ctx context.Context, at place) (row, T, error) {
	var none T
	stored, err := j.get(ctx, at.partition, at.row)
	if err != nil {
		return row{}, none, err
	}
	subject, err := j.load(stored.columns)
	if err != nil {
		return row{}, none, unreadable(at.name, err)
	}
	return stored, subject, nil
}

// update reads a subject, lets edit change it and saves it with the events that
// edit returns; without events nothing is saved. A subject that does not exist is
// ErrNotFound, or shown to edit as fresh if that is not nil. The result is the
// subject as it stands afterwards and whether a save was attempted.
func (j journal[T]) update(ctx context.Context, at place, fresh *T, edit func(*T) ([]audit.Event, error)) (result T, saved bool, err error) {
	var save []change
	err = contend(ctx, at.name, func() error {
		stored, err := j.get(ctx, at.partition, at.row)
		if fresh != nil && errors.Is(err, access.ErrNotFound) {
			stored.columns, err = j.store(fresh)
		}
		if err != nil {
			return err
		}
		if result, err = j.load(stored.columns); err != nil {
			return unreadable(at.name, err)
		}
		if save != nil { // the last attempt clashed
			if ours, err := j.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		edited, err := j.load(stored.columns) // shares nothing with result
		if err != nil {
			return err
		}
		events, err := edit(&edited)
		if err != nil || len(events) == 0 {
			return err
		}
		edited = j.keep(edited, result)
		*j.count(&edited) = *j.count(&result) // it numbers the events
		if save, result, err = j.changes(at, stored, edited, events); err != nil {
			return err
		}
		return j.swap(ctx, save...)
	})
	if err != nil {
		var none T
		return none, false, err
	}
	return result, save != nil, nil
}

// changes makes those that save a subject with more events: an insert when stored
// has no ETag. It numbers the events, counts them in the subject, and returns the
// subject as it will be read back.
func (j journal[T]) changes(at place, stored row, subject T, events []audit.Event) ([]change, T, error) {
	var none T
	fail := func(err error) ([]change, T, error) {
		return nil, none, fmt.Errorf("%s cannot be stored: %w", at.name, err)
	}
	if len(events) >= maxChanges {
		return fail(fmt.Errorf("%d events do not fit into one transaction", len(events)))
	}
	first := *j.count(&subject) + 1
	*j.count(&subject) += len(events)
	c, err := j.store(&subject)
	if err != nil {
		return fail(err)
	}
	saved, err := j.load(c)
	if err != nil {
		return fail(err)
	}
	mark := uuid.NewString()
	c[markColumn] = mark
	changes := []change{insertOrReplace(at.partition, at.row, stored, c)}
	for i, e := range events {
		e.Sequence = first + i
		c, err := eventColumns(e)
		if err != nil {
			return fail(err)
		}
		c[markColumn] = mark
		changes = append(changes, insert(at.partition, at.event(e.Sequence), c))
	}
	return changes, saved, nil
}

// markColumn holds a random value for each save. The SDK repeats a write whose
// answer was lost, and the repeat then clashes with the first: the mark tells this
// from a clash with somebody else.
const markColumn = "Save"

// wrote reports whether the rows of a save that clashed are in the table after all.
// The mark is looked for in the second row of the save, an event or a version, which
// nobody changes later, unlike the first.
func (t table) wrote(ctx context.Context, save []change) (bool, error) {
	proof := save[min(1, len(save)-1)]
	found, err := t.get(ctx, proof.pk, proof.rk)
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	return err == nil && found.columns[markColumn] == proof.columns[markColumn], err
}

// events reads the record of a subject in order, from the event behind after, at
// most limit of them (0 = all); one that does not exist has none.
func (t table) events(ctx context.Context, at place, after, limit int) ([]audit.Event, error) {
	first, page := at.events, pageSize
	if after > 0 {
		first = at.event(after + 1)
	}
	if limit > 0 {
		page = min(limit, pageSize)
	}
	var events []audit.Event
	for found, err := range t.rows(ctx, both(is("PartitionKey", at.partition), from("RowKey", first), below("RowKey", past(at.events))), page) {
		if err != nil {
			return nil, err
		}
		e, err := readEvent(found.columns)
		if err != nil {
			return nil, unreadable(fmt.Sprintf("%s of %s", found.rk, at.name), err)
		}
		if events = append(events, e); len(events) == limit {
			break
		}
	}
	return events, nil
}
