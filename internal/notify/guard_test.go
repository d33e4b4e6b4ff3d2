package notify

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestHosts(t *testing.T) {
	strict, err := New(Options{CallbackHosts: []string{"Hooks.Example.com", "*.example.net", "relay.example.com:8443"}})
	if err != nil {
		t.Fatal(err)
	}
	local, err := New(Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	// Where a URL is taken: of channels and callbacks, of channels only, of both on the
	// local stack only, or not at all.
	const everywhere, channels, localOnly, nowhere = "everywhere", "channels", "local only", "nowhere"
	for text, where := range map[string]string{
		"https://prod-03.westus.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?api-version=1&sp=x&sv=1.0&sig=s3cr3t": everywhere,
		"https://default0a.1b.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/1?sig=s3cr3t":       everywhere,
		"https://hooks.slack.com/services/T/B/s3cr3t":                  channels,
		"HTTPS://HOOKS.SLACK.COM/services/T/B/s3cr3t":                  channels,
		"http://hooks.slack.com/s3cr3t":                                nowhere,
		"https://hooks.slack.com:8443/s3cr3t":                          channels,
		"https://hooks.slack.com:/s3cr3t":                              channels,
		"https://hooks.slack.com:0443/s3cr3t":                          channels,
		"https://hooks.slack.com./s3cr3t":                              nowhere,
		"https://hooks.slack.com.evil.net/s3cr3t":                      channels,
		"https://evilhooks.slack.com/s3cr3t":                           channels,
		"https://evil.net/hooks.slack.com":                             channels,
		"https://evil.net#@hooks.slack.com/s3cr3t":                     channels,
		"https://evil.net\\@hooks.slack.com/":                          nowhere,
		"https://s3cr3t@hooks.slack.com/":                              nowhere,
		"https://hooks.slack.com@evil.net/s3cr3t":                      nowhere,
		"https://logic.azure.com/s3cr3t":                               channels,
		"https://evillogic.azure.com/s3cr3t":                           channels,
		"https://.logic.azure.com/s3cr3t":                              nowhere,
		"https://a..logic.azure.com/s3cr3t":                            nowhere,
		"https://a_b.logic.azure.com/s3cr3t":                           nowhere,
		"https://-a.logic.azure.com/s3cr3t":                            nowhere,
		"https://s3cr3t%2f.logic.azure.com/":                           nowhere,
		"https://évil.logic.azure.com/s3cr3t":                          nowhere,
		"https://hooks.slack.com%00.evil.net/s3cr3t":                   nowhere,
		"https://169.254.169.254/metadata?s3cr3t":                      nowhere,
		"https://168.63.129.16/s3cr3t":                                 nowhere,
		"https://20.30.40.50/s3cr3t":                                   nowhere,
		"https://[::ffff:127.0.0.1]/s3cr3t":                            nowhere,
		"https://[fe80::1%25s3cr3t]/":                                  nowhere,
		"ftp://hooks.slack.com/s3cr3t":                                 nowhere,
		"file:///s3cr3t":                                               nowhere,
		"//hooks.slack.com/s3cr3t":                                     nowhere,
		"hooks.slack.com/s3cr3t":                                       nowhere,
		"https:hooks.slack.com/s3cr3t":                                 nowhere,
		"https:///s3cr3t":                                              nowhere,
		"https://hooks.slack.com:s3cr3t/":                              nowhere,
		"https://hooks.slack.com/s3cr3t\r\nX: y":                       nowhere,
		"":                                                             nowhere,
		"https://hooks.slack.com/s3cr3t" + strings.Repeat("x", maxURL): nowhere,
		"http://localhost/s3cr3t":                                      localOnly,
		"http://localhost:7071/s3cr3t":                                 localOnly,
		"https://localhost:7071/s3cr3t":                                localOnly,
		"http://127.0.0.1:7071/s3cr3t":                                 localOnly,
		"http://[::1]:7071/s3cr3t":                                     localOnly,
		"http://127.0.0.2:7071/s3cr3t":                                 nowhere,
		"http://127.1/s3cr3t":                                          nowhere,
		"http://2130706433/s3cr3t":                                     nowhere,
		"http://0x7f000001/s3cr3t":                                     nowhere,
		"http://localhost.evil.net/s3cr3t":                             nowhere,
		"http://0.0.0.0:7071/s3cr3t":                                   nowhere,
		"http://10.0.0.1/s3cr3t":                                       nowhere,
		"ftp://localhost/s3cr3t":                                       nowhere,
	} {
		for s, local := range map[*Sender]bool{strict: false, local: true} {
			for kind, listed := range map[Kind]bool{Slack: false, LogicAppCallback: true} {
				want := where == everywhere || where == channels && !listed || where == localOnly && local
				err := s.Check(Target{Kind: kind, URL: text})
				if (err == nil) != want {
					t.Errorf("%s of a %s (local %v): %v", text, kind, local, err)
				}
				if err != nil {
					fails(t, err, ErrGone, "notify "+string(kind))
				}
			}
		}
	}
	for text, want := range map[string]bool{
		"https://hooks.example.com":      true,
		"https://example.com":            false,
		"https://a.example.net":          true,
		"https://a.b.example.net":        true,
		"https://example.net":            false,
		"https://relay.example.com:8443": true,
		"https://relay.example.com":      false,
		"https://relay.example.com:443":  false,
		"https://a.logic.azure.com:443":  true,
		"https://a.logic.azure.com:0443": false,
		"https://a.logic.azure.com:8443": false,
	} {
		if err := strict.Check(Target{Kind: LogicAppCallback, URL: text}); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestListedHostsMustBeNames(t *testing.T) {
	for _, entry := range []string{"", "*", "*.", "*.com", "com", "https://example.com", "a.*.example.com", "**.example.com", "example.com.", "example..com",
		"20.30.40.50", "*.20.30.40.50", "[::1]", "::1", "example.com:", "example.com:0", "example.com:65536", "example.com:https", "exämple.com", "example.com/path", " example.com"} {
		if _, err := New(Options{CallbackHosts: []string{entry}}); err == nil {
			t.Errorf("%q is allowed as a host", entry)
		}
	}
	_, err := New(Options{CallbackHosts: []string{"*", "good.example.com", "com"}})
	if err == nil || !strings.Contains(err.Error(), `"*"`) || !strings.Contains(err.Error(), `"com"`) {
		t.Errorf("not all faults at once: %v", err)
	}
}

func TestAddressesThatAreNotOnTheInternet(t *testing.T) {
	for text, want := range map[string]bool{
		"20.30.40.50": true, "9.255.255.255": true, "11.0.0.0": true, "100.63.255.255": true, "100.128.0.0": true, "172.15.255.255": true, "172.32.0.0": true,
		"192.167.255.255": true, "168.63.129.15": true, "168.63.129.17": true, "223.255.255.255": true, "2606:4700::1": true, "2001:4860:4860::8888": true,
		"::ffff:20.30.40.50": true,
		"0.0.0.0":            false, "10.0.0.1": false, "100.64.0.1": false, "127.0.0.1": false, "127.255.255.255": false, "169.254.169.254": false, "168.63.129.16": false,
		"172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "192.0.2.1": false, "198.19.0.1": false, "192.0.0.8": false, "192.88.99.1": false, "198.51.100.1": false, "203.0.113.1": false, "3fff::1": false, "224.0.0.1": false, "239.255.255.255": false, "255.255.255.255": false,
		"::": false, "::1": false, "fe80::1": false, "fc00::1": false, "fd12:3456::1": false, "ff02::1": false, "fec0::1": false, "2001:db8::1": false,
		"2002:7f00:1::": false, "2001:0:1::1": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "::127.0.0.1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false, "::ffff:168.63.129.16": false,
	} {
		w := newWorld(t, status(200))
		w.answers = [][]string{{text}}
		err := w.Send(t.Context(), target(LogicAppCallback), notice())
		if (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
		if !want {
			fails(t, err, ErrGone, "not on the internet")
			if d := w.dials(); len(d) != 0 {
				t.Errorf("%s: dialed %v", text, d)
			}
			if strings.Contains(err.Error(), text) {
				t.Errorf("the error tells what our DNS says: %v", err)
			}
		}
	}
}

// TestPublicAgreesWithNetip holds the table against the standard library's own
// idea of what is not public.
func TestPublicAgreesWithNetip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a netip.Addr
		if rapid.Bool().Draw(t, "IPv4") {
			a = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		} else {
			a = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address"))).Unmap()
		}
		if public(a) && (!a.IsGlobalUnicast() || a.IsPrivate()) {
			t.Errorf("%v is taken for public", a)
		}
	})
	if public(netip.Addr{}) || public(netip.MustParseAddr("2606:4700::1%eth0")) {
		t.Error("no address, or one of a certain interface, is taken for public")
	}
}

func TestOnePrivateAddressIsEnough(t *testing.T) {
	w := newWorld(t, status(200))
	w.answers = [][]string{{publicIP, "10.0.0.1"}}
	fails(t, w.Send(t.Context(), target(Teams), notice()), ErrGone, "not on the internet")
	if d := w.dials(); len(d) != 0 {
		t.Errorf("dialed %v", d)
	}
}

// TestRebinding: the name leads to a public address when it is judged and to a
// private one whenever it is asked about again.
func TestRebinding(t *testing.T) {
	w := newWorld(t, status(200))
	w.answers = [][]string{{publicIP}, {"169.254.169.254"}}
	if err := w.Send(t.Context(), target(Teams), notice()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{publicIP + ":443"}, w.dials()); d != "" {
		t.Error("dialed:", d)
	}
	if d := cmp.Diff([]string{"ip hooks.example.com."}, w.lookups); d != "" {
		t.Error("looked up:", d)
	}
	// The next call judges anew; no connection is left over from the first.
	fails(t, w.Send(t.Context(), target(Teams), notice()), ErrGone, "not on the internet")
	only(t, w.dials())
	only(t, w.calls)
}

func TestTheNextAddressIsTried(t *testing.T) {
	w := newWorld(t, status(200))
	w.answers = [][]string{{"20.0.0.1", "::ffff:20.0.0.2", "20.0.0.3"}}
	if err := w.Send(t.Context(), target(Teams), notice()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"20.0.0.1:443", "20.0.0.2:443"}, w.dials()); d != "" {
		t.Error(d)
	}
}

