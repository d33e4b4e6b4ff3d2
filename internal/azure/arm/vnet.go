package arm

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
)

// space is what the tag VirtualNetwork covers in a network, as far as ARM shows
// it: the network's own space and that of its peers. What gateways and routes add
// is not there (service tags page). Empty for a network that could not be read.
func (v *inventory) space(ctx context.Context, network *armnetwork.VirtualNetwork) []netip.Prefix {
	if network == nil || network.Properties == nil {
		return nil
	}
	var out []netip.Prefix
	add := func(s *armnetwork.AddressSpace) {
		if s == nil {
			return
		}
		for _, prefix := range s.AddressPrefixes {
			p, err := netip.ParsePrefix(text(prefix))
			if err != nil {
				v.log.WarnContext(ctx, "leaving out an address space that is none", "network", text(network.ID), "prefix", text(prefix))
				continue
			}
			out = appendNew(out, p.Masked())
		}
	}
	add(network.Properties.AddressSpace)
	for _, p := range peerings(network) {
		// With this switched off the tag does not grow
		// (virtual-network-manage-peering).
		if p.AllowVirtualNetworkAccess != nil && !*p.AllowVirtualNetworkAccess {
			continue
		}
		if p.RemoteVirtualNetworkAddressSpace != nil {
			add(p.RemoteVirtualNetworkAddressSpace)
		} else {
			add(p.RemoteAddressSpace)
		}
	}
	return out
}

// peerings are those that carry packets: both halves exist.
func peerings(network *armnetwork.VirtualNetwork) []*armnetwork.VirtualNetworkPeeringPropertiesFormat {
	if network == nil || network.Properties == nil {
		return nil
	}
	var out []*armnetwork.VirtualNetworkPeeringPropertiesFormat
	for _, p := range network.Properties.VirtualNetworkPeerings {
		if p != nil && p.Properties != nil && is(p.Properties.PeeringState, armnetwork.VirtualNetworkPeeringStateConnected) {
			out = append(out, p.Properties)
		}
	}
	return out
}

// peerIDs are the networks that are peered with this one.
func peerIDs(network *armnetwork.VirtualNetwork) []string {
	var out []string
	for _, p := range peerings(network) {
		if p.RemoteVirtualNetwork != nil && text(p.RemoteVirtualNetwork.ID) != "" {
			out = append(out, *p.RemoteVirtualNetwork.ID)
		}
	}
	return out
}

// hasFirewall: an Azure Firewall lives in a subnet of this name and nothing else
// may (azure-docs, firewall-faq).
func hasFirewall(network *armnetwork.VirtualNetwork) bool {
	return network != nil && network.Properties != nil && slices.ContainsFunc(network.Properties.Subnets, func(s *armnetwork.Subnet) bool {
		return s != nil && strings.EqualFold(text(s.Name), "AzureFirewallSubnet")
	})
}

// firewallNear tells whether a network or one peered with it has an Azure
// Firewall. A peer that was not read counts as none.
func (v *inventory) firewallNear(network *armnetwork.VirtualNetwork) bool {
	return hasFirewall(network) || slices.ContainsFunc(peerIDs(network), func(id string) bool {
		return hasFirewall(v.networks[strings.ToLower(id)])
	})
}

// firewallMayBeIn lists the peers that must be read before firewallNear knows, for
// the NICs that it matters for.
func (v *inventory) firewallMayBeIn() []string {
	var out []string
	for _, nic := range v.interfaces {
		network := v.networkOf(nic)
		if groups, _ := v.groupsBefore(nic); len(groups) > 0 || v.firewallNear(network) {
			continue
		}
		for _, id := range peerIDs(network) {
			if v.networks[strings.ToLower(id)] == nil {
				out = appendID(out, id)
			}
		}
	}
	return out
}
