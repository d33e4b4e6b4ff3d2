package tables

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	local "jitgate/internal/local/tables"
)

// The index is one transaction and holds all that List may ask for.
func TestIndexRows(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	before := a.Counts()["transaction"]
	r := sample(1)
	r.Targets = append(r.Targets, r.Targets[0]) // a VM named twice makes one row
	if err := s.InsertRequest(t.Context(), r, made); err != nil {
		t.Fatal(err)
	}
	if got := a.Counts()["transaction"] - before; got != 2 {
		t.Errorf("%d transactions, want one for the index and one for the request", got)
	}
	suffix := "|7451005576854775807|00000000-0000-7000-8000-000000000001"
	want := []string{"all" + suffix, "open" + suffix, "requester:t-1:o-1" + suffix, "vm:" + vmID.Key() + suffix}
	if d := cmp.Diff(want, keysOf(t, s.lookups, "")); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"event-000001", "request"}, keysOf(t, s.requests.table, "")); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if _, err := s.UpdateRequest(t.Context(), r.ID, func(r *access.Request) ([]audit.Event, error) {
		r.Targets[0].State, r.Targets[1].State = access.Denied, access.Denied
		return made, nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, s.lookups, openPrefix); len(got) != 0 {
		t.Errorf("rows %q of a finished request", got)
	}
}

// Books relies on the head being the last row of its NSG.
func TestRowsOfNSGs(t *testing.T) {
	s := newAccount(t).store(t)
	putSampleGuard(t, s)
	putSamples(t, s)
	want := []string{"grant-" + sampleGrant(1).Key(), "grant-" + sampleGrant(2).Key(), "guard-" + vmID.Key(), "nsg"}
	if d := cmp.Diff(want, keysOf(t, s.grants, "")); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	numbered := slices.Clone(made)
	numbered[0].Sequence = 7
	if err := s.Note(t.Context(), nsgID, numbered); err != nil {
		t.Fatal(err)
	}
	got := keysOf(t, s.nsgs, "")
	if len(got) != 1 || len(got[0]) != len("event-")+36 {
		t.Fatalf("rows %q, want one under a UUID", got)
	}
	found, err := s.nsgs.get(t.Context(), nsgID.Key(), got[0])
	if err != nil || strings.Contains(found.columns.text("Body"), "sequence") {
		t.Errorf("a number that only reading gives is stored: %s, error %v", found.columns.text("Body"), err)
	}
}

func TestRequestsThatCannotBeStored(t *testing.T) {
	s := newAccount(t).store(t)
	for name, spoil := range map[string]func(*access.Request){
		"id":        func(r *access.Request) { r.ID = "a/b" },
		"no id":     func(r *access.Request) { r.ID = "" },
		"requester": func(r *access.Request) { r.Requester.Object = "a|b" },
		"time":      func(r *access.Request) { r.CreatedAt = time.Time{} },
		"far time":  func(r *access.Request) { r.CreatedAt = time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		r := sample(1)
		spoil(&r)
		if err := s.InsertRequest(t.Context(), r, made); err == nil || errors.Is(err, access.ErrUnavailable) {
			t.Errorf("%s: error %v, want one that is final", name, err)
		}
	}
	if got := append(keysOf(t, s.lookups, ""), keysOf(t, s.requests.table, "")...); len(got) != 0 {
		t.Errorf("rows %q were written", got)
	}
}

// More events than a transaction holds are refused before anything is written.
func TestTooManyEvents(t *testing.T) {
	s := newAccount(t).store(t)
	insertSample(t, s)
	many := make([]audit.Event, maxChanges)
	_, err := s.UpdateRequest(t.Context(), sample(1).ID, func(*access.Request) ([]audit.Event, error) { return many, nil })
	if err == nil || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("error %v, want one that is final", err)
	}
	if err := s.InsertRequest(t.Context(), sample(2), many); err == nil || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("error %v, want one that is final", err)
	}
	if err := s.InsertRequest(t.Context(), sample(3), nil); err != nil {
		t.Errorf("a request without events: %v", err)
	}
	wantEvents(t, s, 1, "made")
	wantListed(t, s, access.Query{}, 3, 1)
}

