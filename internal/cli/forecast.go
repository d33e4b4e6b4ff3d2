package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"jitgate/internal/api"
)

func (a *App) printForecast(f api.Forecast) error {
	return a.print(f, func(w io.Writer) { a.writeForecast(w, f) })
}

// writeForecast writes what changes: the rules of each NSG, who can reach the
// ports before and after, and what should be known.
func (a *App) writeForecast(w io.Writer, f api.Forecast) {
	facts := []table.Row{{"Machine:", a.name(f.Protection.VM)}}
	if f.WhatIf {
		facts = append(facts, table.Row{"What if:", "nothing was changed"})
	} else {
		facts = append(facts, table.Row{"State:", a.state(f.Protection.State)})
	}
	writeTable(w, nil, append(facts, a.wish(f.Protection)...))
	for _, n := range f.NSGs {
		a.writeNSGChange(w, n)
	}
	a.writeVerdicts(w, f.Verdicts)
	if len(f.Warnings) > 0 {
		_, _ = fmt.Fprintln(w)
	}
	for _, warning := range f.Warnings {
		_, _ = fmt.Fprintf(w, "warning: %s\n", clean(a.finding(warning)))
	}
	for _, problem := range problems(f.Protection) {
		_, _ = fmt.Fprintf(w, "\n%s\n", clean(problem))
	}
}

func (a *App) writeNSGChange(w io.Writer, n api.NSGChange) {
	head := "NSG " + a.name(n.NSG)
	if n.FlushConnection != nil {
		head += ", flushConnection becomes " + onOff(*n.FlushConnection)
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", clean(head))
	if len(n.Rules) == 0 {
		_, _ = fmt.Fprintln(w, "no rule changes")
		return
	}
	rows := make([]table.Row, len(n.Rules))
	for i, r := range n.Rules {
		ports := make([]string, len(r.Ports))
		for j, p := range r.Ports {
			ports[j] = p + "/" + r.Protocol
		}
		rows[i] = table.Row{a.action(r.Action), r.Name, r.Priority, r.Access, a.some(ports), a.some(r.Sources), a.some(r.Destinations)}
	}
	writeTable(w, table.Row{"Action", "Rule", "Priority", "Access", "Ports", "Sources", "Destinations"}, rows)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *App) action(text string) any {
	switch text {
	case "add":
		return a.paint(green, text)
	case "remove":
		return a.paint(red, text)
	case "keep":
		return a.paint(dim, text)
	}
	return a.paint(yellow, text)
}

func (a *App) writeVerdicts(w io.Writer, verdicts []api.VerdictChange) {
	if len(verdicts) == 0 {
		return
	}
	rows := make([]table.Row, len(verdicts))
	for i, v := range verdicts {
		rows[i] = table.Row{v.Address, rangeList([]api.PortRange{v.Ports}), v.From, a.exposure(v.Before), "→", a.exposure(v.After)}
	}
	_, _ = fmt.Fprintln(w)
	writeTable(w, table.Row{"Address", "Ports", "From", "Before", "", "After"}, rows)
}

// exposure is who is let in and by which rule: "open: allow-ssh (nsg-web01, 300)".
func (a *App) exposure(e api.Exposure) any {
	text := a.reach(e)
	if by := a.deciders(e); by != "" {
		text += ": " + by
	}
	return a.paint(reachColour(e.Reach), text)
}

func (a *App) reach(e api.Exposure) string {
	if len(e.Allowed) == 0 {
		return e.Reach
	}
	return e.Reach + " (" + a.some(e.Allowed) + ")"
}

func reachColour(reach string) string {
	switch reach {
	case "open":
		return red
	case "closed":
		return green
	}
	return yellow
}

// deciders are the rules that decide, and those that might.
func (a *App) deciders(e api.Exposure) string {
	var texts []string
	for _, d := range e.By {
		texts = append(texts, a.decider(d))
	}
	for _, d := range e.Depends {
		texts = append(texts, "perhaps "+a.decider(d))
	}
	return a.some(texts)
}

func (a *App) decider(d api.Decider) string {
	return fmt.Sprintf("%s (%s, %d)", d.Rule, a.name(d.NSG), d.Priority)
}

// finding tells where something was found and what it is.
func (a *App) finding(f api.Finding) string {
	var at []string
	for _, part := range []string{a.name(f.NSG), f.Rule} {
		if part != "" {
			at = append(at, part)
		}
	}
	text := fmt.Sprintf("%s (%s)", f.Text, f.Code)
	if len(at) > 0 {
		text = strings.Join(at, ", ") + ": " + text
	}
	return text
}
