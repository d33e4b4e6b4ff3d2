package cli

import (
	"io"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
)

func (a *App) eventsCommand() *cobra.Command {
	var after, limit int
	c := &cobra.Command{
		Use:   "events",
		Short: "Show the installation's record: lockdowns, alerts, suspicious use, policy changes",
		Long: `Show what is on record of the whole installation, oldest first: lockdowns, what alerts
had done, suspicious use, changes of policies. What concerns one request is in its
own record (jitgate show ID --events), what concerns a machine in that one's
(jitgate machines events VM).`,
		Example: `  jitgate events
  jitgate events --after 120 --limit 50
  jitgate events -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error {
			if after < 0 || limit < 1 || limit > fullPage {
				return usage("--after is 0 or more, and --limit from 1 to %d", fullPage)
			}
			jit, err := a.client()
			if err != nil {
				return err
			}
			events, err := jit.Record(c.Context(), after, limit)
			if err != nil {
				return err
			}
			switch n := len(events); {
			case n == 0:
				a.say("nothing is on record behind %d", after)
			case n == limit:
				a.say("there may be more; go on with: jitgate events --after %d", events[n-1].Sequence)
			}
			return a.print(api.EventList{Events: events}, func(w io.Writer) {
				if len(events) > 0 {
					a.writeEvents(w, events)
				}
			})
		}),
	}
	c.Flags().IntVar(&after, "after", 0, "only what follows the event of this number")
	c.Flags().IntVar(&limit, "limit", fullPage, "most events to show, 1 to 200")
	return c
}
