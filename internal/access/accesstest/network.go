package accesstest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Network implements access.Network in memory, with the planner doing the writing.
// It knows nothing of ARM's moods; those are tested with the real adapter.
type Network struct {
	mu       sync.Mutex
	machines map[string]access.Machine
	groups   map[string]nsg.Group
	refused  map[string]error // by NSG key, or by rule name
	hidden   map[string]bool  // by NSG key
	writes   int
}

var _ access.Network = (*Network)(nil)

// NewNetwork returns a network without machines.
func NewNetwork() *Network {
	return &Network{machines: map[string]access.Machine{}, groups: map[string]nsg.Group{}, refused: map[string]error{}, hidden: map[string]bool{}}
}

// Space is the address space of the one virtual network.
var Space = netip.MustParsePrefix("10.0.0.0/16")

// AddMachine adds a VM with one public NIC that has one private address, behind
// NSGs, which are created with Azure's default rules only if need be. Called again
// for the same VM it moves it.
func (n *Network) AddMachine(vm armid.ID, address string, nsgs ...armid.ID) {
	n.SetMachine(access.Machine{VM: vm, Interfaces: []access.Interface{{
		ID: NIC(vm, 0), Addresses: []netip.Addr{netip.MustParseAddr(address)}, NSGs: nsgs, Public: true, Network: []netip.Prefix{Space},
	}}})
}

// NIC is the id of a VM's i-th network interface.
func NIC(vm armid.ID, i int) armid.ID {
	return armid.MustParse(fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Network/networkInterfaces/%s-nic%d",
		vm.Subscription(), vm.ResourceGroup(), vm.Name(), i))
}

// SetMachine adds or replaces a VM.
func (n *Network) SetMachine(m access.Machine) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.machines[m.VM.Key()] = m
	for _, i := range m.Interfaces {
		for _, id := range i.NSGs {
			if _, exists := n.groups[id.Key()]; !exists {
				n.groups[id.Key()] = nsg.Group{ID: id.String(), Defaults: defaults}
			}
		}
	}
}

// RemoveMachine deletes a VM and its NICs.
func (n *Network) RemoveMachine(vm armid.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.machines, vm.Key())
}

// defaults are the inbound rules that every NSG has (Azure's overview of NSGs).
var defaults = []nsg.Rule{
	inbound("AllowVnetInBound", 65000, nsg.Allow, "VirtualNetwork", "VirtualNetwork"),
	inbound("AllowAzureLoadBalancerInBound", 65001, nsg.Allow, "AzureLoadBalancer", "*"),
	inbound("DenyAllInBound", 65500, nsg.Deny, "*", "*"),
}

func inbound(name string, priority int, access nsg.Access, source, destination string) nsg.Rule {
	return nsg.Rule{Name: name, Priority: priority, Direction: nsg.Inbound, Access: access, Protocol: nsg.AnyProtocol,
		Sources: []string{source}, SourcePorts: []string{"*"}, Destinations: []string{destination}, DestinationPorts: []string{"*"}}
}

// Edit changes an NSG by hand.
func (n *Network) Edit(id armid.ID, change func(*nsg.Group)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.groups[id.Key()]
	change(&g)
	n.groups[id.Key()] = g
}

// Remove deletes an NSG.
func (n *Network) Remove(id armid.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.groups, id.Key())
}

// Refuse makes every change of an NSG end in err for good; nil allows them again.
func (n *Network) Refuse(id armid.ID, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[id.Key()] = err
}

// RefuseRule makes every change of one rule end in err for good; nil allows them
// again.
func (n *Network) RefuseRule(name string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused[name] = err
}

// Hide makes an NSG unreadable, as a lost role assignment does.
func (n *Network) Hide(id armid.ID, hidden bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hidden[id.Key()] = hidden
}

