package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

var grantTests = map[string]func(*testing.T, Store){
	"Unknown":          testUnknownNSG,
	"Put":              testPut,
	"PutAgain":         testPutAgain,
	"PutLonger":        testPutLonger,
	"PutLongerClosing": testPutLongerClosing,
	"PutLongerAtOnce":  testPutLongerAtOnce,
	"PutMixed":         testPutMixed,
	"PutMost":          testPutMost,
	"PutAtOnce":        testPutAtOnce,
	"PutSameAtOnce":    testPutSameAtOnce,
	"CaseOfID":         testCaseOfID,
	"WakeUp":           testWakeUp,
	"WakeUpOfNobody":   testWakeUpOfNobody,
	"Touch":            testTouch,
	"TouchAtOnce":      testTouchAtOnce,
	"Books":            testBooks,
	"BooksStops":       testBooksStops,
	"BooksWhileWrites": testBooksWhileWriting,
}

func put(t *testing.T, s Store, nsg armid.ID, grants ...access.Grant) int64 {
	t.Helper()
	generation, _, err := s.PutGrants(t.Context(), nsg, grants)
	must(t, err)
	return generation
}

func book(t *testing.T, s Store, nsg armid.ID) access.Book {
	t.Helper()
	b, err := s.Book(t.Context(), nsg)
	must(t, err)
	h, err := s.Head(t.Context(), nsg)
	must(t, err)
	equal(t, "head alone and in the book", b.Head, h)
	return b
}

// wantGrants compares without regard to order.
func wantGrants(t *testing.T, b access.Book, want ...access.Grant) {
	t.Helper()
	equal(t, "grants", sorted(want), sorted(b.Grants))
}

func sorted(grants []access.Grant) []access.Grant {
	return slices.SortedFunc(slices.Values(grants), func(a, b access.Grant) int {
		if a.Key() < b.Key() {
			return -1
		}
		return 1
	})
}

func wantHead(t *testing.T, h access.Head, generation, enforced int64, due time.Time) {
	t.Helper()
	if h.Generation != generation || h.Enforced != enforced || !h.NextDue.Equal(due) {
		t.Fatalf("head has generation %d, enforced %d, next due %v; want %d, %d, %v",
			h.Generation, h.Enforced, h.NextDue, generation, enforced, due)
	}
}

func testUnknownNSG(t *testing.T, s Store) {
	_, err := s.Head(t.Context(), group(1))
	wantError(t, "head", err, access.ErrNotFound)
	_, err = s.Book(t.Context(), group(1))
	wantError(t, "book", err, access.ErrNotFound)
	must(t, s.Books(t.Context(), func(access.Book) error { return errors.New("called without a book") }))
}

func testPut(t *testing.T, s Store) {
	a, b := grant(1, 0), grant(1, 1)
	b.ExpiresAt = noon.Add(3*time.Hour + 7)
	b.WakeUp, b.Opened = 1<<60+1, true // as given
	generation, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{b, a})
	must(t, err)
	equal(t, "generation", int64(1), generation)
	equal(t, "grants as they stand, in the order given", []access.Grant{b, a}, now)

	got := book(t, s, group(1))
	wantGrants(t, got, a, b)
	wantHead(t, got.Head, 1, 0, time.Time{})
	if !got.NSG.Equal(group(1)) || got.NSG.String() != group(1).String() {
		t.Errorf("the book is of %s, want %s", got.NSG, group(1))
	}
	if got.ChangedAt.IsZero() || got.ChangedAt.Location() != time.UTC {
		t.Errorf("changed at %v, want a time in UTC", got.ChangedAt)
	}
	if got.Settled(noon) {
		t.Error("an NSG with a new grant counts as settled")
	}
}

func testPutAgain(t *testing.T, s Store) {
	a := grant(1, 0)
	put(t, s, group(1), a)
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 42))
	must(t, s.Settle(t.Context(), group(1), access.Settlement{Enforced: 1, NextDue: a.ExpiresAt, Opened: []string{a.Key()}}))

	again := a
	again.ExpiresAt, again.Requester = a.ExpiresAt.Add(-time.Minute), "somebody else"
	generation, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{again})
	must(t, err)
	equal(t, "generation", int64(2), generation)
	a.WakeUp, a.Opened = 42, true
	equal(t, "grants as they stand", []access.Grant{a}, now)
	got := book(t, s, group(1))
	wantGrants(t, got, a)
	wantHead(t, got.Head, 2, 1, a.ExpiresAt)

	again.Closing = true
	_, now, err = s.PutGrants(t.Context(), group(1), []access.Grant{again})
	must(t, err)
	a.Closing = true
	equal(t, "grants as they stand", []access.Grant{a}, now)
	wantGrants(t, book(t, s, group(1)), a)

	again.Closing = false // closing is not taken back
	equal(t, "generation", int64(4), put(t, s, group(1), again))
	wantGrants(t, book(t, s, group(1)), a)
}

