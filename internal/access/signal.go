package access

import (
	"context"
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
	Key        string // one delivery or many, the same news: alert.Alert.Key
	End        string // alert.Alert.End
	Alert      string // alert.Alert.ID
	Rule       string // name of the alert rule in Azure Monitor, or the source; for the record
	Action     alert.Action
	Rules      string // version and hash of the rules document that decided
	By         Person // who sent it
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
// Errors: [Refusals], when whoever sends it is locked down; [alert.Refusal], when it asks
// for a lockdown until a time that is past; [ErrUnavailable], after which the same alert
// may be sent again.
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
		return Reception{}, fmt.Errorf("the alert rules in force cannot be read, apply them anew: %w", err)
	}
	if a.Asked != nil && !a.Asked.Until.IsZero() && !s.now().Before(a.Asked.Until) {
		return Reception{}, alert.Refusal{Code: alert.Malformed, Sentence: "until is past; leave it out, or send a time to come."}
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
	signal := Signal{Key: a.Key, End: a.End, Alert: a.ID, Rule: a.Rule, Action: action, By: by, ReceivedAt: s.now(), Rules: fmt.Sprintf("%s version %d sha256:%s", AlertRulesKey, written.Version, written.Hash)}
	out := Reception{Status: Accepted, Rule: action.Rule}
	signal, repeat, err := s.fileSignal(ctx, signal)
	if err != nil {
		return Reception{}, fmt.Errorf("file the alert: %w", err)
	}
	if repeat {
		out.Status = Duplicate
		if signal.Done {
			return out, nil
		}
	}
	if err := s.Queue.Signal(ctx, signal.Key, signal.ReceivedAt); err != nil {
		return Reception{}, fmt.Errorf("queue the alert: %w", err)
	}
	return out, nil
}

// fileSignal files an alert and returns it as filed, or the one that is there with the same
// news. Another word of a workflow about the same takes the place of the one before, and
// is later than that whatever the clocks say: a machine that is locked down again after it
// was unlocked, or for longer, must not be taken for a repeat.
func (s *Service) fileSignal(ctx context.Context, signal Signal) (filed Signal, repeat bool, err error) {
	for {
		if err := s.Ledgers.InsertSignal(ctx, signal); !errors.Is(err, ErrExists) {
			return signal, false, err
		}
		known, err := s.Ledgers.Signal(ctx, signal.Key)
		switch {
		case errors.Is(err, ErrNotFound): // it was forgotten at this moment
			continue
		case err != nil || signal.repeats(&known):
			return known, true, err
		}
		later := signal
		if !later.ReceivedAt.After(known.ReceivedAt) {
			later.ReceivedAt = known.ReceivedAt.Add(time.Microsecond)
		}
		if !known.Done && known.Action.Lockdown != nil {
			later.Action.Revoke = true // what it was to close is closed all the same
		}
		if err := s.Ledgers.ReplaceSignal(ctx, known, later); !errors.Is(err, ErrNotFound) {
			return later, false, err
		}
	}
}

// ownEnd reports whether the news of its end are filed in the signal's own place, as those
// of a workflow are.
func (signal *Signal) ownEnd() bool { return signal.End == signal.Key }

// repeats reports whether two signals of one key say the same.
func (signal *Signal) repeats(o *Signal) bool {
	until := func(s *Signal) (t time.Time) {
		if s.Action.Lockdown != nil {
			t = s.Action.Lockdown.Until
		}
		return t
	}
	return !signal.ownEnd() || signal.Action.Unlock == o.Action.Unlock && until(signal).Equal(until(o))
}

func (s *Service) looksAfter(vm armid.ID) bool {
	return slices.ContainsFunc(s.Subscriptions, func(id string) bool { return strings.EqualFold(id, vm.Subscription()) })
}

// sweepSignals carries on with alerts whose message was lost, and forgets old ones.
func (s *Service) sweepSignals(ctx context.Context) error {
	now := s.now()
	var faults []error
	err := s.Ledgers.OpenSignals(ctx, func(signal Signal) error {
		if now.After(signal.ReceivedAt.Add(Patience)) {
			faults = append(faults, s.Queue.Signal(ctx, signal.Key, signal.ReceivedAt))
		}
		return nil
	})
	faults = append(faults, err, s.Ledgers.ForgetSignals(ctx, now.Add(-SignalMemory)))
	return errors.Join(faults...)
}
