package tables

// row is what a filter is asked about: an entity, or a table's name when tables are listed.
type row interface {
	lookup(name string) (value, bool)
}

func (n andNode) matches(r row) bool { return n.left.matches(r) && n.right.matches(r) }
func (n orNode) matches(r row) bool  { return n.left.matches(r) || n.right.matches(r) }
func (n notNode) matches(r row) bool { return !n.of.matches(r) }

// matches is false for a property that is absent or of another type, also for ne.
func (c comparison) matches(r row) bool {
	v, ok := r.lookup(c.name)
	if !ok {
		return false
	}
	order, ok := compareValues(v, c.with)
	if !ok {
		return false
	}
	switch c.op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	default:
		return order <= 0
	}
}

// span is a range of keys. The zero value holds every key.
type span struct {
	lo, hi         string
	loOpen, hiOpen bool // the bound itself is outside
	hasHi          bool
}

// keySpan narrows the keys a filter can match by its conjuncts on one key property. It is only ever too wide: rows
// inside still go through the filter.
func keySpan(n node, key string) span {
	var s span
	s.narrow(n, key)
	return s
}

func (s *span) narrow(n node, key string) {
	switch n := n.(type) {
	case andNode:
		s.narrow(n.left, key)
		s.narrow(n.right, key)
	case comparison:
		if n.name != key || n.with.typ != edmString {
			return
		}
		switch n.op {
		case "eq":
			s.atLeast(n.with.str, false)
			s.atMost(n.with.str, false)
		case "ge", "gt":
			s.atLeast(n.with.str, n.op == "gt")
		case "le", "lt":
			s.atMost(n.with.str, n.op == "lt")
		}
	}
}

func (s *span) atLeast(key string, open bool) {
	if c := compareOrdinal(key, s.lo); c > 0 || c == 0 && open {
		s.lo, s.loOpen = key, open
	}
}

func (s *span) atMost(key string, open bool) {
	if c := compareOrdinal(key, s.hi); !s.hasHi || c < 0 || c == 0 && open {
		s.hi, s.hiOpen, s.hasHi = key, open, true
	}
}

// exact returns the one key in the span, or "" when there may be more.
func (s span) exact() string {
	if s.hasHi && !s.loOpen && !s.hiOpen && s.lo == s.hi {
		return s.lo
	}
	return ""
}

// bounds returns the positions in o that the span covers, from the key from on.
func bounds[T any](o *ordered[T], s span, from string) (first, end int) {
	lo, open := s.lo, s.loOpen
	if compareOrdinal(from, lo) > 0 {
		lo, open = from, false
	}
	first = o.seek(lo)
	if open && first < len(o.keys) && o.keys[first] == lo {
		first++
	}
	end = len(o.keys)
	if s.hasHi {
		end = o.seek(s.hi)
		if !s.hiOpen && end < len(o.keys) && o.keys[end] == s.hi {
			end++
		}
	}
	return first, max(first, end)
}
