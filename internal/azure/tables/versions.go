package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"jitgate/internal/access"
)

// shelf is where the versions of one document are: the one in force in a row of its
// own, and each of them for good under its number. Both rows are written in one
// transaction, so no decision names a version that is not kept.
type shelf struct {
	name      string // of the document, for errors
	partition string
	current   string // key of the row in force
	versions  string // what the keys of its versions begin with, and no other keys do
	proposal  string // key of the change that waits for a second administrator
}

func (at shelf) version(n int) string { return fmt.Sprintf("%s%06d", at.versions, n) }

// carriedOut is the change that forgets the proposal a signature is about; none if it is
// about none. ErrNotFound when that proposal does not wait any more.
func (t table) carriedOut(ctx context.Context, at shelf, sign access.Signature) ([]change, error) {
	if sign.Proposal == "" {
		return nil, nil
	}
	stored, err := t.get(ctx, at.partition, at.proposal)
	if err == nil && !isProposal(stored, sign.Proposal, sign.By) {
		err = fmt.Errorf("proposal %.64q for %s: %w", sign.Proposal, at.name, access.ErrNotFound)
	}
	return []change{remove(stored)}, err
}

// putVersion puts what write makes for a version in force, as the next one, and
// returns the row in force; the one that is, if it is known to say the same already.
// Two processes cannot give the same number: the rows of versions are only ever
// inserted.
func (t table) putVersion(ctx context.Context, at shelf, sign access.Signature, known func(columns) bool, write func(version int) (columns, error)) (columns, error) {
	var result columns
	var save []change
	err := contend(ctx, at.name, func() error {
		if save != nil { // the last attempt clashed
			if ours, err := t.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		stored, last, err := t.inForce(ctx, at)
		if err != nil {
			return err
		}
		if stored.etag != "" && sign.Proposal == "" && known(stored.columns) {
			result = stored.columns
			return nil
		}
		forget, err := t.carriedOut(ctx, at, sign)
		if err != nil {
			return err
		}
		if result, err = write(last + 1); err != nil {
			return fmt.Errorf("%s cannot be stored: %w", at.name, err)
		}
		result[markColumn] = uuid.NewString()
		save = append([]change{insertOrReplace(at.partition, at.current, stored, result), insert(at.partition, at.version(last+1), result)}, forget...)
		return t.swap(ctx, save...)
	})
	return result, err
}

// inForce reads the row in force, the zero row if there is none, and the number of
// the newest version. Only when nothing is in force are the versions read for it: then
// the newest took the document out of force, or there is none.
func (t table) inForce(ctx context.Context, at shelf) (row, int, error) {
	stored, err := t.get(ctx, at.partition, at.current)
	if err == nil {
		version, err := stored.columns.number("Version")
		if err != nil {
			return row{}, 0, unreadable(at.name, err)
		}
		return stored, int(version), nil
	}
	if !errors.Is(err, access.ErrNotFound) {
		return row{}, 0, err
	}
	last := 0
	for found, err := range t.rows(ctx, starting(at.partition, at.versions), pageSize) {
		if err != nil {
			return row{}, 0, err
		}
		if last, err = strconv.Atoi(strings.TrimPrefix(found.rk, at.versions)); err != nil {
			return row{}, 0, unreadable(at.name, err)
		}
	}
	return row{}, last, nil
}

// endVersion takes a document out of force: that is a version too, which holds the
// text of the one that was. ErrNotFound when nothing is in force.
func (t table) endVersion(ctx context.Context, at shelf, sign access.Signature) error {
	var save []change
	return contend(ctx, at.name, func() error {
		if save != nil { // the last attempt clashed
			if ours, err := t.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		forget, err := t.carriedOut(ctx, at, sign)
		if err != nil {
			return err
		}
		stored, err := t.get(ctx, at.partition, at.current)
		if errors.Is(err, access.ErrNotFound) && len(forget) > 0 { // out of force already
			return t.swap(ctx, forget...)
		}
		if err != nil {
			return err
		}
		version, err := stored.columns.number("Version")
		if err != nil {
			return unreadable(at.name, err)
		}
		c := maps.Clone(stored.columns)
		c.setNumber("Version", version+1)
		c.setSignature(sign)
		c["Removed"], c[markColumn] = true, uuid.NewString()
		save = append([]change{remove(stored), insert(at.partition, at.version(int(version)+1), c)}, forget...)
		return t.swap(ctx, save...)
	})
}
