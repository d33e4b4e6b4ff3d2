package storetest

import (
	"testing"
	"time"

	"jitgate/internal/access"
)

var settleTests = map[string]func(*testing.T, Store){
	"OpenAndClose":     testOpenAndClose,
	"AddedMeanwhile":   testAddedMeanwhile,
	"Stale":            testStale,
	"Unmatched":        testUnmatched,
	"Repeated":         testRepeated,
	"Many":             testSettleMany,
	"WhileOthersPut":   testSettleWhileOthersPut,
	"ClosingMeanwhile": testClosingMeanwhile,
	"LongerMeanwhile":  testLongerMeanwhile,
}

func settle(t *testing.T, s Store, settled access.Settlement) {
	t.Helper()
	must(t, s.Settle(t.Context(), group(1), settled))
}

func keys(grants ...access.Grant) []string {
	var out []string
	for _, g := range grants {
		out = append(out, g.Key())
	}
	return out
}

func testOpenAndClose(t *testing.T, s Store) {
	opens, closes, waits := grant(1, 0), grant(1, 1), grant(2, 0)
	put(t, s, group(1), opens, closes, waits)
	due := noon.Add(time.Hour + 5)
	settle(t, s, access.Settlement{Enforced: 1, NextDue: due, Opened: keys(opens), Closed: keys(closes)})
	opens.Opened = true
	got := book(t, s, group(1))
	wantGrants(t, got, opens, waits)
	wantHead(t, got.Head, 1, 1, due)
	if got.NextDue.Location() != time.UTC {
		t.Errorf("next due %v, want UTC", got.NextDue)
	}
	if !got.Settled(noon) || got.Settled(due) {
		t.Error("the NSG must count as settled until the next expiry")
	}

	settle(t, s, access.Settlement{Enforced: 1, Closed: keys(opens, waits)})
	got = book(t, s, group(1))
	wantGrants(t, got)
	wantHead(t, got.Head, 1, 1, time.Time{}) // no expiry is left
}

func testAddedMeanwhile(t *testing.T, s Store) {
	first := grant(1, 0)
	put(t, s, group(1), first)
	read := book(t, s, group(1))
	added := grant(2, 0)
	added.ExpiresAt = noon.Add(time.Minute) // before anything the pass knows of
	put(t, s, group(1), added)
	settle(t, s, access.Settlement{Enforced: read.Generation, NextDue: first.ExpiresAt, Opened: keys(first)})
	first.Opened = true
	got := book(t, s, group(1))
	wantGrants(t, got, first, added)
	wantHead(t, got.Head, 2, 1, first.ExpiresAt)
	if got.Settled(noon) {
		t.Error("an NSG with an unseen grant counts as settled")
	}
}

// A pass that lost its session settles after a newer one. What it knows of the
// next expiry is outdated, what it confirmed of single grants is not.
func testStale(t *testing.T, s Store) {
	first, second := grant(1, 0), grant(2, 0)
	put(t, s, group(1), first)
	put(t, s, group(1), second)
	settle(t, s, access.Settlement{Enforced: 2, NextDue: second.ExpiresAt, Opened: keys(second)})
	settle(t, s, access.Settlement{Enforced: 1, Opened: keys(first)})
	first.Opened, second.Opened = true, true
	got := book(t, s, group(1))
	wantGrants(t, got, first, second)
	wantHead(t, got.Head, 2, 2, second.ExpiresAt)
}

// Azure refuses to remove the rule of a grant that is over. The head must keep
// saying that something is due, or nobody looks again.
func testUnmatched(t *testing.T, s Store) {
	over, open := grant(1, 0), grant(2, 0)
	open.ExpiresAt = noon.Add(5 * time.Hour)
	put(t, s, group(1), over, open)
	settle(t, s, access.Settlement{Enforced: 1, NextDue: over.ExpiresAt, Opened: keys(over, open)})
	settle(t, s, access.Settlement{Enforced: 0, NextDue: open.ExpiresAt})
	got := book(t, s, group(1))
	wantHead(t, got.Head, 1, 1, over.ExpiresAt)
	if got.Settled(over.ExpiresAt.Add(time.Minute)) {
		t.Error("an NSG with a rule that should be gone counts as settled")
	}

	// Not matching also means that what was enforced before is not forgotten.
	put(t, s, group(1), grant(3, 0))
	third := grant(3, 0)
	settle(t, s, access.Settlement{Opened: keys(third)})
	third.Opened, over.Opened, open.Opened = true, true, true
	got = book(t, s, group(1))
	wantGrants(t, got, over, open, third)
	wantHead(t, got.Head, 2, 1, over.ExpiresAt)
}

