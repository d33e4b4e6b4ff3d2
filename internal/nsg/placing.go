package nsg

import (
	"fmt"
	"slices"
	"strings"
)

// planner is what is desired, in the terms of rules. It does not change while
// drafts are made.
type planner struct {
	before   map[string]*Rule // the rules of the group by name, before any pass
	bands    Bands
	opens    []Rule   // without priority, by name
	closed   coverage // of Desired.Closed
	releases []release
	away     map[string][]Rule // by lower-cased name
	reserved map[int]bool      // inbound priorities of rules that are to come back
	refused  []Unplaced        // wants that make no rule in any group
}

func newPlanner(before []*Rule, d Desired, b Bands) *planner {
	p := &planner{before: make(map[string]*Rule, len(before)), bands: b, closed: coverage{}, away: map[string][]Rule{}, reserved: map[int]bool{}}
	for _, r := range before {
		p.before[r.Name] = r
	}
	p.opens, p.refused = grants(d.Open)
	for _, c := range d.Closed {
		p.refused = append(p.refused, p.closed.add(c)...)
	}
	for _, r := range d.Away {
		name := strings.ToLower(r.Name)
		p.away[name] = append(p.away[name], r)
		p.reserved[r.Priority] = true
	}
	for _, r := range d.Released {
		released, faults := newRelease(r)
		p.refused = append(p.refused, faults...)
		p.releases = append(p.releases, released)
		for _, back := range r.Back {
			p.reserved[back.Priority] = true
		}
	}
	sortReleases(p.releases)
	return p
}

// isAway reports whether r is, just as it stands, a rule that must be away.
func (p *planner) isAway(r *Rule) bool {
	if len(p.away) == 0 {
		return false
	}
	return slices.ContainsFunc(p.away[strings.ToLower(r.Name)], r.stands)
}

// ours reports whether a rule is ours to change. ARM keeps the case of names, so
// another casing of the prefix was written by somebody else.
func (r *Rule) ours() bool { return strings.HasPrefix(r.Name, Prefix) }

// denies takes whatever does not allow for denying, as a verdict does.
func (r *Rule) denies() bool { return !r.Access.is(Allow) }

// stands reports whether o is r in all that counts.
func (r *Rule) stands(o Rule) bool { return r.Priority == o.Priority && r.SameMeaning(o) }

// draft is a group on its way to what is desired: the rules that are sure to be
// in it, and what they leave room for.
type draft struct {
	*planner
	ours     map[string]*Rule // as they were
	changed  bool             // a rule was written that did not stand before
	rules    []*Rule
	names    map[string]*Rule // by lower-cased name
	inbound  [MaxPriority + 1]*Rule
	unplaced []Unplaced

	sources, destinations int
}

// draft takes a group one pass further. A release whose rules have no place makes
// it begin again without that release, because its covers then stay closed and
// that takes room as well.
func (p *planner) draft(rules []*Rule) *draft {
	hindered := map[int][]Unplaced{}
	for {
		d := p.begin(rules)
		d.close(p.coverage(hindered))
		if i, why := d.bringBack(hindered); why != nil {
			hindered[i] = why
			continue
		}
		d.open()
		for _, why := range hindered {
			d.unplaced = append(d.unplaced, why...)
		}
		return d
	}
}

// begin takes over what stays whatever else happens. A rule of ours that allows
// has to earn its place again, after those that close.
func (p *planner) begin(rules []*Rule) *draft {
	d := &draft{planner: p, ours: map[string]*Rule{}, rules: make([]*Rule, 0, len(rules)+8), names: make(map[string]*Rule, len(rules)+8)}
	for _, r := range rules {
		switch {
		case r.ours():
			d.ours[r.Name] = r
			if r.denies() {
				d.add(r)
			}
		case !p.isAway(r):
			d.add(r)
		}
	}
	return d
}

func (d *draft) add(r *Rule) {
	d.rules = append(d.rules, r)
	d.names[strings.ToLower(r.Name)] = r
	d.sources += addresses(r.Sources)
	d.destinations += addresses(r.Destinations)
	if slot := r.slot(); slot > 0 {
		d.inbound[slot] = r
	}
}

