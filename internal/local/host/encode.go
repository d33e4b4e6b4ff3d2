package host

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
)

// The value encodings of the host (ScriptInvocationContextExtensions.cs): strings become a JSON string that holds a
// JSON string literal, numbers and booleans a JSON string, binary a base64 string; objects stay objects. Each function returns one value as it stands on the wire.

// rawJSON marshals without escaping <, > and &, which .NET leaves alone; only then do the texts inside texts agree.
func rawJSON(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encoding %T: %v", v, err)) // only values built in this package come here
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// wireString encodes twice. Bytes that are no UTF-8 become U+FFFD, as in the host's lenient decoder.
func wireString(s string) json.RawMessage {
	return rawJSON(string(rawJSON(strings.ToValidUTF8(s, "\uFFFD"))))
}

func wireNumber(n int64) json.RawMessage { return rawJSON(strconv.FormatInt(n, 10)) }

func wireBytes(b []byte) json.RawMessage { return rawJSON(base64.StdEncoding.EncodeToString(b)) }

// Layouts of .NET dates: DateTime without a zone, DateTimeOffset with one; whole seconds as values of their own, full
// precision inside objects (azure-functions-host issue 6997).
const (
	dateTime        = "2006-01-02T15:04:05"
	dateTimeOffset  = "2006-01-02T15:04:05-07:00"
	arrayDateTime   = "2006-01-02T15:04:05.9999999"
	objectOffset    = "2006-01-02T15:04:05.9999999-07:00"
	dotNetInvariant = "01/02/2006 15:04:05"
	utcNow          = "2006-01-02T15:04:05.0000000Z"
)

// forever is .NET's DateTime.MaxValue, the expiry of a message without a time to live.
var forever = time.Date(9999, 12, 31, 23, 59, 59, 999999900, time.UTC)

// metadata is the Metadata object. The host's dictionary ignores case: setting a key replaces one that differs only in
// case. Keys that end in "trigger" are left out.
type metadata map[string]json.RawMessage

func (m metadata) set(key string, value json.RawMessage) {
	for old := range m {
		if strings.EqualFold(old, key) {
			delete(m, old)
		}
	}
	if !strings.HasSuffix(strings.ToLower(key), "trigger") {
		m[key] = value
	}
}

// call is what an invocation tells about itself.
type call struct {
	function  string
	now       time.Time
	namespace string    // host name of the Service Bus namespace
	locked    time.Time // when the session's lock ends; zero without a session
}

func (c call) sys() json.RawMessage {
	return rawJSON(map[string]string{"MethodName": c.function, "UtcNow": c.now.UTC().Format(utcNow), "RandGuid": uuid.NewString()})
}

// describe sets what does not depend on the message.
func (c call) describe(m metadata) {
	actions := map[string]string{}
	if !c.locked.IsZero() {
		actions["SessionLockedUntil"] = c.locked.UTC().Format(objectOffset)
	}
	for _, name := range []string{"MessageReceiver", "MessageSession", "MessageActions", "SessionActions"} {
		m.set(name, rawJSON(actions))
	}
	m.set("ReceiveActions", json.RawMessage(`{}`))
	m.set("Client", rawJSON(map[string]any{
		"FullyQualifiedNamespace": c.namespace, "IsClosed": false, "TransportType": 0, "Identifier": c.namespace + "-" + c.function,
	}))
	m.set("sys", c.sys())
}

func envelope(binding string, data json.RawMessage, m metadata) []byte {
	return rawJSON(map[string]any{"Data": map[string]json.RawMessage{binding: data}, "Metadata": m})
}

// encodeOne is the envelope of one Service Bus message, cardinality "one".
func encodeOne(t *queueTrigger, msg *azservicebus.ReceivedMessage, c call) []byte {
	m := metadata{}
	c.describe(m)
	for _, p := range messageProperties {
		if v := p.of(msg); v != nil {
			m.set(p.name, wireValue(v))
		}
	}
	for _, name := range []string{"ApplicationProperties", "UserProperties"} {
		m.set(name, rawJSON(applicationProperties(msg)))
	}
	if t.binary {
		return envelope(t.binding, wireBytes(msg.Body), m)
	}
	pollute(m, msg.Body)
	return envelope(t.binding, wireString(string(msg.Body)), m)
}

// dateOnly and zoned mark which .NET type a time has.
type (
	dateOnly time.Time
	zoned    time.Time
)

func wireValue(v any) json.RawMessage {
	switch v := v.(type) {
	case string:
		return wireString(v)
	case int64:
		return wireNumber(v)
	case dateOnly:
		return rawJSON(time.Time(v).UTC().Format(dateTime))
	case zoned:
		return rawJSON(time.Time(v).UTC().Format(dateTimeOffset))
	}
	panic(fmt.Sprintf("no encoding for %T", v))
}

// messageProperties are the per-message keys (ServiceBusTriggerBindingStrategy.cs). A nil value leaves the key out.
var messageProperties = []struct {
	name string
	of   func(*azservicebus.ReceivedMessage) any
}{
	{"DeliveryCount", func(m *azservicebus.ReceivedMessage) any { return int64(m.DeliveryCount) }},
	{"SequenceNumber", func(m *azservicebus.ReceivedMessage) any { return orNil(m.SequenceNumber) }},
	{"MessageId", func(m *azservicebus.ReceivedMessage) any { return m.MessageID }},
	{"LockToken", func(m *azservicebus.ReceivedMessage) any { return uuid.UUID(m.LockToken).String() }},
	{"ContentType", func(m *azservicebus.ReceivedMessage) any { return orNil(m.ContentType) }},
	{"CorrelationId", func(m *azservicebus.ReceivedMessage) any { return orNil(m.CorrelationID) }},
	{"SessionId", func(m *azservicebus.ReceivedMessage) any { return orNil(m.SessionID) }},
	{"ReplyTo", func(m *azservicebus.ReceivedMessage) any { return orNil(m.ReplyTo) }},
	{"ReplyToSessionId", func(m *azservicebus.ReceivedMessage) any { return orNil(m.ReplyToSessionID) }},
	{"To", func(m *azservicebus.ReceivedMessage) any { return orNil(m.To) }},
	{"Subject", func(m *azservicebus.ReceivedMessage) any { return orNil(m.Subject) }},
	{"Label", func(m *azservicebus.ReceivedMessage) any { return orNil(m.Subject) }},
	{"PartitionKey", func(m *azservicebus.ReceivedMessage) any { return orNil(m.PartitionKey) }},
	{"TransactionPartitionKey", viaPartitionKey},
	{"DeadLetterSource", func(m *azservicebus.ReceivedMessage) any { return orNil(m.DeadLetterSource) }},
	{"EnqueuedTimeUtc", func(m *azservicebus.ReceivedMessage) any { return dateOnly(orTime(m.EnqueuedTime, time.Time{})) }},
	{"EnqueuedTime", func(m *azservicebus.ReceivedMessage) any { return zoned(orTime(m.EnqueuedTime, time.Time{})) }},
	{"ExpiresAtUtc", func(m *azservicebus.ReceivedMessage) any { return dateOnly(orTime(m.ExpiresAt, forever)) }},
	{"ExpiresAt", func(m *azservicebus.ReceivedMessage) any { return zoned(orTime(m.ExpiresAt, forever)) }},
}

func viaPartitionKey(m *azservicebus.ReceivedMessage) any {
	if m.RawAMQPMessage == nil {
		return nil
	}
	if key, ok := m.RawAMQPMessage.MessageAnnotations["x-opt-via-partition-key"].(string); ok {
		return key
	}
	return nil
}

// orNil turns a nil pointer into a nil value, not into a value that holds a nil pointer.
func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func orTime(p *time.Time, otherwise time.Time) time.Time {
	if p == nil {
		return otherwise
	}
	return *p
}

// applicationProperties keeps the types that JSON has and writes the rest as text.
func applicationProperties(m *azservicebus.ReceivedMessage) map[string]any {
	out := make(map[string]any, len(m.ApplicationProperties))
	for key, value := range m.ApplicationProperties {
		switch v := value.(type) {
		case nil, string, bool, int8, int16, int32, int64, int, uint8, uint16, uint32, uint64, []byte:
			out[key] = v
		case float64:
			out[key] = number(v)
		case float32:
			out[key] = number(float64(v))
		case time.Time:
			out[key] = v.UTC().Format(time.RFC3339Nano)
		default:
			out[key] = fmt.Sprint(v)
		}
	}
	return out
}

// number keeps a float that JSON can hold; Json.NET writes the others as words.
func number(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Sprint(f)
	}
	return f
}
