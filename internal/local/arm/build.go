package arm

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// builder turns a topology into a world. here is the path of the entry being
// read, for errors.
type builder struct {
	w        *world
	scope    string // id of the resource group being read
	location string
	taken    map[string]string // subnet and private address to the NIC that has it
}

// build checks a topology and makes the estate from it. Its errors are
// *entryError.
func build(t Topology) (*world, error) {
	b := &builder{taken: map[string]string{}, w: &world{
		subscriptions: map[string]*subscription{}, groups: map[string]*resource{}, machines: map[string]*machine{},
		interfaces: map[string]*nic{}, networks: map[string]*vnet{}, subnets: map[string]*subnet{},
		publicIPs: map[string]*publicIP{}, asgs: map[string]*resource{}, nsgs: map[string]*nsg{},
		assignments: map[string]*roleAssignment{}, members: map[string][]string{},
	}}
	// References may point to a later resource group, so kinds are read in the
	// order in which they refer to each other, over the whole file.
	passes := []func(string, ResourceGroup) error{b.group, b.securityGroups, b.network, b.peerings, b.compute}
	for pass, read := range passes {
		for i, s := range t.Subscriptions {
			path := fmt.Sprintf("$.subscriptions[%d]", i)
			if pass == 0 {
				if err := b.subscription(s); err != nil {
					return nil, &entryError{path, err}
				}
			}
			for j, g := range s.ResourceGroups {
				b.scope, b.location = groupID(s.ID, g.Name), g.Location
				if err := read(fmt.Sprintf("%s.resourceGroups[%d]", path, j), g); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.Groups)) {
		if err := b.w.setGroup(id, t.Groups[id]); err != nil {
			return nil, &entryError{"$.groups", err}
		}
	}
	for i, a := range t.RoleAssignments {
		if err := b.w.assign(a); err != nil {
			return nil, &entryError{fmt.Sprintf("$.roleAssignments[%d]", i), err}
		}
	}
	return b.w, nil
}

func (b *builder) subscription(s Subscription) error {
	if _, err := uuid.Parse(s.ID); err != nil || len(s.ID) != 36 {
		return fmt.Errorf("subscription id %q must be a UUID", s.ID)
	}
	if b.w.subscriptions[key(s.ID)] != nil {
		return fmt.Errorf("subscription %s is given twice", s.ID)
	}
	b.w.subscriptions[key(s.ID)] = &subscription{id: s.ID, name: s.Name}
	return nil
}

func (b *builder) group(path string, g ResourceGroup) error {
	if !groupName.MatchString(g.Name) || g.Location == "" {
		return &entryError{path, fmt.Errorf("resource group %q needs a valid name and a location", g.Name)}
	}
	return add(b.w.groups, path, b.scope, &resource{id: b.scope, name: g.Name, location: g.Location, state: "Succeeded"})
}

func (b *builder) securityGroups(path string, g ResourceGroup) error {
	for i, name := range g.ASGs {
		r, err := b.resource("Microsoft.Network/applicationSecurityGroups", name, nil)
		if err != nil {
			return &entryError{fmt.Sprintf("%s.asgs[%d]", path, i), err}
		}
		if err := add(b.w.asgs, fmt.Sprintf("%s.asgs[%d]", path, i), r.id, &r); err != nil {
			return err
		}
	}
	for i, t := range g.NSGs {
		path := fmt.Sprintf("%s.nsgs[%d]", path, i)
		r, err := b.resource("Microsoft.Network/networkSecurityGroups", t.Name, t.Tags)
		if err != nil {
			return &entryError{path, err}
		}
		n := &nsg{id: r.id, name: r.name, guid: r.guid, etag: r.etag, committed: true,
			state: groupState{location: r.location, tags: toAny(r.tags)}}
		for j, t := range t.Rules {
			path := fmt.Sprintf("%s.rules[%d]", path, j)
			made, err := b.w.rule(n.id, t)
			if err != nil {
				return &entryError{path, err}
			}
			n.state.rules = append(n.state.rules, made)
			if err := asError(checkRules(n.id, n.state.rules)); err != nil {
				return &entryError{path, err}
			}
		}
		n.live = n.state.rules
		if err := add(b.w.nsgs, path, n.id, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) network(path string, g ResourceGroup) error {
	for i, t := range g.PublicIPs {
		path := fmt.Sprintf("%s.publicIPs[%d]", path, i)
		r, err := b.resource("Microsoft.Network/publicIPAddresses", t.Name, nil)
		if err != nil {
			return &entryError{path, err}
		}
		address, err := netip.ParseAddr(t.Address)
		if err != nil {
			return &entryError{path, fmt.Errorf("public address: %w", err)}
		}
		if err := add(b.w.publicIPs, path, r.id, &publicIP{resource: r, address: address}); err != nil {
			return err
		}
	}
	for i, t := range g.VNets {
		path := fmt.Sprintf("%s.vnets[%d]", path, i)
		r, err := b.resource("Microsoft.Network/virtualNetworks", t.Name, t.Tags)
		if err != nil {
			return &entryError{path, err}
		}
		v := &vnet{resource: r}
		for _, text := range t.Space {
			prefix, err := cidr(text)
			if err != nil {
				return &entryError{path, err}
			}
			v.space = append(v.space, prefix)
		}
		for j, t := range t.Subnets {
			path := fmt.Sprintf("%s.subnets[%d]", path, j)
			sub, err := b.subnet(v, t)
			if err != nil {
				return &entryError{path, err}
			}
			if err := add(b.w.subnets, path, sub.id, sub); err != nil {
				return err
			}
			v.subnets = append(v.subnets, sub.id)
		}
		if err := add(b.w.networks, path, v.id, v); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) subnet(v *vnet, t Subnet) (*subnet, error) {
	prefix, err := cidr(t.Prefix)
	if err != nil {
		return nil, err
	}
	inside := false
	for _, space := range v.space {
		inside = inside || (space.Contains(prefix.Addr()) && space.Bits() <= prefix.Bits())
	}
	if !inside {
		return nil, fmt.Errorf("subnet %s is outside the address space of %s", prefix, v.name)
	}
	for _, id := range v.subnets {
		if other := b.w.subnets[key(id)]; other.prefix.Overlaps(prefix) {
			return nil, fmt.Errorf("subnet %s overlaps with %s", prefix, other.name)
		}
	}
	if !resourceName.MatchString(t.Name) {
		return nil, fmt.Errorf("%q is not a valid subnet name", t.Name)
	}
	s := &subnet{vnet: v.id, prefix: prefix, resource: resource{
		id: v.id + "/subnets/" + t.Name, name: t.Name, location: v.location, etag: v.etag, state: "Succeeded"}}
	if t.NSG != "" {
		s.nsg, err = resolve(b.w.nsgs, b.scope, "Microsoft.Network/networkSecurityGroups", t.NSG, func(n *nsg) string { return n.id })
	}
	return s, err
}

func (b *builder) compute(path string, g ResourceGroup) error {
	for i, t := range g.VMs {
		path := fmt.Sprintf("%s.vms[%d]", path, i)
		r, err := b.resource("Microsoft.Compute/virtualMachines", t.Name, t.Tags)
		if err != nil {
			return &entryError{path, err}
		}
		m := &machine{resource: r, os: t.OS}
		switch m.os {
		case "":
			m.os = "Linux"
		case "Linux", "Windows":
		default:
			return &entryError{path, fmt.Errorf("os %q must be Linux or Windows", t.OS)}
		}
		if len(t.NICs) == 0 {
			return &entryError{path, errors.New("a machine needs at least one nic")}
		}
		for j, t := range t.NICs {
			path := fmt.Sprintf("%s.nics[%d]", path, j)
			n, err := b.nic(m.id, t)
			if err != nil {
				return &entryError{path, err}
			}
			if err := add(b.w.interfaces, path, n.id, n); err != nil {
				return err
			}
			n.primary = j == 0
			m.nics = append(m.nics, n.id)
			sub := b.w.subnets[key(n.subnet)]
			sub.nics = append(sub.nics, n.id)
		}
		if err := add(b.w.machines, path, m.id, m); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) nic(machine string, t Interface) (*nic, error) {
	r, err := b.resource("Microsoft.Network/networkInterfaces", t.Name, nil)
	if err != nil {
		return nil, err
	}
	n := &nic{resource: r, machine: machine, balanced: t.LoadBalanced}
	where := t.Subnet
	if network, name, two := strings.Cut(where, "/"); two && network != "" {
		where = b.scope + "/providers/Microsoft.Network/virtualNetworks/" + network + "/subnets/" + name
	}
	sub := b.w.subnets[key(where)]
	if sub == nil {
		return nil, fmt.Errorf("subnet %q does not exist; write vnet/subnet or a full id", t.Subnet)
	}
	n.subnet = sub.id
	for i, text := range append([]string{t.Private}, t.Secondary...) {
		if i == 0 && text == "" {
			n.addresses = append(n.addresses, netip.Addr{})
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("private address: %w", err)
		}
		if !sub.prefix.Contains(address) {
			return nil, fmt.Errorf("private address %s is outside the subnet's %s", address, sub.prefix)
		}
		at := key(sub.id) + " " + address.String()
		if other, used := b.taken[at]; used {
			return nil, fmt.Errorf("private address %s is already used by %s", address, other)
		}
		b.taken[at] = n.name
		n.addresses = append(n.addresses, address)
	}
	if t.NSG != "" {
		if n.nsg, err = resolve(b.w.nsgs, b.scope, "Microsoft.Network/networkSecurityGroups", t.NSG, func(n *nsg) string { return n.id }); err != nil {
			return nil, err
		}
	}
	for _, name := range t.ASGs {
		id, err := resolve(b.w.asgs, b.scope, "Microsoft.Network/applicationSecurityGroups", name, func(r *resource) string { return r.id })
		if err != nil {
			return nil, err
		}
		n.asgs = append(n.asgs, id)
	}
	if t.PublicIP != "" {
		if n.publicIP, err = resolve(b.w.publicIPs, b.scope, "Microsoft.Network/publicIPAddresses", t.PublicIP, func(p *publicIP) string { return p.id }); err != nil {
			return nil, err
		}
		p := b.w.publicIPs[key(n.publicIP)]
		if p.nic != "" {
			return nil, fmt.Errorf("public address %s is already used by %s", p.name, p.nic)
		}
		p.nic = n.id
	}
	return n, nil
}

func (b *builder) resource(kind, name string, tags map[string]string) (resource, error) {
	if !resourceName.MatchString(name) {
		return resource{}, fmt.Errorf("%q is not a valid name for %s", name, kind)
	}
	return resource{id: b.scope + "/providers/" + kind + "/" + name, name: name, location: b.location,
		guid: uuid.NewString(), etag: newETag(), state: "Succeeded", tags: tags}, nil
}

// rule makes a stored rule out of a topology's, by the same checks as a PUT.
func (w *world) rule(nsgID string, t Rule) (*rule, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", t.Name, err)
	}
	properties, err := decodeObject(text)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", t.Name, err)
	}
	scope := nsgID[:strings.Index(key(nsgID), "/providers/")]
	for field, names := range map[string][]string{
		"sourceApplicationSecurityGroups":      t.SourceApplicationSecurityGroups,
		"destinationApplicationSecurityGroups": t.DestinationApplicationSecurityGroups,
	} {
		var references []any
		for _, name := range names {
			id, err := resolve(w.asgs, scope, "Microsoft.Network/applicationSecurityGroups", name, func(r *resource) string { return r.id })
			if err != nil {
				return nil, fmt.Errorf("rule %s: %w", t.Name, err)
			}
			references = append(references, map[string]any{"id": id})
		}
		if references != nil {
			properties[field] = references
		}
	}
	made, refused := w.readRule(nsgID, t.Name, properties)
	return made, asError(refused)
}

// asError turns a refusal into an error for callers inside the process.
func asError(refused *answer) error {
	if refused == nil {
		return nil
	}
	if f, is := refused.body.(map[string]any)["error"].(failure); is {
		return fmt.Errorf("%s: %s", f.Code, f.Message)
	}
	return fmt.Errorf("refused with status %d", refused.status)
}
