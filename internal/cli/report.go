package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/client"
)

func (a *App) reportCommand() *cobra.Command {
	var groups, subscriptions []string
	c := &cobra.Command{
		Use:   "report",
		Short: "Say of every virtual machine whether its management ports are closed",
		Long: `Say of every virtual machine who can reach its management ports and the ports it is
protected on, from the internet and from inside the virtual network, whether jitgate
keeps them closed, and which rule decides. Access that was granted does not count.

A port is closed only if that is proven: where a rule decides that cannot be judged,
the machine counts as open. The exit code is 0 if all machines are closed to the
internet and 2 if one is not.

CSV has a line for every machine, address and port range. Cells that a spreadsheet
would take for a formula start with an apostrophe.`,
		Example: `  jitgate report
  jitgate report -g rg-web -g rg-db
  jitgate report --subscription 00000000-0000-0000-0000-000000000001 -o csv > report.csv`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return a.reportOn(c.Context(), groups, subscriptions) }),
	}
	flags := c.Flags()
	formats := []string{formatTable, formatJSON, formatCSV}
	flags.VarP(formatFlag{&a.format, formats}, "output", "o", "table, json or csv; json has the shape of the HTTP API")
	flags.StringSliceVarP(&groups, "resource-group", "g", nil, "only machines in resource groups of this name; repeatable")
	flags.StringSliceVar(&subscriptions, "subscription", nil, "only machines in this subscription, by its id; repeatable")
	complete(c, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	complete(c, "resource-group", cobra.NoFileCompletions)
	complete(c, "subscription", cobra.NoFileCompletions)
	return c
}

func (a *App) reportOn(ctx context.Context, groups, subscriptions []string) error {
	within, err := parseSubscriptions(subscriptions)
	if err != nil {
		return err
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	scopes := within
	if len(groups) > 0 {
		if scopes, err = resourceGroups(ctx, jit, groups, within); err != nil {
			return err
		}
	}
	ids := make([]string, len(scopes))
	for i, scope := range scopes {
		ids[i] = scope.String()
	}
	r, err := jit.Report(ctx, ids)
	if err != nil {
		return err
	}
	if len(r.Machines) == 0 {
		a.say("there are no virtual machines to report on")
	}
	return errors.Join(a.print(r, func(w io.Writer) {
		if a.format == formatCSV {
			writeReportCSV(w, r)
		} else {
			a.writeReport(w, r)
		}
	}), allClosed(r))
}

// allClosed is an error unless every machine is proven closed.
func allClosed(r api.Report) error {
	open := 0
	for _, m := range r.Machines {
		if !m.Closed {
			open++
		}
	}
	if open == 0 {
		return nil
	}
	return &failure{exit: exitCheck, sentence: fmt.Sprintf("open, or not proven closed: %d of %d virtual machines", open, len(r.Machines))}
}

// parseSubscriptions reads ids of subscriptions, as UUIDs or as ARM ids.
func parseSubscriptions(texts []string) ([]armid.ID, error) {
	var ids []armid.ID
	for _, text := range texts {
		full := text
		if !strings.HasPrefix(text, "/") {
			full = "/subscriptions/" + text
		}
		id, err := armid.Parse(full)
		if err != nil || id.ResourceGroup() != "" {
			return nil, usage("%q is not the id of a subscription; az account show --query id tells it", text)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// resourceGroups finds the groups of these names that hold machines, in the given
// subscriptions or, without any, in all. A name that fits none is an error: a
// report on nothing would look like one on machines that are closed.
func resourceGroups(ctx context.Context, jit *client.Client, names []string, within []armid.ID) ([]armid.ID, error) {
	machines, err := jit.Machines(ctx, client.MachineFilter{})
	if err != nil {
		return nil, err
	}
	var found []armid.ID
	for _, name := range names {
		fits := false
		for _, m := range machines {
			id, err := armid.Parse(m.ID)
			if err != nil {
				return nil, fmt.Errorf("the server gave a machine with the id %q: %w", m.ID, err)
			}
			if !strings.EqualFold(id.ResourceGroup(), name) || len(within) > 0 && !slices.ContainsFunc(within, id.Within) {
				continue
			}
			fits = true
			group := id.Scopes()[1] // behind the machine itself
			if !slices.ContainsFunc(found, group.Equal) {
				found = append(found, group)
			}
		}
		if !fits {
			return nil, &failure{exit: exitNotFound, sentence: fmt.Sprintf("no virtual machine is in a resource group called %q", name), hints: []string{listMachines}}
		}
	}
	return found, nil
}

func (a *App) writeReport(w io.Writer, r api.Report) {
	var rows, findings []table.Row
	for _, m := range r.Machines {
		for _, p := range m.Ports {
			rows = append(rows, table.Row{a.name(m.VM), p.Address, rangeList([]api.PortRange{p.Ports}),
				a.paint(reachColour(p.Internet.Reach), a.reach(p.Internet)), a.reach(p.Network), yesNo(p.Protected), a.deciders(p.Internet)})
		}
		if len(m.Ports) == 0 { // nothing could be looked at, or it has no address
			rows = append(rows, table.Row{a.name(m.VM), "", "", a.proof(m.Closed), "", yesNo(m.Protected), ""})
		}
		for _, f := range m.Findings {
			findings = append(findings, table.Row{a.name(m.VM), f.Code, a.name(f.NSG), f.Rule, f.Text})
		}
	}
	if len(rows) > 0 {
		writeTable(w, table.Row{"Machine", "Address", "Ports", "Internet", "Virtual network", "JIT", "Decided by"}, rows)
		_, _ = fmt.Fprintln(w)
	}
	if len(findings) > 0 {
		writeTable(w, table.Row{"Machine", "Finding", "NSG", "Rule", "What"}, findings)
		_, _ = fmt.Fprintln(w)
	}
	s := r.Summary
	_, _ = fmt.Fprintf(w, "Checked %s: virtual machines %d, closed %d, open or not proven closed %d, protected %d\n",
		a.moment(r.CheckedAt), s.Machines, s.Closed, s.Open, s.Protected)
}

// proof is what is known of a machine without a port to judge.
func (a *App) proof(closed bool) any {
	if closed {
		return a.paint(green, "closed")
	}
	return a.paint(yellow, "unknown")
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
