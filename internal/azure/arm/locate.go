package arm

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Locate implements [access.Network]. It looks at the primary NIC only: that is
// the one a client reaches under the VM's address, and one rule in each NSG on
// the way to it is what a grant opens. Nothing is remembered between calls,
// because a NIC can be moved or be given another address at any time.
func (n *Network) Locate(ctx context.Context, vm armid.ID) (access.Machine, error) {
	c, err := n.in(vm.Subscription())
	if err != nil {
		return access.Machine{}, err
	}
	got, err := c.machines.Get(ctx, vm.ResourceGroup(), vm.Name(), nil)
	if err != nil {
		if absent(err) {
			return access.Machine{}, refusal(access.VMNotFound, "There is no VM %s in resource group %s; check the id, the VM may have been deleted or moved.", vm.Name(), vm.ResourceGroup())
		}
		return access.Machine{}, unread(vm.String(), err)
	}
	m := access.Machine{VM: vm}
	if id, err := armid.Parse(text(got.ID)); err == nil {
		m.VM = id
	}
	nic, err := n.primaryInterface(ctx, vm, &got.VirtualMachine)
	if err != nil {
		return access.Machine{}, err
	}
	if m.Addresses = n.addresses(ctx, vm, nic); len(m.Addresses) == 0 {
		return access.Machine{}, refusal(access.NoAddress, "The primary network interface of VM %s has no private address; give its IP configuration one.", vm.Name())
	}
	if m.NSGs, err = n.groupsBefore(ctx, vm, nic); err != nil {
		return access.Machine{}, err
	}
	if len(m.NSGs) == 0 {
		return access.Machine{}, refusal(access.NoNSG, "No network security group stands before VM %s, so there is nothing to open; attach an NSG to the NIC or to its subnet.", vm.Name())
	}
	return m, nil
}

func refusal(code access.Code, sentence string, args ...any) error {
	return access.Refusals{{Code: code, Sentence: fmt.Sprintf(sentence, args...)}}
}

// absent includes subscriptions we cannot see: to whoever asks for a VM in one,
// it is not there.
func absent(err error) bool {
	f := failed(err, reading)
	return f.reaction() == gone || f.code == subscriptionNotFound
}

// primaryInterface reads the NIC marked as primary. A sole one counts as primary
// whatever it says, because Azure leaves the mark out then (resource graph
// samples).
func (n *Network) primaryInterface(ctx context.Context, vm armid.ID, v *armcompute.VirtualMachine) (*armnetwork.Interface, error) {
	var nics []*armcompute.NetworkInterfaceReference
	if v.Properties != nil && v.Properties.NetworkProfile != nil {
		nics = v.Properties.NetworkProfile.NetworkInterfaces
	}
	chosen := pick(nics, func(r *armcompute.NetworkInterfaceReference) bool {
		return r.Properties != nil && r.Properties.Primary != nil && *r.Properties.Primary
	})
	if chosen == nil {
		if len(nics) > 0 {
			return nil, refusal(access.NoInterface, "None of the network interfaces of VM %s is marked as primary; mark one.", vm.Name())
		}
		return nil, refusal(access.NoInterface, "VM %s has no network interface; attach one.", vm.Name())
	}
	id, err := armid.ParseType(text(chosen.ID), "Microsoft.Network/networkInterfaces")
	if err != nil {
		return nil, refusal(access.NoInterface, "The primary network interface of VM %s is not a resource of its own, as with uniform scale sets; such VMs cannot be opened.", vm.Name())
	}
	c, err := n.in(id.Subscription())
	if err != nil {
		return nil, err
	}
	got, err := c.interfaces.Get(ctx, id.ResourceGroup(), id.Name(), nil)
	if err != nil {
		if absent(err) {
			return nil, refusal(access.NoInterface, "The primary network interface %s of VM %s does not exist; attach one.", id.Name(), vm.Name())
		}
		return nil, unread(id.String(), err)
	}
	return &got.Interface, nil
}

// pick returns the sole item or the primary one, else nil.
func pick[T any](items []*T, primary func(*T) bool) *T {
	items = slices.DeleteFunc(slices.Clone(items), func(i *T) bool { return i == nil })
	if len(items) == 1 {
		return items[0]
	}
	if i := slices.IndexFunc(items, primary); i >= 0 {
		return items[i]
	}
	return nil
}

func ipConfigurations(nic *armnetwork.Interface) []*armnetwork.InterfaceIPConfiguration {
	if nic.Properties == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(nic.Properties.IPConfigurations), func(c *armnetwork.InterfaceIPConfiguration) bool {
		return c == nil || c.Properties == nil
	})
}

// addresses are the private ones, since Azure applies inbound rules after it has
// translated the public address.
func (n *Network) addresses(ctx context.Context, vm armid.ID, nic *armnetwork.Interface) []netip.Addr {
	var out []netip.Addr
	for _, c := range ipConfigurations(nic) {
		private := text(c.Properties.PrivateIPAddress)
		if private == "" {
			continue
		}
		a, err := netip.ParseAddr(private)
		if err != nil {
			// armnetwork v9 allows a block of addresses here; none of it is the
			// machine's own.
			n.log.WarnContext(ctx, "leaving out a private address that is not a single one", "vm", vm, "address", private)
			continue
		}
		if a = a.Unmap(); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// groupsBefore lists the NSGs in the order a packet meets them. The subnet is
// read by itself: whether the NIC's expanded subnet names its NSG is not certain.
func (n *Network) groupsBefore(ctx context.Context, vm armid.ID, nic *armnetwork.Interface) ([]armid.ID, error) {
	var out []armid.ID
	add := func(g *armnetwork.SecurityGroup) error {
		if g == nil || g.ID == nil {
			return nil
		}
		id, err := armid.ParseType(*g.ID, armid.SecurityGroup)
		if err != nil {
			return fmt.Errorf("%w: an NSG of VM %s has id %q: %w", access.ErrUnavailable, vm.Name(), *g.ID, err)
		}
		if !slices.ContainsFunc(out, id.Equal) {
			out = append(out, id)
		}
		return nil
	}
	first := pick(ipConfigurations(nic), func(c *armnetwork.InterfaceIPConfiguration) bool {
		return c.Properties.Primary != nil && *c.Properties.Primary
	})
	if first != nil && first.Properties.Subnet != nil {
		subnet, err := n.subnet(ctx, text(first.Properties.Subnet.ID))
		if err != nil {
			return nil, err
		}
		if subnet.Properties != nil {
			if err := add(subnet.Properties.NetworkSecurityGroup); err != nil {
				return nil, err
			}
		}
	}
	if nic.Properties != nil {
		if err := add(nic.Properties.NetworkSecurityGroup); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (n *Network) subnet(ctx context.Context, address string) (*armnetwork.Subnet, error) {
	id, err := arm.ParseResourceID(address)
	if err != nil {
		return nil, fmt.Errorf("%w: subnet: %w", access.ErrUnavailable, err)
	}
	c, err := n.in(id.SubscriptionID)
	if err != nil {
		return nil, err
	}
	got, err := c.subnets.Get(ctx, id.ResourceGroupName, id.Parent.Name, id.Name, nil)
	if err != nil {
		return nil, unread(address, err)
	}
	return &got.Subnet, nil
}
