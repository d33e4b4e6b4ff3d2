package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/local/entra"
	"jitgate/internal/local/tables"
)

const (
	db01          = group + "/providers/Microsoft.Compute/virtualMachines/db01"
	bobs          = "b0b00000-0000-4000-8000-000000000002"
	workflowOID   = "10c1ca00-0000-4000-8000-000000000012"
	callbackURL   = "http://127.0.0.1:1/workflows/x/triggers/y?sp=a&sv=1.0&sig=SECRETSIGNATURE"
	needsApproval = "{apiVersion: jitgate/v1, scope: " + db01 + ", ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}], " +
		"approval: {approvers: {roles: [Jit.Approve]}}, breakGlass: {requesters: {roles: [Jit.Oncall]}}}"
)

// bearer is a header with a token of a demo person or application with other claims.
func (e *edge) bearer(claims map[string]any, o entra.MintOptions) map[string]string {
	e.t.Helper()
	token, err := e.stack.Entra.Mint(e.stack.Env["JITGATE_ENTRA_URL"], claims, o)
	if err != nil {
		e.t.Fatal(err)
	}
	return map[string]string{"Authorization": "Bearer " + token}
}

// must makes a call that has to succeed.
func (e *edge) must(method, path, body, user string, headers map[string]string) string {
	e.t.Helper()
	status, _, answer := e.call(method, path, body, user, headers)
	if status > 299 {
		e.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

func (e *edge) apply(document string) {
	e.t.Helper()
	body, _ := json.Marshal(api.NewPolicy{Document: document})
	e.must("PUT", "/api/policies", string(body), "carol", nil)
}

// awaiting is a request of alice's for db01 that waits for an approver: the app has no
// host here, so the worker is called by hand.
func (e *edge) awaiting() string {
	e.t.Helper()
	id := e.create("alice", strings.Replace(good, web01, db01, 1))
	if err := e.app.Service.Evaluate(e.t.Context(), id); err != nil {
		e.t.Fatal(err)
	}
	return id
}

func TestDecisionRefusals(t *testing.T) {
	e := newEdge(t)
	e.apply(needsApproval)
	id := e.awaiting()
	pending := e.create("alice", good)
	request := func(verb string) string { return "/api/requests/" + id + "/" + verb }
	workflow := e.bearer(nil, entra.MintOptions{App: "workflow"})
	runner := e.bearer(nil, entra.MintOptions{App: "runner"})
	aliceApproves := e.bearer(map[string]any{"roles": []string{"Jit.Request", "Jit.Approve"}}, entra.MintOptions{User: "alice"})
	novel := `{"comment":"` + strings.Repeat("x", 1001) + `"}`
	glass := with(`"source"`, `"breakGlass":true,"source"`)
	subscription := func(url, request, events string) string {
		return fmt.Sprintf(`{"callbackUrl":%q,"requestId":%q,"events":[%s]}`, url, request, events)
	}
	for _, c := range []refusal{
		{"one's own request", "POST", request("approve"), ``, "", aliceApproves, 403, "own_request"},
		{"one's own request, against it", "POST", request("deny"), ``, "", aliceApproves, 403, "own_request"},
		{"decided by policy", "POST", "/api/requests/" + pending + "/approve", ``, "bob", nil, 409, "request_not_awaiting"},
		{"no such request", "POST", "/api/requests/0192f0c1-2222-7333-8444-555566667777/approve", ``, "bob", nil, 404, "request_not_found"},
		{"a person speaks for another", "POST", request("approve"), `{"approver":{"object":"` + bobs + `","name":"bob"}}`, "dave", nil, 400, "approver_invalid"},
		{"a workflow for nobody", "POST", request("approve"), `{}`, "", workflow, 400, "approver_invalid"},
		{"a workflow for null", "POST", request("approve"), `{"approver":{"object":null,"name":"x"}}`, "", workflow, 400, "invalid_field"},
		{"a workflow for a name", "POST", request("approve"), `{"approver":{"object":"bob@contoso.example","name":"bob"}}`, "", workflow, 400, "approver_invalid"},
		{"a workflow nobody named", "POST", request("approve"), `{"approver":{"object":"` + bobs + `","name":"bob"}}`, "", workflow, 403, "approver_not_allowed"},
		{"a novel", "POST", request("approve"), novel, "bob", nil, 400, "comment_invalid"},
		{"an escape sequence", "POST", request("deny"), `{"comment":"\u001b[2J"}`, "bob", nil, 400, "comment_invalid"},
		{"an unknown field", "POST", request("approve"), `{"coment":"x"}`, "bob", nil, 400, "unknown_field"},

		{"extend somebody else's", "POST", request("extend"), `{"duration":"PT30M"}`, "bob", nil, 403, "not_your_request"},
		{"extend what is not open", "POST", request("extend"), `{"duration":"PT30M"}`, "alice", nil, 409, "request_not_active"},
		{"extend by nothing", "POST", request("extend"), `{}`, "alice", nil, 400, "duration_invalid"},
		{"review what was not broken", "POST", request("review"), `{"comment":"x"}`, "bob", nil, 409, "review_not_due"},
		{"review without a word", "POST", request("review"), `{}`, "bob", nil, 400, "comment_missing"},
		{"break the glass without being named", "POST", "/api/requests", strings.Replace(glass, web01, db01, 1), "alice", nil, 403, "break_glass_not_allowed"},
		{"a pipeline breaks the glass", "POST", "/api/requests", glass, "", runner, 403, "role_missing"},

		{"wait for somebody else's", "POST", "/api/subscriptions", subscription(callbackURL, id, ""), "", runner, 403, "not_your_request"},
		{"wait for nothing", "POST", "/api/subscriptions", subscription(callbackURL, "no-such", ""), "", workflow, 404, "request_not_found"},
		{"a host that is not allowed", "POST", "/api/subscriptions", subscription("https://evil.example/?sig=SECRETSIGNATURE", id, ""), "", workflow, 400, "callback_refused"},
		{"an address inside", "POST", "/api/subscriptions", subscription("https://169.254.169.254/?sig=SECRETSIGNATURE", id, ""), "", workflow, 400, "callback_refused"},
		{"no URL", "POST", "/api/subscriptions", subscription("", id, ""), "", workflow, 400, "callback_refused"},
		{"an unknown outcome", "POST", "/api/subscriptions", subscription(callbackURL, id, `"opened"`), "", workflow, 400, "events_invalid"},

		{"a lockdown of nothing", "POST", "/api/lockdowns", `{"reason":"x"}`, "bob", nil, 400, "lockdown_invalid"},
		{"a lockdown of a name", "POST", "/api/lockdowns", `{"user":"alice@contoso.example","reason":"x"}`, "carol", nil, 400, "lockdown_invalid"},
		{"an approver locks down a person", "POST", "/api/lockdowns", `{"user":"` + workflowOID + `","reason":"x"}`, "bob", nil, 403, "role_missing"},
		{"an approver locks down a person beside a scope", "POST", "/api/lockdowns", `{"user":"` + workflowOID + `","scope":"tenant","reason":"x"}`, "bob", nil, 403, "role_missing"},
		{"a lockdown in the past", "POST", "/api/lockdowns", `{"scope":"tenant","until":"2020-01-01T00:00:00Z","reason":"x"}`, "bob", nil, 400, "lockdown_invalid"},
		{"a lockdown without a reason", "POST", "/api/lockdowns", `{"scope":"tenant"}`, "bob", nil, 400, "comment_missing"},
		{"lift what is not there", "POST", "/api/lockdowns/x/lift", ``, "bob", nil, 404, "lockdown_not_found"},

		{"no such proposal", "POST", "/api/policies/proposals/x/approve", ``, "carol", nil, 404, "proposal_not_found"},
		{"remove what is not there", "POST", "/api/policies/remove", `{"scope":"tenant","key":"x"}`, "carol", nil, 404, "policy_not_found"},
		{"remove nothing", "POST", "/api/policies/remove", `{}`, "carol", nil, 404, "policy_not_found"},
		{"history of nothing", "GET", "/api/policies/history?scope=tenant&key=x", ``, "alice", nil, 404, "policy_not_found"},
		{"history without a key", "GET", "/api/policies/history?scope=tenant", ``, "alice", nil, 400, "invalid_field"},
		{"explain a bad ask", "POST", "/api/policies/explain", with("PT1H", "soon"), "alice", nil, 400, "duration_invalid"},
		{"what if nothing", "POST", "/api/policies/what-if", `{}`, "carol", nil, 400, "policy_invalid"},
		{"what if nonsense", "POST", "/api/policies/what-if", `{"documents":["scoop: x"]}`, "carol", nil, 400, "policy_invalid"},
		{"what if without nothing", "POST", "/api/policies/what-if", `{"remove":[{"scope":"tenant","key":"k"}]}`, "carol", nil, 404, "policy_not_found"},
		{"what if without no scope", "POST", "/api/policies/what-if", `{"remove":[{"scope":"production","key":"k"}]}`, "carol", nil, 404, "policy_not_found"},
		{"alert rules with faults", "PUT", "/api/alerts/rules", `{"document":"rules: 7"}`, "carol", nil, 400, "alert_rules_invalid"},
		{"no alert rules", "GET", "/api/alerts/rules", ``, "alice", nil, 404, "policy_not_found"},
		{"too many events", "GET", "/api/events?limit=1001", ``, "audrey", nil, 400, "invalid_field"},
	} {
		e.refuses(t, c)
	}
	if strings.Contains(e.log.String(), "SECRETSIGNATURE") {
		t.Error("a callback URL is in the log")
	}
}

// TestALockdownOverHTTP closes, refuses, and cannot be undone by whom it is about.
func TestALockdownOverHTTP(t *testing.T) {
	e := newEdge(t)
	var l api.LockedDown
	if err := json.Unmarshal([]byte(e.must("POST", "/api/lockdowns", `{"user":"`+bobs+`","reason":"stolen laptop"}`, "carol", nil)), &l); err != nil {
		t.Fatal(err)
	}
	e.refuses(t, refusal{"bob asks", "POST", "/api/requests", good, "bob", nil, 403, "locked_down"})
	e.refuses(t, refusal{"bob lifts it", "POST", "/api/lockdowns/" + l.Lockdown.ID + "/lift", ``, "bob", nil, 403, "locked_down"})
	if got := decode[api.LockdownList](t, e.must("GET", "/api/lockdowns", "", "dave", nil)); len(got.Lockdowns) != 1 || got.Lockdowns[0].By.Name != "carol@contoso.example" {
		t.Errorf("in force: %+v", got)
	}
	if got := decode[api.LockdownList](t, e.must("POST", "/api/lockdowns/"+l.Lockdown.ID+"/lift", `{"comment":"found"}`, "dave", nil)); len(got.Lockdowns) != 0 {
		t.Errorf("left: %+v", got)
	}
	e.create("bob", good)
	events := decode[api.EventList](t, e.must("GET", "/api/events?after=1", "", "audrey", nil)).Events
	if len(events) != 2 || events[0].Kind != "lockdown.set" || events[1].Kind != "lockdown.lifted" || events[1].Name != "dave@contoso.example" {
		t.Errorf("events %+v", events)
	}
}

const demoRules = `{"document":"{apiVersion: jitgate/alerts/v1, rules: [{name: all, when: {rule: [\"*\"]}, do: {revoke: true}}, {name: soc, when: {source: [sentinel]}, allow: [revoke]}]}"}`

// fired is an alert of Azure Monitor about a machine.
func fired(t *testing.T, vm string) string {
	t.Helper()
	text, err := os.ReadFile("../alert/testdata/01-metric-fired.json")
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "/subscriptions/11111111-2222-3333-4444-555555555555/resourcegroups/rg-prod-app/providers/microsoft.compute/virtualmachines/vm-app-01", strings.ToLower(vm))
}

func TestAlertsOverHTTP(t *testing.T) {
	e := newEdge(t)
	e.must("PUT", "/api/alerts/rules", demoRules, "carol", nil)
	monitor := e.bearer(nil, entra.MintOptions{App: "actiongroup"})
	workflow := e.bearer(nil, entra.MintOptions{App: "workflow"})
	receive := func(body string, headers map[string]string) api.AlertReception {
		t.Helper()
		return decode[api.AlertReception](t, e.must("POST", "/api/alerts", body, "", headers))
	}
	foreign, err := os.ReadFile("../alert/testdata/01-metric-fired.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(string(foreign), monitor); got.Status != "ignored" || !strings.Contains(got.Why, "unknown target") {
		t.Errorf("a machine of others: %+v", got)
	}
	if got := receive(fired(t, web01), monitor); got.Status != "accepted" || got.Rule != "all" {
		t.Errorf("%+v", got)
	}
	if got := receive(fired(t, web01), monitor); got.Status != "duplicate" {
		t.Errorf("%+v", got)
	}
	own := `{"source":"sentinel","externalId":"1","action":"revoke","vmResourceId":"` + web01 + `","reason":"x"}`
	if got := receive(own, workflow); got.Status != "accepted" || got.Rule != "soc" {
		t.Errorf("%+v", got)
	}
	legacy, err := os.ReadFile("../alert/testdata/07-extra-legacy-noncommon-metric.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []refusal{
		{"an old schema", "POST", "/api/alerts", string(legacy), "", monitor, 400, "alert_old_schema"},
		{"another schema", "POST", "/api/alerts", `{"schemaId":"x"}`, "", monitor, 400, "alert_unknown_schema"},
		{"no JSON", "POST", "/api/alerts", `alert!`, "", monitor, 400, "alert_malformed"},
		{"nothing", "POST", "/api/alerts", ``, "", monitor, 400, "malformed_body"},
		{"a novel", "POST", "/api/alerts", `{"x":"` + strings.Repeat("x", 512<<10) + `"}`, "", monitor, 413, "body_too_large"},
		{"a workflow as Azure Monitor", "POST", "/api/alerts", fired(t, web01), "", workflow, 403, "role_missing"},
		{"a lockdown that is over", "POST", "/api/alerts", strings.Replace(own, `"revoke"`, `"lockdown","until":"2026-01-01T00:00:00Z"`, 1), "", workflow, 400, "alert_malformed"},
		{"Azure Monitor as a workflow", "POST", "/api/alerts", own, "", monitor, 403, "role_missing"},
	} {
		e.refuses(t, c)
	}
}

// TestAnAlertWhileSomethingIsDown: 503, which Azure Monitor repeats, and not 500, and
// well within the time it waits; the same alert works afterwards.
func TestAnAlertWhileTheStoreIsDown(t *testing.T) {
	e := newEdge(t)
	e.must("PUT", "/api/alerts/rules", demoRules, "carol", nil)
	monitor := e.bearer(nil, entra.MintOptions{App: "actiongroup"})
	e.stack.Tables.SetFaults(func(tables.Op) *tables.Fault {
		return &tables.Fault{Status: 503, Code: "ServerBusy", Message: "The server is busy."}
	}, nil)
	status, header, body := e.call("POST", "/api/alerts", fired(t, web01), "", monitor)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, body)
	}
	e.stack.Tables.SetFaults(nil, nil)
	if got := decode[api.AlertReception](t, e.must("POST", "/api/alerts", fired(t, web01), "", monitor)); got.Status != "accepted" {
		t.Errorf("%+v", got)
	}
}

