package notify

import (
	"errors"
	"fmt"
)

// Every error of Send wraps exactly one of these.
var (
	// ErrRetry: the same call may succeed later, once the receiver can be reached again
	// or its operator has put right why it does not take calls.
	ErrRetry = errors.New("the same call may succeed later")
	// ErrGone: repeating cannot help. The receiver refused this very message, nobody
	// waits for a callback any more, or the call was refused here and never made
	// (Status 0).
	ErrGone = errors.New("repeating the call cannot help")
)

// Error is what Send and Check return. It names the kind and the host, never the
// URL, a secret, or anything that the receiver sent: its text may be logged.
type Error struct {
	Kind   Kind   // "" if the target's is not known
	Host   string // "" if the URL has none that can be shown
	Status int    // HTTP status, 0 if there was no answer

	verdict error // ErrRetry or ErrGone
	reason  string
	cause   error // only errors whose text is fixed, such as context.Canceled
}

func (e *Error) Error() string { return "notify " + describe(e.Kind, e.Host) + ": " + e.reason }

// Unwrap returns ErrRetry or ErrGone, and the error of the context if that ended the call.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.verdict}
	}
	return []error{e.verdict, e.cause}
}

// describe shows no unknown kind, see failure.
func describe(kind Kind, host string) string {
	if !kind.known() {
		kind = "unknown kind"
	}
	if host == "" {
		return string(kind)
	}
	return fmt.Sprintf("%s at %s", kind, host)
}
