package logicapp

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	shipped "jitgate/infra/logicapp"
)

// hostile is a reason that tries to leave its place on the card, to look like a
// link, to be expanded by Teams and to be run by the engine.
const hostile = `"}],"actions":[{"title":"Approve @{listCallbackUrl()} [click](https://evil.example) {{DATE(2027)}} ` + "\n" + `\`

// awaiting is what jitgate sends about a request that waits.
func awaiting(t *testing.T, change func(request map[string]any)) string {
	t.Helper()
	request := map[string]any{
		"id": "0190/a b", "state": "AwaitingApproval", "requester": map[string]any{"object": "alice-oid", "name": "alice@example.org"},
		"source": "203.0.113.7", "duration": "PT1H", "justification": hostile, "decideBy": "2027-03-01T16:00:00Z",
		"targets": []any{
			map[string]any{"vm": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/web01",
				"ports": []any{map[string]any{"port": 22, "protocol": "TCP"}, map[string]any{"port": 443, "protocol": "*"}}},
			map[string]any{"vm": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/db01",
				"ports": []any{map[string]any{"port": 1433, "protocol": "TCP"}}},
		},
	}
	if change != nil {
		change(request)
	}
	text, err := json.Marshal(map[string]any{"event": "request.awaiting-approval", "request": request, "link": "https://jit.example.org/requests/1"})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ask runs the shipped approval workflow; the connector stands for Teams.
func ask(t *testing.T, j *jitgate, teams Connector, body string) (rig, *Run) {
	t.Helper()
	w := load(t, shipped.Approval, approvalParameters(j.URL))
	w.Enabled = true
	g := start(t, w, Engine{
		Verify:     func(context.Context, string) (map[string]any, error) { return callerClaims(), nil },
		Connectors: map[string]Connector{"teams": Teams(teams)},
	})
	status, _, answer := g.post(g.app.TriggerURL(), body, "Authorization", "Bearer good")
	if status != http.StatusAccepted || answer != "" {
		t.Fatal(status, answer)
	}
	return g, g.run(1)
}

// pressed answers as Teams does when somebody presses a button.
func pressed(decision string) Connector {
	return func(context.Context, map[string]any) (any, error) {
		return map[string]any{"data": map[string]any{"decision": decision, "comment": "fine \"by\" me"},
			"responder": map[string]any{"objectId": "bob-oid", "displayName": "Bob"}}, nil
	}
}

func TestApprovalPostsTheDecision(t *testing.T) {
	for _, decision := range []string{"approve", "deny"} {
		t.Run(decision, func(t *testing.T) {
			j := newJitgate(t)
			j.reader = false // Jit.Decide.Workflow reads nothing: the 202 must not be followed
			g, r := ask(t, j, pressed(decision), awaiting(t, nil))
			g.ends(r, Succeeded)
			calls := j.received()
			if len(calls) != 1 || calls[0].path != "/api/requests/0190%2Fa%20b/"+decision {
				t.Fatalf("calls: %v", calls)
			}
			want := map[string]any{"comment": `fine "by" me`, "approver": map[string]any{"object": "bob-oid", "name": "Bob"}}
			if d := cmp.Diff(want, decoded(t, calls[0].body)); d != "" {
				t.Error(d)
			}
			if calls[0].header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Error(calls[0].header)
			}
		})
	}
}

func simpleID(request map[string]any) { request["id"] = "0190" }

func TestApprovalCard(t *testing.T) {
	j := newJitgate(t)
	var inputs map[string]any
	g, r := ask(t, j, func(ctx context.Context, in map[string]any) (any, error) {
		inputs = in
		return pressed("deny")(ctx, in)
	}, awaiting(t, simpleID))
	g.ends(r, Succeeded)
	if d := cmp.Diff([]string{`deny|0190|bob-oid|Bob|fine "by" me`}, j.decisions); d != "" {
		t.Error(d)
	}

	if inputs["path"] != "/v1.0/teams/conversation/gatherinput/poster/Flow bot/location/Channel/$subscriptions" {
		t.Error(inputs["path"])
	}
	body := inputs["body"].(map[string]any)
	if !strings.Contains(body["notificationUrl"].(string), "&sig=") {
		t.Error("no callback URL:", body["notificationUrl"])
	}
	message := body["body"].(map[string]any)
	if d := cmp.Diff("Your answer goes to jitgate, which checks that it counts. See what became of the request: https://jit.example.org/requests/1", message["updateMessage"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"groupId": "group-1", "channelId": "19:channel@thread.tacv2"}, message["recipient"]); d != "" {
		t.Error(d)
	}
	card, isObject := decoded(t, message["messageBody"].(string)).(map[string]any)
	if !isObject {
		t.Fatal(message["messageBody"])
	}
	var lines []string
	var walk func(v any)
	walk = func(v any) {
		m, _ := v.(map[string]any)
		if m["type"] == "TextBlock" || m["type"] == "FactSet" {
			t.Errorf("%v reads Markdown", m["type"])
		}
		line := ""
		for _, run := range list(m["inlines"]) {
			line += run.(map[string]any)["text"].(string)
		}
		if line != "" {
			lines = append(lines, line)
		}
		for _, inner := range append(list(m["body"]), list(m["items"])...) {
			walk(inner)
		}
	}
	walk(card)
	want := []string{"Access to virtual machines is asked for", "Who: alice@example.org", "From: 203.0.113.7", "For: PT1H", "Answer until: 2027-03-01T16:00:00Z",
		"web01 [22 TCP,443 *]", "db01 [1433 TCP]", "The requester's reason", strings.ReplaceAll(hostile, "{", "{\u2060")}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{`["Action.Submit","Approve",{"decision":"approve"},null]`, `["Action.Submit","Deny",{"decision":"deny"},null]`,
		`["Action.OpenUrl","Open in jitgate",null,"https://jit.example.org/requests/1"]`}, buttons(card)); d != "" {
		t.Error(d)
	}
}

func buttons(card map[string]any) (all []string) {
	for _, a := range list(card["actions"]) {
		m := a.(map[string]any)
		all = append(all, string(encode([]any{m["type"], m["title"], m["data"], m["url"]})))
	}
	return all
}

// TestApprovalWithoutALink: JITGATE_REQUEST_LINK is not set. The card has no button that
// leads nowhere, for which Teams would refuse all of it.
func TestApprovalWithoutALink(t *testing.T) {
	j := newJitgate(t)
	var message map[string]any
	g, r := ask(t, j, func(ctx context.Context, in map[string]any) (any, error) {
		message = in["body"].(map[string]any)["body"].(map[string]any)
		return pressed("approve")(ctx, in)
	}, strings.Replace(awaiting(t, simpleID), `"https://jit.example.org/requests/1"`, `""`, 1))
	g.ends(r, Succeeded)
	card := decoded(t, message["messageBody"].(string)).(map[string]any)
	if d := cmp.Diff([]string{`["Action.Submit","Approve",{"decision":"approve"},null]`, `["Action.Submit","Deny",{"decision":"deny"},null]`}, buttons(card)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff("Your answer goes to jitgate, which checks that it counts.", message["updateMessage"]); d != "" {
		t.Error(d)
	}
}

func TestTeamsRefusesCards(t *testing.T) {
	teams := Teams(pressed("approve"))
	for card, want := range map[string]string{
		`{"type":"AdaptiveCard","actions":[{"type":"Action.Submit"},{"type":"Action.OpenUrl","url":"https://jit.example.org/1"}]}`: "",
		`{"type":"AdaptiveCard","actions":[{"type":"Action.OpenUrl","url":""}]}`:                                                   "not an absolute URL",
		`{"type":"AdaptiveCard","actions":[{"type":"Action.OpenUrl"}]}`:                                                            "not an absolute URL",
		`{"type":"AdaptiveCard","actions":[{"type":"Action.OpenUrl","url":"/requests/1"}]}`:                                        "not an absolute URL",
		`{"type":"AdaptiveCard","actions":[{"type":"Action.OpenUrl","url":"javascript:alert(1)"}]}`:                                "not an absolute URL",
		`{"type":"AdaptiveCard","actions":[null]}`:                                                                                 "not supported",
		`{"type":"AdaptiveCard","actions":{}}`:                                                                                     "not an Adaptive Card",
		`{"type":"message"}`:                                                                                                       "not an Adaptive Card",
		`"}`:                                                                                                                       "not JSON",
	} {
		_, err := teams(t.Context(), map[string]any{"body": map[string]any{"body": map[string]any{"messageBody": card}}})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", card, err, want)
		}
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func TestApprovalWithoutAReason(t *testing.T) {
	j := newJitgate(t)
	card := ""
	g, r := ask(t, j, func(ctx context.Context, in map[string]any) (any, error) {
		card = string(encode(in))
		return pressed("approve")(ctx, in)
	}, awaiting(t, func(request map[string]any) { simpleID(request); delete(request, "justification") }))
	g.ends(r, Succeeded)
	if !strings.Contains(card, "none given") {
		t.Error(card)
	}
}

