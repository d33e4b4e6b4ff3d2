package host

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// login is a signed-in user of App Service Authentication.
type login struct{ principal, id, name, provider string }

// claims that hold the object id, oldest name last.
var idClaims = []string{
	"http://schemas.microsoft.com/identity/claims/objectidentifier", "oid",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub",
}

// parseLogin returns nil when text is empty.
func parseLogin(text string) (*login, error) {
	if text == "" {
		return nil, nil
	}
	var p struct {
		Provider string `json:"auth_typ"`
		NameType string `json:"name_typ"`
		Claims   []struct {
			Type  string `json:"typ"`
			Value string `json:"val"`
		} `json:"claims"`
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("options: Principal is no client principal in JSON: %w", err)
	}
	l := &login{principal: base64.StdEncoding.EncodeToString([]byte(text)), provider: p.Provider}
	best := len(idClaims)
	for _, c := range p.Claims {
		if i := slices.Index(idClaims, c.Type); i >= 0 && i < best {
			best, l.id = i, c.Value
		}
		if c.Type == p.NameType && l.name == "" {
			l.name = c.Value
		}
	}
	if l.id == "" || l.provider == "" {
		return nil, fmt.Errorf("options: Principal needs auth_typ and a claim that identifies the user (one of %s)", strings.Join(idClaims, ", "))
	}
	return l, nil
}

// sign removes what the client claims about itself and says who it is.
func (l *login) sign(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Ms-Client-Principal") || strings.HasPrefix(name, "X-Ms-Token-") {
			h.Del(name)
		}
	}
	h.Set("X-MS-CLIENT-PRINCIPAL", l.principal)
	h.Set("X-MS-CLIENT-PRINCIPAL-ID", l.id)
	h.Set("X-MS-CLIENT-PRINCIPAL-IDP", l.provider)
	if l.name != "" {
		h.Set("X-MS-CLIENT-PRINCIPAL-NAME", l.name)
	}
}
