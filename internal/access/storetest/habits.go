package storetest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"jitgate/internal/access"
)

var habitTests = map[string]func(*testing.T, Store){
	"Keep":      testHabits,
	"Unchanged": testHabitsUnchanged,
	"People":    testHabitsOfPeople,
	"NoPerson":  testHabitsOfNobody,
	"AtOnce":    testHabitsAtOnce,
}

// habits have every field set.
func habits() access.Habits {
	return access.Habits{
		Denials:  []time.Time{noon, noon.Add(1)},
		Sources:  []access.Sighting{{Source: netip.MustParsePrefix("203.0.113.7/32"), Last: noon}, {Source: netip.MustParsePrefix("2001:db8::/64"), Last: noon.Add(time.Hour)}},
		Approved: []access.Approving{{Request: id(1), At: noon}},
		Warned:   map[string]time.Time{"suspicious.denials": noon, "suspicious.source": noon.Add(time.Minute)},
	}
}

func wantHabits(t *testing.T, s Store, who access.Person, want access.Habits) {
	t.Helper()
	calls := 0
	must(t, s.UpdateHabits(t.Context(), who, func(h *access.Habits) bool {
		calls++
		equal(t, "what is remembered of "+who.Name, want, *h)
		return false
	}))
	equal(t, "calls", 1, calls)
}

func testHabits(t *testing.T, s Store) {
	wantFilled(t, habits())
	wantHabits(t, s, alice, access.Habits{})
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool { *h = habits(); return true }))
	wantHabits(t, s, alice, habits())
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool {
		h.Denials, h.Approved = h.Denials[1:], nil
		delete(h.Warned, "suspicious.source")
		return true
	}))
	want := habits()
	want.Denials, want.Approved, want.Warned = want.Denials[1:], nil, map[string]time.Time{"suspicious.denials": noon}
	wantHabits(t, s, alice, want)
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool { *h = access.Habits{}; return true }))
	wantHabits(t, s, alice, access.Habits{})
}

func testHabitsUnchanged(t *testing.T, s Store) {
	spoil := func(h *access.Habits) bool {
		h.Denials = append(h.Denials, noon)
		return false
	}
	must(t, s.UpdateHabits(t.Context(), alice, spoil))
	wantHabits(t, s, alice, access.Habits{})
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool { *h = habits(); return true }))
	must(t, s.UpdateHabits(t.Context(), alice, spoil))
	wantHabits(t, s, alice, habits())
}

// People are told apart by what they cannot change themselves.
func testHabitsOfPeople(t *testing.T, s Store) {
	guest := alice
	guest.Tenant = "99999999-0000-0000-0000-000000000002"
	for n, who := range []access.Person{alice, bob, guest} {
		must(t, s.UpdateHabits(t.Context(), who, func(h *access.Habits) bool {
			h.Denials = make([]time.Time, n+1)
			return true
		}))
	}
	renamed := alice
	renamed.Name = "robert@example.com"
	for n, who := range []access.Person{renamed, bob, guest} {
		wantHabits(t, s, who, access.Habits{Denials: make([]time.Time, n+1)})
	}
}

func testHabitsOfNobody(t *testing.T, s Store) {
	for _, who := range []access.Person{{}, {Tenant: "t"}, {Object: "o"}, {Tenant: "a:b", Object: "o"}, {Tenant: "t", Object: "a/b' or 1 eq 1"}} {
		err := s.UpdateHabits(t.Context(), who, func(*access.Habits) bool {
			t.Errorf("change called for %+v", who)
			return true
		})
		if err == nil || errors.Is(err, access.ErrUnavailable) {
			t.Errorf("error %v for %+v, want one that is final", err, who)
		}
	}
}

// Nothing that somebody did is counted twice or not at all.
func testHabitsAtOnce(t *testing.T, s Store) {
	const workers, each = 8, 3
	together(t, workers, func(w int) error {
		for n := range each {
			err := s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool {
				h.Approved = append(h.Approved, access.Approving{Request: fmt.Sprint(w, " ", n), At: noon})
				return true
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool {
		seen := map[string]int{}
		for _, a := range h.Approved {
			seen[a.Request]++
		}
		equal(t, "remembered", workers*each, len(h.Approved))
		equal(t, "different ones", workers*each, len(seen))
		return false
	}))
}
