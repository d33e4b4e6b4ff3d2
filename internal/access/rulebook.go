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

// rulebook holds every policy that could govern some machines, by scope key.
type rulebook map[string]policy.Policy

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
	rules := rulebook{}
	var lock sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for key, scope := range scopes {
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
			rules[key] = p
			return nil
		})
	}
	return rules, group.Wait()
}

// nearest is the policy that governs a machine.
func (b rulebook) nearest(vm armid.ID) (policy.Policy, bool) {
	return policy.Nearest(vm, func(scope armid.ID) (policy.Policy, bool) {
		p, found := b[scope.Key()]
		return p, found
	})
}

// judge asks the nearest policy. No policy is a refusal like any other.
func (b rulebook) judge(ask policy.Ask) (policy.Policy, []policy.Refusal) {
	p, found := b.nearest(ask.VM)
	if !found {
		return p, []policy.Refusal{policy.NoPolicy(ask.VM)}
	}
	return p, p.Check(ask)
}
