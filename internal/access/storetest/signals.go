package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

var signalTests = map[string]func(*testing.T, Store){
	"Insert":    testInsertSignal,
	"NoKey":     testSignalWithoutKey,
	"AtOnce":    testInsertSignalAtOnce,
	"Settle":    testSettleSignal,
	"Replace":   testReplaceSignal,
	"Instead":   testReplaceSignalAtOnce,
	"OpenStops": testOpenSignalsStops,
	"OpenWhile": testOpenSignalsWhileSettling,
	"Forget":    testForgetSignals,
	"Many":      testForgetManySignals,
	"Model":     testSignalModel,
}

func hexKey(n int) string { return fmt.Sprintf("%064x", n) }

// signal n was received n minutes after noon, and has every field set but Done.
func signal(n int) access.Signal {
	return access.Signal{
		Key: hexKey(n), End: hexKey(n + 1000), Alert: fmt.Sprint("alert-", n), Rule: "cpu high", Rules: "alert-rules version 3 sha256:f00d",
		By: access.Person{Tenant: "t1", Object: "o1", Name: "a workflow"}, ReceivedAt: noon.Add(time.Duration(n) * time.Minute),
		Action: alert.Action{
			Rule: "rule", Machines: []armid.ID{vm(1), vm(2)}, Revoke: true, Unlock: true,
			Lockdown:    &alert.Lock{For: 90 * time.Minute, Until: noon.Add(7), UntilResolved: true},
			PreApproval: &alert.PreApproval{Group: "g1", For: time.Hour, Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}}},
		},
	}
}

func wantSignal(t *testing.T, s Store, want access.Signal) {
	t.Helper()
	got, err := s.Signal(t.Context(), want.Key)
	must(t, err)
	equal(t, "signal", want, got)
}

// openSignals also proves that none comes twice.
func openSignals(t *testing.T, s Store) map[string]access.Signal {
	t.Helper()
	out := map[string]access.Signal{}
	must(t, s.OpenSignals(t.Context(), func(o access.Signal) error {
		if _, twice := out[o.Key]; twice {
			return fmt.Errorf("signal %s comes twice", o.Key)
		}
		out[o.Key] = o
		return nil
	}))
	return out
}

func wantOpen(t *testing.T, s Store, want ...access.Signal) {
	t.Helper()
	byKey := map[string]access.Signal{}
	for _, o := range want {
		byKey[o.Key] = o
	}
	equal(t, "open signals", byKey, openSignals(t, s))
}

func testInsertSignal(t *testing.T, s Store) {
	_, err := s.Signal(t.Context(), hexKey(1))
	wantError(t, "signal", err, access.ErrNotFound)
	wantOpen(t, s)

	done := signal(7)
	done.Done = true
	wantFilled(t, done)
	bare := access.Signal{Key: strings.Repeat("f", 64), ReceivedAt: noon}
	first := signal(1)
	for _, want := range []access.Signal{first, done, bare} {
		must(t, s.InsertSignal(t.Context(), want))
		wantSignal(t, s, want)
		other := signal(2)
		other.Key = want.Key
		wantError(t, "insert of a taken key", s.InsertSignal(t.Context(), other), access.ErrExists)
		wantError(t, "insert of the very same", s.InsertSignal(t.Context(), want), access.ErrExists)
		wantSignal(t, s, want)
	}
	wantOpen(t, s, signal(1), bare)
	must(t, s.SettleSignal(t.Context(), first))
	wantError(t, "insert of what is done", s.InsertSignal(t.Context(), signal(1)), access.ErrExists)
}

func testSignalWithoutKey(t *testing.T, s Store) {
	for _, key := range []string{"", "f00d", hexKey(1)[1:], hexKey(1) + "0", strings.Repeat("F", 64), strings.Repeat("g", 64), "open-" + hexKey(1)[5:], "done-" + hexKey(1), "it's/#?", "\x00"} {
		o := signal(1)
		o.Key = key
		if err := s.InsertSignal(t.Context(), o); err == nil || errors.Is(err, access.ErrUnavailable) {
			t.Errorf("insert of %q: error %v, want one that is final", key, err)
		}
		_, err := s.Signal(t.Context(), key)
		wantError(t, "signal", err, access.ErrNotFound)
		wantError(t, "settle", s.SettleSignal(t.Context(), o), access.ErrNotFound)
		wantError(t, "replace", s.ReplaceSignal(t.Context(), o, o), access.ErrNotFound)
	}
	wantOpen(t, s)
}

// An action group calls each of its receivers, and repeats itself.
func testInsertSignalAtOnce(t *testing.T, s Store) {
	var won atomic.Int64
	together(t, 8, func(n int) error {
		o := signal(n)
		o.Key = hexKey(1)
		err := s.InsertSignal(t.Context(), o)
		switch {
		case errors.Is(err, access.ErrExists):
			return nil
		case err == nil:
			won.Add(1)
		}
		return err
	})
	equal(t, "inserts that succeeded", 1, won.Load())
	equal(t, "open signals", 1, len(openSignals(t, s)))
}

