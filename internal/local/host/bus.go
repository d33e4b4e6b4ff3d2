package host

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
)

// settleTimeout bounds one settlement or renewal. It runs apart from the host's own contexts, since a finished message
// must still be settled while the host closes.
const settleTimeout = 10 * time.Second

// Waits after a failed receive; the real client retries likewise.
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// bus is the client of one namespace.
type bus struct {
	client    *azservicebus.Client
	namespace string
}

// openBuses connects to every namespace that an enabled queue function names, and looks at each queue once. The real
// host would start and log errors for ever when a queue is missing or its sessions disagree with function.json.
func (h *Host) openBuses(ctx context.Context) error {
	var faults []error
	for _, fn := range h.app.functions {
		if fn.queue == nil || fn.disabled {
			continue
		}
		b := h.buses[fn.queue.connection]
		if b == nil {
			client, err := azservicebus.NewClientFromConnectionString(fn.queue.connection, &azservicebus.ClientOptions{
				RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: firstBackoff, MaxRetryDelay: time.Second},
			})
			if err != nil {
				faults = append(faults, fmt.Errorf("function %s: %w", fn.name, err))
				continue
			}
			b = &bus{client: client, namespace: namespaceOf(fn.queue.connection)}
			h.buses[fn.queue.connection] = b
		}
		if err := b.inspect(ctx, fn.queue); err != nil {
			faults = append(faults, fmt.Errorf("function %s: queue %s: %w", fn.name, fn.queue.queue, err))
		}
	}
	return errors.Join(faults...)
}

func (b *bus) close() {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	_ = b.client.Close(ctx) // the connection goes with the process at the latest
}

// inspect attaches a receiver without sessions and peeks: a queue with sessions refuses the attach with not-allowed.
func (b *bus) inspect(ctx context.Context, t *queueTrigger) error {
	r, err := b.receiver(t)
	if err != nil {
		return err
	}
	defer r.Close(ctx)
	_, err = r.PeekMessages(ctx, 1, nil)
	var refused *amqp.Error
	needsSessions := errors.As(err, &refused) && refused.Condition == amqp.ErrCondNotAllowed
	switch {
	case err != nil && !needsSessions:
		return err
	case needsSessions && !t.sessions:
		return errors.New("it requires sessions, and isSessionsEnabled is not set")
	case !needsSessions && t.sessions:
		return errors.New("it has no sessions, and isSessionsEnabled is set")
	}
	return nil
}

const deadLetterSuffix = "/$deadletterqueue"

// receiver opens a receiver without sessions on the queue or its dead-letter queue.
func (b *bus) receiver(t *queueTrigger) (*azservicebus.Receiver, error) {
	name, options := t.queue, &azservicebus.ReceiverOptions{}
	if strings.HasSuffix(strings.ToLower(name), deadLetterSuffix) {
		name, options.SubQueue = name[:len(name)-len(deadLetterSuffix)], azservicebus.SubQueueDeadLetter
	}
	return b.client.NewReceiverForQueue(name, options)
}

// namespaceOf returns the host name of a connection string's endpoint.
func namespaceOf(connection string) string {
	for part := range strings.SplitSeq(connection, ";") {
		if key, value, _ := strings.Cut(part, "="); strings.EqualFold(strings.TrimSpace(key), "Endpoint") {
			if u, err := url.Parse(value); err == nil {
				return u.Host
			}
		}
	}
	return ""
}

// settler is what both kinds of receiver offer for a finished message.
type settler interface {
	CompleteMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.CompleteMessageOptions) error
	AbandonMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.AbandonMessageOptions) error
}

// pump moves messages of one queue to one function.
type pump struct {
	h   *Host
	fn  *function
	t   *queueTrigger
	bus *bus
}

// pump returns the loop for the function; it ends when the host stops taking work and what it took is settled.
func (h *Host) pump(fn *function) func() {
	p := &pump{h: h, fn: fn, t: fn.queue, bus: h.buses[fn.queue.connection]}
	if p.t.sessions {
		return p.runSessions
	}
	return p.runMessages
}

// settle completes or abandons. It reports false when the lock is lost or the broker is away: the message comes back.
func (p *pump) settle(r settler, msg *azservicebus.ReceivedMessage, failed error) bool {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	var err error
	switch {
	case failed != nil:
		err = r.AbandonMessage(ctx, msg, nil)
	case p.t.autoComplete:
		err = r.CompleteMessage(ctx, msg, nil)
	default:
		p.h.log.Warn("autoCompleteMessages is false and a custom handler cannot settle: the message stays until its lock ends", "function", p.fn.name)
	}
	if err != nil {
		p.h.log.Error("settling failed, the message will come back", "function", p.fn.name, "message", msg.MessageID, "error", err)
	}
	return err == nil
}

// one invokes the function for one message.
func (p *pump) one(msg *azservicebus.ReceivedMessage, locked time.Time) error {
	return p.h.dispatch(p.fn, func(ctx context.Context, id string) error {
		return p.h.invoke(ctx, p.fn, id, encodeOne(p.t, msg, p.call(locked)))
	})
}

func (p *pump) call(locked time.Time) call {
	return call{function: p.fn.name, now: p.h.clock.Now(), namespace: p.bus.namespace, locked: locked}
}

// renewal keeps a lock alive. until is when the lock ends, as the broker said last.
type renewal struct {
	mu    sync.Mutex
	until time.Time
	stop  func()
}

func (r *renewal) lockedUntil() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.until
}

// keep renews a lock shortly before it ends, until stop is called or maxAutoLockRenewalDuration is over.
func (p *pump) keep(until time.Time, renew func(context.Context) (time.Time, error)) *renewal {
	clock, limit := p.h.clock, p.h.app.bus.maxRenewal
	r := &renewal{until: until}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r.stop = func() { cancel(); <-done }
	started := clock.Now()
	go func() {
		defer close(done)
		wait := until.Sub(started)
		for limit < 0 || clock.Since(started)+renewAfter(wait) < limit {
			timer := clock.NewTimer(renewAfter(wait))
			select {
			case <-timer.Chan():
			case <-ctx.Done():
				timer.Stop()
				return
			}
			next, err := renew(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				p.h.log.Warn("renewing a lock failed", "function", p.fn.name, "error", err)
				if lockLost(err) {
					return
				}
				wait = 2 * time.Second // not lost yet: soon again
				continue
			}
			r.mu.Lock()
			r.until = next
			r.mu.Unlock()
			wait = clock.Until(next)
		}
	}()
	return r
}

// renewAfter leaves half of the time for the renewal itself, at most ten seconds, as the .NET processor does.
func renewAfter(left time.Duration) time.Duration {
	return max(left-min(left/2, 10*time.Second), 100*time.Millisecond)
}

func lockLost(err error) bool {
	var e *azservicebus.Error
	return errors.As(err, &e) && e.Code == azservicebus.CodeLockLost
}

// backoff waits between failed receives, longer each time.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(b.next*2, firstBackoff), maxBackoff)
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (b *backoff) reset() { b.next = 0 }
