package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// What can be wrong with the text of a source; test with errors.Is.
var (
	// ErrSourceSyntax: neither an address nor a CIDR range of one family.
	ErrSourceSyntax = errors.New("not an address or range")
	// ErrSourceHostBits: a range such as 10.0.0.5/24, whose writer may have
	// meant the address or the range.
	ErrSourceHostBits = errors.New("the range has host bits set")
	// ErrSourceAny: a way of saying everybody.
	ErrSourceAny = errors.New("any source")
)

// ParseSource reads the source of an ask: an IPv4 or IPv6 address or CIDR
// range; an address becomes a /32 or /128. IPv4 written as IPv6
// (::ffff:192.0.2.1) is IPv4. Whatever means everybody ("*", "any",
// "Internet", 0.0.0.0, ::, any /0) is ErrSourceAny, never a prefix.
func ParseSource(text string) (netip.Prefix, error) {
	for _, everybody := range []string{"*", "any", "internet"} {
		if strings.EqualFold(text, everybody) {
			return netip.Prefix{}, fmt.Errorf("%w: %.60q", ErrSourceAny, text)
		}
	}
	p, err := parseRange(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Bits() == 0 || p.IsSingleIP() && p.Addr().IsUnspecified() {
		return netip.Prefix{}, fmt.Errorf("%w: %.60q", ErrSourceAny, text)
	}
	return p, nil
}

// parseRange reads an address or a range without host bits.
func parseRange(text string) (netip.Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(text, "/") {
		p, err = netip.ParsePrefix(text)
	} else {
		var a netip.Addr
		a, err = netip.ParseAddr(text)
		if err == nil && a.Zone() != "" {
			err = errors.New("a zone means something on one host only")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%w: %.60q", ErrSourceSyntax, text)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%w: %.60q spans IPv4 and IPv6", ErrSourceSyntax, text)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%w: %.60q; write %s for the range or %s for the address", ErrSourceHostBits, text, p.Masked(), p.Addr())
	}
	return p, nil
}
