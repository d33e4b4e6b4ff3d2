package nsg

import (
	"net/netip"
	"slices"
	"strings"
)

// Service tags whose addresses are known. Azure has many more; those are
// looked up nowhere, because their address lists change weekly.
const (
	tagVirtualNetwork = "VirtualNetwork"
	tagInternet       = "Internet"
	tagLoadBalancer   = "AzureLoadBalancer"
)

// entryKind is what one address entry of a rule can be.
type entryKind int

const (
	otherTag     entryKind = iota // a tag whose addresses are not known
	unreadable                    // meant as an address, but none
	addressRange                  // an address or a CIDR range
	anyAddress
	virtualNetwork
	internet
	loadBalancer
)

// readEntry reads one address entry of a rule; the prefix is that of an
// addressRange.
func readEntry(text string) (entryKind, netip.Prefix) {
	if text == "*" {
		return anyAddress, netip.Prefix{}
	}
	if looksLikeAddress(text) {
		if p, ok := parsePrefix(text); ok {
			return addressRange, p
		}
		return unreadable, netip.Prefix{}
	}
	switch {
	case strings.EqualFold(text, tagVirtualNetwork):
		return virtualNetwork, netip.Prefix{}
	case strings.EqualFold(text, tagInternet):
		return internet, netip.Prefix{}
	case strings.EqualFold(text, tagLoadBalancer):
		return loadBalancer, netip.Prefix{}
	}
	return otherTag, netip.Prefix{}
}

// hostAddress is the virtual address of the machine's host, in every region.
// Health probes come from it, so it is what AzureLoadBalancer stands for; the
// service tags page counts it to VirtualNetwork as well, and hence not to
// Internet.
var hostAddress = netip.AddrFrom4([4]byte{168, 63, 129, 16})

// notPublic are the ranges that no packet from the internet can come from; the
// Internet tag leaves them out. Azure documents the tag only as "outside the
// virtual network and reachable by the public internet", so the list is what
// the IANA special-purpose registries call not globally reachable. Ranges for
// documentation and benchmarks are kept public on purpose: should Azure let
// them in, calling such a packet blocked would be the dangerous mistake.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared space behind carrier NAT
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast and reserved
	netip.MustParsePrefix("::/8"),        // unspecified, loopback, embedded IPv4
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/9"), // link-local and the old site-local
	netip.MustParsePrefix("ff00::/8"),
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parsePrefix reads an address or a CIDR range of a rule. Host bits are
// dropped: a mask says which bits count. An IPv4 address written as IPv6 is the
// IPv4 address. ARM stores odd text here (azure-cli's recorded tests show
// "789"), so failure is an ordinary case.
func parsePrefix(text string) (netip.Prefix, bool) {
	if strings.IndexByte(text, '/') < 0 {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	return unmap(p)
}

// unmap turns a range of IPv4-mapped IPv6 addresses into the IPv4 range and
// drops host bits. A shorter prefix than /96 spans both kinds and is refused
// (its length in IPv4 is negative, which makes it invalid).
func unmap(p netip.Prefix) (netip.Prefix, bool) {
	if a := p.Addr(); a.Is4In6() {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), p.IsValid()
}

// looksLikeAddress tells addresses from tags: no service tag starts with a
// digit or holds a colon.
func looksLikeAddress(text string) bool {
	return text != "" && text[0] >= '0' && text[0] <= '9' || strings.IndexByte(text, ':') >= 0
}

// addressSet reduces a list of a rule to the addresses it covers, as sorted
// spans that neither overlap nor touch, and to the names it holds (tags and
// unreadable text, in lower case).
func addressSet(list []string) (spans []span, names []string) {
	for _, text := range list {
		if text == "*" {
			// Covers both families and with them whatever a tag stands for.
			return everything, nil
		}
		if p, ok := parsePrefix(text); ok {
			spans = append(spans, spanOf(p))
		} else {
			names = append(names, strings.ToLower(text))
		}
	}
	slices.Sort(names)
	return merge(spans), slices.Compact(names)
}
