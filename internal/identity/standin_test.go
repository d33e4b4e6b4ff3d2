package identity_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/identity"
	"jitgate/internal/local/entra"
)

const (
	home   = "11111111-2222-4333-8444-555555555555"
	second = "22222222-2222-4333-8444-55555555aaaa"
	third  = "33333333-2222-4333-8444-55555555bbbb" // issues tokens, but not for us
	api    = "99999999-8888-4777-8666-555555555555"
)

// counting are the roles that count here: of guests from other tenants, only the one
// to ask.
func counting(tenant string, roles []string) []string {
	if tenant == home {
		return roles
	}
	return slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return r != identity.RoleRequest })
}

// TestEverybodyOfTheStandIn: each demo person and application, in each tenant and
// version, is who they are, and may do what their roles say.
func TestEverybodyOfTheStandIn(t *testing.T) {
	clock := clockwork.NewFakeClock()
	s, err := entra.New(entra.Options{TenantID: home, OtherTenants: []string{second, third}, Audience: api, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	v, err := identity.New(identity.Config{Tenants: []string{home, second}, Audiences: []string{api, s.AppIDURI()},
		Issuer: s.IssuerOf(server.URL, "{tenantid}"), Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(o entra.MintOptions) (identity.Caller, error) {
		t.Helper()
		token, err := s.Mint(server.URL, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		return v.Verify(t.Context(), http.Header{"Authorization": {"Bearer " + token}})
	}
	const azureCLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	for _, tenant := range []string{home, second} {
		for _, version := range []string{"1.0", "2.0"} {
			for _, p := range entra.People() {
				got, err := verify(entra.MintOptions{User: p.Name, Tenant: tenant, Version: version})
				if err != nil {
					t.Fatalf("%s: %v", p.Name, err)
				}
				want := identity.Caller{Tenant: tenant, Object: p.ObjectID, Name: p.Username, App: azureCLI, Roles: counting(tenant, p.Roles), Groups: p.Groups, Guest: tenant != home}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, version %s: %s", p.Name, version, diff)
				}
			}
			for _, a := range entra.Applications() {
				got, err := verify(entra.MintOptions{App: a.Name, Tenant: tenant, Version: version})
				if err != nil {
					t.Fatalf("%s: %v", a.Name, err)
				}
				want := identity.Caller{Tenant: tenant, Object: a.ObjectID, Name: a.ClientID, App: a.ClientID, Roles: counting(tenant, a.Roles), Application: true, Guest: tenant != home}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, version %s: %s", a.Name, version, diff)
				}
				for op, who := range map[identity.Operation]string{identity.AlertReceive: "actiongroup", identity.RequestDecide: "workflow", identity.RequestCreate: "runner"} {
					if got.May(op) != (who == a.Name && (tenant == home || op == identity.RequestCreate)) {
						t.Errorf("%s may %s: %t", a.Name, op, got.May(op))
					}
				}
			}
		}
	}
	if got, err := verify(entra.MintOptions{User: "alice", Tenant: third}); err == nil {
		t.Errorf("a tenant we do not serve: %+v", got)
	}
}
