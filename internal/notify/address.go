package notify

import "net/netip"

// special are the networks that are not somebody else's public service: the
// special-purpose registries of IANA and what Azure keeps for itself. Inside
// 2000::/3 only, see public.
var special = prefixes(
	"0.0.0.0/8",        // "this host": connects to the machine itself
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // carrier-grade NAT; clouds use it inside
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // Azure's platform: DNS, health, the VM agent's endpoint
	"169.254.0.0/16",   // link-local, with the metadata service at 169.254.169.254
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // protocol assignments
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // relays to 6to4
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, and broadcast
	"2001::/23",        // protocol assignments; Teredo, which holds an IPv4 address
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4, which holds an IPv4 address
	"3fff::/20",        // documentation
)

// globalUnicast is all of IPv6 that is routed on the internet. What lies outside
// is loopback, link-local, unique local, multicast, or holds an IPv4 address
// (::ffff:0:0/96, 64:ff9b::/96) that a gateway may turn into a private one.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// public reports whether the address is one on the internet. IPv4-mapped
// addresses must have been unmapped before. One with a zone is in no prefix, and
// so it is not public.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
