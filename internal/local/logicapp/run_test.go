package logicapp

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBranches(t *testing.T) {
	const actions = `"Is":{"type":"If","expression":{"and":[{"not":{"equals":["@triggerBody()?['word']","no"]}},"@equals(triggerBody()?['n'], 1)"]},
"actions":{"Yes":{"type":"Compose","inputs":"yes","runAfter":{}}},
"else":{"actions":{"No":{"type":"Compose","inputs":"no","runAfter":{}},"Stop":{"type":"Terminate","inputs":{"runStatus":"Failed","runError":{"code":"C"}},"runAfter":{"No":["Succeeded"]}}}},"runAfter":{}},
"After":{"type":"Compose","inputs":"@outputs('Yes')","runAfter":{"Is":["Succeeded"]}}`
	for body, want := range map[string]struct {
		run                Status
		yes, no, after, is Status
	}{
		`{"word":"x","n":1}`:  {Succeeded, Succeeded, Skipped, Succeeded, Succeeded},
		`{"word":"no","n":1}`: {Failed, Skipped, Succeeded, Skipped, Succeeded},
		`{"word":"x","n":2}`:  {Failed, Skipped, Succeeded, Skipped, Succeeded},
	} {
		g := start(t, load(t, definition(actions), nil), Engine{})
		g.post(g.app.TriggerURL(), body)
		r := g.run(1)
		g.ends(r, want.run)
		got := []Status{r.Action("Yes").Status, r.Action("No").Status, r.Action("After").Status, r.Action("Is").Status}
		if d := cmp.Diff([]Status{want.yes, want.no, want.after, want.is}, got); d != "" {
			t.Errorf("%s: %s", body, d)
		}
	}
}

func TestSelect(t *testing.T) {
	g := start(t, load(t, definition(`"S":{"type":"Select","inputs":{"from":"@triggerBody()","select":{"x":"@{item()['a']}!"}},"runAfter":{}},
"C":{"type":"Compose","inputs":{"all":"@body('S')"},"runAfter":{"S":["Succeeded"]}}`), nil), Engine{})
	for i, c := range []struct {
		body string
		run  Status
		want any
	}{
		{`[{"a":1},{"a":"b"}]`, Succeeded, map[string]any{"all": []any{map[string]any{"x": "1!"}, map[string]any{"x": "b!"}}}},
		{`[]`, Succeeded, map[string]any{"all": []any{}}},
		{`{"a":1}`, Failed, nil},
		{`[{"b":1}]`, Failed, nil},
	} {
		g.post(g.app.TriggerURL(), c.body)
		r := g.run(i + 1)
		g.ends(r, c.run)
		if d := cmp.Diff(c.want, r.Action("C").Outputs); d != "" {
			t.Errorf("%s: %s", c.body, d)
		}
	}
}

