package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// Extend lets access that is open last longer by a duration: all of the request or
// nothing of it, as many times as policy says and, from its opening, no longer than
// policy allows for a whole access. It is not approved again, so what policy wants
// approved has to have been: access that nobody agreed to, by breaking the glass or for
// an alert that is over, is not extended where somebody would have to agree.
//
// Errors: [ErrNotFound]; [Refusals]; [ErrUnavailable], after which it may be extended.
func (s *Service) Extend(ctx context.Context, id string, by Actor, duration string) (Request, error) {
	var c check
	d := c.duration("duration", duration, s.Limits)
	if len(c.faults) > 0 {
		return Request{}, c.faults
	}
	r, err := s.Store.Request(ctx, id)
	if err != nil {
		return Request{}, err
	}
	if err := r.extendable(s.now()); err != nil {
		return Request{}, err
	}
	if err := s.mayExtend(ctx, &r, by, d); err != nil {
		return Request{}, err
	}
	at, before := s.now(), r.Extensions
	r, err = s.update(ctx, id, func(r *Request) ([]audit.Event, error) {
		if err := r.extendable(s.now()); err != nil {
			return nil, err
		}
		if r.Extensions != before {
			return nil, fmt.Errorf("%w: the request was extended by somebody else at this moment", ErrUnavailable)
		}
		rec := record{at: at, by: by.Person}
		r.Extensions++
		if r.Review.Open() {
			r.Review.DueAt = r.Review.DueAt.Add(d)
		}
		for i := range r.Targets {
			if t := &r.Targets[i]; t.State == Active {
				t.ExpiresAt, t.Reminded = t.ExpiresAt.Add(d), false
				rec.add(audit.AccessExtended, t, audit.Event{Text: "To stay open until " + t.ExpiresAt.Format(time.RFC3339) + "."})
			}
		}
		return rec.events, nil
	})
	if err != nil {
		return Request{}, err
	}
	return r, s.carryOut(ctx, &r)
}

func (r *Request) extendable(now time.Time) error {
	if r.State() != Active || !now.Before(r.ExpiresAt()) {
		return refuse(RequestNotActive, "", fmt.Sprintf("Only access that is open can be extended; this request is %s.", r.State()))
	}
	return nil
}

// mayExtend asks policy about the whole of the access, from when it opened to when it
// would end, with the rights that the requester has now.
func (s *Service) mayExtend(ctx context.Context, r *Request, by Actor, d time.Duration) error {
	var vms []armid.ID
	for _, t := range r.Targets {
		vms = append(vms, t.VM)
	}
	rules, err := s.rulebook(ctx, vms)
	if err != nil {
		return err
	}
	var faults Refusals
	for i, t := range r.Targets {
		if t.State != Active {
			continue
		}
		tags, err := s.tags(ctx, rules, t.VM)
		if err != nil {
			return fmt.Errorf("look at %s: %w", t.VM.Name(), err)
		}
		e := r.enquiry(&t, tags)
		e.By, e.BreakGlass = by, false
		e.Duration = t.ExpiresAt.Add(d).Sub(t.OpenedAt).Round(time.Second)
		e.From = t.OpenedAt
		out := rules.rule(e)
		refusals := out.refusals
		if len(refusals) == 0 {
			if err := s.entitled(ctx, by.Person, t.VM, RequesterRole); err != nil && !errors.As(err, &refusals) {
				return err
			}
		}
		if len(refusals) == 0 && r.Extensions >= out.extensions {
			refusals = append(refusals, Refusal{Code: ExtensionNotAllowed, Policy: out.nearest.Ref(),
				Sentence: extensionsText(t.VM, out.nearest, out.extensions)})
		}
		if len(refusals) == 0 && out.approval != nil {
			d := decision{ruling: out}
			if d.heard, err = s.heard(ctx, rules, r, t.VM); err != nil {
				return err
			}
			if !r.agreed(&d) {
				refusals = append(refusals, Refusal{Code: ExtensionNotAllowed, Policy: strings.Join(out.approval.Policies, "; "), Sentence: fmt.Sprintf(
					"%s to access to VM %s, and for this request that is not so; an extension asks nobody. Ask anew, which does.", needs(out.approval), t.VM.Name())})
			}
		}
		for _, f := range refusals {
			f.Field = fmt.Sprintf("targets[%d]", i)
			faults = append(faults, f)
		}
	}
	if total := r.ExpiresAt().Add(d).Sub(r.openedAt()); total > s.Limits.Longest {
		faults = append(faults, Refusal{Code: DurationTooLong, Field: "duration", Sentence: fmt.Sprintf(
			"With this extension access would have been open for %s; %s is the most here. Ask anew when it has ended.", policy.FormatDuration(total.Round(time.Second)), policy.FormatDuration(s.Limits.Longest))})
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

func extensionsText(vm armid.ID, p policy.Policy, most int) string {
	if most == 0 {
		return fmt.Sprintf("The policy of %s allows no extension of access to VM %s; ask anew when it has ended.", p.Name(), vm.Name())
	}
	return fmt.Sprintf("The policy of %s allows %d extension(s) of access to VM %s, and they are used up; ask anew when it has ended.", p.Name(), most, vm.Name())
}

// openedAt is when the first target opened.
func (r *Request) openedAt() time.Time {
	var first time.Time
	for _, t := range r.Targets {
		if !t.OpenedAt.IsZero() {
			first = earlier(first, t.OpenedAt)
		}
	}
	return first
}
