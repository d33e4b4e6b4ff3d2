package arm

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first packet of an inbound connection to a machine, after Azure has
// translated the public address to the private one.
type Packet struct {
	VM         string     // name or full id
	To         netip.Addr // one of the machine's private addresses; zero means the first of its primary NIC
	Source     netip.Addr
	SourcePort uint16 // 0 means an ephemeral port, 49152
	Port       uint16
	Protocol   string // Tcp, Udp, Icmp, Esp or Ah, in any case
}

// Answer says what the data plane does with a packet now. NSG and Rule name what
// decided: the rule that denied, or the last one that had to allow. They are empty
// when no NSG is in the way.
type Answer struct {
	Access string `json:"access"` // Allow or Deny
	NSG    string `json:"nsg,omitempty"`
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason"`
	Path   []Step `json:"path"`
}

// Step is the verdict at one level. NSG is empty when none is attached there.
type Step struct {
	Level    string `json:"level"` // subnet or networkInterface
	NSG      string `json:"nsg,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Access   string `json:"access"`
}

// azureHost is the address behind the AzureLoadBalancer tag, from which health
// probes and platform services reach every machine.
var azureHost = netip.MustParseAddr("168.63.129.16")

// sharedSpace is RFC 6598: not private by RFC 1918, not on the internet either.
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// traffic is a packet with what its addresses mean inside the estate.
type traffic struct {
	Packet
	protocol    string
	destination netip.Addr
	space       []netip.Prefix  // of the virtual network and its peers
	sourceASGs  map[string]bool // of the NIC that has the source address, if any
	destASGs    map[string]bool
}

// Probe evaluates a packet: subnet NSG first, then the NIC's, both must allow
// (network-security-group-how-it-works). It obeys only rules whose operation has
// succeeded. The error says what is unknown: the machine, its NIC, the protocol.
func (s *Server) Probe(p Packet) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	t := traffic{Packet: p, protocol: strings.ToLower(p.Protocol)}
	if !slices.Contains([]string{"tcp", "udp", "icmp", "esp", "ah"}, t.protocol) {
		return Answer{}, fmt.Errorf("protocol %q must be Tcp, Udp, Icmp, Esp or Ah", p.Protocol)
	}
	if !p.Source.IsValid() {
		return Answer{}, fmt.Errorf("the packet has no source address")
	}
	t.Source = p.Source.Unmap()
	if t.SourcePort == 0 {
		t.SourcePort = 49152
	}
	m, err := s.world.machine(p.VM)
	if err != nil {
		return Answer{}, err
	}
	n, err := s.world.door(m, &t)
	if err != nil {
		return Answer{}, err
	}
	sub := s.world.subnets[key(n.subnet)]
	net := s.world.networks[key(sub.vnet)]
	t.space, t.destASGs = net.reach(), members(n)
	for _, id := range net.subnets {
		for _, id := range s.world.subnets[key(id)].nics {
			if other := s.world.interfaces[key(id)]; slices.Contains(other.addresses, t.Source) {
				t.sourceASGs = members(other)
			}
		}
	}

	a := Answer{Access: "Allow", Reason: "no network security group is attached to the subnet or the network interface"}
	for _, level := range []struct{ name, nsg string }{{"subnet", sub.nsg}, {"networkInterface", n.nsg}} {
		group := s.world.nsgs[key(level.nsg)]
		if group == nil {
			a.Path = append(a.Path, Step{Level: level.name, Access: "Allow"})
			continue
		}
		name, v := t.first(group.live)
		step := Step{Level: level.name, NSG: group.id, Rule: name, Priority: v.priority, Access: "Deny"}
		if v.allow {
			step.Access = "Allow"
		}
		a.Path = append(a.Path, step)
		a.Access, a.NSG, a.Rule = step.Access, group.id, name
		a.Reason = fmt.Sprintf("%s NSG %s: rule %s (priority %d) says %s", level.name, group.name, name, v.priority, step.Access)
		if !v.allow {
			break
		}
	}
	return a, nil
}

// door finds the NIC that a packet reaches and sets the address it arrives at.
func (w *world) door(m *machine, t *traffic) (*nic, error) {
	for i, id := range m.nics {
		n := w.interfaces[key(id)]
		switch {
		case n == nil:
		case t.To.IsValid() && slices.Contains(n.addresses, t.To.Unmap()):
			t.destination = t.To.Unmap()
			return n, nil
		case !t.To.IsValid() && i == 0 && n.addresses[0].IsValid():
			t.destination = n.addresses[0]
			return n, nil
		}
	}
	if t.To.IsValid() {
		return nil, fmt.Errorf("machine %s has no private address %s", m.name, t.To)
	}
	return nil, fmt.Errorf("machine %s has no primary network interface with a private address", m.name)
}

// machine finds a machine by id or by a name that only one of them has.
func (w *world) machine(nameOrID string) (*machine, error) {
	if strings.HasPrefix(nameOrID, "/") {
		if m := w.machines[key(nameOrID)]; m != nil {
			return m, nil
		}
		return nil, fmt.Errorf("there is no machine %s", nameOrID)
	}
	var found *machine
	for _, m := range w.machines {
		if !strings.EqualFold(m.name, nameOrID) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("more than one machine is called %q; give the full id", nameOrID)
		}
		found = m
	}
	if found == nil {
		return nil, fmt.Errorf("there is no machine called %q", nameOrID)
	}
	return found, nil
}

func members(n *nic) map[string]bool {
	in := map[string]bool{}
	for _, id := range n.asgs {
		in[key(id)] = true
	}
	return in
}

// first returns the first inbound rule that fits, in order of priority. The last
// default rule fits everything.
func (t *traffic) first(own []*rule) (string, view) {
	sorted := slices.SortedFunc(slices.Values(own), func(a, b *rule) int { return cmp.Compare(a.view.priority, b.view.priority) })
	for _, r := range sorted {
		if t.fits(r.view) {
			return r.name, r.view
		}
	}
	for _, d := range defaultRules {
		if t.fits(d.view) {
			return d.name, d.view
		}
	}
	panic("arm: no default rule fits, not even DenyAllInBound")
}

func (t *traffic) fits(v view) bool {
	if !v.inbound || (v.protocol != "*" && v.protocol != t.protocol) {
		return false
	}
	return t.fitsPorts(v) &&
		t.fitsEnd(v.source, t.Source, t.sourceASGs) && t.fitsEnd(v.destination, t.destination, t.destASGs)
}

// fitsPorts: a protocol without ports meets only rules for all ports.
func (t *traffic) fitsPorts(v view) bool {
	fits := func(ranges []portRange, port uint16) bool {
		for _, r := range ranges {
			if r == anyPort || ((t.protocol == "tcp" || t.protocol == "udp") && r.from <= port && port <= r.to) {
				return true
			}
		}
		return false
	}
	return fits(v.source.ports, t.SourcePort) && fits(v.destination.ports, t.Port)
}

func (t *traffic) fitsEnd(h half, a netip.Addr, groups map[string]bool) bool {
	for _, id := range h.asgs {
		if groups[id] {
			return true
		}
	}
	for _, want := range h.addresses {
		if want.prefix.IsValid() {
			if want.prefix.Contains(a) {
				return true
			}
		} else if t.carries(want.tag, a) {
			return true
		}
	}
	return false
}

// carries tells whether a tag covers an address. VirtualNetwork includes the peers'
// spaces, since their access is not blocked here (service tags page). The address lists behind other
// service tags are Azure's alone, so those cover nothing here.
func (t *traffic) carries(tag string, a netip.Addr) bool {
	inside := slices.ContainsFunc(t.space, func(p netip.Prefix) bool { return p.Contains(a) })
	switch tag {
	case "*":
		return true
	case "virtualnetwork":
		return inside || a == azureHost // "the virtual IP address of the host" (service tags page)
	case "azureloadbalancer":
		return a == azureHost
	case "internet":
		return !inside && a != azureHost && a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
	}
	return false
}
