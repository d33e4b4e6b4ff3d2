package access

import (
	"context"
	"time"

	"jitgate/internal/audit"
)

// LedgerStore keeps the ledger, what is remembered of people, and alerts. Errors
// as of [Store].
type LedgerStore interface {
	// Ledger returns the zero Ledger when nothing was ever written.
	Ledger(ctx context.Context) (Ledger, error)
	// UpdateLedger is UpdateRequest for the ledger, which is created when it does not
	// exist.
	UpdateLedger(ctx context.Context, change func(*Ledger) ([]audit.Event, error)) (Ledger, error)
	// LedgerEvents returns the ledger's record in order, from the event behind after, at most
	// limit of them (0 = all).
	LedgerEvents(ctx context.Context, after, limit int) ([]audit.Event, error)
	// MarkLedgerTold is MarkTold for the ledger.
	MarkLedgerTold(ctx context.Context, told map[string]int) error

	// UpdateHabits lets change edit what is remembered of a person and saves it if
	// change returns true, unless it was changed by somebody else meanwhile: then all of
	// it happens again.
	UpdateHabits(ctx context.Context, who Person, change func(*Habits) bool) error

	// InsertSignal files an alert. Returns ErrExists when the key is taken.
	InsertSignal(ctx context.Context, s Signal) error
	// Signal returns ErrNotFound when there is none.
	Signal(ctx context.Context, key string) (Signal, error)
	// SettleSignal marks a signal as done. Settling again changes nothing. Returns
	// ErrNotFound when it is not there any more, another one in its place included: one
	// that was received at another time.
	SettleSignal(ctx context.Context, s Signal) error
	// ReplaceSignal files a signal, not done, in the place of one with the same key, done or
	// not. Replacing again changes nothing. Returns ErrNotFound as SettleSignal does.
	ReplaceSignal(ctx context.Context, old, later Signal) error
	// OpenSignals calls f for every signal that is not done.
	OpenSignals(ctx context.Context, f func(Signal) error) error
	// ForgetSignals deletes those done that were received before a time.
	ForgetSignals(ctx context.Context, before time.Time) error
}
