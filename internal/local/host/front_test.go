package host

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/azfunc"
)

func isHang(err error) bool { return errors.Is(err, ErrHang) }

// echo passes every forwarded request to the test.
func echo(r *rig) chan request {
	seen := make(chan request, 100)
	r.onCall = func(in request) answer { seen <- in; return ok("{}") }
	return seen
}

func TestRoutingAndKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{
		"aaa":   open(`,"route":"things/{id:int}","methods":["get"]`),
		"bbb":   open(`,"route":"things/{name}"`),
		"named": open(""),
		"keyed": httpFunction(""),
		"admin": httpFunction(`,"authLevel":"admin","route":"manage"`),
		"off":   `{"disabled":true,` + open("")[1:],
		"tick":  timerFunction("0 0 0 1 1 *", ""),
	})
	r.options.Keys = map[string]string{"_master": "m", "default": "d", "empty": ""}
	r.onCall = func(in request) answer { return answer{Status: 418} }
	r.start()
	for _, tt := range []struct {
		method, path, key string
		want              int
		function          string
	}{
		{"GET", "/api/things/7", "", 418, "aaa"},
		{"POST", "/api/things/7", "", 418, "bbb"},
		{"GET", "/API/Things/x", "", 418, "bbb"},
		{"GET", "/api/things", "", 404, ""},
		{"GET", "/api/named", "", 418, "named"},
		{"DELETE", "/api/named/", "", 418, "named"},
		{"GET", "/named", "", 404, ""},
		{"GET", "/api/off", "", 404, ""},
		{"GET", "/api/tick", "", 404, ""},
		{"POST", "/tick", "", 404, ""},
		{"GET", "/api/keyed", "", 401, ""},
		{"GET", "/api/keyed", "wrong", 401, ""},
		{"GET", "/api/keyed", "d", 418, "keyed"},
		{"GET", "/api/keyed", "m", 418, "keyed"},
		{"GET", "/api/keyed?code=d", "", 418, "keyed"},
		{"GET", "/api/keyed?code=d", "wrong", 401, ""},
		{"GET", "/api/manage", "d", 401, ""},
		{"GET", "/api/manage", "m", 418, "admin"},
		{"GET", "/", "", 200, ""},
	} {
		before := r.Invocations()
		got, _, body := r.do(tt.method, tt.path, nil, "x-functions-key", tt.key)
		if got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got, tt.want)
		}
		if got >= 400 && body != "" {
			t.Errorf("%s %s: body %q", tt.method, tt.path, body)
		}
		for name, c := range r.Invocations() {
			if n := c.Succeeded - before[name].Succeeded; n != 0 && name != tt.function {
				t.Errorf("%s %s ran %s", tt.method, tt.path, name)
			}
		}
	}
}

func TestForwardedRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open(`,"route":"echo/{*rest}"`)})
	seen := echo(r)
	r.start()
	status, _, _ := r.do("PUT", "/api/echo/A%20b/%E2%82%AC/c%2Fd?a=1&B=x+y&a=2&code=k&=v", strings.NewReader("hello"),
		"Content-Type", "text/plain", "Content-Encoding", "gzip", "Content-Language", "de", "Accept", "a/b", "Accept", "c/d",
		"Cookie", "x=1", "X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "User-Agent", "curl/8",
		"X-Azure-Functions-InvocationId", "forged", "X-Ms-Client-Principal", "forged", "x-functions-key", "k")
	if status != 200 {
		t.Fatalf("status %d", status)
	}
	in := <-seen
	if in.Method != "PUT" || in.URI != "/api/echo/A%20b/%E2%82%AC/c%2Fd?a=1%2C2&B=x+y&code=k&=v" {
		t.Errorf("%s %s", in.Method, in.URI)
	}
	if in.Host != strings.TrimPrefix(r.URL(), "http://") || string(in.Body) != "hello" || in.Length != 5 {
		t.Errorf("host %q, body %q, length %d", in.Host, in.Body, in.Length)
	}
	forwardedFor := in.Header.Get("X-Forwarded-For")
	client, peer, _ := strings.Cut(forwardedFor, ", ")
	if host, port, err := net.SplitHostPort(peer); client != "203.0.113.9" || err != nil || host != "127.0.0.1" || port == "" {
		t.Errorf("X-Forwarded-For %q, want the client's value and then the peer with its port", forwardedFor)
	}
	id := in.Header.Get(headerInvocation)
	if !strings.HasPrefix(id, "forged, ") || azfunc.InvocationID(in.Header) != strings.TrimPrefix(id, "forged, ") {
		t.Errorf("invocation id %q", id)
	}
	for name, want := range map[string][]string{
		"Content-Type": {"text/plain"}, "Content-Encoding": nil, "Content-Language": nil, "Accept": {"a/b, c/d"}, "Cookie": {"x=1"},
		"X-Forwarded-Proto": {"http"}, "User-Agent": {"curl/8 " + userAgent}, "X-Azure-Functions-Hostversion": {hostVersion},
		"X-Ms-Client-Principal": {"forged"}, "X-Functions-Key": {"k"},
	} {
		if diff := cmp.Diff(want, in.Header.Values(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	r.do("GET", "/api/echo/", nil, "Content-Type", "text/plain", "User-Agent", "")
	in = <-seen
	if in.Header.Get("Content-Type") != "" || in.Header.Get("User-Agent") != userAgent || in.URI != "/api/echo/" {
		t.Errorf("a request without a body: %s %v", in.URI, in.Header)
	}
}

func TestBodyWithoutLengthIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open("")})
	seen := echo(r)
	r.start()
	if status, _, body := r.do("POST", "/api/echo", io.MultiReader(strings.NewReader("hello"))); status != 500 || body != "" {
		t.Errorf("%d %q, want 500 with an empty body", status, body)
	}
	if len(seen) != 0 {
		t.Error("the handler was called")
	}
	if !strings.Contains(r.log.String(), "without Content-Length") {
		t.Errorf("the log does not say why:\n%s", r.log)
	}
}

func TestAnswerPassesUnchanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open("")})
	r.onCall = func(in request) answer {
		switch in.Method {
		case "GET":
			return answer{Status: 302, Header: map[string]string{"Location": "/elsewhere", "Set-Cookie": "a=b", "X-Own": "1"}, Body: "<html>"}
		default:
			return answer{Status: 204}
		}
	}
	r.start()
	status, header, body := r.do("GET", "/api/echo", nil)
	if status != 302 || header.Get("Location") != "/elsewhere" || header.Get("Set-Cookie") != "a=b" || header.Get("X-Own") != "1" || body != "<html>" {
		t.Errorf("%d %v %q", status, header, body)
	}
	if media, ok := header["Content-Type"]; ok {
		t.Errorf("a content type was added: %v", media)
	}
	if status, _, _ := r.do("DELETE", "/api/echo", nil); status != 204 || r.Err() != nil {
		t.Errorf("%d, %v: an empty HTTP answer is no hang", status, r.Err())
	}
	r.answerWith(func(request) answer { return answer{Status: 503, Body: "busy"} })
	if status, _, body := r.do("GET", "/api/echo", nil); status != 503 || body != "busy" {
		t.Errorf("%d %q", status, body)
	}
	if c := r.Invocations()["echo"]; c != (Count{Started: 3, Succeeded: 3}) {
		t.Errorf("counts %+v: any answer is a success", c)
	}
}

