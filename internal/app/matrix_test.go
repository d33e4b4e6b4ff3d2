package app_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/local/entra"
	"jitgate/internal/web"
)

// rights is who may call what, written down once more and by hand: what the code says
// is held against it. Callers are roles of people, or of applications with "app:" before
// them; "key" is whoever shows the alert key. Whose requests they may act on is
// TestWhoseRequest's.
var rights = map[string]string{
	"POST /api/requests":              "Jit.Request app:Jit.Request",
	"GET /api/requests":               "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Request",
	"GET /api/requests/{id}":          "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Request",
	"GET /api/requests/{id}/events":   "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Request",
	"POST /api/requests/{id}/approve": "Jit.Approve app:Jit.Decide.Workflow",
	"POST /api/requests/{id}/deny":    "Jit.Approve app:Jit.Decide.Workflow",
	"POST /api/requests/{id}/revoke":  "Jit.Request Jit.Approve Jit.Admin app:Jit.Request",
	"POST /api/requests/{id}/extend":  "Jit.Request",
	"POST /api/requests/{id}/review":  "Jit.Approve Jit.Admin",
	"POST /api/subscriptions":         "app:Jit.Request app:Jit.Decide.Workflow",
	"POST /api/subscriptions/cancel":  "app:Jit.Request app:Jit.Decide.Workflow",

	"GET /api/policies":                         "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Policy.Write",
	"PUT /api/policies":                         "Jit.Admin app:Jit.Policy.Write",
	"GET /api/policies/history":                 "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Policy.Write",
	"POST /api/policies/remove":                 "Jit.Admin app:Jit.Policy.Write",
	"GET /api/policies/proposals":               "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Policy.Write",
	"POST /api/policies/proposals/{id}/approve": "Jit.Admin",
	"POST /api/policies/proposals/{id}/reject":  "Jit.Admin",
	"POST /api/policies/explain":                "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Request app:Jit.Policy.Write",
	"POST /api/policies/what-if":                "Jit.Admin app:Jit.Policy.Write",

	"GET /api/lockdowns":            "Jit.Approve Jit.Admin",
	"POST /api/lockdowns":           "Jit.Approve Jit.Admin",
	"POST /api/lockdowns/{id}/lift": "Jit.Approve Jit.Admin",
	"GET /api/events":               "Jit.Approve Jit.Admin Jit.Audit",

	"POST /api/alerts":      "app:Jit.Decide.Workflow app:ActionGroupsSecureWebhook key",
	"GET /api/alerts/rules": "Jit.Request Jit.Approve Jit.Admin Jit.Audit app:Jit.Policy.Write",
	"PUT /api/alerts/rules": "Jit.Admin app:Jit.Policy.Write",

	"GET /api/machines":                 "Jit.Request Jit.Approve Jit.Admin Jit.Audit",
	"GET /api/machines/report":          "Jit.Approve Jit.Admin Jit.Audit",
	"GET /api/machines/{vm}":            "Jit.Request Jit.Approve Jit.Admin Jit.Audit",
	"GET /api/machines/{vm}/events":     "Jit.Request Jit.Approve Jit.Admin Jit.Audit",
	"GET /api/machines/{vm}/explain":    "Jit.Request Jit.Approve Jit.Admin Jit.Audit",
	"POST /api/machines/{vm}/protect":   "Jit.Admin",
	"POST /api/machines/{vm}/unprotect": "Jit.Admin",
}

const oneMachine = "/api/machines/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{vm}"

const alertKey = "a-key-of-more-than-thirty-two-characters"