// TestAzureRBACDecides: whoever has a role on the machine that stands for Jit.Request
// may ask, whatever the token says, and nobody else.
func TestAzureRBACDecides(t *testing.T) {
	e := edgeByRBAC(t)
	e.apply("{apiVersion: jitgate/v1, scope: " + db01 + ", ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}], approval: {}}")
	e.assign("audrey", azureRequester, db01)
	e.assign("dave", azureApprover, group)
	onDB := strings.Replace(good, web01, db01, 1)
	e.refuses(t, refusal{"an app role alone", "POST", "/api/requests", onDB, "alice", nil, 403, "rbac_role_missing"})
	e.refuses(t, refusal{"another machine", "POST", "/api/requests", good, "audrey", nil, 403, "rbac_role_missing"})
	id := e.create("audrey", onDB)
	if err := e.app.Service.Evaluate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	e.refuses(t, refusal{"an approver by app role alone", "POST", "/api/requests/" + id + "/approve", ``, "bob", nil, 403, "approver_not_allowed"})
	nobody := e.bearer(map[string]any{"roles": nil}, entra.MintOptions{User: "dave"})
	e.must("GET", "/api/requests/"+id, "", "", nobody) // who decides may look
	e.refuses(t, refusal{"who does not decide it looks", "GET", "/api/requests/" + id, ``, "alice", nil, 403, "not_your_request"})
	e.must("POST", "/api/requests/"+id+"/approve", `{"comment":"go"}`, "", nobody)
	e.refuses(t, refusal{"no right beyond the machine", "PUT", "/api/policies", `{"document":"x"}`, "dave", nil, 403, "role_missing"})
	e.refuses(t, refusal{"a pipeline", "POST", "/api/requests", good, "", e.bearer(nil, entra.MintOptions{App: "workflow"}), 403, "role_missing"})
}

