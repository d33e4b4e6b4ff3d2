package azfunc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Func is a function body. A nil error completes the message; any error abandons it, to be delivered again at once.
// It may be called more than once for one message, and concurrently for different ones. The context ends only when the
// host's connection does: the host never cancels an invocation, it kills the process.
type Func func(ctx context.Context, inv Invocation) error

// OnMessage is the function of a queue whose message is bound to the name "message": it hands the body to f. A
// message whose encoding is not what we know is kept.
func OnMessage(f func(ctx context.Context, body []byte) error) Func {
	return func(ctx context.Context, inv Invocation) error {
		body, err := inv.Body("message")
		if err != nil {
			return err
		}
		return f(ctx, body)
	}
}

// Handler adapts f to the host: 200 with {} when f returns nil; 500 when it fails or panics; 400 when the request is
// no invocation. It writes one summary line per request; error answers carry no detail, since the host drops them.
func Handler(f Func, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		inv, err := Decode(r)
		if err != nil {
			log.LogAttrs(r.Context(), slog.LevelError, "invocation refused",
				slog.String("function", inv.Function), slog.String("invocation", inv.ID), slog.Any("error", err))
			answer(w, http.StatusBadRequest, "This address only accepts invocations by the Azure Functions host.")
			return
		}
		err = call(r.Context(), f, inv)
		attrs := []slog.Attr{
			slog.String("function", inv.Function), slog.String("invocation", inv.ID), slog.String("message", inv.MessageID),
			slog.Int("delivery", inv.DeliveryCount), slog.Int64("ms", time.Since(start).Milliseconds()),
		}
		if err == nil {
			log.LogAttrs(r.Context(), slog.LevelInfo, "invocation succeeded", attrs...)
			answer(w, http.StatusOK, "")
			return
		}
		attrs = append(attrs, slog.Any("error", err))
		if p := (*panicError)(nil); errors.As(err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
		log.LogAttrs(r.Context(), slog.LevelError, "invocation failed", attrs...)
		answer(w, http.StatusInternalServerError, "The invocation failed; the reason is in the handler's log.")
	})
}

// panicError is a recovered panic, with the stack of the place that raised it.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// call runs f and turns a panic into an error: net/http would recover it too, but by cutting the connection, which
// the host reports as a crashed worker rather than as this function's failure.
func call(ctx context.Context, f Func, inv Invocation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v, debug.Stack()}
		}
	}()
	return f(ctx, inv)
}

// answer writes {} for success and a problem document (RFC 9457) otherwise; never an empty body.
func answer(w http.ResponseWriter, status int, detail string) {
	body, media := []byte("{}"), "application/json"
	if status != http.StatusOK {
		media = "application/problem+json"
		body, _ = json.Marshal(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the peer is gone; the host counts that as a failure by itself
}
