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

// Decides counts the machines of a request of which Azure's role assignments make somebody
// an approver: with one of them they may look at it, with all of them they may end it. There
// is none where app roles decide.
//
// Errors: [ErrUnavailable], [ErrForbidden].
func (s *Service) Decides(ctx context.Context, who Person, r *Request) (n int, err error) {
	if s.Rights == nil {
		return 0, nil
	}
	for _, t := range r.Targets {
		err := s.entitled(ctx, who, t.VM, ApproverRole)
		switch {
		case err == nil:
			n++
		case !errors.As(err, new(Refusals)):
			return 0, err
		}
	}
	return n, nil
}

// Concerned refuses somebody whom Azure's role assignments make neither a requester nor an
// approver of a machine.
//
// Errors: [Refusals]; [ErrUnavailable], [ErrForbidden].
func (s *Service) Concerned(ctx context.Context, who Person, vm armid.ID) error {
	err := s.entitled(ctx, who, vm, ApproverRole)
	if errors.As(err, new(Refusals)) {
		err = s.entitled(ctx, who, vm, RequesterRole)
	}
	return err
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
