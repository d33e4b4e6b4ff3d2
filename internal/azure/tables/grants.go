package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

const (
	headRow     = "nsg"
	grantPrefix = "grant-"
)

func grantRow(key string) string { return grantPrefix + key }

// grantRecord is a grant with the row it was read from.
type grantRecord struct {
	row   row
	grant access.Grant
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
		return row{}, access.Head{}, fmt.Errorf("the head of %s as stored cannot be read: %w", id, err)
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

// Touch implements [access.Store].
func (s *Store) Touch(ctx context.Context, id armid.ID) (int64, error) {
	generation, _, err := s.PutGrants(ctx, id, nil)
	return generation, err
}

// PutGrants implements [access.Store]. After a lost answer the generation may have
// been bumped twice: numbers can be left out, but none is given twice.
func (s *Store) PutGrants(ctx context.Context, id armid.ID, grants []access.Grant) (int64, []access.Grant, error) {
	var generation int64
	var result []access.Grant
	err := contend(ctx, "the grants of "+id.Name(), func() error {
		// The head before the grants: whoever changes a grant in between changes the head,
		// or the row itself, and the transaction fails.
		stored, h, err := s.head(ctx, id)
		var known map[string]grantRecord
		switch {
		case errors.Is(err, access.ErrNotFound): // then there are no grants either
		case err != nil:
			return err
		case len(grants) > 0:
			if known, err = s.grantsAmong(ctx, id, grants); err != nil {
				return err
			}
		}
		var headChange change
		headChange, generation = s.bump(id, stored, h)
		changes := []change{headChange}
		result = make([]access.Grant, len(grants))
		for i, g := range grants {
			old, exists := known[g.Key()]
			switch {
			case !exists:
				c, err := grantColumns(g)
				if err != nil {
					return fmt.Errorf("grant %s cannot be stored: %w", g.Key(), err)
				}
				changes = append(changes, insert(id.Key(), grantRow(g.Key()), c))
				if result[i], err = readGrant(c); err != nil {
					return fmt.Errorf("grant %s cannot be stored: %w", g.Key(), err)
				}
				continue
			case g.Closing && !old.grant.Closing:
				old.grant.Closing = true
				changes = append(changes, merge(old.row, columns{"Closing": true}))
			}
			result[i] = old.grant
		}
		return s.grants.swap(ctx, changes...)
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
	filter := both(is("PartitionKey", id.Key()), from("RowKey", slices.Min(keys)), upTo("RowKey", slices.Max(keys)))
	records, err := s.grantRecords(ctx, filter)
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
		g, err := readGrant(found.columns)
		if err != nil {
			return nil, fmt.Errorf("row %s of NSG %s as stored cannot be read: %w", found.rk, found.pk, err)
		}
		out = append(out, grantRecord{found, g})
	}
	return out, nil
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

// Book implements [access.Store]. The head is read before the grants. The other
// way round, or in one query (where the key "grant-…" sorts before "nsg"), a grant
// put in between could be missing while the head shows its generation already; the
// pass would settle that generation, and nobody would open the grant. This way it
// can only be there before its generation, and the next pass finds nothing to do.
func (s *Store) Book(ctx context.Context, id armid.ID) (access.Book, error) {
	_, h, err := s.head(ctx, id)
	if err != nil {
		return access.Book{}, err
	}
	records, err := s.grantRecords(ctx, starting(id.Key(), grantPrefix))
	if err != nil {
		return access.Book{}, err
	}
	book := access.Book{Head: h}
	for _, r := range records {
		book.Grants = append(book.Grants, r.grant)
	}
	return book, nil
}

// Books implements [access.Store]. It reads the table in one go, so a grant put
// meanwhile may be missing from its book: good for finding what is forgotten, not
// for settling.
func (s *Store) Books(ctx context.Context, f func(access.Book) error) error {
	var grants []access.Grant
	partition := ""
	for found, err := range s.grants.rows(ctx, "", pageSize) {
		if err != nil {
			return err
		}
		if found.pk != partition {
			partition, grants = found.pk, nil
		}
		if found.rk != headRow { // grants come first, the head last
			g, err := readGrant(found.columns)
			if err != nil {
				return fmt.Errorf("row %s of NSG %s as stored cannot be read: %w", found.rk, found.pk, err)
			}
			grants = append(grants, g)
			continue
		}
		h, err := readHead(found.columns)
		if err != nil {
			return fmt.Errorf("the head of NSG %s as stored cannot be read: %w", found.pk, err)
		}
		if err := f(access.Book{Head: h, Grants: grants}); err != nil {
			return err
		}
	}
	return nil
}
