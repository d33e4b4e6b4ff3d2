package functions_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"jitgate/internal/app"
)

type binding struct {
	Type, Direction, Name, Route, AuthLevel, Connection, QueueName, Cardinality, DataType string
	Methods                                                                               []string
	IsSessionsEnabled, AutoCompleteMessages                                               bool
}

type function struct {
	Name    string
	Trigger binding
	Out     []binding
}

// load reads every function.json as the host would and refuses what it does not
// know, since the host ignores misspelt properties without a word.
func load(t *testing.T) []function {
	t.Helper()
	files, err := filepath.Glob("*/function.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no function.json found: %v", err)
	}
	var all []function
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var content struct{ Bindings []map[string]any }
		if err := json.Unmarshal(text, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		f := function{Name: filepath.Dir(file)}
		for _, raw := range content.Bindings {
			for _, timer := range []string{"schedule", "runOnStartup", "useMonitor"} {
				if raw["type"] == "timerTrigger" {
					delete(raw, timer)
				}
			}
			again, _ := json.Marshal(raw)
			d := json.NewDecoder(strings.NewReader(string(again)))
			d.DisallowUnknownFields()
			var b binding
			if err := d.Decode(&b); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if strings.HasSuffix(b.Type, "Trigger") {
				f.Trigger = b
			} else {
				f.Out = append(f.Out, b)
			}
		}
		all = append(all, f)
	}
	return all
}

var fixedWord = regexp.MustCompile(`^(api|portal|subscriptions|metadata)(/|$)`)

// TestNoPublicPathReachesAnInnerFunction: the host invokes queue and timer functions
// by POST to "/<name>" on the handler's port and passes HTTP calls on under their
// full path, so a route that could spell such a path would let anybody post a
// forged invocation.
func TestNoPublicPathReachesAnInnerFunction(t *testing.T) {
	prefix := routePrefix(t)
	if prefix != "" {
		t.Fatalf("routePrefix is %q; the routes below are written for an empty one", prefix)
	}
	functions := load(t)
	for _, f := range functions {
		if f.Trigger.Type != "httpTrigger" {
			continue
		}
		route := strings.ToLower(f.Trigger.Route)
		if !fixedWord.MatchString(route) {
			t.Errorf("%s: route %q does not start with a fixed word", f.Name, f.Trigger.Route)
		}
		first, _, _ := strings.Cut(route, "/")
		for _, other := range functions {
			if strings.EqualFold(first, other.Name) || strings.Contains(first, "{") {
				t.Errorf("%s: route %q could spell the path of function %s", f.Name, f.Trigger.Route, other.Name)
			}
		}
		if len(f.Out) != 1 || f.Out[0].Type != "http" {
			t.Errorf("%s: without exactly one http output the host would not pass HTTP through", f.Name)
		}
		if f.Trigger.AuthLevel != "anonymous" {
			t.Errorf("%s: authLevel %q; the handler checks tokens itself", f.Name, f.Trigger.AuthLevel)
		}
	}
}

// TestQueuesAreBoundAsTheHandlerExpects: binary data keeps body properties from
// overwriting metadata, and sessions are what makes one writer per NSG, and one teller per request.
func TestQueuesAreBoundAsTheHandlerExpects(t *testing.T) {
	want := map[string]binding{
		"evaluate": {QueueName: "requests"},
		"enforce":  {QueueName: "nsgs", IsSessionsEnabled: true},
		"notify":   {QueueName: "notices", IsSessionsEnabled: true},
	}
	for _, f := range load(t) {
		if f.Trigger.Type != "serviceBusTrigger" {
			continue
		}
		w, known := want[f.Name]
		b := f.Trigger
		if !known || b.QueueName != w.QueueName || b.IsSessionsEnabled != w.IsSessionsEnabled || b.Cardinality != "one" ||
			b.DataType != "binary" || b.Name != "message" || b.Connection != "JITGATE_SERVICEBUS" || !b.AutoCompleteMessages {
			t.Errorf("%s: %+v", f.Name, b)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

// TestEveryOperationHasItsFunction: an operation whose path or method no function
// routes would answer 404 in Azure and work in every other test.
func TestEveryOperationHasItsFunction(t *testing.T) {
	a, err := app.New(app.Config{
		TenantIDs: []string{"11111111-1111-1111-1111-111111111111"}, Audiences: []string{"a"}, ARMEndpoint: "https://management.azure.com", ARMAudience: "https://management.azure.com",
		ServiceBus: "Endpoint=sb://127.0.0.1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true",
		Tables:     "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:1/a;",
	}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	functions := load(t)
	paths := a.API.OpenAPI().Paths
	if len(paths) < 12 {
		t.Fatalf("only %d paths", len(paths))
	}
	for path, item := range paths {
		for method, op := range map[string]bool{"get": item.Get != nil, "post": item.Post != nil, "put": item.Put != nil, "delete": item.Delete != nil, "patch": item.Patch != nil} {
			if !op {
				continue
			}
			served := slices.ContainsFunc(functions, func(f function) bool {
				route := "/" + strings.TrimSuffix(f.Trigger.Route, "{*path}")
				return f.Trigger.Type == "httpTrigger" && slices.Contains(f.Trigger.Methods, method) &&
					(path == strings.TrimSuffix(route, "/") || strings.HasPrefix(path, route))
			})
			if !served {
				t.Errorf("%s %s: no function.json routes it", method, path)
			}
		}
	}
}

func routePrefix(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../host.json")
	if err != nil {
		t.Fatal(err)
	}
	var host struct {
		Extensions struct {
			HTTP struct{ RoutePrefix *string } `json:"http"`
		}
	}
	if err := json.Unmarshal(text, &host); err != nil {
		t.Fatal(err)
	}
	if host.Extensions.HTTP.RoutePrefix == nil {
		return "api" // the host's default
	}
	return *host.Extensions.HTTP.RoutePrefix
}
