package logicapp

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const getter = `"Get":{"type":"Http","inputs":{"method":"GET","uri":"@{parameters('url')}/a",
"authentication":{"type":"ManagedServiceIdentity","audience":"api://x"},"headers":{"X-Mine":"1","Cookie":"no","Content-Language":"no"}},"runAfter":{}}`

func TestRetriesByTheStandardPolicy(t *testing.T) {
	s := serve(t, func(n int, _ heard, w http.ResponseWriter) {
		switch n {
		case 1:
			reply(w, 408, "")
		case 2:
			reply(w, 429, "")
		case 3, 4:
			reply(w, 503, "")
		default:
			reply(w, 200, `{"n":1}`)
		}
	})
	g, r := launch(t, s.URL, getter)
	for i, d := range []time.Duration{7500 * time.Millisecond, 15 * time.Second, 30 * time.Second, 45 * time.Second} {
		if len(s.received()) > i+1 {
			t.Error("repeated without a pause")
		}
		g.after(r, "Get", i+1, d)
	}
	g.ends(r, Succeeded)
	if n := len(s.received()); n != 5 {
		t.Errorf("%d calls, want 5", n)
	}
	first := s.received()[0].header
	got := map[string]string{}
	for _, name := range []string{"Authorization", "X-Mine", "Cookie", "Content-Language", "X-Ms-Workflow-Run-Id"} {
		got[name] = first.Get(name)
	}
	if d := cmp.Diff(map[string]string{"Authorization": "Bearer token for api://x", "X-Mine": "1", "Cookie": "", "Content-Language": "", "X-Ms-Workflow-Run-Id": r.ID}, got); d != "" {
		t.Error(d)
	}
}

