package tables

import (
	"context"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

const protectionRow = "protection"

func protectionsIn(t table) journal[access.Protection] {
	return journal[access.Protection]{
		table: t, subject: protectionRow, store: protectionColumns, load: readProtection,
		count: func(p *access.Protection) *int { return &p.Events },
		keep: func(edited, stored access.Protection) access.Protection {
			edited.VM = stored.VM // the key is made of it
			return edited
		},
	}
}

func protectionName(vm armid.ID) string { return "the protection of " + vm.String() }

// Protection implements [access.Store].
func (s *Store) Protection(ctx context.Context, vm armid.ID) (access.Protection, error) {
	_, p, err := s.machines.read(ctx, vm.Key(), protectionName(vm))
	return p, err
}

// UpdateProtection implements [access.Store]. Two calls that both create the
// protection clash on its row, and the later one is shown what the other made.
func (s *Store) UpdateProtection(ctx context.Context, vm armid.ID, edit func(*access.Protection) ([]audit.Event, error)) (access.Protection, error) {
	p, _, err := s.machines.update(ctx, vm.Key(), protectionName(vm), &access.Protection{VM: vm}, edit)
	return p, err
}

// Protections implements [access.Store].
func (s *Store) Protections(ctx context.Context, f func(access.Protection) error) error {
	for found, err := range s.machines.rows(ctx, is("RowKey", protectionRow), pageSize) {
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
	return s.machines.events(ctx, vm.Key(), protectionName(vm))
}
