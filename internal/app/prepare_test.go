package app

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestCallsShareOneAttempt to create the tables, which goes on when they have given up
// waiting for it: else a store that is slow would never be ready.
func TestCallsShareOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts, takes := 0, 10*time.Second
		ready := prepared(func(ctx context.Context) error {
			attempts++
			select {
			case <-time.After(takes):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		within := func(d time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			return ready(ctx)
		}
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() {
				if err := within(3 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("while it is slow: %v", err)
				}
			})
		}
		calls.Wait()
		began := time.Now()
		if err := within(time.Hour); err != nil || time.Since(began) != 7*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		if err := within(0); err != nil {
			t.Errorf("when it is ready: %v", err)
		}
		if attempts != 1 {
			t.Errorf("%d attempts", attempts)
		}
	})
}

// TestAnotherAttempt is made by the next call when one has failed.
func TestAnotherAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		ready := prepared(func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		began := time.Now()
		if err := ready(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != prepareWithin {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
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
