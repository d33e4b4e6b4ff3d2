package storetest

import (
	"errors"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

var listTests = map[string]func(*testing.T, Store){
	"Empty":            testListEmpty,
	"NewestFirst":      testNewestFirst,
	"Pages":            testPages,
	"Limits":           testLimits,
	"PagesOfRare":      testPagesOfRare,
	"InsertBetween":    testInsertBetween,
	"ByState":          testByState,
	"ByVM":             testByVM,
	"ByRequester":      testByRequester,
	"ByAll":            testByAll,
	"Unfinished":       testUnfinished,
	"ReviewDue":        testReviewDue,
	"WrongCursor":      testWrongCursor,
	"WholeRequestsOut": testWholeRequests,
}

// walk reads all pages.
func walk(t *testing.T, s Store, q access.Query) (pages []access.Page) {
	t.Helper()
	for {
		page, err := s.List(t.Context(), q)
		must(t, err)
		pages = append(pages, page)
		if len(pages) > 1000 {
			t.Fatal("the list does not end")
		}
		if page.Next == "" {
			return pages
		}
		q.Cursor = page.Next
	}
}

// listed is the ids of all pages in order.
func listed(t *testing.T, s Store, q access.Query) []string {
	t.Helper()
	var out []string
	for _, p := range walk(t, s, q) {
		for _, r := range p.Requests {
			out = append(out, r.ID)
		}
	}
	return out
}

func fill(t *testing.T, s Store, requests ...access.Request) {
	t.Helper()
	for _, r := range requests {
		must(t, s.InsertRequest(t.Context(), r, created(r)))
	}
}

// ids from first down to last.
func down(first, last int) []string {
	var out []string
	for n := first; n >= last; n-- {
		out = append(out, id(n))
	}
	return out
}

func numbered(first, last int) (out []access.Request) {
	for n := first; n <= last; n++ {
		out = append(out, request(n))
	}
	return out
}

func testListEmpty(t *testing.T, s Store) {
	for _, q := range []access.Query{{}, {Unfinished: true}, {State: access.Active}, {VM: vm(1)}, {Requester: alice}} {
		equal(t, "pages", []access.Page{{}}, walk(t, s, q))
	}
}

func testWholeRequests(t *testing.T, s Store) {
	fill(t, s, largest())
	equal(t, "pages", []access.Page{{Requests: []access.Request{largest()}}}, walk(t, s, access.Query{}))
}

func testNewestFirst(t *testing.T, s Store) {
	moments := []time.Duration{5, 1, 9, 3, 7}
	var want []string
	for n, d := range moments {
		r := request(n)
		r.CreatedAt = noon.Add(d) // nanoseconds apart
		fill(t, s, r)
	}
	for _, n := range []int{2, 4, 0, 3, 1} {
		want = append(want, id(n))
	}
	equal(t, "order", want, listed(t, s, access.Query{}))
}

func testPages(t *testing.T, s Store) {
	fill(t, s, numbered(1, 10)...)
	for _, limit := range []int{1, 3, 5, 10, 11} {
		pages := walk(t, s, access.Query{Limit: limit})
		var got []string
		for i, p := range pages {
			if len(p.Requests) > limit || (i < len(pages)-1 && len(p.Requests) != limit) {
				t.Errorf("limit %d: page %d of %d holds %d requests", limit, i+1, len(pages), len(p.Requests))
			}
			for _, r := range p.Requests {
				got = append(got, r.ID)
			}
		}
		equal(t, "requests of all pages", down(10, 1), got)
		if want := (10 + limit - 1) / limit; len(pages) != want {
			t.Errorf("limit %d: %d pages, want %d", limit, len(pages), want)
		}
	}
}

func testLimits(t *testing.T, s Store) {
	fill(t, s, numbered(1, 60)...)
	page, err := s.List(t.Context(), access.Query{})
	must(t, err)
	if len(page.Requests) != 50 || page.Next == "" {
		t.Errorf("a page without a limit holds %d requests and the cursor %q, want 50 and one", len(page.Requests), page.Next)
	}
	page, err = s.List(t.Context(), access.Query{Limit: 200})
	must(t, err)
	if len(page.Requests) != 60 || page.Next != "" {
		t.Errorf("a page of at most 200 holds %d requests and the cursor %q, want 60 and none", len(page.Requests), page.Next)
	}
}

// Matches lie far apart; however the store cuts its pages, none is lost.
func testPagesOfRare(t *testing.T, s Store) {
	requests := numbered(1, 60)
	for i := range requests {
		requests[i].Targets[0].State = access.Denied
	}
	for _, n := range []int{1, 30, 31, 60} {
		requests[n-1].Targets[0].State = access.Rejected
	}
	fill(t, s, requests...)
	want := []string{id(60), id(31), id(30), id(1)}
	for _, limit := range []int{1, 2, 3, 4, 5} {
		equal(t, "rejected", want, listed(t, s, access.Query{State: access.Rejected, Limit: limit}))
	}
}

func testInsertBetween(t *testing.T, s Store) {
	fill(t, s, numbered(1, 4)...)
	page, err := s.List(t.Context(), access.Query{Limit: 2})
	must(t, err)
	fill(t, s, numbered(5, 6)...)
	page, err = s.List(t.Context(), access.Query{Limit: 2, Cursor: page.Next})
	must(t, err)
	var got []string
	for _, r := range page.Requests {
		got = append(got, r.ID)
	}
	equal(t, "second page", down(2, 1), got)
}

func testByState(t *testing.T, s Store) {
	for i, state := range access.States {
		r := request(i)
		r.Targets[0].State = state
		fill(t, s, r)
	}
	for i, state := range access.States {
		equal(t, string(state), []string{id(i)}, listed(t, s, access.Query{State: state}))
	}
	equal(t, "no such state", nil, listed(t, s, access.Query{State: "Nonsense"}))

	// The state of a request is derived, and follows its changes.
	both := request(100)
	both.Targets = append(both.Targets, access.Target{VM: vm(101), State: access.Denied})
	fill(t, s, both)
	equal(t, "pending", []string{id(100), id(0)}, listed(t, s, access.Query{State: access.Pending}))
	move(t, s, 100, access.Denied)
	equal(t, "pending", []string{id(0)}, listed(t, s, access.Query{State: access.Pending}))
	equal(t, "denied", []string{id(100), id(5)}, listed(t, s, access.Query{State: access.Denied}))
}

// move sets the state of the first target.
func move(t *testing.T, s Store, n int, to access.State) {
	t.Helper()
	_, err := s.UpdateRequest(t.Context(), id(n), func(r *access.Request) ([]audit.Event, error) {
		r.Targets[0].State = to
		return note(string(to)), nil
	})
	must(t, err)
}

func testByVM(t *testing.T, s Store) {
	requests := numbered(1, 4)
	requests[3].Targets = append(requests[3].Targets, access.Target{VM: vm(2), State: access.Pending})
	fill(t, s, requests...)
	equal(t, "VM 2", []string{id(4), id(2)}, listed(t, s, access.Query{VM: vm(2)}))
	equal(t, "VM 2 in capitals", []string{id(4), id(2)}, listed(t, s, access.Query{VM: shouted(vm(2)), Limit: 1}))
	equal(t, "VM nobody asked for", nil, listed(t, s, access.Query{VM: vm(77)}))
}

func testByRequester(t *testing.T, s Store) {
	requests := numbered(1, 4)
	requests[1].Requester, requests[3].Requester = bob, bob
	stranger := bob
	stranger.Tenant = "99999999-0000-0000-0000-000000000002"
	requests[0].Requester = stranger
	fill(t, s, requests...)
	renamed := bob
	renamed.Name = "robert@example.com"
	equal(t, "bob", []string{id(4), id(2)}, listed(t, s, access.Query{Requester: renamed, Limit: 1}))
	equal(t, "bob of another tenant", []string{id(1)}, listed(t, s, access.Query{Requester: stranger}))
	equal(t, "nobody", nil, listed(t, s, access.Query{Requester: access.Person{Tenant: "x", Object: "y"}}))
	equal(t, "no id at all", nil, listed(t, s, access.Query{Requester: access.Person{Tenant: "a|b' or 1 eq 1", Object: "/"}}))
}

func testByAll(t *testing.T, s Store) {
	requests := numbered(1, 16)
	for i := range requests {
		if i&1 != 0 {
			requests[i].Requester = bob
		}
		if i&2 != 0 {
			requests[i].Targets[0].VM = vm(1)
		}
		if i&4 != 0 {
			requests[i].Targets[0].State = access.Denied
		}
	}
	fill(t, s, requests...)
	equal(t, "bob, VM 1, denied", []string{id(16), id(8)}, listed(t, s, access.Query{Requester: bob, VM: vm(1), State: access.Denied}))
	equal(t, "bob, VM 1, pending", []string{id(12), id(4)}, listed(t, s, access.Query{Requester: bob, VM: vm(1), State: access.Pending, Limit: 1}))
	equal(t, "bob, VM 1, unfinished", []string{id(12), id(4)}, listed(t, s, access.Query{Requester: bob, VM: vm(1), Unfinished: true}))
	equal(t, "denied but unfinished", nil, listed(t, s, access.Query{State: access.Denied, Unfinished: true}))
}

func testUnfinished(t *testing.T, s Store) {
	requests := numbered(1, 3)
	requests[1].Targets[0].Openings = []access.Opening{{NSG: group(1)}}
	fill(t, s, requests...)
	unfinished := access.Query{Unfinished: true}
	equal(t, "at first", down(3, 1), listed(t, s, unfinished))
	move(t, s, 1, access.Denied)
	move(t, s, 2, access.Failed) // its rule may still be in an NSG
	equal(t, "one denied, one failed", down(3, 2), listed(t, s, unfinished))
	equal(t, "failed", []string{id(2)}, listed(t, s, access.Query{State: access.Failed}))
	_, err := s.UpdateRequest(t.Context(), id(2), func(r *access.Request) ([]audit.Event, error) {
		r.Targets[0].Openings[0].Closed = true
		return note("gone"), nil
	})
	must(t, err)
	equal(t, "one denied, one failed and cleaned up", []string{id(3)}, listed(t, s, unfinished))
	equal(t, "all", down(3, 1), listed(t, s, access.Query{}))
}

// A request whose review is open is not finished, however long its access has ended.
func testReviewDue(t *testing.T, s Store) {
	requests := numbered(1, 4)
	for i := range requests {
		requests[i].Targets[0].State = access.Pending
		if i > 0 {
			requests[i].Review = &access.Review{DueAt: noon.Add(time.Hour)}
		}
	}
	fill(t, s, requests...)
	due := access.Query{ReviewDue: true}
	equal(t, "reviews due", down(4, 2), listed(t, s, due))
	for n := 1; n <= 4; n++ {
		move(t, s, n, access.Expired)
	}
	equal(t, "reviews due", down(4, 2), listed(t, s, due))
	equal(t, "unfinished", down(4, 2), listed(t, s, access.Query{Unfinished: true}))
	_, err := s.UpdateRequest(t.Context(), id(3), func(r *access.Request) ([]audit.Event, error) {
		r.Review.By, r.Review.ClosedAt = bob, noon.Add(time.Minute)
		return note("reviewed"), nil
	})
	must(t, err)
	equal(t, "reviews due", []string{id(4), id(2)}, listed(t, s, due))
	equal(t, "unfinished", []string{id(4), id(2)}, listed(t, s, access.Query{Unfinished: true}))
}

func testWrongCursor(t *testing.T, s Store) {
	fill(t, s, numbered(1, 3)...)
	page, err := s.List(t.Context(), access.Query{Limit: 1})
	must(t, err)
	for _, q := range []access.Query{
		{Cursor: "nonsense"},
		{Cursor: "!"},
		{Cursor: page.Next + "A"},
		{Cursor: page.Next[1:]},
		{Cursor: page.Next, VM: vm(1)}, // of another list
		{Cursor: page.Next, Unfinished: true},
	} {
		_, err := s.List(t.Context(), q)
		var refused access.Refusals
		if !errors.As(err, &refused) || refused[0].Code != access.CursorInvalid {
			t.Errorf("cursor %q: error %v, want a refusal %s", q.Cursor, err, access.CursorInvalid)
		}
	}
}