// TestAPolicyChangeWaitsOverHTTP: 202 and a proposal, which another administrator puts
// in force.
func TestAPolicyChangeWaitsOverHTTP(t *testing.T) {
	e := edgeWith(t, map[string]string{"JITGATE_POLICY_SECOND_ADMIN": "true"})
	status, _, body := e.call("PUT", "/api/policies", `{"document":"{apiVersion: jitgate/v1, scope: tenant, enforced: true, maxDuration: PT30M}"}`, "carol", nil)
	proposed := decode[api.ChangedPolicy](t, body)
	if status != http.StatusAccepted || proposed.Proposal == nil {
		t.Fatalf("%d %s", status, body)
	}
	path := "/api/policies/proposals/" + proposed.Proposal.ID
	e.refuses(t, refusal{"one's own", "POST", path + "/approve", ``, "carol", nil, 403, "own_proposal"})
	other := e.bearer(map[string]any{"roles": []string{"Jit.Admin"}}, entra.MintOptions{User: "dave"})
	if got := decode[api.ChangedPolicy](t, e.must("POST", path+"/approve", "", "", other)); got.Policy == nil || !got.Policy.Enforced {
		t.Errorf("%+v", got)
	}
	e.refuses(t, refusal{"it is decided", "POST", path + "/approve", ``, "", other, 404, "proposal_not_found"})
}

