// Package evaluate is the Azure Function on queue "requests": a nudge to look at a
// request. It decodes and calls; internal/access decides.
package evaluate

import (
	"context"

	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function.
func New(service *access.Service) azfunc.Func {
	return func(ctx context.Context, inv azfunc.Invocation) error {
		body, err := inv.Body("message")
		if err != nil {
			return err // the host's encoding is not what we know: keep the message
		}
		return service.OnRequestNudge(ctx, body)
	}
}
