package tables

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"jitgate/internal/access"
)

// A proposal's row lies beside the rows of its document, under the document's key and
// not under its own id: so there is one for each document, however many propose at once,
// and carrying it out and forgetting it is one transaction.
const proposalPrefix = "proposal-"

// everyProposal selects those of all documents. Like the list of policies, it has the
// service read the whole table; only proposals come over, and they are few.
var everyProposal = both(from("RowKey", proposalPrefix), below("RowKey", past(proposalPrefix)))

func proposalShelf(p access.Proposal) shelf {
	if p.Key == access.AlertRulesKey {
		return rulesShelf
	}
	return policyShelf(p.Scope, p.Key)
}

// isProposal tells a proposal from a later one in its place. The same change has the
// same id, whoever proposes it.
func isProposal(stored row, id string, by access.Person) bool {
	return stored.columns.text("ID") == id && stored.columns.person("By") == by
}

// Propose implements [access.Policies].
func (s *Store) Propose(ctx context.Context, p access.Proposal) error {
	if !idForm.MatchString(p.ID) || p.Key != access.AlertRulesKey && (!hexForm.MatchString(p.Key) || p.Scope.IsZero()) {
		return fmt.Errorf("proposal %.64q for %.64q cannot be stored: these are not an id and the key of a document", p.ID, p.Key)
	}
	c, err := proposalColumns(p)
	if err != nil {
		return fmt.Errorf("proposal %s cannot be stored: %w", p.ID, err)
	}
	c[markColumn] = uuid.NewString()
	at := proposalShelf(p)
	var save []change
	return contend(ctx, "proposal "+p.ID, func() error {
		if save != nil { // the last attempt clashed
			if ours, err := s.policies.wrote(ctx, save); ours || err != nil {
				return err
			}
		}
		stored, err := s.policies.get(ctx, at.partition, at.proposal)
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		save = []change{insertOrReplace(at.partition, at.proposal, stored, c)}
		return s.policies.swap(ctx, save...)
	})
}

// Proposals implements [access.Policies].
func (s *Store) Proposals(ctx context.Context) ([]access.Proposal, error) {
	var out []access.Proposal
	for found, err := range s.policies.rows(ctx, everyProposal, pageSize) {
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
// delete it counts as dropped, whoever did it, since our own answer may have been lost;
// but not if it was carried out, which its version tells.
func (s *Store) DropProposal(ctx context.Context, p access.Proposal) error {
	none := fmt.Errorf("proposal %.64q: %w", p.ID, access.ErrNotFound)
	at := proposalShelf(p)
	tried := false
	return contend(ctx, "proposal "+p.ID, func() error {
		stored, err := s.policies.get(ctx, at.partition, at.proposal)
		switch waits := err == nil && isProposal(stored, p.ID, p.By); {
		case err != nil && !errors.Is(err, access.ErrNotFound):
			return err
		case waits:
			tried = true
			return s.policies.swap(ctx, remove(stored))
		case !tried:
			return none
		}
		done, err := s.wasCarriedOut(ctx, at, p)
		if err == nil && done {
			return none
		}
		return err
	})
}

// wasCarriedOut looks for the version that a proposal became. The same change may have
// been proposed, and carried out, before.
func (s *Store) wasCarriedOut(ctx context.Context, at shelf, p access.Proposal) (bool, error) {
	for found, err := range s.policies.rows(ctx, both(starting(at.partition, at.versions), is("Proposal", p.ID)), pageSize) {
		if err != nil {
			return false, err
		}
		sign, err := found.columns.signature()
		if err != nil {
			return false, unreadable(at.name, err)
		}
		if !sign.At.Before(p.At) {
			return true, nil
		}
	}
	return false, nil
}
