package entra_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/entra"
)

const (
	tenant = "11111111-2222-4333-8444-555555555555"
	api    = "99999999-8888-4777-8666-555555555555"

	otherTenant = "22222222-2222-4333-8444-55555555aaaa"
)

// One key for all tests, made once: making one takes longer than all of them.
var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func start(t testing.TB, clock clockwork.Clock) (*entra.Server, string) {
	t.Helper()
	s, err := entra.New(entra.Options{TenantID: tenant, Audience: api, IdentityHeader: "secret", Clock: clock, Key: key()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func get(t testing.TB, url string, headers ...string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	_ = json.Unmarshal(text, &out) // some refusals are plain text
	return resp.StatusCode, out
}

// verifier checks tokens the way jitgate does, through discovery.
func verifier(t *testing.T, s *entra.Server, url string, clock clockwork.Clock) *oidc.IDTokenVerifier {
	t.Helper()
	provider, err := oidc.NewProvider(t.Context(), s.Issuer(url))
	if err != nil {
		t.Fatal(err)
	}
	return provider.Verifier(&oidc.Config{ClientID: api, Now: clock.Now, SupportedSigningAlgs: []string{"RS256"}})
}

func TestPeopleSignIn(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC))
	s, url := start(t, clock)
	v := verifier(t, s, url, clock)
	subjects := map[string]bool{}
	for _, p := range entra.People() {
		status, out := get(t, url+"/token?user="+strings.ToUpper(p.Name))
		if status != 200 || out["token_type"] != "Bearer" {
			t.Fatalf("%s: %d %v", p.Name, status, out)
		}
		token, err := v.Verify(t.Context(), out["access_token"].(string))
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		var claims map[string]any
		if err := token.Claims(&claims); err != nil {
			t.Fatal(err)
		}
		subjects[token.Subject] = true
		var roles []any
		for _, r := range p.Roles {
			roles = append(roles, r)
		}
		want := map[string]any{"iss": url + "/" + tenant + "/v2.0", "aud": api, "tid": tenant, "oid": p.ObjectID, "ver": "2.0",
			"name": p.DisplayName, "preferred_username": p.Username, "roles": roles, "scp": "access_as_user",
			"azp": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "azpacr": "0",
			"iat": float64(clock.Now().Unix()), "nbf": float64(clock.Now().Unix()), "exp": float64(clock.Now().Add(75 * time.Minute).Unix()),
			"sub": claims["sub"], "uti": claims["uti"]}
		var groups []any
		for _, g := range p.Groups {
			groups = append(groups, g)
		}
		if len(groups) > 0 {
			want["groups"] = groups
		}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.Name, diff)
		}
		if out["expires_on"] != strconv.FormatInt(token.Expiry.Unix(), 10) {
			t.Errorf("expires_on %v", out["expires_on"])
		}
		if _, err := uuid.Parse(p.ObjectID); err != nil || claims["uti"] == "" {
			t.Errorf("oid %s, uti %v", p.ObjectID, claims["uti"])
		}
	}
	if len(subjects) != len(entra.People()) {
		t.Errorf("subjects %v", subjects)
	}
	status, out := get(t, url+"/token?user=mallory")
	if text, _ := out["error_description"].(string); status != 404 || !strings.Contains(text, "alice, audrey, bob, carol, dave") {
		t.Errorf("%d %v", status, out)
	}
	if _, err := s.UserToken(url, "mallory"); !errors.Is(err, entra.ErrUnknownUser) {
		t.Errorf("%v", err)
	}
	_, out = get(t, url+"/token?user=alice&audience=https://management.azure.com")
	if err := s.Verify(out["access_token"].(string), "https://management.azure.com/"); err != nil {
		t.Error(err)
	}
	token, err := s.UserToken(url, "bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestRolesOfPeople(t *testing.T) {
	want := map[string][]string{"alice": {"Jit.Request"}, "bob": {"Jit.Request", "Jit.Approve"}, "carol": {"Jit.Admin"}, "dave": {"Jit.Approve"}, "audrey": {"Jit.Audit"},
		"actiongroup": {"ActionGroupsSecureWebhook"}, "workflow": {"Jit.Decide.Workflow"}, "runner": {"Jit.Request"}}
	got := map[string][]string{}
	for _, p := range entra.People() {
		got[p.Name] = p.Roles
	}
	for _, a := range entra.Applications() {
		got[a.Name] = a.Roles
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The real credential of azidentity, as the handler uses it.
func TestManagedIdentityThroughAzidentity(t *testing.T) {
	s, url := start(t, clockwork.NewRealClock())
	for _, pair := range s.Environment(url) {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	for _, other := range []string{"IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "IMDS_ENDPOINT"} {
		t.Setenv(other, "")
	}
	for _, c := range []struct{ scope, audience string }{
		{"https://management.azure.com/.default", "https://management.azure.com"},
		{"https://storage.azure.com/.default", "https://storage.azure.com"},
		{"api://" + api + "/.default", api},
	} {
		credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(entra.IdentityClientID)})
		if err != nil {
			t.Fatal(err)
		}
		token, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{c.scope}})
		if err != nil {
			t.Fatalf("%s: %v", c.scope, err)
		}
		if err := s.Verify(token.Token, c.audience); err != nil {
			t.Errorf("%s: %v", c.scope, err)
		}
		if err := s.Verify(token.Token, "https://elsewhere.example"); err == nil {
			t.Errorf("%s: taken for another audience", c.scope)
		}
		if left := time.Until(token.ExpiresOn); left < time.Hour || left > 90*time.Minute {
			t.Errorf("%s: valid for %s", c.scope, left)
		}
	}
	credential, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ID: azidentity.ClientID(uuid.NewString())})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://management.azure.com/.default"}}); err == nil {
		t.Error("another identity got a token")
	}
}

