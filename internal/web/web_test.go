package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/identity"
)

func TestOnlyThePlatformsWordAboutTheAddressCounts(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers http.Header
		want    string
	}{
		{"nothing said", http.Header{}, "invalid IP"},
		{"address and port", http.Header{"X-Forwarded-For": {"203.0.113.7:1234"}}, "203.0.113.7"},
		{"address alone", http.Header{"X-Forwarded-For": {"203.0.113.7"}}, "203.0.113.7"},
		{"the caller's claim comes first", http.Header{"X-Forwarded-For": {"198.51.100.1, 203.0.113.7:1"}}, "203.0.113.7"},
		{"two headers", http.Header{"X-Forwarded-For": {"198.51.100.1", "203.0.113.7"}}, "203.0.113.7"},
		{"IPv6 in brackets", http.Header{"X-Forwarded-For": {"[2001:db8::1]:443"}}, "2001:db8::1"},
		{"IPv6 bare", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, "2001:db8::1"},
		{"IPv4 in IPv6", http.Header{"X-Forwarded-For": {"::ffff:203.0.113.7"}}, "203.0.113.7"},
		{"rubbish last", http.Header{"X-Forwarded-For": {"203.0.113.7, unknown"}}, "invalid IP"},
		{"other headers", http.Header{"X-Real-Ip": {"203.0.113.7"}, "Client-Ip": {"203.0.113.7"}, "Forwarded": {"for=203.0.113.7"}}, "invalid IP"},
	} {
		if got := clientAddress(&http.Request{Header: c.headers, RemoteAddr: "127.0.0.1:1"}); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

type verifier struct{ err error }

func (v verifier) Verify(context.Context, http.Header) (identity.Caller, error) {
	return identity.Caller{}, v.err
}

// TestNoCauseReachesTheCaller: whatever goes wrong inside, the answer holds a
// sentence of ours and nothing of the error's text.
func TestNoCauseReachesTheCaller(t *testing.T) {
	const secret = "sb://internal.example;SharedAccessKey=abc"
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{errors.New(secret), 500, api.Internal},
		{fmt.Errorf("%w: %s", access.ErrUnavailable, secret), 503, api.Unavailable},
		{fmt.Errorf("%w: %s", identity.ErrUnavailable, secret), 503, api.Unavailable},
		{fmt.Errorf("%s: %w", secret, context.DeadlineExceeded), 503, api.Unavailable},
		{fmt.Errorf("%s: %w", secret, access.ErrNotFound), 500, api.Internal}, // only the operation knows what was looked for
		{fmt.Errorf("%s: %w", secret, access.ErrForbidden), 502, "machine_unreadable"},
		{fmt.Errorf("%s: %w", secret, access.Refusals{{Code: access.MachineUnreadable, Sentence: "Azure says no."}}), 502, "machine_unreadable"},
		{fmt.Errorf("%s: %w", secret, access.Refusals{{Code: access.RequestEnded, Sentence: "It has ended."}}), 409, "request_ended"},
	} {
		var log strings.Builder
		mux, _ := New(Config{Verifier: verifier{c.err}, Version: "1", Log: slog.New(slog.NewTextHandler(&log, nil))})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/requests", nil))
		var p api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if w.Code != c.status || p.Code != c.code || strings.Contains(w.Body.String(), "internal.example") {
			t.Errorf("%v: %d %s", c.err, w.Code, w.Body)
		}
		if c.status >= 500 && !strings.Contains(log.String(), secret) {
			t.Errorf("%v: the cause is not in the log: %s", c.err, &log)
		}
		if c.status == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%v: no Retry-After", c.err)
		}
	}
}

// TestAzureRBACIsNotForGuests: it stands in for the roles of people of the own tenant.
// Azure knows nothing of anybody of another one.
func TestAzureRBACIsNotForGuests(t *testing.T) {
	const object = "a11ce000-0000-4000-8000-000000000001"
	for _, c := range []struct {
		who  identity.Caller
		want bool
	}{
		{identity.Caller{Object: object}, true},
		{identity.Caller{Object: object, Guest: true}, false},
		{identity.Caller{Object: object, Guest: true, Roles: []string{identity.RoleRequest}}, true},
		{identity.Caller{Object: object, Application: true}, false},
		{identity.Caller{}, false},
	} {
		ctx := context.WithValue(t.Context(), contextKey{}, callInfo{caller: c.who, byRBAC: true})
		if got := May(ctx, identity.RequestCreate); got != c.want {
			t.Errorf("%+v may ask: %t", c.who, got)
		}
	}
}

// TestWhoIsKnownBeforeTheStoreIs: whoever has no token has no part in what it costs to find
// out whether the store can be reached.
func TestWhoIsKnownBeforeTheStoreIs(t *testing.T) {
	for _, c := range []struct {
		verifier verifier
		err      error
		status   int
		asked    int
	}{
		{verifier{&identity.Error{Code: identity.TokenMissing}}, access.ErrUnavailable, http.StatusUnauthorized, 0},
		{verifier{}, access.ErrUnavailable, http.StatusServiceUnavailable, 1},
		{verifier{}, access.ErrForbidden, http.StatusServiceUnavailable, 1}, // an alert comes again after 503 alone
		{verifier{}, errors.New("cannot be stored"), http.StatusServiceUnavailable, 1},
	} {
		asked := 0
		mux, _ := New(Config{Verifier: c.verifier, Log: slog.New(slog.DiscardHandler), Ready: func(context.Context) error {
			asked++
			return c.err
		}})
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/requests", nil))
		if w.Code != c.status || asked != c.asked {
			t.Errorf("%d, asked %d times; want %d and %d", w.Code, asked, c.status, c.asked)
		}
	}
}

// TestReadiness: the host takes any answer for readiness, and asks without a token.
func TestReadiness(t *testing.T) {
	mux, _ := New(Config{Verifier: verifier{errors.New("down")}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("GET / answers %d", w.Code)
	}
}

// FuzzAddress: no header crashes us or yields an address with a zone or in two
// notations.
func FuzzAddress(f *testing.F) {
	f.Add("203.0.113.7:1, [fe80::1%eth0]:2")
	f.Fuzz(func(t *testing.T, header string) {
		a := clientAddress(&http.Request{Header: http.Header{"X-Forwarded-For": {header}}})
		if a.Is4In6() {
			t.Fatalf("%q gives %v", header, a)
		}
	})
}
