package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEveryStatusHasOneOutcome: a channel is tried again unless the message itself is
// refused; a run that does not wait any more is not.
func TestEveryStatusHasOneOutcome(t *testing.T) {
	about := map[int]bool{400: true, 413: true, 415: true, 422: true}
	outcome := func(t *testing.T, kind Kind, code int, err error) {
		t.Helper()
		verdict := ErrRetry
		switch {
		case code >= 200 && code < 300:
			if err != nil {
				t.Errorf("%s %d: %v", kind, code, err)
			}
			return
		case code == 400 && (kind == Teams || kind == LogicAppTrigger): // it may be switched off
		case about[code], kind == LogicAppCallback && code < 500 && code != 408 && code != 429:
			verdict = ErrGone
		}
		if e := fails(t, err, verdict, fmt.Sprint(code)); e.Status != code || e.Kind != kind || e.Host != "hooks.example.com" {
			t.Errorf("%s %d: got %+v", kind, code, e)
		}
	}
	var code int
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { status(code)(rw, r) })
	for _, kind := range kinds {
		for code := 100; code < 1000; code++ {
			outcome(t, kind, code, target(kind).judge(code))
		}
		for _, code = range []int{200, 201, 202, 204, 300, 302, 304, 400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 425, 429, 499, 500, 501, 502, 503, 504, 599} {
			outcome(t, kind, code, w.Send(t.Context(), target(kind), notice()))
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, to := range []string{secretURL, "https://169.254.169.254/s3cr3t", "http://hooks.example.com/", "::s3cr3t", ""} {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Location", to)
			status(http.StatusTemporaryRedirect)(rw, r)
		})
		fails(t, w.Send(t.Context(), target(Webhook), notice()), ErrRetry, "redirects are not followed")
		only(t, w.calls)
		only(t, w.dials())
	}
}

func TestHugeAnswersAreCutOff(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		block := bytes.Repeat([]byte(marker), 10_000)
		for range 10_000 { // 600 MB, unless the reader goes away
			if _, err := rw.Write(block); err != nil {
				return
			}
		}
		t.Error("somebody read all of it")
	})
	if err := w.Send(t.Context(), target(Slack), notice()); err != nil {
		t.Error(err)
	}

	w = newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Large", strings.Repeat(marker, maxAnswerHead))
		rw.WriteHeader(200)
	})
	fails(t, w.Send(t.Context(), target(Slack), notice()), ErrRetry, "the connection failed")
}

func TestNoAnswer(t *testing.T) {
	hangUp := func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close()
	}
	strange := func(rw http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("s3cr3t " + strings.Repeat("s3cr3t ", 20) + "\r\n\r\n"))
		_ = conn.Close()
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		change func(*world)
		reason string
	}{
		"hangs up":         {answer: hangUp, reason: "the connection failed"},
		"is no HTTP":       {answer: strange, reason: "the connection failed"},
		"is not there":     {change: func(w *world) { w.answers = [][]string{{"20.0.0.1"}} }, reason: "the connection failed"},
		"has no name":      {change: func(w *world) { w.answers = [][]string{{"nothing"}} }, reason: "could not be resolved"},
		"has no addresses": {change: func(w *world) { w.answers = [][]string{{}} }, reason: "could not be resolved"},
		"is not trusted":   {change: func(w *world) { w.transport.TLSClientConfig.RootCAs = x509.NewCertPool() }, reason: "certificate"},
		"is another": {change: func(w *world) {
			w.guard.callbacks = append(w.guard.callbacks, host{name: "hooks.example.org", port: "443"})
		}, reason: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.answer == nil {
				c.answer = func(http.ResponseWriter, *http.Request) { t.Error("the call was made") }
			}
			w := newWorld(t, c.answer)
			if c.change != nil {
				c.change(w)
			}
			to := target(LogicAppCallback)
			if name == "is another" {
				to.URL = strings.Replace(to.URL, ".com", ".org", 1)
			}
			if e := fails(t, w.Send(t.Context(), to, notice()), ErrRetry, c.reason); e.Status != 0 {
				t.Errorf("status %d without an answer", e.Status)
			}
		})
	}
}

func TestGivenUpByTheCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	err := w.Send(ctx, target(Teams), notice())
	fails(t, err, ErrRetry, "given up")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not tell that the caller gave up", err)
	}
}

func TestWhatIsSent(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, status(202))
			w.token = func(context.Context) (string, error) { return "token", nil }
			if err := w.Send(t.Context(), target(kind), notice()); err != nil {
				t.Fatal(err)
			}
			r := only(t, w.calls)
			if r.Method != http.MethodPost || r.Host != "hooks.example.com" || r.RequestURI != "/s3cr3t-path?sig=s3cr3t-sig&x=%73" {
				t.Errorf("%s %s %s", r.Method, r.Host, r.RequestURI)
			}
			want := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"jitgate"}, "Connection": {"close"}}
			want.Set("Content-Length", fmt.Sprint(len(w.bodies[0])))
			if kind == Webhook {
				for _, name := range []string{SignatureHeader, TimestampHeader, IDHeader} {
					want[name] = r.Header[name]
				}
				if err := Verify(secretKey, r.Header, []byte(w.bodies[0]), w.clock.Now()); err != nil {
					t.Error(err)
				}
			}
			// In particular no Authorization: the URL has a signature.
			if d := cmp.Diff(want, r.Header); d != "" {
				t.Error("headers:", d)
			}
			if kind == LogicAppCallback || kind == LogicAppTrigger {
				if d := cmp.Diff(`{"requestId":"1"}`, w.bodies[0]); d != "" {
					t.Error(d)
				}
			}
			if !json.Valid([]byte(w.bodies[0])) {
				t.Error("no JSON:", w.bodies[0])
			}
		})
	}
}

