package arm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

// Locate implements [access.Network]. It reads the VM, then its NICs, then their
// subnets and virtual networks, and peered networks only where nothing but a
// firewall in one of them could stand before the machine. Nothing is remembered
// between calls, because a NIC can be moved or be given another address at any time.
func (n *Network) Locate(ctx context.Context, vm armid.ID) (access.Machine, error) {
	c, err := n.in(vm.Subscription())
	if err != nil {
		return access.Machine{}, err
	}
	got, err := c.machine(ctx, vm)
	if err != nil {
		return access.Machine{}, err
	}
	m := access.Machine{VM: vm, Tags: texts(got.Tags)}
	if id, err := armid.ParseType(text(got.ID), armid.VirtualMachine); err == nil {
		m.VM = id
	}
	ids, err := interfaceIDs(vm, &got)
	if err != nil {
		return access.Machine{}, err
	}
	around, err := n.lookAround(ctx, ids)
	if err != nil {
		return access.Machine{}, err
	}
	for _, id := range ids {
		nic := around.interfaces[strings.ToLower(id)]
		if nic == nil {
			continue
		}
		i, err := around.describe(ctx, nic)
		if err != nil {
			return access.Machine{}, fmt.Errorf("%w: VM %s: %w", access.ErrUnavailable, vm.Name(), err)
		}
		m.Interfaces = append(m.Interfaces, i)
	}
	if len(m.Interfaces) == 0 {
		return access.Machine{}, refusal(access.NoInterface, "None of the network interfaces that VM %s names exists as a resource of its own (those of uniform scale sets do not); attach one.", vm.Name())
	}
	return m, nil
}

// Tags implements [access.Network].
func (n *Network) Tags(ctx context.Context, vm armid.ID) (map[string]string, error) {
	c, err := n.in(vm.Subscription())
	if err != nil {
		return nil, err
	}
	got, err := c.machine(ctx, vm)
	return texts(got.Tags), err
}

func (c *clients) machine(ctx context.Context, vm armid.ID) (armcompute.VirtualMachine, error) {
	got, err := c.machines.Get(ctx, vm.ResourceGroup(), vm.Name(), nil)
	switch {
	case err == nil:
		return got.VirtualMachine, nil
	case absent(err):
		return armcompute.VirtualMachine{}, refusal(access.VMNotFound, "There is no VM %s in resource group %s; check the id, the VM may have been deleted or moved.", vm.Name(), vm.ResourceGroup())
	}
	return armcompute.VirtualMachine{}, unread(vm.String(), err)
}

// texts reads tags; a tag without a value has an empty one.
func texts(in map[string]*string) map[string]string {
	out := make(map[string]string, len(in))
	for name, value := range in {
		out[name] = text(value)
	}
	return out
}

func refusal(code access.Code, sentence string, args ...any) error {
	return access.Refusals{{Code: code, Sentence: fmt.Sprintf(sentence, args...)}}
}

// absent is Azure's word that something does not exist. A subscription that it
// does not show us is another matter: what is in it may well exist.
func absent(err error) bool { return failed(err, reading).reaction() == gone }

// interfaceIDs lists the NICs of a VM, the primary one first. A sole one counts as
// primary whatever it says, because Azure leaves the mark out then (resource graph
// samples).
func interfaceIDs(vm armid.ID, v *armcompute.VirtualMachine) ([]string, error) {
	nics := references(v)
	primary := pick(nics, func(r *armcompute.NetworkInterfaceReference) bool {
		return r.Properties != nil && r.Properties.Primary != nil && *r.Properties.Primary
	})
	if primary == nil {
		if len(nics) > 0 {
			return nil, refusal(access.NoInterface, "None of the network interfaces of VM %s is marked as primary; mark one.", vm.Name())
		}
		return nil, refusal(access.NoInterface, "VM %s has no network interface; attach one.", vm.Name())
	}
	ids := []string{text(primary.ID)}
	for _, r := range nics {
		if r != nil && r != primary {
			ids = append(ids, text(r.ID))
		}
	}
	return ids, nil
}

