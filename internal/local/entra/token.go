package entra

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// signingKey is an RSA key and the id it is published under.
type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newSigningKey(key *rsa.PrivateKey) signingKey {
	sum := sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey))
	return signingKey{id: base64.RawURLEncoding.EncodeToString(sum[:20]), key: key}
}

// public is the key's entry in the JWKS.
func (k signingKey) public() map[string]any {
	return map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id, "x5t": k.id,
		"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes())}
}

// UserToken returns a token of one of [People] for our API, as if the stand-in was
// reached under baseURL. The error wraps ErrUnknownUser.
func (s *Server) UserToken(baseURL, user string) (string, error) {
	return s.Mint(baseURL, nil, MintOptions{User: user})
}

// AppToken does the same for one of [Applications].
func (s *Server) AppToken(baseURL, app string) (string, error) {
	return s.Mint(baseURL, nil, MintOptions{App: app})
}

func (s *Server) sign(claims map[string]any) (string, error) {
	s.mu.Lock()
	key := s.keys[0]
	s.mu.Unlock()
	return encode("RS256", key.id, claims, signRS256(key.key))
}

// MintOptions says what a token is made from, and bends its signature for tests of
// those who check it.
type MintOptions struct {
	User    string // one of People
	App     string // one of Applications
	Tenant  string // the one that issues it; default Options.TenantID
	Version string // "1.0", or "2.0", the default

	// Algorithm is RS256 when empty. "none" leaves the token unsigned; "HS256"
	// signs with the PEM of our public key, the classic confusion of keys.
	Algorithm string
	Key       *rsa.PrivateKey // another key under the published id
	KeyID     string          // another key id; "-" leaves it out
}

// Mint signs a token for our API with the claims of a person or an application,
// overlaid by claims; a nil value takes a claim away. For neither it has only the
// claims every token has: iss, aud, tid, ver, iat, nbf, exp, uti, and azp and azpacr
// (appid and appidacr in v1.0), which are Azure CLI's. The error wraps ErrUnknownUser.
func (s *Server) Mint(baseURL string, claims map[string]any, o MintOptions) (string, error) {
	all, err := s.claims(baseURL, claims, o)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	key := s.keys[0]
	s.mu.Unlock()
	kid := key.id
	switch o.KeyID {
	case "":
	case "-":
		kid = ""
	default:
		kid = o.KeyID
	}
	switch o.Algorithm {
	case "", "RS256":
		with := key.key
		if o.Key != nil {
			with = o.Key
		}
		return encode("RS256", kid, all, signRS256(with))
	case "HS256":
		der, err := x509.MarshalPKIXPublicKey(&key.key.PublicKey)
		if err != nil {
			return "", fmt.Errorf("encode the public key: %w", err)
		}
		secret := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		return encode("HS256", kid, all, func(text []byte) ([]byte, error) {
			mac := hmac.New(sha256.New, secret)
			mac.Write(text)
			return mac.Sum(nil), nil
		})
	case "none":
		return encode("none", kid, all, func([]byte) ([]byte, error) { return nil, nil })
	}
	return "", fmt.Errorf("algorithm %q must be RS256, HS256 or none", o.Algorithm)
}

func signRS256(key *rsa.PrivateKey) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) {
		sum := sha256.Sum256(text)
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
}

// encode writes a JWT by hand, because the libraries rightly refuse to make the
// broken ones that tests need.
func encode(alg, kid string, claims map[string]any, sign func([]byte) ([]byte, error)) (string, error) {
	header := map[string]string{"alg": alg, "typ": "JWT"}
	if kid != "" {
		header["kid"] = kid
	}
	h, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("encode the token's header: %w", err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the token's claims: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	signature, err := sign([]byte(text))
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Verify judges a token as Azure's own services do: signed by a published key with
// RS256, in force now, issued by our tenant and meant for audience. An empty
// audience accepts any; a slash at the end makes no difference.
func (s *Server) Verify(token, audience string) error {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return fmt.Errorf("the token cannot be read: %w", err)
	}
	var standard jwt.Claims
	var own struct {
		Tenant string `json:"tid"`
	}
	key := s.find(parsed.Headers[0].KeyID)
	if key == nil {
		return fmt.Errorf("the token's key id %q is not published", parsed.Headers[0].KeyID)
	}
	if err := parsed.Claims(&key.PublicKey, &standard, &own); err != nil {
		return fmt.Errorf("the token's signature does not fit: %w", err)
	}
	switch {
	case standard.Expiry == nil || standard.NotBefore == nil:
		return errors.New("the token has no beginning or no end")
	case standard.ValidateWithLeeway(jwt.Expected{Time: s.clock.Now()}, leeway) != nil:
		return fmt.Errorf("the token is valid from %s to %s only", standard.NotBefore.Time().UTC(), standard.Expiry.Time().UTC())
	case own.Tenant != s.tenant:
		return fmt.Errorf("the token is of tenant %q", own.Tenant)
	case standard.Issuer != v1Issuer(s.tenant) && !strings.HasSuffix(standard.Issuer, "/"+s.tenant+"/v2.0"):
		return fmt.Errorf("the token's issuer is %q", standard.Issuer)
	}
	if audience == "" {
		return nil
	}
	for _, a := range standard.Audience {
		if strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(audience, "/")) {
			return nil
		}
	}
	return fmt.Errorf("the token is for %q, not for %s", []string(standard.Audience), audience)
}

// leeway for clocks that differ.
const leeway = 2 * time.Minute

func (s *Server) find(id string) *rsa.PrivateKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.id == id {
			return k.key
		}
	}
	return nil
}
