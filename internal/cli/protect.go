package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

const connectionsGoOn = `Connections that are open go on until they end: a network security group does not
cut them when its rules change.`

type protectFlags struct {
	ports  []string
	flush  bool
	wish   api.NewProtection
	whatIf bool
	wait   waitFlags
}

func (a *App) protectCommand() *cobra.Command {
	var f protectFlags
	c := &cobra.Command{
		Use:   "protect VM",
		Short: "Keep ports of a virtual machine closed until a request opens them",
		Long: `Keep ports of a virtual machine closed: a deny rule is written to its network security
groups, and rules that open the ports to everybody are removed if they serve nothing
else. A copy of them is kept; jitgate unprotect puts them back. With --what-if it is
only shown what would change: the rules, and who could reach the ports before and
after. A machine that is protected already gets the ports given now; without --port
it keeps those it has, so a repeat does no harm.

` + connectionsGoOn + ` With --flush-connection the groups' property
flushConnection is switched on, which asks Azure to judge open connections again
whenever a rule changes. It is one property of the whole group and affects every
machine behind it, and its effect is not proven: do not rely on it to cut anybody off.`,
		Example: `  jitgate protect web01 --what-if
  jitgate protect web01 --wait
  jitgate protect web01 --port 22 --port 5985-5986 --port 53/udp`,
		Args:              oneVM,
		ValidArgsFunction: a.completeMachines,
		RunE: a.run(func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("flush-connection") {
				f.wish.FlushConnection = &f.flush
			}
			return a.protect(c.Context(), args[0], f)
		}),
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.ports, "port", nil, "port or range to keep closed: 22, 5985-5986, 53/udp; repeatable (default those that are protected already, else 22 and 3389)")
	flags.BoolVar(&f.flush, "flush-connection", false, "switch flushConnection on (=false: off), for everything behind the NSGs; its effect is not proven")
	a.changeFlags(c, &f.whatIf, &f.wait)
	return c
}

// changeFlags are those of commands that change a protection.
func (a *App) changeFlags(c *cobra.Command, whatIf *bool, wait *waitFlags) {
	c.Flags().BoolVar(whatIf, "what-if", false, "show what would change, and change nothing")
	wait.add(c)
	c.MarkFlagsMutuallyExclusive("what-if", "wait")
}

func (a *App) protect(ctx context.Context, vm string, f protectFlags) error {
	var err error
	if f.wish.Ports, err = parsePortRanges(f.ports); err != nil {
		return err
	}
	jit, id, err := a.machine(ctx, vm)
	if err != nil {
		return err
	}
	forecast, err := jit.Protect(ctx, id, f.wish, f.whatIf)
	if err != nil {
		return repeatable(err, vm, f.whatIf)
	}
	return a.change(ctx, jit, vm, forecast, "Protected", "jitgate unprotect "+vm, f.wait)
}

type unprotectFlags struct {
	priorities []string
	whatIf     bool
	wait       waitFlags
}

func (a *App) unprotectCommand() *cobra.Command {
	var f unprotectFlags
	c := &cobra.Command{
		Use:   "unprotect VM",
		Short: "End the protection of a virtual machine",
		Long: `End the protection of a virtual machine: the deny rules go, and the rules that
protecting removed come back as they were. With --what-if it is only shown what would
change.

A rule comes back at its own priority. If another rule has taken that meanwhile,
--priority gives it a different one; where one rule only is to come back, the number
is enough.

` + connectionsGoOn,
		Example: `  jitgate unprotect web01 --what-if
  jitgate unprotect web01 --wait
  jitgate unprotect web01 --priority allow-ssh=310 --priority allow-rdp=320`,
		Args:              oneVM,
		ValidArgsFunction: a.completeMachines,
		RunE:              a.run(func(c *cobra.Command, args []string) error { return a.unprotect(c.Context(), args[0], f) }),
	}
	c.Flags().StringSliceVar(&f.priorities, "priority", nil, "RULE=NUMBER: another priority for a rule that comes back; repeatable")
	a.changeFlags(c, &f.whatIf, &f.wait)
	return c
}

func (a *App) unprotect(ctx context.Context, vm string, f unprotectFlags) error {
	priorities, err := parsePriorities(f.priorities)
	if err != nil {
		return err
	}
	jit, id, err := a.machine(ctx, vm)
	if err != nil {
		return err
	}
	if number, bare := priorities[""]; bare {
		p, _, err := jit.Machine(ctx, id)
		if err != nil {
			return err
		}
		rule, err := onlyRemoved(p)
		if err != nil {
			return err
		}
		priorities = map[string]int{rule: number}
	}
	forecast, err := jit.Unprotect(ctx, id, api.EndProtection{Priorities: priorities}, f.whatIf)
	if err != nil {
		return repeatable(err, vm, f.whatIf)
	}
	return a.change(ctx, jit, vm, forecast, "Unprotected", "", f.wait)
}