func testRepeated(t *testing.T, s Store) {
	opens, closes := grant(1, 0), grant(1, 1)
	put(t, s, group(1), opens, closes)
	unknown := grant(7, 7)
	settled := access.Settlement{Enforced: 1, NextDue: noon, Opened: keys(opens, unknown), Closed: keys(closes, unknown)}
	for range 3 {
		settle(t, s, settled)
	}
	opens.Opened = true
	got := book(t, s, group(1))
	wantGrants(t, got, opens)
	wantHead(t, got.Head, 1, 1, noon)
	settle(t, s, access.Settlement{}) // nothing at all
	equal(t, "book", got, book(t, s, group(1)))
}

// A burst is settled whole, however many rows a store can change at once.
func testSettleMany(t *testing.T, s Store) {
	var open, closed, all []access.Grant
	for n := range 260 {
		g := grant(n, 0)
		all = append(all, g)
		if n%2 == 0 {
			closed = append(closed, g)
			continue
		}
		g.Opened = true
		open = append(open, g)
	}
	for len(all) > 0 {
		n := min(40, len(all))
		put(t, s, group(1), all[:n]...)
		all = all[n:]
	}
	generation := book(t, s, group(1)).Generation
	settle(t, s, access.Settlement{Enforced: generation, NextDue: noon, Opened: keys(open...), Closed: keys(closed...)})
	got := book(t, s, group(1))
	wantGrants(t, got, open...)
	wantHead(t, got.Head, generation, generation, noon)
}

func testSettleWhileOthersPut(t *testing.T, s Store) {
	const workers = 8
	var before, after []access.Grant
	for n := range workers {
		before = append(before, grant(1, n))
		after = append(after, grant(2, n))
	}
	put(t, s, group(1), before...)
	together(t, workers, func(w int) error {
		if _, _, err := s.PutGrants(t.Context(), group(1), after[w:w+1]); err != nil {
			return err
		}
		settled := access.Settlement{Enforced: 1, NextDue: noon, Closed: keys(before[w])}
		if w%2 == 0 {
			settled.Closed, settled.Opened = nil, keys(before[w])
		}
		return s.Settle(t.Context(), group(1), settled)
	})
	want := after
	for w := 0; w < workers; w += 2 {
		before[w].Opened = true
		want = append(want, before[w])
	}
	got := book(t, s, group(1))
	wantGrants(t, got, want...)
	wantHead(t, got.Head, 1+workers, 1, noon)
}

// A revocation between reading and settling is not undone.
func testClosingMeanwhile(t *testing.T, s Store) {
	g := grant(1, 0)
	put(t, s, group(1), g)
	closing := g
	closing.Closing = true
	put(t, s, group(1), closing)
	settle(t, s, access.Settlement{Enforced: 1, NextDue: g.ExpiresAt, Opened: keys(g)})
	closing.Opened = true
	got := book(t, s, group(1))
	wantGrants(t, got, closing)
	wantHead(t, got.Head, 2, 1, g.ExpiresAt)
}

// Between reading and settling a grant got a later end. What the pass confirmed was
// the earlier one: nothing of it counts, neither that the rule is right nor that it
// is gone. A pass that cannot say what it has read says nothing of it either.
func testLongerMeanwhile(t *testing.T, s Store) {
	longer, other := grant(1, 0), grant(2, 0)
	put(t, s, group(1), longer, other)
	longer.ExpiresAt = longer.ExpiresAt.Add(time.Hour)
	put(t, s, group(1), longer)
	other.Opened = true
	for _, settled := range []access.Settlement{
		{Enforced: 1, NextDue: other.ExpiresAt, Opened: keys(longer, other)},
		{Enforced: 1, NextDue: other.ExpiresAt, Closed: keys(longer)},
		{Enforced: 0, Opened: keys(longer)},
		{Enforced: 0, Closed: keys(longer)},
	} {
		settle(t, s, settled)
		got := book(t, s, group(1))
		wantGrants(t, got, longer, other)
		wantHead(t, got.Head, 2, 1, other.ExpiresAt)
		if got.Settled(noon) {
			t.Error("an NSG with an unseen end counts as settled")
		}
	}
	settle(t, s, access.Settlement{Enforced: 2, NextDue: other.ExpiresAt, Opened: keys(longer)})
	longer.Opened = true
	wantGrants(t, book(t, s, group(1)), longer, other)
	settle(t, s, access.Settlement{Enforced: 2, Closed: keys(longer)})
	wantGrants(t, book(t, s, group(1)), other)
}
