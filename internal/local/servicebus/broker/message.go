package broker

import (
	"container/heap"
	"maps"
	"time"

	"github.com/google/uuid"
)

// Message is what a sender hands over.
type Message struct {
	// ID is what duplicate detection compares.
	ID string
	// SessionID is nil when the message belongs to no session; "" is a valid id.
	SessionID *string
	// TimeToLive is counted from the moment the message becomes available; the
	// queue's default caps it. Zero means the queue's default.
	TimeToLive time.Duration
	// ScheduledFor in the future keeps the message back until then.
	ScheduledFor time.Time
	// Content is opaque.
	Content any
}

// State is what a receiver is told about where a message stands.
type State int

// The states, numbered as in Azure's x-opt-message-state annotation.
const (
	Active    State = 0
	Deferred  State = 1
	Scheduled State = 2
)

// Delivery is a message as a receiver sees it, at one moment.
type Delivery struct {
	Message
	SequenceNumber int64
	EnqueuedAt     time.Time
	// DeliveryCount is how often the message was delivered before in vain.
	DeliveryCount int
	State         State
	// LockToken and LockedUntil are zero in a peeked message that is not locked.
	LockToken   uuid.UUID
	LockedUntil time.Time
	// DeadLetterSource names the queue a dead message came from.
	DeadLetterSource string
	// Properties replace the sender's application properties of the same name.
	// It must not be modified.
	Properties map[string]any
}

// message is a message in a queue. It never changes its queue or its sequence
// number: activation and dead-lettering make a new one.
type message struct {
	Message
	queue      *Queue
	session    *session // nil in queues without sessions
	seq        int64
	enqueuedAt time.Time
	expiresAt  time.Time // zero while scheduled
	state      State
	count      int
	properties map[string]any // replaced, never changed: deliveries share it
	deadSource string

	token       uuid.UUID // zero when not locked
	lockedUntil time.Time // only without session; else the session's lock counts
	removed     bool
	alarm       alarm
}

func (m *message) locked() bool { return m.token != uuid.Nil }

// ready tells whether a receiver may get the message by just waiting.
func (m *message) ready() bool {
	return !m.removed && m.state == Active && !m.locked()
}

func (m *message) delivery() Delivery {
	d := Delivery{Message: m.Message, SequenceNumber: m.seq, EnqueuedAt: m.enqueuedAt, DeliveryCount: m.count,
		State: m.state, LockToken: m.token, DeadLetterSource: m.deadSource, Properties: m.properties}
	if m.locked() {
		d.LockedUntil = m.lockedUntil
		if m.session != nil {
			d.LockedUntil = m.session.lockedUntil
		}
	}
	return d
}

func (m *message) setProperties(p map[string]any) {
	if len(p) == 0 {
		return
	}
	merged := maps.Clone(m.properties)
	if merged == nil {
		merged = map[string]any{}
	}
	maps.Copy(merged, p)
	m.properties = merged
}

// line is the messages waiting for a receiver, lowest sequence number first:
// a message that comes back takes its old place. Messages that expired while
// waiting are dropped when they come to the front.
type line []*message

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].seq < l[j].seq }
func (l line) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *line) Push(x any)        { *l = append(*l, x.(*message)) }
func (l *line) Pop() any {
	old := *l
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*l = old[:len(old)-1]
	return m
}

func (l *line) add(m *message) { heap.Push(l, m) }

// front returns the first message that is really ready, or nil.
func (l *line) front() *message {
	for len(*l) > 0 {
		if m := (*l)[0]; m.ready() {
			return m
		}
		heap.Pop(l)
	}
	return nil
}

func (l *line) take() *message {
	m := l.front()
	if m != nil {
		heap.Pop(l)
	}
	return m
}
