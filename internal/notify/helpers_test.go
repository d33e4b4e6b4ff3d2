package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

// marker is in every secret of these tests, so that one search finds any of them.
const marker = "s3cr3t"

const (
	secretURL = "https://hooks.example.com/s3cr3t-path?sig=s3cr3t-sig&x=%73"
	publicIP  = "20.30.40.50"
)

var (
	secretKey = []byte("s3cr3t-key-of-the-webhook")
	noon      = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	kinds     = []Kind{Teams, Slack, Webhook, LogicAppCallback, LogicAppTrigger}
)

func target(kind Kind) Target { return Target{Kind: kind, URL: secretURL, Secret: secretKey} }

func notice() Notice {
	return Notice{
		ID:    "0190-n_1",
		Event: "request.awaiting-approval",
		At:    noon,
		Title: "alice asks for vm-app-01",
		Facts: []Fact{{"Requester", "alice@example.org"}, {"Reason", "CHG-7 <b>&</b> *now*"}},
		Link:  "https://jit.example.org/requests/1?a=1&b=2",
		Data:  map[string]any{"requestId": "1"},
	}
}

// world is a receiver and the way to it: a name that resolves to what the test
// says, and a network on which every address is the receiver.
type world struct {
	*Sender
	clock  *clockwork.FakeClock
	server *httptest.Server

	mu      sync.Mutex
	answers [][]string // one per lookup, the last one stays
	lookups []string
	dialed  []string
	calls   []*http.Request
	bodies  []string
}

func newWorld(t *testing.T, answer http.HandlerFunc) *world {
	t.Helper()
	w := &world{clock: clockwork.NewFakeClockAt(noon), answers: [][]string{{publicIP}}}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.calls, w.bodies = append(w.calls, r), append(w.bodies, string(content))
		w.mu.Unlock()
		answer(rw, r)
	}))
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	var err error
	w.Sender, err = New(Options{CallbackHosts: []string{"hooks.example.com"}, Now: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.guard.resolver, w.guard.dial = w, w.connect
	w.transport.TLSClientConfig.RootCAs = w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return w
}

func (w *world) LookupNetIP(_ context.Context, network, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups = append(w.lookups, network+" "+name)
	texts := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	var found []netip.Addr
	for _, text := range texts {
		if text == "nothing" {
			return nil, &net.DNSError{Err: marker, Name: name, IsNotFound: true}
		}
		found = append(found, netip.MustParseAddr(text))
	}
	return found, nil
}

func (w *world) connect(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	w.mu.Unlock()
	if strings.HasPrefix(address, "20.0.0.1:") { // nobody lives there
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New(marker)}
	}
	return (&net.Dialer{}).DialContext(ctx, network, w.server.Listener.Addr().String())
}

func status(code int) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(code)
		_, _ = io.WriteString(rw, "s3cr3t-answer")
	}
}

// fails holds an error against what every error of this package promises.
func fails(t *testing.T, err, verdict error, reason string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	other := map[error]error{ErrRetry: ErrGone, ErrGone: ErrRetry}[verdict]
	if !errors.Is(err, verdict) || errors.Is(err, other) {
		t.Errorf("%v: want %v and nothing else", err, verdict)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("%q does not say %q", err, reason)
	}
	hasNoSecret(t, err)
	for wrapped := errors.Unwrap(err); wrapped != nil; wrapped = errors.Unwrap(wrapped) {
		hasNoSecret(t, wrapped)
	}
	return e
}

// hasNoSecret prints the value in all ways that a log might.
func hasNoSecret(t *testing.T, value any) {
	t.Helper()
	encoded, _ := json.Marshal(value)
	texts := []string{string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		texts = append(texts, fmt.Sprintf(verb, value))
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), marker) || strings.Contains(text, fmt.Sprintf("%x", marker)) {
			t.Errorf("a secret is in %q", text)
		}
	}
}

func only[T any](t *testing.T, all []T) T {
	t.Helper()
	if len(all) != 1 {
		t.Fatalf("%d of them, want one: %v", len(all), all)
	}
	return all[0]
}

func (w *world) dials() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dialed)
}
