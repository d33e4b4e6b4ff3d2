// Package entra stands in for Microsoft Entra ID on a laptop and in tests: the
// App Service managed-identity endpoint, OpenID Connect discovery with its signing
// keys, and tokens of both versions for a few demo people and applications. It owns a
// tenant or several, one API registration that is known in all of them, and the keys
// they sign with.
//
// It knows no passwords and no sign-in pages: whoever can reach it may have any
// token, so it must listen on 127.0.0.1 only. It refuses other tenants, other
// managed identities and every signature but RS256.
package entra

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

// Options configures a stand-in.
type Options struct {
	TenantID       string   // a UUID; required
	OtherTenants   []string // more tenants that issue tokens, UUIDs; people and applications are the same everywhere
	Audience       string   // the API's client id, a UUID; required
	IdentityHeader string   // the secret of the managed-identity endpoint; "" means a random one
	Clock          clockwork.Clock
	Logger         *slog.Logger
	Key            *rsa.PrivateKey // the first signing key; nil means a new one of 2048 bits
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	tenant, audience string
	others           []string
	identityHeader   string
	clock            clockwork.Clock
	log              *slog.Logger
	mux              *http.ServeMux

	mu   sync.Mutex
	keys []signingKey // the one that signs first; the one before it is still published
}

// New makes a stand-in. Without Options.Key it takes the time to make an RSA key.
func New(o Options) (*Server, error) {
	for _, id := range append([]string{o.TenantID, o.Audience}, o.OtherTenants...) {
		if _, err := uuid.Parse(id); err != nil {
			return nil, fmt.Errorf("tenants and the audience must be UUIDs, not %q: %w", id, err)
		}
	}
	s := &Server{tenant: strings.ToLower(o.TenantID), audience: strings.ToLower(o.Audience),
		identityHeader: o.IdentityHeader, clock: o.Clock, log: o.Logger}
	for _, id := range o.OtherTenants {
		s.others = append(s.others, strings.ToLower(id))
	}
	if s.clock == nil {
		s.clock = clockwork.NewRealClock()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.identityHeader == "" {
		secret := make([]byte, 16)
		if _, err := rand.Read(secret); err != nil {
			return nil, fmt.Errorf("make the identity header: %w", err)
		}
		s.identityHeader = hex.EncodeToString(secret)
	}
	if o.Key == nil {
		if err := s.Rotate(); err != nil {
			return nil, err
		}
	} else {
		s.keys = []signingKey{newSigningKey(o.Key)}
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /msi/token", s.managedIdentity)
	s.mux.HandleFunc("GET /token", s.demoToken)
	s.mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.ofTenant(s.discovery))
	s.mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.ofTenant(s.jwks))
	s.mux.HandleFunc("GET /{tenant}/.well-known/openid-configuration", s.ofTenant(s.discovery1))
	s.mux.HandleFunc("GET /common/discovery/keys", s.jwks1)
	return s, nil
}

var _ http.Handler = (*Server)(nil)

// ServeHTTP answers token requests and the OpenID Connect documents.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.log.DebugContext(r.Context(), "entra call", "method", r.Method, "path", r.URL.Path)
	s.mux.ServeHTTP(w, r)
}

// Issuer is the issuer of v2.0 tokens of Options.TenantID when the stand-in is
// reached under baseURL. Discovery documents are found under it.
func (s *Server) Issuer(baseURL string) string { return s.IssuerOf(baseURL, s.tenant) }

// IssuerOf is the same for any tenant; "{tenantid}" leaves room for one, as Entra
// writes it.
func (s *Server) IssuerOf(baseURL, tenant string) string {
	return strings.TrimSuffix(baseURL, "/") + "/" + tenant + "/v2.0"
}

// Environment returns the two variables that make azidentity's managed identity
// credential ask the stand-in at baseURL, as App Service sets them.
func (s *Server) Environment(baseURL string) []string {
	return []string{
		"IDENTITY_ENDPOINT=" + strings.TrimSuffix(baseURL, "/") + "/msi/token",
		"IDENTITY_HEADER=" + s.identityHeader,
	}
}

// Rotate makes a new signing key. Tokens signed by the one before stay valid and
// that key stays published, as Entra's do for a while; older ones are forgotten.
func (s *Server) Rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append([]signingKey{newSigningKey(key)}, s.keys[:min(1, len(s.keys))]...)
	return nil
}