// TestADenialNamesEverything: each unmet condition with its sentence, the policy and
// version that says so, and what would pass.
func TestADenialNamesEverything(t *testing.T) {
	e := newEdge(t)
	e.apply("{apiVersion: jitgate/v1, scope: tenant, enforced: true, maxDuration: PT30M, justification: {required: true, pattern: '^CHG-', message: Start with CHG-.}}")
	_, _, body := e.call("POST", "/api/requests", with("203.0.113.7", "198.51.100.1"), "alice", nil)
	p := decode[api.Problem](t, body)
	codes := map[string]api.Fault{}
	for _, f := range p.Errors {
		codes[f.Code] = f
	}
	for _, code := range []string{"source_not_allowed", "duration_over_policy", "justification_pattern"} {
		if f := codes[code]; f.Detail == "" || f.Policy == "" || f.Passes == "" || f.Field != "targets[0]" || !strings.Contains(f.Policy, "version ") {
			t.Errorf("%s: %+v", code, f)
		}
	}
	asked := decode[api.PolicyAnswers](t, e.must("POST", "/api/policies/explain", with("PT1H", "PT20M"), "alice", nil)).Answers[0]
	if asked.Verdict != "deny" || len(asked.Unmet) != 1 || asked.Unmet[0].Text != "Start with CHG-." {
		t.Errorf("explained: %+v", asked)
	}
}

// TestTheFirstCallOfAll may be the host's, of a function that reads what nobody created.
func TestTheFirstCallOfAll(t *testing.T) {
	e := coldEdge(t, nil)
	if status, _, body := e.call("POST", "/sweep", `{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}`, "", nil); status != http.StatusOK {
		t.Errorf("%d %s: %s", status, body, e.log.String())
	}
}
