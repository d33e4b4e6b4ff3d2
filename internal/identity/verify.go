package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive and strict about duplicates, which encoding/json is not
)

// Skew is how far the clock of the issuer and ours may differ.
const Skew = 2 * time.Minute

// maxToken bounds what is looked at, in bytes. Entra keeps tokens well below: 200
// group ids are about 8 kB.
const maxToken = 32 << 10

// Config says whose tokens are good. Tenants and Audiences are required.
type Config struct {
	// Tenants are directory ids, GUIDs. The first is home. Of people and applications
	// of the others only the role to ask counts: whoever administers such a tenant
	// assigns its roles, and must not be able to make himself an approver or an
	// administrator here.
	Tenants []string
	// Audiences are what the aud claim may hold, exactly: the client id (a GUID,
	// always in version 2) and, if the API's tokens are of version 1, the App ID URI.
	Audiences []string
	// Issuer is the version 2 issuer with "{tenantid}" in the place of the tenant's
	// id; default https://login.microsoftonline.com/{tenantid}/v2.0. With one tenant
	// its id may stand there. Tokens of version 1 are taken as well; their issuer
	// follows from the tenant.
	Issuer string

	// EasyAuth takes the sign-ins of App Service Authentication, for callers without
	// a bearer token. PlatformAuth is the platform's word that this is switched on
	// (WEBSITE_AUTH_ENABLED, read-only, App Service environment variables page);
	// [New] refuses the one without the other, because with it off the headers are
	// whatever the caller wrote.
	EasyAuth, PlatformAuth bool

	HTTP *http.Client     // for the issuers' documents; default: 10 s timeout, redirects refused
	Now  func() time.Time // default time.Now
}

// Verifier tells who calls. It is safe for concurrent use.
type Verifier struct {
	issuers   map[string]*issuer // by name
	home      string             // a tenant
	audiences []string
	easyAuth  bool
	now       func() time.Time
}

// New does not touch the network: an issuer's documents are fetched when its
// first token has to be checked, so that the handler starts without it.
func New(c Config) (*Verifier, error) {
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		return nil, errors.New("identity: an audience is needed, the application's client id or App ID URI; without one tokens for any service would be good")
	}
	if c.EasyAuth && !c.PlatformAuth {
		return nil, errors.New("identity: App Service Authentication is to be trusted, but the platform does not say that it is on (WEBSITE_AUTH_ENABLED); switch it on, or do without it: anybody could send its headers")
	}
	v := &Verifier{audiences: slices.Clone(c.Audiences), easyAuth: c.EasyAuth, now: c.Now}
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
	var err error
	if v.issuers, err = issuersOf(c.Tenants, c.Issuer, client, v.now); err != nil {
		return nil, err
	}
	v.home = strings.ToLower(c.Tenants[0])
	return v, nil
}

// Verify reads the headers of a call. It returns an [*Error] for a token or sign-in
// that is not good, and an error that wraps [ErrUnavailable] if an issuer's keys are
// needed and cannot be had. A call with an Authorization header is judged by that
// alone, so that a bad token cannot be helped out by a session.
func (v *Verifier) Verify(ctx context.Context, h http.Header) (Caller, error) {
	authorization := h.Values("Authorization")
	if v.easyAuth && len(authorization) == 0 {
		return v.session(h)
	}
	if len(authorization) > 1 {
		return Caller{}, refuse(TokenMalformed, errors.New("several Authorization headers"))
	}
	token, refusal := bearer(strings.Join(authorization, ""))
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
	// Whose keys to try is all that is believed of a payload before its signature is
	// proven. A token of no issuer of ours makes us fetch nothing.
	var c claims
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &c); err != nil {
		return Caller{}, refuse(TokenMalformed, nil)
	}
	from := v.issuers[c.Issuer]
	if from == nil {
		return Caller{}, refuse(TokenIssuer, nil)
	}
	keys, err := from.keys.find(ctx, kid)
	if err != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, key := range keys {
		if _, err = signed.Verify(key); err == nil {
			return v.judge(from, c)
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

// judge checks the claims of a token that the issuer's key has signed.
func (v *Verifier) judge(from *issuer, c claims) (Caller, error) {
	now := v.now()
	// Each version has its own claim for the application; the other's is not looked
	// at. ID tokens have neither: they are for the application that signed the person
	// in, not for an API.
	app := c.Azp
	if from.version == version1 {
		app = c.AppID
	}
	switch {
	case c.Version != from.version:
		return Caller{}, refuse(TokenIssuer, errors.New("its version is not that of its issuer"))
	case len(c.Audience) != 1 || !slices.Contains(v.audiences, c.Audience[0]):
		return Caller{}, refuse(TokenAudience, nil)
	case c.Tenant != from.tenant:
		return Caller{}, refuse(TokenTenant, nil)
	case c.Expiry == nil:
		return Caller{}, refuse(TokenExpired, errors.New("it has no expiry"))
	case !now.Before(c.Expiry.Time().Add(Skew)):
		return Caller{}, refuse(TokenExpired, fmt.Errorf("at %s, it is %s", stamp(c.Expiry.Time()), stamp(now)))
	case c.NotBefore != nil && now.Add(Skew).Before(c.NotBefore.Time()):
		return Caller{}, refuse(TokenNotYetValid, fmt.Errorf("before %s, it is %s", stamp(c.NotBefore.Time()), stamp(now)))
	case !c.identified():
		return Caller{}, refuse(TokenSubject, errors.New("no object id"))
	case app == "":
		return Caller{}, refuse(TokenSubject, errors.New("no client id"))
	}
	return v.trusted(c.caller(app)), nil
}

// trusted takes from guests of other tenants what only home may give.
func (v *Verifier) trusted(c Caller) Caller {
	if c.Tenant != v.home {
		c.Guest = true
		c.Roles = ofGuests(c.Roles)
	}
	return c
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
