package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jitgate/internal/armid"
)

// App roles that Azure RBAC can stand in for. They have the names that the edge
// knows them by.
const (
	RequesterRole = "Jit.Request"
	ApproverRole  = "Jit.Approve"
)

// Decides tells whether Azure's role assignments make somebody an approver of a machine
// of the request, who then may look at it. It is never so where app roles decide.
//
// Errors: [ErrUnavailable], [ErrForbidden].
func (s *Service) Decides(ctx context.Context, who Person, r *Request) (bool, error) {
	if s.Rights == nil {
		return false, nil
	}
	for _, t := range r.Targets {
		err := s.entitled(ctx, who, t.VM, ApproverRole)
		var missing Refusals
		if err == nil || !errors.As(err, &missing) {
			return err == nil, err
		}
	}
	return false, nil
}

// entitled refuses somebody who has no Azure role on the machine that stands for the
// app role, in an installation where Azure RBAC decides.
func (s *Service) entitled(ctx context.Context, who Person, vm armid.ID, role string) error {
	if s.Rights == nil {
		return nil
	}
	have, err := s.Rights.Roles(ctx, who, vm)
	if err != nil {
		return fmt.Errorf("read the role assignments on %s: %w", vm.Name(), err)
	}
	if !slices.Contains(have, role) {
		return refuse(RBACMissing, "", fmt.Sprintf("You have no Azure role on VM %s that stands for %s; ask its owner to assign you one.", vm.Name(), role))
	}
	return nil
}
