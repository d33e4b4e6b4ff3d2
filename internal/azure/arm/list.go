package arm

import (
	"context"
	"iter"
	"net/netip"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Machines implements [access.Network].
func (n *Network) Machines(ctx context.Context, subscription string, f func(armid.ID) error) error {
	c, err := n.in(subscription)
	if err != nil {
		return err
	}
	for v, err := range c.listMachines(ctx, subscription) {
		if err != nil {
			return err
		}
		id, err := armid.ParseType(text(v.ID), armid.VirtualMachine)
		if err != nil {
			n.leaveOut(ctx, "VM", v.ID, err)
			continue
		}
		if err := f(id); err != nil {
			return err
		}
	}
	return nil
}

// Members implements [access.Network]. Azure keeps the members of a group with the
// NICs, so all NICs are listed.
func (n *Network) Members(ctx context.Context, subscription string) (map[string][]netip.Addr, error) {
	c, err := n.in(subscription)
	if err != nil {
		return nil, err
	}
	v := newInventory(n.log)
	if err := v.addInterfaces(c.listInterfaces(ctx, subscription)); err != nil {
		return nil, err
	}
	return v.members(ctx), nil
}

// Estate implements [access.Network]. It takes as many calls as the four lists have
// pages and none for a single machine. A list that Azure refuses fails it all, but
// that is the lesser danger: what hurts is a list that is silently filtered. Azure
// leaves out what our identity may not read and says nothing, and without its subnet
// a NIC looks as if nothing stood before it. So every reference is followed, and a
// machine with one that leads nowhere is Unseen. (An NSG that is not listed is still
// named by its interface; a VM that is not listed nobody names, so it is not there.)
// Rules come without Verbatim: whoever wants to record one for later reads its group
// by itself.
func (n *Network) Estate(ctx context.Context, subscription string) (access.Estate, error) {
	c, err := n.in(subscription)
	if err != nil {
		return access.Estate{}, err
	}
	var machines []*armcompute.VirtualMachine
	v, out := newInventory(n.log), access.Estate{Groups: map[string]nsg.Group{}}
	g, gctx := few(ctx) // the lists fill different fields
	g.Go(func() error {
		for m, err := range c.listMachines(gctx, subscription) {
			if err != nil {
				return err
			}
			machines = append(machines, m)
		}
		return nil
	})
	g.Go(func() error { return v.addInterfaces(c.listInterfaces(gctx, subscription)) })
	g.Go(func() error { return v.addNetworks(c.listNetworks(gctx, subscription)) })
	g.Go(func() error {
		for group, err := range c.listGroups(gctx, subscription) {
			if err != nil {
				return err
			}
			id, err := armid.ParseType(text(group.ID), armid.SecurityGroup)
			if err != nil {
				n.leaveOut(gctx, "NSG", group.ID, err)
				continue
			}
			out.Groups[id.Key()] = convert(group)
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return access.Estate{}, err
	}
	for _, m := range machines {
		id, err := armid.ParseType(text(m.ID), armid.VirtualMachine)
		if err != nil {
			n.leaveOut(ctx, "VM", m.ID, err)
			continue
		}
		out.Machines = append(out.Machines, n.listed(ctx, id, m, v))
	}
	if len(v.unlisted) > 0 {
		n.log.WarnContext(ctx, "subnets of machines are not in the list; may we read their virtual networks?", "subnets", v.unlisted)
	}
	out.Members = v.members(ctx)
	return out, nil
}

// listed is a machine as far as the lists know it. Where the primary NIC is missing
// there are no interfaces, or a secondary one would be taken for it.
func (n *Network) listed(ctx context.Context, vm armid.ID, m *armcompute.VirtualMachine, v *inventory) access.Machine {
	out := access.Machine{VM: vm, Tags: texts(m.Tags)}
	ids, err := interfaceIDs(vm, m)
	if err != nil {
		n.log.WarnContext(ctx, "a machine has no interfaces in the report", "vm", vm, "cause", err)
		out.Unseen = len(references(m)) > 0
	}
	for at, id := range ids {
		nic := v.interfaces[strings.ToLower(id)]
		if nic == nil {
			n.log.WarnContext(ctx, "a NIC of a machine is not in the list", "vm", vm, "nic", id)
			out.Unseen = true
			continue
		}
		i, err := v.describe(ctx, nic)
		if err != nil {
			n.log.WarnContext(ctx, "leaving out a NIC of a machine", "vm", vm, "error", err)
			out.Unseen = true
			continue
		}
		if v.subnet(nic) == nil {
			v.unlisted = appendID(v.unlisted, subnetOf(nic))
			out.Unseen = true
		}
		if at == 0 || len(out.Interfaces) > 0 {
			out.Interfaces = append(out.Interfaces, i)
		}
	}
	return out
}

func (n *Network) leaveOut(ctx context.Context, what string, id *string, err error) {
	n.log.WarnContext(ctx, "leaving out a "+what+" with a strange id", "id", text(id), "error", err)
}

func (v *inventory) addInterfaces(list iter.Seq2[*armnetwork.Interface, error]) error {
	for nic, err := range list {
		if err != nil {
			return err
		}
		v.interfaces[strings.ToLower(text(nic.ID))] = nic
	}
	return nil
}

// addNetworks takes the subnets from their networks, where Azure gives them whole.
func (v *inventory) addNetworks(list iter.Seq2[*armnetwork.VirtualNetwork, error]) error {
	for network, err := range list {
		if err != nil {
			return err
		}
		v.networks[strings.ToLower(text(network.ID))] = network
		if network.Properties == nil {
			continue
		}
		for _, s := range network.Properties.Subnets {
			if s != nil {
				v.subnets[strings.ToLower(text(s.ID))] = s
			}
		}
	}
	return nil
}

func (c *clients) listMachines(ctx context.Context, subscription string) iter.Seq2[*armcompute.VirtualMachine, error] {
	return items(ctx, "the VMs of subscription "+subscription, c.machines.NewListAllPager(nil),
		func(p armcompute.VirtualMachinesClientListAllResponse) []*armcompute.VirtualMachine { return p.Value })
}

func (c *clients) listInterfaces(ctx context.Context, subscription string) iter.Seq2[*armnetwork.Interface, error] {
	return items(ctx, "the NICs of subscription "+subscription, c.interfaces.NewListAllPager(nil),
		func(p armnetwork.InterfacesClientListAllResponse) []*armnetwork.Interface { return p.Value })
}

func (c *clients) listNetworks(ctx context.Context, subscription string) iter.Seq2[*armnetwork.VirtualNetwork, error] {
	return items(ctx, "the virtual networks of subscription "+subscription, c.networks.NewListAllPager(nil),
		func(p armnetwork.VirtualNetworksClientListAllResponse) []*armnetwork.VirtualNetwork { return p.Value })
}

func (c *clients) listGroups(ctx context.Context, subscription string) iter.Seq2[*armnetwork.SecurityGroup, error] {
	return items(ctx, "the NSGs of subscription "+subscription, c.groups.NewListAllPager(nil),
		func(p armnetwork.SecurityGroupsClientListAllResponse) []*armnetwork.SecurityGroup { return p.Value })
}

// items yields what a list holds, page by page, and an error of the port at the
// page that could not be read.
func items[P, T any](ctx context.Context, what string, pager *runtime.Pager[P], values func(P) []*T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for pager.More() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				yield(nil, unread(what, err))
				return
			}
			for _, item := range values(page) {
				if item != nil && !yield(item, nil) {
					return
				}
			}
		}
	}
}
