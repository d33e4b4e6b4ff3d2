package nsg

import (
	"cmp"
	"slices"
)

// Band is the range of priorities that our allow rules may take, both ends
// included, within MinPriority and MaxPriority.
type Band struct{ First, Last int }

// DefaultBand lies above the deny rules, which start at 1000.
var DefaultBand = Band{First: 100, Last: 999}

// Bands are the priorities that our rules may take.
type Bands struct{ Allow, Deny Band }

// DefaultBands has room for 900 grants, all of them before the deny rules.
var DefaultBands = Bands{Allow: DefaultBand, Deny: Band{First: 1000, Last: MaxPriority}}

func (b Band) has(priority int) bool {
	return max(b.First, MinPriority) <= priority && priority <= min(b.Last, MaxPriority)
}

// Plan is what must be written: first the deletes, then the puts, each in the
// order given, so that on the way no two rules of one direction ever hold the
// same priority. Where rules wait for each other's places, the rule of a grant is in
// both lists: it is deleted, and written again where it belongs.
type Plan struct {
	Put      []Rule
	Delete   []string
	Flush    *bool // what FlushConnection is set to, by a write of the whole group; nil leaves it
	Unplaced []Unplaced
}

// Unplaced is a rule that is wanted and does not stand as wanted: one of ours
// that has no place, or one that was to come back.
type Unplaced struct {
	Name   string
	Code   UnplacedCode
	Reason string // a sentence for people
}

// UnplacedCode tells programs why a want stays without a rule.
type UnplacedCode string

const (
	BandFull     UnplacedCode = "band_full"     // every priority of the band is taken
	RuleLimit    UnplacedCode = "rule_limit"    // the group holds MaxRules rules
	AddressLimit UnplacedCode = "address_limit" // the group holds MaxAddresses sources or destinations
	NameTaken    UnplacedCode = "name_taken"    // another rule bears the name, or bears it in another case
	PriorityHeld UnplacedCode = "priority_held" // a rule that is to come back finds its priority taken
	InvalidWant  UnplacedCode = "invalid_want"  // the want makes no rule, or two wants share a name
)

// Empty reports whether there is nothing to write. Wants may be unplaced all the same.
func (p Plan) Empty() bool { return p.Changes() == 0 }

// Changes counts the writes.
func (p Plan) Changes() int {
	n := len(p.Put) + len(p.Delete)
	if p.Flush != nil {
		n++
	}
	return n
}

// MakePlan makes g hold what is desired, whatever it held before. Ours are the
// rules whose name starts with [Prefix], even if somebody has turned them into
// something else since, or has written them by hand.
//
// A rule that means what is wanted stays untouched. Whatever of ours allows and
// is not wanted goes. What denies stays until a release takes it back, because
// removing a deny rule could open a machine that nobody asked about.
//
// Foreign rules are never named, except those of d.Away and d.Released, and these
// only as they were recorded. That goes for one that bears a wanted name in other
// letters too: ARM takes the two names for one, and a write would hit it.
//
// Closing comes first: deny rules take what room there is, then rules come back,
// and grants are left the rest. In doubt access stays shut. A deny rule without
// room stays as it was, a grant without room has no rule afterwards, a release
// without room does not happen. Priorities of rules that are to come back are kept
// free of ours.
//
// A rule of ours keeps its priority, if the band has it and no rule needs it that is
// to come back. A deny rule gives it up for a lower one only to get before a rule
// of others that may let in what it closes. New ones get the lowest free.
//
// The writes depend on what g, d and b hold, not on their order. Planning again on
// the result finds nothing to do.
func MakePlan(g Group, d Desired, b Bands) Plan {
	before := make([]*Rule, len(g.Rules))
	for i := range g.Rules {
		before[i] = &g.Rules[i]
	}
	p := newPlanner(before, d, b)
	now := p.draft(before)
	// What one pass makes room for, the next one may use: a plan is done when a pass
	// has nothing more to write. A release that happened never comes undone and a
	// deny rule once placed stays, so that is soon; the limit only says that it ends.
	for pass := 0; now.changed && pass < MaxRules; pass++ {
		now = p.draft(now.rules)
	}
	var plan Plan
	plan.Delete, plan.Put = writes(before, now.rules)
	plan.Unplaced = append(now.unplaced, p.refused...)
	slices.SortFunc(plan.Unplaced, func(a, b Unplaced) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason))
	})
	plan.Unplaced = slices.Compact(plan.Unplaced)
	if d.Flush != nil && *d.Flush != g.FlushConnection {
		flush := *d.Flush
		plan.Flush = &flush
	}
	return plan
}

// Apply gives the group as it looks once the plan is written. g is left alone.
func (p Plan) Apply(g Group) Group {
	put := map[string]Rule{}
	for _, r := range p.Put {
		put[r.Name] = r
	}
	rules := make([]Rule, 0, len(g.Rules)+len(put))
	for _, r := range g.Rules {
		if slices.Contains(p.Delete, r.Name) {
			continue
		}
		if changed, ok := put[r.Name]; ok {
			r = changed
			delete(put, r.Name)
		}
		rules = append(rules, r)
	}
	for _, r := range p.Put {
		if _, isNew := put[r.Name]; isNew {
			rules = append(rules, r)
		}
	}
	g.Rules = rules
	if p.Flush != nil {
		g.FlushConnection = *p.Flush
	}
	return g
}