// group is an NSG as it is, with what it filters for. One with "subnet" in its
// name is a subnet's; any other is attached to the NICs behind it.
func (n *Network) group(id armid.ID) (nsg.Group, bool) {
	g, known := n.groups[id.Key()]
	g.Interfaces, g.Subnets = nil, nil
	if strings.Contains(id.Name(), "subnet") {
		g.Subnets = []string{"/a/subnet"}
		return g, known
	}
	for _, m := range n.machines {
		for _, i := range m.Interfaces {
			if slices.ContainsFunc(i.NSGs, id.Equal) {
				g.Interfaces = append(slices.Clone(g.Interfaces), i.ID.String())
			}
		}
	}
	slices.Sort(g.Interfaces)
	return g, known
}

// Rules returns our allow rules of an NSG by name.
func (n *Network) Rules(id armid.ID) map[string]nsg.Rule {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[string]nsg.Rule{}
	for _, r := range n.groups[id.Key()].Rules {
		if _, _, ours := nsg.ParseAllowName(r.Name); ours {
			out[r.Name] = r
		}
	}
	return out
}

// Writes is how often an NSG was written.
func (n *Network) Writes() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.writes
}

// Locate implements access.Network.
func (n *Network) Locate(_ context.Context, vm armid.ID) (access.Machine, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, known := n.machines[vm.Key()]
	switch {
	case !known:
		return m, access.Refusals{{Code: access.VMNotFound, Sentence: "There is no such VM."}}
	case len(m.Interfaces) == 0:
		return m, access.Refusals{{Code: access.NoInterface, Sentence: "The VM has no NIC; attach one."}}
	}
	return m, nil
}

// Tags implements access.Network.
func (n *Network) Tags(ctx context.Context, vm armid.ID) (map[string]string, error) {
	m, err := n.Locate(ctx, vm)
	return m.Tags, err
}

// Group implements access.Network.
func (n *Network) Group(_ context.Context, id armid.ID) (nsg.Group, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.read(id)
}

func (n *Network) read(id armid.ID) (nsg.Group, error) {
	g, known := n.group(id)
	switch {
	case !known:
		return g, fmt.Errorf("%w: %s", access.ErrNotFound, id)
	case n.hidden[id.Key()]:
		return g, fmt.Errorf("%w: %s", access.ErrForbidden, id)
	}
	return g, nil
}

// Match implements access.Network.
func (n *Network) Match(_ context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (access.Outcome, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := access.Outcome{Refused: map[string]error{}}
	g, err := n.read(id)
	if err != nil {
		return out, err
	}
	p := plan(g)
	if n.allow(id, &p, out.Refused); !p.Empty() {
		n.writes++
		g = p.Apply(g)
		n.groups[id.Key()] = g
		p = plan(g)
	}
	out.Group, out.Unplaced = g, p.Unplaced
	return out, nil
}

// allow takes out of a plan what is refused, and notes it.
func (n *Network) allow(id armid.ID, p *nsg.Plan, refused map[string]error) {
	no := func(name string) bool {
		if err := cmp.Or(n.refused[id.Key()], n.refused[name]); err != nil {
			refused[name] = err
			return true
		}
		return false
	}
	p.Put = slices.DeleteFunc(p.Put, func(r nsg.Rule) bool { return no(r.Name) })
	p.Delete = slices.DeleteFunc(p.Delete, no)
	if p.Flush != nil && no("") {
		p.Flush = nil
	}
}

// Members implements access.Network; there are no application security groups.
func (n *Network) Members(context.Context, string) (map[string][]netip.Addr, error) {
	return map[string][]netip.Addr{}, nil
}

// Estate implements access.Network; everything lies in every subscription.
func (n *Network) Estate(context.Context, string) (access.Estate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := access.Estate{Groups: map[string]nsg.Group{}, Members: map[string][]netip.Addr{}}
	for key, g := range n.groups {
		if !n.hidden[key] {
			e.Groups[key], _ = n.group(armid.MustParse(g.ID))
		}
	}
	for _, m := range n.machines {
		e.Machines = append(e.Machines, m)
	}
	return e, nil
}

// Machines implements access.Network.
func (n *Network) Machines(_ context.Context, _ string, f func(armid.ID) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.machines {
		if err := f(m.VM); err != nil {
			return err
		}
	}
	return nil
}
