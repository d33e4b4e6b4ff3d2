package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/local"
	standin "jitgate/internal/local/arm"
)

type reportResult struct {
	Bench            string  `json:"bench"`
	Machines         int     `json:"machines"`
	ARMCalls         int     `json:"arm_calls"`
	Seconds          float64 `json:"seconds"`
	BaselineARMCalls int     `json:"baseline_arm_calls"`
	BaselineSeconds  float64 `json:"baseline_seconds"`
}

const (
	estateSize         = 1000
	estateSubscription = "00000000-0000-0000-0000-000000000001"
	sideBySide         = 4 // as many as there are lists in a report
)

// report measures GET /api/machines/report over a thousand machines that are guarded
// in different ways, beside reading the same facts machine by machine.
func report(ctx context.Context, _ string) (any, error) {
	stack, service, stop, err := startEstate(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	estate, err := service.Network.Estate(ctx, estateSubscription)
	if err != nil {
		return nil, err
	}
	carol := as(stack, "carol")
	if _, err := carol.Report(ctx, nil); err != nil { // creates the tables and warms up
		return nil, err
	}
	result := reportResult{Bench: "report", Machines: len(estate.Machines)}
	stack.ARM.ResetCounts()
	began := time.Now()
	got, err := carol.Report(ctx, nil)
	if err != nil {
		return nil, err
	}
	result.Seconds, result.ARMCalls = seconds(began), armCalls(stack.ARM)
	if len(got.Machines) != estateSize {
		return nil, fmt.Errorf("the report is about %d of %d machines", len(got.Machines), estateSize)
	}
	result.BaselineSeconds, result.BaselineARMCalls, err = machineByMachine(ctx, stack, service.Network, estate.Machines)
	return result, err
}

// startEstate starts the varied estate and the product in this process.
func startEstate(ctx context.Context) (*local.Stack, *access.Service, func(), error) {
	estate := standin.Varied(estateSize)
	stack, err := local.Start(ctx, local.Options{Parts: []string{local.ServiceBus, local.Tables, local.Entra, local.ARM}, Topology: &estate, Log: quiet()})
	if err != nil {
		return nil, nil, nil, err
	}
	service, stopProduct, err := startProduct(stack)
	if err != nil {
		stack.Close()
		return nil, nil, nil, err
	}
	return stack, service, func() { stopProduct(); stack.Close() }, nil
}

// machineByMachine is what a script would do: of every machine the VM, its NICs,
// their subnets and networks, then each NSG once, all by a GET of its own. Four are
// read side by side.
func machineByMachine(ctx context.Context, stack *local.Stack, network access.Network, machines []access.Machine) (took float64, calls int, err error) {
	stack.ARM.ResetCounts()
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for _, m := range machines {
		group.Go(func() error {
			_, err := network.Locate(ctx, m.VM)
			return err
		})
	}
	for _, id := range groupsBefore(machines) {
		group.Go(func() error {
			_, err := network.Group(ctx, id)
			return err
		})
	}
	err = group.Wait()
	return seconds(began), armCalls(stack.ARM), err
}

// groupsBefore are the NSGs before machines, each once.
func groupsBefore(machines []access.Machine) []armid.ID {
	var out []armid.ID
	seen := map[string]bool{}
	for _, m := range machines {
		for _, i := range m.Interfaces {
			for _, id := range i.NSGs {
				if !seen[id.Key()] {
					seen[id.Key()] = true
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// armCalls are the calls since the last reset, looks at operations apart.
func armCalls(s *standin.Server) int {
	calls := 0
	for kind, n := range s.Counts() {
		if !strings.HasPrefix(kind, "operation.") {
			calls += n
		}
	}
	return calls
}
