package cli

import (
	"io"

	"github.com/spf13/cobra"

	"jitgate/internal/client"
)

func (a *App) alertsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts",
		Short: "Show and change which alert does what",
		Long: `One document says what alerts of Azure Monitor, and of whatever else reports them, do:
close a machine, lock it down, or let a group in without an approver. An alert that no
rule names does nothing.`,
		Example: `  jitgate alerts show
  jitgate alerts apply -f alerts.yaml`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return c.Help() }),
	}
	c.AddCommand(a.alertsApplyCommand(), a.alertsShowCommand())
	return c
}

func (a *App) alertsApplyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Put the alert rules in force",
		Long: `Put a document with alert rules, YAML or JSON, in force in place of the one there is.
An installation may want a second administrator to agree; until then nothing has
changed.`,
		Example: `  jitgate alerts apply -f alerts.yaml
  generate-rules | jitgate alerts apply -f -`,
		Args: cobra.NoArgs,
	}
	return a.applying(c, (*client.Client).ApplyAlertRules)
}

func (a *App) alertsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the alert rules in force",
		Long: `Show the alert rules in force: the document as it was handed in, so that it can be
edited and applied again.`,
		Example: `  jitgate alerts show > alerts.yaml
  jitgate alerts show -o json`,
		Args: cobra.NoArgs,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, _ []string) error {
			rules, err := jit.AlertRules(c.Context())
			if err != nil {
				return err
			}
			if rules.Version == 0 {
				a.say("there are no alert rules, so alerts do nothing; put some in force with: jitgate alerts apply -f FILE")
				return a.print(rules, func(io.Writer) {})
			}
			a.say("version %d, by %s on %s", rules.Version, a.person(rules.By), a.moment(rules.At))
			return a.print(rules, func(w io.Writer) { _, _ = io.WriteString(w, ended(rules.Document)) })
		}),
	}
}
