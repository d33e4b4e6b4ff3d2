package broker

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// lock hands a message to a receiver.
func (q *Queue) lock(m *message) Delivery {
	m.token = uuid.New()
	q.locks[m.token] = m
	if m.session != nil {
		// The session's lock is the message's lock; it ends with it.
		m.session.locked[m.seq] = m
		q.b.alarms.clear(&m.alarm)
	} else {
		m.lockedUntil = q.b.now.Add(q.settings.LockDuration)
		q.b.alarms.set(&m.alarm, m.lockedUntil, uint64(m.seq))
	}
	return m.delivery()
}

func (q *Queue) unlock(m *message) {
	if !m.locked() {
		return
	}
	delete(q.locks, m.token)
	m.token, m.lockedUntil = uuid.Nil, time.Time{}
	if m.session != nil {
		delete(m.session.locked, m.seq)
	}
}

// giveBack ends a delivery that did not succeed. Counted ones raise the
// delivery count, and the last one allowed makes the message dead.
func (q *Queue) giveBack(m *message, counted bool) {
	q.unlock(m)
	q.b.alarms.clear(&m.alarm)
	if counted && !q.settings.unlimited {
		m.count++
		if m.count >= q.settings.MaxDeliveryCount {
			q.bury(m, ReasonMaxDeliveryCount, fmt.Sprintf(
				"Message could not be consumed after %d delivery attempts.", q.settings.MaxDeliveryCount))
			return
		}
	}
	q.rest(m)
}

// settle finds the message of a lock and ends the lock by f.
func (q *Queue) settle(token uuid.UUID, f func(*message)) error {
	q.b.enter()
	defer q.b.leave()
	m := q.locks[token]
	if m == nil {
		return ErrMessageLockLost
	}
	f(m)
	return nil
}

// Complete removes a locked message. Like the other ways to settle, it returns
// ErrMessageLockLost when the token locks nothing any more.
func (q *Queue) Complete(token uuid.UUID) error {
	return q.settle(token, q.remove)
}

// Abandon makes a locked message available again, raises its delivery count
// and sets properties.
func (q *Queue) Abandon(token uuid.UUID, properties map[string]any) error {
	return q.settle(token, func(m *message) {
		m.setProperties(properties)
		q.giveBack(m, true)
	})
}

// Release makes a locked message available again as if it had not been
// delivered.
func (q *Queue) Release(token uuid.UUID) error {
	return q.settle(token, func(m *message) { q.giveBack(m, false) })
}

// Defer sets a locked message aside: from now on it is received by its
// sequence number only.
func (q *Queue) Defer(token uuid.UUID, properties map[string]any) error {
	return q.settle(token, func(m *message) {
		m.setProperties(properties)
		m.state = Deferred
		q.giveBack(m, false)
	})
}

// DeadLetter moves a locked message to the dead-letter queue. In a dead-letter
// queue, where there is nowhere to move it, the message is just given back.
func (q *Queue) DeadLetter(token uuid.UUID, reason, description string, properties map[string]any) error {
	return q.settle(token, func(m *message) {
		m.setProperties(properties)
		if q.dead == nil {
			q.giveBack(m, false)
			return
		}
		q.bury(m, reason, description)
	})
}

// RenewLock prolongs the locks by the queue's lock duration from now and
// returns when they end: all or, with ErrMessageLockLost, none. Messages of a
// session have no lock of their own, so the answer for them is the same error.
func (q *Queue) RenewLock(tokens []uuid.UUID) ([]time.Time, error) {
	q.b.enter()
	defer q.b.leave()
	for _, t := range tokens {
		if m := q.locks[t]; m == nil || m.session != nil {
			return nil, ErrMessageLockLost
		}
	}
	ends := make([]time.Time, len(tokens))
	for i, t := range tokens {
		m := q.locks[t]
		m.lockedUntil = q.b.now.Add(q.settings.LockDuration)
		q.b.alarms.set(&m.alarm, m.lockedUntil, uint64(m.seq))
		ends[i] = m.lockedUntil
	}
	return ends, nil
}

// Locked returns the message a token locks.
func (q *Queue) Locked(token uuid.UUID) (Delivery, bool) {
	q.b.enter()
	defer q.b.leave()
	m := q.locks[token]
	if m == nil {
		return Delivery{}, false
	}
	return m.delivery(), true
}

// ReceiveDeferred locks deferred messages by sequence number: all or, with
// ErrMessageNotFound, none. In a queue with sessions the caller names the
// consumer that holds the session; otherwise nil.
func (q *Queue) ReceiveDeferred(numbers []int64, holder *Consumer) ([]Delivery, error) {
	q.b.enter()
	defer q.b.leave()
	var own *session
	if q.settings.RequiresSession {
		if holder == nil || !holder.holds() {
			return nil, ErrSessionLockLost
		}
		own = holder.session
	}
	found, err := q.find(numbers, func(m *message) bool {
		return m.state == Deferred && !m.locked() && m.session == own
	})
	if err != nil {
		return nil, err
	}
	out := make([]Delivery, len(found))
	for i, m := range found {
		out[i] = q.lock(m)
	}
	return out, nil
}