func TestManagedIdentityRefusals(t *testing.T) {
	_, url := start(t, clockwork.NewRealClock())
	good := "/msi/token?api-version=2019-08-01&resource=https://management.azure.com"
	for _, c := range []struct {
		why, path, header string
		status            int
	}{
		{"good", good, "secret", 200},
		{"own client id", good + "&client_id=" + strings.ToUpper(entra.IdentityClientID), "secret", 200},
		{"own object id", good + "&principal_id=" + entra.IdentityObjectID, "secret", 200},
		{"no header", good, "", 400},
		{"wrong header", good, "other", 400},
		{"no resource", "/msi/token?api-version=2019-08-01", "secret", 400},
		{"no version", "/msi/token?resource=x", "secret", 400},
		{"older version", "/msi/token?api-version=2017-09-01&resource=x", "secret", 400},
		{"another client id", good + "&client_id=" + uuid.NewString(), "secret", 400},
		{"another object id", good + "&principal_id=" + uuid.NewString(), "secret", 400},
		{"a resource id", good + "&mi_res_id=/subscriptions/x", "secret", 400},
	} {
		status, out := get(t, url+c.path, "X-IDENTITY-HEADER", c.header)
		if status != c.status {
			t.Errorf("%s: %d %v", c.why, status, out)
		}
		if status == 200 && (out["resource"] != "https://management.azure.com" || out["token_type"] != "Bearer") {
			t.Errorf("%s: %v", c.why, out)
		}
	}
	random, err := entra.New(entra.Options{TenantID: tenant, Audience: api, Key: key()})
	if err != nil {
		t.Fatal(err)
	}
	if env := random.Environment("http://x/"); slices.Contains(env, "IDENTITY_HEADER=") || env[0] != "IDENTITY_ENDPOINT=http://x/msi/token" {
		t.Errorf("%v", env)
	}
}

