package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

type requestFlags struct {
	vms, ports               []string
	source, duration, reason string
	key                      string
	breakGlass               bool
	wait                     waitFlags
}

func (a *App) requestCommand() *cobra.Command {
	var f requestFlags
	c := &cobra.Command{
		Use:   "request --vm NAME-OR-ID --port PORT",
		Short: "Ask for access to virtual machines",
		Long: `Ask for access to one or more virtual machines: the same ports on all of them, from
one source address, for a limited time. Policy decides, and how long is usual as well:
without --duration it is what the nearest policy says. What would pass is told by
jitgate policy explain.

A policy may want approvers to agree first; the time runs from when access opens.
--break-glass opens at once, without approval, for those whom policy names. It needs
a reason, everybody is told, and somebody else has to review it afterwards.

With --wait the command stays until all of it is open or has ended, and then shows
the rules and when they are removed. What was denied is told with every condition
that is not met. Without, the command ends once the request is accepted.

When the time is over, or the request is revoked, new connections are refused.
Connections that are open then go on until they end: a network security group does
not cut them.`,
		Example: `  jitgate request --vm web01 --port 22 --duration 1h --reason "INC-1042 disk full" --wait
  jitgate request --vm web01 --vm web02 --port 22 --port 53/udp --source 203.0.113.0/28
  jitgate request --vm web01 --port 22 --break-glass --reason "INC-1042 shop is down" --wait
  jitgate request --vm /subscriptions/…/virtualMachines/db01 --port 3389 --duration PT30M -o json`,
		Args: cobra.NoArgs,
		RunE: a.run(func(c *cobra.Command, _ []string) error { return a.request(c.Context(), f) }),
	}
	flags := c.Flags()
	flags.StringSliceVar(&f.vms, "vm", nil, "name or ARM id of a virtual machine; repeatable")
	flags.StringSliceVar(&f.ports, "port", nil, "port to open: 22, 22/tcp, 53/udp; repeatable")
	flags.StringVar(&f.source, "source", "", "address or range you come from (default the address the server sees)")
	flags.StringVar(&f.duration, "duration", "", "for how long: 1h, 90m, 1h30m or PT1H (default what policy says is usual)")
	flags.StringVar(&f.reason, "reason", "", "why access is needed; policy may ask for it")
	flags.BoolVar(&f.breakGlass, "break-glass", false, "open at once, without approval, for those whom policy names; a review is due afterwards")
	flags.StringVar(&f.key, "idempotency-key", "", "makes a repeat of this command return the same request (default a new one)")
	f.wait.add(c)
	required(c, "vm", "port")
	complete(c, "vm", a.completeMachines)
	return c
}

func (a *App) request(ctx context.Context, f requestFlags) error {
	jit, in, err := a.newRequest(ctx, f)
	if err != nil {
		return err
	}
	if f.key == "" {
		f.key = uuid.NewString()
	}
	r, _, err := jit.Create(ctx, in, f.key)
	if err != nil {
		return uncertain(err, f.key)
	}
	a.say("request %s is accepted", r.ID)
	if !f.wait.on {
		a.say("follow it with: jitgate show %s", r.ID)
		return a.printRequest(r)
	}
	return finish(ctx, a, a.following(jit, r.ID, a.opened), r, f.wait.timeout)
}

// newRequest is what the flags ask for, and a client to send it with.
func (a *App) newRequest(ctx context.Context, f requestFlags) (*client.Client, api.NewRequest, error) {
	in := api.NewRequest{Source: f.source, Justification: f.reason, BreakGlass: f.breakGlass}
	var err error
	if f.duration != "" {
		if in.Duration, err = parseDuration(f.duration); err != nil {
			return nil, in, err
		}
	}
	ports, err := parsePorts(f.ports)
	if err != nil {
		return nil, in, err
	}
	jit, err := a.client()
	if err != nil {
		return nil, in, err
	}
	for _, vm := range f.vms {
		id, err := machineID(ctx, jit, vm)
		if err != nil {
			return nil, in, err
		}
		in.Targets = append(in.Targets, api.NewTarget{VM: id, Ports: ports})
	}
	return jit, in, nil
}

// uncertain adds to an error after which the request may or may not exist how to
// find out without asking twice.
func uncertain(err error, key string) error {
	f := explain(err)
	if f.exit != exitUnavailable {
		return f
	}
	return f.hinting("it may have arrived; repeat the command with --idempotency-key " + key + " to not ask twice")
}

// opened is an error unless everything that was asked for is open. What is open
// and may not work all the same is only told.
func (a *App) opened(r api.Request) error {
	var closed []string
	for _, t := range r.Targets {
		if t.Warning != nil {
			a.say("warning: %s", warningOf(t))
		}
		if t.State != "Active" {
			closed = append(closed, fmt.Sprintf("%s is %s", lastPart(t.VM), t.State))
		}
	}
	if len(closed) == 0 {
		return nil
	}
	return &failure{exit: exitNoAccess, sentence: "no access: " + strings.Join(closed, ", ")}
}

// following is the errand of waiting for a request.
func (a *App) following(jit *client.Client, id string, judge func(api.Request) error) errand[api.Request] {
	return errand[api.Request]{
		name: "the request", look: "jitgate show " + id, undo: "jitgate revoke " + id,
		poll: func(ctx context.Context, seen func(api.Request)) (api.Request, error) {
			return jit.Wait(ctx, id, seen)
		},
		state:    func(r api.Request) string { return r.State },
		describe: a.describe, judge: judge, show: a.printRequest,
	}
}

func (a *App) describe(r api.Request) string {
	waits := a.waiting(r)
	if len(r.Targets) < 2 {
		if waits != "" {
			return r.State + ": " + waits
		}
		return explained(r.State)
	}
	each := make([]string, len(r.Targets))
	for i, t := range r.Targets {
		each[i] = lastPart(t.VM) + " " + t.State
	}
	text := r.State + ": " + strings.Join(each, ", ")
	if waits != "" {
		text += "; " + waits
	}
	return text
}
