package host

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// gather is how long a receive waits for company after its first message. The client's default of 20 ms would be added
// to every message.
const gather = time.Millisecond

// acceptTimeout is how long one wait for the next session lasts (the client's tryTimeout).
const acceptTimeout = time.Minute

// runMessages is a queue without sessions: up to maxConcurrentCalls messages at once. Each receive asks for as many
// messages as there are free slots. The client cannot take credit back: messages that come on what is left of it, while
// nobody receives, are released by the client and do not count as delivered.
func (p *pump) runMessages() {
	r, err := p.bus.receiver(p.t)
	if err != nil {
		p.h.end(fmt.Errorf("function %s: queue %s: %w", p.fn.name, p.t.queue, err), false)
		return
	}
	defer p.close(r)
	var busy sync.WaitGroup
	defer busy.Wait()
	slots := make(chan struct{}, p.h.app.bus.maxCalls)
	var pause backoff
	for {
		open, leave, err := p.h.gate.enter(p.h.work)
		if err != nil {
			return
		}
		if free := takeSlots(open, slots); free > 0 {
			msgs, err := r.ReceiveMessages(open, free, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: gather})
			for range free - len(msgs) {
				<-slots
			}
			for _, msg := range msgs {
				busy.Go(func() {
					defer func() { <-slots }()
					p.message(r, msg)
				})
			}
			p.failed(open, &pause, err)
		}
		leave()
	}
}

// takeSlots waits for one free slot and takes all there are; 0 means that ctx ended.
func takeSlots(ctx context.Context, slots chan struct{}) (taken int) {
	select {
	case slots <- struct{}{}:
		taken = 1
	case <-ctx.Done():
		return 0
	}
	for {
		select {
		case slots <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
}

func (p *pump) message(r *azservicebus.Receiver, msg *azservicebus.ReceivedMessage) {
	lock := p.keep(orTime(msg.LockedUntil, time.Time{}), func(ctx context.Context) (time.Time, error) {
		if err := r.RenewMessageLock(ctx, msg, nil); err != nil {
			return time.Time{}, err
		}
		return *msg.LockedUntil, nil
	})
	err := p.one(msg, time.Time{})
	lock.stop()
	p.settle(r, msg, err)
}

// failed logs an error of a receive and waits a little. No messages without an error is normal: the client lost its
// link and will attach again.
func (p *pump) failed(open context.Context, pause *backoff, err error) {
	if err == nil {
		pause.reset()
		return
	}
	if open.Err() != nil {
		return
	}
	p.h.log.Error("receiving failed", "function", p.fn.name, "queue", p.t.queue, "error", err)
	pause.wait(open)
}

func (p *pump) close(r interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		p.h.log.Warn("closing a receiver", "function", p.fn.name, "error", err)
	}
}

// runSessions is a queue with sessions: maxConcurrentSessions at once, one message at a time in each.
func (p *pump) runSessions() {
	var loops sync.WaitGroup
	for range p.h.app.bus.maxSessions {
		loops.Go(p.sessions)
	}
	loops.Wait()
}

// sessions takes one session after the other.
func (p *pump) sessions() {
	var pause backoff
	for {
		open, leave, err := p.h.gate.enter(p.h.work)
		if err != nil {
			return
		}
		p.failed(open, &pause, p.session(open))
		leave()
	}
}

// session waits for a session and works through it in order, until nothing came for sessionIdleTimeout, the lock is lost
// or the host pauses.
func (p *pump) session(open context.Context) error {
	ctx, cancel := context.WithTimeout(open, acceptTimeout)
	defer cancel()
	s, err := p.bus.client.AcceptNextSessionForQueue(ctx, p.t.queue, nil)
	if err != nil {
		var e *azservicebus.Error
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) && e.Code == azservicebus.CodeTimeout {
			return nil // no session had a message; the client's own deadline may be a little earlier than ours
		}
		return err
	}
	defer p.close(s)
	lock := p.keep(s.LockedUntil(), func(ctx context.Context) (time.Time, error) {
		if err := s.RenewSessionLock(ctx, nil); err != nil {
			return time.Time{}, err
		}
		return s.LockedUntil(), nil
	})
	defer lock.stop()
	for {
		msg := p.next(open, s)
		if msg == nil {
			return nil
		}
		err := p.one(msg, lock.lockedUntil())
		if !p.settle(s, msg, err) || open.Err() != nil {
			return nil
		}
	}
}

// next returns nil when the session is idle, lost or no longer wanted.
func (p *pump) next(open context.Context, s *azservicebus.SessionReceiver) *azservicebus.ReceivedMessage {
	ctx, cancel := context.WithTimeout(open, p.h.app.bus.sessionIdle)
	defer cancel()
	for {
		msgs, err := s.ReceiveMessages(ctx, 1, nil)
		if len(msgs) > 0 {
			return msgs[0]
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.h.log.Error("receiving failed, giving the session up", "function", p.fn.name, "queue", p.t.queue, "session", s.SessionID(), "error", err)
			return nil
		}
	}
}
