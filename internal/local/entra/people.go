package entra

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/google/uuid"
)

// The identity that the managed-identity endpoint speaks for.
const (
	IdentityClientID = "7b0d5ff6-6b8e-4f60-8a2a-2d6c3c1e7a10"
	IdentityObjectID = "c3a9a1de-5d0c-4b43-9f27-6f2b8c1d4e21"
)

// cliClientID is Azure CLI's registration, through which people get tokens.
const cliClientID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// Person is a demo user. ObjectID never changes; it is what to authorise on.
type Person struct {
	Name        string // as in GET /token?user=
	DisplayName string
	Username    string // preferred_username, which a real tenant may change
	ObjectID    string
	Roles       []string
}

// People returns the demo users.
func People() []Person {
	return []Person{
		{"alice", "Alice Ashdown", "alice@contoso.example", "a11ce000-0000-4000-8000-000000000001", []string{"Jit.Request"}},
		{"bob", "Bob Birch", "bob@contoso.example", "b0b00000-0000-4000-8000-000000000002", []string{"Jit.Request", "Jit.Approve"}},
		{"carol", "Carol Crane", "carol@contoso.example", "ca401000-0000-4000-8000-000000000003", []string{"Jit.Admin"}},
		{"audrey", "Audrey Alder", "audrey@contoso.example", "a0d4e700-0000-4000-8000-000000000004", []string{"Jit.Audit"}},
	}
}

// baseClaims are those of every v2.0 token for our API (entra-docs,
// access-token-claims-reference).
func (s *Server) baseClaims(baseURL string) map[string]any {
	now := s.clock.Now()
	id := uuid.New()
	return map[string]any{
		"iss": s.Issuer(baseURL), "aud": s.audience, "tid": s.tenant, "ver": "2.0",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(),
		"uti": base64.RawURLEncoding.EncodeToString(id[:]),
	}
}

func (s *Server) personClaims(baseURL, name string) (map[string]any, error) {
	for _, p := range People() {
		if !strings.EqualFold(p.Name, name) {
			continue
		}
		claims := s.baseClaims(baseURL)
		claims["oid"], claims["name"], claims["preferred_username"] = p.ObjectID, p.DisplayName, p.Username
		claims["sub"] = pairwise(p.ObjectID, s.audience)
		claims["roles"] = p.Roles
		claims["azp"], claims["azpacr"] = cliClientID, "0"
		claims["scp"] = "access_as_user" // tells a person's token from an application's
		return claims, nil
	}
	return nil, errUnknownUser(name)
}

// identityClaims: our own API asks for v2.0 tokens, so its audience is its client
// id however it was named; Azure's services take v1.0 tokens, whose audience is
// the resource as asked for.
func (s *Server) identityClaims(baseURL, resource string) map[string]any {
	claims := s.baseClaims(baseURL)
	claims["oid"], claims["idtyp"] = IdentityObjectID, "app"
	if asked := strings.TrimPrefix(strings.ToLower(resource), "api://"); strings.TrimSuffix(asked, "/") == s.audience {
		claims["azp"], claims["azpacr"] = IdentityClientID, "2"
		claims["sub"] = IdentityObjectID
		return claims
	}
	claims["iss"], claims["aud"], claims["ver"] = s.v1Issuer(), resource, "1.0"
	claims["appid"], claims["appidacr"] = IdentityClientID, "2"
	claims["sub"] = IdentityObjectID
	return claims
}

func (s *Server) v1Issuer() string { return "https://sts.windows.net/" + s.tenant + "/" }

// pairwise is a subject that is the same for one person in one application and
// tells nothing in another.
func pairwise(oid, audience string) string {
	sum := sha256.Sum256([]byte(oid + " " + audience))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
