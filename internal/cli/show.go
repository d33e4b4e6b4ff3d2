package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func (a *App) showCommand() *cobra.Command {
	var events bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a request and what became of it",
		Long: `Show a request: what was asked for, where each virtual machine stands, which rules
were written, and when access ends. With --events the record is shown as well: who
did what, when and why.`,
		Example: `  jitgate show 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11
  jitgate show 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 --events
  jitgate show 01990f3e-8a60-7cc1-9d0e-5f6e2c1f0a11 -o json`,
		Args:              oneID,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().BoolVar(&events, "events", false, "show the record too")
	c.RunE = a.call(func(c *cobra.Command, jit *client.Client, args []string) error {
		r, _, err := jit.Get(c.Context(), args[0])
		if err != nil {
			return err
		}
		if !events {
			return a.printRequest(r)
		}
		list, err := jit.Events(c.Context(), r.ID)
		if err != nil {
			return err
		}
		// The request with its record inside: it reads as either of the API's shapes.
		both := struct {
			api.Request
			api.EventList
		}{r, api.EventList{Events: list}}
		return a.print(both, func(w io.Writer) {
			a.writeRequest(w, r)
			_, _ = fmt.Fprintln(w)
			a.writeEvents(w, list)
		})
	})
	return c
}

// oneID wants one argument that can be an id.
func oneID(c *cobra.Command, args []string) error {
	return idOf("request", "jitgate list")(c, args)
}

// idOf wants one argument that can be the id of such a thing; a command shows them.
func idOf(thing, command string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(1)(c, args); err != nil {
			return usage("give the id of one %s; %s shows ids", thing, command)
		}
		if strings.Trim(args[0], ".") == "" { // would be another path
			return usage("%q is not the id of a %s; %s shows ids", args[0], thing, command)
		}
		return nil
	}
}

func (a *App) printRequest(r api.Request) error {
	return a.print(r, func(w io.Writer) { a.writeRequest(w, r) })
}

func (a *App) writeRequest(w io.Writer, r api.Request) {
	facts := []table.Row{
		{"Request:", r.ID},
		{"State:", a.state(r.State)},
		{"Requester:", a.person(r.Requester)},
		{"Source:", r.Source},
		{"Duration:", span(r.Duration)},
	}
	if r.Justification != "" {
		facts = append(facts, table.Row{"Reason:", r.Justification})
	}
	facts = append(facts, table.Row{"Created:", a.moment(r.CreatedAt)})
	if r.BreakGlass {
		facts = append(facts, table.Row{"Break-glass:", "yes"})
	}
	if r.DecideBy != nil && r.State == "AwaitingApproval" {
		facts = append(facts, table.Row{"Decide by:", a.moment(*r.DecideBy)})
	}
	if r.Extensions > 0 {
		facts = append(facts, table.Row{"Extended:", plural(r.Extensions, "time")})
	}
	if r.Review != nil {
		facts = append(facts, table.Row{"Review:", a.review(r.Review)})
	}
	writeTable(w, nil, facts)
	_, _ = fmt.Fprintln(w)

	var rows []table.Row
	var reasons [][]string
	for _, t := range r.Targets {
		first := table.Row{a.name(t.VM), portList(t.Ports), a.state(t.State)}
		for _, o := range t.NSGs {
			rows = append(rows, append(first, a.name(o.NSG)+" ("+o.State+")", strings.Join(o.Rules, ", "), a.end(t)))
			first = table.Row{"", "", ""}
		}
		if len(t.NSGs) == 0 {
			rows = append(rows, append(first, "", "", a.end(t)))
		}
		if t.Warning != nil {
			rows = append(rows, table.Row{under("warning: " + warningOf(t))})
		}
		if t.State == "AwaitingApproval" && t.Approval != nil {
			reasons = append(reasons, []string{needs(t)})
		}
		if lines := outcomeOf(t); len(lines) > 0 {
			reasons = append(reasons, lines)
		}
	}
	writeTable(w, table.Row{"VM", "Ports", "State", "NSG", "Rules", "Until"}, rows)
	for _, lines := range reasons {
		_, _ = fmt.Fprintln(w)
		writeLines(w, lines)
	}
	if len(r.Votes) > 0 {
		_, _ = fmt.Fprintln(w)
		a.writeVotes(w, r.Votes)
	}
}

func (a *App) writeEvents(w io.Writer, events []api.Event) {
	rows := make([]table.Row, len(events))
	for i, e := range events {
		at := e.At.In(a.Clock.Now().Location()).Format("2006-01-02 15:04:05 MST")
		rows[i] = table.Row{e.Sequence, at, e.Kind, a.person(api.Person{Object: e.Actor, Name: e.Name}), a.name(e.VM), a.name(e.NSG), e.Rule, e.Text}
	}
	writeTable(w, table.Row{"#", "At", "Kind", "By", "VM", "NSG", "Rule", "What"}, rows)
}