// TestEveryRouteAndEveryRole walks the whole API with no token, with a token of each
// role for a person and for an application, with one of a tenant that is not served,
// and with the alert key, and holds what happens against the table. Calls have no body and name things that do not exist: who may call is found
// out before anything else is looked at, so a caller who may gets another answer than
// 401 and 403 role_missing.
func TestEveryRouteAndEveryRole(t *testing.T) {
	const strangers = "88888888-0000-4000-8000-000000000002"
	e := edgeWith(t, map[string]string{"JITGATE_ALERT_KEY": alertKey})
	base := e.stack.Env["JITGATE_ENTRA_URL"]
	mint := func(claims map[string]any, o entra.MintOptions) string {
		t.Helper()
		token, err := e.stack.Entra.Mint(base, claims, o)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	}
	callers := map[string]string{ // what the table calls them → Authorization
		"a person without roles": mint(map[string]any{"roles": nil}, entra.MintOptions{User: "alice"}),
		"a stranger": mint(map[string]any{"tid": strangers, "iss": strings.ReplaceAll(e.stack.Settings["JITGATE_ISSUER"], e.stack.Settings["JITGATE_TENANT_ID"], strangers)},
			entra.MintOptions{User: "carol"}),
	}
	for _, role := range []string{identity.RoleRequest, identity.RoleApprove, identity.RoleAdmin, identity.RoleAudit, identity.RoleDecideWorkflow, identity.RoleActionGroup, identity.RolePolicyWrite} {
		callers[role] = mint(map[string]any{"roles": []string{role}}, entra.MintOptions{User: "alice"})
		app := "runner"
		if role == identity.RoleActionGroup {
			app = "actiongroup" // the role counts for Azure Monitor alone
			callers["another application with "+role] = mint(map[string]any{"roles": []string{role}}, entra.MintOptions{App: "runner"})
		}
		callers["app:"+role] = mint(map[string]any{"roles": []string{role}}, entra.MintOptions{App: app})
	}

	covered := map[string]bool{}
	for _, r := range e.routes() {
		method, name, address := r.method, r.name, r.address
		may, known := rights[name]
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		covered[name] = true
		if declared, _ := r.op.Extensions[web.OperationsExtension].([]identity.Operation); len(declared) == 0 {
			t.Errorf("%s does not say what its caller must be allowed to do", name)
		}
		if status, p := e.knock(method, address, ""); status != http.StatusUnauthorized || p.Code != "token_missing" {
			t.Errorf("%s without a token: %d %s", name, status, p.Code)
		}
		for who, authorization := range callers {
			status, p := e.knock(method, address, authorization)
			let := status != http.StatusUnauthorized && p.Code != "role_missing"
			if want := slices.Contains(strings.Fields(may), who); let != want {
				t.Errorf("%s as %s: %d %s, let in: %t, want %t", name, who, status, p.Code, let, want)
			}
			if who == "a stranger" && status != http.StatusUnauthorized {
				t.Errorf("%s as a stranger: %d %s", name, status, p.Code)
			}
			if who != "a person without roles" {
				continue
			}
			for role := range strings.FieldsSeq(may) {
				if person := !strings.Contains(role, ":") && role != "key"; person && !strings.Contains(p.Detail, role) {
					t.Errorf("%s as %s: %q does not name %s", name, who, p.Detail, role)
				}
			}
		}
		status, p := e.knock(method, address+"?code="+alertKey, "")
		if let, want := status != http.StatusUnauthorized, strings.Contains(may, "key"); let != want {
			t.Errorf("%s with the alert key: %d %s, let in: %t, want %t", name, status, p.Code, let, want)
		}
	}
	for name := range rights {
		if !covered[name] {
			t.Errorf("%s is in the table and not in the API", name)
		}
	}
}

// route is an operation of the API, with a path in which nothing exists.
type route struct {
	method, name, address string
	op                    *huma.Operation
}

func (e *edge) routes() []route {
	var out []route
	for path, item := range e.app.API.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch} {
			if op != nil {
				out = append(out, route{method, method + " " + strings.Replace(path, oneMachine, "/api/machines/{vm}", 1), fill(path), op})
			}
		}
	}
	return out
}

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// fill puts names into a path that no such thing has.
func fill(path string) string {
	return placeholder.ReplaceAllStringFunc(path, func(name string) string {
		if name == "{subscription}" {
			return "00000000-0000-0000-0000-000000000001"
		}
		return "no-such-" + strings.Trim(name, "{}")
	})
}

// knock makes a call with nothing in it and returns the status and the problem, if it is
// one.
func (e *edge) knock(method, path, authorization string) (int, api.Problem) {
	e.t.Helper()
	headers := map[string]string{}
	if authorization != "" {
		headers["Authorization"] = authorization
	}
	status, _, body := e.call(method, path, "", "", headers)
	if status < 400 {
		return status, api.Problem{}
	}
	return status, decode[api.Problem](e.t, body)
}

// TestAWrongAlertKeyIsNone: near misses, other routes' parameters and other methods.
func TestAWrongAlertKeyIsNone(t *testing.T) {
	e := edgeWith(t, map[string]string{"JITGATE_ALERT_KEY": alertKey})
	for _, given := range []string{"", "x", alertKey[:len(alertKey)-1], alertKey + "x", strings.ToUpper(alertKey)} {
		if status, p := e.knock("POST", "/api/alerts?code="+given, ""); status != http.StatusUnauthorized {
			t.Errorf("%q: %d %s", given, status, p.Code)
		}
	}
	if status, _, body := e.call("POST", "/api/alerts", "{}", "", map[string]string{"X-Functions-Key": alertKey}); status != http.StatusBadRequest {
		t.Errorf("in the header: %d %s", status, body)
	}
	// Whoever can look at the action group has seen the key: it asks for nothing by name.
	own := `{"source":"sentinel","externalId":"1","action":"unlock","vmResourceId":"` + web01 + `"}`
	e.refuses(t, refusal{"the key with jitgate's own body", "POST", "/api/alerts?code=" + alertKey, own, "", nil, 403, "role_missing"})
	if strings.Contains(e.log.String(), alertKey) {
		t.Error("the key is in the log")
	}
	none := newEdge(t)
	if status, p := none.knock("POST", "/api/alerts?code=", ""); status != http.StatusUnauthorized {
		t.Errorf("no key is set: %d %s", status, p.Code)
	}
}