// A call looks at so many rows and no more; the cursor goes on from there.
func TestListGivesUpInTime(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	insertSample(t, s) // the oldest
	for batch := range 12 {
		var notes []change
		for n := range 100 {
			r := sample(100 + 100*batch + n)
			notes = append(notes, note(indexPartition, allPrefix+indexSuffix(&r)))
		}
		if err := s.lookups.write(t.Context(), notes...); err != nil {
			t.Fatal(err)
		}
	}
	first, err := s.List(t.Context(), access.Query{})
	if err != nil || len(first.Requests) != 0 || first.Next == "" {
		t.Fatalf("%d requests, cursor %q, error %v; want none and a cursor", len(first.Requests), first.Next, err)
	}
	if reads := a.Counts()["get"]; reads != maxLooked {
		t.Errorf("%d requests were read, want %d", reads, maxLooked)
	}
	second, err := s.List(t.Context(), access.Query{Cursor: first.Next})
	if err != nil || len(second.Requests) != 1 || second.Next != "" {
		t.Fatalf("%d requests, cursor %q, error %v; want one and no cursor", len(second.Requests), second.Next, err)
	}
}

// A list without a filter reads each request once.
func TestListReadsNoMoreThanItReturns(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	for n := range 30 {
		if err := s.InsertRequest(t.Context(), sample(n), made); err != nil {
			t.Fatal(err)
		}
	}
	before := a.Counts()
	if _, err := s.List(t.Context(), access.Query{Limit: 10}); err != nil {
		t.Fatal(err)
	}
	after := a.Counts()
	if gets, queries := after["get"]-before["get"], after["query"]-before["query"]; gets != 10 || queries != 1 {
		t.Errorf("%d reads and %d queries for a page of 10", gets, queries)
	}
}

