package app

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallsShareOneAttempt to create the tables: while the store hangs, none of them waits
// for another, and the first call after it is back succeeds.
func TestCallsShareOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts, down := 0, true
		ready := prepared(func(ctx context.Context) error {
			attempts++
			if down {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		began := time.Now()
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() {
				if err := ready(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("while it hangs: %v", err)
				}
			})
		}
		synctest.Wait()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := ready(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has gone: %v", err)
		}
		calls.Wait()
		if took := time.Since(began); attempts != 1 || took != prepareWithin {
			t.Errorf("%d attempts in %s", attempts, took)
		}
		down = false
		for range 2 {
			if err := ready(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if attempts != 2 {
			t.Errorf("%d attempts", attempts)
		}
	})
}
