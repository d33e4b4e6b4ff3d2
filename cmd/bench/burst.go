package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"golang.org/x/sync/errgroup"

	"jitgate/internal/api"
	"jitgate/internal/local"
	standin "jitgate/internal/local/arm"
)

type burstResult struct {
	Bench             string  `json:"bench"`
	Requests          int     `json:"requests"`
	NSGWrites         int     `json:"nsg_writes"`
	Seconds           float64 `json:"seconds"`
	BaselineNSGWrites int     `json:"baseline_nsg_writes"`
	BaselineSeconds   float64 `json:"baseline_seconds"`
}

const (
	burstSize    = 100
	burstLatency = time.Second // of every write to an NSG
	fleetGroup   = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-fleet"
	fleetPolicy  = `{apiVersion: jitgate/v1, scope: ` + fleetGroup + `, ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}], maxDuration: PT3H}`
)

// burst asks for 100 VMs behind one NSG at once and waits until all are open; beside
// it, a bare loop writes the same hundred rules one PUT at a time.
func burst(ctx context.Context, app string) (any, error) {
	result := burstResult{Bench: "burst", Requests: burstSize}
	fleet := standin.Fleet(burstSize)
	stack, err := local.Start(ctx, local.Options{AppRoot: app, Topology: &fleet, ARMLatency: burstLatency, Log: quiet()})
	if err != nil {
		return nil, err
	}
	defer stack.Close()
	if err := applyPolicy(ctx, stack, fleetPolicy); err != nil {
		return nil, err
	}
	alice := as(stack, "alice")
	began := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	for i := range burstSize {
		group.Go(func() error {
			r, _, err := alice.Create(gctx, askFor(fmt.Sprintf("%s/providers/Microsoft.Compute/virtualMachines/fleet%02d", fleetGroup, i+1)), "")
			if err != nil {
				return err
			}
			if r, err = alice.Wait(gctx, r.ID, nil); err == nil && r.State != "Active" {
				err = fmt.Errorf("request %s is %s: %+v", r.ID, r.State, r.Targets)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	result.Seconds = seconds(began)
	result.NSGWrites = nsgWrites(stack.ARM)

	result.BaselineSeconds, result.BaselineNSGWrites, err = oneByOne(ctx)
	return result, err
}

func nsgWrites(s *standin.Server) int {
	counts := s.Counts()
	return counts["nsg.put"] + counts["rule.put"] + counts["rule.delete"]
}

// oneByOne is what a script would do: for each rule a PUT, waiting for each. It polls
// every second, the SDK's shortest interval.
func oneByOne(ctx context.Context) (took float64, writes int, err error) {
	fleet := standin.Fleet(burstSize)
	stack, err := local.Start(ctx, local.Options{Parts: []string{local.Entra, local.ARM}, Topology: &fleet, ARMLatency: burstLatency, Log: quiet()})
	if err != nil {
		return 0, 0, err
	}
	defer stack.Close()
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		if err := os.Setenv(name, stack.Settings[name]); err != nil {
			return 0, 0, err
		}
	}
	credential, err := azidentity.NewManagedIdentityCredential(nil)
	if err != nil {
		return 0, 0, err
	}
	base := stack.Env["JITGATE_ARM_URL"]
	rules, err := armnetwork.NewSecurityRulesClient("00000000-0000-0000-0000-000000000001", credential, &arm.ClientOptions{
		DisableRPRegistration: true,
		ClientOptions: policy.ClientOptions{InsecureAllowCredentialWithHTTP: true, Cloud: cloud.Configuration{
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Endpoint: base, Audience: base}}}},
	})
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	for i := range burstSize {
		if i%10 == 0 {
			fmt.Fprintf(os.Stderr, "bench: baseline, %d of %d rules\n", i, burstSize)
		}
		poller, err := rules.BeginCreateOrUpdate(ctx, "rg-fleet", "nsg-fleet", fmt.Sprintf("rule-%03d", i), armnetwork.SecurityRule{
			Properties: &armnetwork.SecurityRulePropertiesFormat{
				Access: to.Ptr(armnetwork.SecurityRuleAccessAllow), Direction: to.Ptr(armnetwork.SecurityRuleDirectionInbound),
				Protocol: to.Ptr(armnetwork.SecurityRuleProtocolTCP), Priority: to.Ptr(int32(100 + i)),
				SourceAddressPrefix: to.Ptr("203.0.113.7"), SourcePortRange: to.Ptr("*"),
				DestinationAddressPrefix: to.Ptr(fmt.Sprintf("10.64.0.%d", 4+i)), DestinationPortRange: to.Ptr("22"),
			},
		}, nil)
		if err != nil {
			return 0, 0, err
		}
		if _, err := poller.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: time.Second}); err != nil {
			return 0, 0, err
		}
	}
	return seconds(began), nsgWrites(stack.ARM), nil
}

func askFor(vm string) api.NewRequest {
	return api.NewRequest{
		Targets: []api.NewTarget{{VM: vm, Ports: []api.Port{{Port: 22, Protocol: "TCP"}}}},
		Source:  "203.0.113.7", Duration: "PT1H", Justification: "benchmark",
	}
}
