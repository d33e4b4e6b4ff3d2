package tables

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/access"
)

// An alert has two rows: one under its key, which says what it is and whether it is
// done, and a mark that says the same to whoever reads a range,
//
//	open-<key>              what is to be carried out, with a copy of the alert
//	done-<received>-<key>   what may be forgotten, oldest first
//
// Both are always changed together. Most alerts in the partition are done, 31 days of
// them: neither the sweep, which looks for open ones, nor forgetting reads any row
// that it has no use for. Keys are hexadecimal and cannot be taken for a mark.
const (
	alertsPartition = "alerts"
	openSignal      = "open-"
	doneSignal      = "done-"
)

var hexForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// doneBefore begins the keys of what is done, in the order of the times: unlike
// RFC3339Nano it writes all digits.
func doneBefore(t time.Time) string {
	return doneSignal + t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}

func signalMark(s access.Signal) string {
	if s.Done {
		return doneBefore(s.ReceivedAt) + "-" + s.Key
	}
	return openSignal + s.Key
}

// InsertSignal implements [access.LedgerStore].
func (s *Store) InsertSignal(ctx context.Context, signal access.Signal) error {
	if !hexForm.MatchString(signal.Key) {
		return fmt.Errorf("alert %.64q cannot be stored: its key is not 64 hexadecimal characters", signal.Key)
	}
	c, err := signalColumns(signal)
	if err != nil {
		return fmt.Errorf("alert %s cannot be stored: %w", signal.Key, err)
	}
	c[markColumn] = uuid.NewString()
	save := []change{insert(alertsPartition, signalMark(signal), c), insert(alertsPartition, signal.Key, c)}
	err = s.ledger.write(ctx, save...)
	if !errors.Is(err, access.ErrExists) {
		return err
	}
	if ours, werr := s.ledger.wrote(ctx, save); ours || werr != nil {
		return werr
	}
	return err
}

// Signal implements [access.LedgerStore].
func (s *Store) Signal(ctx context.Context, key string) (access.Signal, error) {
	_, signal, err := s.signal(ctx, key)
	return signal, err
}

func (s *Store) signal(ctx context.Context, key string) (row, access.Signal, error) {
	if !hexForm.MatchString(key) {
		return row{}, access.Signal{}, fmt.Errorf("alert %.64q: %w", key, access.ErrNotFound)
	}
	stored, err := s.ledger.get(ctx, alertsPartition, key)
	if err != nil {
		return row{}, access.Signal{}, err
	}
	signal, err := readSignal(stored.columns)
	if err != nil {
		return row{}, access.Signal{}, unreadable("alert "+key, err)
	}
	return stored, signal, nil
}

// SettleSignal implements [access.LedgerStore].
func (s *Store) SettleSignal(ctx context.Context, signal access.Signal) error {
	return s.changeSignal(ctx, signal, func(stored row, now access.Signal) []change {
		if now.Done {
			return nil
		}
		open := signalMark(now)
		now.Done = true
		return []change{merge(stored, columns{"Done": true}),
			removeAny(alertsPartition, open), insert(alertsPartition, signalMark(now), nil)}
	})
}

// ReplaceSignal implements [access.LedgerStore].
func (s *Store) ReplaceSignal(ctx context.Context, old, later access.Signal) error {
	c, err := signalColumns(later)
	if err != nil {
		return fmt.Errorf("alert %s cannot be stored: %w", later.Key, err)
	}
	err = s.changeSignal(ctx, old, func(stored row, now access.Signal) []change {
		save := []change{replace(stored, c), upsert(alertsPartition, signalMark(later), c)}
		if now.Done {
			save = append(save, removeAny(alertsPartition, signalMark(now)))
		}
		return save
	})
	if errors.Is(err, access.ErrNotFound) { // it is ours that is there if the answer was lost
		if now, rerr := s.Signal(ctx, later.Key); rerr == nil && now.ReceivedAt.Equal(later.ReceivedAt) {
			return nil
		}
	}
	return err
}

// changeSignal changes the rows of an alert, unless another one has taken its place. The
// ETag of the alert's row guards its mark, which is never changed without it.
func (s *Store) changeSignal(ctx context.Context, signal access.Signal, changes func(row, access.Signal) []change) error {
	return contend(ctx, "alert "+signal.Key, func() error {
		stored, now, err := s.signal(ctx, signal.Key)
		switch {
		case err != nil:
			return err
		case !now.ReceivedAt.Equal(signal.ReceivedAt):
			return fmt.Errorf("alert %s of %s: %w", signal.Key, signal.ReceivedAt, access.ErrNotFound)
		}
		if c := changes(stored, now); len(c) > 0 {
			return s.ledger.swap(ctx, c...)
		}
		return nil
	})
}

// OpenSignals implements [access.LedgerStore].
func (s *Store) OpenSignals(ctx context.Context, f func(access.Signal) error) error {
	for found, err := range s.ledger.rows(ctx, starting(alertsPartition, openSignal), pageSize) {
		if err != nil {
			return err
		}
		signal, err := readSignal(found.columns)
		if err != nil {
			return unreadable("alert "+found.rk, err)
		}
		if err := f(signal); err != nil {
			return err
		}
	}
	return nil
}

// ForgetSignals implements [access.LedgerStore]. It reads the marks of what goes and
// no other row: one query for up to 1,000 of them, and one transaction for each 50.
// Somebody else may forget the same ones: then what is left is looked up again.
func (s *Store) ForgetSignals(ctx context.Context, before time.Time) error {
	gone := both(is("PartitionKey", alertsPartition), from("RowKey", doneSignal), below("RowKey", doneBefore(before)))
	return contend(ctx, "which alerts are forgotten", func() error {
		var changes []change
		for found, err := range s.ledger.rows(ctx, gone, pageSize) {
			if err != nil {
				return err
			}
			key := found.rk[strings.LastIndex(found.rk, "-")+1:]
			changes = append(changes, removeAny(alertsPartition, found.rk), removeAny(alertsPartition, key))
		}
		for chunk := range slices.Chunk(changes, maxChanges) {
			if err := s.ledger.swap(ctx, chunk...); err != nil {
				return err
			}
		}
		return nil
	})
}
