// Package enforce is the Azure Function on the session queue "nsgs": a nudge to make
// an NSG match its grants. The session stands for the NSG, so the host never runs
// two of these for one NSG at a time. It decodes and calls; internal/access does
// the work.
package enforce

import (
	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function.
func New(service *access.Service) azfunc.Func { return azfunc.OnMessage(service.OnNSGNudge) }