// TestApprovalHistoryTellsNothing: whoever may read the runs sees no callback URL, no
// reason and no comment.
func TestApprovalHistoryTellsNothing(t *testing.T) {
	j := newJitgate(t)
	secrets := []string{"evil.example", "by\\\" me", "alice@example.org"}
	g, r := ask(t, j, func(ctx context.Context, in map[string]any) (any, error) {
		secrets = append(secrets, in["body"].(map[string]any)["notificationUrl"].(string))
		return pressed("approve")(ctx, in)
	}, awaiting(t, simpleID))
	g.ends(r, Succeeded)
	history, err := normal(r.History())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(secrets, "&sig=") {
		if strings.Contains(string(encode(history)), secret) {
			t.Errorf("the history shows %q", secret)
		}
	}
	if n := strings.Count(string(encode(history)), Hidden); n < 8 {
		t.Errorf("only %d things are hidden; does the history hold anything?", n)
	}
}

func TestApprovalThatNobodyAnswers(t *testing.T) {
	j := newJitgate(t)
	g, r := ask(t, j, func(ctx context.Context, _ map[string]any) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, awaiting(t, simpleID))
	g.after(r, "Ask_in_Teams", 1, 4*time.Hour-time.Second)
	if got := r.Status(); got != Running {
		t.Error("a second too early:", got)
	}
	g.clock.Advance(time.Second)
	g.ends(r, Cancelled)
	g.action(r, "Ask_in_Teams", TimedOut, "ActionTimedOut")
	g.action(r, "Post_decision", Skipped, "")
	if calls := j.received(); len(calls) != 0 {
		t.Errorf("posted: %v", calls)
	}
}

func TestApprovalThatDecidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		teams  Connector
		status Status
	}{
		"another word": {pressed("approve/../../policies"), Failed},
		"no data":      {func(context.Context, map[string]any) (any, error) { return map[string]any{}, nil }, Failed},
		"Teams fails":  {func(context.Context, map[string]any) (any, error) { return nil, errNo }, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJitgate(t)
			g, r := ask(t, j, c.teams, awaiting(t, simpleID))
			g.ends(r, c.status)
			if calls := j.received(); len(calls) != 0 {
				t.Errorf("posted: %v", calls)
			}
		})
	}
}

// TestApprovalByNobodyKnown: if Teams does not say who pressed the button, jitgate
// hears null and refuses; the run shows that.
func TestApprovalByNobodyKnown(t *testing.T) {
	j := newJitgate(t)
	g, r := ask(t, j, func(context.Context, map[string]any) (any, error) {
		return map[string]any{"data": map[string]any{"decision": "approve"}}, nil
	}, awaiting(t, simpleID))
	g.ends(r, Failed)
	g.action(r, "Post_decision", Failed, "ActionFailed")
	if len(j.decisions) != 0 {
		t.Error(j.decisions)
	}
	if d := cmp.Diff(map[string]any{"comment": "", "approver": map[string]any{"object": nil, "name": ""}}, decoded(t, j.received()[0].body)); d != "" {
		t.Error(d)
	}
}

func TestApprovalWhenJitgateIsAway(t *testing.T) {
	j := newJitgate(t)
	j.lose = 1
	g, r := ask(t, j, pressed("approve"), awaiting(t, simpleID))
	g.after(r, "Post_decision", 1, 7500*time.Millisecond)
	g.ends(r, Succeeded)
	if n := len(j.received()); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestApprovalRefusesOtherEvents(t *testing.T) {
	w := load(t, shipped.Approval, approvalParameters("https://jit"))
	w.Enabled = true
	g := start(t, w, Engine{Verify: func(context.Context, string) (map[string]any, error) { return callerClaims(), nil }})
	for name, body := range map[string]string{
		"another event": strings.Replace(awaiting(t, nil), "request.awaiting-approval", "request.approved", 1),
		"another state": awaiting(t, func(request map[string]any) { request["state"] = "Approved" }),
		"no requester":  awaiting(t, func(request map[string]any) { delete(request, "requester") }),
		"a text port":   strings.Replace(awaiting(t, nil), `"port":22`, `"port":"22"`, 1),
		"no link":       strings.Replace(awaiting(t, nil), `"link"`, `"url"`, 1),
	} {
		if status, _, answer := g.post(g.app.TriggerURL(), body, "Authorization", "Bearer good"); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if n := len(g.app.Runs()); n != 0 {
		t.Errorf("%d runs", n)
	}
}
