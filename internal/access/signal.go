package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/alert"
	"jitgate/internal/armid"
)

// Signal is an alert that was taken in, with what a rule makes of it. It is filed
// before the sender is answered, and carried out by a worker afterwards.
type Signal struct {
	Key        string // one delivery or many, the same news: alert.Alert.Key, or what follows from alert.Alert.ID for its end
	Alert      string // alert.Alert.ID
	Rule       string // name of the alert rule in Azure Monitor, or the source; for the record
	Action     alert.Action
	Rules      string // version and hash of the rules document that decided
	ReceivedAt time.Time
	Done       bool
}

// SignalMemory is how long an alert is remembered, so that a late repeat is known for
// one: as long as Azure Monitor keeps it (alerts overview: 30 days).
const SignalMemory = 31 * 24 * time.Hour

// Reception is what became of an alert that was received.
type Reception struct {
	Status string // Accepted, Duplicate or Ignored
	Why    string
	Rule   string // the alert rule of ours that decided
}

// Words of [Reception].Status.
const (
	Accepted  = "accepted"
	Duplicate = "duplicate"
	Ignored   = "ignored"
)

// TakeAlert decides what an alert calls for, files that and has it carried out by a
// worker. It returns within moments: Azure Monitor gives up after a few seconds and
// then calls nobody for a quarter of an hour (Azure Monitor, action groups). What no
// rule names, and what is about machines that are not ours, is ignored.
//
// Errors: [Refusals], when whoever sends it is locked down; [ErrUnavailable], after
// which the same alert may be sent again.
func (s *Service) TakeAlert(ctx context.Context, a alert.Alert, by Person) (Reception, error) {
	if err := s.unlocked(ctx, by); err != nil {
		return Reception{}, err
	}
	written, err := s.Policies.AlertRules(ctx)
	if errors.Is(err, ErrNotFound) {
		return Reception{Status: Ignored, Why: "no alert rules are in force"}, nil
	}
	if err != nil {
		return Reception{}, fmt.Errorf("read the alert rules: %w", err)
	}
	rules, err := alert.ParseRules([]byte(written.Text))
	if err != nil {
		return Reception{}, fmt.Errorf("the alert rules in force cannot be read: %w", err)
	}
	action, matched := rules.Match(a)
	if matched {
		action.Machines = slices.DeleteFunc(action.Machines, func(vm armid.ID) bool { return !s.looksAfter(vm) })
	}
	switch {
	case a.Test:
		return Reception{Status: Ignored, Why: "it is the portal's test"}, nil
	case !matched:
		return Reception{Status: Ignored, Why: "no alert rule matches it"}, nil
	case len(action.Machines) == 0 && !action.Unlock:
		return Reception{Status: Ignored, Why: "unknown target: it names no machine that jitgate looks after", Rule: action.Rule}, nil
	}
	key := a.Key
	if action.Unlock {
		key = endKey(a.ID)
	}
	signal := Signal{Key: key, Alert: a.ID, Rule: a.Rule, Action: action, ReceivedAt: s.now(), Rules: fmt.Sprintf("%s version %d sha256:%s", AlertRulesKey, written.Version, written.Hash)}
	out := Reception{Status: Accepted, Rule: action.Rule}
	switch err := s.Ledgers.InsertSignal(ctx, signal); {
	case errors.Is(err, ErrExists):
		known, err := s.Ledgers.Signal(ctx, key)
		if err != nil {
			return Reception{}, fmt.Errorf("look for an earlier delivery: %w", err)
		}
		out.Status = Duplicate
		if known.Done {
			return out, nil
		}
	case err != nil:
		return Reception{}, fmt.Errorf("file the alert: %w", err)
	}
	if err := s.Queue.Signal(ctx, key); err != nil {
		return Reception{}, fmt.Errorf("queue the alert: %w", err)
	}
	return out, nil
}

func (s *Service) looksAfter(vm armid.ID) bool {
	return slices.ContainsFunc(s.Subscriptions, func(id string) bool { return strings.EqualFold(id, vm.Subscription()) })
}

// endKey is the key of the news that an alert is over. It follows from the alert's id,
// so that whoever carries out its beginning can look for it.
func endKey(id string) string {
	sum := sha256.Sum256([]byte("end\x00" + id))
	return hex.EncodeToString(sum[:])
}

// sweepSignals carries on with alerts whose message was lost, and forgets old ones.
func (s *Service) sweepSignals(ctx context.Context) error {
	now := s.now()
	var faults []error
	err := s.Ledgers.OpenSignals(ctx, func(signal Signal) error {
		if now.After(signal.ReceivedAt.Add(Patience)) {
			faults = append(faults, s.Queue.Signal(ctx, signal.Key))
		}
		return nil
	})
	faults = append(faults, err, s.Ledgers.ForgetSignals(ctx, now.Add(-SignalMemory)))
	return errors.Join(faults...)
}
