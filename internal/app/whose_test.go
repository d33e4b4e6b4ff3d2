package app_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
	"jitgate/internal/local/entra"
)

// Azure roles that stand for Jit.Request and Jit.Approve in the tests of Azure RBAC.
const (
	azureRequester = "fb879df8-f326-4884-b1cf-06f3ad86be52"
	azureApprover  = "1c0163c0-47e6-4577-8991-ea5c82e286e4"
)

// edgeByRBAC is an edge where Azure RBAC decides who may ask and approve.
func edgeByRBAC(t *testing.T) *edge {
	t.Helper()
	return edgeWith(t, map[string]string{"JITGATE_RBAC_ROLES": `{"` + azureRequester + `":["Jit.Request"],"` + azureApprover + `":["Jit.Approve"]}`})
}

// assign gives one of the demo's people an Azure role.
func (e *edge) assign(user, role, scope string) {
	e.t.Helper()
	for _, p := range entra.People() {
		if p.Name == user {
			if err := e.stack.ARM.Assign(arm.RoleAssignment{Scope: scope, Principal: p.ObjectID, Role: role}); err != nil {
				e.t.Fatal(err)
			}
		}
	}
}

// edgeOfTenants serves a second tenant beside the home tenant.
func edgeOfTenants(t *testing.T) *edge {
	t.Helper()
	return edgeWith(t, map[string]string{"JITGATE_TENANT_ID": local.TenantID + "," + local.OtherTenantID})
}

// TestEveryRouteByAzureRBAC: people without any app role get as far as asking Azure about a
// machine or looking for a request, and nowhere else.
func TestEveryRouteByAzureRBAC(t *testing.T) {
	e := edgeByRBAC(t)
	nobody := e.bearer(map[string]any{"roles": nil}, entra.MintOptions{User: "dave"})["Authorization"]
	runner := e.bearer(map[string]any{"roles": nil}, entra.MintOptions{App: "runner"})["Authorization"]
	let := []string{"POST /api/requests", "GET /api/requests", "GET /api/requests/{id}", "GET /api/requests/{id}/events", "POST /api/requests/{id}/approve", "POST /api/requests/{id}/deny",
		"POST /api/requests/{id}/revoke", "POST /api/requests/{id}/extend", "POST /api/policies/explain",
		"GET /api/machines/{vm}", "GET /api/machines/{vm}/events", "GET /api/machines/{vm}/explain"}
	for _, r := range e.routes() {
		status, p := e.knock(r.method, r.address, nobody)
		if got, want := status != http.StatusUnauthorized && p.Code != "role_missing", slices.Contains(let, r.name); got != want {
			t.Errorf("%s: %d %s, let in: %t, want %t", r.name, status, p.Code, got, want)
		}
		if strings.Contains(r.name, "{vm}") && slices.Contains(let, r.name) && p.Code != "rbac_role_missing" && p.Code != "invalid_field" {
			t.Errorf("%s about a machine that is nothing to them: %d %s", r.name, status, p.Code)
		}
		if status, p := e.knock(r.method, r.address, runner); p.Code != "role_missing" {
			t.Errorf("%s as an application without a role: %d %s", r.name, status, p.Code)
		}
	}
}

// TestEveryRouteOfAGuest: the administrators of a further tenant may have given their
// people every role there is.
func TestEveryRouteOfAGuest(t *testing.T) {
	e := edgeOfTenants(t)
	all := map[string]any{"roles": []string{identity.RoleRequest, identity.RoleApprove, identity.RoleAdmin, identity.RoleAudit, identity.RoleDecideWorkflow, identity.RoleActionGroup, identity.RolePolicyWrite}}
	guest := e.bearer(all, entra.MintOptions{User: "alice", Tenant: local.OtherTenantID})["Authorization"]
	app := e.bearer(all, entra.MintOptions{App: "actiongroup", Tenant: local.OtherTenantID})["Authorization"]
	both := []string{"POST /api/requests", "GET /api/requests", "GET /api/requests/{id}", "GET /api/requests/{id}/events", "POST /api/requests/{id}/revoke", "POST /api/policies/explain"}
	person := append(slices.Clone(both), "POST /api/requests/{id}/extend")
	application := append(slices.Clone(both), "POST /api/subscriptions", "POST /api/subscriptions/cancel")
	for _, r := range e.routes() {
		for who, c := range map[string]struct {
			authorization string
			let           []string
		}{"a guest": {guest, person}, "an application of theirs": {app, application}} {
			status, p := e.knock(r.method, r.address, c.authorization)
			if got, want := status != http.StatusUnauthorized && p.Code != "role_missing", slices.Contains(c.let, r.name); got != want {
				t.Errorf("%s as %s: %d %s, let in: %t, want %t", r.name, who, status, p.Code, got, want)
			}
		}
	}
}

