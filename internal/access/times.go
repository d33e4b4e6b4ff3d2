package access

import (
	"context"
	"fmt"
	"slices"
	"time"

	"jitgate/internal/audit"
)

// Reminder is how long before its end people are reminded of an access.
const Reminder = 10 * time.Minute

// remindAt is when to remind of the end of a target; zero when it is too short to
// remind of.
func (t *Target) remindAt(opened time.Time) time.Time {
	at := t.ExpiresAt.Add(-Reminder)
	if !at.After(opened.Add(Reminder)) {
		return time.Time{}
	}
	return at
}

func (t *Target) reminderDue(now time.Time) bool {
	at := t.remindAt(t.OpenedAt)
	return t.State == Active && !t.Reminded && !at.IsZero() && !now.Add(Skew).Before(at)
}

func (r *Request) reviewDue(now time.Time) bool {
	return r.Review.Open() && !r.Review.Overdue && !now.Add(Skew).Before(r.Review.DueAt)
}

// noteTimes puts on record what has become due by time alone: nobody decided, an end
// is near, a review was not closed. A vote that came after the last one heard does not
// lapse: it was given in time and has a look of its own.
func (s *Service) noteTimes(ctx context.Context, r Request, heard time.Time) (Request, error) {
	now := s.now()
	due := r.reviewDue(now) || slices.ContainsFunc(r.Targets, func(t Target) bool {
		return t.State == AwaitingApproval && r.lapsed(now) || t.reminderDue(now)
	})
	if !due {
		return r, nil
	}
	return s.update(ctx, r.ID, func(r *Request) ([]audit.Event, error) {
		rec := record{at: now, by: jitgate}
		for i := range r.Targets {
			t := &r.Targets[i]
			switch {
			case t.State == AwaitingApproval && r.lapsed(now) && r.lastVote().Equal(heard):
				t.EndedAt = now
				t.Reason = Reason{Code: NotDecidedInTime, Sentence: "Nobody decided in time; ask again."}
				rec.add(audit.RequestLapsed, t, audit.Event{Text: t.Reason.Sentence})
				if err := t.Apply(Lapse); err != nil {
					return nil, err
				}
			case t.reminderDue(now):
				t.Reminded = true
				rec.add(audit.AccessEnding, t, audit.Event{Text: "Ends at " + t.ExpiresAt.Format(time.RFC3339) + "."})
			}
		}
		if r.reviewDue(now) {
			r.Review.Overdue = true
			rec.add(audit.ReviewOverdue, nil, audit.Event{Text: "Nobody has reviewed this in time."})
		}
		return rec.events, nil
	})
}

// setAlarms has the request looked at when something becomes due. A message too many
// finds nothing to do.
func (s *Service) setAlarms(ctx context.Context, r *Request) error {
	var alarms []time.Time
	add := func(at time.Time) {
		if !at.IsZero() && !slices.ContainsFunc(alarms, at.Equal) {
			alarms = append(alarms, at)
		}
	}
	opening := false
	for i := range r.Targets {
		t := &r.Targets[i]
		switch {
		case t.State == AwaitingApproval:
			add(r.DecideBy)
		case t.toBeOpened():
			opening = true
			opens := t.OpenedAt
			if opens.IsZero() {
				opens = s.now()
			}
			add(t.remindAt(opens))
		}
	}
	if r.Review.Open() && opening {
		add(r.Review.DueAt)
	}
	for _, at := range alarms {
		if err := s.Queue.EvaluateAt(ctx, r.ID, at); err != nil {
			return fmt.Errorf("have request %s looked at again: %w", r.ID, err)
		}
	}
	return nil
}

// toBeOpened tells whether some rule of the target is not confirmed as it should be.
func (t *Target) toBeOpened() bool {
	return slices.ContainsFunc(t.Openings, func(o Opening) bool { return mustOpen(t, &o) })
}
