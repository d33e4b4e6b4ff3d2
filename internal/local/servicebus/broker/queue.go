package broker

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Queue is one queue or dead-letter queue.
type Queue struct {
	b        *Broker
	settings Settings
	dead     *Queue // nil in a dead-letter queue

	lastSeq  int64
	messages map[int64]*message
	order    []*message // by sequence number, with removed ones in between
	locks    map[uuid.UUID]*message
	seen     history

	// Without sessions:
	waiting   line
	consumers []*Consumer // those with credit, longest waiting first

	// With sessions:
	sessions map[string]*session
	free     []*session // unlocked, with messages; longest waiting first
	waiters  []*Waiter  // receivers that take any session, first come first
}

func newQueue(b *Broker, s Settings) *Queue {
	return &Queue{b: b, settings: s, messages: map[int64]*message{}, locks: map[uuid.UUID]*message{},
		sessions: map[string]*session{}, seen: history{at: map[string]time.Time{}}}
}

// Name returns the queue's name as configured.
func (q *Queue) Name() string { return q.settings.Name }

// RequiresSession tells whether every message and receiver needs a session.
func (q *Queue) RequiresSession() bool { return q.settings.RequiresSession }

// Check tells whether Send would refuse the messages: ErrReadOnly or
// ErrSessionRequired.
func (q *Queue) Check(messages []Message) error {
	if q.settings.isDeadLetter {
		return ErrReadOnly
	}
	for _, m := range messages {
		if q.settings.RequiresSession && m.SessionID == nil {
			return ErrSessionRequired
		}
	}
	return nil
}

// Send stores all messages or, with an error of Check, none. It returns their
// sequence numbers. A duplicate gets a number like any message, but is
// dropped: the number leads nowhere.
func (q *Queue) Send(messages ...Message) ([]int64, error) {
	if err := q.Check(messages); err != nil {
		return nil, err
	}
	q.b.enter()
	defer q.b.leave()
	numbers := make([]int64, len(messages))
	for i, m := range messages {
		if q.settings.DuplicateDetection && q.seen.before(m.ID, q.b.now, q.settings.DuplicateDetectionSpan) {
			q.lastSeq++
			numbers[i] = q.lastSeq
			continue
		}
		stored := &message{Message: m, enqueuedAt: q.b.now}
		if m.ScheduledFor.After(q.b.now) {
			stored.state = Scheduled
		}
		q.insert(stored)
		numbers[i] = stored.seq
	}
	return numbers, nil
}

// insert gives a new message its sequence number and its place.
func (q *Queue) insert(m *message) {
	q.lastSeq++
	q.insertAs(m, q.lastSeq)
}

func (q *Queue) insertAs(m *message, seq int64) {
	m.queue, m.seq = q, seq
	m.alarm.fire = m.due
	q.messages[m.seq] = m
	// At the end, except in a dead-letter queue, where numbers come as they die.
	q.order = slices.Insert(q.order, q.position(seq), m)
	if q.settings.RequiresSession {
		m.session = q.session(*m.SessionID)
		m.session.messages++
	}
	if m.state == Scheduled {
		q.b.alarms.set(&m.alarm, m.ScheduledFor, uint64(m.seq))
		return
	}
	if q.settings.isDeadLetter {
		q.makeReady(m) // dead messages do not expire
		return
	}
	life := q.settings.DefaultTimeToLive
	if m.TimeToLive != 0 {
		life = min(life, m.TimeToLive)
	}
	m.expiresAt = m.enqueuedAt.Add(life)
	q.rest(m)
}

// rest puts an unlocked message where it belongs: to the dead if its time is
// over, else with an alarm for the end of its time, and to the waiting ones
// unless it is deferred.
func (q *Queue) rest(m *message) {
	if !m.expiresAt.IsZero() {
		if !m.expiresAt.After(q.b.now) {
			q.expire(m)
			return
		}
		q.b.alarms.set(&m.alarm, m.expiresAt, uint64(m.seq))
	}
	if m.state == Active {
		q.makeReady(m)
	}
}

func (q *Queue) makeReady(m *message) {
	if m.session != nil {
		m.session.waiting.add(m)
		q.sessionReady(m.session)
		return
	}
	q.waiting.add(m)
	q.dispatch()
}

