package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// issuer is one of the two names under which a tenant issues tokens: an API's
// registration decides whether its tokens are of version 1 or 2 (Entra "access
// tokens" page), and each version has its own issuer and discovery document.
type issuer struct {
	name    string // exactly what the iss claim holds
	tenant  string // the tid that goes with it
	version string // the ver that goes with it
	keys    *keyring
}

const (
	version1 = "1.0"
	version2 = "2.0"

	// tenantPlace is where Entra leaves room for a tenant's id in the name of an
	// issuer, in documents that serve several tenants.
	tenantPlace = "{tenantid}"

	publicCloud = "https://login.microsoftonline.com/" + tenantPlace + "/v2.0"
	// version1Name is the issuer of version 1 in the public cloud and the one for
	// the US government. The cloud in China has another; its tokens have to be of
	// version 2.
	version1Name = "https://sts.windows.net/" + tenantPlace + "/"
)

// issuersOf returns both issuers of each tenant by name.
func issuersOf(tenants []string, template string, client *http.Client, now func() time.Time) (map[string]*issuer, error) {
	if template == "" {
		template = publicCloud
	}
	all := map[string]*issuer{}
	for _, text := range tenants {
		id, err := uuid.Parse(text)
		if err != nil || len(text) != 36 {
			return nil, errors.New("identity: a tenant must be a directory id, a GUID; a domain name never equals the tid claim")
		}
		tenant := id.String()
		in := func(name string) string { return strings.ReplaceAll(name, tenantPlace, tenant) }
		name := in(template)
		if err := trustworthy(name); err != nil {
			return nil, fmt.Errorf("identity: issuer: %w", err)
		}
		// One issuer for two tenants would mean that each could speak for the other.
		base, found := strings.CutSuffix(name, "/"+tenant+"/v2.0")
		if !found {
			return nil, fmt.Errorf("identity: issuer: it must be that of version 2.0 and end in the tenant's id and /v2.0; for several tenants write %s in the place of the id", tenantPlace)
		}
		add := func(name, version, documents string) {
			all[name] = &issuer{name: name, tenant: tenant, version: version,
				keys: &keyring{issuer: name, tenant: tenant, document: documents + "/.well-known/openid-configuration", client: client, now: now}}
		}
		add(name, version2, name)
		add(in(version1Name), version1, base+"/"+tenant)
	}
	if len(all) == 0 {
		return nil, errors.New("identity: at least one tenant is needed; without one nobody could call")
	}
	return all, nil
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
