package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

var ledgerTests = map[string]func(*testing.T, Store){
	"None":    testNoLedger,
	"Create":  testCreateLedger,
	"Update":  testUpdateLedger,
	"Refused": testUpdateLedgerRefused,
	"AtOnce":  testUpdateLedgerAtOnce,
	"Scopes":  testScopesOfLockdowns,
	"Large":   testLargeLedger,
	"Events":  testLedgerEvents,
	"Apart":   testLedgerApart,
}

// ledger has every field set, some of which exclude each other in real life; it
// counts no event yet.
func ledger() access.Ledger {
	return access.Ledger{
		Lockdowns: []access.Lockdown{
			{ID: id(1), User: bob.Object, Scope: policy.ScopeOf(vm(1)), Until: noon.Add(time.Hour), Alert: "alert-1", By: alice, Reason: "Stolen.", At: noon},
			{ID: id(2), Scope: policy.Tenant, By: bob, At: noon.Add(1)},
		},
		PreApprovals: []access.PreApproval{{Alert: hexKey(1), Rule: "rule", Group: "g1", Machines: []armid.ID{vm(1), vm(2)},
			Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}, {Number: 53, Protocol: policy.AnyProtocol}}, Until: noon.Add(time.Hour)}},
	}
}

// updateLedger stores l as the next state, with one event, and returns what it must
// then be.
func updateLedger(t *testing.T, s Store, l access.Ledger, text string) access.Ledger {
	t.Helper()
	got, err := s.UpdateLedger(t.Context(), func(now *access.Ledger) ([]audit.Event, error) {
		l.Told, l.Events = now.Told, now.Events+1
		*now = l
		return note(text), nil
	})
	must(t, err)
	equal(t, "result", l, got)
	return l
}

func wantLedger(t *testing.T, s Store, want access.Ledger, record ...string) {
	t.Helper()
	got, err := s.Ledger(t.Context())
	must(t, err)
	equal(t, "ledger", want, got)
	equal(t, "record", record, ledgerTexts(t, s, 0, 0))
}

func ledgerTexts(t *testing.T, s Store, after, limit int) []string {
	t.Helper()
	events, err := s.LedgerEvents(t.Context(), after, limit)
	must(t, err)
	return numberedTexts(events)
}

func testNoLedger(t *testing.T, s Store) {
	wantLedger(t, s, access.Ledger{})
	result, err := s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
		equal(t, "what change is shown", access.Ledger{}, *l)
		*l = ledger()
		return nil, nil
	})
	must(t, err)
	equal(t, "result", access.Ledger{}, result)
	wantLedger(t, s, access.Ledger{})
}

func testCreateLedger(t *testing.T, s Store) {
	want := updateLedger(t, s, ledger(), "one")
	must(t, s.MarkLedgerTold(t.Context(), map[string]int{"teams": 1}))
	want.Told = map[string]int{"teams": 1}
	wantFilled(t, want)
	wantLedger(t, s, want, "1 one")

	full := audit.Event{At: noon, Kind: audit.LockdownSet, Actor: "o", Name: "n", VM: vm(1).String(), NSG: group(1).String(), Rule: "rule", Policy: "scope version 3", Text: "two"}
	_, err := s.UpdateLedger(t.Context(), func(*access.Ledger) ([]audit.Event, error) { return []audit.Event{full}, nil })
	must(t, err)
	record, err := s.LedgerEvents(t.Context(), 1, 0)
	must(t, err)
	full.Sequence = 2
	equal(t, "record", []audit.Event{full}, record)
}

func testUpdateLedger(t *testing.T, s Store) {
	first := updateLedger(t, s, ledger(), "one")
	result, err := s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
		equal(t, "ledger given to change", first, *l)
		l.Lockdowns, l.PreApprovals = l.Lockdowns[1:], nil
		l.Events, l.Told = 77, map[string]int{"teams": 77} // not the change's to decide
		return append(note("two"), note("three")...), nil
	})
	must(t, err)
	want := access.Ledger{Lockdowns: ledger().Lockdowns[1:], Events: 3}
	equal(t, "result", want, result)
	wantLedger(t, s, want, "1 one", "2 two", "3 three")
}

func testUpdateLedgerRefused(t *testing.T, s Store) {
	want := updateLedger(t, s, ledger(), "one")
	refusal := errors.New("no")
	spoil := func(l *access.Ledger) {
		l.Lockdowns[0].Reason, l.PreApprovals[0].Machines[0] = "spoilt", vm(9)
	}
	_, err := s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
		spoil(l)
		return note("never"), refusal
	})
	if err != refusal { // as it is, not wrapped
		t.Fatalf("error %v, want the one of change", err)
	}
	result, err := s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
		spoil(l)
		return nil, nil
	})
	must(t, err)
	equal(t, "result", want, result)
	wantLedger(t, s, want, "1 one")
}

