// Package azfunc is the handler's side of the Azure Functions custom-handler wire format: it decodes the envelope
// the Functions host POSTs for functions that are not HTTP triggered, and answers so that the host settles the
// message as meant. It knows nothing of what a function does, of routing, or of HTTP triggered functions (those are
// forwarded as plain requests). It settles nothing itself: success and failure are the only words the host hears.
//
// The traps, each met by code in this package (host sources v4.1037, Azure/azure-functions-host):
//
//   - Strings arrive as a JSON string that holds a JSON string literal, numbers and booleans as JSON strings, arrays
//     as JSON strings that hold an array; only objects are objects, and only dataType "binary" bodies are encoded
//     once, as base64. A decoder that expects plain JSON sees `"\"abc\""` and stores the quotes.
//   - An answer with an empty body, 204, or the literal null makes the host wait until functionTimeout and then kill
//     the whole worker, with everything else in flight. A missing or non-JSON Content-Type fails the invocation even
//     on 200. So every success is 200, application/json, {}.
//   - Every non-2xx answer means Abandon: redelivered at once, without delay, until MaxDeliveryCount dead-letters it.
//     The body of such an answer is thrown away; what went wrong must be logged here.
//   - Times come without a zone (meaning UTC), with whole seconds, or with a zone and fractions, depending on the key.
//   - With a string body and cardinality "one", properties of a JSON body overwrite Metadata keys of the same name,
//     whatever their case. Whoever writes the message writes MessageId, SessionId and DeliveryCount too. Use dataType
//     "binary", where the host does not look into the body, and never take a decision from Metadata otherwise.
//   - The invocation id header of a forwarded request may start with the client's own value; the host's is the last.
//   - The host rebuilds a forwarded URL from its decoded form, so %252e%252e can turn into a parent directory behind
//     the route check. A request that passed the public front end carries X-Forwarded-For and an invocation never
//     does: Decode refuses it, so that no public path can pose as a queue message.
package azfunc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
)

// MaxEnvelope bounds the body Decode reads, in bytes. A Service Bus Standard message is at most 256 KiB; as base64 or
// as twice-escaped JSON text it still fits, and nothing this program sends comes near.
const MaxEnvelope = 1 << 20

// Headers the host adds to every call, invocation or forwarded request.
const (
	HeaderInvocationID = "X-Azure-Functions-InvocationId"
	HeaderHostVersion  = "X-Azure-Functions-HostVersion"
)

// ErrNotInvocation marks a request that is no function invocation: a wrong method, path or media type, a body that is
// no envelope or is too long, or a request that came in through the public front end.
var ErrNotInvocation = errors.New("not a function invocation")

// Invocation is one decoded call of a function that is not HTTP triggered.
type Invocation struct {
	// Function is the function's folder name, from the request path.
	Function string
	// ID is the host's invocation id, or empty when the host sent none.
	ID string
	// Data holds the trigger's value by binding name, still encoded; see Body and Timer.
	Data map[string]json.RawMessage
	// Metadata holds the trigger's metadata, still encoded; see Text, Int and Time.
	Metadata map[string]json.RawMessage
	// MessageID is the Service Bus message id, empty for timers. For logs: see the package comment on who may write it.
	MessageID string
	// DeliveryCount is 1 on the first delivery of a Service Bus message, and 0 for timers.
	DeliveryCount int
}

// functionName is the host's own rule for function names (host Utility.cs).
var functionName = regexp.MustCompile(`^(?i)[a-z][a-z0-9_-]{0,127}$`)

// Decode reads the invocation from r. Every error caused by the request itself wraps ErrNotInvocation.
func Decode(r *http.Request) (Invocation, error) {
	inv := Invocation{Function: strings.TrimPrefix(r.URL.Path, "/"), ID: InvocationID(r.Header)}
	if r.Method != http.MethodPost {
		return inv, fmt.Errorf("%w: method %s, the host sends POST", ErrNotInvocation, r.Method)
	}
	if !functionName.MatchString(inv.Function) {
		return inv, fmt.Errorf("%w: path %q names no function", ErrNotInvocation, r.URL.Path)
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		return inv, fmt.Errorf("%w: the request came through the public front end (X-Forwarded-For is set)", ErrNotInvocation)
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return inv, fmt.Errorf("%w: content type %q, the host sends application/json", ErrNotInvocation, r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxEnvelope+1))
	if err != nil {
		return inv, fmt.Errorf("%w: reading the envelope: %w", ErrNotInvocation, err)
	}
	if len(body) > MaxEnvelope {
		return inv, fmt.Errorf("%w: the envelope is longer than %d bytes", ErrNotInvocation, MaxEnvelope)
	}
	var envelope struct{ Data, Metadata map[string]json.RawMessage }
	if err := json.Unmarshal(body, &envelope); err != nil {
		return inv, fmt.Errorf("%w: the body is no envelope: %w", ErrNotInvocation, err)
	}
	if envelope.Data == nil {
		return inv, fmt.Errorf("%w: the envelope has no Data object", ErrNotInvocation)
	}
	inv.Data, inv.Metadata = envelope.Data, envelope.Metadata
	inv.MessageID, _ = inv.Text("MessageId")
	if n, ok := inv.Int("DeliveryCount"); ok {
		inv.DeliveryCount = int(n)
	}
	return inv, nil
}

// InvocationID returns the host's invocation id: the last value of the last header line. A client of a forwarded
// request can send the header too; the host appends its own, and .NET writes both on one line, joined by a comma.
func InvocationID(h http.Header) string {
	lines := h.Values(HeaderInvocationID)
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}
