package access

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// rulebook holds every policy that could govern some machines.
type rulebook struct{ policy.Set }

// rulebook reads the policies of all scopes that the machines lie in, side by side:
// one after the other would cost a request for twenty machines dozens of round
// trips.
func (s *Service) rulebook(ctx context.Context, vms []armid.ID) (rulebook, error) {
	scopes := map[string]armid.ID{}
	for _, vm := range vms {
		for _, scope := range vm.Scopes() {
			scopes[scope.Key()] = scope
		}
	}
	var rules policy.Set
	var lock sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, scope := range scopes {
		group.Go(func() error {
			p, err := s.Policies.Policy(ctx, scope)
			if errors.Is(err, ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read the policy of %s: %w", scope, err)
			}
			lock.Lock()
			defer lock.Unlock()
			rules = append(rules, p)
			return nil
		})
	}
	err := group.Wait()
	return rulebook{rules}, err
}

// nearest is the policy that governs a machine.
func (b rulebook) nearest(vm armid.ID) (policy.Policy, bool) {
	p, refusals := b.Nearest(vm, nil)
	return p, len(refusals) == 0
}

// judge asks the nearest policy and all guardrails. Who asks, why and when is not
// passed on yet: policies that care refuse.
func (b rulebook) judge(ask policy.Ask) (policy.Policy, []policy.Refusal) {
	d := b.Decide(policy.Question{Ask: ask})
	if d.Approval != nil {
		d.Refusals = append(d.Refusals, policy.Refusal{Code: "approval_required", Sentence: "Somebody has to approve this, which is not possible yet."})
	}
	return d.Policy, d.Refusals
}
