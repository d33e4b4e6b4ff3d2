package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

const currentRow = "current"

func versionRow(version int) string { return fmt.Sprintf("v-%06d", version) }

// Policy implements [access.Policies]. A document that cannot be read is an error
// and not ErrNotFound: a wider policy further up must not step in for it.
func (s *Store) Policy(ctx context.Context, scope armid.ID) (policy.Policy, error) {
	stored, err := s.policies.get(ctx, scope.Key(), currentRow)
	if err != nil {
		return policy.Policy{}, err
	}
	p, err := readPolicy(stored.columns)
	if err != nil {
		return policy.Policy{}, unreadable("the policy of "+scope.String(), err)
	}
	return p, nil
}

// PutPolicy implements [access.Policies]. The row of the version and the row in
// force are one transaction, so no decision names a version that is not kept. A
// repeat after a lost answer finds its own document in force and changes nothing.
func (s *Store) PutPolicy(ctx context.Context, doc policy.Document, by access.Person, at time.Time) (policy.Policy, error) {
	var result policy.Policy
	err := contend(ctx, "the policy of "+doc.Scope.String(), func() error {
		stored, version, err := s.inForce(ctx, doc.Scope)
		if err != nil {
			return err
		}
		// One that cannot be read any more is replaced: that is how it gets mended.
		current, err := readPolicy(stored.columns)
		if err == nil && current.Equal(doc) {
			result = current
			return nil
		}
		c, err := policyColumns(policy.New(doc, version+1), by, at)
		if err != nil {
			return fmt.Errorf("the policy of %s cannot be stored: %w", doc.Scope, err)
		}
		if result, err = readPolicy(c); err != nil { // better now than once it is in force
			return fmt.Errorf("the policy of %s cannot be stored: %w", doc.Scope, err)
		}
		put := insert(doc.Scope.Key(), currentRow, c)
		if stored.etag != "" {
			put = replace(stored, c)
		}
		return s.policies.swap(ctx, put, insert(doc.Scope.Key(), versionRow(version+1), c))
	})
	if err != nil {
		return policy.Policy{}, err
	}
	return result, nil
}

// inForce reads the row in force and its version; the zero row and 0 when there
// is none.
func (s *Store) inForce(ctx context.Context, scope policy.Scope) (row, int, error) {
	stored, err := s.policies.get(ctx, scope.Key(), currentRow)
	if errors.Is(err, access.ErrNotFound) {
		return row{}, 0, nil
	}
	if err != nil {
		return row{}, 0, err
	}
	version, err := stored.columns.number("Version")
	if err != nil {
		return row{}, 0, fmt.Errorf("the policy of %s as stored: %w", scope, err)
	}
	return stored, int(version), nil
}

// ListPolicies implements [access.Policies].
func (s *Store) ListPolicies(ctx context.Context) ([]policy.Policy, error) {
	var out []policy.Policy
	for found, err := range s.policies.rows(ctx, is("RowKey", currentRow), pageSize) {
		if err != nil {
			return nil, err
		}
		p, err := readPolicy(found.columns)
		if err != nil {
			return nil, unreadable("the policy of "+found.columns.text("Scope"), err)
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b policy.Policy) int {
		return cmp.Compare(strings.ToLower(a.Scope.String()), strings.ToLower(b.Scope.String()))
	})
	return out, nil
}
