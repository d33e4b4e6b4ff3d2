package tables

import (
	"context"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Settle implements [access.Store]. It may run while others put grants and guards,
// and while a pass that lost its session settles late.
//
// Grants put since the book was read are not named in the settlement and so are
// not touched, and a guard is named with the revision that the book showed. The
// transaction that put them has raised Generation above the Enforced recorded
// here; the numbers differ, and until the pass that brings them together again
// nobody looks at NextDue, which knows nothing of the new grants.
//
// Of two passes that overlap the late one may have read the older book. Its
// Enforced is smaller than what is recorded, and then its NextDue is dropped as
// well: stored, it could hide the expiry of a grant that only the newer book had,
// and access would stay open for good. With equal numbers both passes saw the same
// grants, less those that were closed, so either NextDue is early enough.
//
// An Enforced of 0 leaves NextDue alone for the same reason: a rule that Azure
// refuses to remove is not counted in the new NextDue, and only the old one, which
// lies in the past, keeps the sweep coming back to it.
//
// A grant that was extended since the book was read is named by its key like any
// other, but what was confirmed of it is its earlier end. Taken for its present one,
// it would not be confirmed again and the rule would go on bearing the wrong time; so
// nothing of it is settled, and the pass that its generation calls for does it. An
// Enforced of 0 does not say which book was read, and then this holds for every grant
// that ever was extended: it is confirmed again once the NSG matches.
//
// More changes than one transaction takes are spread over several, with the head
// in the last: dying in between leaves the NSG unsettled, and settling again skips
// what is done.
func (s *Store) Settle(ctx context.Context, id armid.ID, settled access.Settlement) error {
	return contend(ctx, "what was done to "+id.Name(), func() error {
		changes, err := s.settleGrants(ctx, id, settled)
		if err != nil {
			return err
		}
		guards, err := s.settleGuards(ctx, id, settled)
		if err != nil {
			return err
		}
		changes = append(changes, guards...)
		// Read late, because the head is what others change all the time. The rows above
		// are guarded by their own ETags.
		stored, h, err := s.head(ctx, id)
		if err != nil {
			return err
		}
		if settled.Enforced > 0 && settled.Enforced >= h.Enforced {
			c := columns{}
			c.setNumber("Enforced", settled.Enforced)
			c.setTime("NextDue", settled.NextDue)
			changes = append(changes, merge(stored, c))
		}
		for len(changes) > 0 {
			n := min(len(changes), maxChanges)
			if err := s.grants.swap(ctx, changes[:n]...); err != nil {
				return err
			}
			changes = changes[n:]
		}
		return nil
	})
}

// settleGrants makes the changes of the grants that are still there: one that is
// gone would fail the whole transaction.
func (s *Store) settleGrants(ctx context.Context, id armid.ID, settled access.Settlement) ([]change, error) {
	if len(settled.Opened)+len(settled.Closed) == 0 {
		return nil, nil
	}
	opened, closed := setOf(settled.Opened), setOf(settled.Closed)
	records, err := s.grantRecords(ctx, starting(id.Key(), grantPrefix))
	if err != nil {
		return nil, err
	}
	var changes []change
	for _, r := range records {
		if r.extended > settled.Enforced {
			continue
		}
		switch key := r.grant.Key(); {
		case closed[key]:
			changes = append(changes, remove(r.row))
		case opened[key] && !r.grant.Opened:
			changes = append(changes, merge(r.row, columns{"Opened": true}))
		}
	}
	return changes, nil
}

func setOf(keys []string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, k := range keys {
		set[k] = true
	}
	return set
}