// A grant that ends later is to be opened anew and to be woken up for anew; nothing
// else about it changes.
func testPutLonger(t *testing.T, s Store) {
	a, other := grant(1, 0), grant(1, 1)
	put(t, s, group(1), a, other)
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 42))
	settle(t, s, access.Settlement{Enforced: 1, NextDue: a.ExpiresAt, Opened: keys(a, other)})
	other.WakeUp, other.Opened = 42, true

	longer := a
	longer.ExpiresAt, longer.Requester = a.ExpiresAt.Add(1), "somebody else" // a nanosecond counts
	longer.WakeUp, longer.Opened = 7, true
	generation, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{longer})
	must(t, err)
	equal(t, "generation", int64(2), generation)
	a.ExpiresAt = longer.ExpiresAt
	equal(t, "grants as they stand", []access.Grant{a}, now)
	got := book(t, s, group(1))
	wantGrants(t, got, a, other)
	wantHead(t, got.Head, 2, 1, other.ExpiresAt)
	if got.Settled(noon) {
		t.Error("an NSG with a grant that was extended counts as settled")
	}

	// From here on it is a grant like any other. Saying it again changes nothing.
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 43))
	settle(t, s, access.Settlement{Enforced: 2, NextDue: noon, Opened: keys(a)})
	a.WakeUp, a.Opened, other.WakeUp = 43, true, 43
	for range 2 {
		put(t, s, group(1), longer)
		wantGrants(t, book(t, s, group(1)), a, other)
	}
	again := longer
	again.ExpiresAt = a.ExpiresAt.Add(time.Hour).In(time.FixedZone("elsewhere", 3600))
	_, now, err = s.PutGrants(t.Context(), group(1), []access.Grant{again})
	must(t, err)
	a.ExpiresAt, a.WakeUp, a.Opened = again.ExpiresAt.UTC(), 0, false
	equal(t, "grants as they stand", []access.Grant{a}, now)
	wantGrants(t, book(t, s, group(1)), a, other)
	settle(t, s, access.Settlement{Enforced: 5, Closed: keys(a)})
	wantGrants(t, book(t, s, group(1)), other)
}

// Whatever is to be closed is closed, whoever comes with a later end.
func testPutLongerClosing(t *testing.T, s Store) {
	a := grant(1, 0)
	put(t, s, group(1), a)
	longer := a
	longer.ExpiresAt, longer.Closing = a.ExpiresAt.Add(time.Hour), true
	_, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{longer})
	must(t, err)
	a.Closing = true // and keeps its end
	equal(t, "grants as they stand", []access.Grant{a}, now)
	longer.Closing = false
	_, now, err = s.PutGrants(t.Context(), group(1), []access.Grant{longer})
	must(t, err)
	equal(t, "grants as they stand", []access.Grant{a}, now)
	wantGrants(t, book(t, s, group(1)), a)
}

// Whichever comes first, the latest end is what stays, and what was said of an earlier
// one does not count for it.
func testPutLongerAtOnce(t *testing.T, s Store) {
	const workers = 12
	put(t, s, group(1), grant(1, 0))
	longest := grant(1, 0)
	longest.ExpiresAt = longest.ExpiresAt.Add(workers * time.Hour)
	together(t, workers, func(w int) error {
		switch w % 3 {
		case 0:
			return s.Settle(t.Context(), group(1), access.Settlement{Enforced: 1, NextDue: noon, Opened: keys(longest)})
		case 1:
			return s.SetWakeUp(t.Context(), group(1), id(1), 42)
		}
		longer := grant(1, 0)
		longer.ExpiresAt = longer.ExpiresAt.Add(time.Duration(w+1) * time.Hour)
		_, _, err := s.PutGrants(t.Context(), group(1), []access.Grant{longer})
		return err
	})
	got := book(t, s, group(1))
	wantHead(t, got.Head, 1+workers/3, 1, noon)
	longest.WakeUp = got.Grants[0].WakeUp // one noted last is noted
	wantGrants(t, got, longest)
	if longest.WakeUp != 0 && longest.WakeUp != 42 {
		t.Errorf("wake-up %d was never noted", longest.WakeUp)
	}
}

