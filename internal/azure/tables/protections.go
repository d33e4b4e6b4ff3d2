package tables

import (
	"context"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

// All machines share a partition, so that the sweep reads their protections as one
// range, without the records that only ever grow. A row changes when somebody
// protects a machine or a pass confirms it, which is far below the 2,000 rows a
// second that a partition takes (Scalability targets for Table storage). Machines
// do not clash: a transaction checks the ETags of its own rows only.
const (
	machinesPartition = "machines"
	protectionPrefix  = "protection-"
)

func protectionsIn(t table) journal[access.Protection] {
	return journal[access.Protection]{
		table: t, store: protectionColumns, load: readProtection,
		count: func(p *access.Protection) *int { return &p.Events },
		keep: func(edited, stored access.Protection) access.Protection {
			edited.VM = stored.VM // the key is made of it
			return edited
		},
	}
}

// machinePlace relies on all keys of machines being of one length: none of them is
// the start of another.
func machinePlace(vm armid.ID) place {
	return place{name: "the protection of " + vm.String(), partition: machinesPartition,
		row: protectionPrefix + vm.Key(), events: eventPrefix + vm.Key() + "-", digits: 6}
}

// Protection implements [access.Store].
func (s *Store) Protection(ctx context.Context, vm armid.ID) (access.Protection, error) {
	_, p, err := s.machines.read(ctx, machinePlace(vm))
	return p, err
}

// UpdateProtection implements [access.Store]. Two calls that both create the
// protection clash on its row, and the later one is shown what the other made.
func (s *Store) UpdateProtection(ctx context.Context, vm armid.ID, edit func(*access.Protection) ([]audit.Event, error)) (access.Protection, error) {
	p, _, err := s.machines.update(ctx, machinePlace(vm), &access.Protection{VM: vm}, edit)
	return p, err
}

// Protections implements [access.Store].
func (s *Store) Protections(ctx context.Context, f func(access.Protection) error) error {
	for found, err := range s.machines.rows(ctx, starting(machinesPartition, protectionPrefix), pageSize) {
		if err != nil {
			return err
		}
		p, err := readProtection(found.columns)
		if err != nil {
			return unreadable("the protection of "+found.columns.text("VM"), err)
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// ProtectionEvents implements [access.Store].
func (s *Store) ProtectionEvents(ctx context.Context, vm armid.ID) ([]audit.Event, error) {
	return s.machines.events(ctx, machinePlace(vm), 0, 0)
}
