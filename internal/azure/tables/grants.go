package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Reading a whole table relies on the head being the last row of its NSG: keys are
// sorted by character, and "grant-…" and "guard-…" come before "nsg".
const (
	headRow     = "nsg"
	grantPrefix = "grant-"
)

// extendedColumn holds the generation in which a grant was given a later end.
const extendedColumn = "Extended"

func grantRow(key string) string { return grantPrefix + key }

// grantRecord is a grant with the row it was read from.
type grantRecord struct {
	row      row
	grant    access.Grant
	extended int64 // the generation that gave it a later end; 0 = none did
}

// Head implements [access.Store].
func (s *Store) Head(ctx context.Context, id armid.ID) (access.Head, error) {
	_, h, err := s.head(ctx, id)
	return h, err
}

func (s *Store) head(ctx context.Context, id armid.ID) (row, access.Head, error) {
	stored, err := s.grants.get(ctx, id.Key(), headRow)
	if err != nil {
		return row{}, access.Head{}, err
	}
	h, err := readHead(stored.columns)
	if err != nil {
		return row{}, access.Head{}, unreadable("the head of "+id.String(), err)
	}
	return stored, h, nil
}

// bump is the change that raises the generation of a head, or inserts the head
// when stored is the zero row.
func (s *Store) bump(id armid.ID, stored row, h access.Head) (change, int64) {
	h.Generation++
	h.ChangedAt = s.now()
	if stored.etag == "" {
		h.NSG = id
		return insert(id.Key(), headRow, headColumns(h)), h.Generation
	}
	c := columns{}
	c.setNumber("Generation", h.Generation)
	c.setTime("ChangedAt", h.ChangedAt)
	return merge(stored, c), h.Generation
}

// raise bumps the generation of an NSG in one transaction with the changes that
// more asks for, and returns the new one. more is called with the generation before,
// and again after a clash: whoever changes a row that it reads changes the head
// too, or the row itself, and the transaction fails. Generation 0 is that of an NSG
// without a head, which has no other rows either.
//
// After a lost answer the generation may have been bumped twice: numbers can be
// left out, but none is given twice.
func (s *Store) raise(ctx context.Context, id armid.ID, what string, more func(before int64) ([]change, error)) (int64, error) {
	var generation int64
	err := contend(ctx, what, func() error {
		stored, h, err := s.head(ctx, id)
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		changes, err := more(h.Generation)
		if err != nil {
			return err
		}
		var head change
		head, generation = s.bump(id, stored, h)
		return s.grants.swap(ctx, append([]change{head}, changes...)...)
	})
	if err != nil {
		return 0, err
	}
	return generation, nil
}

// Touch implements [access.Store].
func (s *Store) Touch(ctx context.Context, id armid.ID) (int64, error) {
	return s.raise(ctx, id, "the head of "+id.Name(), func(int64) ([]change, error) { return nil, nil })
}

// PutGrants implements [access.Store]. A grant that gets a later end remembers in
// which generation, so that a pass which has seen only the earlier end settles
// nothing of it. One that is closing is never given another end.
func (s *Store) PutGrants(ctx context.Context, id armid.ID, grants []access.Grant) (int64, []access.Grant, error) {
	var result []access.Grant
	generation, err := s.raise(ctx, id, "the grants of "+id.Name(), func(before int64) ([]change, error) {
		var known map[string]grantRecord
		var err error
		if before > 0 && len(grants) > 0 {
			if known, err = s.grantsAmong(ctx, id, grants); err != nil {
				return nil, err
			}
		}
		var changes []change
		result = make([]access.Grant, len(grants))
		for i, g := range grants {
			old, exists := known[g.Key()]
			switch {
			case !exists:
				c, err := grantColumns(g)
				if err != nil {
					return nil, fmt.Errorf("grant %s cannot be stored: %w", g.Key(), err)
				}
				changes = append(changes, insert(id.Key(), grantRow(g.Key()), c))
				if result[i], err = readGrant(c); err != nil {
					return nil, fmt.Errorf("grant %s cannot be stored: %w", g.Key(), err)
				}
				continue
			case g.Closing && !old.grant.Closing:
				old.grant.Closing = true
				changes = append(changes, merge(old.row, columns{"Closing": true}))
			case !old.grant.Closing && g.ExpiresAt.After(old.grant.ExpiresAt):
				old.grant.ExpiresAt, old.grant.Opened, old.grant.WakeUp = g.ExpiresAt.UTC(), false, 0
				c, err := grantColumns(old.grant)
				if err != nil {
					return nil, fmt.Errorf("grant %s cannot be stored: %w", g.Key(), err)
				}
				c.setNumber(extendedColumn, before+1)
				changes = append(changes, replace(old.row, c))
			}
			result[i] = old.grant
		}
		return changes, nil
	})
	if err != nil {
		return 0, nil, err
	}
	return generation, result, nil
}

