package tables

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"jitgate/internal/access"
)

// Each failed attempt means that somebody else's succeeded, so the bound is
// reached only by more than 64 changes to one row while we try. Pauses start small
// because a clash is over as soon as it happened; they are random so that those
// who clashed do not meet again.
const (
	maxAttempts = 64
	firstPause  = 2 * time.Millisecond
	longPause   = 64 * time.Millisecond
)

// contend runs attempt, which reads, decides and writes, until it does not end in
// errClash. All other results are returned as they are.
func contend(ctx context.Context, what string, attempt func() error) error {
	pause := firstPause
	for range maxAttempts {
		err := attempt()
		if !errors.Is(err, errClash) {
			return err
		}
		timer := time.NewTimer(rand.N(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: save %s: %w", access.ErrUnavailable, what, ctx.Err())
		case <-timer.C:
		}
		pause = min(2*pause, longPause)
	}
	return fmt.Errorf("%w: save %s: it was changed by others %d times over; try again", access.ErrUnavailable, what, maxAttempts)
}
