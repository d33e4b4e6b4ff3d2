package tables

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

// The ledger's record belongs to the installation and grows for as long as it lives,
// hence more digits than a request's.
const (
	ledgerPartition = "ledger"
	ledgerRow       = "ledger"
	ledgerDigits    = 12
	peoplePartition = "people"
)

var ledgerPlace = place{name: "the ledger", partition: ledgerPartition, row: ledgerRow, events: eventPrefix, digits: ledgerDigits}

func ledgerIn(t table) journal[access.Ledger] {
	return journal[access.Ledger]{
		table: t, store: ledgerColumns, load: readLedger,
		count: func(l *access.Ledger) *int { return &l.Events },
		keep: func(edited, stored access.Ledger) access.Ledger {
			edited.Told = stored.Told // MarkLedgerTold's to say
			return edited
		},
	}
}

// Ledger implements [access.LedgerStore]: one point read, because every decision
// takes one.
func (s *Store) Ledger(ctx context.Context) (access.Ledger, error) {
	_, l, err := s.ledger.read(ctx, ledgerPlace)
	if errors.Is(err, access.ErrNotFound) {
		return access.Ledger{}, nil
	}
	return l, err
}

// UpdateLedger implements [access.LedgerStore].
func (s *Store) UpdateLedger(ctx context.Context, edit func(*access.Ledger) ([]audit.Event, error)) (access.Ledger, error) {
	l, _, err := s.ledger.update(ctx, ledgerPlace, &access.Ledger{}, edit)
	return l, err
}

// LedgerEvents implements [access.LedgerStore].
func (s *Store) LedgerEvents(ctx context.Context, after, limit int) ([]audit.Event, error) {
	return s.ledger.events(ctx, ledgerPlace, after, limit)
}

// MarkLedgerTold implements [access.LedgerStore]. Without a ledger there is nothing to
// tell, and it is ErrNotFound.
func (s *Store) MarkLedgerTold(ctx context.Context, told map[string]int) error {
	return s.ledger.markTold(ctx, ledgerPlace, told)
}

// UpdateHabits implements [access.LedgerStore]. The mark keeps a denial from being
// counted twice when the answer is lost; if somebody else saved in the meantime it is
// gone, and the change is made on top of both.
func (s *Store) UpdateHabits(ctx context.Context, who access.Person, edit func(*access.Habits) bool) error {
	if !personForm.MatchString(who.Tenant) || !personForm.MatchString(who.Object) {
		return fmt.Errorf("what is remembered of a person cannot be stored: tenant %.128q and object %.128q are not ids", who.Tenant, who.Object)
	}
	key, name := who.Tenant+":"+who.Object, "what is remembered of "+who.Object
	var save []change
	return contend(ctx, name, func() error {
		if save != nil { // the last attempt clashed
			if ours, err := s.ledger.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		var habits access.Habits
		stored, err := s.ledger.get(ctx, peoplePartition, key)
		if err == nil {
			if habits, err = readHabits(stored.columns); err != nil {
				return unreadable(name, err)
			}
		} else if !errors.Is(err, access.ErrNotFound) {
			return err
		}
		if !edit(&habits) {
			return nil
		}
		c, err := habitsColumns(&habits)
		if err != nil {
			return fmt.Errorf("%s cannot be stored: %w", name, err)
		}
		c[markColumn] = uuid.NewString()
		save = []change{insertOrReplace(peoplePartition, key, stored, c)}
		return s.ledger.swap(ctx, save...)
	})
}