func TestLoopbackIsNotLookedUp(t *testing.T) {
	w := newWorld(t, status(200))
	w.guard.loopback = true
	for text, want := range map[string]string{
		"https://localhost:7071/": "127.0.0.1:7071",
		"https://127.0.0.1/":      "127.0.0.1:443",
		"https://[::1]:7071/":     "[::1]:7071",
	} {
		_ = w.Send(t.Context(), Target{Kind: Slack, URL: text}, notice())
		if d := w.dials(); d[len(d)-1] != want {
			t.Errorf("%s: dialed %v, want %s", text, d, want)
		}
	}
	if len(w.lookups) != 0 {
		t.Errorf("looked up %v", w.lookups)
	}
}

func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://20.99.99.99:3128")
	}
	w := newWorld(t, status(200))
	if err := w.Send(t.Context(), target(Slack), notice()); err != nil {
		t.Fatal(err)
	}
	if got := only(t, w.dials()); got != publicIP+":443" {
		t.Errorf("dialed %s", got)
	}
	if w.transport.Proxy != nil {
		// The environment is read once per process, so the call above may not show it.
		t.Error("the transport asks for a proxy")
	}
}

// TestLoopbackNeedsTheOption: a connection is judged by itself, not only because
// its URL was.
func TestLoopbackNeedsTheOption(t *testing.T) {
	for _, answer := range []string{"127.0.0.1", "nothing"} {
		w := newWorld(t, status(200))
		w.answers = [][]string{{answer}}
		if conn, err := w.guard.connect(t.Context(), "tcp", "localhost:80"); err == nil {
			_ = conn.Close()
			t.Error("connected to this machine")
		}
		only(t, w.lookups)
	}
}