// managedIdentity is App Service's token endpoint (api-version 2019-08-01), as the
// azidentity credential calls it.
func (s *Server) managedIdentity(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	resource := q.Get("resource")
	refuse := func(format string, args ...any) {
		writeJSON(w, http.StatusBadRequest, map[string]any{"statusCode": 400, "message": fmt.Sprintf(format, args...)})
	}
	switch id := q.Get("client_id"); {
	case r.Header.Get("X-IDENTITY-HEADER") != s.identityHeader:
		refuse("The X-IDENTITY-HEADER is missing or wrong.")
		return
	case q.Get("api-version") != "2019-08-01":
		refuse("The api-version must be 2019-08-01.")
		return
	case resource == "":
		refuse("The resource is missing.")
		return
	case (id != "" && !strings.EqualFold(id, IdentityClientID)) || q.Has("mi_res_id") || q.Has("principal_id") && !strings.EqualFold(q.Get("principal_id"), IdentityObjectID):
		refuse("No managed identity was found for the given ClientId, ResourceId or PrincipalId.")
		return
	}
	claims := s.identityClaims(base(r), resource)
	token, err := s.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "expires_on": expiresOn(claims),
		"resource": resource, "token_type": "Bearer", "client_id": IdentityClientID})
}

// demoToken signs a demo person or application in without asking: GET
// /token?user=alice or /token?app=runner. With audience the token is for another API,
// with tenant from another tenant, with version=1.0 of the older kind.
func (s *Server) demoToken(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	refuse := func(status int, code string, err error) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": err.Error()})
	}
	if (q.Get("user") == "") == (q.Get("app") == "") {
		refuse(http.StatusBadRequest, "invalid_request", errors.New("say for whom: one of user and app"))
		return
	}
	var more map[string]any
	if audience := q.Get("audience"); audience != "" {
		more = map[string]any{"aud": audience}
	}
	claims, err := s.claims(base(r), more, MintOptions{User: q.Get("user"), App: q.Get("app"), Tenant: q.Get("tenant"), Version: q.Get("version")})
	switch {
	case errors.Is(err, ErrUnknownUser):
		refuse(http.StatusNotFound, "unknown_user", err)
		return
	case err != nil:
		refuse(http.StatusBadRequest, "invalid_request", err)
		return
	}
	token, err := s.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "expires_on": expiresOn(claims), "token_type": "Bearer"})
}

func (s *Server) issues(tenant string) bool {
	return tenant == s.tenant || slices.Contains(s.others, tenant)
}

func (s *Server) ofTenant(serve func(w http.ResponseWriter, r *http.Request, tenant string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tenant := strings.ToLower(r.PathValue("tenant"))
		if !s.issues(tenant) {
			writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_tenant",
				"error_description": fmt.Sprintf("AADSTS90002: Tenant '%s' not found.", tenant)})
			return
		}
		serve(w, r, tenant)
	}
}

// discovery lists the endpoints that OpenID Connect demands; those of the sign-in
// flows are named but not served.
func (s *Server) discovery(w http.ResponseWriter, r *http.Request, tenant string) {
	at := base(r) + "/" + tenant
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                s.IssuerOf(base(r), tenant),
		"jwks_uri":                              at + "/discovery/v2.0/keys",
		"authorization_endpoint":                at + "/oauth2/v2.0/authorize",
		"token_endpoint":                        at + "/oauth2/v2.0/token",
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"subject_types_supported":               []string{"pairwise"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
	})
}

// discovery1 is the document of v1.0: another issuer, one address of keys for all
// tenants (entra-docs, OpenID Connect of the v1.0 endpoint).
func (s *Server) discovery1(w http.ResponseWriter, r *http.Request, tenant string) {
	at := base(r) + "/" + tenant
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                v1Issuer(tenant),
		"jwks_uri":                              base(r) + "/common/discovery/keys",
		"authorization_endpoint":                at + "/oauth2/authorize",
		"token_endpoint":                        at + "/oauth2/token",
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "token id_token", "token"},
		"subject_types_supported":               []string{"pairwise"},
		"scopes_supported":                      []string{"openid"},
	})
}

// jwks names the issuer with each key.
func (s *Server) jwks(w http.ResponseWriter, r *http.Request, tenant string) {
	writeJSON(w, http.StatusOK, map[string]any{"keys": s.published(func(k map[string]any) {
		k["issuer"] = s.IssuerOf(base(r), tenant)
	})})
}

// jwks1 does not (Microsoft.IdentityModel.Validators).
func (s *Server) jwks1(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"keys": s.published(func(map[string]any) {})})
}

func (s *Server) published(complete func(key map[string]any)) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []map[string]any{}
	for _, k := range s.keys {
		key := k.public()
		complete(key)
		keys = append(keys, key)
	}
	return keys
}

// base is the URL that the caller reached us under.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func expiresOn(claims map[string]any) string { return strconv.FormatInt(claims["exp"].(int64), 10) }

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone; there is nobody left to tell
}
