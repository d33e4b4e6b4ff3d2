// Package enforce is the Azure Function on the session queue "nsgs": a nudge to make
// an NSG match its grants. The session stands for the NSG, so the host never runs
// two of these for one NSG at a time. It decodes and calls; internal/access does
// the work.
package enforce

import (
	"context"
	"log/slog"

	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function. A message that names no NSG is settled and logged:
// delivering it again would not make it name one.
func New(service *access.Service, log *slog.Logger) azfunc.Func {
	return func(ctx context.Context, inv azfunc.Invocation) error {
		body, err := inv.Body("message")
		if err != nil {
			return err // the host's encoding is not what we know: keep the message
		}
		nudge, err := access.ParseNudge(body)
		if err != nil || nudge.NSG.IsZero() {
			log.ErrorContext(ctx, "a message on queue nsgs names no NSG; dropped", "invocation", inv.ID, "error", err)
			return nil
		}
		return service.Settle(ctx, service.Enforce(ctx, nudge.NSG))
	}
}
