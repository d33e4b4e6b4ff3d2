package nsg

import (
	"net/netip"
	"slices"
)

// atoms are runs of source addresses that no rule tells apart: a space, cut where
// the sets of some rules begin and end. A thousand rules are held against a space
// once for each of thousands of runs of ports. Sets of addresses would fall to
// pieces each time; as sets of atoms they stay a row of bits.
type atoms []span

func newAtoms(space []span, filters []filter) atoms {
	var cuts []netip.Addr
	for _, f := range filters {
		for _, c := range f {
			for _, set := range [...][]span{c.sure, c.perhaps} {
				for _, s := range set {
					// After the end of a family there is nothing to cut.
					if cuts = append(cuts, s.first); s.last.Next().IsValid() {
						cuts = append(cuts, s.last.Next())
					}
				}
			}
		}
	}
	slices.SortFunc(cuts, netip.Addr.Compare)
	cuts = slices.Compact(cuts)
	var list atoms
	for _, s := range space {
		i, found := slices.BinarySearchFunc(cuts, s.first, netip.Addr.Compare)
		if found {
			i++
		}
		for ; i < len(cuts) && cuts[i].Compare(s.last) <= 0; i++ {
			list = append(list, span{s.first, cuts[i].Prev()})
			s.first = cuts[i]
		}
		list = append(list, s)
	}
	return list
}

// atomSet has a bit for each atom. All sets of one reckoning are equally long.
type atomSet []uint64

func (a atoms) none() atomSet { return make(atomSet, (len(a)+63)/64) }

// within gives the atoms in a set of addresses that the atoms were cut by.
func (a atoms) within(set []span) atomSet {
	in := a.none()
	for _, s := range set {
		i, _ := slices.BinarySearchFunc(a, s.first, func(x span, at netip.Addr) int { return x.first.Compare(at) })
		for ; i < len(a) && a[i].last.Compare(s.last) <= 0; i++ {
			in[i/64] |= 1 << (i % 64)
		}
	}
	return in
}

func (a atoms) spans(of atomSet) []span {
	var spans []span
	for i, s := range a {
		if of[i/64]&(1<<(i%64)) != 0 {
			spans = append(spans, s)
		}
	}
	return merge(spans)
}

func (s atomSet) add(o atomSet) {
	for i, x := range o {
		s[i] |= x
	}
}

func (s atomSet) and(o atomSet) atomSet {
	both := make(atomSet, len(s))
	for i := range s {
		both[i] = s[i] & o[i]
	}
	return both
}

func (s atomSet) without(o atomSet) atomSet {
	rest := make(atomSet, len(s))
	for i := range s {
		rest[i] = s[i] &^ o[i]
	}
	return rest
}

func (s atomSet) empty() bool { return !slices.ContainsFunc(s, func(x uint64) bool { return x != 0 }) }

func (s atomSet) meets(o atomSet) bool {
	for i := range s {
		if s[i]&o[i] != 0 {
			return true
		}
	}
	return false
}
