package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	tenant   = "0b3f2c7e-58a4-4a0e-9d0c-6a7b1f6c9a01"
	second   = "1c404d8f-69b5-4b1f-8e1d-7b8c2f7dab12" // a tenant that is served as well
	foreign  = "9188040d-6c67-4c5b-b112-36a304b66dad" // one that is not
	audience = "6f1d2b80-2d0f-4c1e-8b8e-3f4f5a6b7c8d"
	appURI   = "api://jitgate.contoso.com"
	object   = "c5a1b9d2-7e3f-4f60-8a11-2b3c4d5e6f70"
	client   = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
)

// Making RSA keys is slow, so all tests share these.
var firstKey, secondKey, strangersKey = rsaKey(2048), rsaKey(2048), rsaKey(2048)

func rsaKey(bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return k
}

// provider publishes keys and discovery documents as Entra does: per tenant, and one
// for each version of tokens. Its fields may be changed under mu.
type provider struct {
	*httptest.Server
	mu        sync.Mutex
	keys      []any  // JWKs
	name      string // what discovery says; default the tenant's issuer
	keysAt    string // what discovery says; default the server's
	down      bool
	keysText  string // instead of the keys
	hold      chan struct{}
	fetches   atomic.Int32 // of the keys
	discovery atomic.Int32
}

func newProvider(t testing.TB) *provider {
	i := &provider{keys: []any{public(firstKey, "first")}}
	mux := http.NewServeMux()
	discovery := func(issuer func(tenant string) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { i.discover(w, issuer(r.PathValue("tenant"))) }
	}
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", discovery(i.v2))
	mux.HandleFunc("GET /{tenant}/.well-known/openid-configuration", discovery(v1))
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.keysText != "" {
			_, _ = w.Write([]byte(i.keysText))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// v2 and v1 name a tenant's issuers.
func (i *provider) v2(tenant string) string { return i.URL + "/" + tenant + "/v2.0" }

func v1(tenant string) string { return "https://sts.windows.net/" + tenant + "/" }

func (i *provider) discover(w http.ResponseWriter, issuer string) {
	i.discovery.Add(1)
	i.mu.Lock()
	down, name, keys, hold := i.down, i.name, i.keysAt, i.hold
	i.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	if name == "" {
		name = issuer
	}
	if keys == "" {
		keys = i.URL + "/keys"
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"issuer": name, "jwks_uri": keys})
}

func (i *provider) set(change func(*provider)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func public(k *rsa.PrivateKey, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}
}

// tester is a test, be it one of rapid's.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// sign makes a token; header entries come on top of alg, kid and typ.
func sign(t tester, alg jose.SignatureAlgorithm, key any, kid string, claims any, header map[string]any) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	for name, value := range header {
		o = o.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// clock is a time that tests set.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

// fixture is a verifier with its issuer and clock.
type fixture struct {
	*Verifier
	issuer *provider
	clock  *clock
}

func newFixture(t testing.TB) *fixture { return fixtureWith(t, false) }

func fixtureWith(t testing.TB, easyAuth bool) *fixture {
	t.Helper()
	f := &fixture{issuer: newProvider(t), clock: newClock()}
	var err error
	f.Verifier, err = New(Config{Tenants: []string{tenant, second}, Audiences: []string{audience, appURI}, Issuer: f.issuer.URL + "/{tenantid}/v2.0", Now: f.clock.Now,
		EasyAuth: easyAuth, PlatformAuth: easyAuth})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// verify is Verify for a call with that Authorization header.
func (f *fixture) verify(t testing.TB, authorization string) (Caller, error) {
	return f.Verify(t.Context(), http.Header{"Authorization": {authorization}})
}

// claims of a good v2 user token, with changes; a nil value takes a claim away.
func (f *fixture) claims(changes map[string]any) map[string]any {
	return changed(map[string]any{
		"iss": f.issuer.v2(tenant), "aud": audience, "tid": tenant, "oid": object,
		"iat": f.clock.Now().Unix(), "nbf": f.clock.Now().Unix(), "exp": f.clock.Now().Add(time.Hour).Unix(),
		"roles": []string{RoleRequest, RoleAudit}, "azp": client,
		"preferred_username": "dana@contoso.com", "name": "Dana", "ver": "2.0", "scp": "access_as_user",
	}, changes)
}

// claims1 are those of a good user token of version 1.
func (f *fixture) claims1(changes map[string]any) map[string]any {
	return changed(f.claims(map[string]any{"iss": v1(tenant), "ver": "1.0", "aud": appURI, "azp": nil, "appid": client,
		"preferred_username": nil, "upn": "dana@contoso.com"}), changes)
}

func changed(c, changes map[string]any) map[string]any {
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// token is a good bearer header value, with changes to the claims.
func (f *fixture) token(t testing.TB, changes map[string]any) string {
	return "Bearer " + sign(t, jose.RS256, firstKey, "first", f.claims(changes), nil)
}

func (f *fixture) token1(t testing.TB, changes map[string]any) string {
	return "Bearer " + sign(t, jose.RS256, firstKey, "first", f.claims1(changes), nil)
}
