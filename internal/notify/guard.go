package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultHosts may always be called: Logic Apps and Power Automate, which also
// serve the Workflows webhooks of Teams, and Slack.
var DefaultHosts = []string{"*.logic.azure.com", "*.environment.api.powerplatform.com", "hooks.slack.com"}

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
// would trust whoever runs the DNS of an allowed host.
type guard struct {
	hosts    []host
	loopback bool
	resolver interface {
		LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	}
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// host is one entry of the list of allowed hosts.
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
			return host{}, fmt.Errorf("allowed host %q: the port is not one", entry)
		}
		h.port = strconv.FormatUint(n, 10)
	}
	h.name, h.wild = strings.CutPrefix(name, "*.")
	_, err := netip.ParseAddr(h.name)
	if err == nil || !hostname(h.name) || !strings.Contains(h.name, ".") {
		// "*.com" would allow nearly everything, an address has no certificate.
		return host{}, fmt.Errorf("allowed host %q: need a name such as hooks.example.com, *.example.com or hooks.example.com:8443", entry)
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
	// On the local stack the other end is a program on this machine.
	local := g.loopback && isLoopback(name)
	if u.Scheme != "https" && !(local && u.Scheme == "http") {
		return nil, refusal("only https is allowed")
	}
	if !local && !g.allowed(name, port) {
		return nil, refusal("its host and port are not on the list of allowed hosts")
	}
	host := strings.TrimSuffix(net.JoinHostPort(name, port), ":")
	return &url.URL{Scheme: u.Scheme, Host: host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}, nil
}

func (g *guard) allowed(name, port string) bool {
	if !hostname(name) {
		return false
	}
	if port == "" {
		port = "443"
	}
	for _, h := range g.hosts {
		if h.allows(name, port) {
			return true
		}
	}
	return false
}

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
	if g.loopback && isLoopback(name) {
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
// loopback address ("127.1", "0x7f000001") is on no list and therefore refused.
func isLoopback(name string) bool {
	return name == "localhost" || name == "127.0.0.1" || name == "::1"
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
