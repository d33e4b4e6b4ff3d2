package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func (a *App) machinesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "machines",
		Short: "List virtual machines and show how they are protected",
		Long: `List the virtual machines of the subscriptions jitgate looks after, and show how one
of them is protected and what was done to it.`,
		Example: `  jitgate machines list
  jitgate machines show web01`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return c.Help() }),
	}
	c.AddCommand(a.machinesListCommand(), a.machinesShowCommand(), a.machinesEventsCommand())
	return c
}

func (a *App) machinesListCommand() *cobra.Command {
	var filter client.MachineFilter
	c := &cobra.Command{
		Use:   "list [NAME]",
		Short: "List virtual machines, their states and their ids",
		Long: `List the virtual machines of the subscriptions jitgate looks after, or those of one
name. The state is that of the protection.`,
		Example: `  jitgate machines list
  jitgate machines list --state Blocked
  jitgate machines list web01 -o json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().StringVar(&filter.State, "state", "", "only machines in this state, for example Protected")
	complete(c, "state", cobra.FixedCompletions([]string{"Protecting", "Protected", "Unprotecting", "Unprotected", "Blocked"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
		if len(args) == 1 {
			filter.Name = args[0]
		}
		found, err := jit.Machines(c.Context(), filter)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			a.say("there are no such virtual machines")
		}
		return a.print(api.MachineList{Machines: found}, func(w io.Writer) {
			rows := make([]table.Row, len(found))
			for i, m := range found {
				rows[i] = table.Row{m.Name, a.state(m.State), m.ID}
			}
			if len(rows) > 0 {
				writeTable(w, table.Row{"Name", "State", "ID"}, rows)
			}
		})
	})
	return c
}

func (a *App) machinesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show VM",
		Short: "Show how a virtual machine is protected",
		Long: `Show whether and how a virtual machine is protected: the ports that are kept closed,
the network security groups, the rules that were removed and come back when the
protection ends, and what stands in the way.`,
		Example: `  jitgate machines show web01
  jitgate machines show web01 --wide
  jitgate machines show /subscriptions/…/virtualMachines/web01 -o json`,
		Args:              oneVM,
		ValidArgsFunction: a.completeMachines,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			p, err := a.protection(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { a.writeProtection(w, p) })
		}),
	}
}

func (a *App) protection(ctx context.Context, vm string) (api.Protection, error) {
	jit, id, err := a.machine(ctx, vm)
	if err != nil {
		return api.Protection{}, err
	}
	p, _, err := jit.Machine(ctx, id)
	return p, err
}

func (a *App) machinesEventsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "events VM",
		Short: "Show the record of a virtual machine's protection",
		Long: `Show who protected a virtual machine and ended it, what was changed in its network
security groups, when and why. What was done for a request is in the record of the
request: jitgate show ID --events.`,
		Example: `  jitgate machines events web01
  jitgate machines events web01 -o json`,
		Args:              oneVM,
		ValidArgsFunction: a.completeMachines,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			jit, id, err := a.machine(c.Context(), args[0])
			if err != nil {
				return err
			}
			events, err := jit.MachineEvents(c.Context(), id)
			if err != nil {
				return err
			}
			if len(events) == 0 {
				a.say("nothing is recorded of %s", lastPart(id))
			}
			return a.print(api.EventList{Events: events}, func(w io.Writer) {
				if len(events) > 0 {
					a.writeEvents(w, events)
				}
			})
		}),
	}
}

func (a *App) writeProtection(w io.Writer, p api.Protection) {
	facts := []table.Row{{"Machine:", a.name(p.VM)}, {"State:", a.state(p.State)}}
	facts = append(facts, a.wish(p)...)
	if p.By != nil {
		facts = append(facts, table.Row{"By:", a.person(*p.By)})
	}
	if p.ChangedAt != nil {
		facts = append(facts, table.Row{"Changed:", a.moment(*p.ChangedAt)})
	}
	if p.Reason != nil {
		facts = append(facts, table.Row{"Ended:", reasonText(p.Reason)})
	}
	writeTable(w, nil, facts)

	rows := make([]table.Row, len(p.NSGs))
	for i, n := range p.NSGs {
		removed := make([]string, len(n.Removed))
		for j, r := range n.Removed {
			removed[j] = fmt.Sprintf("%s (%d)", r.Name, r.Priority)
		}
		rows[i] = table.Row{a.name(n.NSG), strings.Join(n.Addresses, ", "), standing(n), strings.Join(removed, ", ")}
	}
	if len(rows) > 0 {
		_, _ = fmt.Fprintln(w)
		writeTable(w, table.Row{"NSG", "Addresses", "Written", "Removed rules"}, rows)
	}
	for _, problem := range problems(p) {
		_, _ = fmt.Fprintf(w, "\n%s\n", clean(problem))
	}
}

// wish tells what is wanted of a protection.
func (a *App) wish(p api.Protection) []table.Row {
	var facts []table.Row
	if len(p.Ports) > 0 {
		facts = append(facts, table.Row{"Ports:", rangeList(p.Ports)})
	}
	if p.AllInterfaces {
		facts = append(facts, table.Row{"Interfaces:", "all, as policy wants it"})
	}
	if p.FlushConnection {
		facts = append(facts, table.Row{"flushConnection:", "on"})
	}
	return facts
}

// standing is how far an NSG has come.
func standing(n api.ProtectedNSG) string {
	switch {
	case n.Done:
		return "yes"
	case n.Problem != nil:
		return "blocked"
	}
	return "not yet"
}

// problems are what stands in the way of a protection, a sentence for each NSG.
func problems(p api.Protection) []string {
	var all []string
	for _, n := range p.NSGs {
		if n.Problem != nil {
			all = append(all, lastPart(n.NSG)+" is blocked: "+reasonText(n.Problem))
		}
	}
	return all
}
