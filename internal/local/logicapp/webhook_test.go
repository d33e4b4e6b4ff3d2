package logicapp

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const waiter = `"Wait":{"type":"HttpWebhook","limit":{"timeout":"PT1H"},"inputs":{
"subscribe":{"method":"POST","uri":"@{parameters('url')}/subscribe","body":{"callbackUrl":"@listCallbackUrl()"},"authentication":{"type":"ManagedServiceIdentity","audience":"api://x"}},
"unsubscribe":{"method":"POST","uri":"@{parameters('url')}/unsubscribe","body":{"callbackUrl":"@listCallbackUrl()"}}},"runAfter":{}}`

// subscribed starts a run that waits and returns its callback URL.
func subscribed(t *testing.T) (rig, *Run, *script, string) {
	t.Helper()
	s := serve(t, func(_ int, _ heard, w http.ResponseWriter) { reply(w, 201, `{"subscriptionId":"1"}`) })
	g, r := launch(t, s.URL, waiter)
	if err := r.AwaitWait(g.ctx(), "Wait", 1); err != nil {
		t.Fatal(err)
	}
	return g, r, s, field(t, s.received()[0].body, "callbackUrl")
}

func paths(s *script) (all []string) {
	for _, c := range s.received() {
		all = append(all, c.path)
	}
	return all
}

func TestWebhook(t *testing.T) {
	g, r, s, callback := subscribed(t)
	if u, err := url.Parse(callback); err != nil || u.Hostname() != "127.0.0.1" || !u.Query().Has("sp") || !u.Query().Has("sv") || len(u.Query().Get("sig")) < 32 {
		t.Fatalf("callback URL %s, %v", callback, err)
	}
	other, _ := launch(t, s.URL, waiter)
	for name, c := range map[string]struct {
		url     string
		headers []string
		status  int
	}{
		"with a token too":         {callback, []string{"Authorization", "Bearer x"}, 401},
		"without a signature":      {callback[:strings.Index(callback, "&sp=")], nil, 401},
		"with a changed signature": {strings.Replace(callback, "&sig=", "&sig=A", 1), nil, 401},
		"for another action":       {strings.Replace(callback, "/actions/Wait/", "/actions/Other/", 1), nil, 401},
		"permitted something else": {strings.Replace(callback, "&sp=%2Fruns", "&sp=%2Ftriggers", 1), nil, 401},
		"of another workflow":      {strings.Replace(callback, g.app.base, other.app.base, 1), nil, 401},
		"not JSON":                 {callback, []string{"Content-Type", "application/json", "X", "x"}, 400},
	} {
		body := `{"event":"granted"}`
		if c.status == 400 {
			body = "{"
		}
		if status, _, answer := g.post(c.url, body, c.headers...); status != c.status {
			t.Errorf("%s: %d %s, want %d", name, status, answer, c.status)
		}
	}
	if got := r.Action("Wait").Status; got != Waiting {
		t.Errorf("a refused callback left the action %s", got)
	}
	if status, _, body := g.post(callback, `{"event":"granted"}`); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if status, _, _ := g.post(callback, `{"event":"denied"}`); status != http.StatusNotFound {
		t.Error("a second callback:", status)
	}
	g.ends(r, Succeeded)
	if status, _, _ := g.post(callback, `{"event":"denied"}`); status != http.StatusNotFound {
		t.Error("a callback after the run:", status)
	}
	outputs, _ := r.Action("Wait").Outputs.(map[string]any)
	if d := cmp.Diff(map[string]any{"event": "granted"}, outputs["body"]); d != "" {
		t.Error(d)
	}
	last := s.received()[len(s.received())-1]
	if last.path != "/unsubscribe" || field(t, last.body, "callbackUrl") != callback {
		t.Errorf("unsubscribe: %v", last)
	}
}