func TestTokenForTriggersWithoutSignature(t *testing.T) {
	w := newWorld(t, status(202))
	w.token = func(context.Context) (string, error) { return "s3cr3t-token", nil }
	for _, kind := range kinds {
		to := target(kind)
		to.URL = "https://hooks.example.com/workflows/1?api-version=1"
		if err := w.Send(t.Context(), to, notice()); err != nil {
			t.Fatal(err)
		}
		want := ""
		if kind == LogicAppTrigger {
			want = "Bearer s3cr3t-token"
		}
		if got := w.calls[len(w.calls)-1].Header.Get("Authorization"); got != want {
			t.Errorf("%s: Authorization %q, want %q", kind, got, want)
		}
	}

	calls := len(w.calls)
	w.token = func(context.Context) (string, error) { return "", errors.New(marker) }
	to := Target{Kind: LogicAppTrigger, URL: "https://hooks.example.com/workflows/1"}
	fails(t, w.Send(t.Context(), to, notice()), ErrRetry, "no token")
	if len(w.calls) != calls {
		t.Error("called without a token")
	}
}

func TestRefusedBeforeAnyCall(t *testing.T) {
	w := newWorld(t, status(200))
	ok := notice()
	with := func(change func(*Notice)) Notice { n := ok; change(&n); return n }
	for name, c := range map[string]struct {
		to     Target
		what   Notice
		reason string
	}{
		"no kind":         {Target{URL: secretURL}, ok, "unknown kind"},
		"mixed up":        {Target{Kind: secretURL, URL: "slack"}, ok, "unknown kind"},
		"no secret":       {Target{Kind: Webhook, URL: secretURL}, ok, "secret of at least 16 bytes"},
		"a short secret":  {Target{Kind: Webhook, URL: secretURL, Secret: []byte(marker)}, ok, "secret of at least 16 bytes"},
		"another host":    {Target{Kind: LogicAppCallback, URL: "https://example.net/s3cr3t"}, ok, "list of hosts for callbacks"},
		"an address":      {Target{Kind: Teams, URL: "https://20.30.40.50/s3cr3t"}, ok, "is not a name"},
		"no id":           {target(Teams), with(func(n *Notice) { n.ID = "" }), "id"},
		"an odd id":       {target(Webhook), with(func(n *Notice) { n.ID = "s3cr3t.x" }), "id"},
		"a long id":       {target(Teams), with(func(n *Notice) { n.ID = strings.Repeat("x", 129) }), "id"},
		"unencodable":     {target(Webhook), with(func(n *Notice) { n.Data = func() {} }), "JSON"},
		"a year too late": {target(Webhook), with(func(n *Notice) { n.At = n.At.AddDate(9000, 0, 0) }), "JSON"},
		"too large":       {target(LogicAppTrigger), with(func(n *Notice) { n.Data = strings.Repeat(marker, maxBody/5) }), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			if e := fails(t, w.Send(t.Context(), c.to, c.what), ErrGone, c.reason); e.Status != 0 {
				t.Errorf("status %d without a call", e.Status)
			}
		})
	}
	if len(w.dials())+len(w.lookups) != 0 {
		t.Errorf("looked up %v and dialed %v", w.lookups, w.dials())
	}
}

func TestCheckAgreesWithSend(t *testing.T) {
	w := newWorld(t, status(200))
	for _, kind := range kinds {
		if err := w.Check(target(kind)); err != nil {
			t.Error(err)
		}
	}
	fails(t, w.Check(Target{Kind: Webhook, URL: secretURL}), ErrGone, "secret")
	fails(t, w.Check(Target{Kind: Slack, URL: "http://hooks.example.com/s3cr3t"}), ErrGone, "only https")
}

func TestTargetsAreNotPrinted(t *testing.T) {
	to := target(Webhook)
	for _, value := range []any{to, &to, []Target{to}, struct{ T Target }{to}, map[string]Target{"x": to}} {
		hasNoSecret(t, value)
	}
	var text, document bytes.Buffer
	for b, handler := range map[*bytes.Buffer]slog.Handler{&text: slog.NewTextHandler(&text, nil), &document: slog.NewJSONHandler(&document, nil)} {
		slog.New(handler).Info("call", "target", to, "nested", struct{ T Target }{to}, "pointer", &to)
		hasNoSecret(t, b.String())
		if !strings.Contains(b.String(), "webhook at hooks.example.com") {
			t.Errorf("nobody can tell which target it was: %s", b)
		}
	}
}
