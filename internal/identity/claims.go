package identity

import (
	"strings"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

// claims of Entra ID access tokens, both versions (Entra "access token claims
// reference" and "optional claims reference").
type claims struct {
	Issuer     string           `json:"iss"`
	Version    string           `json:"ver"`
	Audience   jwt.Audience     `json:"aud"`
	Expiry     *jwt.NumericDate `json:"exp"`
	NotBefore  *jwt.NumericDate `json:"nbf"`
	Tenant     string           `json:"tid"`
	Object     string           `json:"oid"`
	Roles      []string         `json:"roles"`
	Groups     []string         `json:"groups"`
	Elsewhere  map[string]any   `json:"_claim_names"` // claims that did not fit
	HasGroups  bool             `json:"hasgroups"`    // groups that did not fit, in an implicit flow
	Scope      string           `json:"scp"`
	TokenKind  string           `json:"idtyp"`
	Azp        string           `json:"azp"`   // version 2
	AppID      string           `json:"appid"` // version 1
	Preferred  string           `json:"preferred_username"`
	UPN        string           `json:"upn"`
	UniqueName string           `json:"unique_name"` // version 1
	Name       string           `json:"name"`
}

// caller reads who the claims speak of. app is the client id that counts; the
// checks are done.
func (c claims) caller(app string) Caller {
	_, elsewhere := c.Elsewhere["groups"]
	return Caller{
		// In one spelling: "not the requester" must not depend on how a token or a
		// workflow writes an id.
		Tenant: c.Tenant, Object: strings.ToLower(c.Object), App: app,
		Name:   first(c.Preferred, c.UPN, c.UniqueName, c.Name, app),
		Roles:  c.Roles,
		Groups: c.Groups,
		// _claim_sources names an address of the retired Azure AD Graph, and a token
		// should not be able to send us anywhere: it is not followed.
		GroupsIncomplete: elsewhere || c.HasGroups,
		Application:      c.applicationOnly(app),
	}
}

// applicationOnly: idtyp says so where the registration asks for that claim;
// otherwise a token with no scope is one, since a scope is what a person lets an
// application do. A kind we do not know is no person. A sign-in that App Service did
// itself has neither scope nor application and is a person's.
func (c claims) applicationOnly(app string) bool {
	return c.TokenKind != "" && c.TokenKind != "user" || strings.TrimSpace(c.Scope) == "" && app != ""
}

// identified reports whether the object id is one. It becomes part of keys in the
// store.
func (c claims) identified() bool {
	_, err := uuid.Parse(c.Object)
	return err == nil && len(c.Object) == 36
}

func first(candidates ...string) string {
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}
