package logicapp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

const audience = "api://jitgate"

// heard is what a server received.
type heard struct {
	method, path string
	header       http.Header
	body         string
}

func (c heard) String() string { return c.method + " " + c.path + " " + c.body }

// script is an API that answers call after call; the last answer repeats.
type script struct {
	*httptest.Server
	mu    sync.Mutex
	calls []heard
}

func serve(t *testing.T, answer func(n int, c heard, w http.ResponseWriter)) *script {
	t.Helper()
	s := &script{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		c := heard{q.Method, q.URL.EscapedPath(), q.Header, string(body)}
		s.mu.Lock()
		s.calls = append(s.calls, c)
		n := len(s.calls)
		s.mu.Unlock()
		answer(n, c, w)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) received() []heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]heard(nil), s.calls...)
}

func reply(w http.ResponseWriter, status int, body string) {
	if body != "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// definition is a workflow with these actions, and a trigger that lets anything in.
func definition(actions string) []byte {
	return []byte(`{"$schema":"https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
"parameters":{"url":{"type":"String","defaultValue":""}},
"triggers":{"manual":{"type":"Request","kind":"Http","inputs":{}}},"actions":{` + actions + `}}`)
}

// rig is a running workflow and the clock it goes by.
type rig struct {
	t     *testing.T
	app   *App
	clock *clockwork.FakeClock
}

func (g rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(g.t.Context(), 20*time.Second)
	g.t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, w *Workflow, e Engine) rig {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	e.Clock = clock
	if e.Token == nil {
		e.Token = func(_ context.Context, audience string) (string, error) { return "token for " + audience, nil }
	}
	app, err := e.Start(t.Context(), w, "flow")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(app.Close)
	return rig{t, app, clock}
}

func load(t *testing.T, document []byte, parameters map[string]any) *Workflow {
	t.Helper()
	w, err := Load(document, parameters)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// launch starts a workflow made of actions, calls it and returns the run.
func launch(t *testing.T, url, actions string) (rig, *Run) {
	t.Helper()
	g := start(t, load(t, definition(actions), map[string]any{"url": url}), Engine{})
	if status, _, body := g.post(g.app.TriggerURL(), `{}`); status != http.StatusAccepted {
		t.Fatal(status, body)
	}
	return g, g.run(1)
}

func (g rig) run(n int) *Run {
	g.t.Helper()
	r, err := g.app.Run(g.ctx(), n)
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// post sends JSON; headers are pairs.
func (g rig) post(url, body string, headers ...string) (int, http.Header, string) {
	g.t.Helper()
	return g.send(http.MethodPost, url, body, headers...)
}

func (g rig) send(method, url, body string, headers ...string) (int, http.Header, string) {
	g.t.Helper()
	q, err := http.NewRequestWithContext(g.ctx(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		g.t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(text)
}

// after moves the clock once the action waits for the n-th time.
func (g rig) after(r *Run, action string, n int, d time.Duration) {
	g.t.Helper()
	if err := r.AwaitWait(g.ctx(), action, n); err != nil {
		g.t.Fatal(err)
	}
	g.clock.Advance(d)
}

func (g rig) ends(r *Run, want Status) {
	g.t.Helper()
	got, err := r.Wait(g.ctx())
	if err != nil || got != want {
		g.t.Fatalf("the run ended as %s, want %s; %v\n%+v", got, want, err, r.History())
	}
}

func (g rig) action(r *Run, name string, want Status, code string) Action {
	g.t.Helper()
	a := r.Action(name)
	if a.Status != want || a.Code != code {
		g.t.Errorf("%s is %s %s (%s), want %s %s", name, a.Status, a.Code, a.Error, want, code)
	}
	return a
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("%v, want an error with %q", err, part)
	}
}

func field(t *testing.T, document string, name string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(document), &fields); err != nil {
		t.Fatal(err, document)
	}
	return fmt.Sprint(fields[name])
}

var errNo = errors.New("no")
