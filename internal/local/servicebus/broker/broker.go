// Package broker implements the semantics of Azure Service Bus queues in
// memory: sequence numbers, peek-lock with expiry and renewal, delivery counts,
// dead-letter queues, sessions with exclusive locks and state, deferred and
// scheduled messages, time to live and duplicate detection.
//
// It knows nothing of AMQP, connections or the outside world: message content
// is opaque, receivers are callbacks, and time is the clock it is given. It
// loses everything when the process ends, and it has no topics, forwarding or
// transactions.
//
// The rules follow the service's documentation (message-sessions,
// message-sequencing, message-expiration, duplicate-detection) and the
// assertions in azservicebus' own live tests.
package broker

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Errors of the operations. They are returned as they are or wrapped.
var (
	// ErrMessageLockLost: the token locks no message any more.
	ErrMessageLockLost = errors.New("the lock supplied is invalid: either the lock expired, or the message has already been removed from the queue")
	// ErrSessionLockLost: the receiver does not hold the session any more.
	ErrSessionLockLost = errors.New("the session lock has expired or is held by another receiver: accept the session again")
	// ErrSessionLocked: another receiver holds the session.
	ErrSessionLocked = errors.New("the session is locked by another receiver: wait for its lock to end or accept another session")
	// ErrMessageNotFound: no message has this sequence number in the state the
	// operation needs.
	ErrMessageNotFound = errors.New("messages not found")
	// ErrSessionRequired: a message or receiver without a session on a queue
	// that requires sessions.
	ErrSessionRequired = errors.New("the queue requires sessions: name a session id")
	// ErrNoSessions: a session receiver on a queue without sessions.
	ErrNoSessions = errors.New("the queue does not use sessions: create a receiver without a session")
	// ErrReadOnly: a send to a dead-letter queue.
	ErrReadOnly = errors.New("messages cannot be sent to a dead-letter queue: send to its queue")
)

// Reasons the broker itself gives for dead-lettering, as Azure spells them.
const (
	ReasonMaxDeliveryCount = "MaxDeliveryCountExceeded"
	ReasonExpired          = "TTLExpiredException"
)

// Names of the application properties that say why a message is dead.
const (
	PropReason      = "DeadLetterReason"
	PropDescription = "DeadLetterErrorDescription"
)

// deadLetterSuffix names the dead-letter queue of a queue.
const deadLetterSuffix = "/$deadletterqueue"

// Settings are the properties of one queue. All of them must be set.
type Settings struct {
	Name                    string
	LockDuration            time.Duration
	MaxDeliveryCount        int
	DefaultTimeToLive       time.Duration
	DeadLetterOnExpiration  bool
	RequiresSession         bool
	DuplicateDetection      bool
	DuplicateDetectionSpan  time.Duration
	isDeadLetter, unlimited bool
}

// Broker is a set of queues with one clock. Its methods and those of its
// queues and consumers may be called from any goroutine.
type Broker struct {
	clock  clockwork.Clock
	queues map[string]*Queue

	// One lock for everything: an operation may touch a queue, its dead-letter
	// queue, several sessions and receivers at once, and none takes long.
	mu     sync.Mutex
	now    time.Time // the clock's time at the start of the current operation
	alarms alarms
	timer  clockwork.Timer
	armed  time.Time // when the timer will fire; zero when it will not
	closed bool
}

// New makes the queues. Names are compared without regard to case and must
// differ.
func New(clock clockwork.Clock, queues []Settings) (*Broker, error) {
	b := &Broker{clock: clock, queues: map[string]*Queue{}}
	for _, s := range queues {
		key := strings.ToLower(s.Name)
		if _, ok := b.queues[key]; ok {
			return nil, fmt.Errorf("queue %q is defined twice: names do not differ by case", s.Name)
		}
		q := newQueue(b, s)
		dead := s
		dead.Name += "/$DeadLetterQueue"
		dead.isDeadLetter, dead.unlimited = true, true
		dead.RequiresSession, dead.DuplicateDetection = false, false
		q.dead = newQueue(b, dead)
		b.queues[key], b.queues[key+deadLetterSuffix] = q, q.dead
	}
	return b, nil
}

// Queue finds a queue, or a dead-letter queue under NAME/$DeadLetterQueue.
func (b *Broker) Queue(name string) (*Queue, bool) {
	q, ok := b.queues[strings.ToLower(name)]
	return q, ok
}

// Close stops the broker's timer. Nothing becomes due afterwards.
func (b *Broker) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
}

// enter starts an operation: it takes the lock and first makes everything
// happen that is due, so that an operation never sees a state which the clock
// has already left.
func (b *Broker) enter() {
	b.mu.Lock()
	b.runDue()
}

// leave ends an operation.
func (b *Broker) leave() {
	b.arm()
	b.mu.Unlock()
}

func (b *Broker) runDue() {
	b.now = b.clock.Now()
	for len(b.alarms) > 0 && !b.alarms[0].at.After(b.now) {
		a := b.alarms[0]
		b.alarms.clear(a)
		a.fire()
	}
}

// arm sets the timer to the earliest alarm. A timer that is set too early is
// left alone: it fires for nothing once, which is cheaper than moving it each
// time a message is settled.
func (b *Broker) arm() {
	if b.closed || len(b.alarms) == 0 {
		return
	}
	at := b.alarms[0].at
	if !b.armed.IsZero() && !at.Before(b.armed) {
		return
	}
	b.armed = at
	// A test may move the clock between reading it and setting the timer, which
	// would then fire late by that much: look again and correct it.
	for {
		now := b.clock.Now()
		if b.timer == nil {
			b.timer = b.clock.AfterFunc(at.Sub(now), b.tick)
		} else {
			b.timer.Reset(at.Sub(now))
		}
		if b.clock.Since(now) < time.Millisecond {
			return
		}
	}
}

func (b *Broker) tick() {
	b.mu.Lock()
	b.armed = time.Time{}
	b.runDue()
	b.leave()
}
