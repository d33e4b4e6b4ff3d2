package tables

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"iter"
	"strings"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
)

const (
	usualLimit = 50
	mostLimit  = 200
	readers    = 16   // requests read at a time
	maxLooked  = 1000 // index rows one call looks at before it returns what it has
)

// List implements [access.Store]. It walks the shortest part of the index that
// holds all matches and checks the rest of the query on the requests themselves. A
// page with a cursor can therefore be short, even empty, when matches are rare.
func (s *Store) List(ctx context.Context, q access.Query) (access.Page, error) {
	prefix, err := indexFor(q)
	if err != nil {
		return access.Page{}, nil // whoever cannot be stored has asked for nothing
	}
	last, err := readCursor(prefix, q.Cursor)
	if err != nil {
		return access.Page{}, err
	}
	limit := usualLimit
	if q.Limit > 0 {
		limit = min(q.Limit, mostLimit)
	}

	keys, stop := s.indexKeys(ctx, prefix, last, max(limit+1, 100))
	defer stop()
	var page access.Page
	for looked := 0; ; {
		// Read ahead no further than the page can need, unless it has shown that many
		// rows do not match.
		ahead := limit - len(page.Requests)
		if looked > 0 {
			ahead = max(ahead, readers)
		}
		batch, err := keys(min(ahead, maxLooked-looked))
		if err != nil {
			return access.Page{}, err
		}
		if len(batch) == 0 {
			return page, nil
		}
		found, err := s.readAll(ctx, batch)
		if err != nil {
			return access.Page{}, err
		}
		for i, r := range found {
			last = batch[i]
			looked++
			if r != nil && prefix == openPrefix && r.Finished() {
				s.dropIndex(ctx, prefix+last)
			}
			if r != nil && indexSuffix(r) == last && q.Matches(r) {
				page.Requests = append(page.Requests, *r)
			}
			if len(page.Requests) < limit && looked < maxLooked {
				continue
			}
			more := i+1 < len(found)
			if !more {
				next, err := keys(1)
				if err != nil {
					return access.Page{}, err
				}
				more = len(next) > 0
			}
			if more {
				page.Next = makeCursor(prefix, last)
			}
			return page, nil
		}
	}
}

// indexFor chooses the part of the index to walk. What is not finished is few,
// however long the history.
func indexFor(q access.Query) (string, error) {
	switch {
	case q.Unfinished || q.ReviewDue || q.State != "" && !q.State.Ended():
		return openPrefix, nil
	case !q.VM.IsZero():
		return vmPrefix(q.VM), nil
	case q.Requester.Tenant != "" || q.Requester.Object != "":
		return requesterPrefix(q.Requester)
	}
	return allPrefix, nil
}

// indexKeys returns a function that takes the next keys of an index, without their
// prefix; fewer than asked for at its end.
func (s *Store) indexKeys(ctx context.Context, prefix, last string, pageSize int) (keys func(n int) ([]string, error), stop func()) {
	filter := starting(indexPartition, prefix)
	if last != "" {
		filter = both(is("PartitionKey", indexPartition), after("RowKey", prefix+last), below("RowKey", past(prefix)))
	}
	next, stop := iter.Pull2(s.lookups.rows(ctx, filter, pageSize))
	return func(n int) ([]string, error) {
		var out []string
		for len(out) < n {
			found, err, ok := next()
			if !ok || err != nil {
				return out, err
			}
			out = append(out, strings.TrimPrefix(found.rk, prefix))
		}
		return out, nil
	}, stop
}

// readAll reads the requests behind index keys; nil for those that do not exist.
func (s *Store) readAll(ctx context.Context, keys []string) ([]*access.Request, error) {
	out := make([]*access.Request, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, key := range keys {
		group.Go(func() error {
			r, err := s.Request(ctx, idOf(key))
			if errors.Is(err, access.ErrNotFound) {
				return nil
			}
			out[i] = &r
			return err
		})
	}
	return out, group.Wait()
}

// A cursor is the last key that was looked at, behind a hash of the index it
// belongs to: taken to another index it would silently skip what lies before it
// there.
const cursorSum = 8

func makeCursor(prefix, last string) string {
	sum := sha256.Sum256([]byte(prefix))
	return base64.RawURLEncoding.EncodeToString(append(sum[:cursorSum], last...))
}

func readCursor(prefix, cursor string) (last string, err error) {
	if cursor == "" {
		return "", nil
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	sum := sha256.Sum256([]byte(prefix))
	last, ours := strings.CutPrefix(string(data), string(sum[:cursorSum]))
	// The decoder skips line breaks, so that one cursor could be written in many ways.
	if err != nil || !ours || !suffixForm.MatchString(last) || makeCursor(prefix, last) != cursor {
		return "", access.Refusals{{Code: access.CursorInvalid, Field: "cursor",
			Sentence: "The cursor does not belong to this list; start again without one."}}
	}
	return last, nil
}
