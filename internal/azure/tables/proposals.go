package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"jitgate/internal/access"
)

// A proposal's row is under the key of its document, not under its own id: so there
// is one for each document, however many propose at once. They are few, and finding
// one by its id reads them all.
const proposalsPartition = "proposals"

// Propose implements [access.Policies].
func (s *Store) Propose(ctx context.Context, p access.Proposal) error {
	if !idForm.MatchString(p.ID) || !hexForm.MatchString(p.Key) && p.Key != access.AlertRulesKey {
		return fmt.Errorf("proposal %.64q for %.64q cannot be stored: these are not an id and the key of a document", p.ID, p.Key)
	}
	c, err := proposalColumns(p)
	if err != nil {
		return fmt.Errorf("proposal %s cannot be stored: %w", p.ID, err)
	}
	c[markColumn] = uuid.NewString()
	var save []change
	return contend(ctx, "proposal "+p.ID, func() error {
		if save != nil { // the last attempt clashed
			if ours, err := s.policies.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		stored, err := s.policies.get(ctx, proposalsPartition, p.Key)
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		save = []change{insertOrReplace(proposalsPartition, p.Key, stored, c)}
		return s.policies.swap(ctx, save...)
	})
}

// Proposals implements [access.Policies].
func (s *Store) Proposals(ctx context.Context) ([]access.Proposal, error) {
	var out []access.Proposal
	for found, err := range s.policies.rows(ctx, is("PartitionKey", proposalsPartition), pageSize) {
		if err != nil {
			return nil, err
		}
		p, err := readProposal(found.columns)
		if err != nil {
			return nil, unreadable("the proposal for "+found.rk, err)
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b access.Proposal) int { return a.At.Compare(b.At) })
	return out, nil
}

// DropProposal implements [access.Policies]. One that is gone after an attempt to
// delete it counts as dropped, whoever did it: our own answer may have been lost.
func (s *Store) DropProposal(ctx context.Context, id string) error {
	none := fmt.Errorf("proposal %.64q: %w", id, access.ErrNotFound)
	if !idForm.MatchString(id) {
		return none
	}
	tried := false
	return contend(ctx, "proposal "+id, func() error {
		for found, err := range s.policies.rows(ctx, both(is("PartitionKey", proposalsPartition), is("ID", id)), pageSize) {
			if err != nil {
				return err
			}
			tried = true
			return s.policies.swap(ctx, remove(found))
		}
		if tried {
			return nil
		}
		return none
	})
}
