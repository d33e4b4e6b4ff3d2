package cli

import (
	"context"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/policy"
)

type lockdownFlags struct{ user, vm, scope, until, reason string }

func (a *App) lockdownCommand() *cobra.Command {
	var f lockdownFlags
	c := &cobra.Command{
		Use:   "lockdown {--user OBJECT-ID | --vm NAME-OR-ID | --scope ID} --reason TEXT",
		Short: "Close everything of a person, a machine or a scope, and keep it closed",
		Long: `Close everything that is open under a lockdown in one step, and refuse new access
until the lockdown is lifted or its time is over. It covers a person or application,
a virtual machine, a resource group, a subscription, or with --scope tenant
everything. No policy and no break-glass gets past it, and whoever is locked down
can lift none. Only an administrator locks down a person.

` + connectionsGoOn,
		Example: `  jitgate lockdown --vm web01 --until 4h --reason "INC-1042 brute force"
  jitgate lockdown --user 7b0c3a52-60c1-4b8e-8f2a-d1f0a5f5a001 --reason "account stolen"
  jitgate lockdown --scope tenant --until 2026-11-20T18:00:00Z --reason "INC-1042"
  jitgate lockdown list
  jitgate lockdown lift 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return a.lockdown(c.Context(), f) }),
	}
	flags := c.Flags()
	flags.StringVar(&f.user, "user", "", "object id of the person or application")
	flags.StringVar(&f.vm, "vm", "", "name or ARM id of the virtual machine")
	flags.StringVar(&f.scope, "scope", "", "id of the subscription, resource group or virtual machine, or tenant for everything")
	flags.StringVar(&f.until, "until", "", "for how long, such as 4h, or until when, such as 2026-11-20T18:00:00Z (default until somebody lifts it)")
	flags.StringVar(&f.reason, "reason", "", "why; whoever is refused gets to read it")
	required(c, "reason")
	c.MarkFlagsOneRequired("user", "vm", "scope")
	c.MarkFlagsMutuallyExclusive("user", "vm", "scope")
	complete(c, "vm", a.completeMachines)
	c.AddCommand(a.lockdownListCommand(), a.lockdownLiftCommand())
	return c
}

func (a *App) lockdown(ctx context.Context, f lockdownFlags) error {
	in := api.NewLockdown{User: f.user, Scope: f.scope, Reason: f.reason}
	if f.until != "" {
		until, err := a.parseEnd(f.until)
		if err != nil {
			return err
		}
		in.Until = until.UTC().Format(time.RFC3339)
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	if f.vm != "" {
		if in.Scope, err = machineID(ctx, jit, f.vm); err != nil {
			return err
		}
	}
	locked, err := jit.LockDown(once(ctx), in)
	if err != nil {
		return doubtful(err, "jitgate lockdown list")
	}
	a.say("%s is locked down, which ends %s; their rules go within seconds", a.whatIsLocked(locked.Lockdown), plural(locked.Ended, "request"))
	a.say("lift it with: jitgate lockdown lift %s", locked.Lockdown.ID)
	return a.print(locked, func(w io.Writer) { a.writeLockdowns(w, []api.Lockdown{locked.Lockdown}) })
}

// parseEnd reads "4h" as four hours from now, and "2026-11-20T18:00:00Z".
func (a *App) parseEnd(text string) (time.Time, error) {
	if t, err := policy.ParseInstant(text); err == nil {
		return t, nil
	}
	d, err := durationOf(text)
	if err != nil {
		return time.Time{}, usage("%q is neither a duration such as 4h nor a time such as 2026-11-20T18:00:00Z", text)
	}
	return a.Clock.Now().Add(d), nil
}

func (a *App) lockdownListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the lockdowns in force",
		Example: `  jitgate lockdown list
  jitgate lockdown list -o json`,
		Args: cobra.NoArgs,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, _ []string) error {
			found, err := jit.Lockdowns(c.Context())
			if err != nil {
				return err
			}
			return a.printLockdowns(found)
		}),
	}
}

func (a *App) lockdownLiftCommand() *cobra.Command {
	var comment string
	c := &cobra.Command{
		Use:   "lift ID",
		Short: "End a lockdown",
		Long: `End a lockdown, so that access can be asked for again. What it closed stays closed.
Those still in force are listed.`,
		Example: `  jitgate lockdown list
  jitgate lockdown lift 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --comment "source is blocked at the firewall"`,
		Args:              idOf("lockdown", "jitgate lockdown list"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
			left, err := jit.LiftLockdown(c.Context(), args[0], api.LiftLockdown{Comment: comment})
			if err != nil {
				return err
			}
			a.say("lockdown %s is lifted", args[0])
			return a.printLockdowns(left)
		}),
	}
	c.Flags().StringVar(&comment, "comment", "", "why it is lifted, for the record")
	return c
}

func (a *App) printLockdowns(all []api.Lockdown) error {
	if len(all) == 0 {
		a.say("no lockdown is in force")
	}
	return a.print(api.LockdownList{Lockdowns: all}, func(w io.Writer) {
		if len(all) > 0 {
			a.writeLockdowns(w, all)
		}
	})
}

func (a *App) writeLockdowns(w io.Writer, all []api.Lockdown) {
	rows := make([]table.Row, len(all))
	for i, l := range all {
		until := "it is lifted"
		switch {
		case l.Alert != "":
			until = "the alert is resolved"
		case l.Until != nil:
			until = a.moment(*l.Until)
		}
		rows[i] = table.Row{l.ID, a.whatIsLocked(l), until, a.person(l.By), a.moment(l.At), l.Reason}
	}
	writeTable(w, table.Row{"ID", "Locked down", "Until", "By", "Since", "Reason"}, rows)
}

// whatIsLocked names what a lockdown covers.
func (a *App) whatIsLocked(l api.Lockdown) string {
	var scope policy.Scope
	switch {
	case l.User != "":
		return "user " + l.User
	case a.wide, scope.UnmarshalText([]byte(l.Scope)) != nil:
		return l.Scope
	}
	return policy.Document{Scope: scope}.Name()
}
