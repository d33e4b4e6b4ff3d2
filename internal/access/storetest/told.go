package storetest

import (
	"fmt"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

var toldTests = map[string]func(*testing.T, Store){
	"Raises":      testToldRaises,
	"Finished":    testToldFinished,
	"WhileUpdate": testToldWhileUpdate,
	"Ledger":      testLedgerTold,
	"LedgerWhile": testLedgerToldWhileUpdate,
}

// marks are what is noted one after the other, and what stands afterwards.
var marks = []struct{ told, want map[string]int }{
	{map[string]int{"teams": 2, "mail": 1}, map[string]int{"teams": 2, "mail": 1}},
	{map[string]int{"teams": 1, "mail": 1}, map[string]int{"teams": 2, "mail": 1}}, // it never goes back
	{map[string]int{"teams": 1, "mail": 3}, map[string]int{"teams": 2, "mail": 3}},
	{map[string]int{"webhook ü/?#\"": 7}, map[string]int{"teams": 2, "mail": 3, "webhook ü/?#\"": 7}},
	{map[string]int{"sms": 0, "mail": -1}, map[string]int{"teams": 2, "mail": 3, "webhook ü/?#\"": 7, "sms": 0}}, // one that is owed everything
	{nil, map[string]int{"teams": 2, "mail": 3, "webhook ü/?#\"": 7, "sms": 0}},
}

func testToldRaises(t *testing.T, s Store) {
	r := complete()
	r.Told = nil
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	for _, m := range marks {
		for range 2 {
			must(t, s.MarkTold(t.Context(), r.ID, m.told))
			r.Told = m.want
			got, err := s.Request(t.Context(), r.ID)
			must(t, err)
			equal(t, "request", r, got)
		}
	}
	equal(t, "events", []string{"1 Asked."}, texts(t, s, r.ID))
	wantError(t, "told of another", s.MarkTold(t.Context(), id(2), map[string]int{"teams": 1}), access.ErrNotFound)
	_, err := s.Request(t.Context(), id(2))
	wantError(t, "another", err, access.ErrNotFound)
}

// The last notice is sent when all is over.
func testToldFinished(t *testing.T, s Store) {
	fill(t, s, request(1))
	move(t, s, 1, access.Denied)
	must(t, s.MarkTold(t.Context(), id(1), map[string]int{"teams": 2}))
	equal(t, "unfinished", nil, listed(t, s, access.Query{Unfinished: true}))
	equal(t, "all", []string{id(1)}, listed(t, s, access.Query{}))
}

// Notices go out while the request changes: neither is lost, and the changes see what
// was told.
func testToldWhileUpdate(t *testing.T, s Store) {
	const workers, each = 8, 4
	r := request(1)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	together(t, workers, func(w int) error {
		for n := range each {
			var err error
			if w%2 == 0 {
				err = s.MarkTold(t.Context(), r.ID, map[string]int{"all": 10*n + w, fmt.Sprint(w): n + 1})
			} else {
				_, err = s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
					r.Extensions++
					r.Told = map[string]int{"forged": 1}
					return note("changed"), nil
				})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	r.Extensions, r.Events = workers/2*each, 1+workers/2*each
	r.Told = map[string]int{"all": 10*(each-1) + workers - 2, "0": each, "2": each, "4": each, "6": each}
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)
}

func testLedgerTold(t *testing.T, s Store) {
	wantError(t, "told without a ledger", s.MarkLedgerTold(t.Context(), map[string]int{"teams": 1}), access.ErrNotFound)
	want := updateLedger(t, s, ledger(), "one")
	for _, m := range marks {
		for range 2 {
			must(t, s.MarkLedgerTold(t.Context(), m.told))
			want.Told = m.want
			wantLedger(t, s, want, "1 one")
		}
	}
}

func testLedgerToldWhileUpdate(t *testing.T, s Store) {
	const workers, each = 8, 3
	updateLedger(t, s, access.Ledger{}, "first")
	together(t, workers, func(w int) error {
		for n := range each {
			var err error
			if w%2 == 0 {
				err = s.MarkLedgerTold(t.Context(), map[string]int{"all": 10*n + w, fmt.Sprint(w): n + 1})
			} else {
				_, err = s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
					l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: fmt.Sprint(w, " ", n)})
					l.Told = nil
					return note("changed"), nil
				})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	got, err := s.Ledger(t.Context())
	must(t, err)
	equal(t, "told", map[string]int{"all": 10*(each-1) + workers - 2, "0": each, "2": each, "4": each, "6": each}, got.Told)
	equal(t, "lockdowns and events", []int{workers / 2 * each, 1 + workers/2*each}, []int{len(got.Lockdowns), got.Events})
}
