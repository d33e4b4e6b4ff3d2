// Package evaluate is the Azure Function on queue "requests": a nudge to look at a
// request. It decodes and calls; internal/access decides.
package evaluate

import (
	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function.
func New(service *access.Service) azfunc.Func { return azfunc.OnMessage(service.OnRequestNudge) }
