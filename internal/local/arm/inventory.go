package arm

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// reference is how ARM points from one resource to another.
func reference(id string) map[string]any { return map[string]any{"id": id} }

func references(ids []string) []any {
	out := make([]any, 0, len(ids))
	for _, id := range ids {
		out = append(out, reference(id))
	}
	return out
}

// json renders what every resource has; a nil etag is left out (Compute sends
// none in this api-version's model).
func (r *resource) json(kind string, properties map[string]any) map[string]any {
	properties["provisioningState"] = r.state
	out := map[string]any{"id": r.id, "name": r.name, "type": kind, "location": r.location, "properties": properties}
	if len(r.tags) > 0 {
		out["tags"] = r.tags
	}
	if strings.HasPrefix(kind, "Microsoft.Network/") {
		out["etag"] = r.etag
		properties["resourceGuid"] = r.guid
	}
	return out
}

// notFound is ARM's own 404 for a tracked resource.
func (c *call) notFound(kind string) *answer {
	return refuse(http.StatusNotFound, "ResourceNotFound",
		"The Resource '%s/%s' under resource group '%s' was not found.", kind, c.name(), c.group())
}

// id is the id of the resource that the path names, in the path's casing.
func (c *call) id(kind string) string {
	return groupID(c.subscription(), c.group()) + "/providers/" + kind + "/" + c.name()
}

// scope is the id prefix that a list is limited to.
func (c *call) scope() string {
	if c.inGroup() {
		return groupID(c.subscription(), c.group()) + "/"
	}
	return "/subscriptions/" + c.subscription() + "/"
}