func TestOtherTenantsAndPaths(t *testing.T) {
	s, err := entra.New(entra.Options{TenantID: tenant, OtherTenants: []string{strings.ToUpper(otherTenant)}, Audience: api, Key: key()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	url := srv.URL
	for path, want := range map[string]int{
		"/" + tenant + "/v2.0/.well-known/openid-configuration":      200,
		"/common/v2.0/.well-known/openid-configuration":              400,
		"/" + tenant + "/discovery/v2.0/keys":                        200,
		"/other/discovery/v2.0/keys":                                 400,
		"/" + otherTenant + "/v2.0/.well-known/openid-configuration": 200,
		"/" + otherTenant + "/discovery/v2.0/keys":                   200,
		"/" + tenant + "/.well-known/openid-configuration":           200,
		"/other/.well-known/openid-configuration":                    400,
		"/common/discovery/keys":                                     200,
		"/token":                                                     400,
		"/token?user=alice&app=runner":                               400,
		"/token?user=alice&tenant=" + uuid.NewString():               400,
		"/token?user=alice&version=3.0":                              400,
		"/token?app=alice":                                           404,
		"/" + tenant + "/oauth2/v2.0/token":                          404,
	} {
		if status, out := get(t, url+path); status != want {
			t.Errorf("%s: %d %v", path, status, out)
		}
	}
	for _, o := range []entra.Options{{TenantID: "x", Audience: api}, {TenantID: tenant, Audience: "api://" + api},
		{TenantID: tenant, Audience: api, OtherTenants: []string{"contoso.example"}}} {
		if _, err := entra.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// A verifier that knew the old key must find the new one, and tokens signed before
// the rotation stay good until the rotation after it.
func TestRotation(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s, url := start(t, clock)
	v := verifier(t, s, url, clock)
	old, err := s.UserToken(url, "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	fresh, err := s.UserToken(url, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"old": old, "fresh": fresh} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("%s by discovery: %v", name, err)
		}
		if err := s.Verify(token, api); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(old, api); err == nil {
		t.Error("the key of two rotations ago is still trusted")
	}
	_, out := get(t, url+"/"+tenant+"/discovery/v2.0/keys")
	keys := out["keys"].([]any)
	first := keys[0].(map[string]any)
	if len(keys) != 2 || first["issuer"] != s.Issuer(url) || first["kty"] != "RSA" || first["e"] != "AQAB" {
		t.Errorf("%v", out)
	}
}

func TestTokensThatMustBeRefused(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s, url := start(t, clock)
	v := verifier(t, s, url, clock)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.Now()
	for _, c := range []struct {
		why    string
		claims map[string]any
		o      entra.MintOptions
		good   bool // to Verify
	}{
		{"good", nil, entra.MintOptions{}, true},
		{"good with roles", map[string]any{"roles": []string{"Jit.Admin"}}, entra.MintOptions{Algorithm: "RS256"}, true},
		{"unsigned", nil, entra.MintOptions{Algorithm: "none"}, false},
		{"signed with the public key", nil, entra.MintOptions{Algorithm: "HS256"}, false},
		{"signed with another key", nil, entra.MintOptions{Key: stranger}, false},
		{"another key id", nil, entra.MintOptions{KeyID: "other"}, false},
		{"no key id", nil, entra.MintOptions{KeyID: "-"}, false},
		{"over", map[string]any{"exp": now.Add(-3 * time.Minute).Unix()}, entra.MintOptions{}, false},
		{"just over", map[string]any{"exp": now.Add(-time.Minute).Unix()}, entra.MintOptions{}, true},
		{"not yet", map[string]any{"nbf": now.Add(3 * time.Minute).Unix()}, entra.MintOptions{}, false},
		{"endless", map[string]any{"exp": nil}, entra.MintOptions{}, false},
		{"other tenant", map[string]any{"tid": uuid.NewString()}, entra.MintOptions{}, false},
		{"no tenant", map[string]any{"tid": nil}, entra.MintOptions{}, false},
		{"other issuer", map[string]any{"iss": "https://login.example/" + uuid.NewString() + "/v2.0"}, entra.MintOptions{}, false},
		{"other audience", map[string]any{"aud": uuid.NewString()}, entra.MintOptions{}, false},
	} {
		token, err := s.Mint(url, c.claims, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(token, api); (err == nil) != c.good {
			t.Errorf("%s: %v", c.why, err)
		}
		// What the stand-in refuses for its signature, a real verifier refuses too.
		if _, err := v.Verify(t.Context(), token); c.o != (entra.MintOptions{}) && !c.good && err == nil && c.o.KeyID != "-" {
			t.Errorf("%s: go-oidc took it", c.why)
		}
	}
	if _, err := s.Mint(url, nil, entra.MintOptions{Algorithm: "ES256"}); err == nil {
		t.Error("an unknown algorithm was taken")
	}
	if err := s.Verify("not a token", ""); err == nil {
		t.Error("nonsense was taken")
	}
	token, err := s.Mint(url, map[string]any{"aud": "anything"}, entra.MintOptions{})
	if err != nil || s.Verify(token, "") != nil {
		t.Errorf("any audience: %v %v", err, s.Verify(token, ""))
	}
}

func TestConcurrentUse(t *testing.T) {
	s, url := start(t, clockwork.NewRealClock())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				token, err := s.UserToken(url, "alice")
				if err != nil {
					t.Error(err)
				}
				if err := s.Verify(token, api); err != nil {
					t.Error(err)
				}
				get(t, url+"/"+tenant+"/discovery/v2.0/keys")
			}
		})
	}
	wg.Go(func() {
		if err := s.Rotate(); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}