// parsePriorities reads "allow-ssh=310". A number alone is kept under no name, and
// must be the only one.
func parsePriorities(texts []string) (map[string]int, error) {
	priorities := map[string]int{}
	for _, text := range texts {
		rule, digits, named := strings.Cut(text, "=")
		if !named {
			rule, digits = "", text
		}
		number, err := strconv.Atoi(digits)
		if err != nil || named && rule == "" {
			return nil, usage("%q is not a priority; write RULE=NUMBER such as allow-ssh=310", text)
		}
		for other := range priorities {
			if other == "" || rule == "" {
				return nil, usage("a priority without the name of a rule must be the only one; write RULE=NUMBER")
			}
			if strings.EqualFold(other, rule) {
				return nil, usage("two priorities are given for the rule %q", rule)
			}
		}
		priorities[rule] = number
	}
	return priorities, nil
}

// onlyRemoved is the name of the one rule that is to come back.
func onlyRemoved(p api.Protection) (string, error) {
	var name string
	var rules []string
	for _, n := range p.NSGs {
		for _, r := range n.Removed {
			name = r.Name
			rules = append(rules, fmt.Sprintf("%s (%d) in %s", r.Name, r.Priority, lastPart(n.NSG)))
		}
	}
	switch len(rules) {
	case 0:
		return "", usage("no rule of %s is to come back, so none needs a priority", lastPart(p.VM))
	case 1:
		return name, nil
	}
	f := usage("%d rules of %s are to come back; say which one the priority is for", len(rules), lastPart(p.VM))
	f.lines, f.hints = rules, []string{"write --priority RULE=NUMBER"}
	return "", f
}

// repeatable adds to an error after which the change may or may not be under way
// that asking twice does no harm.
func repeatable(err error, vm string, whatIf bool) error {
	f := explain(err)
	if f.exit != exitUnavailable || whatIf {
		return f
	}
	return f.hinting("it may have arrived; repeating the command does no harm, and jitgate machines show " + vm + " tells")
}

// change tells of a change that was accepted, or only forecast.
func (a *App) change(ctx context.Context, jit *client.Client, vm string, forecast api.Forecast, want, undo string, wait waitFlags) error {
	if forecast.WhatIf {
		a.say("nothing was changed; this is what would be")
		return a.printForecast(forecast)
	}
	look := "jitgate machines show " + vm
	a.say("%s is to be %s", lastPart(forecast.Protection.VM), strings.ToLower(want))
	if !wait.on {
		a.say("follow it with: %s", look)
		return a.printForecast(forecast)
	}
	return finish(ctx, a, errand[api.Protection]{
		name: lastPart(forecast.Protection.VM), look: look, undo: undo,
		poll: func(ctx context.Context, seen func(api.Protection)) (api.Protection, error) {
			return jit.WaitMachine(ctx, forecast.Protection.VM, seen)
		},
		state:    func(p api.Protection) string { return p.State },
		describe: describeProtection,
		judge:    func(p api.Protection) error { return become(want, p, look) },
		show: func(p api.Protection) error {
			forecast.Protection = p
			return a.printForecast(forecast)
		},
	}, forecast.Protection, wait.timeout)
}

func describeProtection(p api.Protection) string {
	if len(p.NSGs) < 2 || meaning[p.State] == "" {
		return explained(p.State)
	}
	done := 0
	for _, n := range p.NSGs {
		if n.Done {
			done++
		}
	}
	return fmt.Sprintf("%s, %d of %d NSGs done", explained(p.State), done, len(p.NSGs))
}

// become is an error unless a settled protection is in the state that was wanted.
func become(want string, p api.Protection, look string) error {
	if p.State == want {
		return nil
	}
	f := &failure{exit: exitConflict, sentence: fmt.Sprintf("%s is %s and not %s: somebody changed its protection meanwhile", lastPart(p.VM), p.State, want),
		hints: []string{"look at it with: " + look}}
	if p.State != "Blocked" {
		return f
	}
	f.sentence = lastPart(p.VM) + " is Blocked: something stands in the way"
	f.lines = problems(p)
	f.hints = nil
	for _, n := range p.NSGs {
		if n.Problem != nil && wayOut[n.Problem.Code] != "" && !slices.Contains(f.hints, wayOut[n.Problem.Code]) {
			f.hints = append(f.hints, wayOut[n.Problem.Code])
		}
	}
	f.hints = append(f.hints, "it is tried again whenever the NSG is looked at; look again with: "+look)
	return f
}
