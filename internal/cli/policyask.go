package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/policy"
)

func (a *App) policyExplainCommand() *cobra.Command {
	var f requestFlags
	var at string
	c := &cobra.Command{
		Use:   "explain --vm NAME-OR-ID --port PORT",
		Short: "Say what policy would answer to a request, without making one",
		Long: `Say what policy would answer to a request of yours: which policies are asked, every
condition that is not met with what would pass, whose consent is needed, how long
access could last, and whether you could break the glass. Nothing is opened and nobody
is told.

The exit code is 0 whatever the answer is. For a script: -o json, and "verdict".`,
		Example: `  jitgate policy explain --vm web01 --port 22
  jitgate policy explain --vm web01 --port 22 --duration 4h --reason "INC-1042" --source 198.51.100.7
  jitgate policy explain --vm web01 --port 3389 --at 2026-03-07T22:00:00Z -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return a.explainPolicy(c.Context(), f, at) }),
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.vms, "vm", nil, "name or ARM id of a virtual machine; repeatable")
	flags.StringSliceVar(&f.ports, "port", nil, "port to open: 22, 22/tcp, 53/udp; repeatable")
	flags.StringVar(&f.source, "source", "", "address or range you would come from (default the address the server sees)")
	flags.StringVar(&f.duration, "duration", "", "for how long: 1h, 90m, 1h30m or PT1H (default what policy says is usual)")
	flags.StringVar(&f.reason, "reason", "", "the reason you would give")
	flags.StringVar(&at, "at", "", "when it would be asked, such as 2026-03-07T22:00:00Z (default now)")
	flags.BoolVar(&f.breakGlass, "break-glass", false, "ask to open at once, without approval")
	required(c, "vm", "port")
	complete(c, "vm", a.completeMachines)
	return c
}

func (a *App) explainPolicy(ctx context.Context, f requestFlags, at string) error {
	var q api.PolicyQuestion
	if at != "" {
		t, err := policy.ParseInstant(at)
		if err != nil {
			return usage("%q is not a time; write one such as 2026-03-07T22:00:00Z", at)
		}
		q.At = &t
	}
	jit, in, err := a.newRequest(ctx, f)
	if err != nil {
		return err
	}
	q.NewRequest = in
	answers, err := jit.AskPolicy(ctx, q)
	if err != nil {
		return err
	}
	return a.print(api.PolicyAnswers{Answers: answers}, func(w io.Writer) {
		for i, answer := range answers {
			if i > 0 {
				_, _ = fmt.Fprintln(w)
			}
			a.writeAnswer(w, answer)
		}
	})
}

func (a *App) writeAnswer(w io.Writer, answer api.PolicyAnswer) {
	facts := []table.Row{{"Machine:", a.name(answer.VM)}, {"Answer:", a.verdict(answer.Verdict)}}
	if answer.Approval != nil {
		facts = append(facts, table.Row{"Needs:", consent(answer.Approval)})
	}
	longest := "no duration would pass"
	if answer.Longest != "" {
		longest = span(answer.Longest)
	}
	facts = append(facts, table.Row{"Longest:", longest}, table.Row{"Extensions:", answer.Extensions}, table.Row{"Break-glass:", yesNo(answer.BreakGlass)})
	head := "Asked:"
	for _, p := range strings.Split(answer.Policies, "; ") {
		if p != "" {
			facts = append(facts, table.Row{head, a.cited(p)})
			head = ""
		}
	}
	writeTable(w, nil, facts)
	if len(answer.Unmet) > 0 {
		_, _ = fmt.Fprint(w, "\nNot met\n")
		writeLines(w, conditions(answer.Unmet))
	}
}

// cited is a policy as decisions name it, with its hash only when that is wanted.
func (a *App) cited(policy string) string {
	if name, _, found := strings.Cut(policy, " sha256:"); found && !a.wide {
		return name
	}
	return policy
}

func (a *App) policyWhatIfCommand() *cobra.Command {
	var from, remove []string
	c := &cobra.Command{
		Use:   "what-if {-f FILE… | --remove SCOPE…}",
		Short: "Say which requests other policies would have decided differently",
		Long: `Say which access that is open, and which requests of the last 30 days, would have been
decided differently: with the given documents in place of or beside what is in force,
and without those to be removed. Of what waits and what is open it also says where
approval would be asked of others. A folder stands for its documents without cases.yaml.
Nothing is changed: access that is open stays open whatever policies say later.

Asks that were refused at once are not on record, so they are not looked at: that more
would be let in shows only in requests that were made.

The exit code is 0 whether or not there is a difference.`,
		Example: `  jitgate policy what-if -f policy.yaml
  jitgate policy what-if -f policies/ --remove /subscriptions/…/resourceGroups/web
  jitgate policy what-if -f tenant.yaml -f production.yaml -o json`,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			return a.whatIf(c.Context(), append(from, args...), remove)
		}),
	}
	c.Flags().StringSliceVarP(&from, "file", "f", nil, "file with a document, a folder with several, - for stdin; repeatable")
	c.Flags().StringSliceVar(&remove, "remove", nil, "scope of a plain policy, or key of any, to be taken out of force; repeatable")
	c.MarkFlagsOneRequired("file", "remove")
	complete(c, "remove", cobra.NoFileCompletions)
	return c
}

func (a *App) whatIf(ctx context.Context, paths, remove []string) error {
	d, err := a.documents(paths)
	if err != nil {
		return err
	}
	if len(d.faults) > 0 {
		return a.refuseFiles(nil, d.faults)
	}
	jit, err := a.client()
	if err != nil {
		return err
	}
	gone, err := inForce(ctx, jit, remove)
	if err != nil {
		return err
	}
	forecast, err := jit.WhatIf(ctx, api.PolicyChange{Documents: d.texts, Remove: gone})
	if err != nil {
		return err
	}
	if forecast.Partial {
		a.say("there is more than can be looked at; this is a part of it")
	}
	return a.print(forecast, func(w io.Writer) { a.writePolicyForecast(w, forecast) })
}

// inForce finds the policies that scopes, of plain ones, and keys stand for.
func inForce(ctx context.Context, jit *client.Client, names []string) ([]api.PolicyKey, error) {
	if len(names) == 0 {
		return nil, nil
	}
	found, err := jit.Policies(ctx, "")
	if err != nil {
		return nil, err
	}
	out := make([]api.PolicyKey, len(names))
	for i, name := range names {
		wanted := keyed(api.PolicyKey{Scope: name}).Key
		at := slices.IndexFunc(found, func(p api.Policy) bool { return p.Key == wanted || p.Key == name })
		if at < 0 {
			return nil, &failure{exit: exitNotFound, sentence: fmt.Sprintf("%q is neither the scope of a plain policy in force nor the key of any", name),
				hints: []string{"jitgate policy list --wide shows both"}}
		}
		out[i] = api.PolicyKey{Scope: found[at].Scope, Key: found[at].Key}
	}
	return out, nil
}

func (a *App) writePolicyForecast(w io.Writer, f api.PolicyForecast) {
	var rows []table.Row
	for _, d := range f.Differences {
		rows = append(rows, table.Row{d.Request, a.name(d.VM), a.person(d.Requester), a.moment(d.CreatedAt), a.state(d.State), a.verdict(d.Before), "→", a.verdict(d.After)})
		for _, u := range d.Unmet {
			rows = append(rows, table.Row{under(fmt.Sprintf("%s (%s)", u.Text, u.Code))})
		}
		if d.ApprovalBefore != nil && d.ApprovalAfter != nil {
			rows = append(rows, table.Row{under("before: " + consent(d.ApprovalBefore))}, table.Row{under("after: " + consent(d.ApprovalAfter))})
		}
	}
	if len(rows) > 0 {
		writeTable(w, table.Row{"Request", "VM", "Requester", "Asked", "State", "Before", "", "After"}, rows)
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprintf(w, "Looked at %s: %d would have been decided differently\n", plural(f.Looked, "request"), len(f.Differences))
}
