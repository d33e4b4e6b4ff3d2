package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

var noteTests = map[string]func(*testing.T, Store){
	"None":     testNoNotes,
	"Order":    testNotesInOrder,
	"AtOnce":   testNotesAtOnce,
	"Many":     testManyNotes,
	"CaseOfID": testCaseOfNotes,
}

func notes(t *testing.T, s Store, n int) []audit.Event {
	t.Helper()
	events, err := s.Notes(t.Context(), group(n))
	must(t, err)
	return events
}

func testNoNotes(t *testing.T, s Store) {
	equal(t, "notes", nil, notes(t, s, 1))
	must(t, s.Note(t.Context(), group(1), nil))
	equal(t, "notes", nil, notes(t, s, 1))
}

func testNotesInOrder(t *testing.T, s Store) {
	full := audit.Event{At: noon, Kind: audit.RuleRemoved, Actor: "o", Name: "n", VM: vm(1).String(), NSG: group(1).String(),
		Rule: "rule", Policy: "scope version 3", Text: "first"}
	second, third := note("second")[0], note("third")[0]
	second.At = noon.Add(-1) // they are in the order of noting, whatever they are about
	third.Sequence = 77      // not the caller's to decide
	must(t, s.Note(t.Context(), group(1), []audit.Event{full, second}))
	must(t, s.Note(t.Context(), group(2), note("elsewhere")))
	must(t, s.Note(t.Context(), group(1), []audit.Event{third}))
	must(t, s.Note(t.Context(), group(1), []audit.Event{full})) // not a repeat: noted twice
	want := []audit.Event{full, second, third, full}
	for i := range want {
		want[i].Sequence = i + 1
	}
	equal(t, "notes", want, notes(t, s, 1))
	equal(t, "notes of another NSG", []string{"1 elsewhere"}, numberedTexts(notes(t, s, 2)))

	// They are beside the desired state, not part of it.
	_, err := s.Head(t.Context(), group(1))
	wantError(t, "head", err, access.ErrNotFound)
	must(t, s.Books(t.Context(), func(access.Book) error { return errors.New("called without a book") }))
}

func testNotesAtOnce(t *testing.T, s Store) {
	const workers, each = 8, 3
	together(t, workers, func(w int) error {
		for n := range each {
			a, b := note(fmt.Sprint(w, " ", 2*n)), note(fmt.Sprint(w, " ", 2*n+1))
			if err := s.Note(t.Context(), group(1), append(a, b...)); err != nil {
				return err
			}
		}
		return nil
	})
	got := notes(t, s, 1)
	equal(t, "number of notes", workers*each*2, len(got))
	next := map[string]int{}
	for i, e := range got {
		worker, number, _ := strings.Cut(e.Text, " ")
		if e.Sequence != i+1 || number != fmt.Sprint(next[worker]) {
			t.Errorf("note %d has the number %d and is %q of worker %s, want %d", i+1, e.Sequence, number, worker, next[worker])
		}
		next[worker]++
	}
	equal(t, "notes read again", got, notes(t, s, 1))
}

func testManyNotes(t *testing.T, s Store) {
	var events []audit.Event
	var want []string
	for n := range 230 {
		events = append(events, note(fmt.Sprint("finding ", n))...)
		want = append(want, fmt.Sprint(n+1, " finding ", n))
	}
	must(t, s.Note(t.Context(), group(1), events))
	equal(t, "notes", want, numberedTexts(notes(t, s, 1)))
}

func testCaseOfNotes(t *testing.T, s Store) {
	must(t, s.Note(t.Context(), group(1), note("one")))
	must(t, s.Note(t.Context(), shouted(group(1)), note("two")))
	equal(t, "notes", []string{"1 one", "2 two"}, numberedTexts(notes(t, s, 1)))
}
