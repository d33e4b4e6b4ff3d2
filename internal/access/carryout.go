package access

import (
	"context"
	"fmt"
	"slices"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// planRules names the rules of every opening: one per NSG for the same protocol
// and ports, shared by all targets of the request that want exactly these. Ports
// are never merged across targets: that would open on each VM what was asked for
// another.
func planRules(r *Request) {
	names := map[string]string{} // NSG, protocol and ports → rule
	count := map[string]int{}    // NSG → rules so far
	for i := range r.Targets {
		t := &r.Targets[i]
		for j := range t.Openings {
			o := &t.Openings[j]
			o.Rules = nil
			for _, p := range byProtocol(t.Ports) {
				group := fmt.Sprint(o.NSG.Key(), p.Protocol, p.Ports)
				if names[group] == "" {
					names[group] = nsg.AllowName(r.ID, count[o.NSG.Key()])
					count[o.NSG.Key()]++
				}
				p.Name = names[group]
				o.Rules = append(o.Rules, p)
			}
		}
	}
}

// byProtocol groups ports, each list sorted, protocols in a fixed order.
func byProtocol(ports []policy.Port) []PlannedRule {
	var out []PlannedRule
	for _, kind := range []struct {
		asked policy.Protocol
		rule  nsg.Protocol
	}{{policy.TCP, nsg.TCP}, {policy.UDP, nsg.UDP}, {policy.AnyProtocol, nsg.AnyProtocol}} {
		var numbers []uint16
		for _, p := range ports {
			if p.Protocol == kind.asked {
				numbers = append(numbers, p.Number)
			}
		}
		if len(numbers) > 0 {
			slices.Sort(numbers)
			out = append(out, PlannedRule{Protocol: kind.rule, Ports: slices.Compact(numbers)})
		}
	}
	return out
}

// carryOut derives the effects of a request from its record and makes sure they
// are under way: the same code after a decision, after a crash and in the sweep.
func (s *Service) carryOut(ctx context.Context, r *Request) error {
	if err := s.setAlarms(ctx, r); err != nil {
		return err
	}
	for _, n := range grantsOf(r, mustOpen) {
		if err := s.put(ctx, r, n); err != nil {
			return err
		}
	}
	return s.withdraw(ctx, r)
}

// put saves grants of one NSG, schedules the wake-up at their expiry if none is
// known, and nudges. The wake-up comes before the nudge: nothing is opened whose
// closing is not arranged.
func (s *Service) put(ctx context.Context, r *Request, n NSGGrants) error {
	generation, grants, err := s.Store.PutGrants(ctx, n.NSG, n.Grants)
	if err != nil {
		return fmt.Errorf("save grants of request %s: %w", r.ID, err)
	}
	if err := s.arrangeWakeUp(ctx, n.NSG, r.ID, grants); err != nil {
		return err
	}
	if err := s.Queue.Enforce(ctx, n.NSG, generation); err != nil {
		return fmt.Errorf("nudge %s: %w", n.NSG.Name(), err)
	}
	return nil
}

// arrangeWakeUp schedules one message for the grants of a request in an NSG,
// unless they have one.
func (s *Service) arrangeWakeUp(ctx context.Context, id armid.ID, request string, grants []Grant) error {
	missing := slices.IndexFunc(grants, func(g Grant) bool { return g.WakeUp == 0 && !g.Closing })
	if missing < 0 {
		return nil
	}
	sequence, err := s.Queue.EnforceAt(ctx, id, request, grants[missing].ExpiresAt)
	if err != nil {
		return fmt.Errorf("schedule the end of request %s: %w", request, err)
	}
	if err := s.Store.SetWakeUp(ctx, id, request, sequence); err != nil {
		return fmt.Errorf("note the wake-up of request %s: %w", request, err)
	}
	return nil
}
