package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// CarryOutSignal does what a filed alert calls for. Each step may run twice.
//
// A returned error means that trying again may help.
func (s *Service) CarryOutSignal(ctx context.Context, key string) error {
	for overtaken := false; ; overtaken = true {
		signal, err := s.Ledgers.Signal(ctx, key)
		if errors.Is(err, ErrNotFound) || err == nil && signal.Done && !overtaken {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the alert: %w", err)
		}
		if err := s.carryOutSignal(ctx, &signal); err != nil {
			return err
		}
		// An unlock that took the place of our lockdown may have been carried out before we
		// saved it, and found nothing to lift.
		switch err := s.Ledgers.SettleSignal(ctx, signal); {
		case err == nil:
			return nil
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("settle the alert: %w", err)
		}
	}
}

func (s *Service) carryOutSignal(ctx context.Context, signal *Signal) (err error) {
	act := signal.Action
	ended := 0
	if act.Lockdown != nil {
		if ended, err = s.lockForAlert(ctx, signal); err != nil {
			return err
		}
	}
	over, err := s.alertOver(ctx, signal)
	if err != nil {
		return err
	}
	lifted := 0
	if act.Unlock || over {
		if lifted, err = s.unlockForAlert(ctx, signal); err != nil {
			return err
		}
	}
	given := ""
	if act.PreApproval != nil {
		if given, err = s.preApprove(ctx, signal); err != nil {
			return err
		}
	}
	if act.Revoke {
		sentence := fmt.Sprintf("Alert rule %s closes what is open on this machine.", act.Rule)
		how := ending{by: jitgate, pending: sentence, open: sentence, reason: Reason{Code: ClosedByAlert, Sentence: sentence}}
		n, err := s.closeAll(ctx, func(r *Request) *ending {
			if slices.ContainsFunc(r.Targets, func(t Target) bool { return slices.ContainsFunc(act.Machines, t.VM.Equal) }) {
				return &how
			}
			return nil
		})
		if ended += n; err != nil {
			return err
		}
	}
	// One action group tells us of the end of every alert there is. What no rule names has
	// lifted lockdowns at most, and those are on record.
	if act.Rule == "" {
		return nil
	}
	return s.noteSignal(ctx, signal, ended, lifted, given)
}

// lockForAlert locks machines down under ids that follow from the alert and the
// machine, so that carrying the alert out again is no second lockdown, and returns how
// many requests that ends. What is open closes also where a lockdown cannot be saved.
func (s *Service) lockForAlert(ctx context.Context, signal *Signal) (ended int, err error) {
	var all []Lockdown
	var faults []error
	for _, vm := range signal.Action.Machines {
		l := signal.lockdown(vm)
		if !l.InForce(s.now()) {
			continue
		}
		all = append(all, l)
		faults = append(faults, s.addLockdown(ctx, l))
	}
	ended, err = s.closeUnder(ctx, all...)
	return ended, errors.Join(append(faults, err)...)
}

func (signal *Signal) lockdown(vm armid.ID) Lockdown {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s", signal.Key, signal.ReceivedAt.UnixNano(), vm.Key()))
	lock := signal.Action.Lockdown
	l := Lockdown{
		ID: uuid.UUID(sum[:16]).String(), Scope: policy.ScopeOf(vm), By: jitgate, At: signal.ReceivedAt, Until: lock.Until,
		Reason: fmt.Sprintf("Alert rule %s, for alert %s.", signal.Action.Rule, clip(nameOr(signal.Rule, signal.Alert))),
	}
	if lock.UntilResolved {
		l.Alert = signal.End
	}
	if lock.For > 0 {
		l.Until = signal.ReceivedAt.Add(lock.For)
	}
	return l
}

// alertOver tells whether the end of an alert that locks machines down until then was
// filed already. Messages overtake each other, and nobody else would lift it. It is
// asked after the lockdown was saved: an end that is filed later finds it there.
func (s *Service) alertOver(ctx context.Context, signal *Signal) (bool, error) {
	if signal.Action.Lockdown == nil || !signal.Action.Lockdown.UntilResolved || signal.ownEnd() {
		return false, nil
	}
	_, err := s.Ledgers.Signal(ctx, signal.End)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the end of the alert: %w", err)
	}
	return true, nil
}

