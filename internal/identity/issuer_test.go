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
	audience = "6f1d2b80-2d0f-4c1e-8b8e-3f4f5a6b7c8d"
	object   = "c5a1b9d2-7e3f-4f60-8a11-2b3c4d5e6f70"
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

// issuer is a small OIDC provider. Its fields may be changed under mu.
type issuer struct {
	*httptest.Server
	mu        sync.Mutex
	keys      []any  // JWKs
	name      string // what discovery says; default the server's URL
	keysAt    string // what discovery says; default the server's
	down      bool
	keysText  string // instead of the keys
	hold      chan struct{}
	fetches   atomic.Int32 // of the keys
	discovery atomic.Int32
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{keys: []any{public(firstKey, "first")}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
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
			name = i.URL
		}
		if keys == "" {
			keys = i.URL + "/keys"
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": name, "jwks_uri": keys})
	})
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

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func public(k *rsa.PrivateKey, kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}
}

// sign makes a token; header entries come on top of alg, kid and typ.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims any, header map[string]any) string {
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
	issuer *issuer
	clock  *clock
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{issuer: newIssuer(t), clock: newClock()}
	var err error
	f.Verifier, err = New(Config{Tenant: tenant, Audience: audience, Issuer: f.issuer.URL, Now: f.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// claims of a good v2 user token, with changes; a nil value takes a claim away.
func (f *fixture) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": f.issuer.URL, "aud": audience, "tid": tenant, "oid": object,
		"iat": f.clock.Now().Unix(), "nbf": f.clock.Now().Unix(), "exp": f.clock.Now().Add(time.Hour).Unix(),
		"roles": []string{RoleRequest, RoleAudit}, "azp": "04b07795-8ddb-461a-bbee-02f9e1bf7b46",
		"preferred_username": "dana@contoso.com", "name": "Dana", "ver": "2.0", "scp": "access_as_user",
	}
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
