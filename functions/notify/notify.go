// Package notify is the Azure Function on queue "notices" and the messenger behind it:
// it says which channel is told of what, writes notices in the words of the API, and
// hands them to internal/notify, which delivers. It keeps nothing: what is still to be
// told follows from the record.
package notify

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
		return service.OnNoticeNudge(ctx, body)
	}
}
