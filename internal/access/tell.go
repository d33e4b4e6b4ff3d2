package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// passTime is after how long a channel is left for another message to go on with. A
// call may take 20 seconds and a backlog hundreds of calls; how far they got is only
// noted at the end, which has to come long before the host ends the function.
const passTime = time.Minute

// doubtAfter is how old a notice may be that fails before the next one is tried as well.
const doubtAfter = time.Hour

var errStale = errors.New("it could not be reached for a day")

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
	// The record first: what it says has happened to the request that is read after it.
	events, err := s.Store.Events(ctx, request)
	if err != nil {
		return fmt.Errorf("read the record of request %s: %w", request, err)
	}
	r, err := s.Store.Request(ctx, request)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read request %s: %w", request, err)
	}
	told, failed, again := s.tellAll(ctx, r.Told, events, &r)
	if len(told) > 0 {
		if err := s.Store.MarkTold(ctx, request, told); err != nil {
			return fmt.Errorf("note what was told of request %s: %w", request, err)
		}
	}
	answered, then := s.callBack(ctx, &r)
	if len(failed)+len(answered) > 0 {
		if err := s.noteTold(ctx, request, failed, answered); err != nil {
			return err
		}
	}
	return s.tellAgain(ctx, request, earliest(again, then))
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
	for channel, what := range failed {
		s.Log.ErrorContext(ctx, "a notice cannot be delivered; look at the channel's settings", "channel", channel, "error", what)
	}
	return s.tellAgain(ctx, "", again)
}

// progress is what a pass over the events came to for one channel.
type progress struct {
	told  int           // up to which event
	lost  []string      // of what it was not told, and never will be
	again time.Duration // after which pause to go on; zero = nothing is left, or the sweep has it tried again
}

func (p *progress) lose(n Notice, why error) {
	p.lost = append(p.lost, fmt.Sprintf("%q: %v", n.Title, why))
}

// tellAll has every channel told of what it was not told of, side by side, so that one
// that is slow keeps none waiting. It returns how far each got, what it has missed, and
// after which pause to go on (zero if there is nothing to go on with).
func (s *Service) tellAll(ctx context.Context, before map[string]int, events []audit.Event, r *Request) (told map[string]int, failed map[string]string, again time.Duration) {
	told, failed = map[string]int{}, map[string]string{}
	channels := s.Messages.Channels("")
	for channel, upTo := range before { // one that is not configured any more is owed nothing
		if last := len(events) - 1; last >= 0 && upTo < events[last].Sequence && !slices.Contains(channels, channel) {
			told[channel] = events[last].Sequence
		}
	}
	all := make([]progress, len(channels))
	var group sync.WaitGroup
	for i, channel := range channels {
		group.Go(func() { all[i] = s.tellChannel(ctx, channel, before, events, r) })
	}
	group.Wait()
	for i, channel := range channels {
		if all[i].told > before[channel] {
			told[channel] = all[i].told
		}
		if lost := all[i].lost; len(lost) > 1 {
			failed[channel] = fmt.Sprintf("%s; and of %d more", lost[0], len(lost)-1)
		} else if len(lost) == 1 {
			failed[channel] = lost[0]
		}
		again = earliest(again, all[i].again)
	}
	return told, failed, again
}

// tellChannel goes through the events that one channel was not told of, in order, until
// it does not take one. If that is the first and is old, the next one shows who is at
// fault: the channel, which is waited for, or the notice, which gets another chance and
// for which nothing else has to wait.
func (s *Service) tellChannel(ctx context.Context, channel string, before map[string]int, events []audit.Event, r *Request) progress {
	upTo, known := before[channel]
	p := progress{told: upTo}
	start, accepted := s.now(), false
	var failing *failure
	for _, about := range news(events, upTo, r) {
		last := about[len(about)-1]
		age := start.Sub(last.At)
		about = slices.DeleteFunc(about, r.overtaken)
		if len(about) == 0 || !slices.Contains(s.Messages.Channels(last.Kind), channel) || age >= Staleness && !known {
			continue // not for it: a channel that is new has missed nothing
		}
		n, err := notice(about, r), errStale
		if age < Staleness {
			if s.now().Sub(start) >= passTime {
				p.again = shortestPause
				return p
			}
			err = s.Messages.Tell(ctx, channel, n)
		}
		if errors.Is(err, ErrUnavailable) {
			if failing != nil {
				break
			}
			failing = &failure{n, err, age}
			if accepted || age < doubtAfter {
				break
			}
			continue
		}
		if failing != nil { // whatever it answers to this one, the channel works
			if again := s.Messages.Tell(ctx, channel, failing.notice); again != nil {
				p.lose(failing.notice, fmt.Errorf("%w; it takes others", again))
			}
			failing = nil
		}
		if accepted = accepted || err == nil; err != nil {
			p.lose(n, err)
		}
		p.told = last.Sequence
	}
	switch {
	case failing != nil:
		s.Log.WarnContext(ctx, "a channel cannot be reached; it will be tried again", "channel", channel, "error", failing.err)
		if p.again = pause(failing.age); accepted { // it works, and only asks for patience
			p.again = shortestPause
		}
	case len(events) > 0:
		p.told = max(upTo, events[len(events)-1].Sequence)
	}
	return p
}

// failure is a notice that could not be delivered.
type failure struct {
	notice Notice
	err    error
	age    time.Duration
}

// news are the events behind upTo, those together that one notice speaks for: of a
// request what several machines came to at the same moment. What stands in the ledger
// has nothing to do with what stands beside it.
func news(events []audit.Event, upTo int, r *Request) [][]audit.Event {
	var out [][]audit.Event
	for _, e := range events {
		last := len(out) - 1
		switch {
		case e.Sequence <= upTo:
		case r != nil && e.VM != "" && last >= 0 && out[last][0].Kind == e.Kind && out[last][0].At.Equal(e.At):
			out[last] = append(out[last], e)
		default:
			out = append(out, []audit.Event{e})
		}
	}
	return out
}

// pause is how long to wait before what could not be told is tried again, by its age.
func pause(age time.Duration) time.Duration {
	if age > longestPause {
		return 0
	}
	return max(age, shortestPause)
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
		for channel, what := range failed {
			rec.add(audit.NoticeFailed, nil, audit.Event{Text: fmt.Sprintf("Channel %s was not told of %s.", channel, what)})
		}
		return rec.events, nil
	})
	if err != nil {
		return fmt.Errorf("note what was told of request %s: %w", id, err)
	}
	return nil
}

// tellAgain schedules another pass. The message at hand is settled: coming again at
// once would only use up its deliveries.
func (s *Service) tellAgain(ctx context.Context, request string, after time.Duration) error {
	if after == 0 {
		return nil
	}
	if err := s.Queue.TellAt(ctx, request, s.now().Add(after)); err != nil {
		return fmt.Errorf("have notices tried again: %w", err)
	}
	return nil
}

// earliest is the shorter of two pauses; zero is none.
func earliest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// untold reports whether some channel, or a workflow, is still to hear of the request.
func (s *Service) untold(r *Request) bool {
	return s.behind(r.Told, r.Events) || len(r.dueCallbacks()) > 0
}

func (s *Service) behind(told map[string]int, events int) bool {
	for _, upTo := range told {
		if upTo < events {
			return true
		}
	}
	return slices.ContainsFunc(s.Messages.Channels(""), func(channel string) bool { return told[channel] < events })
}
