package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

type policyResult struct {
	Bench    string  `json:"bench"`
	Policies int     `json:"policies"`
	Decide   float64 `json:"decide_us"`
	// What the same question takes without conditions: the price of CEL.
	BaselineDecide float64 `json:"baseline_no_conditions_decide_us"`
	// Of one policy that stands alone, as in a small installation.
	Alone float64 `json:"alone_us"`
	Parse float64 `json:"parse_us"`
}

const policyCount = 200

// decisions measures what policy says to one request: a policy of the resource group,
// four guardrails with two conditions each, and many others that have nothing to do
// with the machine.
func decisions(context.Context, string) (any, error) {
	const vm = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-7/providers/Microsoft.Compute/virtualMachines/web-1"
	conditions := `
conditions:
  - {expression: 'request.duration <= duration("2h") || "oncall" in requester.groups', message: Two hours at most.}
  - {expression: '!("env" in machine.tags) || machine.tags["env"] != "frozen"', message: Not while it is frozen.}`
	build := func(conditions string) (policy.Set, string, error) {
		var texts []string
		for i := range policyCount - 4 {
			texts = append(texts, fmt.Sprintf("apiVersion: jitgate/v1\nscope: /subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-%d\nports: [{port: 22, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\nmaxDuration: PT3H\n", i))
		}
		for _, tags := range []string{"", "tags: {env: prod}\n", "tags: {tier: web}\n", "tags: {env: prod, tier: web}\n"} {
			texts = append(texts, "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n"+tags+"maxDuration: PT2H\njustification: {required: true, pattern: '^INC-'}\nwindows: [{zone: Europe/Berlin, from: \"00:00\", to: \"00:00\"}]"+conditions+"\n")
		}
		var set policy.Set
		for _, text := range texts {
			doc, err := policy.Parse([]byte(text))
			if err != nil {
				return nil, "", err
			}
			set = append(set, policy.New(doc, 1))
		}
		return set, texts[len(texts)-1], nil
	}
	full, text, err := build(conditions)
	if err != nil {
		return nil, err
	}
	plain, _, err := build("")
	if err != nil {
		return nil, err
	}
	q := policy.Question{
		Ask:           policy.Ask{VM: armid.MustParse(vm), Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}}, Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour},
		Justification: "INC-1042 disk full", Requester: policy.Subject{Object: "a11ce000-0000-4000-8000-000000000001", Roles: []string{"Jit.Request"}},
		Tags: map[string]string{"env": "prod", "tier": "web"}, At: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC),
	}
	if d := full.Decide(q); d.Verdict() != policy.Allow || len(d.Applied) != 5 {
		return nil, fmt.Errorf("the verdict is %s by %d policies, want allow by 5: %v", d.Verdict(), len(d.Applied), d.Refusals)
	}
	refused := q
	refused.Justification = "because"
	if d := full.Decide(refused); len(d.Refusals) != 4 || !strings.HasPrefix(d.Refusals[0].Policy, "guardrail tenant") {
		return nil, fmt.Errorf("%d refusals, want one of each guardrail: %v", len(d.Refusals), d.Refusals)
	}
	alone := full[7:8]
	return policyResult{
		Bench: "policy", Policies: len(full),
		Decide:         microseconds(timed(func() { full.Decide(q) })),
		BaselineDecide: microseconds(timed(func() { plain.Decide(q) })),
		Alone:          microseconds(timed(func() { alone.Decide(q) })),
		Parse:          microseconds(timed(func() { _, _ = policy.Parse([]byte(text)) })),
	}, nil
}