// references are what a VM says of its NICs.
func references(v *armcompute.VirtualMachine) []*armcompute.NetworkInterfaceReference {
	if v.Properties == nil || v.Properties.NetworkProfile == nil {
		return nil
	}
	return v.Properties.NetworkProfile.NetworkInterfaces
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

// inFlight is how many calls one call of ours makes side by side: enough to hide
// the way to Azure, far from what its throttling would notice (ARM's buckets hold
// hundreds).
const inFlight = 4

func few(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(inFlight)
	return g, ctx
}

// fetch begins to read each id. What was read is in the result, in the order of
// the ids, once the group has been waited for.
func fetch[T any](g *errgroup.Group, ids []string, read func(id string) (*T, error)) []*T {
	out := make([]*T, len(ids))
	for i, id := range ids {
		g.Go(func() (err error) {
			out[i], err = read(id)
			return err
		})
	}
	return out
}

// lookAround reads these NICs and what stands before them.
func (n *Network) lookAround(ctx context.Context, ids []string) (*inventory, error) {
	g, gctx := few(ctx)
	nics := fetch(g, ids, func(id string) (*armnetwork.Interface, error) { return n.readInterface(gctx, id) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	v := newInventory(n.log)
	var subnetIDs, networkIDs []string
	for i, nic := range nics {
		if nic == nil {
			continue
		}
		v.interfaces[strings.ToLower(ids[i])] = nic
		if id := subnetOf(nic); id != "" {
			subnetIDs = appendID(subnetIDs, id)
			networkIDs = appendID(networkIDs, parentNetwork(id))
		}
	}
	var once sync.Once // one line per call says that networks cannot be seen
	g, gctx = few(ctx)
	network := func(id string) (*armnetwork.VirtualNetwork, error) { return n.readNetwork(gctx, &once, id), nil }
	subnets := fetch(g, subnetIDs, func(id string) (*armnetwork.Subnet, error) { return n.readSubnet(gctx, id) })
	networks := fetch(g, networkIDs, network)
	if err := g.Wait(); err != nil {
		return nil, err
	}
	keep(v.subnets, subnetIDs, subnets)
	keep(v.networks, networkIDs, networks)

	g, gctx = few(ctx)
	peerIDs := v.firewallMayBeIn()
	peers := fetch(g, peerIDs, network)
	_ = g.Wait() // a network that cannot be read is no error
	keep(v.networks, peerIDs, peers)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", access.ErrUnavailable, err)
	}
	return v, nil
}

func keep[T any](into map[string]*T, ids []string, items []*T) {
	for i, item := range items {
		if item != nil {
			into[strings.ToLower(ids[i])] = item
		}
	}
}

// readInterface returns nil for a NIC that does not exist, or not as a resource of
// its own: the others of the machine may do.
func (n *Network) readInterface(ctx context.Context, address string) (*armnetwork.Interface, error) {
	id, err := armid.ParseType(address, networkInterface)
	if err != nil {
		n.log.WarnContext(ctx, "leaving out a NIC that is not a resource of its own", "nic", address, "error", err)
		return nil, nil
	}
	c, err := n.in(id.Subscription())
	if err != nil {
		return nil, err
	}
	got, err := c.interfaces.Get(ctx, id.ResourceGroup(), id.Name(), nil)
	switch {
	case err == nil:
		return &got.Interface, nil
	case absent(err):
		n.log.WarnContext(ctx, "leaving out a NIC that does not exist", "nic", address)
		return nil, nil
	}
	return nil, unread(address, err)
}

// readSubnet reads the subnet by itself: whether the NIC's expanded subnet names
// its NSG is not certain.
func (n *Network) readSubnet(ctx context.Context, address string) (*armnetwork.Subnet, error) {
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
		if absent(err) { // a NIC cannot be without its subnet: it is being changed
			return nil, fmt.Errorf("%w: %s is gone", access.ErrUnavailable, address)
		}
		return nil, unread(address, err)
	}
	return &got.Subnet, nil
}

// readNetwork returns nil for a virtual network that cannot be read, for whatever
// reason: without it verdicts say that they depend, but nobody's access may fail
// because of it.
func (n *Network) readNetwork(ctx context.Context, once *sync.Once, address string) *armnetwork.VirtualNetwork {
	err := errors.New("not an id of a virtual network")
	if id, parsed := armid.ParseType(address, virtualNetwork); parsed == nil {
		var c *clients
		if c, err = n.in(id.Subscription()); err == nil {
			got, failure := c.networks.Get(ctx, id.ResourceGroup(), id.Name(), nil)
			if failure == nil {
				return &got.VirtualNetwork
			}
			err = failed(failure, reading)
		}
	}
	if ctx.Err() == nil {
		once.Do(func() {
			n.log.InfoContext(ctx, "a virtual network cannot be read; what VirtualNetwork stands for is not fully known", "network", address, "cause", err)
		})
	}
	return nil
}
