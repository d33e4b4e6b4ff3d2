package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/audit"
)

// Staleness is how old an event may be that is still told. A channel that was down
// for longer has missed it; the record has not.
const Staleness = 24 * time.Hour

// Bounds of the pause before a channel that could not be reached is tried again. It
// grows with the age of what is to be told, so that no counter has to be kept. What is
// older than the longest is left to the sweep, which looks for it anyway: attempts of
// their own beside those would add up while a channel is down.
const (
	shortestPause = 15 * time.Second
	longestPause  = 15 * time.Minute
)

// Tell sends the notices that a request, or the ledger when request is empty, has
// given rise to and no channel was told of yet, and answers workflows that wait for
// its outcome. What to tell is derived from the record, so a lost message loses no
// notice. A notice may go out twice; its id says so.
//
// A returned error means that trying again may help.
func (s *Service) Tell(ctx context.Context, request string) error {
	if request == "" {
		return s.tellLedger(ctx)
	}
	r, err := s.Store.Request(ctx, request)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read request %s: %w", request, err)
	}
	events, err := s.Store.Events(ctx, request)
	if err != nil {
		return fmt.Errorf("read the record of request %s: %w", request, err)
	}
	told, failed, again := s.tellAll(ctx, r.Told, events, &r)
	if len(told) > 0 {
		if err := s.Store.MarkTold(ctx, request, told); err != nil {
			return fmt.Errorf("note what was told of request %s: %w", request, err)
		}
	}
	answered, later := s.callBack(ctx, &r)
	if len(failed)+len(answered) > 0 {
		if err := s.noteTold(ctx, request, failed, answered); err != nil {
			return err
		}
	}
	return s.tellAgain(ctx, request, earliest(again, later))
}