// TestWhoseRequest calls each operation on a request of alice's as people and applications
// with every role, and with two that must not add up to more than they are. The request has
// ended, so that whoever may act on it changes nothing.
func TestWhoseRequest(t *testing.T) {
	e := newEdge(t)
	id := e.create("alice", good)
	e.must("POST", "/api/requests/"+id+"/revoke", "", "alice", nil)
	if err := e.app.Service.Evaluate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	const other = "55555555-0000-4000-8000-0000000000f1"
	as := func(who string) map[string]string {
		t.Helper()
		roles, o := strings.Split(strings.TrimPrefix(who, "app:"), "+"), entra.MintOptions{User: "bob"}
		claims := map[string]any{"roles": roles, "oid": other}
		if strings.HasPrefix(who, "app:") {
			o = entra.MintOptions{App: "runner"}
		}
		return e.bearer(claims, o)
	}
	callers := []string{"Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Audit", "Jit.Request+Jit.Audit", "app:Jit.Request", "app:Jit.Decide.Workflow", "app:Jit.Request+Jit.Decide.Workflow"}
	waiting := `{"requestId":"` + id + `","callbackUrl":"` + callbackURL + `"}`
	path := "/api/requests/" + id
	for _, c := range []struct {
		method, path, body, may string
	}{
		{"GET", path, "", "Jit.Approve Jit.Admin Jit.Audit Jit.Request+Jit.Audit"},
		{"GET", path + "/events", "", "Jit.Approve Jit.Admin Jit.Audit Jit.Request+Jit.Audit"},
		{"POST", path + "/approve", `{}`, "Jit.Approve app:Jit.Decide.Workflow app:Jit.Request+Jit.Decide.Workflow"},
		{"POST", path + "/deny", `{}`, "Jit.Approve app:Jit.Decide.Workflow app:Jit.Request+Jit.Decide.Workflow"},
		{"POST", path + "/revoke", "", "Jit.Approve Jit.Admin"},
		{"POST", path + "/extend", `{"duration":"PT1H"}`, ""},
		{"POST", path + "/review", `{"comment":"fine"}`, "Jit.Approve Jit.Admin"},
		{"POST", "/api/subscriptions", waiting, "app:Jit.Decide.Workflow app:Jit.Request+Jit.Decide.Workflow"},
		{"POST", "/api/subscriptions/cancel", waiting, "app:Jit.Decide.Workflow app:Jit.Request+Jit.Decide.Workflow"},
	} {
		for _, who := range callers {
			status, _, body := e.call(c.method, c.path, c.body, "", as(who))
			code := ""
			if status >= 400 {
				code = decode[api.Problem](t, body).Code
			}
			let := code != "role_missing" && code != "not_your_request"
			if want := slices.Contains(strings.Fields(c.may), who); let != want {
				t.Errorf("%s %s as %s: %d %s, may: %t, want %t", c.method, c.path, who, status, code, let, want)
			}
		}
	}
	mine := e.must("GET", "/api/requests", "", "", as("Jit.Request"))
	if got := decode[api.RequestPage](t, mine).Requests; len(got) != 0 {
		t.Errorf("somebody else lists %+v", got)
	}
}

