package nsg

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// release is a Release in the terms of deny rules.
type release struct {
	covers coverage
	back   []Rule // by priority and name
	order  string // tells releases apart, whatever order they were given in
}

func newRelease(r Release) (release, []Unplaced) {
	released := release{covers: coverage{}, back: slices.Clone(r.Back)}
	var refused []Unplaced
	for _, c := range r.Covers {
		refused = append(refused, released.covers.add(c)...)
	}
	text := func(r Rule) string { return fmt.Sprintf("%#v", r) }
	slices.SortFunc(released.back, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Name, b.Name), cmp.Compare(text(a), text(b)))
	})
	var order strings.Builder
	for _, r := range released.back {
		fmt.Fprintf(&order, "%05d %s ", r.Priority, text(r))
	}
	closes := make([]string, 0, len(released.covers))
	for key, addresses := range released.covers {
		closes = append(closes, fmt.Sprint(key, destinations(nil, key.v6, addresses, nil)))
	}
	slices.Sort(closes)
	fmt.Fprint(&order, closes)
	released.order = order.String()
	return released, refused
}

func sortReleases(releases []release) {
	slices.SortFunc(releases, func(a, b release) int { return cmp.Compare(a.order, b.order) })
}

// coverage divides what is covered: wanted by Closed or by a release that cannot
// happen, and freed by the others. What is both stays closed, since a rule leaves
// out only what is freed and puts in all that is wanted.
func (p *planner) coverage(hindered map[int][]Unplaced) (wanted, freed coverage) {
	wanted, freed = p.closed, coverage{}
	if len(hindered) > 0 {
		wanted = coverage{}
		wanted.join(p.closed)
	}
	for i, r := range p.releases {
		if hindered[i] != nil {
			wanted.join(r.covers)
		} else {
			freed.join(r.covers)
		}
	}
	return wanted, freed
}

// bringBack puts back the rules of all releases that are not hindered yet. It stops
// at the first one with a rule that has no place, and says why.
func (d *draft) bringBack(hindered map[int][]Unplaced) (int, []Unplaced) {
	for i, released := range d.releases {
		if hindered[i] != nil {
			continue
		}
		var why []Unplaced
		for _, r := range released.back {
			if code, reason := d.putBack(r); code != "" {
				why = append(why, Unplaced{r.Name, code, reason})
			}
		}
		if why != nil {
			return i, why
		}
	}
	return 0, nil
}

// putBack adds a rule of others as it was recorded, unless it is there, or must be
// away because another machine still counts on that. In both cases the release has
// nothing more to do for it.
func (d *draft) putBack(r Rule) (UnplacedCode, string) {
	if d.isAway(&r) {
		return "", ""
	}
	if there := d.names[strings.ToLower(r.Name)]; there != nil && there.stands(r) {
		return "", ""
	}
	if r.ours() || !r.Direction.is(Inbound) || r.Priority < MinPriority || r.Priority > MaxPriority {
		return InvalidWant, "It is no inbound rule of others; only such rules are ever taken away, so the record is damaged."
	}
	if code, reason := d.room(&r); code != "" {
		return code, reason
	}
	if holder := d.inbound[r.Priority]; holder != nil {
		return PriorityHeld, fmt.Sprintf("Its priority %d is held by the rule %s; move or remove that one.", r.Priority, holder.Name)
	}
	d.write(r)
	return "", ""
}
