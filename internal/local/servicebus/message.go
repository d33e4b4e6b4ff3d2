package servicebus

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// errTooLarge is a message over the limit inside something larger.
var errTooLarge = errors.New("the message exceeds the limit of 262144 bytes")

// batchFormat marks a transfer whose data sections are messages.
const batchFormat = 0x80013700

// Annotations (azservicebus v1.11 message.go; their types are checked there by
// panicking assertions).
const (
	annSequenceNumber   amqp.Symbol = "x-opt-sequence-number"
	annEnqueuedTime     amqp.Symbol = "x-opt-enqueued-time"
	annLockedUntil      amqp.Symbol = "x-opt-locked-until"
	annMessageState     amqp.Symbol = "x-opt-message-state"
	annDeadLetterSource amqp.Symbol = "x-opt-deadletter-source"
	annScheduled        amqp.Symbol = "x-opt-scheduled-enqueue-time"
	annLockToken        amqp.Symbol = "x-opt-lock-token"
)

// owned are the annotations only the service sets: a client that sends a
// received message again sends them along.
var owned = map[string]bool{string(annSequenceNumber): true, string(annEnqueuedTime): true, string(annLockedUntil): true,
	string(annMessageState): true, string(annDeadLetterSource): true, string(annLockToken): true}

// maxIDLength is the quota for message and session ids, in characters.
const maxIDLength = 128

// unpack turns what a client sent into messages: one, or those of a batch.
func unpack(raw []byte, format uint32) ([]broker.Message, error) {
	if format != batchFormat {
		m, err := parse(raw)
		return []broker.Message{m}, err
	}
	envelope, err := amqp.DecodeMessage(raw)
	if err != nil {
		return nil, err
	}
	parts, err := envelope.Data()
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: the batch is empty", errArgument)
	}
	messages := make([]broker.Message, len(parts))
	for i, part := range parts {
		if messages[i], err = parse(part); err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i, err)
		}
	}
	return messages, nil
}

// parse turns one encoded message into what the broker stores. The content
// keeps all that the sender wrote except what the service owns.
func parse(raw []byte) (broker.Message, error) {
	if len(raw) > maxMessageSize {
		return broker.Message{}, errTooLarge
	}
	m, err := amqp.DecodeMessage(raw)
	if err != nil {
		return broker.Message{}, err
	}
	out := broker.Message{Content: m}
	m.DeliveryAnnotations = nil
	var kept amqp.Map
	for _, p := range m.Annotations {
		if k, ok := p.Key.(amqp.Symbol); !ok || !owned[string(k)] {
			kept = append(kept, p)
		}
	}
	m.Annotations = kept
	if at, ok := m.Annotations.Get(string(annScheduled)).(time.Time); ok {
		out.ScheduledFor = at
	}
	if ttl, ok := m.HeaderField(amqp.HeaderTTL).(uint32); ok {
		out.TimeToLive = time.Duration(ttl) * time.Millisecond
	}
	if id, ok := m.Property(amqp.PropGroupID).(string); ok {
		out.SessionID = &id
	}
	switch id := m.Property(amqp.PropMessageID).(type) {
	case nil:
		// Clients rely on every message having an id.
		out.ID = uuid.NewString()
		m.Properties = amqp.WithField(m.Properties, amqp.PropMessageID, out.ID)
	case string:
		out.ID = id
	default:
		out.ID = fmt.Sprint(id)
	}
	if utf8.RuneCountInString(out.ID) > maxIDLength || out.SessionID != nil && utf8.RuneCountInString(*out.SessionID) > maxIDLength {
		return broker.Message{}, fmt.Errorf("%w: message and session ids may have %d characters", errArgument, maxIDLength)
	}
	return out, nil
}

// purpose says what a message is rendered for; only some ways of receiving
// carry the message's state.
type purpose int

const (
	ordinary purpose = iota
	withState
)

// render encodes a message as a client receives it.
func render(d broker.Delivery, p purpose) []byte {
	m := *d.Content.(*amqp.Message) // shared: change copies of fields only
	m.Header = amqp.WithField(m.Header, amqp.HeaderDeliveryCount, uint32(d.DeliveryCount))
	annotations := append(amqp.Map(nil), m.Annotations...)
	annotations = append(annotations,
		amqp.Pair{Key: annSequenceNumber, Value: d.SequenceNumber},
		amqp.Pair{Key: annEnqueuedTime, Value: d.EnqueuedAt})
	if d.LockToken != uuid.Nil {
		annotations = append(annotations, amqp.Pair{Key: annLockedUntil, Value: d.LockedUntil})
		m.DeliveryAnnotations = amqp.Map{{Key: annLockToken, Value: d.LockToken}}
	}
	if d.DeadLetterSource != "" {
		annotations = append(annotations, amqp.Pair{Key: annDeadLetterSource, Value: d.DeadLetterSource})
	}
	if p == withState {
		annotations = append(annotations, amqp.Pair{Key: annMessageState, Value: int32(d.State)})
	}
	m.Annotations = annotations
	if d.Properties != nil {
		// The sender's section may be unreadable to us; then ours replaces it.
		merged, _ := m.ApplicationProperties()
		for k, v := range d.Properties {
			merged = merged.Set(k, v)
		}
		m.SetApplicationProperties(merged)
	}
	return m.Append(nil)
}
