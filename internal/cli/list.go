package cli

import (
	"context"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

// fullPage is the most the API gives in one page.
const fullPage = 200

func (a *App) listCommand() *cobra.Command {
	var filter client.Filter
	var allPages, awaiting bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List requests, newest first",
		Long: `List requests, newest first. Callers who may not see the requests of others get
their own. --awaiting lists those that wait for approvers, --review-due those for
which somebody broke the glass and nobody has reviewed it.`,
		Example: `  jitgate list --mine
  jitgate list --state active --vm web01
  jitgate list --awaiting
  jitgate list --all-pages -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error {
			if awaiting {
				filter.State = "AwaitingApproval"
			}
			return a.list(c.Context(), filter, allPages)
		}),
	}
	flags := c.Flags()
	flags.StringVar(&filter.State, "state", "", "only requests in this state, for example active")
	complete(c, "state", cobra.FixedCompletions([]string{"Pending", "AwaitingApproval", "Approved", "Active", "Closing", "Denied", "Rejected",
		"Lapsed", "Cancelled", "Failed", "Expired", "Revoked"}, cobra.ShellCompDirectiveNoFileComp))
	flags.StringVar(&filter.VM, "vm", "", "only requests for this virtual machine, by name or ARM id")
	complete(c, "vm", a.completeMachines)
	flags.BoolVar(&filter.Mine, "mine", false, "only your own requests")
	flags.BoolVar(&awaiting, "awaiting", false, "only requests that wait for approvers")
	flags.BoolVar(&filter.ReviewDue, "review-due", false, "only requests whose break-glass is to be reviewed")
	flags.IntVar(&filter.Limit, "limit", 50, "most requests to list, 1 to 200")
	flags.BoolVar(&allPages, "all-pages", false, "list all there are")
	c.MarkFlagsMutuallyExclusive("limit", "all-pages")
	c.MarkFlagsMutuallyExclusive("state", "awaiting")
	return c
}

func (a *App) list(ctx context.Context, filter client.Filter, allPages bool) error {
	if filter.Limit < 1 || filter.Limit > fullPage {
		return usage("--limit is from 1 to %d; use --all-pages for more", fullPage)
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	if filter.VM != "" {
		if filter.VM, err = machineID(ctx, jit, filter.VM); err != nil {
			return err
		}
	}
	if allPages {
		filter.Limit = fullPage
	}
	page, err := jit.List(ctx, filter)
	if err != nil {
		return err
	}
	for allPages && page.Next != "" {
		filter.Cursor = page.Next
		next, err := jit.List(ctx, filter)
		if err != nil {
			return err
		}
		page.Requests, page.Next = append(page.Requests, next.Requests...), next.Next
	}
	if len(page.Requests) == 0 {
		a.say("there are no such requests")
	}
	if page.Next != "" {
		a.say("there are more; list them with --all-pages")
	}
	return a.print(page, func(w io.Writer) {
		if len(page.Requests) > 0 {
			a.writeRequests(w, page.Requests)
		}
	})
}

func (a *App) writeRequests(w io.Writer, requests []api.Request) {
	var rows []table.Row
	for _, r := range requests {
		machines := distinct(r.Targets, func(t api.Target) []string { return []string{a.name(t.VM)} })
		ports := distinct(r.Targets, func(t api.Target) []string {
			each := make([]string, len(t.Ports))
			for i := range t.Ports {
				each[i] = portList(t.Ports[i : i+1])
			}
			return each
		})
		created := r.CreatedAt.In(a.Clock.Now().Location()).Format("2006-01-02 15:04 MST")
		until := ""
		if r.ExpiresAt != nil && underAccess(r.State) {
			until = a.moment(*r.ExpiresAt)
		}
		rows = append(rows, table.Row{r.ID, created, a.state(r.State), machines, ports, r.Source, r.Requester.Name, until})
		if waits := a.waiting(r); waits != "" {
			rows = append(rows, table.Row{under(waits)})
		}
		if r.Review != nil && r.Review.ClosedAt == nil {
			rows = append(rows, table.Row{under("review " + a.review(r.Review))})
		}
		for _, t := range r.Targets {
			if t.Warning != nil {
				rows = append(rows, table.Row{under("warning: " + warningOf(t))})
			}
		}
	}
	writeTable(w, table.Row{"ID", "Created", "State", "VMs", "Ports", "Source", "Requester", "Until"}, rows)
}
