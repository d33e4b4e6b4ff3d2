package access

import (
	"net/netip"
	"slices"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Machine is a VM as Azure shows it: its interfaces, and what stands before each.
type Machine struct {
	VM         armid.ID
	Interfaces []Interface // the primary one first; not empty
	Tags       map[string]string
	// Unseen says that something of it could not be read (a NIC, its subnet): then
	// what is missing here proves nothing. Only in an [Estate]; Locate fails instead.
	Unseen bool
}

// Interface is a network interface (NIC) of a VM.
type Interface struct {
	ID        armid.ID
	Addresses []netip.Addr // private ones
	NSGs      []armid.ID   // in the order a packet meets them: the subnet's, the NIC's; those that exist
	Public    bool         // has a public address or a load balancer in front
	Firewall  bool         // its network, or a network that is peered with it, holds an Azure Firewall; only looked up when NSGs is empty
	Network   []netip.Prefix
	ASGs      []string // ids of the application security groups its addresses are in, lower case
}

// Surroundings is what rules' names stand for at this interface, as far as the
// interface itself tells: who else is in its application security groups it does
// not know. See [Network.Members].
func (i Interface) Surroundings() nsg.Surroundings {
	s := nsg.Surroundings{VirtualNetwork: i.Network, ASGMembers: map[string][]netip.Addr{}}
	for _, id := range i.ASGs {
		s.ASGMembers[id] = i.Addresses
	}
	return s
}

// Place is the part of a machine that lies behind one NSG.
type Place struct {
	NSG        armid.ID
	Addresses  []netip.Addr
	Interfaces []string // ARM ids of the NICs behind it
}

// reached are the interfaces that access and protection are about: the primary
// one, or all when policy says so.
func (m Machine) reached(all bool) []Interface {
	if all || len(m.Interfaces) == 0 {
		return m.Interfaces
	}
	return m.Interfaces[:1]
}

// places lists the NSGs before the given interfaces, each with the addresses it
// filters for.
func places(interfaces []Interface) []Place {
	var out []Place
	for _, i := range interfaces {
		for _, id := range i.NSGs {
			at := slices.IndexFunc(out, func(p Place) bool { return p.NSG.Equal(id) })
			if at < 0 {
				out, at = append(out, Place{NSG: id}), len(out)
			}
			out[at].Addresses = append(out[at].Addresses, i.Addresses...)
			out[at].Interfaces = append(out[at].Interfaces, i.ID.String())
		}
	}
	return out
}

// Estate is everything in a subscription that matters here, read by lists.
type Estate struct {
	Machines []Machine               // a machine whose NIC cannot be found is there without Interfaces
	Groups   map[string]nsg.Group    // by NSG key
	Members  map[string][]netip.Addr // application security groups, as in nsg.Surroundings
}