// grantsAmong reads which of the given grants exist, by key. Grants of one request
// are neighbours, so the range between the first and the last key holds little else.
func (s *Store) grantsAmong(ctx context.Context, id armid.ID, grants []access.Grant) (map[string]grantRecord, error) {
	keys := make([]string, len(grants))
	for i, g := range grants {
		keys[i] = grantRow(g.Key())
	}
	records, err := s.grantRecords(ctx, spanning(id.Key(), slices.Min(keys), slices.Max(keys)))
	known := make(map[string]grantRecord, len(records))
	for _, r := range records {
		known[r.grant.Key()] = r
	}
	return known, err
}

func (s *Store) grantRecords(ctx context.Context, filter string) ([]grantRecord, error) {
	var out []grantRecord
	for found, err := range s.grants.rows(ctx, filter, pageSize) {
		if err != nil {
			return nil, err
		}
		r := grantRecord{row: found}
		r.grant, err = readGrant(found.columns)
		if _, ever := found.columns[extendedColumn]; ever && err == nil {
			r.extended, err = found.columns.number(extendedColumn)
		}
		if err != nil {
			return nil, unreadableRow(found, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func unreadableRow(found row, err error) error {
	return unreadable(fmt.Sprintf("row %s of NSG %s", found.rk, found.pk), err)
}

// SetWakeUp implements [access.Store]. It leaves the head alone: nothing about the
// NSG is changed by it.
func (s *Store) SetWakeUp(ctx context.Context, id armid.ID, request string, sequence int64) error {
	filter := both(starting(id.Key(), grantPrefix), is("Request", request))
	return contend(ctx, "the wake-up of request "+request, func() error {
		records, err := s.grantRecords(ctx, filter)
		if err != nil {
			return err
		}
		var changes []change
		for _, r := range records {
			if r.grant.WakeUp != sequence {
				c := columns{}
				c.setNumber("WakeUp", sequence)
				changes = append(changes, merge(r.row, c))
			}
		}
		for chunk := range slices.Chunk(changes, maxChanges) {
			if err := s.grants.swap(ctx, chunk...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Book implements [access.Store]. The head is read before the grants and guards.
// The other way round, or in one query (where it sorts last), one put in between
// could be missing while the head shows its generation already; the pass would
// settle that generation, and nobody would carry out what was put. This way it can
// only be there before its generation, and the next pass finds nothing to do.
func (s *Store) Book(ctx context.Context, id armid.ID) (access.Book, error) {
	_, h, err := s.head(ctx, id)
	if err != nil {
		return access.Book{}, err
	}
	book := access.Book{Head: h}
	for found, err := range s.grants.rows(ctx, both(is("PartitionKey", id.Key()), below("RowKey", headRow)), pageSize) {
		if err == nil {
			err = enter(&book, found)
		}
		if err != nil {
			return access.Book{}, err
		}
	}
	return book, nil
}

// enter adds a row to the book that it belongs to.
func enter(b *access.Book, found row) (err error) {
	switch {
	case found.rk == headRow:
		b.Head, err = readHead(found.columns)
	case strings.HasPrefix(found.rk, guardPrefix):
		var g access.Guard
		g, err = readGuard(found.columns)
		b.Guards = append(b.Guards, g)
	default:
		var g access.Grant
		g, err = readGrant(found.columns)
		b.Grants = append(b.Grants, g)
	}
	if err != nil {
		return unreadableRow(found, err)
	}
	return nil
}

// Books implements [access.Store]. It reads the table in one go, so a grant or
// guard put meanwhile may be missing from its book: good for finding what is
// forgotten, not for settling.
func (s *Store) Books(ctx context.Context, f func(access.Book) error) error {
	var book access.Book
	partition := ""
	for found, err := range s.grants.rows(ctx, "", pageSize) {
		if err != nil {
			return err
		}
		if found.pk != partition {
			partition, book = found.pk, access.Book{}
		}
		if err := enter(&book, found); err != nil {
			return err
		}
		if found.rk != headRow {
			continue
		}
		if err := f(book); err != nil {
			return err
		}
	}
	return nil
}
