package storetest

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

var guardTests = map[string]func(*testing.T, Store){
	"Put":             testPutGuard,
	"Revisions":       testGuardRevisions,
	"AfterTouch":      testPutGuardAfterTouch,
	"BesideGrants":    testGuardBesideGrants,
	"CaseOfID":        testCaseOfGuard,
	"PutAtOnce":       testPutGuardAtOnce,
	"Large":           testLargeGuard,
	"Books":           testBooksOfGuards,
	"Settle":          testSettleGuards,
	"SettleOtherOnes": testSettleOtherRevisions,
	"SettleRepeated":  testSettleGuardsRepeated,
	"SettleMany":      testSettleManyGuards,
	"Hindered":        testHinderedGuard,
	"LetGo":           testLetGo,
	"LetGoLarge":      testLetGoOfLargeGuards,
	"SettleWhilePut":  testSettleWhilePutGuard,
}

func putGuard(t *testing.T, s Store, nsg armid.ID, g access.Guard) int64 {
	t.Helper()
	generation, err := s.PutGuard(t.Context(), nsg, g)
	must(t, err)
	return generation
}

// wantGuards compares without regard to order.
func wantGuards(t *testing.T, b access.Book, want ...access.Guard) {
	t.Helper()
	equal(t, "guards", sortedGuards(want), sortedGuards(b.Guards))
}

func sortedGuards(guards []access.Guard) []access.Guard {
	return slices.SortedFunc(slices.Values(guards), func(a, b access.Guard) int { return strings.Compare(a.Key(), b.Key()) })
}

func testPutGuard(t *testing.T, s Store) {
	g := guard(1, 3)
	equal(t, "generation", int64(1), putGuard(t, s, group(1), g))
	got := book(t, s, group(1))
	wantGuards(t, got, g)
	wantGrants(t, got)
	wantHead(t, got.Head, 1, 0, time.Time{})
	if got.NSG.String() != group(1).String() || got.Guards[0].VM.String() != vm(1).String() {
		t.Errorf("guard of %s in the book of %s", got.Guards[0].VM, got.NSG)
	}
	if got.ChangedAt.IsZero() || got.Settled(noon) {
		t.Error("an NSG with a new guard counts as settled")
	}

	g = access.Guard{VM: vm(2), Revision: 1} // nothing but zero
	equal(t, "generation", int64(2), putGuard(t, s, group(1), g))
	wantGuards(t, book(t, s, group(1)), guard(1, 3), g)
}

// A late message cannot bring back an older wish, and what is known of the present
// one is not forgotten.
func testGuardRevisions(t *testing.T, s Store) {
	present := guard(1, 3)
	putGuard(t, s, group(1), present)
	settle(t, s, access.Settlement{Enforced: 1, Guarded: map[string]int{present.Key(): 3}})
	present.Done = true
	for i, revision := range []int{3, 2, 1} {
		other := guard(1, revision)
		other.Wanted, other.Removed, other.Ports = false, nil, nil
		equal(t, "generation", int64(i+2), putGuard(t, s, group(1), other))
		wantGuards(t, book(t, s, group(1)), present)
	}
	wantHead(t, book(t, s, group(1)).Head, 4, 1, time.Time{})

	next := guard(1, 4)
	next.Wanted, next.Restore, next.Former, next.Flush, next.FlushSet = false, true, nil, false, false
	equal(t, "generation", int64(5), putGuard(t, s, group(1), next))
	wantGuards(t, book(t, s, group(1)), next) // not done any more
	next = guard(1, 40)
	next.Done = true // as given
	putGuard(t, s, group(1), next)
	wantGuards(t, book(t, s, group(1)), next)
}

func testPutGuardAfterTouch(t *testing.T, s Store) {
	_, err := s.Touch(t.Context(), group(1))
	must(t, err)
	equal(t, "generation", int64(2), putGuard(t, s, group(1), guard(1, 1)))
	generation, err := s.Touch(t.Context(), group(1))
	must(t, err)
	equal(t, "generation", int64(3), generation)
	wantGuards(t, book(t, s, group(1)), guard(1, 1))
}

