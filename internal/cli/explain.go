package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func (a *App) explainCommand() *cobra.Command {
	var vm, port, source string
	c := &cobra.Command{
		Use:   "explain --vm NAME-OR-ID --port PORT",
		Short: "Say whether a connection reaches a virtual machine, and which rule decides",
		Long: `Say whether a new connection from one address reaches a port of a virtual machine,
rule by rule through every network security group on the way. In each table the last
rule decides; ✓ matches, – does not match, ? cannot be judged. What would open the
port is said, and what jitgate does not see.

The exit code is 0 whatever the answer is. For a script: -o json, and "verdict".`,
		Example: `  jitgate explain --vm web01 --port 22
  jitgate explain --vm web01 --port 53/udp --source 203.0.113.7
  jitgate explain --vm web01 --port 3389 -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return a.explain(c.Context(), vm, port, source) }),
	}
	flags := c.Flags()
	flags.StringVar(&vm, "vm", "", "name or ARM id of the virtual machine")
	flags.StringVar(&port, "port", "", "port: 22, 22/tcp, 53/udp")
	flags.StringVar(&source, "source", "", "address the connection comes from (default the address the server sees)")
	required(c, "vm", "port")
	complete(c, "vm", a.completeMachines)
	return c
}

func (a *App) explain(ctx context.Context, vm, port, source string) error {
	ports, err := parsePorts([]string{port})
	if err != nil {
		return err
	}
	jit, id, err := a.machine(ctx, vm)
	if err != nil {
		return err
	}
	e, err := jit.Explain(ctx, id, client.Question{Port: ports[0].Port, Protocol: ports[0].Protocol, Source: source})
	if err != nil {
		return err
	}
	return a.print(e, func(w io.Writer) { a.writeExplanation(w, e) })
}

// verdictWords are how a verdict is said: source, machine, port and protocol go in.
var verdictWords = map[string]string{
	"allow":   "%s reaches %s on %d/%s",
	"deny":    "%s does not reach %s on %d/%s",
	"depends": "whether %s reaches %s on %d/%s hangs on rules that cannot be judged here",
}

func (a *App) writeExplanation(w io.Writer, e api.Explanation) {
	_, _ = fmt.Fprint(w, a.verdict(e.Verdict))
	if words := verdictWords[e.Verdict]; words != "" {
		_, _ = fmt.Fprint(w, ": "+clean(fmt.Sprintf(words, e.Source, lastPart(e.VM), e.Port, e.Protocol)))
	}
	_, _ = fmt.Fprintln(w)
	for _, way := range e.Ways {
		a.writeWay(w, way)
	}
	if len(e.Grants) > 0 {
		rows := make([]table.Row, len(e.Grants))
		for i, g := range e.Grants {
			rows[i] = table.Row{g.Request, g.Rule, a.name(g.NSG), a.moment(g.ExpiresAt)}
		}
		_, _ = fmt.Fprint(w, "\nOpen grants that let this in\n")
		writeTable(w, table.Row{"Request", "Rule", "NSG", "Until"}, rows)
	}
	if e.Remedy != "" {
		_, _ = fmt.Fprintf(w, "\nTo open it: %s\n", clean(e.Remedy))
	}
	if e.Policy != "" {
		_, _ = fmt.Fprintf(w, "\nPolicy that would allow a request: %s\n", clean(e.Policy))
	}
	if len(e.Blind) > 0 {
		_, _ = fmt.Fprint(w, "\nNot seen\n")
	}
	for _, text := range e.Blind {
		_, _ = fmt.Fprintf(w, "- %s\n", clean(text))
	}
}

func (a *App) writeWay(w io.Writer, way api.Way) {
	_, _ = fmt.Fprintf(w, "\nAddress %s (%s): %s\n", clean(way.Address), clean(a.name(way.Interface)), a.verdict(way.Verdict))
	if len(way.NSGs) == 0 {
		_, _ = fmt.Fprintln(w, "no network security group filters here")
	}
	for _, n := range way.NSGs {
		_, _ = fmt.Fprintf(w, "\nNSG %s: %s\n", clean(a.name(n.NSG)), a.verdict(n.Verdict))
		rows := make([]table.Row, len(n.Steps))
		for i, s := range n.Steps {
			why := s.Why
			if i == len(n.Steps)-1 {
				why = join(why, "decides")
			}
			rows[i] = table.Row{a.matches(s.Matches), s.Priority, s.Rule, s.Access, why}
		}
		if len(rows) > 0 {
			writeTable(w, table.Row{"Matches", "Priority", "Rule", "Access", "Why"}, rows)
		}
	}
}

func join(text, more string) string {
	if text == "" {
		return more
	}
	return text + "; " + more
}

// verdict colours the word.
func (a *App) verdict(word string) any {
	switch word {
	case "allow":
		return a.paint(green, word)
	case "deny":
		return a.paint(red, word)
	}
	return a.paint(yellow, word)
}

func (a *App) matches(word string) any {
	switch word {
	case "yes":
		return a.paint(green, "✓")
	case "no":
		return a.paint(dim, "–")
	}
	return a.paint(yellow, "?")
}
