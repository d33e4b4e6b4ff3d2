package nsg

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func parsed(words ...string) (list []netip.Prefix) {
	for _, word := range words {
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

func TestSpaces(t *testing.T) {
	tiny := Surroundings{VirtualNetwork: parsed("10.0.0.7/16", "10.1.0.0/16", "10.0.5.0/24", "fd00:1::/48")}
	for _, c := range []struct {
		what string
		s    Space
		want []netip.Prefix
	}{
		{"nothing", Space{}, nil},
		{"a prefix with host bits", From(netip.MustParsePrefix("203.0.113.9/24")), parsed("203.0.113.0/24")},
		{"IPv4 as IPv6", From(netip.MustParsePrefix("::ffff:203.0.113.9/120")), parsed("203.0.113.0/24")},
		{"all of IPv6", From(netip.MustParsePrefix("::/0")), parsed("::/0")},
		{"no prefix", From(netip.Prefix{}), nil},
		{"a prefix of two families", From(netip.MustParsePrefix("::ffff:0.0.0.0/90")), nil},
		{"a network, as short as possible", InVirtualNetwork(tiny), parsed("10.0.0.0/15", "168.63.129.16/32", "fd00:1::/48")},
		{"a network that is not known", InVirtualNetwork(Surroundings{}), nil},
		{"half of the IPv4 internet, and around the host", Space{intersect(Internet(Surroundings{}).spans, spansOf(parsed("168.63.129.16/30", "0.0.0.0/2")))},
			parsed("1.0.0.0/8", "2.0.0.0/7", "4.0.0.0/6", "8.0.0.0/7", "11.0.0.0/8", "12.0.0.0/6", "16.0.0.0/4", "32.0.0.0/3", "168.63.129.17/32", "168.63.129.18/31")},
	} {
		if diff := cmp.Diff(c.want, c.s.Prefixes(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", c.what, diff)
		}
	}
}

func TestTheInternetIsWhatItsTagMatches(t *testing.T) {
	for _, s := range []Surroundings{home, {}} {
		prefixes := Internet(s).Prefixes()
		for _, a := range turningAddresses(From(netip.MustParsePrefix("0.0.0.0/0")), machine, s, nil) {
			if got := within(prefixes, a); got != (matchesEntry("Internet", a, &s) == Yes) {
				t.Errorf("%s in the internet: %v", a, got)
			}
		}
	}
}

// Sets of the 256 addresses of 198.51.100.0/24 are compared with what they hold.
func TestSetsOfAddresses(t *testing.T) {
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}) }
	drawSet := func(t *rapid.T, label string) ([]span, [256]bool) {
		var spans []span
		var has [256]bool
		for range rapid.IntRange(0, 6).Draw(t, label) {
			first := rapid.IntRange(0, 255).Draw(t, "first")
			last := min(255, first+rapid.IntRange(0, 60).Draw(t, "length"))
			spans = append(spans, span{address(first), address(last)})
			for i := first; i <= last; i++ {
				has[i] = true
			}
		}
		return merge(spans), has
	}
	rapid.Check(t, func(t *rapid.T) {
		a, inA := drawSet(t, "a")
		b, inB := drawSet(t, "b")
		before := [2][]span{slices.Clone(a), slices.Clone(b)}
		for what, c := range map[string]struct {
			set  []span
			want func(i int) bool
		}{
			"merged":     {a, func(i int) bool { return inA[i] }},
			"union":      {union(a, b), func(i int) bool { return inA[i] || inB[i] }},
			"common":     {intersect(a, b), func(i int) bool { return inA[i] && inB[i] }},
			"difference": {subtract(a, b), func(i int) bool { return inA[i] && !inB[i] }},
		} {
			for i, s := range c.set {
				if s.first.Compare(s.last) > 0 || i > 0 && c.set[i-1].last.Next().Compare(s.first) >= 0 {
					t.Fatalf("%s: spans overlap, touch or are out of order: %v", what, c.set)
				}
			}
			cover := prefixes(c.set)
			total := 0
			for i, p := range cover {
				total += 1 << (32 - p.Bits())
				// Two halves of one block, or a block inside another, could be written shorter.
				if i > 0 && cover[i-1].Bits() == p.Bits() && netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked().Contains(cover[i-1].Addr()) {
					t.Fatalf("%s: %v is not the shortest cover", what, cover)
				}
			}
			for i := range 256 {
				if c.want(i) {
					total--
				}
				if within(cover, address(i)) != c.want(i) {
					t.Fatalf("%s: %s is wrong in %v", what, address(i), cover)
				}
			}
			if total != 0 {
				t.Fatalf("%s: %v holds addresses twice or too many", what, cover)
			}
		}
		if !slices.Equal(before[0], a) || !slices.Equal(before[1], b) {
			t.Fatal("a set was changed")
		}
	})
}
