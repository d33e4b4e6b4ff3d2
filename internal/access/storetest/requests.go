package storetest

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

var requestTests = map[string]func(*testing.T, Store){
	"InsertAndRead":       testInsertAndRead,
	"InsertTwice":         testInsertTwice,
	"InsertAtOnce":        testInsertAtOnce,
	"Missing":             testMissing,
	"Complete":            testComplete,
	"Largest":             testLargest,
	"Update":              testUpdate,
	"UpdateWithoutEvents": testUpdateWithoutEvents,
	"UpdateRefused":       testUpdateRefused,
	"UpdateAtOnce":        testUpdateAtOnce,
	"Withdraw":            testWithdraw,
}

func testInsertAndRead(t *testing.T, s Store) {
	r := request(1)
	events := append(created(r), note("Second.")...)
	events[1].VM, events[1].NSG, events[1].Rule, events[1].Policy = vm(1).String(), group(1).String(), "rule", "scope version 3"
	r.Events = len(events)
	must(t, s.InsertRequest(t.Context(), r, events))

	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)
	if got.CreatedAt.Location() != time.UTC {
		t.Errorf("created at %v, want UTC", got.CreatedAt)
	}
	record, err := s.Events(t.Context(), r.ID)
	must(t, err)
	events[1].Sequence = 2 // the store numbers them
	equal(t, "events", events, record)
}

func testInsertTwice(t *testing.T, s Store) {
	first := request(1)
	must(t, s.InsertRequest(t.Context(), first, created(first)))
	second := request(1)
	second.Justification, second.CreatedAt = "another", noon.Add(time.Hour)
	wantError(t, "insert of a taken id", s.InsertRequest(t.Context(), second, created(second)), access.ErrExists)
	wantError(t, "insert of the very same", s.InsertRequest(t.Context(), first, created(first)), access.ErrExists)

	got, err := s.Request(t.Context(), first.ID)
	must(t, err)
	equal(t, "request", first, got)
	record, err := s.Events(t.Context(), first.ID)
	must(t, err)
	equal(t, "events", created(first), record)
	equal(t, "list", []string{first.ID}, listed(t, s, access.Query{}))
}

func testInsertAtOnce(t *testing.T, s Store) {
	const n = 8
	won := make(chan access.Request, n)
	together(t, n, func(i int) error {
		r := request(1)
		r.CreatedAt = r.CreatedAt.Add(time.Duration(i) * time.Millisecond)
		err := s.InsertRequest(t.Context(), r, created(r))
		if err == nil {
			won <- r
		}
		if errors.Is(err, access.ErrExists) {
			return nil
		}
		return err
	})
	if len(won) != 1 {
		t.Fatalf("%d of %d inserts of one id succeeded, want 1", len(won), n)
	}
	got, err := s.Request(t.Context(), id(1))
	must(t, err)
	equal(t, "request", <-won, got)
	equal(t, "list", []string{id(1)}, listed(t, s, access.Query{}))
	equal(t, "unfinished", []string{id(1)}, listed(t, s, access.Query{Unfinished: true}))
}

func testMissing(t *testing.T, s Store) {
	for _, wrong := range []string{id(1), "", "request", "a/b", "it's", "ü", "\x00", "..", string(make([]byte, 3000))} {
		_, err := s.Request(t.Context(), wrong)
		wantError(t, "read", err, access.ErrNotFound)
		_, err = s.UpdateRequest(t.Context(), wrong, func(*access.Request) ([]audit.Event, error) {
			t.Errorf("change called for %q", wrong)
			return nil, nil
		})
		wantError(t, "update", err, access.ErrNotFound)
		events, err := s.Events(t.Context(), wrong)
		must(t, err)
		equal(t, "events", []audit.Event{}, events)
		must(t, s.WithdrawRequest(t.Context(), wrong))
		wantError(t, "told", s.MarkTold(t.Context(), wrong, map[string]int{"teams": 1}), access.ErrNotFound)
	}
}

func testComplete(t *testing.T, s Store) {
	r := complete()
	wantFilled(t, r)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)

	// Everything that was set can be changed and taken away again.
	bare := request(1)
	result, err := s.UpdateRequest(t.Context(), r.ID, func(now *access.Request) ([]audit.Event, error) {
		equal(t, "request given to change", r, *now)
		*now = bare
		return note("bare"), nil
	})
	must(t, err)
	bare.Events, bare.Told = 2, r.Told // told is not the change's to decide
	equal(t, "result", bare, result)
	got, err = s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", bare, got)
}

