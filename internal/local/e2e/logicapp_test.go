package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	shipped "jitgate/infra/logicapp"
	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local"
	"jitgate/internal/local/entra"
	"jitgate/internal/local/logicapp"
)

// The audience of the tokens that jitgate shows to workflows.
const workflowAudience = "api://jitgate-workflows"

// approver is who presses the button in Teams; policy names the workflow, whose word
// counts for them.
const approver = "da7e0000-0000-4000-8000-000000000005"

// TestShippedWorkflows runs the Logic Apps that customers import against the built
// handler: jitgate calls the one that asks in Teams, which posts the decision; one that
// asks for access is called back, another polls.
func TestShippedWorkflows(t *testing.T) {
	t.Parallel()
	var stack atomic.Pointer[local.Stack]
	// Workflows are told where jitgate is before it can be up, as in Azure.
	front := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(stack.Load().Env["JITGATE_URL"])
		if err != nil {
			t.Error(err)
			return
		}
		r.SetURL(to)
		r.Out.Host = r.In.Host // Location has to lead here
		r.Out.Header.Set("X-Forwarded-Proto", "http")
	}})
	t.Cleanup(front.Close)
	identity := func(app string) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) {
			return stack.Load().Entra.AppToken(stack.Load().Env["JITGATE_ENTRA_URL"], app)
		}
	}
	run := func(document []byte, parameters map[string]any, e logicapp.Engine, name string) *logicapp.App {
		t.Helper()
		w, err := logicapp.Load(document, parameters)
		if err != nil {
			t.Fatal(err)
		}
		w.Enabled = true
		app, err := e.Start(t.Context(), w, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(app.Close)
		return app
	}
	var pressed atomic.Int32
	approval := run(shipped.Approval, map[string]any{
		"jitBaseUrl": front.URL, "jitAudience": local.Audience, "jitCallerObjectId": entra.IdentityObjectID,
		"triggerAudience": workflowAudience, "triggerIssuer": "https://sts.windows.net/" + local.TenantID + "/", "teamsGroupId": "g", "teamsChannelId": "c",
	}, logicapp.Engine{
		Token:  identity("workflow"),
		Verify: func(_ context.Context, token string) (map[string]any, error) { return verified(stack.Load(), token) },
		Connectors: map[string]logicapp.Connector{"teams": logicapp.Teams(func(context.Context, map[string]any) (any, error) {
			decision := "approve"
			if pressed.Add(1) > 2 {
				decision = "deny"
			}
			return map[string]any{"data": map[string]any{"decision": decision, "comment": "from Teams"},
				"responder": map[string]any{"objectId": approver, "displayName": "Dave"}}, nil
		})},
	}, "approval")
	own := map[string]any{"jitBaseUrl": front.URL, "jitAudience": local.Audience}
	webhook := run(shipped.RequestWebhook, own, logicapp.Engine{Token: identity("runner")}, "webhook")
	polling := run(shipped.Request, own, logicapp.Engine{Token: identity("runner")}, "polling")

	channels, err := json.Marshal([]map[string]any{{"name": "flow", "kind": "logicapp-trigger", "url": approval.TriggerURL(), "for": []string{"approvals"}}})
	if err != nil {
		t.Fatal(err)
	}
	stack.Store(start(t, local.Options{Settings: map[string]string{"JITGATE_CHANNELS": string(channels), "JITGATE_WORKFLOW_AUDIENCE": workflowAudience}}))
	carol := as(stack.Load(), "carol")
	workflow := entra.Applications()[slices.IndexFunc(entra.Applications(), func(a entra.Application) bool { return a.Name == "workflow" })].ObjectID
	if _, err := carol.ApplyPolicy(t.Context(), `{apiVersion: jitgate/v1, scope: `+group+`, ports: [{port: 22, protocol: TCP}], sources: [{range: 203.0.113.0/24}],
approval: {approvers: {applications: [`+workflow+`]}, quorum: 1}}`); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name  string
		app   *logicapp.App
		vm    string
		state string
	}{{"called back", webhook, "web01", "Active"}, {"polling", polling, "db01", "Active"}, {"refused in Teams", polling, "app01", "Rejected"}} {
		body := fmt.Sprintf(`{"targets":[{"vm":%q,"ports":[{"port":22,"protocol":"TCP"}]}],"source":%q,"duration":"PT1H","justification":"INC-1"}`, vmID(c.vm), inside)
		n := len(c.app.Runs()) + 1
		response, err := http.Post(c.app.TriggerURL(), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		r, err := c.app.Run(ctx, n)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		status, err := r.Wait(ctx)
		cancel()
		if err != nil || status != logicapp.Succeeded {
			t.Fatalf("%s: the run ends as %s, %v: %+v", c.name, status, err, r.History())
		}
		page := list(t, stack.Load(), vmID(c.vm))
		if len(page) != 1 || page[0].State != c.state {
			t.Fatalf("%s: %+v, want one request that is %s", c.name, page, c.state)
		}
		if v := page[0].Votes; c.state == "Active" && (len(v) != 1 || v[0].By.Object != approver || v[0].Via == nil || v[0].Via.Object != workflow) {
			t.Errorf("%s: votes %+v", c.name, v)
		}
	}
	if n := len(approval.Runs()); n != 3 {
		t.Errorf("Teams was asked %d times, want once for each request", n)
	}
}

func list(t *testing.T, stack *local.Stack, vm string) []api.Request {
	t.Helper()
	page, err := as(stack, "carol").List(t.Context(), client.Filter{VM: vm})
	if err != nil {
		t.Fatal(err)
	}
	return page.Requests
}

// verified returns the claims of a token that the Entra stand-in has signed for
// workflows.
func verified(stack *local.Stack, token string) (map[string]any, error) {
	if err := stack.Entra.Verify(token, workflowAudience); err != nil {
		return nil, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	return claims, json.Unmarshal(payload, &claims)
}
