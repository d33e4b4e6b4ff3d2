package nsg

import (
	"cmp"
	"net/netip"
	"slices"
)

// Want is one open grant: an allow rule that should stand. Source is one prefix
// (host bits are ignored), Destinations the machine's private addresses,
// Protocol "*", Tcp or Udp, Ports at least one. Destinations of the other
// family than Source are left out of the rule: no packet can run between the
// two, and ARM refuses a rule that mixes them
// (ResourceCannotContainAddressPrefixesFromDifferentAddressFamilies).
type Want struct {
	Name, Description string // see AllowName and Description
	Source            netip.Prefix
	Destinations      []netip.Addr
	Protocol          Protocol
	Ports             []uint16
}

// Band is the range of priorities that our allow rules may take, both ends
// included, within MinPriority and MaxPriority.
type Band struct{ First, Last int }

// DefaultBand lies above the deny rules, which start at 1000.
var DefaultBand = Band{First: 100, Last: 999}

func (b Band) has(priority int) bool {
	return max(b.First, MinPriority) <= priority && priority <= min(b.Last, MaxPriority)
}

// Plan is what must be written: first the deletes, then the puts, each in the
// order given, so that on the way no two rules of one direction ever hold the
// same priority.
type Plan struct {
	Put      []Rule
	Delete   []string
	Unplaced []Unplaced
}

// Unplaced is a want that stays without a rule.
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
	NameTaken    UnplacedCode = "name_taken"    // a foreign rule bears the name in another case
	InvalidWant  UnplacedCode = "invalid_want"  // the want makes no rule, or two wants share a name
)

// Empty reports whether there is nothing to write. Wants may be unplaced all the same.
func (p Plan) Empty() bool { return p.Changes() == 0 }

// Changes counts the writes.
func (p Plan) Changes() int { return len(p.Put) + len(p.Delete) }

// MakePlan makes our allow rules in g equal to wants, whatever they were
// before. Ours are the rules whose name [ParseAllowName] accepts, even if
// somebody has turned them into something else since.
//
// A rule that means what is wanted stays untouched if its priority lies in the
// band. One that differs is rewritten at its priority; one outside the band, or
// not inbound, is moved. New ones get the lowest free inbound priority, in
// order of their names. Whatever of ours is not wanted goes.
//
// In doubt access stays shut: a want that cannot be placed has no rule
// afterwards, an old one of its name is deleted. That goes for wants that
// contradict each other under one name too. Foreign rules are never named, not
// even when one bears a wanted name in other letters: ARM takes the two names
// for one, and a write would hit the foreign rule.
//
// The writes depend on what g and wants hold, not on their order.
func MakePlan(g Group, wants []Want, band Band) Plan {
	p := planner{band: band, ours: map[string]*Rule{}, foreign: map[string]bool{}, taken: map[int]bool{}}
	p.read(g)

	var plan Plan
	var changed, fresh []Rule
	stays := map[string]bool{} // names of ours that a plan leaves or rewrites
	for _, r := range p.wanted(wants, &plan) {
		old := p.ours[r.Name]
		switch {
		case old == nil || !old.Direction.is(Inbound) || !band.has(old.Priority):
			fresh = append(fresh, r)
			continue
		case old.SameMeaning(r):
			stays[r.Name] = true
			p.count(*old)
		default:
			r.Priority = old.Priority
			changed = append(changed, r)
		}
		p.taken[old.Priority] = true
	}
	// What stays is counted before anything is added, and rewrites before new
	// rules. Room only ever shrinks from here on, so whatever finds none now
	// finds none when the plan is made again on the result.
	place := func(r Rule) {
		if code, reason := p.room(r); code != "" {
			plan.Unplaced = append(plan.Unplaced, Unplaced{r.Name, code, reason})
			return
		}
		stays[r.Name] = true
		p.taken[r.Priority] = true
		p.count(r)
		plan.Put = append(plan.Put, r)
	}
	for _, r := range changed {
		// Its priority is its own until it turns out to have no room.
		delete(p.taken, r.Priority)
		place(r)
	}
	next := max(band.First, MinPriority)
	for _, r := range fresh {
		for band.has(next) && p.taken[next] {
			next++
		}
		r.Priority = next
		place(r)
	}
	for name := range p.ours {
		if !stays[name] {
			plan.Delete = append(plan.Delete, name)
		}
	}
	slices.Sort(plan.Delete)
	slices.SortFunc(plan.Put, func(a, b Rule) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(plan.Unplaced, func(a, b Unplaced) int { return cmp.Compare(a.Name, b.Name) })
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
	return g
}