func testLargest(t *testing.T, s Store) {
	r := largest()
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)

	// It shrinks without leaving anything of its former size behind, and grows again.
	for _, size := range []int{1, access.MaxTargets} {
		targets := largest().Targets[:size]
		got, err = s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
			r.Targets = targets
			return note("resized"), nil
		})
		must(t, err)
		equal(t, "targets", targets, got.Targets)
		got, err = s.Request(t.Context(), r.ID)
		must(t, err)
		equal(t, "targets", targets, got.Targets)
	}

	// As many events as one change can bring: four for each target.
	_, err = s.UpdateRequest(t.Context(), r.ID, func(*access.Request) ([]audit.Event, error) {
		return make([]audit.Event, 4*access.MaxTargets), nil
	})
	must(t, err)
}

func testUpdate(t *testing.T, s Store) {
	r := request(1)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	result, err := s.UpdateRequest(t.Context(), r.ID, func(got *access.Request) ([]audit.Event, error) {
		equal(t, "request given to change", r, *got)
		got.Targets[0].State = access.Denied
		got.Targets[0].Reason = access.Reason{Code: access.VMNotFound, Sentence: "No such VM."}
		got.Targets[0].Warning = access.Reason{Code: access.NSGFull, Sentence: "Look out."}
		got.Targets[0].Ways = ways(1)
		got.Targets[0].EndedAt = noon.Add(time.Hour)
		got.ID, got.CreatedAt, got.Events = "other", noon.Add(-time.Hour), 77 // not the change's to decide
		got.Told = map[string]int{"teams": 77}
		return append(note("one"), note("two")...), nil
	})
	must(t, err)
	r.Targets[0].State, r.Targets[0].EndedAt = access.Denied, noon.Add(time.Hour)
	r.Targets[0].Reason = access.Reason{Code: access.VMNotFound, Sentence: "No such VM."}
	r.Targets[0].Warning = access.Reason{Code: access.NSGFull, Sentence: "Look out."}
	r.Targets[0].Ways = ways(1)
	r.Events = 3
	equal(t, "result", r, result)
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)
	equal(t, "events", []string{"1 Asked.", "2 one", "3 two"}, texts(t, s, r.ID))
}

func testUpdateWithoutEvents(t *testing.T, s Store) {
	r := request(1)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	result, err := s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
		r.Justification, r.Targets[0].State = "changed", access.Approved
		r.Targets[0].Ports[0].Number = 3389
		return nil, nil
	})
	must(t, err)
	equal(t, "result", r, result)
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)
}

func testUpdateRefused(t *testing.T, s Store) {
	r := request(1)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	refusal := errors.New("no")
	_, err := s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
		r.Justification = "changed"
		return note("never"), refusal
	})
	if err != refusal { // as it is, not wrapped
		t.Fatalf("error %v, want the one of change", err)
	}
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "request", r, got)
	equal(t, "events", []string{"1 Asked."}, texts(t, s, r.ID))
}

// Every change builds on what it was given; none may be lost and none be applied
// to anything else.
func testUpdateAtOnce(t *testing.T, s Store) {
	r := request(1)
	r.Justification = "0"
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	const workers, each = 16, 2
	together(t, workers, func(int) error {
		for range each {
			_, err := s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
				n, err := strconv.Atoi(r.Justification)
				r.Justification = strconv.Itoa(n + 1)
				return note("count " + r.Justification), err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	got, err := s.Request(t.Context(), r.ID)
	must(t, err)
	equal(t, "counted", strconv.Itoa(workers*each), got.Justification)
	equal(t, "number of events", 1+workers*each, got.Events)
	want := []string{"1 Asked."}
	for n := range workers * each {
		want = append(want, strconv.Itoa(n+2)+" count "+strconv.Itoa(n+1))
	}
	equal(t, "events", want, texts(t, s, r.ID))
}

func testWithdraw(t *testing.T, s Store) {
	r := request(1)
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	other := request(2)
	must(t, s.InsertRequest(t.Context(), other, created(other)))
	must(t, s.WithdrawRequest(t.Context(), r.ID))
	must(t, s.WithdrawRequest(t.Context(), r.ID)) // again

	_, err := s.Request(t.Context(), r.ID)
	wantError(t, "read", err, access.ErrNotFound)
	equal(t, "events", nil, texts(t, s, r.ID))
	equal(t, "list", []string{other.ID}, listed(t, s, access.Query{}))
	equal(t, "unfinished", []string{other.ID}, listed(t, s, access.Query{Unfinished: true}))

	r.CreatedAt = noon.Add(time.Hour) // the caller's repeat with the same key
	must(t, s.InsertRequest(t.Context(), r, created(r)))
	equal(t, "list", []string{r.ID, other.ID}, listed(t, s, access.Query{}))
	equal(t, "events", []string{"1 Asked."}, texts(t, s, r.ID))
}

func texts(t *testing.T, s Store, request string) []string {
	t.Helper()
	events, err := s.Events(t.Context(), request)
	must(t, err)
	return numberedTexts(events)
}

// numberedTexts shows a record as "<sequence> <text>".
func numberedTexts(events []audit.Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, strconv.Itoa(e.Sequence)+" "+e.Text)
	}
	return out
}