// One call that finds each kind of grant.
func testPutMixed(t *testing.T, s Store) {
	bystander, stays, closes, lasts := grant(3, 0), grant(1, 0), grant(1, 1), grant(4, 0)
	put(t, s, group(1), bystander, stays, closes, lasts)
	added, addedClosing := grant(1, 2), grant(2, 0)
	closes.Closing, addedClosing.Closing = true, true
	lasts.ExpiresAt = lasts.ExpiresAt.Add(time.Hour)
	generation, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{addedClosing, stays, lasts, closes, added})
	must(t, err)
	equal(t, "generation", int64(2), generation)
	equal(t, "grants as they stand", []access.Grant{addedClosing, stays, lasts, closes, added}, now)
	wantGrants(t, book(t, s, group(1)), bystander, stays, closes, lasts, added, addedClosing)
}

// The most that one request can bring to one NSG: three protocols on each target.
func testPutMost(t *testing.T, s Store) {
	var grants []access.Grant
	for n := range 3 * access.MaxTargets {
		g := grant(1, n)
		for p := range access.MaxPorts {
			g.Ports = append(g.Ports, uint16(40000+p))
		}
		grants = append(grants, g)
	}
	put(t, s, group(1), grants...)
	wantGrants(t, book(t, s, group(1)), grants...)
	for i := range grants {
		grants[i].Closing = true
	}
	put(t, s, group(1), grants...)
	wantGrants(t, book(t, s, group(1)), grants...)
}

