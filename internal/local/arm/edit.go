package arm

import (
	"encoding/json"
	"fmt"
	"slices"
)

// RuleJSON returns the stored properties of a rule as the control plane shows
// them, without provisioningState, as JSON with sorted keys and no white space:
// two rules are the same byte for byte exactly when nothing in them differs.
func (s *Server) RuleJSON(nsgID, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return nil, err
	}
	_, r := n.state.find(name)
	if r == nil {
		return nil, fmt.Errorf("%s has no rule %q", n.id, name)
	}
	return json.Marshal(r.properties)
}

// RuleNames returns the names of an NSG's own rules as the control plane shows
// them, in stored order; nil when there is no such NSG.
func (s *Server) RuleNames(nsgID string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(n.state.rules))
	for _, r := range n.state.rules {
		names = append(names, r.name)
	}
	return names
}

// PutRule adds or replaces a rule at once, like someone in the portal whose
// operation has already finished. It is refused for what Azure would refuse.
func (s *Server) PutRule(nsgID string, r Rule) error {
	return s.putByHand(nsgID, func(n *nsg) (*rule, error) { return s.world.rule(n.id, r) })
}

// PutRuleJSON is PutRule for properties that [Rule] does not know.
func (s *Server) PutRuleJSON(nsgID, name string, properties []byte) error {
	return s.putByHand(nsgID, func(n *nsg) (*rule, error) {
		p, err := decodeObject(properties)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", name, err)
		}
		made, refused := s.world.readRule(n.id, name, p)
		return made, asError(refused)
	})
}

func (s *Server) putByHand(nsgID string, read func(*nsg) (*rule, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return err
	}
	made, err := read(n)
	if err != nil {
		return err
	}
	if err := asError(checkRules(n.id, n.state.with(made).rules)); err != nil {
		return err
	}
	s.edit(n, func(g groupState) groupState { return g.with(made) })
	return nil
}

// DeleteRule removes a rule at once.
func (s *Server) DeleteRule(nsgID, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(n.state.rules, func(r *rule) bool { return key(r.name) == key(name) }) {
		return fmt.Errorf("%s has no rule %q", n.id, name)
	}
	s.edit(n, func(g groupState) groupState { return g.without(name) })
	return nil
}

// settled brings operations up to date and finds an NSG. The caller holds the lock.
func (s *Server) settled(nsgID string) (*nsg, error) {
	s.settle()
	n := s.world.nsgs[key(nsgID)]
	if n == nil {
		return nil, fmt.Errorf("there is no network security group %s", nsgID)
	}
	return n, nil
}
