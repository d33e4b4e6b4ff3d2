package access

import (
	"slices"
	"time"

	"jitgate/internal/nsg"
)

// live are the grants that should be open at now.
func (b *Book) live(now time.Time) []Grant {
	return slices.DeleteFunc(slices.Clone(b.Grants), func(g Grant) bool { return g.Closing || g.Due(now) })
}

// desired is everything the book wants of its NSG while the given grants are open.
func (b *Book) desired(open []Grant) nsg.Desired {
	d := nsg.Desired{Open: wants(open), Flush: b.flush()}
	for _, g := range b.Guards {
		cover := nsg.Cover{Ports: g.Ports, Addresses: g.Addresses}
		if g.Wanted {
			d.Closed = append(d.Closed, cover)
			d.Away = append(d.Away, g.Removed...)
			// What an earlier revision closed is let go once the new rules are confirmed,
			// or the ports would be open for a moment between the two.
			if g.Done {
				d.Released = append(d.Released, nsg.Release{Covers: g.Former})
			} else {
				d.Closed = append(d.Closed, g.Former...)
			}
			continue
		}
		release := nsg.Release{Covers: append(slices.Clone(g.Former), cover)}
		if g.Restore {
			release.Back = g.Removed
		}
		d.Released = append(d.Released, release)
	}
	return d
}

// flush is what FlushConnection must be: on while one machine wants it, off again
// when the last of them leaves and we had switched it on; else nobody's business.
func (b *Book) flush() *bool {
	var want *bool
	for _, g := range b.Guards {
		on := g.Wanted && g.Flush
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
