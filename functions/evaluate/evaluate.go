// Package evaluate is the Azure Function on queue "requests": a nudge to look at a
// request. It decodes and calls; internal/access decides.
package evaluate

import (
	"context"
	"log/slog"

	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function. A message that names no request is settled and logged:
// delivering it again would not make it name one.
func New(service *access.Service, log *slog.Logger) azfunc.Func {
	return func(ctx context.Context, inv azfunc.Invocation) error {
		body, err := inv.Body("message")
		if err != nil {
			return err // the host's encoding is not what we know: keep the message
		}
		nudge, err := access.ParseNudge(body)
		if err != nil || nudge.Request == "" {
			log.ErrorContext(ctx, "a message on queue requests names no request; dropped", "invocation", inv.ID, "error", err)
			return nil
		}
		return service.Settle(ctx, service.Evaluate(ctx, nudge.Request))
	}
}
