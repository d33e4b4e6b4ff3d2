// Package storetest is the contract of [access.Store], [access.LedgerStore] and
// [access.Policies] as tests. Every implementation runs them; what is promised in the comments of the
// ports is checked here and nowhere else. It refuses to know how anything is
// stored, and it needs no clock: times are data, except that of a bump.
package storetest

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/access"
)

// Store is what the suite examines.
type Store interface {
	access.Store
	access.LedgerStore
	access.Policies
}

// Run examines an implementation. open is called once for each subtest and returns
// a store with nothing in it; it registers its own clean-up.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, Store)
	}{
		{"Requests", requestTests},
		{"Told", toldTests},
		{"List", listTests},
		{"Grants", grantTests},
		{"Settle", settleTests},
		{"Guards", guardTests},
		{"Protections", protectionTests},
		{"Notes", noteTests},
		{"Ledger", ledgerTests},
		{"Habits", habitTests},
		{"Signals", signalTests},
		{"Policies", policyTests},
		{"AlertRules", alertRulesTests},
		{"Proposals", proposalTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, open(t)) })
			}
		})
	}
	t.Run("Model", func(t *testing.T) { runModel(t, open) })
}

// same compares what was given with what came back: empty and nil lists are one,
// times are compared as moments and must be UTC. Bytes are compared in one go, which
// spares long copies of rules a comparison for each byte.
var same = cmp.Options{
	cmp.FilterValues(func(a, b []byte) bool { return len(a)+len(b) > 0 }, cmp.Comparer(bytes.Equal)),
	cmpopts.EquateEmpty(),
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}),
}

func diff(want, got any) string { return cmp.Diff(want, got, same...) }

func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if d := diff(want, got); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want one that wraps %q", what, err, want)
	}
}

func isNotFound(err error) bool { return errors.Is(err, access.ErrNotFound) }

// together runs f at once in n goroutines and fails the test with their errors.
func together(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	start, faults := make(chan struct{}), make(chan error, n)
	for i := range n {
		go func() {
			<-start
			faults <- f(i)
		}()
	}
	close(start)
	var all error
	for range n {
		all = errors.Join(all, <-faults)
	}
	must(t, all)
}
