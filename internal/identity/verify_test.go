package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestVerifyAccepts(t *testing.T) {
	const unknown = "a claim nobody knows"
	full := Caller{Tenant: tenant, Object: object, App: client, Name: "dana@contoso.com", Roles: []string{RoleRequest, RoleAudit}}
	with := func(change func(*Caller)) Caller { c := full; change(&c); return c }
	groups := []string{"9f0a1b2c-0000-4000-8000-000000000001", "9f0a1b2c-0000-4000-8000-000000000002"}
	type claims = map[string]any
	for name, test := range map[string]struct {
		version string
		changes claims
		want    Caller
	}{
		"a user's token": {version2, nil, full},
		"one of the other tenant": {version2, claims{"iss": "second", "tid": second},
			with(func(c *Caller) { c.Tenant, c.Roles, c.Guest = second, []string{RoleRequest}, true })},
		"upn is the second choice of name": {version2, claims{"preferred_username": nil, "upn": "dana@corp"},
			with(func(c *Caller) { c.Name = "dana@corp" })},
		"name is the last": {version2, claims{"preferred_username": nil}, with(func(c *Caller) { c.Name = "Dana" })},
		"no roles":         {version2, claims{"roles": nil}, with(func(c *Caller) { c.Roles = nil })},
		"no nbf":           {version2, claims{"nbf": nil}, full},
		"a claim in another case is another claim": {version2, claims{"Roles": []string{RoleAdmin}, "OID": "x", "Tid": "y", "SCP": ""}, full},
		"an audience list of one":                  {version2, claims{"aud": []string{audience}}, full},
		"version 2 for an App ID URI":              {version2, claims{"aud": appURI}, full},
		"claims that mean nothing to us":           {version2, claims{unknown: []int{1}, "uti": "id", "acrs": []string{"c1"}}, full},
		"version 2 does not call it appid":         {version2, claims{"appid": ActionGroupApp}, full},

		"version 1":                        {version1, nil, full},
		"version 1 of the other tenant":    {version1, claims{"iss": v1(second), "tid": second}, with(func(c *Caller) { c.Tenant, c.Roles, c.Guest = second, []string{RoleRequest}, true })},
		"version 1 for a client id":        {version1, claims{"aud": audience}, full},
		"version 1 does not call it azp":   {version1, claims{"azp": ActionGroupApp}, full},
		"a guest's unique name, version 1": {version1, claims{"upn": nil, "unique_name": "live.com#dana@example.com"}, with(func(c *Caller) { c.Name = "live.com#dana@example.com" })},

		"no scope means an application": {version2, claims{"preferred_username": nil, "name": nil, "scp": nil},
			with(func(c *Caller) { c.Name, c.Application = client, true })},
		"an empty scope is none":                 {version2, claims{"scp": " "}, with(func(c *Caller) { c.Application = true })},
		"no scope in version 1":                  {version1, claims{"scp": nil}, with(func(c *Caller) { c.Application = true })},
		"idtyp app":                              {version2, claims{"idtyp": "app", "scp": nil}, with(func(c *Caller) { c.Application = true })},
		"idtyp app outranks a scope":             {version2, claims{"idtyp": "app"}, with(func(c *Caller) { c.Application = true })},
		"idtyp user":                             {version2, claims{"idtyp": "user"}, full},
		"idtyp user without a scope is no proof": {version2, claims{"idtyp": "user", "scp": nil}, with(func(c *Caller) { c.Application = true })},
		"an unknown idtyp is no person":          {version2, claims{"idtyp": "device"}, with(func(c *Caller) { c.Application = true })},

		"groups":    {version2, claims{"groups": groups}, with(func(c *Caller) { c.Groups = groups })},
		"no groups": {version2, claims{"groups": []string{}}, with(func(c *Caller) { c.Groups = []string{} })},
		"too many groups": {version2, claims{"_claim_names": claims{"groups": "src1"},
			"_claim_sources": claims{"src1": claims{"endpoint": "https://graph.windows.net/x/users/y/getMemberObjects"}}},
			with(func(c *Caller) { c.GroupsIncomplete = true })},
		"other claims that did not fit":       {version2, claims{"_claim_names": claims{"wids": "src1"}}, full},
		"too many groups in an implicit flow": {version2, claims{"hasgroups": true}, with(func(c *Caller) { c.GroupsIncomplete = true })},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			make := f.token
			if test.version == version1 {
				make = f.token1
			}
			if test.changes["iss"] == "second" {
				test.changes["iss"] = f.issuer.v2(second)
			}
			got, err := f.verify(t, make(t, test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if n := f.issuer.discovery.Load(); n != 1 {
				t.Errorf("%d issuers were asked for one token", n)
			}
		})
	}
}

