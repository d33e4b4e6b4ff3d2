package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CallbackHosts is where callbacks may always go: Logic Apps and Power Automate.
var CallbackHosts = []string{"*.logic.azure.com", "*.environment.api.powerplatform.com"}

const (
	maxURL       = 4096 // bytes; Azure's callback URLs have about 500
	maxAddresses = 4    // tried per call
	dialTimeout  = 5 * time.Second
)

// refusal is the guard's word against a URL or an address: a sentence that can be
// shown.
type refusal string

func (e refusal) Error() string { return string(e) }

var errUnresolved = errors.New("its name could not be resolved; repeat, and if that does not help check the name")

// guard decides where calls may go. It is asked twice: for the URL when a call is
// prepared, and for the address when the connection is made. The first alone
// would trust whoever runs the DNS of a host.
type guard struct {
	callbacks []host
	loopback  bool
	resolver  interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// host is one entry of the list of hosts for callbacks.
type host struct {
	name string // without the wildcard
	wild bool   // any name below it, but not the name itself
	port string
}

// parseHost reads "hooks.example.com", "*.example.com" or either with a port.
func parseHost(entry string) (host, error) {
	name, port, hasPort := strings.Cut(strings.ToLower(entry), ":")
	h := host{port: "443"}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return host{}, fmt.Errorf("host %q: the port is not one", entry)
		}
		h.port = strconv.FormatUint(n, 10)
	}
	h.name, h.wild = strings.CutPrefix(name, "*.")
	if !qualified(h.name) { // "*.com" would allow nearly everything
		return host{}, fmt.Errorf("host %q: need a name such as hooks.example.com, *.example.com or hooks.example.com:8443", entry)
	}
	return h, nil
}

func (h host) allows(name, port string) bool {
	if port != h.port {
		return false
	}
	return !h.wild && name == h.name || h.wild && strings.HasSuffix(name, "."+h.name)
}

// check returns the URL in the form in which it may be called, with the very host
// that was checked. Nothing of a refused URL but its host is in the error.
func (g *guard) check(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, refusal(fmt.Sprintf("the URL has more than %d characters", maxURL))
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, refusal("the URL is not one; it starts with https:// and a host name")
	}
	if u.User != nil {
		return nil, refusal("the URL holds a user name or a password, which is not supported")
	}
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if u.Scheme != "https" && !(g.local(name) && u.Scheme == "http") {
		return nil, refusal("only https is allowed")
	}
	if !g.local(name) && !qualified(name) {
		return nil, refusal("its host is not a name such as hooks.example.com")
	}
	host := strings.TrimSuffix(net.JoinHostPort(name, port), ":")
	return &url.URL{Scheme: u.Scheme, Host: host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}, nil
}

// listed refuses a URL that was checked unless its host and port are on the list. A
// channel's URL is the operator's own word and needs no list; a callback's comes from
// whoever asks for access, and could name any service that trusts its network.
func (g *guard) listed(u *url.URL) error {
	name, port := u.Hostname(), cmp.Or(u.Port(), "443")
	if g.local(name) || slices.ContainsFunc(g.callbacks, func(h host) bool { return h.allows(name, port) }) {
		return nil
	}
	return refusal("its host and port are not on the list of hosts for callbacks")
}

// local reports whether the other end is a program on this machine, and may be.
func (g *guard) local(name string) bool { return g.loopback && isLoopback(name) }

// connect is the transport's DialContext. It resolves the name itself and
// connects to an address that it has judged, so that a second answer of the DNS
// cannot lead elsewhere.
func (g *guard) connect(ctx context.Context, network, address string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := g.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses[:min(len(addresses), maxAddresses)] {
		var conn net.Conn
		if conn, err = g.dialOne(ctx, network, a, port); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (g *guard) dialOne(ctx context.Context, network string, a netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return g.dial(ctx, network, net.JoinHostPort(a.String(), port))
}

// resolve returns the addresses to try, at least one, each of them judged.
func (g *guard) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if g.local(name) {
		if name == "localhost" {
			name = "127.0.0.1"
		}
		return []netip.Addr{netip.MustParseAddr(name)}, nil
	}
	// The full stop at the end keeps the resolver from trying the name below the
	// machine's own search domains.
	found, err := g.resolver.LookupNetIP(ctx, "ip", name+".")
	if err != nil || len(found) == 0 {
		return nil, errUnresolved
	}
	for i, a := range found {
		// Go's resolver may hand out IPv4 in its IPv6 form.
		found[i] = a.Unmap()
		if !public(found[i]) {
			// One is enough: no service mixes public and private addresses, but
			// somebody who wants us to call inside does.
			return nil, refusal("its name leads to an address that is not on the internet")
		}
	}
	return found, nil
}

// isLoopback takes the plain forms only. What else a resolver may understand as a
// loopback address ("127.1", "0x7f000001") is looked up as a name.
func isLoopback(name string) bool {
	return name == "localhost" || name == "127.0.0.1" || name == "::1"
}

// qualified reports whether a name is one of the DNS with a domain in it. An address
// has no certificate, and a bare word is a machine of the network we run in.
func qualified(name string) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && hostname(name) && strings.Contains(name, ".")
}

// hostname reports whether the name consists of labels of a–z, 0–9 and hyphens.
// Anything else, letters of other scripts too, might be read as another name by
// the resolver than by the comparison here.
func hostname(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !isLetterOrDigit(c) && c != '-' || 'A' <= c && c <= 'Z' {
				return false
			}
		}
	}
	return true
}

// hostOf is the host of a URL as errors and logs may show it, or "". A URL with
// parts mixed up could have a secret there, so only what looks like a name is shown.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	name := strings.ToLower(u.Hostname())
	if a, err := netip.ParseAddr(name); hostname(name) || err == nil && a.Zone() == "" {
		return name
	}
	return ""
}
