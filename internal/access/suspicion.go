package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// Suspicion holds the thresholds beyond which use is reported. The zero value of each
// switches it off. What is reported is an event of the ledger and a notice; it
// decides nothing.
type Suspicion struct {
	Denials   int           // so many asks of one person refused by policy
	Within    time.Duration // in this time
	NewSource time.Duration // a source that a person was not seen at for this long
	Approvals int           // so many approvals for members of the approver's own groups within Within
	Hours     []policy.Window
}

// quiet is how long one finding about a person is not repeated.
const quiet = time.Hour

// MaxRemembered bounds each list of what is remembered of one person. A threshold above
// it would never be reached.
const MaxRemembered = 50

// watchDenial counts what policy refused. Faults of the form itself say nothing about
// intent and are not counted.
func (s *Service) watchDenial(ctx context.Context, who Person, err error) {
	var refused Refusals
	if !errors.As(err, &refused) || s.Suspicion.Denials == 0 {
		return
	}
	now := s.now()
	var found int
	s.remember(ctx, who, func(h *Habits) bool {
		h.Denials = append(h.Denials, now)
		h.Denials = slices.DeleteFunc(h.Denials, func(t time.Time) bool { return now.Sub(t) > s.Suspicion.Within })
		h.Denials = h.Denials[max(0, len(h.Denials)-MaxRemembered):]
		found = 0
		if len(h.Denials) >= s.Suspicion.Denials && h.warn(audit.ManyDenials, now) {
			found = len(h.Denials)
		}
		return true
	})
	if found > 0 {
		s.report(ctx, audit.ManyDenials, who, audit.Event{Text: fmt.Sprintf("Policy refused %d asks of %s within %s; the last because of %s.",
			found, who.Name, policy.FormatDuration(s.Suspicion.Within), refused[0].Code)})
	}
}

// watchDecision looks at what a decision has moved: whose access opens, from where and
// at what hour.
func (s *Service) watchDecision(ctx context.Context, r *Request, moved []State) {
	if slices.Contains(moved, Denied) {
		s.watchDenial(ctx, r.Requester, r.deniedFor())
	}
	if !slices.Contains(moved, Approved) {
		return
	}
	now, who := s.now(), r.Requester
	vm := r.Targets[0].VM.String()
	if s.Suspicion.outOfHours(now) {
		s.report(ctx, audit.OutOfHours, who, audit.Event{VM: vm, Text: fmt.Sprintf("%s was given access out of hours (request %s).", who.Name, r.ID)})
	}
	if s.Suspicion.NewSource == 0 {
		return
	}
	strange := false
	s.remember(ctx, who, func(h *Habits) bool {
		strange = h.see(r.Source, now, s.Suspicion.NewSource)
		return true
	})
	if strange {
		s.report(ctx, audit.NewSource, who, audit.Event{VM: vm, Text: fmt.Sprintf("%s was given access from %s, a source not seen for them in %s (request %s).",
			who.Name, r.Source, policy.FormatDuration(s.Suspicion.NewSource), r.ID)})
	}
}

// deniedFor is what policy had against the request.
func (r *Request) deniedFor() error {
	var out Refusals
	for _, t := range r.Targets {
		out = append(out, t.Unmet...)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// see remembers a source and tells whether it is a new one for somebody who was seen
// before, from wherever and however long ago: an account that nobody has used for months
// is one to look at. A source is new only once, so each is reported.
func (h *Habits) see(source netip.Prefix, now time.Time, memory time.Duration) (strange bool) {
	known := len(h.Sources) > 0
	h.Sources = slices.DeleteFunc(h.Sources, func(s Sighting) bool { return now.Sub(s.Last) > memory })
	at := slices.IndexFunc(h.Sources, func(s Sighting) bool { return s.Source == source })
	strange = at < 0 && known
	if at >= 0 {
		h.Sources = slices.Delete(h.Sources, at, at+1)
	}
	h.Sources = append(h.Sources, Sighting{source, now})
	h.Sources = h.Sources[max(0, len(h.Sources)-MaxRemembered):]
	return strange
}

// watchApproval counts requests of people of the approver's own groups that they
// approved. Saying the same twice is one approval.
func (s *Service) watchApproval(ctx context.Context, r *Request, v Vote) {
	if !v.Agrees || s.Suspicion.Approvals == 0 || !slices.ContainsFunc(v.By.Groups, func(g string) bool { return slices.Contains(r.Standing.Groups, g) }) {
		return
	}
	now, found := s.now(), 0
	s.remember(ctx, v.By.Person, func(h *Habits) bool {
		h.Approved = slices.DeleteFunc(h.Approved, func(a Approving) bool { return now.Sub(a.At) > s.Suspicion.Within || a.Request == r.ID })
		h.Approved = append(h.Approved, Approving{r.ID, now})
		h.Approved = h.Approved[max(0, len(h.Approved)-MaxRemembered):]
		found = 0
		if len(h.Approved) >= s.Suspicion.Approvals && h.warn(audit.OwnGroup, now) {
			found = len(h.Approved)
		}
		return true
	})
	if found > 0 {
		s.report(ctx, audit.OwnGroup, v.By.Person, audit.Event{Text: fmt.Sprintf("%s approved %d requests of people in their own groups within %s; the last was %s.",
			v.By.Name, found, policy.FormatDuration(s.Suspicion.Within), r.ID)})
	}
}

// warn tells whether a finding is due, and notes that it was made.
func (h *Habits) warn(kind audit.Kind, now time.Time) bool {
	if last, warned := h.Warned[string(kind)]; warned && now.Sub(last) < quiet {
		return false
	}
	if h.Warned == nil {
		h.Warned = map[string]time.Time{}
	}
	h.Warned[string(kind)] = now
	return true
}

// outOfHours: with no hours set there are none to be out of.
func (s Suspicion) outOfHours(now time.Time) bool {
	return len(s.Hours) > 0 && !policy.WithinWindows(s.Hours, now)
}

// remember changes what is remembered of a person. That it fails must not hurt
// anybody: nothing hangs on it but a warning.
func (s *Service) remember(ctx context.Context, who Person, change func(*Habits) bool) {
	if err := s.Ledgers.UpdateHabits(ctx, who, change); err != nil {
		s.Log.WarnContext(ctx, "what a person does could not be remembered", "person", who.Object, "error", err)
	}
}

// report puts a finding on the ledger's record, from where it is told.
func (s *Service) report(ctx context.Context, kind audit.Kind, who Person, e audit.Event) {
	_, err := s.updateLedger(ctx, func(*Ledger) ([]audit.Event, error) {
		rec := record{at: s.now(), by: who}
		rec.add(kind, nil, e)
		return rec.events, nil
	})
	if err != nil {
		s.Log.ErrorContext(ctx, "suspicious use could not be put on record", "kind", string(kind), "person", who.Object, "text", e.Text, "error", err)
	}
}