// raw builds a token without any library's scruples.
func raw(header, payload string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(payload)) + "." + e([]byte("no signature"))
}

func TestVerifyRefuses(t *testing.T) {
	f := newFixture(t)
	good := strings.TrimPrefix(f.token(t, nil), "Bearer ")
	claims := f.claims(nil)
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(firstKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	now := f.clock.Now()
	change := func(name string, value any) string { return f.token(t, map[string]any{name: value}) }
	change1 := func(name string, value any) string { return f.token1(t, map[string]any{name: value}) }
	both := func(first string, a any, second string, b any) string {
		return f.token(t, map[string]any{first: a, second: b})
	}

	for name, test := range map[string]struct {
		header string
		want   Code
	}{
		"no header":                           {"", TokenMissing},
		"only the scheme":                     {"Bearer", TokenMissing},
		"only the scheme and a space":         {"Bearer ", TokenMissing},
		"another scheme":                      {"Basic ZGFuYTpwdw==", TokenMissing},
		"the token without scheme":            {good, TokenMissing},
		"not a token":                         {"Bearer hello", TokenMalformed},
		"two tokens":                          {"Bearer " + good + ", Bearer " + good, TokenMalformed},
		"a header that is no base64":          {"Bearer !!." + parts[1] + "." + parts[2], TokenMalformed},
		"a header that is no JSON":            {"Bearer " + raw("hello", "{}"), TokenMalformed},
		"a header with two algorithms":        {"Bearer " + raw(`{"alg":"none","alg":"RS256"}`, "{}"), TokenMalformed},
		"a signature that is no base64":       {"Bearer " + parts[0] + "." + parts[1] + ".!!", TokenMalformed},
		"far too long":                        {"Bearer " + strings.Repeat("a", maxToken) + ".b.c", TokenMalformed},
		"a space inside":                      {"Bearer " + parts[0] + "." + parts[1] + ". " + parts[2], TokenMalformed},
		"alg none":                            {"Bearer " + raw(`{"alg":"none"}`, "{}"), TokenAlgorithm},
		"alg None":                            {"Bearer " + raw(`{"alg":"None","kid":"first"}`, "{}"), TokenAlgorithm},
		"alg rs256":                           {"Bearer " + raw(`{"alg":"rs256","kid":"first"}`, "{}"), TokenAlgorithm},
		"no alg":                              {"Bearer " + raw(`{"kid":"first"}`, "{}"), TokenAlgorithm},
		"Alg instead of alg":                  {"Bearer " + raw(`{"Alg":"RS256","kid":"first"}`, "{}"), TokenAlgorithm},
		"HS256 with the public key as secret": {"Bearer " + sign(t, jose.HS256, der, "first", claims, nil), TokenAlgorithm},
		"RS512 with the right key":            {"Bearer " + sign(t, jose.RS512, firstKey, "first", claims, nil), TokenAlgorithm},
		"PS256 with the right key":            {"Bearer " + sign(t, jose.PS256, firstKey, "first", claims, nil), TokenAlgorithm},
		"ES256":                               {"Bearer " + sign(t, jose.ES256, elliptical, "first", claims, nil), TokenAlgorithm},
		"another's key under a known id":      {"Bearer " + sign(t, jose.RS256, strangersKey, "first", claims, nil), TokenSignature},
		"a key id that is not known":          {"Bearer " + sign(t, jose.RS256, firstKey, "other", claims, nil), TokenSignature},
		"no key id":                           {"Bearer " + sign(t, jose.RS256, firstKey, "", claims, nil), TokenSignature},
		"a key that the token brings along": {"Bearer " + sign(t, jose.RS256, strangersKey, "first", claims,
			map[string]any{"jwk": jose.JSONWebKey{Key: strangersKey.Public()}}), TokenSignature},
		"an extension that must be understood": {"Bearer " + sign(t, jose.RS256, firstKey, "first", claims,
			map[string]any{"crit": []string{"exp"}, "exp": 1}), TokenSignature},
		"claims of another token": {"Bearer " + parts[0] + "." + strings.Split(change("oid", "other"), ".")[1] + "." + parts[2], TokenSignature},
		"the signature cut short": {"Bearer " + parts[0] + "." + parts[1] + "." + parts[2][:40], TokenSignature},
		"no signature":            {"Bearer " + parts[0] + "." + parts[1] + ".", TokenSignature},

		"another issuer":              {change("iss", "https://login.example.com/"+tenant+"/v2.0"), TokenIssuer},
		"the issuer with a slash":     {change("iss", f.issuer.v2(tenant)+"/"), TokenIssuer},
		"the issuer in capitals":      {change("iss", strings.ToUpper(f.issuer.v2(tenant))), TokenIssuer},
		"the issuer's template":       {change("iss", f.issuer.URL+"/{tenantid}/v2.0"), TokenIssuer},
		"all tenants' issuer":         {change("iss", f.issuer.v2("common")), TokenIssuer},
		"a foreign tenant's":          {both("iss", f.issuer.v2(foreign), "tid", foreign), TokenIssuer},
		"a foreign tenant's, v1":      {f.token1(t, map[string]any{"iss": v1(foreign), "tid": foreign}), TokenIssuer},
		"version 1, no slash":         {change1("iss", strings.TrimSuffix(v1(tenant), "/")), TokenIssuer},
		"no issuer":                   {change("iss", nil), TokenIssuer},
		"version 2 from issuer 1":     {change("iss", v1(tenant)), TokenIssuer},
		"version 1 from issuer 2":     {change1("iss", f.issuer.v2(tenant)), TokenIssuer},
		"no version":                  {change("ver", nil), TokenIssuer},
		"an unknown version":          {change("ver", "3.0"), TokenIssuer},
		"another audience":            {change("aud", "https://management.azure.com"), TokenAudience},
		"the audience in capitals":    {change("aud", strings.ToUpper(audience)), TokenAudience},
		"the App ID URI with a slash": {change1("aud", appURI+"/"), TokenAudience},
		"ours among the audiences":    {change("aud", []string{audience, "00000003-0000-0000-c000-000000000000"}), TokenAudience},
		"both of our audiences":       {change("aud", []string{audience, appURI}), TokenAudience},
		"no audience":                 {change("aud", nil), TokenAudience},
		"an empty audience":           {change("aud", ""), TokenAudience},
		"another tenant":              {change("tid", foreign), TokenTenant},
		"the other of our tenants":    {change("tid", second), TokenTenant},
		"and the other way round":     {both("iss", f.issuer.v2(second), "tid", tenant), TokenTenant},
		"another tenant in v1":        {change1("tid", second), TokenTenant},
		"the tenant in capitals":      {change("tid", strings.ToUpper(tenant)), TokenTenant},
		"no tenant":                   {change("tid", nil), TokenTenant},
		"expired":                     {change("exp", now.Add(-time.Hour).Unix()), TokenExpired},
		"expired in v1":               {change1("exp", now.Add(-time.Hour).Unix()), TokenExpired},
		"no expiry":                   {change("exp", nil), TokenExpired},
		"not valid yet":               {change("nbf", now.Add(time.Hour).Unix()), TokenNotYetValid},
		"no object id":                {change("oid", nil), TokenSubject},
		"an empty object id":          {change("oid", ""), TokenSubject},
		"an object id that is none":   {change("oid", "../"+object), TokenSubject},
		"an object id in braces":      {change("oid", "{"+object+"}"), TokenSubject},
		"an ID token":                 {f.token(t, map[string]any{"azp": nil, "scp": nil, "nonce": "n"}), TokenSubject},
		"v1's application in v2":      {both("azp", nil, "appid", client), TokenSubject},
		"v2's application in v1":      {f.token1(t, map[string]any{"appid": nil, "azp": client}), TokenSubject},
		"roles that are no list":      {change("roles", RoleAdmin), TokenMalformed},
		"groups that are no list":     {change("groups", "src1"), TokenMalformed},
		"a list of scopes":            {change("scp", []string{"access_as_user"}), TokenMalformed},
		"an expiry that is text":      {change("exp", "tomorrow"), TokenMalformed},
		"a payload with two tenants":  {"Bearer " + raw(`{"alg":"RS256","kid":"first"}`, `{"tid":"`+foreign+`","tid":"`+tenant+`"}`), TokenMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.verify(t, test.header)
			var refused *Error
			if !errors.As(err, &refused) || refused.Code != test.want {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if errors.Is(err, ErrUnavailable) {
				t.Error("a refusal must not look like an outage")
			}
			if !cmp.Equal(got, Caller{}) {
				t.Errorf("a refused token speaks for %+v", got)
			}
			if !strings.HasSuffix(refused.Sentence, ".") || strings.Count(refused.Sentence, ";") != 1 {
				t.Errorf("the sentence %q does not say what is wrong; and what to do", refused.Sentence)
			}
			noTokenIn(t, test.header, err)
		})
	}
}

// noTokenIn looks for pieces of the header in an error and all its causes.
func noTokenIn(t testing.TB, header string, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		text := err.Error()
		var refused *Error
		if errors.As(err, &refused) {
			text += refused.Sentence
		}
		for i := 0; i+16 <= len(header); i += 8 {
			if piece := header[i : i+16]; strings.Contains(text, piece) {
				t.Fatalf("%q quotes the token: %q", text, piece)
			}
		}
	}
}

