package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// LockdownForm is a wish for a lockdown as a caller wrote it: one of User and Scope.
type LockdownForm struct {
	User   string // object id
	Scope  string // "tenant" or an ARM id
	Until  string // RFC 3339; empty = until somebody lifts it
	Reason string
}

// Read checks a form. All faults are returned together as [Refusals].
func (f LockdownForm) Read(now time.Time) (Lockdown, error) {
	var c check
	l := Lockdown{Reason: strings.TrimSpace(f.Reason)}
	if (f.User == "") == (f.Scope == "") {
		c.fault(LockdownInvalid, "user", "Send one of user (an object id) and scope (\"tenant\", or the id of a subscription, a resource group or a VM).")
	}
	if f.User != "" {
		id, err := uuid.Parse(f.User)
		if err != nil || len(f.User) != 36 {
			c.fault(LockdownInvalid, "user", "%q is not an object id; send the GUID that Entra ID shows for the person or application.", clip(f.User))
		}
		l.User = id.String()
	}
	if f.Scope != "" {
		if err := l.Scope.UnmarshalText([]byte(f.Scope)); err != nil || !lockable(l.Scope) {
			c.fault(LockdownInvalid, "scope", "%q cannot be locked down; send \"tenant\", or the id of a subscription, a resource group or a VM.", clip(f.Scope))
		}
	}
	if f.Until != "" {
		until, err := time.Parse(time.RFC3339, f.Until)
		if err != nil || !until.After(now) || until.UTC().Year() > 9999 { // with its offset it may be written, without it no more
			c.fault(LockdownInvalid, "until", "%q is not a time to come; send one such as %s, or leave it out.", clip(f.Until), now.Add(4*time.Hour).Format(time.RFC3339))
		}
		l.Until = until.UTC()
	}
	if l.Reason == "" {
		c.fault(CommentMissing, "reason", "A lockdown needs a reason; whoever is refused gets to read it.")
	}
	c.words(CommentInvalid, "reason", l.Reason)
	if len(c.faults) > 0 {
		return Lockdown{}, c.faults
	}
	return l, nil
}

func lockable(s policy.Scope) bool {
	return s.ID().IsZero() || s.ID().Type() == "" || strings.EqualFold(s.ID().Type(), armid.VirtualMachine)
}

// LockDown refuses new access under the lockdown from now on and closes what is open
// under it. It returns the lockdown as saved and how many requests it ends; what
// could not be ended at once the sweep ends.
//
// Errors: [Refusals]; [ErrUnavailable], after which the lockdown may be in force.
func (s *Service) LockDown(ctx context.Context, l Lockdown, by Person) (Lockdown, int, error) {
	if err := s.unlocked(ctx, by); err != nil {
		return Lockdown{}, 0, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Lockdown{}, 0, fmt.Errorf("make an id: %w", err)
	}
	l.ID, l.By, l.At = id.String(), by, s.now()
	if err := s.addLockdown(ctx, l); err != nil {
		return Lockdown{}, 0, err
	}
	l = l.short()
	ended, err := s.closeUnder(ctx, l)
	return l, ended, err
}

// addLockdown saves a lockdown, unless one of the same id is there, or one that says the
// same for longer.
func (s *Service) addLockdown(ctx context.Context, l Lockdown) error {
	_, err := s.updateLedger(ctx, func(d *Ledger) ([]audit.Event, error) {
		if slices.ContainsFunc(d.Lockdowns, func(o Lockdown) bool { return o.ID == l.ID || o.outlasts(l) }) {
			return nil, nil
		}
		d.Lockdowns = slices.DeleteFunc(d.Lockdowns, l.outlasts)
		switch n := d.like(l); {
		case l.By.Same(jitgate) && n >= MaxAlertLockdowns:
			return nil, fmt.Errorf("%w: alerts hold %d lockdowns already, and people have to find room for theirs; lift some", ErrUnavailable, n)
		case !l.By.Same(jitgate) && n >= MaxLockdowns:
			return nil, refuse(LockdownsTooMany, "", fmt.Sprintf("%d lockdowns like this one are in force; lift some, and lock down a wider scope instead.", n))
		}
		d.Lockdowns = append(d.Lockdowns, l.short())
		rec := record{at: s.now(), by: l.By}
		rec.add(audit.LockdownSet, nil, audit.Event{VM: l.Scope.ID().String(), Text: l.text() + " " + sentence(l.Reason)})
		return rec.events, nil
	})
	if err != nil {
		return fmt.Errorf("save the lockdown: %w", err)
	}
	return nil
}