func TestHistoryHidesWhatIsSecured(t *testing.T) {
	const secured = `"runtimeConfiguration":{"secureData":{"properties":["inputs"]}},`
	g, r := launch(t, "", `"A":{"type":"Compose",`+secured+`"inputs":"secret","runAfter":{}},
"B":{"type":"Compose","inputs":"@concat(outputs('A'), '!')","runAfter":{"A":["Succeeded"]}}`)
	g.ends(r, Succeeded)
	a, b := r.Action("A"), r.Action("B")
	if a.Inputs != Hidden || a.Outputs != Hidden {
		t.Errorf("A shows %v and %v", a.Inputs, a.Outputs)
	}
	if b.Outputs != "secret!" { // hiding goes no further than it says
		t.Errorf("B shows %v", b.Outputs)
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct {
		name, actions string
		status        int
		body          string
	}{
		{"none", `"A":{"type":"Compose","inputs":1,"runAfter":{}}`, 202, ""},
		{"an object", `"A":{"type":"Response","kind":"Http","inputs":{"statusCode":201,"headers":{"X-A":"1"},"body":{"a":"@triggerBody()"}},"runAfter":{}}`, 201, `{"a":{}}`},
		{"before a failure", `"A":{"type":"Response","kind":"Http","inputs":{"statusCode":202},"runAfter":{}},"B":{"type":"Http","inputs":{},"runAfter":{"A":["Succeeded"]}}`, 202, ""},
		{"never reached", `"B":{"type":"Http","inputs":{},"runAfter":{}},"A":{"type":"Response","kind":"Http","inputs":{"statusCode":202},"runAfter":{"B":["Succeeded"]}}`, 502, "NoResponse"},
		{"no status", `"A":{"type":"Response","kind":"Http","inputs":{"statusCode":"@triggerBody()?['x']"},"runAfter":{}}`, 502, "NoResponse"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t, load(t, definition(c.actions), nil), Engine{})
			status, _, body := g.post(g.app.TriggerURL(), `{}`)
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

func TestOneResponseOnly(t *testing.T) {
	const response = `{"type":"Response","kind":"Http","inputs":{"statusCode":200},"runAfter":`
	g, r := launchAny(t, `"A":`+response+`{}},"B":`+response+`{"A":["Succeeded"]}}`)
	g.ends(r, Failed)
	g.action(r, "B", Failed, "ActionResponseConflict")
}

func launchAny(t *testing.T, actions string) (rig, *Run) {
	t.Helper()
	g := start(t, load(t, definition(actions), nil), Engine{})
	g.post(g.app.TriggerURL(), `{}`)
	return g, g.run(1)
}

func TestAsynchronousResponse(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(_ int, _ heard, w http.ResponseWriter) { <-release; reply(w, 200, `{"state":"Active"}`) })
	g := start(t, load(t, definition(getter+`,"A":{"type":"Response","kind":"Http","operationOptions":"Asynchronous","inputs":{"statusCode":200,"body":"@body('Get')"},"runAfter":{"Get":["Succeeded"]}}`),
		map[string]any{"url": s.URL}), Engine{})
	status, headers, _ := g.post(g.app.TriggerURL(), `{}`)
	location := headers.Get("Location")
	if status != http.StatusAccepted || headers.Get("Retry-After") == "" {
		t.Fatal(status, headers)
	}
	if status, headers, _ := g.send("GET", location, ""); status != http.StatusAccepted || headers.Get("Location") == "" {
		t.Error("while it runs:", status)
	}
	if status, _, _ := g.send("GET", location[:len(location)-2], ""); status != http.StatusUnauthorized {
		t.Error("without the right signature:", status)
	}
	close(release)
	g.ends(g.run(1), Succeeded)
	for range 2 {
		if status, _, body := g.send("GET", location, ""); status != 200 || body != `{"state":"Active"}` {
			t.Error("at the end:", status, body)
		}
	}
}

func TestCancel(t *testing.T) {
	g := start(t, load(t, definition(`"Ask":{"type":"ApiConnectionWebhook","inputs":{"host":{"connection":{"name":"@parameters('url')"}}},"runAfter":{}},
"Next":{"type":"Compose","inputs":1,"runAfter":{"Ask":["Succeeded","Failed","TimedOut","Skipped"]}}`), nil), Engine{})
	g.app.workflow.parameters = map[string]any{"url": "id", "$connections": map[string]any{"c": map[string]any{"connectionId": "id", "id": "/x/managedApis/teams"}}}
	ended := make(chan struct{})
	g.app.engine.Connectors = map[string]Connector{"teams": func(ctx context.Context, _ map[string]any) (any, error) {
		defer close(ended)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	g.post(g.app.TriggerURL(), `{}`)
	r := g.run(1)
	if err := r.AwaitWait(g.ctx(), "Ask", 1); err != nil {
		t.Fatal(err)
	}
	r.Cancel()
	g.ends(r, Cancelled)
	g.action(r, "Ask", Cancelled, "ActionCancelled")
	g.action(r, "Next", Skipped, "")
	<-ended // the connector was told
	if err := r.AwaitWait(g.ctx(), "Ask", 2); err == nil {
		t.Error("an action that is over waits again")
	}
}

func TestConnections(t *testing.T) {
	for name, c := range map[string]struct {
		connection string
		connector  Connector
		status     Status
		code       string
	}{
		"answered":      {"id", func(context.Context, map[string]any) (any, error) { return map[string]int{"a": 1}, nil }, Succeeded, ""},
		"failed":        {"id", func(context.Context, map[string]any) (any, error) { return nil, errNo }, Failed, "BadGateway"},
		"no connection": {"other", nil, Failed, "InvalidTemplate"},
		"no connector":  {"id", nil, Failed, "InvalidTemplate"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, load(t, definition(`"Ask":{"type":"ApiConnectionWebhook","inputs":{"host":{"connection":{"name":"@parameters('url')"}}},"runAfter":{}}`), nil),
				Engine{Connectors: map[string]Connector{"teams": c.connector}})
			g.app.workflow.parameters = map[string]any{"url": c.connection, "$connections": map[string]any{"c": map[string]any{"connectionId": "id", "id": "/x/managedApis/teams"}}}
			g.post(g.app.TriggerURL(), `{}`)
			r := g.run(1)
			g.ends(r, map[bool]Status{true: Succeeded, false: Failed}[c.status == Succeeded])
			g.action(r, "Ask", c.status, c.code)
		})
	}
}
