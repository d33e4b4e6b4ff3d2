package tables

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"jitgate/internal/access"
	local "jitgate/internal/local/tables"
)

// oops is a failure that the SDK repeats at once.
var oops = &local.Fault{Status: 500, Code: "InternalError", RetryAfter: time.Millisecond}

// undertaking is one call of the store with what must hold afterwards.
type undertaking struct {
	name    string
	prepare func(*testing.T, *Store)
	do      func(context.Context, *Store) error
	// done checks the outcome of a call that succeeded, or that failed half-way and was
	// made again.
	done func(t *testing.T, s *Store)
	// again accepts the result of the second call; nil wants no error.
	again func(error) bool
}

var undertakings = slices.Concat(requestUndertakings, nsgUndertakings, ledgerUndertakings, policyUndertakings)

// begin opens a store prepared for u.
func begin(t *testing.T, u undertaking) (*account, *Store) {
	a := newAccount(t)
	s := a.store(t)
	if u.prepare != nil {
		u.prepare(t, s)
	}
	return a, s
}

// operations counts what u asks of the service.
func operations(t *testing.T, u undertaking) int {
	a, s := begin(t, u)
	before := sum(a.Counts())
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
	return sum(a.Counts()) - before
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Each operation in turn is carried out and then reported as failed. The SDK
// repeats it, and the caller must not notice.
func TestAnswerLost(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(nil, func(local.Op) *local.Fault {
					if n.Add(1) == int64(k+1) {
						return oops
					}
					return nil
				})
				if err := u.do(t.Context(), s); err != nil {
					t.Fatalf("answer %d lost: %v", k+1, err)
				}
				a.SetFaults(nil, nil)
				u.done(t, s)
			}
		})
	}
}

// The process is cut off: one operation is carried out but its answer is lost, and
// nothing gets through afterwards. The call says so, and made again by somebody
// else it leads to the same end.
func TestCutOff(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(
					func(local.Op) *local.Fault {
						if n.Add(1) > int64(k+1) {
							return oops
						}
						return nil
					},
					func(local.Op) *local.Fault {
						if n.Load() >= int64(k+1) {
							return oops
						}
						return nil
					})
				err := u.do(t.Context(), s)
				a.SetFaults(nil, nil)
				// Failing to tidy up the index is not the caller's concern, hence nil.
				if err != nil && !errors.Is(err, access.ErrUnavailable) {
					t.Fatalf("cut off at operation %d: %v, want ErrUnavailable", k+1, err)
				}
				second := a.store(t)
				err = u.do(t.Context(), second)
				if u.again != nil && !u.again(err) || u.again == nil && err != nil {
					t.Fatalf("cut off at operation %d, then again: %v", k+1, err)
				}
				u.done(t, second)
			}
		})
	}
}

// A broken connection is no different from a bad answer.
func TestConnectionLost(t *testing.T) {
	u := undertakings[1]
	a, s := begin(t, u)
	var n atomic.Int64
	a.SetFaults(nil, func(op local.Op) *local.Fault {
		if op.Kind == "transaction" && n.Add(1) == 1 {
			return &local.Fault{Drop: true}
		}
		return nil
	})
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
}