// FuzzURL: whatever is accepted of a callback leads to a listed host, and nothing but
// a host of what is refused is told.
func FuzzURL(f *testing.F) {
	for _, text := range []string{secretURL, "https://hooks.slack.com", "https://a.logic.azure.com:443/x?y#z", "http://127.0.0.1:1/", "https://u:p@hooks.slack.com",
		"https://hooKs.slack.com", "https://hooks。slack。com", "https://hooks.slack.com\\.evil", "https://[::1]:443", "https://[::ffff:1.2.3.4%25x]/", "https://%68ooks.slack.com/", "//", "https:", "\x00"} {
		f.Add(text)
	}
	s, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text += "?sig=" + marker
		to := Target{Kind: LogicAppCallback, URL: text}
		u, err := s.check(to)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !errors.Is(err, ErrGone) {
				t.Fatalf("%q: %v", text, err)
			}
			if parsed, err := url.Parse(text); err != nil || !strings.Contains(strings.ToLower(parsed.Host), marker) {
				hasNoSecret(t, e)
				hasNoSecret(t, to)
			}
			for _, c := range e.Error() {
				if c < ' ' || c > '~' {
					t.Errorf("%q is in an error", c)
				}
			}
			return
		}
		request, err := http.NewRequest(http.MethodPost, u.String(), nil)
		if err != nil {
			t.Fatalf("%q was accepted as %q: %v", text, u, err)
		}
		name := request.URL.Hostname()
		if request.URL.Scheme != "https" || request.URL.User != nil || request.URL.Port() != "" && request.URL.Port() != "443" ||
			!strings.HasSuffix(name, ".logic.azure.com") && !strings.HasSuffix(name, ".environment.api.powerplatform.com") {
			t.Errorf("%q was accepted as %q", text, u)
		}
	})
}
