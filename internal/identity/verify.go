package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive and strict about duplicates, which encoding/json is not
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

// Skew is how far the clock of the issuer and ours may differ.
const Skew = 2 * time.Minute

// maxToken bounds what is looked at, in bytes. Entra keeps tokens well below: 200
// group ids are about 8 kB.
const maxToken = 32 << 10

// Config says whose tokens are good. Tenant and Audience are required.
type Config struct {
	Tenant   string           // directory id, a GUID
	Audience string           // exactly what the aud claim holds: the client id GUID (v2 tokens) or the App ID URI (v1)
	Issuer   string           // default https://login.microsoftonline.com/{tenant}/v2.0
	HTTP     *http.Client     // for the issuer's documents; default: 10 s timeout, redirects refused
	Now      func() time.Time // default time.Now
}

// Verifier validates bearer tokens. It is safe for concurrent use.
type Verifier struct {
	tenant, audience, issuer string
	now                      func() time.Time
	keys                     *keyring
}

// New does not touch the network: the issuer's documents are fetched when the
// first token has to be checked, so that the handler starts without it.
func New(c Config) (*Verifier, error) {
	tenant, err := uuid.Parse(c.Tenant)
	if err != nil || len(c.Tenant) != 36 {
		return nil, errors.New("identity: the tenant must be the directory id, a GUID; a domain name never equals the tid claim")
	}
	if c.Audience == "" {
		return nil, errors.New("identity: an audience is needed, the application's client id or App ID URI; without one tokens for any service would be good")
	}
	v := &Verifier{tenant: tenant.String(), audience: c.Audience, issuer: c.Issuer, now: c.Now}
	if v.issuer == "" {
		v.issuer = "https://login.microsoftonline.com/" + v.tenant + "/v2.0"
	}
	if err := trustworthy(v.issuer); err != nil {
		return nil, fmt.Errorf("identity: issuer: %w", err)
	}
	if v.now == nil {
		v.now = time.Now
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{
			Timeout: fetchTimeout,
			// A redirect could lead the keys' fetch to plain http.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	v.keys = &keyring{issuer: v.issuer, client: client, now: v.now}
	return v, nil
}

// trustworthy accepts https, and http to this machine. Keys that came over plain
// http from elsewhere could be anybody's.
func trustworthy(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return errors.New("it must be an absolute URL")
	}
	if u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()) {
		return nil
	}
	return errors.New("it must be https; plain http is accepted for a loopback host only, because whoever answers decides which tokens are good")
}

func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// claims of Entra ID access tokens, both versions (Entra "access token claims
// reference").
type claims struct {
	Issuer    string           `json:"iss"`
	Audience  jwt.Audience     `json:"aud"`
	Expiry    *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	Tenant    string           `json:"tid"`
	Object    string           `json:"oid"`
	Roles     []string         `json:"roles"`
	Azp       string           `json:"azp"`   // v2
	AppID     string           `json:"appid"` // v1
	Preferred string           `json:"preferred_username"`
	UPN       string           `json:"upn"`
	Name      string           `json:"name"`
}

// Verify takes the value of the Authorization header. It returns an [*Error] for
// a token that is not good, and an error that wraps [ErrUnavailable] if the
// issuer's keys are needed and cannot be had.
func (v *Verifier) Verify(ctx context.Context, authorization string) (Caller, error) {
	token, refusal := bearer(authorization)
	if refusal != nil {
		return Caller{}, refusal
	}
	// The algorithm is looked at before the token is parsed any further, so that no
	// parser can be talked into "none" or into taking a public key for a secret.
	kid, refusal := header(token)
	if refusal != nil {
		return Caller{}, refusal
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return Caller{}, refuse(TokenMalformed, nil) // the error may quote the token
	}
	keys, err := v.keys.find(ctx, kid)
	if err != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var payload []byte
	for _, key := range keys {
		if payload, err = signed.Verify(key); err == nil {
			return v.judge(payload)
		}
	}
	return Caller{}, refuse(TokenSignature, fmt.Errorf("%d keys of the issuer bear the token's key id", len(keys)))
}

// bearer takes the token out of the header. The scheme's case does not matter
// (RFC 9110).
func bearer(authorization string) (string, *Error) {
	scheme, token, found := strings.Cut(authorization, " ")
	switch token = strings.TrimLeft(token, " "); {
	case !found || token == "" || !strings.EqualFold(scheme, "Bearer"):
		return "", refuse(TokenMissing, nil)
	case len(token) > maxToken || strings.Count(token, ".") != 2:
		return "", refuse(TokenMalformed, nil)
	}
	return token, nil
}

func header(token string) (kid string, refusal *Error) {
	encoded, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", refuse(TokenMalformed, nil)
	}
	var h struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return "", refuse(TokenMalformed, nil)
	}
	if h.Algorithm != string(jose.RS256) {
		return "", refuse(TokenAlgorithm, nil)
	}
	return h.KeyID, nil
}

// judge checks the claims of a token whose signature is proven.
func (v *Verifier) judge(payload []byte) (Caller, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Caller{}, refuse(TokenMalformed, nil)
	}
	now := v.now()
	switch {
	case c.Issuer != v.issuer:
		return Caller{}, refuse(TokenIssuer, nil)
	case len(c.Audience) != 1 || c.Audience[0] != v.audience:
		return Caller{}, refuse(TokenAudience, nil)
	case c.Tenant != v.tenant:
		return Caller{}, refuse(TokenTenant, nil)
	case c.Expiry == nil:
		return Caller{}, refuse(TokenExpired, errors.New("it has no expiry"))
	case !now.Before(c.Expiry.Time().Add(Skew)):
		return Caller{}, refuse(TokenExpired, fmt.Errorf("at %s, it is %s", stamp(c.Expiry.Time()), stamp(now)))
	case c.NotBefore != nil && now.Add(Skew).Before(c.NotBefore.Time()):
		return Caller{}, refuse(TokenNotYetValid, fmt.Errorf("before %s, it is %s", stamp(c.NotBefore.Time()), stamp(now)))
	case c.Object == "":
		return Caller{}, refuse(TokenSubject, nil)
	}
	app := first(c.Azp, c.AppID)
	return Caller{
		Tenant: c.Tenant, Object: c.Object, App: app, Roles: c.Roles,
		Name: first(c.Preferred, c.UPN, c.Name, app),
	}, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func first(candidates ...string) string {
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}
