package arm

import (
	"fmt"
	"net/netip"
	"slices"
)

// DeleteMachine removes a machine at once. Its NICs stay and belong to nobody, as
// in Azure without a delete option.
func (s *Server) DeleteMachine(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	m := s.world.machines[key(id)]
	if m == nil {
		return fmt.Errorf("there is no machine %s", id)
	}
	s.world.dropMachine(m)
	return nil
}

// DeleteInterface removes a NIC at once, even from under a machine, which Azure
// would refuse: the machine then names one that is gone, as a client sees it that
// read the machine just before somebody took the NIC away.
func (s *Server) DeleteInterface(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	n := s.world.interfaces[key(id)]
	if n == nil {
		return fmt.Errorf("there is no network interface %s", id)
	}
	s.world.dropInterface(n)
	return nil
}

// DeleteGroup removes an NSG at once with all its rules. Azure refuses this while
// the NSG is attached; somebody who detaches it first and then deletes it between
// two looks of a client leaves the same behind, so the hook does both. A write in
// flight on it ends Canceled; how Azure ends it is UNVERIFIED.
func (s *Server) DeleteGroup(nsgID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.settled(nsgID)
	if err != nil {
		return err
	}
	if n.pending != nil {
		n.pending.end(canceled, &failure{Code: "Canceled", Message: "Operation was canceled."})
		n.pending = nil
	}
	subnets, nics := s.world.users(n)
	for _, id := range append(subnets, nics...) {
		s.world.attach(id, "")
	}
	delete(s.world.nsgs, key(n.id))
	return nil
}

// AttachGroup puts an NSG before a NIC or a subnet at once, in place of the one
// that was there; an empty nsgID leaves it without any. The etag of the NIC or
// subnet is renewed, that of the NSGs is not: whether Azure renews it is UNVERIFIED,
// so a client must not count on If-Match to notice.
func (s *Server) AttachGroup(nicOrSubnetID, nsgID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if nsgID != "" {
		n, err := s.settled(nsgID)
		if err != nil {
			return err
		}
		if n.provisioning("") == "Deleting" {
			return fmt.Errorf("%s is being deleted", n.id)
		}
		nsgID = n.id
	}
	if !s.world.attach(nicOrSubnetID, nsgID) {
		return fmt.Errorf("there is no network interface or subnet %s", nicOrSubnetID)
	}
	return nil
}

// SetPrivateAddress changes the address of a NIC's first IP configuration at once;
// the zero Addr takes it away. It must lie in the subnet and be free there.
func (s *Server) SetPrivateAddress(nicID string, addr netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	n := s.world.interfaces[key(nicID)]
	if n == nil {
		return fmt.Errorf("there is no network interface %s", nicID)
	}
	sub := s.world.subnets[key(n.subnet)]
	if addr.IsValid() && !sub.prefix.Contains(addr) {
		return fmt.Errorf("private address %s is outside the subnet's %s", addr, sub.prefix)
	}
	for _, id := range sub.nics {
		if other := s.world.interfaces[key(id)]; addr.IsValid() && slices.Contains(other.addresses, addr) && (other != n || addr != n.addresses[0]) {
			return fmt.Errorf("private address %s is already used by %s", addr, other.name)
		}
	}
	n.addresses[0], n.etag = addr, newETag()
	return nil
}

func (w *world) dropMachine(m *machine) {
	delete(w.machines, key(m.id))
	for _, id := range m.nics {
		if n := w.interfaces[key(id)]; n != nil {
			n.machine = ""
		}
	}
}

func (w *world) dropInterface(n *nic) {
	delete(w.interfaces, key(n.id))
	sub := w.subnets[key(n.subnet)]
	sub.nics = slices.DeleteFunc(sub.nics, func(other string) bool { return key(other) == key(n.id) })
	if p := w.publicIPs[key(n.publicIP)]; p != nil {
		p.nic = ""
	}
}

// attach sets the NSG of a NIC or a subnet and tells whether there is one.
func (w *world) attach(id, nsgID string) bool {
	if n := w.interfaces[key(id)]; n != nil {
		n.nsg, n.etag = nsgID, newETag()
		return true
	}
	sub := w.subnets[key(id)]
	if sub == nil {
		return false
	}
	sub.nsg, sub.etag = nsgID, newETag()
	w.networks[key(sub.vnet)].etag = sub.etag
	return true
}