// Sixteen evaluations bump one NSG at once. Every generation is given once, and
// nothing is lost.
func testPutAtOnce(t *testing.T, s Store) {
	const workers, each = 16, 3
	var mu sync.Mutex
	seen := map[int64]bool{}
	var want []access.Grant
	for w := range workers {
		for n := range each {
			want = append(want, grant(w, n))
		}
	}
	together(t, workers, func(w int) error {
		for n := range each {
			generation, _, err := s.PutGrants(t.Context(), group(1), []access.Grant{grant(w, n)})
			if err != nil {
				return err
			}
			b, err := s.Book(t.Context(), group(1))
			if err != nil {
				return err
			}
			if b.Generation < generation || !slices.ContainsFunc(b.Grants, func(g access.Grant) bool { return g.Key() == grant(w, n).Key() }) {
				return fmt.Errorf("a book of generation %d lacks the grant put as generation %d", b.Generation, generation)
			}
			mu.Lock()
			if seen[generation] {
				err = fmt.Errorf("generation %d was given twice", generation)
			}
			seen[generation] = true
			mu.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
	got := book(t, s, group(1))
	wantGrants(t, got, want...)
	wantHead(t, got.Head, workers*each, 0, time.Time{})
}

func testPutSameAtOnce(t *testing.T, s Store) {
	const workers = 16
	together(t, workers, func(w int) error {
		g := grant(1, 0)
		g.Closing = w%2 == 0
		_, now, err := s.PutGrants(t.Context(), group(1), []access.Grant{g})
		if err == nil && g.Closing && !now[0].Closing {
			err = errors.New("a grant put as closing is not")
		}
		return err
	})
	got := book(t, s, group(1))
	closing := grant(1, 0)
	closing.Closing = true
	wantGrants(t, got, closing)
	wantHead(t, got.Head, workers, 0, time.Time{})
}

func testCaseOfID(t *testing.T, s Store) {
	other := armid.MustParse("/subscriptions/11111111-2222-3333-4444-555555555555/resourcegroups/RG-NET/providers/microsoft.network/networksecuritygroups/NSG-1")
	put(t, s, group(1), grant(1, 0))
	equal(t, "generation", int64(2), put(t, s, other, grant(1, 1)))
	wantGrants(t, book(t, s, other), grant(1, 0), grant(1, 1))
}

func testWakeUp(t *testing.T, s Store) {
	mine, mineToo, other := grant(1, 0), grant(1, 1), grant(2, 0)
	put(t, s, group(1), mine, mineToo, other)
	put(t, s, group(2), grant(1, 0))
	before := book(t, s, group(1)).Head
	for _, sequence := range []int64{1<<62 + 3, 1<<62 + 3, 5} {
		must(t, s.SetWakeUp(t.Context(), group(1), id(1), sequence))
		mine.WakeUp, mineToo.WakeUp = sequence, sequence
		wantGrants(t, book(t, s, group(1)), mine, mineToo, other)
	}
	equal(t, "head", before, book(t, s, group(1)).Head)
	wantGrants(t, book(t, s, group(2)), grant(1, 0))
}

func testWakeUpOfNobody(t *testing.T, s Store) {
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 5))
	_, err := s.Head(t.Context(), group(1))
	wantError(t, "head", err, access.ErrNotFound)

	put(t, s, group(1), grant(1, 0), grant(1, 1))
	must(t, s.Settle(t.Context(), group(1), access.Settlement{Enforced: 1, Closed: []string{grant(1, 0).Key()}}))
	must(t, s.SetWakeUp(t.Context(), group(1), id(1), 5))
	left := grant(1, 1)
	left.WakeUp = 5
	wantGrants(t, book(t, s, group(1)), left) // the other is not brought back
}

func testTouch(t *testing.T, s Store) {
	generation, err := s.Touch(t.Context(), group(1))
	must(t, err)
	equal(t, "generation", int64(1), generation)
	got := book(t, s, group(1))
	wantGrants(t, got)
	wantHead(t, got.Head, 1, 0, time.Time{})
	if got.NSG.String() != group(1).String() {
		t.Errorf("the head is of %s", got.NSG)
	}

	equal(t, "generation", int64(2), put(t, s, group(1), grant(1, 0)))
	must(t, s.Settle(t.Context(), group(1), access.Settlement{Enforced: 2, NextDue: noon}))
	generation, err = s.Touch(t.Context(), group(1))
	must(t, err)
	equal(t, "generation", int64(3), generation)
	got = book(t, s, group(1))
	wantGrants(t, got, grant(1, 0))
	wantHead(t, got.Head, 3, 2, noon)
}

func testTouchAtOnce(t *testing.T, s Store) {
	const workers = 16
	together(t, workers, func(int) error {
		_, err := s.Touch(t.Context(), group(1))
		return err
	})
	wantHead(t, book(t, s, group(1)).Head, workers, 0, time.Time{})
}

// booksByNSG also proves that no NSG comes twice.
func booksByNSG(t *testing.T, s Store) map[string]access.Book {
	t.Helper()
	out := map[string]access.Book{}
	must(t, s.Books(t.Context(), func(b access.Book) error {
		if _, twice := out[b.NSG.Key()]; twice {
			return fmt.Errorf("the book of %s comes twice", b.NSG)
		}
		out[b.NSG.Key()] = b
		return nil
	}))
	return out
}

func testBooks(t *testing.T, s Store) {
	for n := range 12 {
		for target := range n {
			put(t, s, group(n), grant(n, target))
		}
	}
	_, err := s.Touch(t.Context(), group(0)) // had no grant, but is looked at
	must(t, err)
	must(t, s.Settle(t.Context(), group(1), access.Settlement{Enforced: 1, Closed: []string{grant(1, 0).Key()}})) // has none any more
	got := booksByNSG(t, s)
	equal(t, "number of books", 12, len(got))
	for n := range 12 {
		want := book(t, s, group(n))
		equal(t, "head", want.Head, got[group(n).Key()].Head)
		wantGrants(t, got[group(n).Key()], want.Grants...)
	}
}

func testBooksStops(t *testing.T, s Store) {
	for n := range 3 {
		put(t, s, group(n), grant(n, 0))
	}
	enough, calls := errors.New("enough"), 0
	err := s.Books(t.Context(), func(access.Book) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	wantError(t, "books", err, enough)
	equal(t, "calls", 2, calls)
}

// The sweep writes while it reads.
func testBooksWhileWriting(t *testing.T, s Store) {
	for n := range 5 {
		put(t, s, group(n), grant(n, 0))
	}
	calls := 0
	must(t, s.Books(t.Context(), func(b access.Book) error {
		calls++
		_, err := s.Touch(t.Context(), b.NSG)
		return errors.Join(err, s.SetWakeUp(t.Context(), b.NSG, b.Grants[0].Request, 5))
	}))
	equal(t, "calls", 5, calls)
	for _, b := range booksByNSG(t, s) {
		wantHead(t, b.Head, 2, 0, time.Time{})
		equal(t, "wake-up", int64(5), b.Grants[0].WakeUp)
	}
}
