package entra_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/entra"
)

// claimsOf reads a token without judging it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	delete(claims, "uti") // random
	return claims
}

func two(t *testing.T, clock clockwork.Clock) (*entra.Server, string) {
	t.Helper()
	s, err := entra.New(entra.Options{TenantID: tenant, OtherTenants: []string{otherTenant}, Audience: api, Clock: clock, Key: key()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// TestKindsOfTokens compares all claims of each kind of token.
func TestKindsOfTokens(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	s, url := two(t, clock)
	now := float64(clock.Now().Unix())
	v2 := func(tid string, more map[string]any) map[string]any {
		c := map[string]any{"iss": url + "/" + tid + "/v2.0", "aud": api, "tid": tid, "ver": "2.0", "iat": now, "nbf": now, "exp": now + 75*60,
			"azp": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "azpacr": "0"}
		for name, value := range more {
			c[name] = value
		}
		return c
	}
	v1 := func(tid string, more map[string]any) map[string]any {
		c := v2(tid, map[string]any{"iss": "https://sts.windows.net/" + tid + "/", "aud": "api://" + api, "ver": "1.0",
			"appid": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "appidacr": "0"})
		delete(c, "azp")
		delete(c, "azpacr")
		for name, value := range more {
			c[name] = value
		}
		return c
	}
	const monitor, monitorObject = "461e8683-5575-4561-ac7f-899cc907d62a", "ac710600-0000-4000-8000-000000000011"
	webhook := []any{"ActionGroupsSecureWebhook"}
	for name, test := range map[string]struct {
		more map[string]any
		o    entra.MintOptions
		want map[string]any
	}{
		"nobody": {nil, entra.MintOptions{}, v2(tenant, nil)},
		"nobody, with more and less": {map[string]any{"oid": "x", "azp": nil, "azpacr": nil, "idtyp": "app", "groups": []string{"g"}}, entra.MintOptions{Version: "1.0"},
			v1(tenant, map[string]any{"oid": "x", "idtyp": "app", "groups": []any{"g"}})},
		"dave of the other tenant": {map[string]any{"sub": nil}, entra.MintOptions{User: "dave", Tenant: strings.ToUpper(otherTenant)},
			v2(otherTenant, map[string]any{"oid": "da7e0000-0000-4000-8000-000000000005", "name": "Dave Dunn", "preferred_username": "dave@contoso.example",
				"roles": []any{"Jit.Approve"}, "groups": []any{entra.GroupApprovers}, "scp": "access_as_user"})},
		"alice in version 1": {map[string]any{"sub": nil}, entra.MintOptions{User: "Alice", Version: "1.0"},
			v1(tenant, map[string]any{"oid": "a11ce000-0000-4000-8000-000000000001", "name": "Alice Ashdown", "upn": "alice@contoso.example", "unique_name": "alice@contoso.example",
				"roles": []any{"Jit.Request"}, "groups": []any{entra.GroupOncall}, "scp": "access_as_user"})},
		"Azure Monitor": {nil, entra.MintOptions{App: "actiongroup"},
			v2(tenant, map[string]any{"azp": monitor, "azpacr": "2", "idtyp": "app", "oid": monitorObject, "sub": monitorObject, "roles": webhook})},
		"Azure Monitor in version 1 of the other tenant": {nil, entra.MintOptions{App: "actiongroup", Version: "1.0", Tenant: otherTenant},
			v1(otherTenant, map[string]any{"appid": monitor, "appidacr": "2", "idtyp": "app", "oid": monitorObject, "sub": monitorObject, "roles": webhook})},
	} {
		token, err := s.Mint(url, test.more, test.o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.want, claimsOf(t, token)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, o := range map[string]entra.MintOptions{"an unknown application": {App: "alice"}, "an unknown user": {User: "runner"},
		"an unknown tenant": {Tenant: "33333333-2222-4333-8444-55555555aaaa"}, "an unknown version": {Version: "2"}} {
		if _, err := s.Mint(url, nil, o); err == nil || errors.Is(err, entra.ErrUnknownUser) != (o.App != "" || o.User != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	token, err := s.AppToken(url, "runner")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"Jit.Request"}, claimsOf(t, token)["roles"]); diff != "" {
		t.Error(diff)
	}
}

// TestTokensOverHTTP: what GET /token can be asked for.
func TestTokensOverHTTP(t *testing.T) {
	_, url := two(t, clockwork.NewRealClock())
	for query, want := range map[string][3]string{ // iss, aud, oid
		"user=bob": {url + "/" + tenant + "/v2.0", api, "b0b00000-0000-4000-8000-000000000002"},
		"user=bob&version=1.0&tenant=" + otherTenant: {"https://sts.windows.net/" + otherTenant + "/", "api://" + api, "b0b00000-0000-4000-8000-000000000002"},
		"app=workflow": {url + "/" + tenant + "/v2.0", api, "10c1ca00-0000-4000-8000-000000000012"},
		"app=runner&version=1.0&audience=https://vault.azure.net": {"https://sts.windows.net/" + tenant + "/", "https://vault.azure.net", "c1000000-0000-4000-8000-000000000013"},
	} {
		status, out := get(t, url+"/token?"+query)
		if status != 200 {
			t.Errorf("%s: %d %v", query, status, out)
			continue
		}
		claims := claimsOf(t, out["access_token"].(string))
		if got := [3]string{claims["iss"].(string), claims["aud"].(string), claims["oid"].(string)}; got != want {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// TestEachIssuerVerifies: go-oidc follows the documents of every tenant and version to
// the keys that signed its tokens, and takes nobody else's.
func TestEachIssuerVerifies(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s, url := two(t, clock)
	verify := func(at, issuer, audience string) *oidc.IDTokenVerifier {
		t.Helper()
		// v1.0's issuer is not where its document is, which OpenID Connect does not foresee.
		provider, err := oidc.NewProvider(oidc.InsecureIssuerURLContext(t.Context(), issuer), at)
		if err != nil {
			t.Fatal(err)
		}
		return provider.Verifier(&oidc.Config{ClientID: audience, Now: clock.Now, SupportedSigningAlgs: []string{"RS256"}})
	}
	type kind struct{ tenant, version string }
	verifiers, tokens := map[kind]*oidc.IDTokenVerifier{}, map[kind]string{}
	for _, id := range []string{tenant, otherTenant} {
		verifiers[kind{id, "2.0"}] = verify(s.IssuerOf(url, id), s.IssuerOf(url, id), api)
		verifiers[kind{id, "1.0"}] = verify(url+"/"+id, "https://sts.windows.net/"+id+"/", s.AppIDURI())
		for _, version := range []string{"1.0", "2.0"} {
			token, err := s.Mint(url, nil, entra.MintOptions{User: "alice", Tenant: id, Version: version})
			if err != nil {
				t.Fatal(err)
			}
			tokens[kind{id, version}] = token
		}
	}
	for of, token := range tokens {
		for by, v := range verifiers {
			if _, err := v.Verify(t.Context(), token); (err == nil) != (of == by) {
				t.Errorf("token of %v, issuer %v: %v", of, by, err)
			}
		}
	}
}

// TestDiscovery: each document names its issuer exactly and an address of its keys.
func TestDiscovery(t *testing.T) {
	_, url := two(t, clockwork.NewRealClock())
	for at, want := range map[string][2]string{ // issuer, jwks_uri
		"/" + tenant + "/v2.0":                       {url + "/" + tenant + "/v2.0", url + "/" + tenant + "/discovery/v2.0/keys"},
		"/" + strings.ToUpper(otherTenant) + "/v2.0": {url + "/" + otherTenant + "/v2.0", url + "/" + otherTenant + "/discovery/v2.0/keys"},
		"/" + tenant:      {"https://sts.windows.net/" + tenant + "/", url + "/common/discovery/keys"},
		"/" + otherTenant: {"https://sts.windows.net/" + otherTenant + "/", url + "/common/discovery/keys"},
	} {
		_, out := get(t, url+at+"/.well-known/openid-configuration")
		if out["issuer"] != want[0] || out["jwks_uri"] != want[1] {
			t.Errorf("%s: %v", at, out)
		}
	}
}

// TestKeysSayWhoseTheyAre in version 2 and are silent in version 1.
func TestKeysSayWhoseTheyAre(t *testing.T) {
	s, url := two(t, clockwork.NewRealClock())
	for path, want := range map[string]any{
		"/" + tenant + "/discovery/v2.0/keys":      s.Issuer(url),
		"/" + otherTenant + "/discovery/v2.0/keys": s.IssuerOf(url, otherTenant),
		"/common/discovery/keys":                   nil,
	} {
		_, out := get(t, url+path)
		first := out["keys"].([]any)[0].(map[string]any)
		if first["issuer"] != want || first["kid"] == "" {
			t.Errorf("%s: %v", path, first)
		}
	}
}
