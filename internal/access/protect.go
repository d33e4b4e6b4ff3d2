package access

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

// A draft is made from what was read; when somebody else changes the protection
// meanwhile, it is made again this often.
const maxDrafts = 4

// errOutdated says that a draft was made from a protection that has changed.
var errOutdated = fmt.Errorf("%w: the protection is being changed by somebody else", ErrUnavailable)

// ForecastProtect says what Protect would do, and does nothing. Errors as Protect.
func (s *Service) ForecastProtect(ctx context.Context, vm armid.ID, ask ProtectAsk, by Person) (Forecast, error) {
	if err := s.inCare("", vm); len(err) > 0 {
		return Forecast{}, err
	}
	d, err := s.draftProtect(ctx, vm, ask, by)
	return d.Forecast, err
}

// Protect saves what is wanted of a machine, with copies of the rules that are to
// go, files it under the NSGs and nudges them. Repeating it is harmless: what is
// wanted already is only looked at again, which repairs it.
//
// Errors: [Refusals], after which nothing is changed; [ErrForbidden];
// [ErrUnavailable], after which it may be saved and is then carried out by the
// sweep at the latest.
func (s *Service) Protect(ctx context.Context, vm armid.ID, ask ProtectAsk, by Person) (Forecast, error) {
	// Its NICs are followed only there. What is protected is let go wherever it is.
	if err := s.inCare("", vm); len(err) > 0 {
		return Forecast{}, err
	}
	return s.change(ctx, func() (draft, error) {
		d, err := s.draftProtect(ctx, vm, ask, by)
		if err == nil {
			err = s.mayProtect(ctx, vm, by, d.warns(PortsLetGo))
		}
		return d, err
	})
}

// ForecastUnprotect says what Unprotect would do, and does nothing. Rules that
// have no place to come back to are warnings here.
func (s *Service) ForecastUnprotect(ctx context.Context, vm armid.ID, priorities map[string]int, by Person) (Forecast, error) {
	d, err := s.draftUnprotect(ctx, vm, priorities, by)
	return d.Forecast, err
}

// Unprotect takes our rules away and puts back those that were removed; priorities
// gives rules, by name, another priority to come back at. Errors as Protect, with
// the codes NotProtected, PriorityTaken, RuleNameTaken and PriorityInvalid.
func (s *Service) Unprotect(ctx context.Context, vm armid.ID, priorities map[string]int, by Person) (Forecast, error) {
	return s.change(ctx, func() (draft, error) {
		d, err := s.draftUnprotect(ctx, vm, priorities, by)
		if err == nil && len(d.hindered) > 0 {
			err = d.hindered
		}
		if err == nil {
			err = s.mayProtect(ctx, vm, by, true)
		}
		return d, err
	})
}

// mayProtect refuses somebody who is locked down, and everybody what opens ports of a
// machine that is: rules that come back let people in without any request. What jitgate
// does by itself, for a machine that is gone, brings none back.
func (s *Service) mayProtect(ctx context.Context, vm armid.ID, by Person, opens bool) error {
	ledger, err := s.Ledgers.Ledger(ctx)
	if err != nil {
		return fmt.Errorf("read the lockdowns in force: %w", err)
	}
	l := ledger.locked(by, s.now())
	if l == nil && opens && !by.Same(jitgate) {
		l = ledger.lockdown(by, vm, s.now())
	}
	if l != nil {
		return Refusals{l.refusal()}
	}
	return nil
}

// change saves what a draft wants and sets it going.
func (s *Service) change(ctx context.Context, draw func() (draft, error)) (Forecast, error) {
	for range maxDrafts {
		d, err := draw()
		if err != nil {
			return Forecast{}, err
		}
		d.Protection, err = s.save(ctx, d)
		if errors.Is(err, errOutdated) {
			continue
		}
		if err != nil {
			return Forecast{}, err
		}
		return d.Forecast, s.carryOutProtection(ctx, &d.Protection)
	}
	return Forecast{}, errOutdated
}

func (s *Service) save(ctx context.Context, d draft) (Protection, error) {
	if !d.changed {
		return d.Protection, nil
	}
	return s.Store.UpdateProtection(ctx, d.Protection.VM, func(p *Protection) ([]audit.Event, error) {
		if p.Revision != d.Protection.Revision-1 {
			return nil, errOutdated
		}
		events := p.Events
		*p = d.Protection
		p.Events = events
		return d.events, nil
	})
}

// carryOutProtection files guards under the NSGs and nudges them: the same code
// after the decision, after a crash and in the sweep.
func (s *Service) carryOutProtection(ctx context.Context, p *Protection) error {
	for _, part := range p.Parts {
		if part.Done && !p.Wanted {
			continue
		}
		generation, err := s.Store.PutGuard(ctx, part.NSG, p.guard(part))
		if err != nil {
			return fmt.Errorf("file the protection of %s under %s: %w", p.VM.Name(), part.NSG.Name(), err)
		}
		if err := s.Queue.Enforce(ctx, part.NSG, generation); err != nil {
			return fmt.Errorf("nudge %s: %w", part.NSG.Name(), err)
		}
	}
	return nil
}

// asked describes a change of what is wanted, for the record.
func (d *draft) asked(by Person, kind audit.Kind, format string, args ...any) {
	rec := record{at: d.Protection.ChangedAt, by: by}
	rec.add(kind, nil, audit.Event{VM: d.Protection.VM.String(), Text: fmt.Sprintf(format, args...)})
	d.events = rec.events
	d.changed = true
}

func ruleNames[T any](rules []T, name func(T) string) string {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = name(r)
	}
	return strings.Join(names, ", ")
}
