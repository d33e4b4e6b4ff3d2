package broker

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// session is the messages with one session id. It exists while it has
// messages, state or a holder.
type session struct {
	q        *Queue
	id       string
	waiting  line
	messages int                // in any state
	locked   map[int64]*message // by sequence number

	holder      *Consumer
	lockedUntil time.Time
	alarm       alarm // end of the lock

	state    []byte
	stateSet time.Time
	queued   bool // in Queue.free
}

func (q *Queue) session(id string) *session {
	s := q.sessions[id]
	if s == nil {
		s = &session{q: q, id: id, locked: map[int64]*message{}}
		s.alarm.fire = func() { q.endSession(s, true) }
		q.sessions[id] = s
	}
	return s
}

// forget drops a session that nothing refers to any more.
func (q *Queue) forget(s *session) {
	if s.messages == 0 && s.state == nil && s.holder == nil {
		delete(q.sessions, s.id)
	}
}

// sessionReady is called when a session may have something for a receiver.
func (q *Queue) sessionReady(s *session) {
	if c := s.holder; c != nil {
		for c.credit() > 0 {
			m := s.waiting.take()
			if m == nil {
				return
			}
			c.deliver(m)
		}
		return
	}
	if !s.queued && s.waiting.front() != nil {
		s.queued = true
		q.free = append(q.free, s)
	}
	for len(q.waiters) > 0 {
		s := q.nextFree()
		if s == nil {
			return
		}
		w := q.waiters[0]
		q.waiters = slices.Delete(q.waiters, 0, 1)
		w.grant(q.hold(s, w.sink))
	}
}

// nextFree takes the session that has waited longest. Sessions whose messages
// have gone, or that were taken by name, are still in the list and skipped.
func (q *Queue) nextFree() *session {
	for len(q.free) > 0 {
		s := q.free[0]
		q.free[0] = nil
		q.free = q.free[1:]
		s.queued = false
		if s.holder == nil && s.waiting.front() != nil {
			return s
		}
	}
	return nil
}

func (q *Queue) hold(s *session, sink Sink) *Consumer {
	s.holder = &Consumer{q: q, sink: sink, session: s}
	s.prolong()
	return s.holder
}

func (s *session) prolong() {
	s.lockedUntil = s.q.b.now.Add(s.q.settings.LockDuration)
	s.q.b.alarms.set(&s.alarm, s.lockedUntil, 0)
}

// endSession takes a session from its holder. If the lock expired, the
// messages under way count as delivered in vain and the holder is told.
func (q *Queue) endSession(s *session, expired bool) {
	c := s.holder
	c.closed = true
	s.holder, s.lockedUntil = nil, time.Time{}
	q.b.alarms.clear(&s.alarm)
	if expired {
		c.sink.SessionLost()
	}
	// In order of sequence numbers, so that the dead-letter queue is in order.
	for _, n := range slices.Sorted(maps.Keys(s.locked)) {
		q.giveBack(s.locked[n], expired)
	}
	q.sessionReady(s)
	q.forget(s)
}

// Accept locks a session by its id, whether it has messages or not. Errors are
// ErrNoSessions and ErrSessionLocked.
func (q *Queue) Accept(id string, sink Sink) (*Consumer, error) {
	if !q.settings.RequiresSession {
		return nil, ErrNoSessions
	}
	q.b.enter()
	defer q.b.leave()
	s := q.session(id)
	if s.holder != nil {
		return nil, ErrSessionLocked
	}
	return q.hold(s, sink), nil
}

// Waiter is a receiver that waits for any free session with messages.
type Waiter struct {
	q       *Queue
	sink    Sink
	done    func(*Consumer)
	granted *Consumer
	over    bool
	alarm   alarm
}

// AcceptNext locks the session that has waited longest, now or within the
// given time. The outcome, nil when the time is up, is given to done: before
// AcceptNext returns or later, while the broker is locked, like a Sink.
func (q *Queue) AcceptNext(wait time.Duration, sink Sink, done func(*Consumer)) (*Waiter, error) {
	if !q.settings.RequiresSession {
		return nil, ErrNoSessions
	}
	q.b.enter()
	defer q.b.leave()
	w := &Waiter{q: q, sink: sink, done: done}
	if s := q.nextFree(); s != nil {
		w.grant(q.hold(s, sink))
		return w, nil
	}
	w.alarm.fire = func() {
		w.leave()
		done(nil)
	}
	q.waiters = append(q.waiters, w)
	q.b.alarms.set(&w.alarm, q.b.now.Add(wait), 0)
	return w, nil
}

func (w *Waiter) grant(c *Consumer) {
	w.q.b.alarms.clear(&w.alarm)
	w.over, w.granted = true, c
	w.done(c)
}

func (w *Waiter) leave() {
	w.over = true
	w.q.b.alarms.clear(&w.alarm)
	w.q.waiters = slices.DeleteFunc(w.q.waiters, func(other *Waiter) bool { return other == w })
}

// Cancel ends the wait; done is not called any more. A session that was
// granted meanwhile is given back.
func (w *Waiter) Cancel() {
	w.q.b.enter()
	if !w.over {
		w.leave()
	}
	granted := w.granted
	w.q.b.leave()
	if granted != nil {
		granted.Close()
	}
}

// Renew prolongs the session's lock by the queue's lock duration from now and
// returns when it ends; ErrSessionLockLost when it is lost.
func (c *Consumer) Renew() (time.Time, error) {
	c.q.b.enter()
	defer c.q.b.leave()
	if !c.holds() {
		return time.Time{}, ErrSessionLockLost
	}
	c.session.prolong()
	return c.session.lockedUntil, nil
}

// State returns the session's state, nil when it has none; ErrSessionLockLost
// when the lock is lost.
func (c *Consumer) State() ([]byte, error) {
	c.q.b.enter()
	defer c.q.b.leave()
	if !c.holds() {
		return nil, ErrSessionLockLost
	}
	return c.session.state, nil
}

// SetState replaces the session's state; nothing clears it. ErrSessionLockLost
// when the lock is lost.
func (c *Consumer) SetState(state []byte) error {
	c.q.b.enter()
	defer c.q.b.leave()
	if !c.holds() {
		return ErrSessionLockLost
	}
	c.session.state, c.session.stateSet = nil, c.q.b.now
	if len(state) > 0 {
		c.session.state = slices.Clone(state)
	}
	return nil
}

// Sessions lists session ids in alphabetical order: those with messages or
// state, or with a non-zero time those whose state was set after it.
func (q *Queue) Sessions(stateSetAfter time.Time, skip, limit int) []string {
	q.b.enter()
	defer q.b.leave()
	var ids []string
	for id, s := range q.sessions {
		if stateSetAfter.IsZero() && (s.messages > 0 || s.state != nil) ||
			!stateSetAfter.IsZero() && s.stateSet.After(stateSetAfter) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, strings.Compare)
	ids = ids[min(max(skip, 0), len(ids)):]
	return ids[:min(max(limit, 0), len(ids))]
}
