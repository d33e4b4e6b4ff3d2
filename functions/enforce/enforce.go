// Package enforce is the Azure Function on the session queue "nsgs": a nudge to make
// an NSG match its grants. The session stands for the NSG, so the host never runs
// two of these for one NSG at a time. It decodes and calls; internal/access does
// the work.
package enforce

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
		return service.OnNSGNudge(ctx, body)
	}
}
