package arm

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/access"
	"jitgate/internal/armid"
)

const (
	networkInterface = "Microsoft.Network/networkInterfaces"
	virtualNetwork   = "Microsoft.Network/virtualNetworks"
)

// inventory is what was read of a machine's surroundings, or of a subscription's,
// by lower-cased id. Locate and Estate differ in how they fill it and in nothing
// else, so that a report cannot say other things than an evaluation.
type inventory struct {
	log        *slog.Logger
	interfaces map[string]*armnetwork.Interface
	subnets    map[string]*armnetwork.Subnet
	networks   map[string]*armnetwork.VirtualNetwork
	unlisted   []string // subnets that NICs lie in and that no listed network holds
}

func newInventory(log *slog.Logger) *inventory {
	return &inventory{log: log, interfaces: map[string]*armnetwork.Interface{},
		subnets: map[string]*armnetwork.Subnet{}, networks: map[string]*armnetwork.VirtualNetwork{}}
}

// describe fails only on an NSG with an id that is none.
func (v *inventory) describe(ctx context.Context, nic *armnetwork.Interface) (access.Interface, error) {
	id, err := armid.ParseType(text(nic.ID), networkInterface)
	if err != nil {
		return access.Interface{}, fmt.Errorf("a network interface has id %q: %w", text(nic.ID), err)
	}
	i := access.Interface{ID: id}
	for _, c := range ipConfigurations(nic) {
		p := c.Properties
		if a, ok := v.address(ctx, nic, p); ok {
			i.Addresses = append(i.Addresses, a)
		}
		i.Public = i.Public || p.PublicIPAddress != nil || len(p.LoadBalancerInboundNatRules) > 0 || len(p.LoadBalancerBackendAddressPools) > 0
		for _, asg := range asgIDs(p.ApplicationSecurityGroups) {
			i.ASGs = appendNew(i.ASGs, strings.ToLower(asg))
		}
	}
	if i.NSGs, err = v.groupsBefore(nic); err != nil {
		return access.Interface{}, err
	}
	network := v.networkOf(nic)
	i.Network = v.space(ctx, network)
	i.Firewall = len(i.NSGs) == 0 && v.firewallNear(network)
	return i, nil
}

// groupsBefore lists the NSGs in the order a packet meets them.
func (v *inventory) groupsBefore(nic *armnetwork.Interface) ([]armid.ID, error) {
	var groups []*armnetwork.SecurityGroup
	if s := v.subnet(nic); s != nil {
		groups = append(groups, s.NetworkSecurityGroup)
	}
	if nic.Properties != nil {
		groups = append(groups, nic.Properties.NetworkSecurityGroup)
	}
	var out []armid.ID
	for _, g := range groups {
		if g == nil || g.ID == nil {
			continue
		}
		id, err := armid.ParseType(*g.ID, armid.SecurityGroup)
		if err != nil {
			return nil, fmt.Errorf("an NSG before %s has id %q: %w", text(nic.ID), *g.ID, err)
		}
		if !slices.ContainsFunc(out, id.Equal) {
			out = append(out, id)
		}
	}
	return out, nil
}

// subnet is the one that a NIC lies in, nil if it was not read.
func (v *inventory) subnet(nic *armnetwork.Interface) *armnetwork.SubnetPropertiesFormat {
	if s := v.subnets[strings.ToLower(subnetOf(nic))]; s != nil {
		return s.Properties
	}
	return nil
}

// networkOf is the virtual network that a NIC is in, nil if it was not read.
func (v *inventory) networkOf(nic *armnetwork.Interface) *armnetwork.VirtualNetwork {
	return v.networks[strings.ToLower(parentNetwork(subnetOf(nic)))]
}

func ipConfigurations(nic *armnetwork.Interface) []*armnetwork.InterfaceIPConfiguration {
	if nic.Properties == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(nic.Properties.IPConfigurations), func(c *armnetwork.InterfaceIPConfiguration) bool {
		return c == nil || c.Properties == nil
	})
}

// address is the private one, since Azure applies inbound rules after it has
// translated the public address.
func (v *inventory) address(ctx context.Context, nic *armnetwork.Interface, p *armnetwork.InterfaceIPConfigurationPropertiesFormat) (netip.Addr, bool) {
	private := text(p.PrivateIPAddress)
	if private == "" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(private)
	if err != nil {
		// armnetwork v9 allows a block of addresses here; none of it is the
		// machine's own.
		v.log.WarnContext(ctx, "leaving out a private address that is not a single one", "nic", text(nic.ID), "address", private)
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// subnetOf is the id of the subnet of the primary IP configuration; all of a NIC's
// lie in one network (azure-docs, virtual-network-network-interface-addresses).
func subnetOf(nic *armnetwork.Interface) string {
	first := pick(ipConfigurations(nic), func(c *armnetwork.InterfaceIPConfiguration) bool {
		return c.Properties.Primary != nil && *c.Properties.Primary
	})
	if first == nil || first.Properties.Subnet == nil {
		return ""
	}
	return text(first.Properties.Subnet.ID)
}

// parentNetwork cuts a subnet's id down to that of its virtual network.
func parentNetwork(subnet string) string {
	if at := strings.LastIndex(strings.ToLower(subnet), "/subnets/"); at >= 0 {
		return subnet[:at]
	}
	return ""
}

// members lists the private addresses in every application security group.
func (v *inventory) members(ctx context.Context) map[string][]netip.Addr {
	out := map[string][]netip.Addr{}
	for _, nic := range v.interfaces {
		for _, c := range ipConfigurations(nic) {
			a, ok := v.address(ctx, nic, c.Properties)
			if !ok {
				continue
			}
			for _, asg := range asgIDs(c.Properties.ApplicationSecurityGroups) {
				key := strings.ToLower(asg)
				out[key] = append(out[key], a)
			}
		}
	}
	for _, addresses := range out {
		slices.SortFunc(addresses, netip.Addr.Compare)
	}
	return out
}

// appendID is appendNew for ids, which name the same in any case.
func appendID(list []string, id string) []string {
	if slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, id) }) {
		return list
	}
	return append(list, id)
}

func appendNew[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}