func TestLoginMode(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open("")})
	r.options.Principal = `{"auth_typ":"aad","name_typ":"name","claims":[{"typ":"sub","val":"s"},{"typ":"name","val":"Ann"},
	  {"typ":"http://schemas.microsoft.com/identity/claims/objectidentifier","val":"oid-1"}]}`
	seen := echo(r)
	r.start()
	r.do("GET", "/api/echo", nil, "X-MS-CLIENT-PRINCIPAL", "forged", "X-Ms-Client-Principal-Name", "forged", "X-MS-TOKEN-AAD-ID-TOKEN", "forged")
	in := <-seen
	want := map[string]string{
		"X-Ms-Client-Principal":    base64.StdEncoding.EncodeToString([]byte(r.options.Principal)),
		"X-Ms-Client-Principal-Id": "oid-1", "X-Ms-Client-Principal-Name": "Ann", "X-Ms-Client-Principal-Idp": "aad",
	}
	got := map[string]string{}
	for name, values := range in.Header {
		if strings.HasPrefix(name, "X-Ms-") {
			got[name] = strings.Join(values, "|")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("login headers (-want +got):\n%s", diff)
	}
	if b := wait(t, r.born, "the start"); env(b, "WEBSITE_AUTH_ENABLED") != "True" {
		t.Error("the handler is not told that authentication is on")
	}
	for _, bad := range []string{"nobody", `{}`, `{"auth_typ":"aad","claims":[]}`} {
		r := newRig(t, plainHostJSON, map[string]string{"echo": open("")})
		r.options.Principal = bad
		if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "Principal") {
			t.Errorf("principal %q: %v", bad, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for escaped, want := range map[string][2]string{ // what routing sees, what the handler gets
		"/":                          {"/", "/"},
		"/api/a%20b":                 {"/api/a b", "/api/a%20b"},
		"/api/a%2Fb":                 {"/api/a%2Fb", "/api/a%2Fb"},
		"/api/a%3Fb":                 {"/api/a?b", "/api/a"},
		"/api/a%23b":                 {"/api/a#b", "/api/a"},
		"/api/50%25":                 {"/api/50%", "/api/50%25"},
		"/api/%2541":                 {"/api/%41", "/api/%41"},
		"/api/../work":               {"/work", "/work"},
		"/api/%2e%2e/work":           {"/work", "/work"},
		"/api/%252e%252E/work":       {"/api/%2e%2E/work", "/work"},
		"/api/x/%252e%252e%5C%2e%2e": {`/api/x/%2e%2e\..`, "/"},
		"/api/./x/":                  {"/api/x/", "/api/x/"},
		"/../../x":                   {"/x", "/x"},
		"/api//x":                    {"/api//x", "/api//x"},
		"/a/%E2%82%AC":               {"/a/€", "/a/%E2%82%AC"},
	} {
		u, err := url.ParseRequestURI(escaped)
		if err != nil {
			t.Fatal(err)
		}
		path := requestPath(u)
		if got := [2]string{path, forwardPath(path)}; got != want {
			t.Errorf("%s: %q, want %q", escaped, got, want)
		}
	}
}

// TestPublicRequestCannotPoseAsTheHost shows the hole in forwarding mode and that the decoder closes it.
func TestPublicRequestCannotPoseAsTheHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open(`,"route":"echo/{*rest}"`), "tick": timerFunction("0 0 0 1 1 *", "")})
	seen := echo(r)
	r.start()
	r.do("POST", "/api/echo/%252e%252e/%252e%252e/tick", strings.NewReader(`{"Data":{"timer":{"IsPastDue":false}}}`), "Content-Type", "application/json", "User-Agent", "")
	in := <-seen
	if in.URI != "/tick" {
		t.Fatalf("the handler got %s", in.URI)
	}
	if _, err := azfunc.Decode(asHTTP(in)); !errors.Is(err, azfunc.ErrNotInvocation) {
		t.Errorf("Decode: %v, want ErrNotInvocation", err)
	}
}

func TestListenerMustBeOnLoopback(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"echo": open("")})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.options.Listener = elsewhere{l}
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "must be on 127.0.0.1") {
		t.Errorf("a public listener: %v", err)
	}
	if _, err := http.Get("http://" + l.Addr().String()); err == nil {
		t.Error("the listener is still open after the failed start")
	}
}

// elsewhere is a loopback listener that says it is public, so that the test opens no public port.
type elsewhere struct{ net.Listener }

func (elsewhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }
