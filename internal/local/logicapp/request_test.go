package logicapp

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	shipped "jitgate/infra/logicapp"
)

const wish = `{"targets":[{"vm":"/subscriptions/s/…/web01","ports":[{"port":22,"protocol":"TCP"}]}],"source":"203.0.113.7","duration":"PT1H","justification":"INC-1"}`

// want starts a shipped workflow that asks for access. The URL is where its answer
// will be.
func want(t *testing.T, j *jitgate, document []byte) (g rig, r *Run, location string) {
	t.Helper()
	g = start(t, load(t, document, map[string]any{"jitBaseUrl": j.URL, "jitAudience": audience}), Engine{})
	status, headers, body := g.post(g.app.TriggerURL(), wish)
	if status != http.StatusAccepted {
		t.Fatal(status, body)
	}
	return g, g.run(1), headers.Get("Location")
}

func (g rig) answers(location string, status int, part string) {
	g.t.Helper()
	if got, _, body := g.send("GET", location, ""); got != status || !strings.Contains(body, part) {
		g.t.Errorf("the caller gets %d %s, want %d with %s", got, body, status, part)
	}
}

func TestRequestByPolling(t *testing.T) {
	for _, outcome := range []string{"Active", "Denied"} {
		t.Run(outcome, func(t *testing.T) {
			j := newJitgate(t)
			g, r, location := want(t, j, shipped.Request)
			g.after(r, "Create", 1, 2*time.Second)
			if err := r.AwaitWait(g.ctx(), "Create", 2); err != nil {
				t.Fatal(err)
			}
			g.answers(location, 202, "")
			j.set(func() { j.state = outcome })
			g.clock.Advance(2 * time.Second)
			g.ends(r, Succeeded)
			g.answers(location, 200, `"state":"`+outcome+`"`)
			var got []string
			for _, c := range j.received() {
				got = append(got, c.method+" "+c.path)
			}
			if d := cmp.Diff([]string{"POST /api/requests", "GET /api/requests/1", "GET /api/requests/1"}, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(decoded(t, wish), decoded(t, j.received()[0].body)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestRequestIsMadeOnce although the first answer is lost.
func TestRequestIsMadeOnce(t *testing.T) {
	for name, document := range map[string][]byte{"polling": shipped.Request, "webhook": shipped.RequestWebhook} {
		t.Run(name, func(t *testing.T) {
			j := newJitgate(t)
			j.lose = 1
			g, r, _ := want(t, j, document)
			g.after(r, "Create", 1, 10*time.Second)
			if name == "polling" {
				j.set(func() { j.state = "Active" })
				g.after(r, "Create", 2, 2*time.Second)
			} else {
				g.callBack(r, j, `{"outcome":"granted"}`)
			}
			g.ends(r, Succeeded)
			if d := cmp.Diff(map[string]int{r.ID: 1}, j.requests); d != "" {
				t.Error(d)
			}
		})
	}
}

func (g rig) callBack(r *Run, j *jitgate, body string) {
	g.t.Helper()
	if err := r.AwaitWait(g.ctx(), "Wait_for_decision", 1); err != nil {
		g.t.Fatal(err)
	}
	var callback string
	j.set(func() { callback = j.subscriptions["1"] })
	if status, _, answer := g.post(callback, body); status != http.StatusOK {
		g.t.Fatal(status, answer)
	}
}

func TestRequestThatIsRefused(t *testing.T) {
	for name, document := range map[string][]byte{"polling": shipped.Request, "webhook": shipped.RequestWebhook} {
		t.Run(name, func(t *testing.T) {
			j := newJitgate(t)
			j.refuse = http.StatusUnprocessableEntity
			g, r, location := want(t, j, document)
			g.ends(r, Failed)
			g.answers(location, 502, "422")
			if n := len(j.received()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestRequestThatNobodyDecides(t *testing.T) {
	j := newJitgate(t)
	g, r, location := want(t, j, shipped.Request)
	g.after(r, "Create", 1, 8*time.Hour)
	g.ends(r, Failed)
	g.action(r, "Create", TimedOut, "ActionTimedOut")
	g.answers(location, 502, "none")
}

func TestRequestByWebhook(t *testing.T) {
	for _, outcome := range []string{"granted", "denied", "expired"} {
		t.Run(outcome, func(t *testing.T) {
			j := newJitgate(t)
			g, r, location := want(t, j, shipped.RequestWebhook)
			g.callBack(r, j, `{"outcome":"`+outcome+`"}`)
			g.ends(r, Succeeded)
			g.answers(location, 200, `"outcome":"`+outcome+`"`)
			if d := cmp.Diff([]string{"1"}, j.cancelled); d != "" {
				t.Error("unsubscribed:", d)
			}
			for _, c := range j.received() {
				if c.method == "GET" {
					t.Error("polled although it is called back")
				}
			}
			history, err := normal(r.History())
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(encode(history)), "sig=") {
				t.Error("the history shows the callback URL")
			}
		})
	}
}

// TestRequestByWebhookOfAnotherOutcome: whoever waits only to hear that access is open
// hears all the same how a request ended. The workflow passes that on as it does any.
func TestRequestByWebhookOfAnotherOutcome(t *testing.T) {
	document := bytes.Replace(shipped.RequestWebhook, []byte(`[ "granted", "denied", "expired" ]`), []byte(`[ "granted" ]`), 1)
	j := newJitgate(t)
	g, r, location := want(t, j, document)
	g.callBack(r, j, `{"outcome":"expired","request":{"state":"Expired"}}`)
	g.ends(r, Succeeded)
	g.answers(location, 200, `"outcome":"expired"`)
	if d := cmp.Diff([]string{"granted"}, j.events); d != "" {
		t.Error("waits for:", d)
	}
}

func TestRequestByWebhookThatNobodyDecides(t *testing.T) {
	j := newJitgate(t)
	g, r, location := want(t, j, shipped.RequestWebhook)
	g.after(r, "Wait_for_decision", 1, 8*time.Hour)
	g.ends(r, Failed)
	g.action(r, "Wait_for_decision", TimedOut, "ActionTimedOut")
	g.answers(location, 502, "202")
	if d := cmp.Diff([]string{"1"}, j.cancelled); d != "" {
		t.Error("unsubscribed:", d)
	}
}

func TestRequestOfACallerWhoForgotSomething(t *testing.T) {
	for _, document := range [][]byte{shipped.Request, shipped.RequestWebhook} {
		g := start(t, load(t, document, map[string]any{"jitBaseUrl": "https://jit", "jitAudience": audience}), Engine{})
		for _, body := range []string{`{}`, `{"targets":[]}`, `[]`, strings.Replace(wish, `"PT1H"`, `60`, 1)} {
			if status, _, answer := g.post(g.app.TriggerURL(), body); status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", body, status, answer)
			}
		}
	}
}
