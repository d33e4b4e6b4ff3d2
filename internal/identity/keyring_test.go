package identity

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func code(err error) Code {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

func TestStartsWithoutNetwork(t *testing.T) {
	f := newFixture(t)
	if n := f.issuer.discovery.Load(); n != 0 {
		t.Errorf("New asked the issuer %d times", n)
	}
	for _, header := range []string{"", "Bearer x", "Bearer " + raw(`{"alg":"none"}`, "{}")} {
		_, _ = f.Verify(t.Context(), header)
	}
	if n := f.issuer.discovery.Load(); n != 0 {
		t.Errorf("headers that cannot be good made us ask the issuer %d times", n)
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	f := newFixture(t)
	for range 10 {
		if _, err := f.Verify(t.Context(), f.token(t, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.issuer.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for one key", n)
	}
}

func TestKeyRotation(t *testing.T) {
	f := newFixture(t)
	old := f.token(t, map[string]any{"exp": f.clock.Now().Add(72 * time.Hour).Unix()})
	if _, err := f.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	renewed := "Bearer " + sign(t, jose.RS256, secondKey, "second", f.claims(nil), nil)
	f.issuer.set(func(i *issuer) { i.keys = []any{public(firstKey, "first"), public(secondKey, "second")} })

	if _, err := f.Verify(t.Context(), renewed); code(err) != TokenSignature {
		t.Fatalf("a fetch right after another: %v", err)
	}
	f.clock.Advance(pause)
	for _, token := range []string{renewed, old} {
		if _, err := f.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.issuer.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}

	// The issuer withdraws the first key: a day later it is good no more.
	f.issuer.set(func(i *issuer) { i.keys = []any{public(secondKey, "second")} })
	f.clock.Advance(trustFor)
	if _, err := f.Verify(t.Context(), old); code(err) != TokenSignature {
		t.Errorf("a withdrawn key is still trusted: %v", err)
	}
}

func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	f := newFixture(t)
	strange := "Bearer " + sign(t, jose.RS256, strangersKey, "strange", f.claims(nil), nil)
	for range 50 {
		if _, err := f.Verify(t.Context(), strange); code(err) != TokenSignature {
			t.Fatal(err)
		}
		f.clock.Advance(pause / 10)
	}
	if n := f.issuer.fetches.Load(); n != 5 {
		t.Errorf("%d fetches in 5 pauses", n)
	}
}

func TestIssuerDownThenUp(t *testing.T) {
	f := newFixture(t)
	f.issuer.set(func(i *issuer) { i.down = true })
	token := f.token(t, nil)
	for range 5 {
		_, err := f.Verify(t.Context(), token)
		if !errors.Is(err, ErrUnavailable) || code(err) != "" {
			t.Fatalf("got %v, want an outage", err)
		}
		noTokenIn(t, token, err)
	}
	if n := f.issuer.discovery.Load(); n != 1 {
		t.Errorf("%d calls to an issuer that is down, want 1", n)
	}
	f.issuer.set(func(i *issuer) { i.down = false })
	if _, err := f.Verify(t.Context(), token); !errors.Is(err, ErrUnavailable) {
		t.Errorf("within the pause: %v", err)
	}
	f.clock.Advance(pause)
	if _, err := f.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestKnownKeysOutliveAnOutage(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, map[string]any{"exp": f.clock.Now().Add(72 * time.Hour).Unix()})
	verify := func() error { _, err := f.Verify(t.Context(), token); return err }
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	f.issuer.set(func(i *issuer) { i.down = true })
	f.clock.Advance(refreshAfter)
	if err := verify(); err != nil {
		t.Error("a failed refresh must not shut everybody out:", err)
	}
	// A new key cannot be looked up now: an outage, not a bad token. Waiting for
	// this answer also lets the refresh above end.
	renewed := "Bearer " + sign(t, jose.RS256, secondKey, "second", f.claims(nil), nil)
	f.clock.Advance(pause)
	if _, err := f.Verify(t.Context(), renewed); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an unknown key during an outage: %v", err)
	}
	f.clock.Advance(trustFor - refreshAfter)
	if err := verify(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("keys nobody confirmed for a day are trusted: %v", err)
	}
}

func TestStrangeDocuments(t *testing.T) {
	for name, change := range map[string]func(*issuer){
		"discovery names another issuer": func(i *issuer) { i.name = "https://login.example.com" },
		"keys over plain http":           func(i *issuer) { i.keysAt = "http://login.example.com/keys" },
		"no address of keys":             func(i *issuer) { i.keysAt = "nowhere" },
		"keys that are not there":        func(i *issuer) { i.keysAt = i.URL + "/other" },
		"keys that are no JSON":          func(i *issuer) { i.keysText = "<html>" },
		"no keys":                        func(i *issuer) { i.keys = []any{} },
		"only keys that cannot sign for us": func(i *issuer) {
			encryption, other, weak, nameless := public(firstKey, "first"), public(firstKey, "first"), public(rsaKey(1024), "first"), public(firstKey, "")
			encryption.Use, other.Algorithm = "enc", "RS512"
			i.keys = []any{encryption, other, weak, nameless, jose.JSONWebKey{Key: []byte("a secret of some length, shared with all"), KeyID: "first"},
				map[string]string{"kty": "AKP", "kid": "first"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.issuer.set(change)
			if _, err := f.Verify(t.Context(), f.token(t, nil)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		})
	}
	t.Run("strange keys beside a good one", func(t *testing.T) {
		f := newFixture(t)
		f.issuer.set(func(i *issuer) {
			i.keys = append([]any{map[string]string{"kty": "AKP", "kid": "first"}, public(secondKey, "first")}, i.keys...)
		})
		if _, err := f.Verify(t.Context(), f.token(t, nil)); err != nil {
			t.Error(err)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	f := newFixture(t)
	f.issuer.set(func(i *issuer) { i.keysAt = i.URL + "//keys" }) // ServeMux redirects to /keys
	if _, err := f.Verify(t.Context(), f.token(t, nil)); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "30") {
		t.Errorf("got %v, want a refused redirect", err)
	}
}

func TestCallerMayGiveUpWaiting(t *testing.T) {
	f := newFixture(t)
	hold := make(chan struct{})
	f.issuer.set(func(i *issuer) { i.hold = hold })
	token := f.token(t, nil)
	patient := make(chan error, 1)
	go func() { _, err := f.Verify(context.Background(), token); patient <- err }()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Verify(ctx, token); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(hold)
	if err := <-patient; err != nil {
		t.Error("one caller's leaving ended the fetch for others:", err)
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	f := newFixture(t)
	good := f.token(t, nil)
	strange := "Bearer " + sign(t, jose.RS256, strangersKey, "strange", f.claims(nil), nil)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 20 {
				if _, err := f.Verify(context.Background(), good); err != nil {
					t.Error(err)
				}
				if _, err := f.Verify(context.Background(), strange); code(err) != TokenSignature {
					t.Error(err)
				}
				f.clock.Advance(time.Millisecond)
			}
		})
	}
	group.Wait()
	if n := f.issuer.fetches.Load(); n != 1 {
		t.Errorf("%d fetches within a second, want 1", n)
	}
}