// Grants and guards share an NSG and its generation, and nothing else.
func testGuardBesideGrants(t *testing.T, s Store) {
	first, second, one, two := grant(1, 0), grant(2, 0), guard(1, 1), guard(2, 1)
	equal(t, "generation", int64(1), put(t, s, group(1), first))
	equal(t, "generation", int64(2), putGuard(t, s, group(1), one))
	equal(t, "generation", int64(3), put(t, s, group(1), second))
	equal(t, "generation", int64(4), putGuard(t, s, group(1), two))
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 5))
	first.WakeUp = 5
	got := book(t, s, group(1))
	wantGrants(t, got, first, second)
	wantGuards(t, got, one, two)

	settle(t, s, access.Settlement{Enforced: 4, NextDue: noon, Opened: keys(first), Closed: keys(second)})
	first.Opened = true
	got = book(t, s, group(1))
	wantGrants(t, got, first)
	wantGuards(t, got, one, two)
	settle(t, s, access.Settlement{Enforced: 4, NextDue: noon, Closed: keys(first),
		Guarded: map[string]int{one.Key(): 1}, Released: map[string]int{two.Key(): 1}})
	one.Done = true
	got = book(t, s, group(1))
	wantGrants(t, got)
	wantGuards(t, got, one)
	wantHead(t, got.Head, 4, 4, noon)
}

func testCaseOfGuard(t *testing.T, s Store) {
	putGuard(t, s, group(1), guard(1, 1))
	loud := guard(1, 2)
	loud.VM = shouted(vm(1))
	equal(t, "generation", int64(2), putGuard(t, s, shouted(group(1)), loud))
	wantGuards(t, book(t, s, group(1)), loud)
	must(t, s.Settle(t.Context(), shouted(group(1)), access.Settlement{Released: map[string]int{guard(1, 2).Key(): 2}}))
	wantGuards(t, book(t, s, group(1)))
}

// However they come in, the greatest revision is what stays.
func testPutGuardAtOnce(t *testing.T, s Store) {
	const workers = 16
	together(t, workers, func(w int) error {
		_, err := s.PutGuard(t.Context(), group(1), guard(1, w+1))
		return err
	})
	got := book(t, s, group(1))
	wantGuards(t, got, guard(1, workers))
	wantHead(t, got.Head, workers, 0, time.Time{})
}

func testLargeGuard(t *testing.T, s Store) {
	g := guard(1, 1)
	g.Removed = longRules(3)
	putGuard(t, s, group(1), g)
	wantGuards(t, book(t, s, group(1)), g)
	settle(t, s, access.Settlement{Guarded: map[string]int{g.Key(): 1}})
	g.Done = true
	wantGuards(t, book(t, s, group(1)), g)
	wantGuards(t, booksByNSG(t, s)[group(1).Key()], g)

	small := guard(1, 2) // nothing of the longer one stays behind
	putGuard(t, s, group(1), small)
	wantGuards(t, book(t, s, group(1)), small)
}

func testBooksOfGuards(t *testing.T, s Store) {
	putGuard(t, s, group(1), guard(1, 1)) // only guards
	putGuard(t, s, group(1), guard(2, 1))
	put(t, s, group(2), grant(1, 0)) // both
	putGuard(t, s, group(2), guard(1, 1))
	put(t, s, group(3), grant(2, 0)) // only grants
	putGuard(t, s, group(4), guard(3, 1))
	must(t, s.Settle(t.Context(), group(4), access.Settlement{Enforced: 1, Released: map[string]int{guard(3, 1).Key(): 1}})) // none any more
	got := booksByNSG(t, s)
	equal(t, "number of books", 4, len(got))
	for n := 1; n <= 4; n++ {
		want := book(t, s, group(n))
		equal(t, "head", want.Head, got[group(n).Key()].Head)
		wantGrants(t, got[group(n).Key()], want.Grants...)
		wantGuards(t, got[group(n).Key()], want.Guards...)
	}
	wantGuards(t, got[group(1).Key()], guard(1, 1), guard(2, 1))
}

