package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	tenantAddress = "http://schemas.microsoft.com/identity/claims/tenantid"
	objectAddress = "http://schemas.microsoft.com/identity/claims/objectidentifier"
	roleAddress   = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
	nameAddress   = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
	scopeAddress  = "http://schemas.microsoft.com/identity/claims/scope"
)

// pairs are claims as the header holds them: type, value, type, value.
type pairs []string

func (p pairs) without(kind string) pairs {
	var rest pairs
	for i := 0; i < len(p); i += 2 {
		if p[i] != kind {
			rest = append(rest, p[i], p[i+1])
		}
	}
	return rest
}

func (p pairs) with(more ...string) pairs { return append(slices.Clone(p), more...) }

// signIn is a header as App Service Authentication writes it.
func signIn(t testing.TB, provider string, claims pairs) string {
	t.Helper()
	type claim struct {
		Type  string `json:"typ"`
		Value string `json:"val"`
	}
	list := []claim{}
	for i := 0; i < len(claims); i += 2 {
		list = append(list, claim{claims[i], claims[i+1]})
	}
	text, err := json.Marshal(map[string]any{"auth_typ": provider, "claims": list, "name_typ": nameAddress, "role_typ": roleAddress})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func session(header string, more ...string) http.Header {
	h := http.Header{}
	h.Set("X-MS-CLIENT-PRINCIPAL", header)
	// These come along and are of no account.
	h.Set("X-MS-CLIENT-PRINCIPAL-ID", "somebody-else")
	h.Set("X-MS-CLIENT-PRINCIPAL-NAME", "mallory@contoso.com")
	h.Set("X-MS-CLIENT-PRINCIPAL-IDP", "aad")
	for i := 0; i+1 < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	return h
}

// personal are the claims of an ID token, which a browser's session begins with.
func (f *fixture) personal() pairs {
	past := strconv.FormatInt(f.clock.Now().Add(-6*time.Hour).Unix(), 10)
	return pairs{"aud", audience, "iss", f.issuer.v2(tenant), "iat", past, "nbf", past, "exp", past, "ver", "2.0", "aio", "x", "nonce", "n",
		tenantAddress, tenant, objectAddress, object, "preferred_username", "dana@contoso.com", "name", "Dana",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "pairwise",
		roleAddress, RoleRequest, roleAddress, RoleAudit}
}

func TestSessionAccepts(t *testing.T) {
	f := fixtureWith(t, true)
	full := Caller{Tenant: tenant, Object: object, Name: "dana@contoso.com", Roles: []string{RoleRequest, RoleAudit}}
	with := func(change func(*Caller)) Caller { c := full; change(&c); return c }
	p := f.personal()
	for name, test := range map[string]struct {
		claims pairs
		want   Caller
	}{
		"a browser's session": {p, full},
		"short names": {pairs{"iss", f.issuer.v2(tenant), "tid", tenant, "oid", object, "preferred_username", "dana@contoso.com",
			"roles", RoleRequest, "roles", RoleAudit}, full},
		"both names, one value":     {p.with("tid", tenant, "oid", object), full},
		"the least":                 {pairs{"tid", tenant, "oid", object}, Caller{Tenant: tenant, Object: object}},
		"the other tenant":          {p.without(tenantAddress).without("iss").with(tenantAddress, second), with(func(c *Caller) { c.Tenant, c.Roles, c.Guest = second, []string{RoleRequest}, true })},
		"version 1":                 {p.without("iss").without("ver").with("iss", v1(tenant), "ver", "1.0"), full},
		"a name of another kind":    {p.without("preferred_username").with(nameAddress, "dana@corp"), with(func(c *Caller) { c.Name = "dana@corp" })},
		"groups":                    {p.with("groups", "a", "groups", "b"), with(func(c *Caller) { c.Groups = []string{"a", "b"} })},
		"too many groups":           {p.with("_claim_names", `{"groups":"src1"}`, "_claim_sources", `{"src1":{}}`), with(func(c *Caller) { c.GroupsIncomplete = true })},
		"too many in another way":   {p.with("hasgroups", "true"), with(func(c *Caller) { c.GroupsIncomplete = true })},
		"a person's access token":   {p.with("azp", client, scopeAddress, "access_as_user"), with(func(c *Caller) { c.App = client })},
		"an application's":          {p.with("azp", client), with(func(c *Caller) { c.App, c.Application = client, true })},
		"an application's, by kind": {p.with("idtyp", "app"), with(func(c *Caller) { c.Application = true })},
		"a role by another name":    {p.with("http://schemas.microsoft.com/claims/role", RoleAdmin, "role", RoleAdmin, "Roles", RoleAdmin), full},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.Verify(t.Context(), session(signIn(t, "aad", test.claims)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, site := range []string{"same-origin", "none"} {
		if _, err := f.Verify(t.Context(), session(signIn(t, "aad", p), "Sec-Fetch-Site", site)); err != nil {
			t.Errorf("%s: %v", site, err)
		}
	}
	if n := f.issuer.discovery.Load(); n != 0 {
		t.Errorf("a session made us ask the issuer %d times", n)
	}
}

func TestSessionRefuses(t *testing.T) {
	f := fixtureWith(t, true)
	p := f.personal()
	good := signIn(t, "aad", p)
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	replaced := func(kind, value string) http.Header {
		return session(signIn(t, "aad", p.without(kind).with(kind, value)))
	}
	for name, test := range map[string]struct {
		headers http.Header
		want    Code
	}{
		"only the other headers":        {http.Header{"X-Ms-Client-Principal-Id": {object}, "X-Ms-Client-Principal-Idp": {"aad"}, "X-Ms-Token-Aad-Id-Token": {"a.b.c"}}, TokenMissing},
		"another site's call":           {session(good, "Sec-Fetch-Site", "cross-site"), TokenMissing},
		"a sibling site's call":         {session(good, "Sec-Fetch-Site", "same-site"), TokenMissing},
		"two sign-ins":                  {session(good, "X-MS-CLIENT-PRINCIPAL", good), TokenMalformed},
		"an empty one":                  {session(""), TokenMalformed},
		"no base64":                     {session("{}"), TokenMalformed},
		"base64 for addresses":          {session(strings.TrimRight(encode(`{"auth_typ":"aad","x":"??>>"}`), "=") + "-_"), TokenMalformed},
		"no JSON":                       {session(encode("hello")), TokenMalformed},
		"a list":                        {session(encode("[]")), TokenMalformed},
		"two documents":                 {session(encode(`{"auth_typ":"aad"}{"auth_typ":"aad"}`)), TokenMalformed},
		"claims twice":                  {session(encode(`{"auth_typ":"aad","claims":[],"claims":[]}`)), TokenMalformed},
		"a number for a value":          {session(encode(`{"auth_typ":"aad","claims":[{"typ":"tid","val":1}]}`)), TokenMalformed},
		"a static web app's":            {session(encode(`{"identityProvider":"aad","userId":"` + object + `","userRoles":["Jit.Admin"]}`)), TokenMalformed},
		"far too long":                  {session(signIn(t, "aad", p.with("x", strings.Repeat("x", maxToken)))), TokenMalformed},
		"another provider":              {session(signIn(t, "google", p)), TokenMalformed},
		"a provider in capitals":        {session(signIn(t, "AAD", p)), TokenMalformed},
		"no provider":                   {session(signIn(t, "", p)), TokenMalformed},
		"two tenants":                   {session(signIn(t, "aad", p.with("tid", second))), TokenMalformed},
		"two people":                    {session(signIn(t, "aad", p.with("oid", strings.Replace(object, "c5", "d6", 1)))), TokenMalformed},
		"claim names that are no JSON":  {session(signIn(t, "aad", p.with("_claim_names", "groups"))), TokenMalformed},
		"a foreign tenant":              {session(signIn(t, "aad", p.without("iss").without(tenantAddress).with("tid", foreign))), TokenTenant},
		"no tenant":                     {session(signIn(t, "aad", p.without(tenantAddress))), TokenTenant},
		"no tenant and no issuer":       {session(signIn(t, "aad", p.without("iss").without(tenantAddress))), TokenTenant},
		"an empty tenant":               {replaced(tenantAddress, ""), TokenTenant},
		"the issuer of another":         {replaced("iss", f.issuer.v2(second)), TokenTenant},
		"a foreign issuer":              {replaced("iss", f.issuer.v2(foreign)), TokenIssuer},
		"the issuer of other versions":  {replaced("iss", v1(tenant)), TokenIssuer},
		"another audience":              {replaced("aud", "00000003-0000-0000-c000-000000000000"), TokenAudience},
		"an audience on top":            {session(signIn(t, "aad", p.with("aud", "00000003-0000-0000-c000-000000000000"))), TokenAudience},
		"no object id":                  {session(signIn(t, "aad", p.without(objectAddress))), TokenSubject},
		"an object id that is none":     {replaced(objectAddress, "dana"), TokenSubject},
		"a bad token beside a good one": {session(good, "Authorization", "Bearer a.b.c"), TokenMalformed},
		"an expired token beside it":    {session(good, "Authorization", f.token(t, map[string]any{"exp": f.clock.Now().Add(-time.Hour).Unix()})), TokenExpired},
		"another scheme beside it":      {session(good, "Authorization", "Basic ZGFuYTpwdw=="), TokenMissing},
		"an empty header beside it":     {session(good, "Authorization", ""), TokenMissing},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.Verify(t.Context(), test.headers)
			if code(err) != test.want {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if !cmp.Equal(got, Caller{}) {
				t.Errorf("a refused sign-in speaks for %+v", got)
			}
			noTokenIn(t, test.headers.Get(principalHeader), err)
		})
	}
}

// TestSessionsAreOffByDefault: whoever can write a header must not be able to sign in
// with it.
func TestSessionsAreOffByDefault(t *testing.T) {
	f := newFixture(t)
	admin := signIn(t, "aad", f.personal().with(roleAddress, RoleAdmin))
	if _, err := f.Verify(t.Context(), session(admin)); code(err) != TokenMissing {
		t.Errorf("the header alone: %v", err)
	}
	got, err := f.Verify(t.Context(), session(admin, "Authorization", f.token(t, nil)))
	if err != nil || got.Has(RoleAdmin) {
		t.Errorf("beside a token: %+v %v", got, err)
	}
}

func TestBearerTokenWinsOverSession(t *testing.T) {
	f := fixtureWith(t, true)
	admin := signIn(t, "aad", f.personal().with(roleAddress, RoleAdmin))
	got, err := f.Verify(t.Context(), session(admin, "Authorization", f.token(t, map[string]any{"roles": []string{RoleAudit}})))
	if err != nil {
		t.Fatal(err)
	}
	if got.Has(RoleAdmin) || got.App != client {
		t.Errorf("the session shows through: %+v", got)
	}
}

func FuzzSession(f *testing.F) {
	fix := fixtureWith(f, true)
	p := fix.personal()
	for _, claims := range []pairs{p, p.with("tid", second), p.with("groups", "a", "idtyp", "app"), p.without("iss"), {"tid", tenant, "oid", object}, {}} {
		text, err := base64.StdEncoding.DecodeString(signIn(f, "aad", claims))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"", "{}", "[]", `{"auth_typ":"aad","claims":null}`, `{"auth_typ":"aad","claims":[{}]}`,
		`{"auth_typ":"aad","claims":[{"typ":"_claim_names","val":"null"}]}`, `{"Auth_Typ":"aad","claims":[]}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, header := range []string{base64.StdEncoding.EncodeToString([]byte(text)), text} {
			got, err := fix.Verify(t.Context(), session(header))
			if err != nil {
				var refused *Error
				if !errors.As(err, &refused) || refused.Sentence == "" || !cmp.Equal(got, Caller{}) {
					t.Fatalf("%q: %+v, %v", header, got, err)
				}
				noTokenIn(t, header, err)
				continue
			}
			if got.Tenant != tenant && got.Tenant != second || len(got.Object) != 36 {
				t.Fatalf("%q speaks for %+v", text, got)
			}
		}
	})
}
