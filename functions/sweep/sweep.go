// Package sweep is the Azure Function on a timer: it finds what lost messages and
// dead processes left behind. It calls; internal/access does the work.
package sweep

import (
	"context"
	"log/slog"

	"jitgate/internal/access"
	"jitgate/internal/azfunc"
)

// New returns the function. Its error fails the run in the host's log and nothing
// more: the next run is the repetition.
func New(service *access.Service, log *slog.Logger) azfunc.Func {
	return func(ctx context.Context, _ azfunc.Invocation) error {
		found, err := service.Sweep(ctx)
		log.InfoContext(ctx, "swept", "requests", found.Requests, "nsgs", found.NSGs, "wakeups", found.WakeUps, "drifted", found.Drifted, "machines", found.Machines)
		return err
	}
}
