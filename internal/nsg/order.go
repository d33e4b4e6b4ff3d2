package nsg

import (
	"cmp"
	"slices"
)

// writes gives the changes that turn one group into another, in an order in which
// no two rules ever hold the same priority. Rules that were not changed are the
// same pointers in both.
func writes(before, after []*Rule) (deletes []string, puts []Rule) {
	stays := make(map[string]*Rule, len(after))
	for _, r := range after {
		stays[r.Name] = r
	}
	replaced := map[string]*Rule{} // what stands where a rule is to be put
	var held [MaxPriority + 1]*Rule
	for _, r := range before {
		switch stays[r.Name] {
		case nil:
			deletes = append(deletes, r.Name)
			continue
		case r:
			delete(stays, r.Name)
		default:
			replaced[r.Name] = r
		}
		if slot := r.slot(); slot > 0 {
			held[slot] = r
		}
	}
	pending := make([]*Rule, 0, len(stays))
	for _, r := range stays {
		pending = append(pending, r)
	}
	slices.SortFunc(pending, func(a, b *Rule) int {
		return cmp.Or(cmp.Compare(a.turn(), b.turn()), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name))
	})
	for len(pending) > 0 {
		var waiting []*Rule
		for _, r := range pending {
			old := replaced[r.Name]
			if slot := r.slot(); slot > 0 && held[slot] != nil && held[slot] != old {
				waiting = append(waiting, r)
				continue
			}
			if old != nil && old.slot() > 0 {
				held[old.slot()] = nil
			}
			held[r.slot()] = r
			puts = append(puts, *r)
		}
		if len(waiting) == len(pending) {
			// They wait for each other. A grant gives way, the last in turn: to be
			// without its rule for a moment opens nothing.
			i := len(waiting) - 1
			for i > 0 && replaced[waiting[i].Name] == nil {
				i--
			}
			old := replaced[waiting[i].Name]
			if old == nil {
				// Two rules of g share a priority, which ARM rules out.
				for _, r := range waiting {
					puts = append(puts, *r)
				}
				break
			}
			deletes = append(deletes, old.Name)
			held[old.slot()] = nil
			delete(replaced, old.Name)
		}
		pending = waiting
	}
	slices.Sort(deletes)
	return deletes, puts
}

// turn lets rules that close be written first and grants last, so that a plan cut
// short has rather closed too much.
func (r *Rule) turn() int {
	switch {
	case r.denies():
		return 0
	case !r.ours():
		return 1
	}
	return 2
}

// slot is the inbound priority that a rule holds, 0 if it is none.
func (r *Rule) slot() int {
	if !r.Direction.is(Inbound) || r.Priority < 0 || r.Priority > MaxPriority {
		return 0
	}
	return r.Priority
}
