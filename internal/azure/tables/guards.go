package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

const guardPrefix = "guard-"

func guardRow(key string) string { return guardPrefix + key }

// PutGuard implements [access.Store]. Settling may delete the row of a guard
// meanwhile, or mark it; both change its ETag, and the guard is looked at anew.
func (s *Store) PutGuard(ctx context.Context, id armid.ID, g access.Guard) (int64, error) {
	key := guardRow(g.Key())
	c, err := guardColumns(g)
	if err != nil {
		return 0, fmt.Errorf("the guard of %s in %s cannot be stored: %w", g.VM, id, err)
	}
	return s.raise(ctx, id, "the guard of "+g.VM.Name()+" in "+id.Name(), func(before int64) ([]change, error) {
		if before == 0 {
			return []change{insert(id.Key(), key, c)}, nil
		}
		stored, err := s.grants.get(ctx, id.Key(), key)
		if errors.Is(err, access.ErrNotFound) {
			return []change{insert(id.Key(), key, c)}, nil
		}
		if err != nil {
			return nil, err
		}
		revision, err := stored.columns.number("Revision")
		if err != nil {
			return nil, unreadableRow(stored, err)
		}
		if int64(g.Revision) <= revision {
			return nil, nil
		}
		return []change{replace(stored, c)}, nil
	})
}

// settleGuards makes the changes of the guards that are still there and have the
// revision that was carried out. One of another revision says something else than
// what was done. Each guard is changed once, because a transaction may name a row
// only once, and to the same end however often it is settled. A guard that is named
// as confirmed and as hindered counts as hindered: that has it looked at again.
func (s *Store) settleGuards(ctx context.Context, id armid.ID, settled access.Settlement) ([]change, error) {
	var keys []string
	for _, named := range []map[string]int{settled.Guarded, settled.Hindered, settled.LetGo, settled.Released} {
		keys = slices.AppendSeq(keys, maps.Keys(named))
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var changes []change
	for found, err := range s.grants.rows(ctx, spanning(id.Key(), guardRow(slices.Min(keys)), guardRow(slices.Max(keys))), pageSize) {
		if err != nil {
			return nil, err
		}
		g, err := readGuard(found.columns)
		if err != nil {
			return nil, unreadableRow(found, err)
		}
		matches := func(confirmed map[string]int) bool {
			revision, named := confirmed[g.Key()]
			return named && revision == g.Revision
		}
		if matches(settled.Released) {
			changes = append(changes, remove(found))
			continue
		}
		c := columns{}
		if done := (g.Done || matches(settled.Guarded)) && !matches(settled.Hindered); done != g.Done {
			c["Done"] = done
		}
		if matches(settled.LetGo) && (len(g.Former) > 0 || g.FlushSet && !g.Flush) {
			c["LetGo"] = true
		}
		if len(c) > 0 {
			changes = append(changes, merge(found, c))
		}
	}
	return changes, nil
}
