package cli

import (
	"context"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
)

func (a *App) extendCommand() *cobra.Command {
	var duration string
	var wait waitFlags
	c := &cobra.Command{
		Use:   "extend ID --duration DURATION",
		Short: "Let access that is open last longer",
		Long: `Let access that is open last longer: all of the request or nothing of it, as often as
policy allows and, counted from its opening, no longer than policy lets access last.
It is not approved again. What cannot be extended can be asked for anew.

With --wait the command stays until the rules say so.`,
		Example: `  jitgate extend 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --duration 30m
  jitgate extend 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --duration PT1H --wait`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              a.run(func(c *cobra.Command, args []string) error { return a.extend(c.Context(), args[0], duration, wait) }),
	}
	c.Flags().StringVar(&duration, "duration", "", "how much longer: 30m, 1h, 1h30m or PT1H")
	required(c, "duration")
	wait.add(c)
	return c
}

func (a *App) extend(ctx context.Context, id, duration string, wait waitFlags) error {
	longer, err := parseDuration(duration)
	if err != nil {
		return err
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	r, _, err := jit.Extend(once(ctx), id, api.NewExtension{Duration: longer})
	if err != nil {
		return doubtful(err, "jitgate show "+id)
	}
	a.say("request %s is extended by %s", r.ID, span(longer))
	if !wait.on {
		return a.printRequest(r)
	}
	return finish(ctx, a, a.following(jit, r.ID, a.opened), r, wait.timeout)
}
