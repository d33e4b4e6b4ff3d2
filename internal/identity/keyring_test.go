package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
		_, _ = f.verify(t, header)
	}
	if n := f.issuer.discovery.Load(); n != 0 {
		t.Errorf("headers that cannot be good made us ask the issuer %d times", n)
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	f := newFixture(t)
	for range 10 {
		if _, err := f.verify(t, f.token(t, nil)); err != nil {
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
	if _, err := f.verify(t, old); err != nil {
		t.Fatal(err)
	}
	renewed := "Bearer " + sign(t, jose.RS256, secondKey, "second", f.claims(nil), nil)
	f.issuer.set(func(i *provider) { i.keys = []any{public(firstKey, "first"), public(secondKey, "second")} })

	if _, err := f.verify(t, renewed); code(err) != TokenSignature {
		t.Fatalf("a fetch right after another: %v", err)
	}
	f.clock.Advance(pause)
	for _, token := range []string{renewed, old} {
		if _, err := f.verify(t, token); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.issuer.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}

	// The issuer withdraws the first key: a day later it is good no more.
	f.issuer.set(func(i *provider) { i.keys = []any{public(secondKey, "second")} })
	f.clock.Advance(trustFor)
	if _, err := f.verify(t, old); code(err) != TokenSignature {
		t.Errorf("a withdrawn key is still trusted: %v", err)
	}
}

func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	f := newFixture(t)
	strange := "Bearer " + sign(t, jose.RS256, strangersKey, "strange", f.claims(nil), nil)
	for range 50 {
		if _, err := f.verify(t, strange); code(err) != TokenSignature {
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
	f.issuer.set(func(i *provider) { i.down = true })
	token := f.token(t, nil)
	for range 5 {
		_, err := f.verify(t, token)
		if !errors.Is(err, ErrUnavailable) || code(err) != "" {
			t.Fatalf("got %v, want an outage", err)
		}
		noTokenIn(t, token, err)
	}
	if n := f.issuer.discovery.Load(); n != 1 {
		t.Errorf("%d calls to an issuer that is down, want 1", n)
	}
	f.issuer.set(func(i *provider) { i.down = false })
	if _, err := f.verify(t, token); !errors.Is(err, ErrUnavailable) {
		t.Errorf("within the pause: %v", err)
	}
	f.clock.Advance(pause)
	if _, err := f.verify(t, token); err != nil {
		t.Error(err)
	}
}

func TestKnownKeysOutliveAnOutage(t *testing.T) {
	f := newFixture(t)
	token := f.token(t, map[string]any{"exp": f.clock.Now().Add(72 * time.Hour).Unix()})
	verify := func() error { _, err := f.verify(t, token); return err }
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	f.issuer.set(func(i *provider) { i.down = true })
	f.clock.Advance(refreshAfter)
	if err := verify(); err != nil {
		t.Error("a failed refresh must not shut everybody out:", err)
	}
	// A new key cannot be looked up now: an outage, not a bad token. Waiting for
	// this answer also lets the refresh above end.
	renewed := "Bearer " + sign(t, jose.RS256, secondKey, "second", f.claims(nil), nil)
	f.clock.Advance(pause)
	if _, err := f.verify(t, renewed); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an unknown key during an outage: %v", err)
	}
	f.clock.Advance(trustFor - refreshAfter)
	if err := verify(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("keys nobody confirmed for a day are trusted: %v", err)
	}
}

func TestStrangeDocuments(t *testing.T) {
	for name, change := range map[string]func(*provider){
		"discovery names another issuer": func(i *provider) { i.name = "https://login.example.com" },
		"keys over plain http":           func(i *provider) { i.keysAt = "http://login.example.com/keys" },
		"no address of keys":             func(i *provider) { i.keysAt = "nowhere" },
		"keys that are not there":        func(i *provider) { i.keysAt = i.URL + "/other" },
		"keys that are no JSON":          func(i *provider) { i.keysText = "<html>" },
		"no keys":                        func(i *provider) { i.keys = []any{} },
		"only keys that cannot sign for us": func(i *provider) {
			encryption, other, weak, nameless := public(firstKey, "first"), public(firstKey, "first"), public(rsaKey(1024), "first"), public(firstKey, "")
			encryption.Use, other.Algorithm = "enc", "RS512"
			i.keys = []any{encryption, other, weak, nameless, jose.JSONWebKey{Key: []byte("a secret of some length, shared with all"), KeyID: "first"},
				map[string]string{"kty": "AKP", "kid": "first"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.issuer.set(change)
			if _, err := f.verify(t, f.token(t, nil)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want ErrUnavailable", err)
			}
		})
	}
	t.Run("strange keys beside a good one", func(t *testing.T) {
		f := newFixture(t)
		f.issuer.set(func(i *provider) {
			i.keys = append([]any{map[string]string{"kty": "AKP", "kid": "first"}, public(secondKey, "first")}, i.keys...)
		})
		if _, err := f.verify(t, f.token(t, nil)); err != nil {
			t.Error(err)
		}
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	f := newFixture(t)
	f.issuer.set(func(i *provider) { i.keysAt = i.URL + "//keys" }) // ServeMux redirects to /keys
	if _, err := f.verify(t, f.token(t, nil)); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "30") {
		t.Errorf("got %v, want a refused redirect", err)
	}
}

func TestCallerMayGiveUpWaiting(t *testing.T) {
	f := newFixture(t)
	hold := make(chan struct{})
	f.issuer.set(func(i *provider) { i.hold = hold })
	token := f.token(t, nil)
	patient := make(chan error, 1)
	go func() {
		_, err := f.Verify(context.Background(), http.Header{"Authorization": {token}})
		patient <- err
	}()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Verify(ctx, http.Header{"Authorization": {token}}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
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
	others := []string{f.token(t, map[string]any{"iss": f.issuer.v2(second), "tid": second}), f.token1(t, nil)}
	strange := "Bearer " + sign(t, jose.RS256, strangersKey, "strange", f.claims(nil), nil)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			for range 20 {
				if _, err := f.verify(t, good); err != nil {
					t.Error(err)
				}
				if _, err := f.verify(t, strange); code(err) != TokenSignature {
					t.Error(err)
				}
				for _, token := range others {
					if _, err := f.verify(t, token); err != nil {
						t.Error(err)
					}
				}
				f.clock.Advance(time.Millisecond)
			}
		})
	}
	group.Wait()
	if n := f.issuer.fetches.Load(); n != 3 {
		t.Errorf("%d fetches of three issuers' keys within a second, want 3", n)
	}
}

// owned is the first key's entry with an issuer, as Entra writes it.
func owned(t testing.TB, key jose.JSONWebKey, issuer any) map[string]any {
	t.Helper()
	text, err := key.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	entry := map[string]any{}
	if err := json.Unmarshal(text, &entry); err != nil {
		t.Fatal(err)
	}
	entry["issuer"] = issuer
	return entry
}

// TestKeysOfOtherIssuers: a key that says whose it is signs for nobody else, however
// it got into the document.
func TestKeysOfOtherIssuers(t *testing.T) {
	for name, test := range map[string]struct {
		issuer func(*provider) any
		v2, v1 Code
	}{
		"room for the tenant's id": {func(i *provider) any { return i.v2("{tenantid}") }, "", TokenSignature},
		"the tenant itself":        {func(i *provider) any { return i.v2(tenant) }, "", TokenSignature},
		"the tenant, version 1":    {func(i *provider) any { return v1(tenant) }, TokenSignature, ""},
		"our other tenant":         {func(i *provider) any { return i.v2(second) }, TokenSignature, TokenSignature},
		"personal accounts":        {func(i *provider) any { return i.v2(foreign) }, TokenSignature, TokenSignature},
		"a lookalike":              {func(i *provider) any { return i.v2(tenant) + "/" }, TokenSignature, TokenSignature},
		"no text":                  {func(i *provider) any { return 1 }, TokenSignature, TokenSignature},
		"empty":                    {func(i *provider) any { return "" }, TokenSignature, TokenSignature},
		"nothing said":             {func(i *provider) any { return nil }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.issuer.set(func(i *provider) {
				i.keys = []any{owned(t, public(firstKey, "first"), test.issuer(i)), public(secondKey, "second")}
			})
			if _, err := f.verify(t, f.token(t, nil)); code(err) != test.v2 || test.v2 == "" && err != nil {
				t.Errorf("version 2: %v, want %q", err, test.v2)
			}
			if _, err := f.verify(t, f.token1(t, nil)); code(err) != test.v1 || test.v1 == "" && err != nil {
				t.Errorf("version 1: %v, want %q", err, test.v1)
			}
		})
	}
}

// TestIssuersHaveTheirOwnKeys: what one tenant's document says is of no use to
// another's tokens, and one that cannot be reached does not hold up the other.
func TestIssuersHaveTheirOwnKeys(t *testing.T) {
	f := newFixture(t)
	if _, err := f.verify(t, f.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	f.issuer.set(func(i *provider) { i.down = true })
	others := f.token(t, map[string]any{"iss": f.issuer.v2(second), "tid": second})
	for name, token := range map[string]string{"the other tenant": others, "version 1": f.token1(t, nil)} {
		if _, err := f.verify(t, token); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v, want an outage", name, err)
		}
	}
	if _, err := f.verify(t, f.token(t, nil)); err != nil {
		t.Error(err)
	}
}

// TestForeignTokensCostNothing: anybody can send tokens of any tenant; they must not
// make us call anywhere.
func TestForeignTokensCostNothing(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{f.issuer.v2(foreign), f.issuer.URL, v1(foreign), f.issuer.v2("common"), ""} {
		if _, err := f.verify(t, f.token(t, map[string]any{"iss": name})); code(err) != TokenIssuer {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := f.issuer.discovery.Load(); n != 0 {
		t.Errorf("%d calls", n)
	}
}
