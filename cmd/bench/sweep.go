package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/client"
)

type sweepResult struct {
	Bench            string  `json:"bench"`
	Machines         int     `json:"machines"`
	Protected        int     `json:"protected"`
	Grants           int     `json:"grants"`
	NSGs             int     `json:"nsgs"`
	ARMCalls         int     `json:"arm_calls"`
	Seconds          float64 `json:"seconds"`
	BaselineARMCalls int     `json:"baseline_arm_calls"`
	BaselineSeconds  float64 `json:"baseline_seconds"`
}

const (
	sweepMachines = 200 // each protected and with one live grant
	sweepWorkers  = 16
	sweepPolicy   = `{apiVersion: jitgate/v1, scope: /subscriptions/` + estateSubscription + `, ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}], maxDuration: PT3H}`
)

// sweep measures one run of the five-minute timer where everything is as it should
// be, beside reading what is looked after machine by machine.
func sweep(ctx context.Context, _ string) (any, error) {
	stack, service, stop, err := startEstate(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := applyPolicy(ctx, stack, sweepPolicy); err != nil {
		return nil, err
	}
	estate, err := service.Network.Estate(ctx, estateSubscription)
	if err != nil {
		return nil, err
	}
	machines := protectable(estate.Machines)[:sweepMachines]
	groups := groupsBefore(machines)
	alice, carol := as(stack, "alice"), as(stack, "carol")
	if err := lookAfter(ctx, service, alice, carol, machines, groups); err != nil {
		return nil, err
	}
	result := sweepResult{Bench: "sweep", Machines: len(estate.Machines), NSGs: len(groups)}
	open, err := alice.List(ctx, client.Filter{State: "Active", Limit: sweepMachines})
	if err != nil {
		return nil, err
	}
	protected, err := carol.Machines(ctx, client.MachineFilter{State: "Protected"})
	if err != nil {
		return nil, err
	}
	if result.Grants, result.Protected = len(open.Requests), len(protected); result.Grants != sweepMachines || result.Protected != sweepMachines {
		return nil, fmt.Errorf("of %d machines %d are open and %d are protected", sweepMachines, result.Grants, result.Protected)
	}

	stack.ARM.ResetCounts()
	began := time.Now()
	found, err := service.Sweep(ctx)
	if err != nil {
		return nil, err
	}
	result.Seconds, result.ARMCalls = seconds(began), armCalls(stack.ARM)
	if found != (access.Swept{}) {
		return nil, fmt.Errorf("nothing was to be found, the sweep found %+v", found)
	}
	result.BaselineSeconds, result.BaselineARMCalls, err = machineByMachine(ctx, stack, service.Network, machines)
	return result, err
}

// protectable leaves out machines that have no public address or no NSG.
func protectable(all []access.Machine) []access.Machine {
	var out []access.Machine
	for _, m := range all {
		if first := m.Interfaces[0]; first.Public && len(first.NSGs) > 0 {
			out = append(out, m)
		}
	}
	return out
}

// lookAfter protects machines and opens a grant on each. It asks over HTTP and then
// does what the messages would lead to, since nothing consumes the queues here.
func lookAfter(ctx context.Context, service *access.Service, alice, carol *client.Client, machines []access.Machine, groups []armid.ID) error {
	asking, actx := errgroup.WithContext(ctx)
	asking.SetLimit(sweepWorkers)
	for _, m := range machines {
		asking.Go(func() error {
			if _, err := carol.Protect(actx, m.VM.String(), api.NewProtection{}, false); err != nil {
				return err
			}
			r, _, err := alice.Create(actx, askFor(m.VM.String()), "")
			if err != nil {
				return err
			}
			return service.Evaluate(actx, r.ID)
		})
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	enforcing, ectx := errgroup.WithContext(ctx)
	enforcing.SetLimit(sweepWorkers)
	for _, id := range groups {
		enforcing.Go(func() error { return service.Enforce(ectx, id) })
	}
	return enforcing.Wait()
}
