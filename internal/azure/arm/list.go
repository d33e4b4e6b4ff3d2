package arm

import (
	"context"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Groups implements [access.Network].
func (n *Network) Groups(ctx context.Context, subscription string, f func(armid.ID, nsg.Group) error) error {
	c, err := n.in(subscription)
	if err != nil {
		return err
	}
	for pager := c.groups.NewListAllPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return unread("the NSGs of subscription "+subscription, err)
		}
		for _, g := range page.Value {
			if g == nil {
				continue
			}
			id, err := armid.ParseType(text(g.ID), armid.SecurityGroup)
			if err != nil {
				n.log.WarnContext(ctx, "leaving out an NSG with a strange id", "id", text(g.ID), "error", err)
				continue
			}
			if err := f(id, convert(g)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Machines implements [access.Network].
func (n *Network) Machines(ctx context.Context, subscription string, f func(armid.ID) error) error {
	c, err := n.in(subscription)
	if err != nil {
		return err
	}
	for pager := c.machines.NewListAllPager(nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return unread("the VMs of subscription "+subscription, err)
		}
		for _, v := range page.Value {
			if v == nil {
				continue
			}
			id, err := armid.ParseType(text(v.ID), armid.VirtualMachine)
			if err != nil {
				n.log.WarnContext(ctx, "leaving out a VM with a strange id", "id", text(v.ID), "error", err)
				continue
			}
			if err := f(id); err != nil {
				return err
			}
		}
	}
	return nil
}
