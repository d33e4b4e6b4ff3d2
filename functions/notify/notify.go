// Package notify is the Azure Function on queue "notices" and the messenger behind it:
// it says which channel is told of what, writes notices in the words of the API, and
// hands them to internal/notify, which delivers. It keeps nothing: what is still to be
// told follows from the record.
package notify

import (
	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function.
func New(service *access.Service) azfunc.Func { return azfunc.OnMessage(service.OnNoticeNudge) }
