package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

func TestVerifyAccepts(t *testing.T) {
	const app = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	full := Caller{Tenant: tenant, Object: object, App: app, Name: "dana@contoso.com", Roles: []string{RoleRequest, RoleAudit}}
	with := func(change func(*Caller)) Caller { c := full; change(&c); return c }
	for name, test := range map[string]struct {
		changes map[string]any
		want    Caller
	}{
		"a user's token": {nil, full},
		"upn is the second choice of name": {map[string]any{"preferred_username": nil, "upn": "dana@corp"},
			with(func(c *Caller) { c.Name = "dana@corp" })},
		"name is the third": {map[string]any{"preferred_username": nil}, with(func(c *Caller) { c.Name = "Dana" })},
		"an application's token shows the application": {map[string]any{"preferred_username": nil, "name": nil, "scp": nil},
			with(func(c *Caller) { c.Name = app })},
		"version 1 calls the application appid": {map[string]any{"preferred_username": nil, "name": nil, "azp": nil, "appid": app},
			with(func(c *Caller) { c.Name = app })},
		"no roles": {map[string]any{"roles": nil}, with(func(c *Caller) { c.Roles = nil })},
		"no nbf":   {map[string]any{"nbf": nil}, full},
		"a claim in another case is another claim": {map[string]any{"Roles": []string{RoleAdmin}, "OID": "x", "Tid": "y"}, full},
		"an audience list of one":                  {map[string]any{"aud": []string{audience}}, full},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			got, err := f.Verify(t.Context(), f.token(t, test.changes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
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
		"claims of another token":  {"Bearer " + parts[0] + "." + strings.Split(change("oid", "other"), ".")[1] + "." + parts[2], TokenSignature},
		"the signature cut short":  {"Bearer " + parts[0] + "." + parts[1] + "." + parts[2][:40], TokenSignature},
		"no signature":             {"Bearer " + parts[0] + "." + parts[1] + ".", TokenSignature},
		"another issuer":           {change("iss", "https://sts.windows.net/"+tenant+"/"), TokenIssuer},
		"the issuer with a slash":  {change("iss", f.issuer.URL+"/"), TokenIssuer},
		"no issuer":                {change("iss", nil), TokenIssuer},
		"another audience":         {change("aud", "https://management.azure.com"), TokenAudience},
		"the audience in capitals": {change("aud", strings.ToUpper(audience)), TokenAudience},
		"ours among the audiences": {change("aud", []string{audience, "00000003-0000-0000-c000-000000000000"}), TokenAudience},
		"no audience":              {change("aud", nil), TokenAudience},
		"another tenant":           {change("tid", "9188040d-6c67-4c5b-b112-36a304b66dad"), TokenTenant},
		"no tenant":                {change("tid", nil), TokenTenant},
		"expired":                  {change("exp", now.Add(-time.Hour).Unix()), TokenExpired},
		"no expiry":                {change("exp", nil), TokenExpired},
		"not valid yet":            {change("nbf", now.Add(time.Hour).Unix()), TokenNotYetValid},
		"no object id":             {change("oid", nil), TokenSubject},
		"an empty object id":       {change("oid", ""), TokenSubject},
		"roles that are no list":   {change("roles", RoleAdmin), TokenMalformed},
		"an expiry that is text":   {change("exp", "tomorrow"), TokenMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.Verify(t.Context(), test.header)
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
			_, err := f.Verify(t.Context(), f.token(t, map[string]any{test.claim: f.clock.Now().Add(test.off).Unix()}))
			var refused *Error
			if errors.As(err, &refused); test.want == "" && err != nil || test.want != "" && (refused == nil || refused.Code != test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNew(t *testing.T) {
	good := Config{Tenant: tenant, Audience: audience}
	for name, test := range map[string]struct {
		change func(*Config)
		good   bool
	}{
		"only what is required":        {func(*Config) {}, true},
		"an App ID URI as audience":    {func(c *Config) { c.Audience = "api://jitgate" }, true},
		"a version 1 issuer":           {func(c *Config) { c.Issuer = "https://sts.windows.net/" + tenant + "/" }, true},
		"http to this machine":         {func(c *Config) { c.Issuer = "http://127.0.0.1:8400/x" }, true},
		"http to this machine by name": {func(c *Config) { c.Issuer = "http://localhost:8400" }, true},
		"http to this machine in IPv6": {func(c *Config) { c.Issuer = "http://[::1]:8400" }, true},
		"http to elsewhere":            {func(c *Config) { c.Issuer = "http://login.example.com" }, false},
		"http to a lookalike":          {func(c *Config) { c.Issuer = "http://localhost.example.com" }, false},
		"another scheme":               {func(c *Config) { c.Issuer = "file:///etc/issuer" }, false},
		"an issuer that is no URL":     {func(c *Config) { c.Issuer = "login.microsoftonline.com" }, false},
		"no tenant":                    {func(c *Config) { c.Tenant = "" }, false},
		"a domain as tenant":           {func(c *Config) { c.Tenant = "contoso.onmicrosoft.com" }, false},
		"a tenant in braces":           {func(c *Config) { c.Tenant = "{" + tenant + "}" }, false},
		"no audience":                  {func(c *Config) { c.Audience = "" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			test.change(&c)
			if _, err := New(c); (err == nil) != test.good {
				t.Error(err)
			}
		})
	}
	v, err := New(Config{Tenant: strings.ToUpper(tenant), Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://login.microsoftonline.com/" + tenant + "/v2.0"; v.issuer != want {
		t.Errorf("issuer %s, want %s", v.issuer, want)
	}
}

func FuzzVerify(f *testing.F) {
	fix := newFixture(f)
	good := fix.token(f, nil)
	accepted, err := fix.Verify(f.Context(), good)
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
		got, err := fix.Verify(t.Context(), header)
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