func (d *draft) remove(r *Rule) {
	d.rules = slices.DeleteFunc(d.rules, func(o *Rule) bool { return o == r })
	delete(d.names, strings.ToLower(r.Name))
	d.sources -= addresses(r.Sources)
	d.destinations -= addresses(r.Destinations)
	if slot := r.slot(); slot > 0 {
		d.inbound[slot] = nil
	}
}

// write adds a rule that the group does not hold yet.
func (d *draft) write(r Rule) {
	d.changed = true
	d.add(&r)
}

// free reports whether a rule of ours may have a priority, which old may hold.
func (d *draft) free(priority int, band Band, old *Rule) bool {
	return band.has(priority) && !d.reserved[priority] && (d.inbound[priority] == nil || d.inbound[priority] == old)
}

// keeps reports whether a rule of ours may stay at the priority of old, the one of
// its name or nil.
func (d *draft) keeps(old *Rule, band Band) bool {
	return old != nil && old.Direction.is(Inbound) && d.free(old.Priority, band, old)
}

// lowest is the lowest free priority, one beyond the band if there is none.
func (d *draft) lowest(band Band, old *Rule) int {
	priority := max(band.First, MinPriority)
	for band.has(priority) && !d.free(priority, band, old) {
		priority++
	}
	return priority
}

// place gives r the place of old, a rule of ours of its name or nil. Priority 0
// asks for the lowest free one. If there is no room, an old rule that denies stays.
func (d *draft) place(r Rule, old *Rule, band Band) {
	stood := old != nil && old.denies()
	if stood {
		d.remove(old)
	}
	if r.Priority == 0 {
		r.Priority = d.lowest(band, nil)
	}
	code, reason := d.room(&r)
	if code == "" && !band.has(r.Priority) {
		code, reason = BandFull, fmt.Sprintf("Every priority from %d to %d is taken or kept for a rule that is to come back; free one or widen the band.", band.First, band.Last)
	}
	switch {
	case code != "":
		d.unplaced = append(d.unplaced, Unplaced{r.Name, code, reason})
		if stood {
			d.add(old)
		}
	case old != nil && old.stands(r):
		d.add(old)
	default:
		d.write(r)
	}
}

// room says why r cannot be added, or nothing.
func (d *draft) room(r *Rule) (UnplacedCode, string) {
	other := d.names[strings.ToLower(r.Name)]
	switch {
	case other != nil:
		return NameTaken, fmt.Sprintf("The name belongs to the rule %s at priority %d; rename or remove that one.", other.Name, other.Priority)
	case len(d.rules) >= MaxRules:
		return RuleLimit, fmt.Sprintf("The group holds %d rules, Azure allows no more; remove some that are not needed.", len(d.rules))
	case d.sources+addresses(r.Sources) > MaxAddresses:
		return AddressLimit, fmt.Sprintf("The rules of the group hold %d source addresses and ranges, Azure allows %d.", d.sources, MaxAddresses)
	case d.destinations+addresses(r.Destinations) > MaxAddresses:
		return AddressLimit, fmt.Sprintf("The rules of the group hold %d destination addresses and ranges, Azure allows %d.", d.destinations, MaxAddresses)
	}
	return "", ""
}

// addresses counts what Azure's limit counts: tags and "*" are no addresses.
func addresses(list []string) int {
	n := 0
	for _, text := range list {
		if looksLikeAddress(text) {
			n++
		}
	}
	return n
}

// open places the grants. Those whose rules may stay where they are go first, the
// untouched before the rewritten. Then the others get the lowest free priorities,
// in order of their names.
func (d *draft) open() {
	var rewritten, moved []Rule
	for _, r := range d.opens {
		old := d.ours[r.Name]
		if !d.keeps(old, d.bands.Allow) {
			moved = append(moved, r)
			continue
		}
		r.Priority = old.Priority
		if !old.SameMeaning(r) {
			rewritten = append(rewritten, r)
			continue
		}
		d.place(r, old, d.bands.Allow)
	}
	for _, r := range slices.Concat(rewritten, moved) {
		d.place(r, d.ours[r.Name], d.bands.Allow)
	}
}