// The index and the books go on behind the 1,000 rows that a page of the service
// holds.
func TestBooksOverPages(t *testing.T) {
	s := newAccount(t).store(t)
	putSamples(t, s)
	big := nsgID.String() + "-big"
	want := map[string]int{nsgID.String(): 2, big: 0}
	for batch := range 27 {
		var grants []access.Grant
		for n := range 40 {
			grants = append(grants, sampleGrant(40*batch+n))
		}
		if _, _, err := s.PutGrants(t.Context(), mustID(big), grants); err != nil {
			t.Fatal(err)
		}
		want[big] += len(grants)
	}
	got := map[string]int{}
	if err := s.Books(t.Context(), func(b access.Book) error { got[b.NSG.String()] += len(b.Grants); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("grants by NSG (-want +got):\n%s", d)
	}
	b, err := s.Book(t.Context(), mustID(big))
	if err != nil || len(b.Grants) != want[big] {
		t.Errorf("%d grants in the book, error %v; want %d", len(b.Grants), err, want[big])
	}
}

// A grant or guard put while a book is read must not be hidden by the generation it came
// with: between the two reads it is there too early, never too late.
func TestBookDuringPut(t *testing.T) {
	a := newAccount(t)
	s, other := a.store(t), a.store(t)
	putSamples(t, s)
	put := false
	a.SetFaults(func(op local.Op) *local.Fault {
		if op.Kind == "query" && !put {
			put = true
			if _, _, err := other.PutGrants(t.Context(), nsgID, []access.Grant{sampleGrant(3)}); err != nil {
				t.Error(err)
			}
			if _, err := other.PutGuard(t.Context(), nsgID, sampleGuard(1)); err != nil {
				t.Error(err)
			}
		}
		return nil
	}, nil)
	if b := wantBook(t, s, "1", "2", "3", "guard 1"); b.Generation != 1 || !put {
		t.Errorf("generation %d, want 1: what was put since has still to be looked at", b.Generation)
	}
}

// Rows that somebody broke by hand are reported, not taken for missing or empty.
func TestUnreadableRows(t *testing.T) {
	s := newAccount(t).store(t)
	insertSample(t, s)
	putSamples(t, s)
	putSampleGuard(t, s)
	if err := errors.Join(protectSample(t.Context(), s, 1), s.Note(t.Context(), nsgID, made), lockSample(t.Context(), s, "lock"),
		s.InsertSignal(t.Context(), sampleSignal(1)), deny(t.Context(), s)); err != nil {
		t.Fatal(err)
	}
	told := map[string]int{"teams": 1}
	settle := access.Settlement{Guarded: map[string]int{sampleGuard(1).Key(): 1}}
	book := func() error { _, err := s.Book(t.Context(), nsgID); return err }
	books := func() error { return s.Books(t.Context(), func(access.Book) error { return nil }) }
	for _, c := range []struct {
		table  table
		pk, rk string
		reads  []func() error
	}{
		{s.requests.table, sample(1).ID, requestRow, []func() error{
			func() error { _, err := s.Request(t.Context(), sample(1).ID); return err },
			func() error { return undertakings[1].do(t.Context(), s) },
			func() error { return s.MarkTold(t.Context(), sample(1).ID, told) },
		}},
		{s.ledger.table, ledgerPartition, ledgerRow, []func() error{
			func() error { _, err := s.Ledger(t.Context()); return err },
			func() error { return lockSample(t.Context(), s, "lock") },
			func() error { return s.MarkLedgerTold(t.Context(), told) },
		}},
		{s.ledger.table, ledgerPartition, ledgerPlace.event(1), []func() error{
			func() error { _, err := s.LedgerEvents(t.Context(), 0, 0); return err },
		}},
		{s.ledger.table, peoplePartition, "t-1:o-1", []func() error{func() error { return deny(t.Context(), s) }}},
		{s.ledger.table, alertsPartition, openSignal + signalKey(1), []func() error{
			func() error { return s.OpenSignals(t.Context(), func(access.Signal) error { return nil }) },
		}},
		{s.ledger.table, alertsPartition, signalKey(1), []func() error{
			func() error { _, err := s.Signal(t.Context(), signalKey(1)); return err },
			func() error { return s.SettleSignal(t.Context(), sampleSignal(1)) },
			func() error { return s.ReplaceSignal(t.Context(), sampleSignal(1), sampleSignal(1)) },
		}},
		{s.requests.table, sample(1).ID, requestPlace(sample(1).ID).event(1), []func() error{
			func() error { _, err := s.Events(t.Context(), sample(1).ID); return err },
		}},
		{s.machines.table, machinesPartition, machinePlace(vmID).row, []func() error{
			func() error { _, err := s.Protection(t.Context(), vmID); return err },
			func() error { return protectSample(t.Context(), s, 1) },
			func() error { return s.Protections(t.Context(), func(access.Protection) error { return nil }) },
		}},
		{s.machines.table, machinesPartition, machinePlace(vmID).event(1), []func() error{
			func() error { _, err := s.ProtectionEvents(t.Context(), vmID); return err },
		}},
		{s.nsgs, nsgID.Key(), keysOf(t, s.nsgs, eventPrefix)[0], []func() error{
			func() error { _, err := s.Notes(t.Context(), nsgID); return err },
		}},
		{s.grants, nsgID.Key(), grantRow(sampleGrant(1).Key()), []func() error{book, books}},
		{s.grants, nsgID.Key(), guardRow(sampleGuard(1).Key()), []func() error{book, books,
			func() error { _, err := s.PutGuard(t.Context(), nsgID, sampleGuard(1)); return err },
			func() error { return s.Settle(t.Context(), nsgID, settle) },
		}},
		{s.grants, nsgID.Key(), headRow, []func() error{book, books,
			func() error { _, err := s.Head(t.Context(), nsgID); return err },
			func() error { _, err := s.Touch(t.Context(), nsgID); return err },
		}},
	} {
		stored, err := c.table.get(t.Context(), c.pk, c.rk)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.table.write(t.Context(), merge(stored, columns{"Body": "{", toldColumn: "{", "Generation": "many", "Revision": "many", extendedColumn: "many"})); err != nil {
			t.Fatal(err)
		}
		for i, read := range c.reads {
			if err := read(); err == nil || errors.Is(err, access.ErrNotFound) || errors.Is(err, access.ErrUnavailable) {
				t.Errorf("%s, read %d: error %v, want one that is final", c.rk, i+1, err)
			}
		}
		spoilt, err := c.table.get(t.Context(), c.pk, c.rk)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.table.write(t.Context(), replace(spoilt, stored.columns)); err != nil {
			t.Fatal(err)
		}
		for i, read := range c.reads {
			if err := read(); err != nil {
				t.Errorf("%s mended, read %d: %v", c.rk, i+1, err)
			}
		}
	}
}

func FuzzCursor(f *testing.F) {
	r := sample(1)
	f.Add(allPrefix, makeCursor(allPrefix, indexSuffix(&r)))
	f.Add(openPrefix, makeCursor(allPrefix, indexSuffix(&r)))
	f.Add(allPrefix, makeCursor(allPrefix, "' or RowKey gt '"))
	f.Add(allPrefix, makeCursor(allPrefix, indexSuffix(&r))+"\n")
	f.Add("", "")
	f.Add(allPrefix, "AAAA")
	f.Fuzz(func(t *testing.T, prefix, cursor string) {
		last, err := readCursor(prefix, cursor)
		if err != nil || cursor == "" {
			return
		}
		if !suffixForm.MatchString(last) {
			t.Errorf("%q was accepted as a key", last)
		}
		if again := makeCursor(prefix, last); again != cursor {
			t.Errorf("%q is another spelling of %q", cursor, again)
		}
	})
}
