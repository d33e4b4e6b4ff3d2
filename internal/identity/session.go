package identity

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4/json"
)

// principalHeader is how App Service Authentication says who has signed in: base64
// of a JSON document (App Service "work with user identities" page).
const principalHeader = "X-MS-CLIENT-PRINCIPAL"

// shortNames of claims that App Service Authentication writes as addresses, as .NET
// does; others keep the names they have in tokens.
var shortNames = map[string]string{
	"http://schemas.microsoft.com/identity/claims/tenantid":              "tid",
	"http://schemas.microsoft.com/identity/claims/objectidentifier":      "oid",
	"http://schemas.microsoft.com/identity/claims/scope":                 "scp",
	"http://schemas.microsoft.com/ws/2008/06/identity/claims/role":       "roles",
	"http://schemas.microsoft.com/ws/2008/06/identity/claims/groups":     "groups",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn":          "upn",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name":         "unique_name",
	"http://schemas.microsoft.com/identity/claims/identityprovider":      "idp",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": "email",
}

// session reads the sign-in that App Service Authentication vouches for. Nothing in
// it is signed: that no caller can write it is the platform's doing. Its time is the
// platform's as well: a session outlives the token it began with, so exp is not
// looked at. What the header tells of tenant, issuer, audience and version has to be
// right as in a token.
func (v *Verifier) session(h http.Header) (Caller, error) {
	values := h.Values(principalHeader)
	switch site := h.Get("Sec-Fetch-Site"); {
	case len(values) == 0:
		return Caller{}, refuse(TokenMissing, nil)
	case site != "" && site != "same-origin" && site != "none":
		// A session is a cookie, and browsers add it to what other sites make them
		// send. Our own pages are of the same origin.
		return Caller{}, refuse(TokenMissing, errors.New("the session is not taken for a call that another site started"))
	case len(values) > 1:
		return Caller{}, refuse(TokenMalformed, errors.New("several sign-ins"))
	}
	c, err := principal(values[0])
	if err != nil {
		return Caller{}, refuse(TokenMalformed, err)
	}
	from := v.issuers[c.Issuer]
	switch {
	case c.Issuer != "" && (from == nil || c.Version != "" && c.Version != from.version):
		return Caller{}, refuse(TokenIssuer, nil)
	case slices.ContainsFunc(c.Audience, func(a string) bool { return !slices.Contains(v.audiences, a) }):
		return Caller{}, refuse(TokenAudience, nil)
	case !v.serves(c.Tenant), from != nil && from.tenant != c.Tenant:
		return Caller{}, refuse(TokenTenant, nil)
	case !c.identified():
		return Caller{}, refuse(TokenSubject, errors.New("no object id"))
	}
	return v.trusted(c.caller(first(c.Azp, c.AppID))), nil
}

func (v *Verifier) serves(tenant string) bool {
	for _, i := range v.issuers {
		if i.tenant == tenant {
			return true
		}
	}
	return false
}

// principal decodes the header. The errors quote nothing of it.
func principal(encoded string) (claims, error) {
	if len(encoded) > maxToken {
		return claims{}, errors.New("the sign-in is too long")
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return claims{}, errors.New("the sign-in is not base64")
	}
	var document struct {
		Provider string `json:"auth_typ"`
		Claims   []struct {
			Type  string `json:"typ"`
			Value string `json:"val"`
		} `json:"claims"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return claims{}, errors.New("the sign-in is not the JSON it should be")
	}
	// Another provider's claims may bear the same names and mean something else.
	if document.Provider != "aad" {
		return claims{}, errors.New("the sign-in is not one of Microsoft Entra ID")
	}
	// role_typ and name_typ, which say what .NET should take for roles and names, are
	// not looked at: the names of the claims are enough.
	var c claims
	single := map[string]*string{"iss": &c.Issuer, "ver": &c.Version, "tid": &c.Tenant, "oid": &c.Object, "scp": &c.Scope,
		"idtyp": &c.TokenKind, "azp": &c.Azp, "appid": &c.AppID,
		"preferred_username": &c.Preferred, "upn": &c.UPN, "unique_name": &c.UniqueName, "name": &c.Name}
	for _, claim := range document.Claims {
		name := first(shortNames[claim.Type], claim.Type)
		switch field := single[name]; {
		case field != nil && *field != "" && *field != claim.Value:
			return claims{}, errors.New("the sign-in contradicts itself")
		case field != nil:
			*field = claim.Value
		case name == "aud":
			c.Audience = append(c.Audience, claim.Value)
		case name == "roles":
			c.Roles = append(c.Roles, claim.Value)
		case name == "groups":
			c.Groups = append(c.Groups, claim.Value)
		case name == "hasgroups":
			c.HasGroups = c.HasGroups || claim.Value != "false"
		case name == "_claim_names":
			if err := json.Unmarshal([]byte(claim.Value), &c.Elsewhere); err != nil {
				return claims{}, errors.New("the sign-in's _claim_names are not JSON")
			}
		}
	}
	return c, nil
}
