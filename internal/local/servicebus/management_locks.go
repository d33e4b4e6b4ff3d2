package servicebus

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// lockedOps describes the messages behind lock tokens to the hooks.
func (c *call) lockedOps(kind string, tokens []uuid.UUID) []Op {
	ops := make([]Op, len(tokens))
	for i, t := range tokens {
		d, _ := c.q.Locked(t)
		ops[i] = opOf(kind, c.q, d)
	}
	return ops
}

func (c *call) renewLock() (amqp.Map, error) {
	tokens, err := arrayOf[uuid.UUID](c, "lock-tokens")
	if err != nil {
		return nil, err
	}
	var ends []time.Time
	err = c.hooked(c.lockedOps("renew-lock", tokens), func() error {
		ends, err = c.q.RenewLock(tokens)
		return err
	})
	if err != nil {
		return nil, err
	}
	return amqp.Map{{Key: "expirations", Value: toArray(amqp.CodeTimestamp, ends)}}, nil
}

// updateDisposition settles by lock token alone, whichever link received the
// message: clients fall back to it when that link is gone.
func (c *call) updateDisposition() (amqp.Map, error) {
	tokens, err := arrayOf[uuid.UUID](c, "lock-tokens")
	if err != nil {
		return nil, err
	}
	status, err := argument[string](c, "disposition-status")
	if err != nil {
		return nil, err
	}
	modify, _ := c.body.Get("properties-to-modify").(amqp.Map)
	properties := stringKeys(modify)
	reason, _ := c.body.Get("deadletter-reason").(string)
	description, _ := c.body.Get("deadletter-description").(string)
	var kind string
	var settle func(uuid.UUID) error
	switch status {
	case "completed":
		kind, settle = "complete", c.q.Complete
	case "abandoned":
		kind, settle = "abandon", func(t uuid.UUID) error { return c.q.Abandon(t, properties) }
	case "defered": // sic
		kind, settle = "defer", func(t uuid.UUID) error { return c.q.Defer(t, properties) }
	case "suspended":
		kind, settle = "deadletter", func(t uuid.UUID) error { return c.q.DeadLetter(t, reason, description, properties) }
	default:
		return nil, fmt.Errorf("%w: disposition-status %q", errArgument, status)
	}
	for i, op := range c.lockedOps(kind, tokens) {
		if err := c.hooked([]Op{op}, func() error { return settle(tokens[i]) }); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// holder finds the consumer that holds the call's session: through the
// receiver that the call names, else through any receiver of this connection.
// Another connection's receiver will not do, the lock belongs to the link.
func (c *call) holder() *broker.Consumer {
	id, named := c.body.Get("session-id").(string)
	l := c.c.link(c.link, func(l *link) bool {
		if l.out == nil || l.out.consumer == nil || l.node.queue != c.q || l.detached {
			return false
		}
		held, ok := l.out.consumer.SessionID()
		return ok && (!named || held == id)
	})
	if l == nil {
		return nil
	}
	return l.out.consumer
}

func (c *call) heldSession() (*broker.Consumer, error) {
	if _, err := argument[string](c, "session-id"); err != nil {
		return nil, err
	}
	if h := c.holder(); h != nil {
		return h, nil
	}
	return nil, broker.ErrSessionLockLost
}

func (c *call) renewSessionLock() (amqp.Map, error) {
	h, err := c.heldSession()
	if err != nil {
		return nil, err
	}
	id, _ := h.SessionID()
	var end time.Time
	err = c.hooked([]Op{{Kind: "renew-session-lock", Entity: c.q.Name(), SessionID: id}}, func() error {
		end, err = h.Renew()
		return err
	})
	return amqp.Map{{Key: "expiration", Value: end}}, err
}

func (c *call) sessionState() (amqp.Map, error) {
	h, err := c.heldSession()
	if err != nil {
		return nil, err
	}
	state, err := h.State()
	if err != nil {
		return nil, err
	}
	var value any
	if state != nil {
		value = state
	}
	return amqp.Map{{Key: "session-state", Value: value}}, nil
}

func (c *call) setSessionState() (amqp.Map, error) {
	h, err := c.heldSession()
	if err != nil {
		return nil, err
	}
	var state []byte
	if c.body.Get("session-state") != nil {
		if state, err = argument[[]byte](c, "session-state"); err != nil {
			return nil, err
		}
	}
	if len(state) > maxMessageSize {
		return nil, errTooLarge
	}
	return nil, h.SetState(state)
}

// anySession as last-updated-time asks for sessions with messages or state
// instead of those whose state changed since.
var anySession = time.UnixMilli(253402300800000)

func (c *call) sessions() (amqp.Map, error) {
	since, err := argument[time.Time](c, "last-updated-time")
	if err != nil {
		return nil, err
	}
	if !since.Before(anySession) {
		since = time.Time{}
	}
	skip, err := argument[int32](c, "skip")
	if err != nil {
		return nil, err
	}
	top, err := argument[int32](c, "top")
	if err != nil {
		return nil, err
	}
	ids := c.q.Sessions(since, int(skip), int(top))
	if len(ids) == 0 {
		return nil, errNoContent
	}
	return amqp.Map{{Key: "skip", Value: skip + int32(len(ids))}, // sic: sessions-ids
		{Key: "sessions-ids", Value: toArray(amqp.CodeString, ids)}}, nil
}