func testSettleGuards(t *testing.T, s Store) {
	holds, goes, waits := guard(1, 3), guard(2, 5), guard(3, 1)
	for _, g := range []access.Guard{holds, goes, waits} {
		putGuard(t, s, group(1), g)
	}
	settle(t, s, access.Settlement{Enforced: 3, Guarded: map[string]int{holds.Key(): 3}, Released: map[string]int{goes.Key(): 5}})
	holds.Done = true
	got := book(t, s, group(1))
	wantGuards(t, got, holds, waits)
	wantHead(t, got.Head, 3, 3, time.Time{})
	if !got.Settled(noon) {
		t.Error("the NSG must count as settled")
	}
	// What is confirmed counts even if the NSG does not match as a whole.
	settle(t, s, access.Settlement{Enforced: 0, Guarded: map[string]int{waits.Key(): 1}})
	waits.Done = true
	wantGuards(t, book(t, s, group(1)), holds, waits)
}

// What was carried out is not what is wanted now, or was wanted before.
func testSettleOtherRevisions(t *testing.T, s Store) {
	g := guard(1, 2)
	putGuard(t, s, group(1), guard(1, 1))
	putGuard(t, s, group(1), g)
	for _, revision := range []int{0, 1, 3} {
		settle(t, s, access.Settlement{Enforced: 1, Guarded: map[string]int{g.Key(): revision}})
		settle(t, s, access.Settlement{Enforced: 1, Released: map[string]int{g.Key(): revision}})
		got := book(t, s, group(1))
		wantGuards(t, got, g)
		wantHead(t, got.Head, 2, 1, time.Time{})
		if got.Settled(noon) {
			t.Error("an NSG with an unseen guard counts as settled")
		}
	}
}

func testSettleGuardsRepeated(t *testing.T, s Store) {
	holds, goes, bystander := guard(1, 1), guard(2, 1), guard(3, 1)
	for _, g := range []access.Guard{holds, goes, bystander} {
		putGuard(t, s, group(1), g)
	}
	settled := access.Settlement{Enforced: 3, NextDue: noon,
		Guarded:  map[string]int{holds.Key(): 1, guard(7, 1).Key(): 1}, // one is unknown
		Released: map[string]int{goes.Key(): 1, guard(8, 1).Key(): 1},
	}
	for range 3 {
		settle(t, s, settled)
	}
	holds.Done = true
	got := book(t, s, group(1))
	wantGuards(t, got, holds, bystander)
	wantHead(t, got.Head, 3, 3, noon)
}

// As many machines as a large subnet holds are settled whole.
func testSettleManyGuards(t *testing.T, s Store) {
	settled := access.Settlement{Guarded: map[string]int{}, Released: map[string]int{}}
	var want []access.Guard
	for n := range 130 {
		g := access.Guard{VM: vm(n), Revision: 1, Wanted: n%2 == 0}
		settled.Enforced = putGuard(t, s, group(1), g)
		if !g.Wanted {
			settled.Released[g.Key()] = 1
			continue
		}
		settled.Guarded[g.Key()] = 1
		g.Done = true
		want = append(want, g)
	}
	put(t, s, group(1), grant(1, 0))
	settled.Opened = keys(grant(1, 0))
	settle(t, s, settled)
	got := book(t, s, group(1))
	wantGuards(t, got, want...)
	wantHead(t, got.Head, 131, 130, time.Time{})
}

// Somebody undid what had been confirmed.
func testHinderedGuard(t *testing.T, s Store) {
	spoilt, other, bystander, waits := guard(1, 3), guard(2, 5), guard(3, 1), guard(4, 1)
	for _, g := range []access.Guard{spoilt, other, bystander, waits} {
		putGuard(t, s, group(1), g)
	}
	settle(t, s, access.Settlement{Enforced: 4, Guarded: map[string]int{spoilt.Key(): 3, bystander.Key(): 1}})
	spoilt.Done, bystander.Done = true, true
	for _, revision := range []int{0, 2, 4} {
		settle(t, s, access.Settlement{Hindered: map[string]int{spoilt.Key(): revision}})
		wantGuards(t, book(t, s, group(1)), spoilt, other, bystander, waits)
	}
	spoilt.Done, other.Done = false, true
	for range 3 {
		settle(t, s, access.Settlement{Guarded: map[string]int{other.Key(): 5},
			Hindered: map[string]int{spoilt.Key(): 3, waits.Key(): 1, guard(7, 1).Key(): 1}}) // one never was done, one is unknown
		got := book(t, s, group(1))
		wantGuards(t, got, spoilt, other, bystander, waits)
		wantHead(t, got.Head, 4, 4, time.Time{})
	}
	settle(t, s, access.Settlement{Guarded: map[string]int{spoilt.Key(): 3}})
	spoilt.Done = true
	wantGuards(t, book(t, s, group(1)), spoilt, other, bystander, waits)
}

