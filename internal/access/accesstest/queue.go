// Package accesstest holds the message queue that tests of the use cases deliver
// by hand: in any order, twice, late or not at all. It is not a stand-in for Service
// Bus; that one is internal/local/servicebus.
package accesstest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Message is a nudge that waits for delivery.
type Message struct {
	access.Nudge
	Sequence int64
	Due      time.Time // zero = at once
	Notice   bool      // on queue "notices"
}

// Queue implements access.Queue in memory.
type Queue struct {
	// Fail, if set, decides the error of the next call; the call has no effect then.
	Fail func(call string) error

	mu      sync.Mutex
	waiting []Message
	last    int64
}

var _ access.Queue = (*Queue)(nil)

func (q *Queue) add(call string, m Message) (int64, error) {
	if q.Fail != nil {
		if err := q.Fail(call); err != nil {
			return 0, err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	m.Sequence = q.last
	q.waiting = append(q.waiting, m)
	return q.last, nil
}

// Evaluate implements access.Queue.
func (q *Queue) Evaluate(_ context.Context, request string, _ int) error {
	_, err := q.add("evaluate", Message{Nudge: access.Nudge{Request: request}})
	return err
}

// EvaluateAt implements access.Queue. The same message is scheduled once: the real
// queue drops a repeat within a minute.
func (q *Queue) EvaluateAt(_ context.Context, request string, at time.Time) error {
	q.mu.Lock()
	known := slices.ContainsFunc(q.waiting, func(m Message) bool { return m.Request == request && m.Due.Equal(at) && !m.Notice })
	q.mu.Unlock()
	if known {
		return nil
	}
	_, err := q.add("evaluate at", Message{Nudge: access.Nudge{Request: request}, Due: at})
	return err
}

// Signal implements access.Queue.
func (q *Queue) Signal(_ context.Context, key string, _ time.Time) error {
	_, err := q.add("signal", Message{Nudge: access.Nudge{Signal: key}})
	return err
}

// Tell implements access.Queue.
func (q *Queue) Tell(ctx context.Context, request string, _ int) error {
	return q.TellAt(ctx, request, time.Time{})
}

// TellAt implements access.Queue.
func (q *Queue) TellAt(_ context.Context, request string, at time.Time) error {
	_, err := q.add("tell", Message{Nudge: access.Nudge{Request: request, Ledger: request == ""}, Due: at, Notice: true})
	return err
}

// Enforce implements access.Queue.
func (q *Queue) Enforce(_ context.Context, id armid.ID, _ int64) error {
	_, err := q.add("enforce", Message{Nudge: access.Nudge{NSG: id}})
	return err
}

// EnforceAt implements access.Queue.
func (q *Queue) EnforceAt(_ context.Context, id armid.ID, _ string, at time.Time) (int64, error) {
	return q.add("schedule", Message{Nudge: access.Nudge{NSG: id}, Due: at})
}

// CancelWakeUp implements access.Queue.
func (q *Queue) CancelWakeUp(_ context.Context, sequence int64) error {
	if q.Fail != nil {
		if err := q.Fail("cancel"); err != nil {
			return err
		}
	}
	q.remove(sequence)
	return nil
}

func (q *Queue) remove(sequence int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(m Message) bool { return m.Sequence == sequence })
}

// Due returns the messages that may be delivered at now, oldest first, and leaves
// them in the queue.
func (q *Queue) Due(now time.Time) []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []Message
	for _, m := range q.waiting {
		if !m.Due.After(now) {
			due = append(due, m)
		}
	}
	return due
}

// Len is how many messages wait, scheduled ones included.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Drop loses a message.
func (q *Queue) Drop(m Message) { q.remove(m.Sequence) }

// DropAll loses every message.
func (q *Queue) DropAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = nil
}

// Deliver hands a message to the use case of its queue, as the function does. It
// stays in the queue: whoever delivers decides whether it is settled (Drop) or comes
// again.
func Deliver(ctx context.Context, s *access.Service, m Message) error {
	body, err := json.Marshal(m.Nudge)
	if err != nil {
		return err
	}
	switch {
	case m.Notice:
		return s.OnNoticeNudge(ctx, body)
	case m.Request != "" || m.Signal != "":
		return s.OnRequestNudge(ctx, body)
	}
	return s.OnNSGNudge(ctx, body)
}