// TestWebhookTimesOut: from then on a callback is too late, also while it is being
// unsubscribed.
func TestWebhookTimesOut(t *testing.T) {
	s := serve(t, func(_ int, c heard, w http.ResponseWriter) {
		if c.path == "/unsubscribe" {
			callBack(t, c, http.StatusNotFound)
		}
		reply(w, 201, "")
	})
	g, r := launch(t, s.URL, waiter)
	g.after(r, "Wait", 1, time.Hour)
	g.ends(r, Failed)
	g.action(r, "Wait", TimedOut, "ActionTimedOut")
	if d := cmp.Diff([]string{"/subscribe", "/unsubscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
	callBack(t, s.received()[0], http.StatusNotFound)
}

// callBack calls the URL that a subscription came with.
func callBack(t *testing.T, c heard, want int) {
	t.Helper()
	response, err := http.Post(field(t, c.body, "callbackUrl"), "application/json", strings.NewReader(`{"event":"expired"}`))
	if err != nil {
		t.Error(err)
		return
	}
	_ = response.Body.Close()
	if response.StatusCode != want {
		t.Errorf("the callback was answered with %d, want %d", response.StatusCode, want)
	}
}

func TestWebhookOfACancelledRun(t *testing.T) {
	g, r, s, _ := subscribed(t)
	r.Cancel()
	g.ends(r, Cancelled)
	g.action(r, "Wait", Cancelled, "ActionCancelled")
	if d := cmp.Diff([]string{"/subscribe", "/unsubscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
}

func TestWebhookThatCannotSubscribe(t *testing.T) {
	s := serve(t, func(n int, _ heard, w http.ResponseWriter) { reply(w, 400, "") })
	g, r := launch(t, s.URL, waiter)
	g.ends(r, Failed)
	if d := cmp.Diff([]string{"/subscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
}

// TestWebhookAnsweredAtOnce: a request may be decided before anybody subscribes, and
// the callback come before the answer to the subscription.
func TestWebhookAnsweredAtOnce(t *testing.T) {
	s := serve(t, func(_ int, c heard, w http.ResponseWriter) {
		if c.path == "/subscribe" {
			callBack(t, c, http.StatusOK)
		}
		reply(w, 201, `{}`)
	})
	g, r := launch(t, s.URL, waiter)
	g.ends(r, Succeeded)
	if d := cmp.Diff([]string{"/subscribe", "/unsubscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
}

// TestWebhookUnsubscribesInVain: it is tried again by the policy, and changes nothing
// about what came of the action.
func TestWebhookUnsubscribesInVain(t *testing.T) {
	s := serve(t, func(_ int, c heard, w http.ResponseWriter) {
		reply(w, map[bool]int{true: 201, false: 503}[c.path == "/subscribe"], "")
	})
	g, r := launch(t, s.URL, strings.Replace(waiter, `"unsubscribe":{`, `"unsubscribe":{"retryPolicy":{"type":"fixed","count":1,"interval":"PT5S"},`, 1))
	g.after(r, "Wait", 1, 0)
	if status, _, _ := g.post(field(t, s.received()[0].body, "callbackUrl"), `{}`); status != http.StatusOK {
		t.Fatal(status)
	}
	g.after(r, "Wait", 2, 5*time.Second)
	g.ends(r, Succeeded)
	if d := cmp.Diff([]string{"/subscribe", "/unsubscribe", "/unsubscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
}

// TestCloseDoesNotWaitForAClockThatStands: nobody moves it then.
func TestCloseDoesNotWaitForAClockThatStands(t *testing.T) {
	s := serve(t, func(_ int, c heard, w http.ResponseWriter) {
		reply(w, map[bool]int{true: 201, false: 503}[c.path == "/subscribe"], "")
	})
	g, r := launch(t, s.URL, waiter)
	g.after(r, "Wait", 1, 0)
	g.app.Close()
	if got := r.Status(); got != Cancelled {
		t.Error(got)
	}
	if d := cmp.Diff([]string{"/subscribe", "/unsubscribe"}, paths(s)); d != "" {
		t.Error(d)
	}
}
