package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/access"
	"jitgate/internal/policy"
)

// All policies of one scope share a partition, and those in force are neighbours in
// it: a decision reads one short range for each scope above the machine.
const currentPrefix = "current-"

func policyShelf(scope policy.Scope, key string) shelf {
	return shelf{name: "the policy of " + scope.String(), partition: scope.Key(), current: currentPrefix + key, versions: "v-" + key + "-", proposal: proposalPrefix + key}
}

// PoliciesAt implements [access.Policies].
func (s *Store) PoliciesAt(ctx context.Context, scope policy.Scope) ([]policy.Policy, error) {
	return s.readPolicies(ctx, starting(scope.Key(), currentPrefix))
}

// ListPolicies implements [access.Policies]. It reads the whole table, versions and
// all, on the service's side; only rows in force come over.
func (s *Store) ListPolicies(ctx context.Context) ([]policy.Policy, error) {
	out, err := s.readPolicies(ctx, both(from("RowKey", currentPrefix), below("RowKey", past(currentPrefix))))
	slices.SortFunc(out, func(a, b policy.Policy) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Scope.String()), strings.ToLower(b.Scope.String())), cmp.Compare(a.Key(), b.Key()))
	})
	return out, err
}

// readPolicies fails as a whole when one cannot be read: a wider policy must not step
// in for it, and a guardrail must not be left out.
func (s *Store) readPolicies(ctx context.Context, filter string) ([]policy.Policy, error) {
	var out []policy.Policy
	for found, err := range s.policies.rows(ctx, filter, pageSize) {
		if err != nil {
			return nil, err
		}
		p, err := readPolicy(found.columns)
		if err != nil {
			key := strings.TrimPrefix(found.rk, currentPrefix)
			return nil, unreadable("the policy of "+found.columns.text("Scope")+" with key "+key, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// PolicyInForce implements [access.Policies].
func (s *Store) PolicyInForce(ctx context.Context, scope policy.Scope, key string) (access.PolicyVersion, error) {
	if !hexForm.MatchString(key) {
		return access.PolicyVersion{}, fmt.Errorf("policy %.64q: %w", key, access.ErrNotFound)
	}
	at := policyShelf(scope, key)
	stored, err := s.policies.get(ctx, at.partition, at.current)
	if err != nil {
		return access.PolicyVersion{}, err
	}
	v, err := readVersion(stored.columns)
	if err != nil {
		return access.PolicyVersion{}, unreadable(at.name, err)
	}
	return v, nil
}

// PutPolicy implements [access.Policies]. One in force that cannot be read any more is
// replaced: that is how it gets mended.
func (s *Store) PutPolicy(ctx context.Context, doc policy.Document, sign access.Signature) (policy.Policy, error) {
	known := func(c columns) bool {
		current, err := readPolicy(c)
		return err == nil && current.Equal(doc)
	}
	write := func(version int) (columns, error) {
		c, err := policyColumns(policy.New(doc, version), sign)
		if err != nil {
			return nil, err
		}
		// Better now than once it is in force.
		switch p, err := readPolicy(c); {
		case err != nil:
			return nil, err
		case !p.Equal(doc):
			return nil, errors.New("its text says something else than the document")
		}
		return c, nil
	}
	c, err := s.policies.putVersion(ctx, policyShelf(doc.Scope, doc.Key()), sign, known, write)
	if err != nil {
		return policy.Policy{}, err
	}
	return readPolicy(c)
}

// RemovePolicy implements [access.Policies]. One that cannot be read can be removed.
func (s *Store) RemovePolicy(ctx context.Context, scope policy.Scope, key string, sign access.Signature) error {
	if !hexForm.MatchString(key) {
		return fmt.Errorf("policy %.64q: %w", key, access.ErrNotFound)
	}
	return s.policies.endVersion(ctx, policyShelf(scope, key), sign)
}

// PolicyVersions implements [access.Policies].
func (s *Store) PolicyVersions(ctx context.Context, scope policy.Scope, key string) ([]access.PolicyVersion, error) {
	if !hexForm.MatchString(key) {
		return nil, nil
	}
	at := policyShelf(scope, key)
	var out []access.PolicyVersion
	for found, err := range s.policies.rows(ctx, starting(at.partition, at.versions), pageSize) {
		if err != nil {
			return nil, err
		}
		v, err := readVersion(found.columns)
		if err != nil {
			return nil, unreadable(at.name, err)
		}
		out = append(out, v)
	}
	slices.Reverse(out)
	return out, nil
}

// rulesShelf is the alert rules' own partition.
var rulesShelf = shelf{name: "the alert rules", partition: access.AlertRulesKey, current: "current", versions: "v-", proposal: proposalPrefix + access.AlertRulesKey}

// AlertRules implements [access.Policies].
func (s *Store) AlertRules(ctx context.Context) (access.AlertRules, error) {
	stored, err := s.policies.get(ctx, rulesShelf.partition, rulesShelf.current)
	if err != nil {
		return access.AlertRules{}, err
	}
	r, err := readRules(stored.columns)
	if err != nil {
		return access.AlertRules{}, unreadable(rulesShelf.name, err)
	}
	return r, nil
}

// PutAlertRules implements [access.Policies].
func (s *Store) PutAlertRules(ctx context.Context, text string, sign access.Signature) (access.AlertRules, error) {
	known := func(c columns) bool { return c.text("Text") == text }
	write := func(version int) (columns, error) { return rulesColumns(text, version, sign) }
	c, err := s.policies.putVersion(ctx, rulesShelf, sign, known, write)
	if err != nil {
		return access.AlertRules{}, err
	}
	return readRules(c)
}
