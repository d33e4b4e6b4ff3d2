package servicebus

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// call is a management operation under way.
type call struct {
	c    *conn
	q    *broker.Queue
	link string // name of the receiver it is about, if any
	body amqp.Map
}

// operations are what $management does, by name without com.microsoft:
// (azservicebus v1.11 internal/mgmt.go, @azure/service-bus 7.9
// managementClient).
var operations = map[string]func(*call) (amqp.Map, error){
	"com.microsoft:schedule-message":           (*call).schedule,
	"com.microsoft:cancel-scheduled-message":   (*call).cancel,
	"com.microsoft:peek-message":               (*call).peek,
	"com.microsoft:receive-by-sequence-number": (*call).receiveDeferred,
	"com.microsoft:renew-lock":                 (*call).renewLock,
	"com.microsoft:update-disposition":         (*call).updateDisposition,
	"com.microsoft:renew-session-lock":         (*call).renewSessionLock,
	"com.microsoft:get-session-state":          (*call).sessionState,
	"com.microsoft:set-session-state":          (*call).setSessionState,
	"com.microsoft:get-message-sessions":       (*call).sessions,
}

// Error lets a failure travel as an error.
func (f *failure) Error() string { return f.condition + ": " + f.description }

// errNoContent is the answer when there is nothing to return.
var errNoContent = &failure{condition: "", description: "No content", status: 204}

func (l *link) manage(r *request) response {
	operation, ok := operations[r.operation]
	if !ok {
		return failed(&failure{"amqp:not-implemented", "unknown operation " + r.operation, 501})
	}
	body, err := r.message.Value()
	if err != nil {
		return failed(failureOf(err))
	}
	arguments, ok := body.(amqp.Map)
	if !ok {
		return failed(failureOf(fmt.Errorf("%w: the body is not a map", errArgument)))
	}
	name, _ := r.properties.Get("associated-link-name").(string)
	result, err := operation(&call{l.s.c, l.node.queue, name, arguments})
	if err == nil {
		return succeeded(result)
	}
	if f := (*failure)(nil); errors.As(err, &f) {
		return failed(f)
	}
	return failed(failureOf(err))
}

// argument reads a mandatory argument.
func argument[T any](c *call, name string) (T, error) {
	v, ok := c.body.Get(name).(T)
	if !ok {
		return v, fmt.Errorf("%w: %s is a %T, expected %T", errArgument, name, c.body.Get(name), v)
	}
	return v, nil
}

// arrayOf reads a mandatory array argument.
func arrayOf[T any](c *call, name string) ([]T, error) {
	a, err := argument[amqp.Array](c, name)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(a.Items))
	for i, item := range a.Items {
		v, ok := item.(T)
		if !ok {
			return nil, fmt.Errorf("%w: %s holds a %T, expected %T", errArgument, name, item, v)
		}
		out[i] = v
	}
	return out, nil
}

func toArray[T any](code byte, items []T) amqp.Array {
	a := amqp.Array{Code: code, Items: make([]any, len(items))}
	for i, v := range items {
		a.Items[i] = v
	}
	return a
}

func (c *call) schedule() (amqp.Map, error) {
	list, err := argument[[]any](c, "messages")
	if err != nil {
		return nil, err
	}
	messages := make([]broker.Message, len(list))
	for i, item := range list {
		entry, _ := item.(amqp.Map)
		raw, ok := entry.Get("message").([]byte)
		if !ok {
			return nil, fmt.Errorf("%w: messages holds an entry without a message", errArgument)
		}
		if messages[i], err = parse(raw); err != nil {
			return nil, err
		}
	}
	numbers, f := c.c.store("schedule", c.q, messages)
	if f != nil {
		return nil, f
	}
	return amqp.Map{{Key: "sequence-numbers", Value: toArray(amqp.CodeLong, numbers)}}, nil
}

func (c *call) cancel() (amqp.Map, error) {
	numbers, err := arrayOf[int64](c, "sequence-numbers")
	if err != nil {
		return nil, err
	}
	ops := make([]Op, len(numbers))
	for i, n := range numbers {
		ops[i] = Op{Kind: "cancel", Entity: c.q.Name(), SequenceNumber: n}
	}
	return nil, c.hooked(ops, func() error { return c.q.Cancel(numbers) })
}

// hooked runs an operation on several things with the hooks around it.
func (c *call) hooked(ops []Op, f func() error) error {
	for _, op := range ops {
		if f := c.c.before(op); f != nil {
			return f
		}
	}
	if err := f(); err != nil {
		return err
	}
	for _, op := range ops {
		c.c.srv.after(op)
	}
	return nil
}

func (c *call) peek() (amqp.Map, error) {
	from, err := argument[int64](c, "from-sequence-number")
	if err != nil {
		return nil, err
	}
	count, err := argument[int32](c, "message-count")
	if err != nil {
		return nil, err
	}
	op := Op{Kind: "peek", Entity: c.q.Name(), SequenceNumber: from}
	var sessionID *string
	if id, ok := c.body.Get("session-id").(string); ok {
		sessionID = &id
	} else if l := c.receiver(); l != nil {
		// azservicebus names the session by the receiver only.
		if id, ok := l.out.consumer.SessionID(); ok {
			sessionID = &id
		}
	}
	if sessionID != nil {
		op.SessionID = *sessionID
	}
	var found []broker.Delivery
	err = c.hooked([]Op{op}, func() error {
		found = c.q.Peek(from, int(count), sessionID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errNoContent
	}
	messages := make([]any, len(found))
	for i, d := range found {
		d.LockToken, d.LockedUntil = uuid.Nil, time.Time{} // somebody else's
		messages[i] = amqp.Map{{Key: "message", Value: render(d, withState)}}
	}
	return amqp.Map{{Key: "messages", Value: messages}}, nil
}

// receiver finds the receiver the call is about, if its link is named.
func (c *call) receiver() *link {
	if c.link == "" {
		return nil
	}
	return c.c.link(c.link, func(l *link) bool {
		return l.out != nil && l.out.consumer != nil && l.node.queue == c.q && !l.detached
	})
}

func (c *call) receiveDeferred() (amqp.Map, error) {
	numbers, err := arrayOf[int64](c, "sequence-numbers")
	if err != nil {
		return nil, err
	}
	mode, err := argument[uint32](c, "receiver-settle-mode")
	if err != nil {
		return nil, err
	}
	var holder *broker.Consumer
	if c.q.RequiresSession() {
		if holder = c.holder(); holder == nil {
			return nil, broker.ErrSessionLockLost
		}
	}
	ops := make([]Op, len(numbers))
	for i, n := range numbers {
		ops[i] = Op{Kind: "receive", Entity: c.q.Name(), SequenceNumber: n}
		if holder != nil {
			ops[i].SessionID, _ = holder.SessionID()
		}
	}
	var messages []any
	err = c.hooked(ops, func() error {
		found, err := c.q.ReceiveDeferred(numbers, holder)
		if err != nil {
			return err
		}
		for _, d := range found {
			entry := amqp.Map{{Key: "lock-token", Value: d.LockToken}}
			if mode == 0 {
				if err := c.q.Complete(d.LockToken); err != nil {
					return err
				}
				d.LockToken, d.LockedUntil, entry = uuid.Nil, time.Time{}, nil
			}
			messages = append(messages, append(entry, amqp.Pair{Key: "message", Value: render(d, withState)}))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return amqp.Map{{Key: "messages", Value: messages}}, nil
}
