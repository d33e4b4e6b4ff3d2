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

func (q *Queue) add(call string, n access.Nudge, due time.Time) (int64, error) {
	if q.Fail != nil {
		if err := q.Fail(call); err != nil {
			return 0, err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	q.waiting = append(q.waiting, Message{Nudge: n, Sequence: q.last, Due: due})
	return q.last, nil
}

// Evaluate implements access.Queue.
func (q *Queue) Evaluate(_ context.Context, request string) error {
	_, err := q.add("evaluate", access.Nudge{Request: request}, time.Time{})
	return err
}

// Enforce implements access.Queue.
func (q *Queue) Enforce(_ context.Context, id armid.ID, _ int64) error {
	_, err := q.add("enforce", access.Nudge{NSG: id}, time.Time{})
	return err
}

// EnforceAt implements access.Queue.
func (q *Queue) EnforceAt(_ context.Context, id armid.ID, _ string, at time.Time) (int64, error) {
	return q.add("schedule", access.Nudge{NSG: id}, at)
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
	if m.Request != "" {
		return s.OnRequestNudge(ctx, body)
	}
	return s.OnNSGNudge(ctx, body)
}