// One of them creates it. Every other builds on what was there before.
func testUpdateLedgerAtOnce(t *testing.T, s Store) {
	const workers, each = 12, 2
	together(t, workers, func(w int) error {
		for range each {
			_, err := s.UpdateLedger(t.Context(), func(l *access.Ledger) ([]audit.Event, error) {
				l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: fmt.Sprint(len(l.Lockdowns)), User: fmt.Sprint(w), At: noon})
				return note("lockdown " + fmt.Sprint(len(l.Lockdowns))), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	got, err := s.Ledger(t.Context())
	must(t, err)
	of := map[string]int{}
	var want []string
	for n, l := range got.Lockdowns {
		equal(t, "id", fmt.Sprint(n), l.ID)
		of[l.User]++
		want = append(want, fmt.Sprintf("%d lockdown %d", n+1, n+1))
	}
	for w := range workers {
		equal(t, "lockdowns of one", each, of[fmt.Sprint(w)])
	}
	equal(t, "record", want, ledgerTexts(t, s, 0, 0))
}

// Every kind of scope comes back as it was; one that came back as nothing would lock
// nothing.
func testScopesOfLockdowns(t *testing.T, s Store) {
	l := access.Ledger{Lockdowns: []access.Lockdown{{ID: "user", User: bob.Object, At: noon}, {ID: "tenant", Scope: policy.Tenant, At: noon}}}
	for _, scope := range vm(1).Scopes() {
		l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: scope.String(), Scope: policy.ScopeOf(scope), At: noon})
	}
	want := updateLedger(t, s, l, "one")
	got, err := s.Ledger(t.Context())
	must(t, err)
	equal(t, "ledger", want, got)
	for i, d := range got.Lockdowns {
		if !d.Scope.Equal(want.Lockdowns[i].Scope) || d.Scope.Contains(vm(1)) != (i > 0) || d.Scope.Contains(vm(2)) != (i == 1 || i > 2) {
			t.Errorf("lockdown %s came back with the scope %q", d.ID, d.Scope)
		}
	}
}

// A pre-approval may name a whole subscription's machines.
func testLargeLedger(t *testing.T, s Store) {
	l := ledger()
	for n := range 1000 {
		l.PreApprovals[0].Machines = append(l.PreApprovals[0].Machines, vm(n))
	}
	for n := range 100 {
		l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: id(n), Scope: policy.ScopeOf(vm(n)), By: alice, Reason: strings.Repeat("é𝄞\n\"", 50), At: noon})
	}
	updateLedger(t, s, l, "large")
	small := ledger() // nothing of its former size stays behind
	want := updateLedger(t, s, small, "small")
	wantLedger(t, s, want, "1 large", "2 small")
}

func testLedgerEvents(t *testing.T, s Store) {
	equal(t, "record of nothing", nil, ledgerTexts(t, s, 5, 5))
	const n = 130
	var all []string
	for first := 1; first <= n; first += 65 {
		_, err := s.UpdateLedger(t.Context(), func(*access.Ledger) ([]audit.Event, error) {
			var events []audit.Event
			for i := range 65 {
				events = append(events, note(fmt.Sprint("event ", first+i))...)
			}
			return events, nil
		})
		must(t, err)
	}
	for i := range n {
		all = append(all, fmt.Sprintf("%d event %d", i+1, i+1))
	}
	for _, c := range []struct{ after, limit, first, last int }{
		{0, 0, 0, n}, {0, 1, 0, 1}, {0, n, 0, n}, {0, n + 1, 0, n}, {1, 0, 1, n}, {9, 2, 9, 11}, {99, 3, 99, 102},
		{n - 1, 0, n - 1, n}, {n - 1, 5, n - 1, n}, {n, 0, n, n}, {n + 7, 2, n, n}, {-3, 2, 0, 2},
	} {
		equal(t, fmt.Sprintf("at most %d behind %d", c.limit, c.after), all[c.first:c.last], ledgerTexts(t, s, c.after, c.limit))
	}
}

// What is kept beside the ledger is no part of it.
func testLedgerApart(t *testing.T, s Store) {
	must(t, s.InsertSignal(t.Context(), signal(1)))
	must(t, s.UpdateHabits(t.Context(), alice, func(h *access.Habits) bool { *h = habits(); return true }))
	must(t, s.InsertRequest(t.Context(), request(1), created(request(1))))
	wantLedger(t, s, access.Ledger{})
	want := updateLedger(t, s, ledger(), "one")
	must(t, s.ForgetSignals(t.Context(), noon.Add(1000*time.Hour)))
	wantLedger(t, s, want, "1 one")
}
