package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The handler of these tests is the test binary itself: with the variable set, it asks the test what to do when it
// starts, and then relays every request to the test and the test's answer back. So each test scripts a real child
// process with a plain function.

const relayVariable = "JITGATE_TEST_RELAY"

func TestMain(m *testing.M) {
	if control := os.Getenv(relayVariable); control != "" {
		relayMain(control)
		return
	}
	os.Exit(m.Run())
}

// birth is what the handler tells when it starts, and order what it shall do.
type birth struct {
	Env  []string
	Args []string
	Dir  string
}

type order struct {
	Exit           *int
	Silent         bool // stay, but never listen
	Stdout, Stderr string
}

// request is what reached the handler.
type request struct {
	Method, URI, Host string
	Header            http.Header
	Body              []byte
	Length            int64
	Encoding          []string
}

type answer struct {
	Status int
	Header map[string]string
	Body   string
	Exit   *int // exit instead of answering
}

func ok(body string) answer {
	return answer{Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: body}
}

func relayMain(control string) {
	dir, _ := os.Getwd()
	var o order
	exchange(control+"/start", birth{os.Environ(), os.Args[1:], dir}, &o)
	fmt.Fprint(os.Stdout, o.Stdout)
	fmt.Fprint(os.Stderr, o.Stderr)
	if o.Exit != nil {
		os.Exit(*o.Exit)
	}
	if o.Silent {
		select {}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && r.Header.Get(headerInvocation) == "" {
			http.NotFound(w, r) // any status means ready
			return
		}
		body, _ := io.ReadAll(r.Body)
		var a answer
		exchange(control+"/call", request{r.Method, r.RequestURI, r.Host, r.Header, body, r.ContentLength, r.TransferEncoding}, &a)
		if a.Exit != nil {
			os.Exit(*a.Exit)
		}
		w.Header()["Content-Type"] = nil
		for name, value := range a.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(a.Status)
		_, _ = io.WriteString(w, a.Body)
	}))
}

// exchange posts in to the test and reads out; when the test is over, so is the handler.
func exchange(url string, in, out any) {
	raw, _ := json.Marshal(in)
	resp, err := http.Post(url, "application/json", bytes.NewReader(raw))
	if err != nil {
		os.Exit(3)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		os.Exit(3)
	}
}

// rig is a staged app under test.
type rig struct {
	*Host
	t       *testing.T
	options Options
	grace   time.Duration
	drain   time.Duration
	log     *syncBuffer
	output  *syncBuffer

	mu      sync.Mutex
	births  []birth
	born    chan birth
	onBirth func(n int) order // n counts from 1
	onCall  func(request) answer
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const plainHostJSON = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"handler"},"enableForwardingHttpRequest":true},
 "extensionBundle":{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"}}`

// stage writes an app folder: host.json, the handler and one folder per function.
func stage(t *testing.T, hostJSON string, functions map[string]string) string {
	t.Helper()
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(root, "handler")); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("host.json", hostJSON)
	for name, text := range functions {
		write(name+"/function.json", text)
	}
	return root
}

func newRig(t *testing.T, hostJSON string, functions map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, grace: 10 * time.Millisecond, drain: drain, log: &syncBuffer{}, output: &syncBuffer{}, born: make(chan birth, 100)}
	mux := http.NewServeMux()
	mux.HandleFunc("/start", func(w http.ResponseWriter, req *http.Request) {
		var b birth
		_ = json.NewDecoder(req.Body).Decode(&b)
		r.mu.Lock()
		r.births = append(r.births, b)
		n, onBirth := len(r.births), r.onBirth
		r.mu.Unlock()
		var o order
		if onBirth != nil {
			o = onBirth(n)
		}
		_ = json.NewEncoder(w).Encode(o)
		r.born <- b
	})
	mux.HandleFunc("/call", func(w http.ResponseWriter, req *http.Request) {
		var in request
		_ = json.NewDecoder(req.Body).Decode(&in)
		r.mu.Lock()
		onCall := r.onCall
		r.mu.Unlock()
		a := ok("{}")
		if onCall != nil {
			a = onCall(in)
		}
		_ = json.NewEncoder(w).Encode(a)
	})
	control := httptest.NewServer(mux)
	t.Cleanup(control.Close)
	r.options = Options{
		AppRoot:  stage(t, hostJSON, functions),
		Settings: map[string]string{relayVariable: control.URL},
		Logger:   slog.New(slog.NewTextHandler(r.log, nil)),
		Output:   r.output,
	}
	return r
}

// answerWith changes what the handler does while it runs; before the start, onCall can be set directly.
func (r *rig) answerWith(f func(request) answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onCall = f
}

func (r *rig) starts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.births)
}

func (r *rig) tryStart() error {
	return r.tryStartWithin(within(r.t))
}

func (r *rig) tryStartWithin(ctx context.Context) error {
	r.mu.Lock() // the control server locks too, and so sees what the test set before
	options := r.options
	r.mu.Unlock()
	h, err := start(ctx, options, r.grace, r.drain)
	if err != nil {
		return err
	}
	r.Host = h
	r.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			r.t.Errorf("Close: %v", err)
		}
		if r.t.Failed() {
			r.t.Logf("host log:\n%s\nhandler output:\n%s", r.log, r.output)
		}
	})
	return nil
}

func (r *rig) start() *rig {
	r.t.Helper()
	if err := r.tryStart(); err != nil {
		r.t.Fatalf("Start: %v\n%s\n%s", err, r.log, r.output)
	}
	return r
}

// within is a generous limit for something that must happen.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// wait receives something that must come.
func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-within(t).Done():
		t.Fatalf("waited too long for %s", what)
	}
	return v
}

// hold returns a channel on which a handler can wait, and what lets it go: at the end of the test at the latest.
func hold(t *testing.T) (held <-chan struct{}, letGo func()) {
	c := make(chan struct{})
	letGo = sync.OnceFunc(func() { close(c) })
	t.Cleanup(letGo)
	return c, letGo
}

// eventually polls for something that nothing signals.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := within(t)
	for !happened() {
		select {
		case <-tick.C:
		case <-limit.Done():
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func (r *rig) do(method, path string, body io.Reader, header ...string) (int, http.Header, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(within(r.t), method, r.URL()+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func (r *rig) get(path string, header ...string) int {
	r.t.Helper()
	status, _, _ := r.do(http.MethodGet, path, nil, header...)
	return status
}

func httpFunction(extra string) string {
	return `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req"` + extra + `},{"type":"http","direction":"out","name":"res"}]}`
}

func open(extra string) string { return httpFunction(`,"authLevel":"anonymous"` + extra) }