func testSettleSignal(t *testing.T, s Store) {
	for n := range 3 {
		must(t, s.InsertSignal(t.Context(), signal(n)))
	}
	wantOpen(t, s, signal(0), signal(1), signal(2))
	other := signal(1)
	other.ReceivedAt = other.ReceivedAt.Add(1) // a nanosecond
	wantError(t, "settle in the place of another", s.SettleSignal(t.Context(), other), access.ErrNotFound)
	wantSignal(t, s, signal(1))
	together(t, 6, func(int) error { return s.SettleSignal(t.Context(), signal(1)) })
	must(t, s.SettleSignal(t.Context(), signal(1)))
	done := signal(1)
	done.Done = true
	wantSignal(t, s, done)
	wantSignal(t, s, signal(2))
	wantOpen(t, s, signal(0), signal(2))
	wantError(t, "settle", s.SettleSignal(t.Context(), signal(9)), access.ErrNotFound)
}

// What a workflow says later takes the place of what it said before.
func testReplaceSignal(t *testing.T, s Store) {
	for n := range 3 {
		must(t, s.InsertSignal(t.Context(), signal(n)))
	}
	must(t, s.SettleSignal(t.Context(), signal(1)))
	for n := range 2 { // an open one, and one that is done
		old, later := signal(n), signal(n+5)
		later.Key = old.Key
		wantError(t, "in the place of another", s.ReplaceSignal(t.Context(), later, later), access.ErrNotFound)
		must(t, s.ReplaceSignal(t.Context(), old, later))
		wantSignal(t, s, later)
		wantError(t, "settling the earlier one", s.SettleSignal(t.Context(), old), access.ErrNotFound)
		wantOpen(t, s, later, signal(2))
		must(t, s.SettleSignal(t.Context(), later))
	}
	wantOpen(t, s, signal(2))
	must(t, s.ForgetSignals(t.Context(), noon.Add(24*time.Hour)))
	for n := range 2 {
		_, err := s.Signal(t.Context(), hexKey(n))
		wantError(t, "what is forgotten", err, access.ErrNotFound)
	}
}

// Two words at the same moment: one takes the place of the first, the other finds that out.
func testReplaceSignalAtOnce(t *testing.T, s Store) {
	must(t, s.InsertSignal(t.Context(), signal(1)))
	var won atomic.Int64
	together(t, 6, func(n int) error {
		later := signal(n + 2)
		later.Key = hexKey(1)
		err := s.ReplaceSignal(t.Context(), signal(1), later)
		switch {
		case errors.Is(err, access.ErrNotFound):
			return nil
		case err == nil:
			won.Add(1)
		}
		return err
	})
	equal(t, "replacements that succeeded", 1, won.Load())
	equal(t, "open signals", 1, len(openSignals(t, s)))
}

func testOpenSignalsStops(t *testing.T, s Store) {
	for n := range 3 {
		must(t, s.InsertSignal(t.Context(), signal(n)))
	}
	enough, calls := errors.New("enough"), 0
	err := s.OpenSignals(t.Context(), func(access.Signal) error {
		if calls++; calls == 2 {
			return enough
		}
		return nil
	})
	wantError(t, "open signals", err, enough)
	equal(t, "calls", 2, calls)
}

// The sweep settles while it reads.
func testOpenSignalsWhileSettling(t *testing.T, s Store) {
	for n := range 5 {
		must(t, s.InsertSignal(t.Context(), signal(n)))
	}
	calls := 0
	must(t, s.OpenSignals(t.Context(), func(o access.Signal) error {
		calls++
		return s.SettleSignal(t.Context(), o)
	}))
	equal(t, "calls", 5, calls)
	wantOpen(t, s)
}

func testForgetSignals(t *testing.T, s Store) {
	must(t, s.ForgetSignals(t.Context(), noon)) // nothing there
	old, edge, young := signal(1), signal(1), signal(1)
	edge.Key, young.Key = hexKey(2), hexKey(3)
	old.ReceivedAt = noon.Add(-1) // a nanosecond
	edge.ReceivedAt = noon
	young.ReceivedAt = noon.Truncate(time.Second).Add(time.Second)
	open := signal(4)
	open.ReceivedAt = noon.Add(-24 * time.Hour)
	for _, o := range []access.Signal{old, edge, young, open} {
		must(t, s.InsertSignal(t.Context(), o))
	}
	for _, o := range []*access.Signal{&old, &edge, &young} {
		must(t, s.SettleSignal(t.Context(), *o))
		o.Done = true
	}
	elsewhere := time.FixedZone("elsewhere", -7*3600)
	for range 2 {
		must(t, s.ForgetSignals(t.Context(), noon.In(elsewhere)))
		_, err := s.Signal(t.Context(), old.Key)
		wantError(t, "what is forgotten", err, access.ErrNotFound)
		wantSignal(t, s, edge)
		wantSignal(t, s, young)
		wantSignal(t, s, open) // not done: not forgotten, however old
	}
	must(t, s.ForgetSignals(t.Context(), noon.Add(1)))
	_, err := s.Signal(t.Context(), edge.Key)
	wantError(t, "what is forgotten", err, access.ErrNotFound)
	wantSignal(t, s, young)

	old.Done = false // the same alert on another day
	must(t, s.InsertSignal(t.Context(), old))
	wantSignal(t, s, old)
	wantOpen(t, s, old, open)
}

