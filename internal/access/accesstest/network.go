package accesstest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
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

// AddMachine adds a VM with one private address behind NSGs, which are created empty
// if need be.
func (n *Network) AddMachine(vm armid.ID, address string, nsgs ...armid.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.machines[vm.Key()] = access.Machine{VM: vm, Addresses: []netip.Addr{netip.MustParseAddr(address)}, NSGs: nsgs}
	for _, id := range nsgs {
		if _, exists := n.groups[id.Key()]; !exists {
			n.groups[id.Key()] = nsg.Group{ID: id.String()}
		}
	}
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
	case len(m.NSGs) == 0:
		return m, access.Refusals{{Code: access.NoNSG, Sentence: "The VM has no NSG; attach one."}}
	}
	return m, nil
}

// Match implements access.Network.
func (n *Network) Match(_ context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (access.Outcome, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := access.Outcome{Refused: map[string]error{}}
	g, known := n.groups[id.Key()]
	if !known {
		return out, fmt.Errorf("%w: %s", access.ErrNotFound, id)
	}
	if n.hidden[id.Key()] {
		return out, fmt.Errorf("%w: %s", access.ErrForbidden, id)
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
}

// Groups implements access.Network; every NSG lies in every subscription.
func (n *Network) Groups(_ context.Context, _ string, f func(armid.ID, nsg.Group) error) error {
	n.mu.Lock()
	var all []nsg.Group
	for _, g := range n.groups {
		all = append(all, g)
	}
	n.mu.Unlock()
	for _, g := range all {
		if err := f(armid.MustParse(g.ID), g); err != nil {
			return err
		}
	}
	return nil
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
