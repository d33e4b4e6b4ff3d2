package entra

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
)

// lifetime of a token; Entra's is 60 to 90 minutes (entra-docs, access-tokens).
const lifetime = 75 * time.Minute

// claims of a token for our API (entra-docs, access-token-claims-reference): those of
// every token, those of whom it is for, and on top what the caller wants.
func (s *Server) claims(baseURL string, more map[string]any, o MintOptions) (map[string]any, error) {
	tenant := strings.ToLower(o.Tenant)
	if tenant == "" {
		tenant = s.tenant
	}
	if !s.issues(tenant) {
		return nil, fmt.Errorf("there is no tenant %q here", o.Tenant)
	}
	claims := s.baseClaims(baseURL, tenant)
	claims["azp"], claims["azpacr"] = cliClientID, "0"
	var err error
	switch {
	case o.User != "":
		err = s.personClaims(claims, o.User)
	case o.App != "":
		err = applicationClaims(claims, o.App)
	}
	if err != nil {
		return nil, err
	}
	switch o.Version {
	case "", "2.0":
	case "1.0":
		s.toV1(claims)
	default:
		return nil, fmt.Errorf("version %q must be 1.0 or 2.0", o.Version)
	}
	maps.Copy(claims, more)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims, nil
}

// baseClaims are those of every v2.0 token for our API, but for the application's.
func (s *Server) baseClaims(baseURL, tenant string) map[string]any {
	now := s.clock.Now()
	id := uuid.New()
	return map[string]any{
		"iss": s.IssuerOf(baseURL, tenant), "aud": s.audience, "tid": tenant, "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
		"uti": base64.RawURLEncoding.EncodeToString(id[:]),
	}
}

func (s *Server) personClaims(claims map[string]any, name string) error {
	var names []string
	for _, p := range People() {
		if !strings.EqualFold(p.Name, name) {
			names = append(names, p.Name)
			continue
		}
		claims["oid"], claims["name"], claims["preferred_username"] = p.ObjectID, p.DisplayName, p.Username
		claims["sub"] = pairwise(p.ObjectID, s.audience)
		claims["roles"] = p.Roles
		if len(p.Groups) > 0 {
			claims["groups"] = p.Groups
		}
		claims["scp"] = "access_as_user" // tells a person's token from an application's
		return nil
	}
	return errUnknown("user", name, names)
}

// applicationClaims: an application calls with a certificate or a federated
// credential (azpacr 2) and for itself: no scope, its own object id for a subject.
func applicationClaims(claims map[string]any, name string) error {
	var names []string
	for _, a := range Applications() {
		if !strings.EqualFold(a.Name, name) {
			names = append(names, a.Name)
			continue
		}
		claims["azp"], claims["azpacr"], claims["idtyp"] = a.ClientID, "2", "app"
		claims["oid"], claims["sub"] = a.ObjectID, a.ObjectID
		claims["roles"] = a.Roles
		return nil
	}
	return errUnknown("application", name, names)
}

// identityClaims: our own API asks for v2.0 tokens, so its audience is its client
// id however it was named; Azure's services take v1.0 tokens, whose audience is
// the resource as asked for.
func (s *Server) identityClaims(baseURL, resource string) map[string]any {
	claims := s.baseClaims(baseURL, s.tenant)
	claims["oid"], claims["sub"], claims["idtyp"] = IdentityObjectID, IdentityObjectID, "app"
	claims["azp"], claims["azpacr"] = IdentityClientID, "2"
	if asked := strings.TrimPrefix(strings.ToLower(resource), "api://"); strings.TrimSuffix(asked, "/") != s.audience {
		s.toV1(claims)
		claims["aud"] = resource
	}
	return claims
}

// toV1 makes the claims those of a v1.0 token: another issuer, other names for the
// application and the person, and the App ID URI that was asked for as the audience.
func (s *Server) toV1(claims map[string]any) {
	claims["iss"], claims["ver"], claims["aud"] = v1Issuer(claims["tid"].(string)), "1.0", s.AppIDURI()
	for v2, v1 := range map[string][]string{"azp": {"appid"}, "azpacr": {"appidacr"}, "preferred_username": {"upn", "unique_name"}} {
		value, told := claims[v2]
		delete(claims, v2)
		for _, name := range v1 {
			if told {
				claims[name] = value
			}
		}
	}
}

// AppIDURI is the other name of our API, the audience of its v1.0 tokens.
func (s *Server) AppIDURI() string { return "api://" + s.audience }

func v1Issuer(tenant string) string { return "https://sts.windows.net/" + tenant + "/" }

// pairwise is a subject that is the same for one person in one application and
// tells nothing in another.
func pairwise(oid, audience string) string {
	sum := sha256.Sum256([]byte(oid + " " + audience))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