// Lift ends a lockdown. Whoever is locked down cannot.
//
// Errors: [Refusals]; [ErrUnavailable].
func (s *Service) Lift(ctx context.Context, id string, by Person, comment string) error {
	var c check
	c.words(CommentInvalid, "comment", comment)
	if len(c.faults) > 0 {
		return c.faults
	}
	if err := s.unlocked(ctx, by); err != nil {
		return err
	}
	found := false
	_, err := s.updateLedger(ctx, func(d *Ledger) ([]audit.Event, error) {
		at := slices.IndexFunc(d.Lockdowns, func(l Lockdown) bool { return l.ID == id })
		if found = found || at >= 0; at < 0 {
			return nil, nil
		}
		l := d.Lockdowns[at]
		d.Lockdowns = slices.Delete(d.Lockdowns, at, at+1)
		rec := record{at: s.now(), by: by}
		rec.add(audit.LockdownLifted, nil, audit.Event{VM: l.Scope.ID().String(), Text: strings.TrimSpace("No longer in force: " + l.text() + " " + comment)})
		return rec.events, nil
	})
	if err == nil && !found {
		return refuse(LockdownNotFound, "", "There is no lockdown with this id in force; list those there are with GET /api/lockdowns.")
	}
	return err
}

// closeUnder ends every request under some of the lockdowns that has not ended. They
// are looked through once, however many lockdowns there are.
func (s *Service) closeUnder(ctx context.Context, lockdowns ...Lockdown) (int, error) {
	if len(lockdowns) == 0 {
		return 0, nil
	}
	return s.closeAll(ctx, func(r *Request) *ending {
		at := slices.IndexFunc(lockdowns, func(l Lockdown) bool { return l.concerns(r) })
		if at < 0 {
			return nil
		}
		l := lockdowns[at]
		return &ending{
			by: l.By, pending: "Cancelled by a lockdown: " + sentence(l.Reason), open: "To be closed by a lockdown: " + sentence(l.Reason),
			reason: Reason{Code: LockedDown, Sentence: l.text() + " " + sentence(l.Reason)},
		}
	})
}

// concerns reports whether a request is under the lockdown. It ends as a whole: its
// machines were asked for together.
func (l Lockdown) concerns(r *Request) bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return l.covers(r.Requester, t.VM) })
}

// unlocked refuses somebody who is locked down: a stolen account must not be able to
// undo what was done against it.
func (s *Service) unlocked(ctx context.Context, who Person) error {
	ledger, err := s.Ledgers.Ledger(ctx)
	if err != nil {
		return fmt.Errorf("read the lockdowns in force: %w", err)
	}
	if l := ledger.locked(who, s.now()); l != nil {
		return Refusals{l.refusal()}
	}
	return nil
}

// refusal is what somebody under the lockdown is told.
func (l Lockdown) refusal() Refusal {
	return Refusal{Code: LockedDown, Sentence: l.text() + " " + sentence(l.Reason) + " Ask whoever set it."}
}

// text says what is locked down and until when.
func (l Lockdown) text() string {
	what := "user " + l.User
	if l.User == "" {
		what = l.Scope.Name()
	}
	what = strings.ToUpper(what[:1]) + what[1:]
	switch {
	case l.Alert != "" && l.Until.IsZero():
		return what + " is locked down until the alert is resolved."
	case l.Until.IsZero():
		return what + " is locked down until somebody lifts it."
	}
	return what + " is locked down until " + l.Until.Format(time.RFC3339) + "."
}