func keysUnder[T any](m map[string]T, scope string) []string {
	var keys []string
	for k := range m {
		if strings.HasPrefix(k, key(scope)) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (s *Server) listSubscriptions(c *call) *answer {
	return s.list(c, keysUnder(s.world.subscriptions, ""), func(k string) any { return s.world.subscriptions[k].json() })
}

func (s *Server) getSubscription(c *call) *answer {
	return ok(s.world.subscriptions[key(c.subscription())].json())
}

func (s *subscription) json() map[string]any {
	return map[string]any{"id": "/subscriptions/" + s.id, "subscriptionId": s.id, "displayName": s.name, "state": "Enabled"}
}

func (s *Server) listGroups(c *call) *answer {
	return s.list(c, keysUnder(s.world.groups, c.scope()), func(k string) any { return groupJSON(s.world.groups[k]) })
}

func (s *Server) getGroup(c *call) *answer {
	return ok(groupJSON(s.world.groups[key(groupID(c.subscription(), c.group()))]))
}

func groupJSON(r *resource) any {
	return r.json("Microsoft.Resources/resourceGroups", map[string]any{})
}

const machineType = "Microsoft.Compute/virtualMachines"

func (s *Server) listMachines(c *call) *answer {
	return s.list(c, keysUnder(s.world.machines, c.scope()), func(k string) any { return s.world.machines[k].json() })
}

func (s *Server) getMachine(c *call) *answer {
	if m := s.world.machines[key(c.id(machineType))]; m != nil {
		return ok(m.json())
	}
	return c.notFound(machineType)
}

func (m *machine) json() map[string]any {
	nics := references(m.nics)
	if len(nics) > 1 { // Azure leaves "primary" out when there is only one (resource-graph samples)
		for i := range nics {
			nics[i].(map[string]any)["properties"] = map[string]any{"primary": i == 0}
		}
	}
	return m.resource.json(machineType, map[string]any{
		"vmId":            m.guid,
		"hardwareProfile": map[string]any{"vmSize": "Standard_B2s"},
		"storageProfile":  map[string]any{"osDisk": map[string]any{"osType": m.os, "createOption": "FromImage"}},
		"osProfile":       map[string]any{"computerName": m.name},
		"networkProfile":  map[string]any{"networkInterfaces": nics},
	})
}

// deleteMachine leaves the NICs behind, as Azure does without a delete option.
func (s *Server) deleteMachine(c *call) *answer {
	id := key(c.id(machineType))
	m := s.world.machines[id]
	if m == nil {
		return &answer{status: http.StatusNoContent}
	}
	return s.deleteResource(c, &m.resource, "Microsoft.Compute", "DeleteVMOperation", func() { s.world.dropMachine(m) })
}

const nicType = "Microsoft.Network/networkInterfaces"

func (s *Server) listInterfaces(c *call) *answer {
	return s.list(c, keysUnder(s.world.interfaces, c.scope()), func(k string) any { return s.world.interfaces[k].json() })
}

func (s *Server) getInterface(c *call) *answer {
	if n := s.world.interfaces[key(c.id(nicType))]; n != nil {
		return ok(n.json())
	}
	return c.notFound(nicType)
}

func (s *Server) deleteInterface(c *call) *answer {
	id := key(c.id(nicType))
	n := s.world.interfaces[id]
	if n == nil {
		return &answer{status: http.StatusNoContent}
	}
	if n.machine != "" {
		return refuse(http.StatusBadRequest, "NicInUse",
			"Network Interface %s is used by existing resource %s. Delete the resource first.", n.id, n.machine)
	}
	return s.deleteResource(c, &n.resource, "Microsoft.Network", "DeleteNicOperation", func() { s.world.dropInterface(n) })
}

func (n *nic) configID(i int) string {
	return n.id + "/ipConfigurations/ipconfig" + strconv.Itoa(i+1)
}

// natRuleID is the NAT rule of a load-balanced NIC: the id alone, nothing answers to it.
func (n *nic) natRuleID() string {
	return strings.TrimSuffix(n.id, nicType+"/"+n.name) + "Microsoft.Network/loadBalancers/" + n.name + "-lb/inboundNatRules/" + n.name
}

// json ignores $expand: whether Azure includes the subnet's NSG in an expanded
// subnet is UNVERIFIED, so a client must be able to ask for the subnet itself.
func (n *nic) json() map[string]any {
	var configs []any
	for i, address := range n.addresses {
		id := n.configID(i)
		p := map[string]any{
			"provisioningState": "Succeeded", "primary": i == 0, "subnet": reference(n.subnet),
			"privateIPAllocationMethod": "Dynamic", "privateIPAddressVersion": version(address),
		}
		if address.IsValid() {
			p["privateIPAddress"], p["privateIPAllocationMethod"] = address.String(), "Static"
		}
		if i == 0 && n.balanced {
			p["loadBalancerInboundNatRules"] = references([]string{n.natRuleID()})
		}
		if i == 0 && n.publicIP != "" {
			p["publicIPAddress"] = reference(n.publicIP)
		}
		if len(n.asgs) > 0 {
			p["applicationSecurityGroups"] = references(n.asgs)
		}
		configs = append(configs, map[string]any{"id": id, "name": id[strings.LastIndex(id, "/")+1:], "etag": n.etag,
			"type": nicType + "/ipConfigurations", "properties": p})
	}
	p := map[string]any{"ipConfigurations": configs, "enableIPForwarding": false, "enableAcceleratedNetworking": false}
	if n.nsg != "" {
		p["networkSecurityGroup"] = reference(n.nsg)
	}
	if n.machine != "" {
		p["virtualMachine"], p["primary"] = reference(n.machine), n.primary
	}
	return n.resource.json(nicType, p)
}

func version(a netip.Addr) string {
	if a.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

const networkType = "Microsoft.Network/virtualNetworks"

func (s *Server) listNetworks(c *call) *answer {
	return s.list(c, keysUnder(s.world.networks, c.scope()), func(k string) any { return s.networkJSON(s.world.networks[k]) })
}

func (s *Server) getNetwork(c *call) *answer {
	if v := s.world.networks[key(c.id(networkType))]; v != nil {
		return ok(s.networkJSON(v))
	}
	return c.notFound(networkType)
}

func (s *Server) networkJSON(v *vnet) any {
	subnets := []any{}
	for _, id := range v.subnets {
		subnets = append(subnets, s.subnetJSON(s.world.subnets[key(id)]))
	}
	return v.json(networkType, map[string]any{"addressSpace": v.spaceJSON(), "subnets": subnets,
		"virtualNetworkPeerings": v.peeringsJSON()})
}

func (s *Server) listSubnets(c *call) *answer {
	v := s.world.networks[key(c.id(networkType))]
	if v == nil {
		return c.notFound(networkType)
	}
	return s.list(c, keysUnder(s.world.subnets, v.id+"/"), func(k string) any { return s.subnetJSON(s.world.subnets[k]) })
}

func (s *Server) getSubnet(c *call) *answer {
	id := c.id(networkType) + "/subnets/" + c.child()
	if sub := s.world.subnets[key(id)]; sub != nil {
		return ok(s.subnetJSON(sub))
	}
	if s.world.networks[key(c.id(networkType))] == nil {
		return c.notFound(networkType)
	}
	return refuse(http.StatusNotFound, "NotFound", "Resource %s not found.", id)
}

func (s *Server) subnetJSON(sub *subnet) any {
	p := map[string]any{"provisioningState": sub.state, "addressPrefix": sub.prefix.String()}
	if sub.nsg != "" {
		p["networkSecurityGroup"] = reference(sub.nsg)
	}
	var configs []string
	for _, id := range sub.nics {
		n := s.world.interfaces[key(id)]
		for i := range n.addresses {
			configs = append(configs, n.configID(i))
		}
	}
	if configs != nil {
		p["ipConfigurations"] = references(configs)
	}
	return map[string]any{"id": sub.id, "name": sub.name, "type": networkType + "/subnets", "etag": sub.etag, "properties": p}
}

const publicIPType = "Microsoft.Network/publicIPAddresses"

func (s *Server) listPublicIPs(c *call) *answer {
	return s.list(c, keysUnder(s.world.publicIPs, c.scope()), func(k string) any { return s.publicIPJSON(s.world.publicIPs[k]) })
}

func (s *Server) getPublicIP(c *call) *answer {
	if p := s.world.publicIPs[key(c.id(publicIPType))]; p != nil {
		return ok(s.publicIPJSON(p))
	}
	return c.notFound(publicIPType)
}

func (s *Server) publicIPJSON(p *publicIP) any {
	properties := map[string]any{"ipAddress": p.address.String(), "publicIPAllocationMethod": "Static",
		"publicIPAddressVersion": version(p.address), "idleTimeoutInMinutes": 4}
	if n := s.world.interfaces[key(p.nic)]; n != nil {
		properties["ipConfiguration"] = reference(n.configID(0))
	}
	out := p.json(publicIPType, properties)
	out["sku"] = map[string]any{"name": "Standard", "tier": "Regional"}
	return out
}

const asgType = "Microsoft.Network/applicationSecurityGroups"

func (s *Server) listASGs(c *call) *answer {
	return s.list(c, keysUnder(s.world.asgs, c.scope()), func(k string) any { return s.world.asgs[k].json(asgType, map[string]any{}) })
}

func (s *Server) getASG(c *call) *answer {
	if r := s.world.asgs[key(c.id(asgType))]; r != nil {
		return ok(r.json(asgType, map[string]any{}))
	}
	return c.notFound(asgType)
}
