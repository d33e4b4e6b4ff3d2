package app_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/app"
	"jitgate/internal/local"
)

const (
	group = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo"
	web01 = group + "/providers/Microsoft.Compute/virtualMachines/web01"
)

// edge is the app in this process, in front of the stand-ins, without a host: what
// it queues stays in the queue.
type edge struct {
	t     *testing.T
	stack *local.Stack
	app   *app.App
	url   string
	log   *logBook
}

// logBook keeps what the app logs.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	return edgeWith(t, nil)
}

// edgeWith adds app settings to the stack's own.
func edgeWith(t *testing.T, more map[string]string) *edge {
	t.Helper()
	e := coldEdge(t, more)
	document, err := os.ReadFile("../../docs/examples/demo-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := json.Marshal(api.NewPolicy{Document: string(document)})
	if status, _, answer := e.call("PUT", "/api/policies", string(body), "carol", nil); status > http.StatusAccepted {
		t.Fatalf("apply the policy: %d %s", status, answer)
	}
	return e
}

// coldEdge was never called, and its store is empty.
func coldEdge(t *testing.T, more map[string]string) *edge {
	t.Helper()
	stack, err := local.Start(t.Context(), local.Options{Parts: []string{local.ServiceBus, local.Tables, local.Entra, local.ARM}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stack.Close)
	settings := maps.Clone(stack.Settings)
	settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1" // httptest listens
	settings["JITGATE_SUSPECT_DENIALS"] = "0"      // a denial that is remembered is a trace
	maps.Copy(settings, more)
	if strings.Contains(settings["JITGATE_TENANT_ID"], ",") {
		settings["JITGATE_ISSUER"] = strings.Replace(settings["JITGATE_ISSUER"], local.TenantID, "{tenantid}", 1)
	}
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_TOKEN_CREDENTIALS"} {
		t.Setenv(name, settings[name]) // azidentity reads the environment of the process
	}
	config, err := app.Load(settings)
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, stack: stack, log: &logBook{}}
	a, err := app.New(config, slog.New(slog.NewJSONHandler(e.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	e.app = a
	server := httptest.NewServer(a)
	t.Cleanup(func() { server.Close(); _ = a.Close(context.Background()) })
	e.url = server.URL
	return e
}

func (e *edge) token(user string) string {
	e.t.Helper()
	token, err := e.stack.Entra.UserToken(e.stack.Env["JITGATE_ENTRA_URL"], user)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// call makes a call as a demo user ("" = without a token; a header set in headers
// wins) and returns status, headers and body.
func (e *edge) call(method, path, body, user string, headers map[string]string) (int, http.Header, string) {
	e.t.Helper()
	r, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		r.Header.Set("Authorization", "Bearer "+e.token(user))
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// traces counts what calls have left in store and queues.
func (e *edge) traces() map[string]int {
	e.t.Helper()
	out := map[string]int{}
	for kind, n := range e.stack.Tables.Counts() {
		if kind != "get" && kind != "query" {
			out["tables "+kind] = n
		}
	}
	for _, queue := range []string{"requests", "nsgs"} {
		c, err := e.stack.ServiceBus.Count(queue)
		if err != nil {
			e.t.Fatal(err)
		}
		out[queue] = c.Active + c.Scheduled + c.Locked + c.DeadLetter
	}
	return out
}