// due is what the passing of time does to a message.
func (m *message) due() {
	q := m.queue
	switch {
	case m.state == Scheduled:
		// A fresh sequence number: the one that was returned when scheduling
		// is good for cancelling only as long as the message is scheduled.
		q.remove(m)
		q.insert(&message{Message: m.Message, enqueuedAt: q.b.now})
	case m.locked():
		q.giveBack(m, true)
	default:
		q.expire(m)
	}
}

func (q *Queue) expire(m *message) {
	if q.settings.DeadLetterOnExpiration {
		q.bury(m, ReasonExpired, "The message expired and was dead lettered.")
		return
	}
	q.remove(m)
}

// bury moves a message to the dead-letter queue. It keeps its sequence number
// and delivery count there.
func (q *Queue) bury(m *message, reason, description string) {
	q.remove(m)
	d := &message{Message: m.Message, enqueuedAt: m.enqueuedAt, count: m.count, properties: m.properties,
		deadSource: q.settings.Name}
	d.setProperties(map[string]any{PropReason: reason, PropDescription: description})
	q.dead.insertAs(d, m.seq)
}

func (q *Queue) remove(m *message) {
	q.unlock(m)
	m.removed = true
	q.b.alarms.clear(&m.alarm)
	delete(q.messages, m.seq)
	if m.session != nil {
		m.session.messages--
		q.forget(m.session)
	}
	if len(q.order) > 2*len(q.messages)+64 {
		q.order = slices.DeleteFunc(q.order, func(m *message) bool { return m.removed })
	}
}

// Cancel removes scheduled messages: all of them, or none and
// ErrMessageNotFound when one is unknown or has been activated.
func (q *Queue) Cancel(numbers []int64) error {
	q.b.enter()
	defer q.b.leave()
	found, err := q.find(numbers, func(m *message) bool { return m.state == Scheduled })
	for _, m := range found {
		q.remove(m)
	}
	return err
}

// find returns the messages with these numbers if each exists and fits.
func (q *Queue) find(numbers []int64, fits func(*message) bool) ([]*message, error) {
	var found []*message
	var missing []int64
	for _, n := range numbers {
		if m := q.messages[n]; m != nil && fits(m) && !slices.Contains(found, m) {
			found = append(found, m)
		} else {
			missing = append(missing, n)
		}
	}
	if missing != nil {
		return nil, fmt.Errorf("%w: missing sequence numbers: %v", ErrMessageNotFound, missing)
	}
	return found, nil
}

// Peek returns up to limit messages in any state with a sequence number of at
// least from, in order. With a session id, only those of that session.
func (q *Queue) Peek(from int64, limit int, sessionID *string) []Delivery {
	q.b.enter()
	defer q.b.leave()
	var out []Delivery
	for _, m := range q.order[q.position(from):] {
		if len(out) >= limit {
			break
		}
		if m.removed || sessionID != nil && (m.SessionID == nil || *m.SessionID != *sessionID) {
			continue
		}
		out = append(out, m.delivery())
	}
	return out
}

func (q *Queue) position(seq int64) int {
	i, _ := slices.BinarySearchFunc(q.order, seq, func(m *message, n int64) int { return cmp.Compare(m.seq, n) })
	return i
}

// Counts says how many messages a queue holds. Each message is counted once.
type Counts struct {
	Active     int // waiting for a receiver
	Scheduled  int
	Locked     int // with a receiver
	Deferred   int // set aside and not locked
	DeadLetter int // in the dead-letter queue, in any state
}

// Counts counts.
func (q *Queue) Counts() Counts {
	q.b.enter()
	defer q.b.leave()
	var c Counts
	for _, m := range q.messages {
		switch {
		case m.locked():
			c.Locked++
		case m.state == Scheduled:
			c.Scheduled++
		case m.state == Deferred:
			c.Deferred++
		default:
			c.Active++
		}
	}
	if q.dead != nil {
		c.DeadLetter = len(q.dead.messages)
	}
	return c
}

// history is the memory of duplicate detection.
type history struct {
	at    map[string]time.Time
	order []string // oldest first
}

// before tells whether id was seen within the span, and remembers it if not. A
// repetition does not prolong the memory of the first.
func (h *history) before(id string, now time.Time, span time.Duration) bool {
	for len(h.order) > 0 && now.Sub(h.at[h.order[0]]) >= span {
		delete(h.at, h.order[0])
		h.order = h.order[1:]
	}
	if _, ok := h.at[id]; ok {
		return true
	}
	h.at[id] = now
	h.order = append(h.order, id)
	return false
}