func TestGivesUpAfterTheLastRetry(t *testing.T) {
	s := serve(t, func(_ int, _ heard, w http.ResponseWriter) { reply(w, 500, `{"code":"oops"}`) })
	g, r := launch(t, s.URL, `"Get":{"type":"Http","inputs":{"method":"GET","uri":"@{parameters('url')}","retryPolicy":{"type":"fixed","count":2,"interval":"PT10S"}},"runAfter":{}},
"Handle":{"type":"Compose","inputs":"@body('Get')?['code']","runAfter":{"Get":["Failed","TimedOut"]}},
"Skip":{"type":"Compose","inputs":1,"runAfter":{"Get":["Succeeded"]}}`)
	g.after(r, "Get", 1, 10*time.Second)
	g.after(r, "Get", 2, 10*time.Second)
	g.ends(r, Failed) // the branch with Skip ends in a failure that nobody handled there
	g.action(r, "Get", Failed, "ActionFailed")
	g.action(r, "Skip", Skipped, "")
	if got := g.action(r, "Handle", Succeeded, "").Outputs; got != "oops" {
		t.Error(got)
	}
	if n := len(s.received()); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

func TestFailsAtOnce(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"refused":    func(w http.ResponseWriter) { reply(w, 403, "") },
		"redirected": func(w http.ResponseWriter) { w.Header().Set("Location", "/b"); reply(w, 302, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(_ int, _ heard, w http.ResponseWriter) { answer(w) })
			g, r := launch(t, s.URL, getter)
			g.ends(r, Failed)
			if n := len(s.received()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
	for name, inputs := range map[string]string{
		"no URL":          `{"method":"GET","uri":"/relative"}`,
		"other sign-in":   `{"method":"GET","uri":"https://x","authentication":{"type":"Basic"}}`,
		"a null property": `{"method":"GET","uri":"@triggerBody()['no']"}`,
	} {
		t.Run(name, func(t *testing.T) {
			g, r := launch(t, "", `"Get":{"type":"Http","inputs":`+inputs+`,"runAfter":{}}`)
			g.ends(r, Failed)
			g.action(r, "Get", Failed, "InvalidTemplate")
		})
	}
}

func TestPolling(t *testing.T) {
	var s *script
	s = serve(t, func(n int, _ heard, w http.ResponseWriter) {
		switch n {
		case 1: // says where
			w.Header().Set("Location", s.URL+"/status")
			w.Header().Set("Retry-After", "2")
			reply(w, 202, `{"state":"Pending"}`)
		case 2: // says nothing new: the same place, after 20 s
			reply(w, 202, "")
		case 3: // a date, and another place
			w.Header().Set("Location", s.URL+"/later")
			w.Header().Set("Retry-After", "Mon, 01 Mar 2027 12:01:22 GMT") // a minute after what the clock shows
			reply(w, 202, "")
		case 4:
			reply(w, 503, "")
		default:
			reply(w, 200, `{"state":"Active"}`)
		}
	})
	g, r := launch(t, s.URL, `"Post":{"type":"Http","inputs":{"method":"POST","uri":"@{parameters('url')}/new","body":{"a":1},"headers":{"X-Mine":"1"},
"authentication":{"type":"ManagedServiceIdentity","audience":"api://x"}},"runAfter":{}}`)
	for i, d := range []time.Duration{2 * time.Second, 20 * time.Second, 60 * time.Second, 7500 * time.Millisecond} {
		g.after(r, "Post", i+1, d-time.Millisecond)
		if n := len(s.received()); n != i+1 {
			t.Errorf("%d calls before pause %d was over", n, i+1)
		}
		g.clock.Advance(time.Millisecond)
	}
	g.ends(r, Succeeded)
	outputs, _ := r.Action("Post").Outputs.(map[string]any)
	if d := cmp.Diff(map[string]any{"state": "Active"}, outputs["body"]); d != "" {
		t.Error(d)
	}
	var got []string
	for i, c := range s.received() {
		got = append(got, c.String())
		if c.header.Get("Authorization") != "Bearer token for api://x" {
			t.Errorf("call %d has no token", i)
		}
		if i > 0 && c.header.Get("X-Mine") != "" {
			t.Error("a poll has the headers of the call")
		}
	}
	if d := cmp.Diff([]string{`POST /new {"a":1}`, "GET /status ", "GET /status ", "GET /later ", "GET /later "}, got); d != "" {
		t.Error(d)
	}
}

func TestNotPolling(t *testing.T) {
	for _, c := range []struct {
		name, location, option string
		status                 Status
	}{
		{"switched off", "https://127.0.0.1:1/", `"operationOptions":"DisableAsyncPattern",`, Succeeded},
		{"no Location", "", "", Succeeded},
		{"relative Location", "/status", "", Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, func(_ int, _ heard, w http.ResponseWriter) {
				if c.location != "" {
					w.Header().Set("Location", c.location)
				}
				reply(w, 202, `{"id":"1"}`)
			})
			g, r := launch(t, s.URL, `"Post":{"type":"Http",`+c.option+`"inputs":{"method":"POST","uri":"@parameters('url')"},"runAfter":{}}`)
			g.ends(r, c.status)
			if n := len(s.received()); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestTimeLimitOfPolling(t *testing.T) {
	s := serve(t, func(_ int, c heard, w http.ResponseWriter) {
		w.Header().Set("Location", "http://"+c.header.Get("X-Host")+"/status")
		w.Header().Set("Retry-After", "3600")
		reply(w, 202, "")
	})
	g, r := launch(t, s.URL, `"Post":{"type":"Http","limit":{"timeout":"PT30M"},"inputs":{"method":"POST","uri":"@parameters('url')","headers":{"X-Host":"127.0.0.1:1"}},"runAfter":{}},
"Late":{"type":"Compose","inputs":"@{outputs('Post')?['statusCode']}","runAfter":{"Post":["TimedOut"]}},
"Broken":{"type":"Compose","inputs":1,"runAfter":{"Post":["Failed"]}}`)
	g.after(r, "Post", 1, 30*time.Minute)
	g.ends(r, Failed)
	g.action(r, "Post", TimedOut, "ActionTimedOut")
	g.action(r, "Late", Succeeded, "")
	g.action(r, "Broken", Skipped, "")
}

func TestBodiesByTheirType(t *testing.T) {
	for typ, want := range map[string]any{
		"application/json; charset=utf-8": map[string]any{"a": "b"},
		"text/plain":                      `{"a":"b"}`,
		"application/problem+json":        map[string]any{"$content-type": "application/problem+json", "$content": "eyJhIjoiYiJ9"},
		"":                                map[string]any{"$content-type": "", "$content": "eyJhIjoiYiJ9"},
	} {
		got, err := read([]byte(`{"a":"b"}`), typ)
		if err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", typ, d)
		}
	}
	if _, err := read([]byte(`{`), "application/json"); err == nil {
		t.Error("half a document was taken for JSON")
	}
}
