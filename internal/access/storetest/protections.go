package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

var protectionTests = map[string]func(*testing.T, Store){
	"Unknown":             testUnknownProtection,
	"Create":              testCreateProtection,
	"CreateNothing":       testCreateNothing,
	"Update":              testUpdateProtection,
	"UpdateWithoutEvents": testUpdateProtectionWithoutEvents,
	"UpdateRefused":       testUpdateProtectionRefused,
	"UpdateAtOnce":        testUpdateProtectionAtOnce,
	"SideBySide":          testProtectionsSideBySide,
	"CaseOfID":            testCaseOfMachine,
	"Large":               testLargeProtection,
	"All":                 testProtections,
	"AllStops":            testProtectionsStop,
	"AllWhileWriting":     testProtectionsWhileWriting,
}

// protect stores p as the next state of its machine, with one event.
func protect(t *testing.T, s Store, p access.Protection, text string) access.Protection {
	t.Helper()
	got, err := s.UpdateProtection(t.Context(), p.VM, func(now *access.Protection) ([]audit.Event, error) {
		*now = p
		return note(text), nil
	})
	must(t, err)
	return got
}

func wantProtection(t *testing.T, s Store, want access.Protection, record ...string) {
	t.Helper()
	got, err := s.Protection(t.Context(), want.VM)
	must(t, err)
	equal(t, "protection", want, got)
	equal(t, "record", record, protectionTexts(t, s, want.VM))
}

func protectionTexts(t *testing.T, s Store, vm armid.ID) []string {
	t.Helper()
	events, err := s.ProtectionEvents(t.Context(), vm)
	must(t, err)
	return numberedTexts(events)
}

func testUnknownProtection(t *testing.T, s Store) {
	_, err := s.Protection(t.Context(), vm(1))
	wantError(t, "protection", err, access.ErrNotFound)
	equal(t, "record", nil, protectionTexts(t, s, vm(1)))
	must(t, s.Protections(t.Context(), func(access.Protection) error { return errors.New("called without a protection") }))
}

func testCreateProtection(t *testing.T, s Store) {
	want := protection(1)
	events := append(note("one"), note("two")...)
	events[1].VM, events[1].NSG, events[1].Rule, events[1].Policy = vm(1).String(), group(1).String(), "rule", "scope version 3"
	result, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
		equal(t, "what change is shown", access.Protection{VM: vm(1)}, *p)
		*p = protection(1)
		return events, nil
	})
	must(t, err)
	want.Events = 2
	equal(t, "result", want, result)
	wantProtection(t, s, want, "1 one", "2 two")
	if result.VM.String() != vm(1).String() || result.ChangedAt.Location() != time.UTC {
		t.Errorf("protection of %s changed at %v, want %s and UTC", result.VM, result.ChangedAt, vm(1))
	}
	record, err := s.ProtectionEvents(t.Context(), vm(1))
	must(t, err)
	events[0].Sequence, events[1].Sequence = 1, 2
	equal(t, "events", events, record)

	_, err = s.Protection(t.Context(), vm(2))
	wantError(t, "protection of another machine", err, access.ErrNotFound)
}

func testCreateNothing(t *testing.T, s Store) {
	result, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
		*p = protection(1)
		return nil, nil
	})
	must(t, err)
	equal(t, "result", access.Protection{VM: vm(1)}, result)
	refusal := errors.New("no")
	_, err = s.UpdateProtection(t.Context(), vm(1), func(*access.Protection) ([]audit.Event, error) { return note("never"), refusal })
	if err != refusal { // as it is, not wrapped
		t.Fatalf("error %v, want the one of change", err)
	}
	testUnknownProtection(t, s)
}

func testUpdateProtection(t *testing.T, s Store) {
	first := protect(t, s, protection(1), "protected")
	result, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
		equal(t, "protection given to change", first, *p)
		p.Wanted, p.Revision = false, 4
		p.Reason = access.Reason{Code: access.VMNotFound, Sentence: "It is gone."}
		p.Parts = p.Parts[:1]
		p.Parts[0].Done, p.Parts[0].Problem = true, access.Reason{}
		p.VM, p.Events = vm(7), 77 // not the change's to decide
		return append(note("asked"), note("released")...), nil
	})
	must(t, err)
	want := protection(1)
	want.Wanted, want.Revision, want.Events = false, 4, 3
	want.Reason = access.Reason{Code: access.VMNotFound, Sentence: "It is gone."}
	want.Parts = want.Parts[:1]
	want.Parts[0].Done, want.Parts[0].Problem = true, access.Reason{}
	equal(t, "result", want, result)
	wantProtection(t, s, want, "1 protected", "2 asked", "3 released")
}

func testUpdateProtectionWithoutEvents(t *testing.T, s Store) {
	want := protect(t, s, protection(1), "protected")
	result, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
		p.Revision, p.Parts[0].Done, p.Parts[0].Removed[0].Sources[0] = 9, true, "spoilt"
		return nil, nil
	})
	must(t, err)
	equal(t, "result", want, result)
	wantProtection(t, s, want, "1 protected")
}

func testUpdateProtectionRefused(t *testing.T, s Store) {
	want := protect(t, s, protection(1), "protected")
	refusal := errors.New("no")
	_, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
		p.Revision = 9
		return note("never"), refusal
	})
	if err != refusal {
		t.Fatalf("error %v, want the one of change", err)
	}
	wantProtection(t, s, want, "1 protected")
}

// One of them creates it. Every other builds on what was there before.
func testUpdateProtectionAtOnce(t *testing.T, s Store) {
	const workers, each = 16, 2
	together(t, workers, func(int) error {
		for range each {
			_, err := s.UpdateProtection(t.Context(), vm(1), func(p *access.Protection) ([]audit.Event, error) {
				p.Revision++
				return note("revision " + strconv.Itoa(p.Revision)), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	var want []string
	for n := range workers * each {
		want = append(want, fmt.Sprintf("%d revision %d", n+1, n+1))
	}
	wantProtection(t, s, access.Protection{VM: vm(1), Revision: workers * each, Events: workers * each}, want...)
}

// Machines are changed at once, and none sees anything of another's.
func testProtectionsSideBySide(t *testing.T, s Store) {
	const machines, each = 8, 3
	together(t, machines, func(n int) error {
		for step := range each {
			_, err := s.UpdateProtection(t.Context(), vm(n), func(p *access.Protection) ([]audit.Event, error) {
				p.Revision++
				return append(note(fmt.Sprint("machine ", n, " step ", step)), note("and more")...), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for n := range machines {
		var want []string
		for step := range each {
			want = append(want, fmt.Sprintf("%d machine %d step %d", 2*step+1, n, step), fmt.Sprintf("%d and more", 2*step+2))
		}
		wantProtection(t, s, access.Protection{VM: vm(n), Revision: each, Events: 2 * each}, want...)
	}
}

func testCaseOfMachine(t *testing.T, s Store) {
	protect(t, s, protection(1), "protected")
	result, err := s.UpdateProtection(t.Context(), shouted(vm(1)), func(p *access.Protection) ([]audit.Event, error) {
		p.Revision++
		return note("again"), nil
	})
	must(t, err)
	want := protection(1)
	want.Revision, want.Events = want.Revision+1, 2
	equal(t, "result", want, result)
	if result.VM.String() != vm(1).String() {
		t.Errorf("the protection is now of %s, want the id as first seen", result.VM)
	}
	want.VM = shouted(vm(1))
	wantProtection(t, s, want, "1 protected", "2 again")
}

func testLargeProtection(t *testing.T, s Store) {
	want := protection(1)
	want.Parts[0].Removed = longRules(3)
	protect(t, s, want, "large")
	want.Events = 1
	wantProtection(t, s, want, "1 large")

	// Nothing of its former size stays behind.
	want.Parts[0].Removed = nil
	protect(t, s, want, "small")
	want.Events = 2
	wantProtection(t, s, want, "1 large", "2 small")
}

// protections also proves that no machine comes twice.
func protections(t *testing.T, s Store) map[string]access.Protection {
	t.Helper()
	out := map[string]access.Protection{}
	must(t, s.Protections(t.Context(), func(p access.Protection) error {
		if _, twice := out[p.VM.Key()]; twice {
			return fmt.Errorf("the protection of %s comes twice", p.VM)
		}
		out[p.VM.Key()] = p
		return nil
	}))
	return out
}

func testProtections(t *testing.T, s Store) {
	want := map[string]access.Protection{}
	for n := range 12 {
		p := protection(n)
		p.Wanted = n%2 == 0
		if !p.Wanted {
			p.Parts = nil // ended
		}
		want[p.VM.Key()] = protect(t, s, p, "protected")
	}
	must(t, s.InsertRequest(t.Context(), request(1), created(request(1)))) // is no protection
	equal(t, "protections", want, protections(t, s))
}

func testProtectionsStop(t *testing.T, s Store) {
	for n := range 3 {
		protect(t, s, protection(n), "protected")
	}
	enough, calls := errors.New("enough"), 0
	err := s.Protections(t.Context(), func(access.Protection) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	wantError(t, "protections", err, enough)
	equal(t, "calls", 2, calls)
}

// The sweep writes while it reads.
func testProtectionsWhileWriting(t *testing.T, s Store) {
	for n := range 5 {
		protect(t, s, protection(n), "protected")
	}
	must(t, s.Protections(t.Context(), func(p access.Protection) error {
		_, err := s.UpdateProtection(t.Context(), p.VM, func(p *access.Protection) ([]audit.Event, error) {
			p.Revision = 50
			return note("ended"), nil
		})
		return err
	}))
	for _, p := range protections(t, s) {
		equal(t, "revision", 50, p.Revision)
		equal(t, "number of events", 2, p.Events)
	}
}
