package arm

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/uuid"
)

// peering is one network's half of a pair; the other network has the other half.
type peering struct {
	name, guid string
	remote     *vnet
}

// peerings joins the networks that name each other. It needs all of them built.
func (b *builder) peerings(path string, g ResourceGroup) error {
	for i, t := range g.VNets {
		v := b.w.networks[key(b.scope+"/providers/"+networkType+"/"+t.Name)]
		for j, name := range t.Peers {
			at := fmt.Sprintf("%s.vnets[%d].peers[%d]", path, i, j)
			id, err := resolve(b.w.networks, b.scope, networkType, name, func(v *vnet) string { return v.id })
			if err == nil {
				err = v.join(b.w.networks[key(id)])
			}
			if err != nil {
				return &entryError{at, err}
			}
		}
	}
	return nil
}

// join makes both halves. Networks whose spaces overlap cannot be peered
// (virtual-network-manage-peering, requirements and constraints).
func (v *vnet) join(other *vnet) error {
	if v == other {
		return errors.New("a virtual network cannot be its own peer")
	}
	for _, p := range v.peers {
		if p.remote == other {
			return nil
		}
	}
	for _, mine := range v.space {
		for _, theirs := range other.space {
			if mine.Overlaps(theirs) {
				return fmt.Errorf("address space %s overlaps with %s of %s", mine, theirs, other.name)
			}
		}
	}
	v.see(other)
	other.see(v)
	return nil
}

func (v *vnet) see(other *vnet) {
	v.peers = append(v.peers, &peering{name: fmt.Sprintf("peer%d", len(v.peers)+1), guid: uuid.NewString(), remote: other})
}

func (v *vnet) spaceJSON() map[string]any {
	space := []string{}
	for _, p := range v.space {
		space = append(space, p.String())
	}
	return map[string]any{"addressPrefixes": space}
}

// peeringsJSON renders what armnetwork v9 calls VirtualNetworkPeeringPropertiesFormat.
// A pair is complete here, so its state is never Initiated or Disconnected.
func (v *vnet) peeringsJSON() []any {
	out := []any{}
	for _, p := range v.peers {
		out = append(out, map[string]any{
			"id": v.id + "/virtualNetworkPeerings/" + p.name, "name": p.name,
			"type": networkType + "/virtualNetworkPeerings", "etag": v.etag,
			"properties": map[string]any{
				"provisioningState": "Succeeded", "resourceGuid": p.guid,
				"peeringState": "Connected", "peeringSyncLevel": "FullyInSync",
				"remoteVirtualNetwork": reference(p.remote.id),
				"remoteAddressSpace":   p.remote.spaceJSON(), "remoteVirtualNetworkAddressSpace": p.remote.spaceJSON(),
				"allowVirtualNetworkAccess": true, "allowForwardedTraffic": false,
				"allowGatewayTransit": false, "useRemoteGateways": false,
			}})
	}
	return out
}

// reach is what the tag VirtualNetwork stands for in this network, the host's
// address aside: its own space and that of its peers. Theirs in turn are not in it,
// for peering is not transitive.
func (v *vnet) reach() []netip.Prefix {
	space := slices.Clone(v.space)
	for _, p := range v.peers {
		space = append(space, p.remote.space...)
	}
	return space
}