func (s *Service) tellLedger(ctx context.Context) error {
	l, err := s.Ledgers.Ledger(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	first := l.Events
	for _, channel := range s.Messages.Channels("") {
		first = min(first, l.Told[channel])
	}
	for _, upTo := range l.Told { // also of one that is not configured any more, to be done with it
		first = min(first, upTo)
	}
	events, err := s.Ledgers.LedgerEvents(ctx, first, 0)
	if err != nil {
		return fmt.Errorf("read the ledger's record: %w", err)
	}
	told, failed, again := s.tellAll(ctx, l.Told, events, nil)
	if len(told) > 0 {
		if err := s.Ledgers.MarkLedgerTold(ctx, told); err != nil {
			return fmt.Errorf("note what was told: %w", err)
		}
	}
	for channel, why := range failed {
		s.Log.ErrorContext(ctx, "a notice cannot be delivered; look at the channel's settings", "channel", channel, "error", why)
	}
	return s.tellAgain(ctx, "", again)
}

// tellAll goes through the events that each channel was not told of, in order, and
// returns how far each got, what cannot be delivered at all, and how old the oldest
// event is that has to be tried again (zero if none has).
func (s *Service) tellAll(ctx context.Context, before map[string]int, events []audit.Event, r *Request) (told map[string]int, failed map[string]string, again time.Duration) {
	told, failed = map[string]int{}, map[string]string{}
	now := s.now()
	for channel, upTo := range before { // one that is not configured any more is owed nothing
		if last := len(events) - 1; last >= 0 && upTo < events[last].Sequence && !slices.Contains(s.Messages.Channels(""), channel) {
			told[channel] = events[last].Sequence
		}
	}
	for _, channel := range s.Messages.Channels("") {
		for i, e := range events {
			if e.Sequence <= before[channel] {
				continue
			}
			// One notice speaks for all targets that came to the same at the same moment.
			repeat := r != nil && i > 0 && events[i-1].Kind == e.Kind && events[i-1].At.Equal(e.At)
			if age := now.Sub(e.At); !repeat && age < Staleness && slices.Contains(s.Messages.Channels(e.Kind), channel) {
				err := s.Messages.Tell(ctx, channel, notice(e, r))
				if errors.Is(err, ErrUnavailable) {
					s.Log.WarnContext(ctx, "a channel cannot be reached; it will be tried again", "channel", channel, "error", err)
					again = max(again, age, shortestPause)
					break
				}
				if err != nil {
					failed[channel] = err.Error()
				}
			}
			told[channel] = e.Sequence
		}
	}
	return told, failed, again
}

// callBack answers workflows whose outcome has come. It returns what is to be put on record
// by callback id, and how long to wait before those that could not be reached are
// tried again.
func (s *Service) callBack(ctx context.Context, r *Request) (answered map[string]string, again time.Duration) {
	answered = map[string]string{}
	result := r.Result()
	for _, c := range r.openCallbacks() {
		age := s.now().Sub(later(r.lastChange(), c.At))
		over := r.State().Ended()
		switch {
		case slices.Contains(c.Events, result):
		case over: // what it waits for cannot come any more
			answered[c.ID] = "The request has ended as " + string(r.State()) + ", which the workflow did not wait for."
			continue
		default:
			continue
		}
		err := s.Messages.CallBack(ctx, c.Sealed, *r)
		switch {
		case err == nil:
			answered[c.ID] = "The workflow was told: " + string(result) + "."
		case errors.Is(err, ErrUnavailable) && age < Staleness:
			s.Log.WarnContext(ctx, "a workflow cannot be reached; it will be tried again", "request", r.ID, "error", err)
			again = max(again, age, shortestPause)
		default:
			answered[c.ID] = "The workflow could not be told: " + err.Error()
		}
	}
	return answered, again
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lastChange is when a target last came to where it is.
func (r *Request) lastChange() time.Time {
	last := r.CreatedAt
	for _, t := range r.Targets {
		for _, at := range []time.Time{t.OpenedAt, t.EndedAt} {
			if at.After(last) {
				last = at
			}
		}
	}
	return last
}

func (s *Service) noteTold(ctx context.Context, id string, failed, answered map[string]string) error {
	_, err := s.Store.UpdateRequest(ctx, id, func(r *Request) ([]audit.Event, error) {
		rec := record{at: s.now(), by: jitgate}
		for i := range r.Callbacks {
			if c := &r.Callbacks[i]; !c.Done && answered[c.ID] != "" {
				c.Done, c.Sealed = true, ""
				rec.add(audit.CallbackEnded, nil, audit.Event{Text: answered[c.ID]})
			}
		}
		for channel, why := range failed {
			rec.add(audit.NoticeFailed, nil, audit.Event{Text: fmt.Sprintf("Channel %s cannot be told: %s", channel, why)})
		}
		return rec.events, nil
	})
	if err != nil {
		return fmt.Errorf("note what was told of request %s: %w", id, err)
	}
	return nil
}

// tellAgain schedules another attempt. The message at hand is settled: coming again
// at once would only use up its deliveries.
func (s *Service) tellAgain(ctx context.Context, request string, age time.Duration) error {
	if age == 0 || age > longestPause {
		return nil
	}
	if err := s.Queue.TellAt(ctx, request, s.now().Add(age)); err != nil {
		return fmt.Errorf("have notices tried again: %w", err)
	}
	return nil
}

func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// untold reports whether some channel, or a workflow, is still to hear of the request.
func (s *Service) untold(r *Request) bool {
	if s.behind(r.Told, r.Events) {
		return true
	}
	result := r.Result()
	return slices.ContainsFunc(r.openCallbacks(), func(c Callback) bool {
		return slices.Contains(c.Events, result) || r.State().Ended()
	})
}

func (s *Service) behind(told map[string]int, events int) bool {
	for _, upTo := range told {
		if upTo < events {
			return true
		}
	}
	return slices.ContainsFunc(s.Messages.Channels(""), func(channel string) bool { return told[channel] < events })
}

// notice says what an event means to whoever gets to read it.
func notice(e audit.Event, r *Request) Notice {
	n := Notice{ID: fmt.Sprintf("ledger-%d", e.Sequence), Event: e, Title: titles[e.Kind], Request: r}
	if n.Title == "" {
		n.Title = string(e.Kind)
	}
	if r != nil {
		n.ID = fmt.Sprintf("%s-%d", r.ID, e.Sequence)
		var vms []string
		for _, t := range r.Targets {
			vms = append(vms, t.VM.Name())
		}
		n.Title = strings.NewReplacer("{who}", r.Requester.Name, "{vms}", strings.Join(vms, ", ")).Replace(n.Title)
	}
	return n
}

// titles are the headlines of what is told.
var titles = map[audit.Kind]string{
	audit.ApprovalAsked:   "{who} asks for access to {vms}: please decide",
	audit.RequestApproved: "Access of {who} to {vms} is approved",
	audit.RequestDenied:   "Access of {who} to {vms} is denied",
	audit.RequestRejected: "An approver said no to access of {who} to {vms}",
	audit.RequestLapsed:   "Nobody decided about access of {who} to {vms} in time",
	audit.AccessOpened:    "Access of {who} to {vms} is open",
	audit.AccessFailed:    "Access of {who} to {vms} could not be opened",
	audit.AccessExtended:  "Access of {who} to {vms} was extended",
	audit.AccessEnding:    "Access of {who} to {vms} ends in ten minutes",
	audit.AccessExpired:   "Access of {who} to {vms} has ended",
	audit.AccessRevoked:   "Access of {who} to {vms} was ended before its time",
	audit.GlassBroken:     "{who} broke the glass to reach {vms}: a review is due",
	audit.ReviewClosed:    "The review of {who} breaking the glass to reach {vms} is closed",
	audit.ReviewOverdue:   "The review of {who} breaking the glass to reach {vms} is overdue",

	audit.LockdownSet:    "A lockdown is in force",
	audit.LockdownLifted: "A lockdown was lifted",
	audit.LockdownEnded:  "A lockdown has ended",
	audit.AlertTaken:     "An alert was acted on",
	audit.PreApproved:    "An alert has pre-approved access",
	audit.PolicyProposed: "A change of policy waits for a second administrator",
	audit.PolicyApplied:  "A policy is in force",
	audit.PolicyRemoved:  "A policy was taken out of force",
	audit.ManyDenials:    "Suspicious: many denials of one person",
	audit.NewSource:      "Suspicious: access from a source not seen before",
	audit.OutOfHours:     "Suspicious: access out of hours",
	audit.OwnGroup:       "Suspicious: approvals within one group in series",
	audit.RulesEdited:    "Suspicious: rules of jitgate were edited by others",
}