// TestAzureRBACReachesNoFurther than the machines on which somebody has a role: what waits
// for them, the end of access there, and the machine itself.
func TestAzureRBACReachesNoFurther(t *testing.T) {
	e := edgeByRBAC(t)
	rest := ", ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}], approval: {}}"
	for _, vm := range []string{db01, web01} {
		e.apply("{apiVersion: jitgate/v1, scope: " + vm + rest)
	}
	e.assign("audrey", azureRequester, group)
	e.assign("dave", azureApprover, db01)
	onDB := e.create("audrey", strings.Replace(good, web01, db01, 1))
	onWeb := e.create("audrey", good)
	onBoth := e.create("audrey", with(`"targets":[`, `"targets":[{"vm":"`+db01+`","ports":[{"port":22,"protocol":"TCP"}]},`))
	for _, id := range []string{onDB, onWeb, onBoth} {
		if err := e.app.Service.Evaluate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	dave := e.bearer(map[string]any{"roles": nil}, entra.MintOptions{User: "dave"})
	waits := func(query string) (ids []string) {
		t.Helper()
		for _, r := range decode[api.RequestPage](t, e.must("GET", "/api/requests"+query, "", "", dave)).Requests {
			ids = append(ids, r.ID)
		}
		return ids
	}
	if got := waits("?state=AwaitingApproval"); len(got) != 2 || !slices.Contains(got, onDB) || !slices.Contains(got, onBoth) {
		t.Errorf("waits for him: %v, want %s and %s", got, onDB, onBoth)
	}
	e.must("GET", "/api/requests/"+onBoth, "", "", dave)
	e.refuses(t, refusal{"another's machine beside his: end", "POST", "/api/requests/" + onBoth + "/revoke", ``, "", dave, 403, "not_your_request"})
	// Applications ask with their app role, and Azure's roles say nothing more about them.
	for _, p := range entra.People() {
		if p.Name != "dave" {
			continue
		}
		app := e.bearer(map[string]any{"roles": []string{"Jit.Request"}, "oid": p.ObjectID}, entra.MintOptions{App: "runner"})
		e.refuses(t, refusal{"an application looks", "GET", "/api/requests/" + onDB, ``, "", app, 403, "not_your_request"})
		e.refuses(t, refusal{"an application ends", "POST", "/api/requests/" + onDB + "/revoke", ``, "", app, 403, "not_your_request"})
		if got := decode[api.RequestPage](t, e.must("GET", "/api/requests?state=AwaitingApproval&limit=1", "", "", app)); len(got.Requests) != 0 || got.Next != "" {
			t.Errorf("an application lists %+v", got)
		}
	}
	if got := slices.Concat(waits(""), waits("?state=AwaitingApproval&mine=true"), waits("?state=Approved")); len(got) != 0 {
		t.Errorf("he lists %v", got)
	}
	e.refuses(t, refusal{"another's machine: end", "POST", "/api/requests/" + onWeb + "/revoke", ``, "", dave, 403, "not_your_request"})
	e.refuses(t, refusal{"another's machine: look", "GET", "/api/requests/" + onWeb, ``, "", dave, 403, "not_your_request"})
	e.must("POST", "/api/requests/"+onDB+"/revoke", "", "", dave)

	e.refuses(t, refusal{"all machines", "GET", "/api/machines", ``, "", dave, 403, "role_missing"})
	for _, path := range []string{"", "/events", "/explain?port=22&source=203.0.113.7"} {
		e.refuses(t, refusal{"another's machine: " + path, "GET", "/api/machines" + web01 + path, ``, "", dave, 403, "rbac_role_missing"})
		e.must("GET", "/api/machines"+db01+path, "", "", dave)
	}
	for name, want := range map[string]int{"db01": 1, "web01": 0} {
		if got := decode[api.MachineList](t, e.must("GET", "/api/machines?name="+name, "", "", dave)).Machines; len(got) != want {
			t.Errorf("%s by name: %+v", name, got)
		}
	}
	e.refuses(t, refusal{"policies", "GET", "/api/policies", ``, "", dave, 403, "role_missing"})
}

// TestMachinesThatAreNotLookedAfter: jitgate's identity can read more than it looks after.
func TestMachinesThatAreNotLookedAfter(t *testing.T) {
	e := edgeWith(t, map[string]string{"JITGATE_SUBSCRIPTIONS": "77777777-7777-4777-8777-777777777777"})
	for _, c := range []refusal{
		{"ask", "POST", "/api/requests", good, "alice", nil, 404, "scope_not_looked_at"},
		{"explain", "GET", "/api/machines" + web01 + "/explain?port=22&source=203.0.113.7", ``, "alice", nil, 404, "scope_not_looked_at"},
		{"protect", "POST", "/api/machines" + web01 + "/protect", ``, "carol", nil, 404, "scope_not_looked_at"},
		{"what if", "POST", "/api/machines" + web01 + "/protect?whatIf=true", ``, "carol", nil, 404, "scope_not_looked_at"},
	} {
		e.refuses(t, c)
	}
}

// TestAzureRefusesJitgateItself: whoever calls is told whom to tell.
func TestAzureRefusesJitgateItself(t *testing.T) {
	e := edgeByRBAC(t)
	e.assign("audrey", azureRequester, web01)
	id := e.create("audrey", good)
	e.stack.ARM.SetHooks(func(arm.Op) *arm.Fault { return &arm.Fault{Status: 403, Code: "AuthorizationFailed"} }, nil)
	dave := e.bearer(map[string]any{"roles": nil}, entra.MintOptions{User: "dave"})
	for _, c := range []refusal{
		{"ask", "POST", "/api/requests", with("INC-1042", "INC-1043"), "dave", nil, 502, "machine_unreadable"},
		{"look", "GET", "/api/requests/" + id, ``, "", dave, 502, "machine_unreadable"},
		{"approve", "POST", "/api/requests/" + id + "/approve", `{}`, "", dave, 409, "request_not_awaiting"},
	} {
		e.refuses(t, c)
	}
}