// What an earlier revision covered is forgotten once it is gone, and nothing else.
func testLetGo(t *testing.T, s Store) {
	moved, other, bystander := guard(1, 3), guard(2, 5), guard(3, 1)
	for _, g := range []access.Guard{moved, other, bystander} {
		putGuard(t, s, group(1), g)
	}
	settle(t, s, access.Settlement{Enforced: 3, Guarded: map[string]int{moved.Key(): 3}})
	moved.Done = true
	for _, revision := range []int{0, 2, 4} {
		settle(t, s, access.Settlement{LetGo: map[string]int{moved.Key(): revision}})
		wantGuards(t, book(t, s, group(1)), moved, other, bystander)
	}
	moved.Former, other.Done = nil, true
	for range 3 {
		settle(t, s, access.Settlement{Enforced: 3, Guarded: map[string]int{other.Key(): 5},
			LetGo: map[string]int{moved.Key(): 3, guard(7, 1).Key(): 1}}) // one is unknown
		got := book(t, s, group(1))
		wantGuards(t, got, moved, other, bystander)
		wantHead(t, got.Head, 3, 3, time.Time{})
	}
	wantGuards(t, booksByNSG(t, s)[group(1).Key()], moved, other, bystander)

	// It stays forgotten, whatever else becomes of the guard.
	putGuard(t, s, group(1), guard(1, 3))
	settle(t, s, access.Settlement{Hindered: map[string]int{moved.Key(): 3}})
	moved.Done = false
	wantGuards(t, book(t, s, group(1)), moved, other, bystander)

	// Confirmed at once, and without anything to forget.
	bystander.Done, bystander.Former = true, nil
	settle(t, s, access.Settlement{Guarded: map[string]int{bystander.Key(): 1}, LetGo: map[string]int{bystander.Key(): 1, moved.Key(): 3}})
	wantGuards(t, book(t, s, group(1)), moved, other, bystander)

	moved = guard(1, 4) // covers something else, and leaves something else
	putGuard(t, s, group(1), moved)
	wantGuards(t, book(t, s, group(1)), moved, other, bystander)
	settle(t, s, access.Settlement{Released: map[string]int{moved.Key(): 4}, LetGo: map[string]int{moved.Key(): 4}})
	wantGuards(t, book(t, s, group(1)), other, bystander)
}

// Machines with many removed rules move at once: together more than a store may
// write in one go.
func testLetGoOfLargeGuards(t *testing.T, s Store) {
	const machines = 11
	removed := []nsg.Rule{{Name: "long", Verbatim: bytes.Repeat([]byte("x"), 400_000)}}
	settled := access.Settlement{LetGo: map[string]int{}}
	var want []access.Guard
	for n := range machines {
		g := guard(n, 1)
		g.Removed = removed
		settled.Enforced = putGuard(t, s, group(1), g)
		settled.LetGo[g.Key()] = 1
		g.Former = nil
		want = append(want, g)
	}
	settle(t, s, settled)
	got := book(t, s, group(1))
	wantGuards(t, got, want...)
	wantHead(t, got.Head, machines, machines, time.Time{})
}

// Passes settle what they have read while the wishes change. A new wish is never
// marked, deleted or robbed of its covers by a pass that did not know it.
func testSettleWhilePutGuard(t *testing.T, s Store) {
	const machines = 8
	for n := range machines {
		putGuard(t, s, group(1), guard(n, 1))
	}
	together(t, 2*machines, func(w int) error {
		n := w / 2
		if w%2 == 0 {
			_, err := s.PutGuard(t.Context(), group(1), guard(n, 2))
			return err
		}
		known, settled := map[string]int{guard(n, 1).Key(): 1}, access.Settlement{Enforced: machines}
		switch n % 3 {
		case 0:
			settled.Released = known
		case 1:
			settled.Guarded = known
		default:
			settled.LetGo = known
		}
		return s.Settle(t.Context(), group(1), settled)
	})
	var want []access.Guard
	for n := range machines {
		want = append(want, guard(n, 2))
	}
	got := book(t, s, group(1))
	wantGuards(t, got, want...)
	wantHead(t, got.Head, 2*machines, machines, time.Time{})
}