// More than a store may delete in one go, and by several at once.
func testForgetManySignals(t *testing.T, s Store) {
	const many = 130
	for n := range many {
		o := access.Signal{Key: hexKey(n), ReceivedAt: noon.Add(time.Duration(n)), Done: n%2 == 0}
		must(t, s.InsertSignal(t.Context(), o))
	}
	last := access.Signal{Key: hexKey(many), ReceivedAt: noon.Add(time.Hour), Done: true}
	must(t, s.InsertSignal(t.Context(), last))
	together(t, 3, func(int) error { return s.ForgetSignals(t.Context(), noon.Add(time.Hour)) })
	equal(t, "open signals", many/2, len(openSignals(t, s)))
	for n := range many {
		if _, err := s.Signal(t.Context(), hexKey(n)); (n%2 == 0) != errors.Is(err, access.ErrNotFound) {
			t.Errorf("signal %d: error %v", n, err)
		}
	}
	wantSignal(t, s, last)
}

// Random calls, compared with a map. One store serves all runs, each with keys of its
// own, which it leaves settled.
func testSignalModel(t *testing.T, s Store) {
	ctx := t.Context()
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		model := map[string]access.Signal{}
		start := noon.Add(time.Duration(run) * 24 * time.Hour) // behind all that earlier runs left
		draw := func() access.Signal {
			o := signal(rapid.IntRange(1, 4).Draw(rt, "signal"))
			o.Key = hexKey(run*10 + int(o.ReceivedAt.Sub(noon)/time.Minute))
			o.ReceivedAt = start.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "received")) * 500 * time.Millisecond)
			return o
		}
		for range rapid.IntRange(1, 10).Draw(rt, "steps") {
			o := draw()
			known, exists := model[o.Key]
			same := exists && known.ReceivedAt.Equal(o.ReceivedAt)
			switch rapid.SampledFrom([]string{"insert", "settle", "replace", "forget"}).Draw(rt, "action") {
			case "insert":
				if err := s.InsertSignal(ctx, o); exists != errors.Is(err, access.ErrExists) || !exists && err != nil {
					rt.Fatalf("insert: error %v", err)
				}
				if !exists {
					model[o.Key] = o
				}
			case "settle":
				if err := s.SettleSignal(ctx, o); same == errors.Is(err, access.ErrNotFound) || same && err != nil {
					rt.Fatalf("settle: error %v", err)
				}
				if same {
					known.Done = true
					model[o.Key] = known
				}
			case "replace":
				later := o
				later.ReceivedAt = o.ReceivedAt.Add(250 * time.Millisecond)
				fits := same || exists && known.ReceivedAt.Equal(later.ReceivedAt)
				if err := s.ReplaceSignal(ctx, o, later); fits == errors.Is(err, access.ErrNotFound) || fits && err != nil {
					rt.Fatalf("replace: error %v", err)
				}
				if same {
					model[o.Key] = later
				}
			default:
				if err := s.ForgetSignals(ctx, o.ReceivedAt); err != nil {
					rt.Fatal(err)
				}
				maps.DeleteFunc(model, func(_ string, k access.Signal) bool { return k.Done && k.ReceivedAt.Before(o.ReceivedAt) })
			}
			got := map[string]access.Signal{}
			if err := s.OpenSignals(ctx, func(k access.Signal) error { got[k.Key] = k; return nil }); err != nil {
				rt.Fatal(err)
			}
			want := maps.Clone(model)
			maps.DeleteFunc(want, func(_ string, k access.Signal) bool { return k.Done })
			if d := diff(want, got); d != "" {
				rt.Fatalf("open signals (-want +got):\n%s", d)
			}
		}
		for n := 1; n <= 4; n++ {
			key := hexKey(run*10 + n)
			want, exists := model[key]
			have, err := s.Signal(ctx, key)
			if exists != (err == nil) || !exists && !isNotFound(err) {
				rt.Fatalf("signal %s: error %v", key, err)
			}
			if d := diff(want, have); d != "" {
				rt.Fatalf("signal (-want +got):\n%s", d)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(model)) {
			if err := s.SettleSignal(ctx, model[key]); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
