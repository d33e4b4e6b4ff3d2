package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/nsg"
)

// live are the grants that should be open at now.
func (b *Book) live(now time.Time) []Grant {
	return slices.DeleteFunc(slices.Clone(b.Grants), func(g Grant) bool { return g.Closing || g.Due(now) })
}

// desired is everything the book wants of its NSG, as it stands in g, while the
// given grants are open.
func (b *Book) desired(g nsg.Group, open []Grant) nsg.Desired {
	d := nsg.Desired{Open: wants(open), Flush: b.flush()}
	for _, guard := range b.Guards {
		back, hindered := b.back(guard, g)
		switch {
		case guard.Wanted, hindered.Code != "":
			d.Closed = append(d.Closed, guard.cover())
			d.Away = append(d.Away, guard.away(g)...)
			// What an earlier revision closed is let go once the new rules are confirmed,
			// or the ports would be open for a moment between the two.
			if guard.Done {
				d.Released = append(d.Released, nsg.Release{Covers: guard.Former})
			} else {
				d.Closed = append(d.Closed, guard.Former...)
			}
		default:
			d.Released = append(d.Released, nsg.Release{Covers: append(slices.Clone(guard.Former), guard.cover()), Back: back})
		}
	}
	return d
}

// cover is what a guard keeps closed.
func (g Guard) cover() nsg.Cover { return nsg.Cover{Ports: g.Ports, Addresses: g.Addresses} }

// away are the rules that a guard keeps away: those on its account, as long as they
// would serve its machine and its ports alone. What the owner makes of them for
// others, now that the machine has moved or other ports are protected, is not ours
// to remove.
func (g Guard) away(group nsg.Group) []nsg.Rule {
	if len(g.Removed) == 0 || len(g.Addresses) == 0 {
		return nil
	}
	group.Rules = g.Removed
	remove, _ := group.Opens(g.cover(), group.OnlyFor(g.Interfaces...))
	return remove
}

// back are the rules that return when a guard is taken back: all that it removed,
// or, for a machine that is gone, those that it only held for others. One that would
// open another protected machine stays away while that machine has it on its own
// account; if it has not, nothing is taken back. What stands again is not asked about.
func (b *Book) back(g Guard, group nsg.Group) ([]nsg.Rule, Reason) {
	if g.Wanted {
		return nil, Reason{}
	}
	var out []nsg.Rule
	for _, r := range g.Removed {
		if !g.Restore && !slices.Contains(g.Held, r.Name) {
			continue
		}
		if group.Stands(r) {
			out = append(out, r)
			continue
		}
		keeper := -1
		for i, o := range b.Guards {
			if o.Key() == g.Key() || !o.Wanted || !r.OpensFor(o.cover()) {
				continue
			}
			if !o.holds(r.Name) {
				return nil, Reason{RuleOpensOthers, fmt.Sprintf("Rule %s cannot come back to NSG %s: it would open %s, which is protected. Unprotect that one as well, or protect it once more, so that it keeps the rule until its own protection ends.", r.Name, b.NSG.Name(), o.VM.Name())}
			}
			keeper = i
		}
		if keeper < 0 {
			out = append(out, r)
		}
	}
	return out, Reason{}
}

// holds reports whether a rule is on the guard's account.
func (g Guard) holds(name string) bool {
	return slices.ContainsFunc(g.Removed, func(r nsg.Rule) bool { return strings.EqualFold(r.Name, name) })
}

// flush is what FlushConnection must be: on while one machine wants it, off again
// when the last of them leaves and we had switched it on; else nobody's business.
func (b *Book) flush() *bool {
	var want *bool
	for _, g := range b.Guards {
		on := g.Wanted && g.Flush && len(g.Addresses) > 0
		if on || g.FlushSet && !g.Done && want == nil {
			want = &on
		}
		if on {
			return want
		}
	}
	return want
}

// replace files a guard in the book in place of the machine's earlier one.
func (b *Book) replace(g Guard) {
	b.Guards = append(slices.DeleteFunc(slices.Clone(b.Guards), func(o Guard) bool { return o.Key() == g.Key() }), g)
}

// denies reports whether some guard stands behind a deny rule of ours.
func (b *Book) denies(rule string) bool {
	return slices.ContainsFunc(b.Guards, func(g Guard) bool {
		return slices.ContainsFunc(append(slices.Clone(g.Former), g.cover()), func(c nsg.Cover) bool {
			return slices.Contains(c.RuleNames(), rule)
		})
	})
}
