package servicebus

import (
	"errors"
	"fmt"
	"time"

	"jitgate/internal/local/servicebus/broker"
)

// Config is the queues of the namespace.
type Config struct{ Queues []Queue }

// Queue configures one queue. Zero values mean the emulator's defaults.
type Queue struct {
	Name         string
	LockDuration time.Duration // of messages and of sessions; default one minute
	// MaxDeliveryCount deliveries in vain make a message dead; default 3.
	MaxDeliveryCount                    int
	DefaultMessageTimeToLive            time.Duration // also the longest; default one hour
	DeadLetteringOnMessageExpiration    bool
	RequiresSession                     bool
	RequiresDuplicateDetection          bool
	DuplicateDetectionHistoryTimeWindow time.Duration // default 20 seconds
}

// Defaults of the official emulator (its Config-schema.json).
const (
	defaultLockDuration    = time.Minute
	defaultDeliveryCount   = 3
	defaultTimeToLive      = time.Hour
	defaultDuplicateWindow = 20 * time.Second
)

// settings checks what New is given. The emulator's ranges are a matter of its
// file and checked there: a program may want what only Azure allows.
func (c Config) settings() ([]broker.Settings, error) {
	var errs []error
	out := make([]broker.Settings, 0, len(c.Queues))
	for i, q := range c.Queues {
		if !namePattern.MatchString(q.Name) {
			errs = append(errs, fmt.Errorf("queue %d: %q is not a legal name", i, q.Name))
		}
		if q.LockDuration < 0 || q.MaxDeliveryCount < 0 || q.DefaultMessageTimeToLive < 0 || q.DuplicateDetectionHistoryTimeWindow < 0 {
			errs = append(errs, fmt.Errorf("queue %q: durations and counts must not be negative", q.Name))
		}
		out = append(out, broker.Settings{
			Name:                   q.Name,
			LockDuration:           orDefault(q.LockDuration, defaultLockDuration),
			MaxDeliveryCount:       orDefault(q.MaxDeliveryCount, defaultDeliveryCount),
			DefaultTimeToLive:      orDefault(q.DefaultMessageTimeToLive, defaultTimeToLive),
			DeadLetterOnExpiration: q.DeadLetteringOnMessageExpiration,
			RequiresSession:        q.RequiresSession,
			DuplicateDetection:     q.RequiresDuplicateDetection,
			DuplicateDetectionSpan: orDefault(q.DuplicateDetectionHistoryTimeWindow, defaultDuplicateWindow),
		})
	}
	return out, errors.Join(errs...)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
