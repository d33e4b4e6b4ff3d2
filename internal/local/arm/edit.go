package arm

import (
	"cmp"
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

// GroupJSON returns everything of an NSG that somebody can set, as the control
// plane shows it: location, tags, flushConnection, unknown members, and all rules by
// name with their properties. Rules and keys are sorted and what Azure sets itself
// is left out: two groups are the same byte for byte exactly when nothing in them
// differs but the order of their rules, which means nothing.
func (s *Server) GroupJSON(nsgID string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return nil, err
	}
	rules := []any{}
	for _, r := range slices.SortedFunc(slices.Values(n.state.rules), func(a, b *rule) int { return cmp.Compare(a.name, b.name) }) {
		rules = append(rules, merged(r.extra, map[string]any{"name": r.name, "properties": r.properties}))
	}
	// Off is the same as never set, and empty tags are the same as none.
	flush := n.state.properties["flushConnection"] == true
	return json.Marshal(merged(n.state.extra, map[string]any{
		"location": n.state.location, "tags": merged(n.state.tags, nil),
		"properties": merged(n.state.properties, map[string]any{"flushConnection": flush, "securityRules": rules})}))
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

// ReplaceRules puts these rules in the place of all that the NSG has, at once, as
// "terraform apply" of a security group that lists its rules inline: what others
// wrote is wiped. It is refused as a whole for what Azure would refuse.
func (s *Server) ReplaceRules(nsgID string, rules []Rule) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return err
	}
	var made []*rule
	for _, t := range rules {
		r, err := s.world.rule(n.id, t)
		if err != nil {
			return err
		}
		made = append(made, r)
	}
	if err := asError(checkRules(n.id, made)); err != nil {
		return err
	}
	s.edit(n, func(g groupState) groupState { g.rules = made; return g })
	return nil
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