// unlockForAlert lifts what was locked down until this alert is resolved, and returns
// how many lockdowns that were. What a workflow has locked down since it said so stays.
func (s *Service) unlockForAlert(ctx context.Context, signal *Signal) (all int, err error) {
	for lifted := mostEnded; lifted == mostEnded; all += lifted {
		_, err := s.updateLedger(ctx, func(d *Ledger) ([]audit.Event, error) {
			rec := record{at: s.now(), by: jitgate}
			d.Lockdowns = slices.DeleteFunc(d.Lockdowns, func(l Lockdown) bool {
				if l.Alert == "" || l.Alert != signal.End || signal.ownEnd() && l.At.After(signal.ReceivedAt) || len(rec.events) >= mostEnded {
					return false
				}
				rec.add(audit.LockdownLifted, nil, audit.Event{VM: l.Scope.ID().String(), Text: "The alert is resolved: " + l.text()})
				return true
			})
			lifted = len(rec.events)
			return rec.events, nil
		})
		if err != nil {
			return all, fmt.Errorf("lift lockdowns of the alert: %w", err)
		}
	}
	return all, nil
}

// preApprove returns what became of it, for the record.
func (s *Service) preApprove(ctx context.Context, signal *Signal) (given string, err error) {
	wish := signal.Action.PreApproval
	if len(signal.Action.Machines) == 0 { // the alert was taken for what its end lifts
		return "nobody pre-approved, as no machine of it is looked after", nil
	}
	p := PreApproval{Alert: signal.Key, Rule: signal.Action.Rule, Group: wish.Group, Machines: signal.Action.Machines, Ports: wish.Ports, Until: signal.ReceivedAt.Add(wish.For)}
	if !s.now().Before(p.Until) {
		return "the time of its pre-approval over already", nil
	}
	_, err = s.updateLedger(ctx, func(d *Ledger) ([]audit.Event, error) {
		given = "a group pre-approved"
		if slices.ContainsFunc(d.PreApprovals, func(o PreApproval) bool { return o.Alert == p.Alert || o.outlasts(&p) }) {
			return nil, nil
		}
		d.PreApprovals = slices.DeleteFunc(d.PreApprovals, func(o PreApproval) bool { return p.outlasts(&o) })
		room := MaxPreApproved
		for _, o := range d.PreApprovals {
			room -= len(o.Machines)
		}
		if room < len(p.Machines) {
			given = fmt.Sprintf("nobody pre-approved, as it would be more than %d machines at a time", MaxPreApproved)
			return nil, nil
		}
		d.PreApprovals = append(d.PreApprovals, p)
		rec := record{at: s.now(), by: jitgate}
		text := fmt.Sprintf("Members of group %s need no approver until %s (alert rule %s).", p.Group, p.Until.Format(time.RFC3339), p.Rule)
		if len(p.Machines) > 1 { // in one event: a change saves at most 99 of them
			text += " On " + ruleNames(p.Machines, armid.ID.String) + "."
		}
		rec.add(audit.PreApproved, nil, audit.Event{VM: p.Machines[0].String(), Policy: signal.Rules, Text: text})
		return rec.events, nil
	})
	if err != nil {
		return "", fmt.Errorf("save the pre-approval: %w", err)
	}
	return given, nil
}

// noteSignal puts on record that an alert was acted on: once, unless we die before it
// is settled.
func (s *Service) noteSignal(ctx context.Context, signal *Signal, ended, lifted int, given string) error {
	var did []string
	act := signal.Action
	for _, step := range []struct {
		done bool
		word string
	}{{act.Revoke, fmt.Sprintf("%d request(s) closed", ended)}, {act.Lockdown != nil, "locked down"}, {act.PreApproval != nil, given}, {act.Unlock, fmt.Sprintf("%d lockdown(s) of it lifted", lifted)}} {
		if step.done {
			did = append(did, step.word)
		}
	}
	_, err := s.updateLedger(ctx, func(*Ledger) ([]audit.Event, error) {
		rec := record{at: s.now(), by: signal.By}
		e := audit.Event{Policy: signal.Rules, Text: fmt.Sprintf("Alert %s, rule %s: %s.", nameOr(signal.Rule, signal.Alert), act.Rule, strings.Join(did, ", "))}
		if len(act.Machines) > 0 {
			e.VM = act.Machines[0].String()
		}
		rec.add(audit.AlertTaken, nil, e)
		return rec.events, nil
	})
	if err != nil {
		return fmt.Errorf("put the alert on record: %w", err)
	}
	return nil
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}
