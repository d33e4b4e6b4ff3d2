package servicebus

import (
	"errors"
	"net/http"

	"jitgate/internal/local/servicebus/amqp"
	"jitgate/internal/local/servicebus/broker"
)

// errArgument marks a request the service would call a bad argument.
var errArgument = errors.New("argument error")

// failures translates errors into what the service says. Where the service has
// texts that clients compare, they are kept (azservicebus v1.11 asserts the one
// of a lost message lock).
var failures = []struct {
	err         error
	condition   string
	status      int32
	description string // empty: the error's own
}{
	{broker.ErrMessageLockLost, "com.microsoft:message-lock-lost", http.StatusGone,
		"The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue."},
	{broker.ErrSessionLockLost, "com.microsoft:session-lock-lost", http.StatusGone,
		"The session lock has expired on the session. Accept a new session."},
	{broker.ErrSessionLocked, "com.microsoft:session-cannot-be-locked", http.StatusGone,
		"The requested session cannot be accepted. It may be locked by another receiver."},
	{broker.ErrMessageNotFound, "com.microsoft:message-not-found", http.StatusNotFound, ""},
	{broker.ErrSessionRequired, "amqp:not-allowed", http.StatusBadRequest,
		"The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have session support enabled can only receive messages that have the SessionId set to a valid value."},
	{broker.ErrNoSessions, "amqp:not-allowed", http.StatusBadRequest,
		"A session receiver cannot be created on an entity that does not require sessions."},
	{broker.ErrReadOnly, "amqp:not-allowed", http.StatusBadRequest, ""},
	{errTooLarge, "amqp:link:message-size-exceeded", http.StatusForbidden, ""},
	{amqp.ErrMalformed, "amqp:decode-error", http.StatusBadRequest, ""},
	{errArgument, "com.microsoft:argument-error", http.StatusBadRequest, ""},
}

func failureOf(err error) *failure {
	for _, f := range failures {
		if errors.Is(err, f.err) {
			description := f.description
			if description == "" {
				description = err.Error()
			}
			return &failure{f.condition, description, f.status}
		}
	}
	return &failure{"amqp:internal-error", err.Error(), http.StatusInternalServerError}
}

// statusOf is the management status that goes with a condition ordered by a
// test.
func statusOf(condition string) int32 {
	for _, f := range failures {
		if f.condition == condition {
			return f.status
		}
	}
	switch condition {
	case "com.microsoft:server-busy":
		return http.StatusServiceUnavailable
	case "com.microsoft:timeout":
		return http.StatusRequestTimeout
	case "amqp:not-found":
		return http.StatusNotFound
	case "amqp:unauthorized-access":
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}