// TestAuthorizationHeaders: what is sent twice is refused, whichever is good.
func TestAuthorizationHeaders(t *testing.T) {
	f := newFixture(t)
	good := f.token(t, nil)
	for name, test := range map[string]struct {
		headers http.Header
		want    Code
	}{
		"none":               {http.Header{}, TokenMissing},
		"nil":                {nil, TokenMissing},
		"the good one twice": {http.Header{"Authorization": {good, good}}, TokenMalformed},
		"an empty one first": {http.Header{"Authorization": {"", good}}, TokenMalformed},
		"another header":     {http.Header{"X-Authorization": {good}, "Proxy-Authorization": {good}, "X-Ms-Token-Aad-Access-Token": {good[7:]}}, TokenMissing},
	} {
		if _, err := f.Verify(t.Context(), test.headers); code(err) != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	if _, err := f.verify(t, good); err != nil {
		t.Error(err)
	}
}

func TestEverySentenceExists(t *testing.T) {
	all := []Code{TokenMissing, TokenMalformed, TokenAlgorithm, TokenSignature, TokenExpired,
		TokenNotYetValid, TokenIssuer, TokenAudience, TokenTenant, TokenSubject}
	slices.Sort(all)
	if diff := cmp.Diff(all, slices.Sorted(maps.Keys(sentences))); diff != "" {
		t.Error(diff)
	}
}

func TestSkew(t *testing.T) {
	for name, test := range map[string]struct {
		claim string
		off   time.Duration
		want  Code // empty: good
	}{
		"expired a moment less than the skew ago": {"exp", -Skew + time.Second, ""},
		"expired exactly the skew ago":            {"exp", -Skew, TokenExpired},
		"valid from the skew ahead":               {"nbf", Skew, ""},
		"valid from just beyond the skew":         {"nbf", Skew + time.Second, TokenNotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.verify(t, f.token(t, map[string]any{test.claim: f.clock.Now().Add(test.off).Unix()}))
			var refused *Error
			if errors.As(err, &refused); test.want == "" && err != nil || test.want != "" && (refused == nil || refused.Code != test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNew(t *testing.T) {
	good := func() Config { return Config{Tenants: []string{tenant}, Audiences: []string{audience}} }
	for name, test := range map[string]struct {
		change func(*Config)
		good   bool
	}{
		"only what is required":        {func(*Config) {}, true},
		"an App ID URI as audience":    {func(c *Config) { c.Audiences = []string{"api://jitgate"} }, true},
		"both":                         {func(c *Config) { c.Audiences = []string{audience, "api://jitgate"} }, true},
		"two tenants":                  {func(c *Config) { c.Tenants = []string{tenant, second} }, true},
		"the issuer of another cloud":  {func(c *Config) { c.Issuer = "https://login.microsoftonline.us/{tenantid}/v2.0" }, true},
		"the issuer of the one tenant": {func(c *Config) { c.Issuer = "https://login.microsoftonline.com/" + tenant + "/v2.0" }, true},
		"the issuer of one tenant for two": {func(c *Config) {
			c.Issuer, c.Tenants = "https://login.microsoftonline.com/"+tenant+"/v2.0", []string{tenant, second}
		}, false},
		"the issuer of all tenants":         {func(c *Config) { c.Issuer = "https://login.microsoftonline.com/common/v2.0" }, false},
		"the issuer of another tenant":      {func(c *Config) { c.Issuer = "https://login.microsoftonline.com/" + second + "/v2.0" }, false},
		"a version 1 issuer":                {func(c *Config) { c.Issuer = "https://sts.windows.net/{tenantid}/" }, false},
		"http to this machine":              {func(c *Config) { c.Issuer = "http://127.0.0.1:8400/{tenantid}/v2.0" }, true},
		"http to this machine by name":      {func(c *Config) { c.Issuer = "http://localhost:8400/{tenantid}/v2.0" }, true},
		"http to this machine in IPv6":      {func(c *Config) { c.Issuer = "http://[::1]:8400/{tenantid}/v2.0" }, true},
		"http to elsewhere":                 {func(c *Config) { c.Issuer = "http://login.example.com/{tenantid}/v2.0" }, false},
		"http to a lookalike":               {func(c *Config) { c.Issuer = "http://localhost.example.com/{tenantid}/v2.0" }, false},
		"another scheme":                    {func(c *Config) { c.Issuer = "file:///etc/{tenantid}/v2.0" }, false},
		"an issuer that is no URL":          {func(c *Config) { c.Issuer = "login.microsoftonline.com/{tenantid}/v2.0" }, false},
		"no tenant":                         {func(c *Config) { c.Tenants = nil }, false},
		"an empty tenant":                   {func(c *Config) { c.Tenants = []string{tenant, ""} }, false},
		"a domain as tenant":                {func(c *Config) { c.Tenants = []string{"contoso.onmicrosoft.com"} }, false},
		"a tenant in braces":                {func(c *Config) { c.Tenants = []string{"{" + tenant + "}"} }, false},
		"no audience":                       {func(c *Config) { c.Audiences = nil }, false},
		"an empty audience":                 {func(c *Config) { c.Audiences = []string{audience, ""} }, false},
		"sign-ins the platform vouches for": {func(c *Config) { c.EasyAuth, c.PlatformAuth = true, true }, true},
		"sign-ins nobody vouches for":       {func(c *Config) { c.EasyAuth = true }, false},
		"a platform nobody wanted to ask":   {func(c *Config) { c.PlatformAuth = true }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			test.change(&c)
			if _, err := New(c); (err == nil) != test.good {
				t.Error(err)
			}
		})
	}
}

func TestIssuersOfPublicCloud(t *testing.T) {
	v, err := New(Config{Tenants: []string{strings.ToUpper(tenant)}, Audiences: []string{audience}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, i := range v.issuers {
		got[name+" "+i.version+" "+i.tenant] = i.keys.document
	}
	want := map[string]string{
		"https://login.microsoftonline.com/" + tenant + "/v2.0 2.0 " + tenant: "https://login.microsoftonline.com/" + tenant + "/v2.0/.well-known/openid-configuration",
		"https://sts.windows.net/" + tenant + "/ 1.0 " + tenant:               "https://login.microsoftonline.com/" + tenant + "/.well-known/openid-configuration",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzVerify(f *testing.F) {
	fix := newFixture(f)
	good := fix.token(f, nil)
	accepted, err := fix.verify(f, good)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, "", "Bearer", "bearer  " + good[7:], "Bearer a.b.c", "Bearer ..", "Bearer " + raw(`{"alg":"none"}`, "{}"),
		"Bearer " + raw(`{"alg":"RS256","kid":"first"}`, `{"oid":"x"}`), strings.Replace(good, ".", "..", 1), good + "=", good[:len(good)-1],
		"Bearer " + raw(`{"alg":"RS256","crit":["b64"],"b64":false}`, "x"), "Bearer " + raw(`{"alg":1}`, ""), "Bearer " + raw(`[]`, ""),
	} {
		f.Add(seed)
	}
	signedPart := strings.TrimPrefix(good, "Bearer ")
	f.Fuzz(func(t *testing.T, header string) {
		got, err := fix.verify(t, header)
		if err == nil {
			// Only the one token that was ever signed can be good, however the scheme
			// is written.
			if !strings.HasSuffix(header, signedPart) || !cmp.Equal(got, accepted) {
				t.Fatalf("%q speaks for %+v", header, got)
			}
			return
		}
		var refused *Error
		if !errors.As(err, &refused) || refused.Sentence == "" {
			t.Fatalf("%q: %v", header, err)
		}
		noTokenIn(t, header, err)
	})
}
