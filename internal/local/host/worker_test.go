package host

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

func code(n int) *int { return &n }

func env(b birth, name string) string {
	for _, pair := range b.Env {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

func TestHandlerProcessGetsWhatTheHostGives(t *testing.T) {
	t.Parallel()
	hostJSON := strings.Replace(plainHostJSON, `"handler"`, `"handler","arguments":["--a %COLOUR%","%NOTHING%-z"],"workingDirectory":"data"`, 1)
	r := newRig(t, hostJSON, map[string]string{"hello": open("")})
	if err := os.Mkdir(filepath.Join(r.options.AppRoot, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.options.Settings["COLOUR"] = "deep blue"
	r.onBirth = func(int) order {
		return order{Stdout: "ready\nhalf", Stderr: "bad\r\nWARNING: odd\n"}
	}
	r.start()
	b := wait(t, r.born, "the handler")

	port := env(b, "FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" || env(b, "FUNCTIONS_HTTPWORKER_PORT") != port {
		t.Errorf("ports %q and %q", port, env(b, "FUNCTIONS_HTTPWORKER_PORT"))
	}
	if id := env(b, "FUNCTIONS_CUSTOMHANDLER_WORKER_ID"); len(id) != 36 || env(b, "FUNCTIONS_HTTPWORKER_ID") != id {
		t.Errorf("worker id %q", id)
	}
	if env(b, "FUNCTIONS_APP_ROOT_PATH") != r.options.AppRoot || env(b, "FUNCTIONS_WORKER_RUNTIME") != "custom" || env(b, "COLOUR") != "deep blue" {
		t.Errorf("environment %q", b.Env)
	}
	for _, pair := range b.Env {
		name, _, _ := strings.Cut(pair, "=")
		if !slices.Contains([]string{"PATH", "HOME", "COLOUR", relayVariable, "PWD"}, name) && !strings.HasPrefix(name, "FUNCTIONS_") {
			t.Errorf("the handler inherited %s", name)
		}
	}
	if want := []string{"--a", "deep", "blue", "-z"}; !slices.Equal(b.Args, want) {
		t.Errorf("arguments %q, want %q: they are joined with spaces and not quoted", b.Args, want)
	}
	if want, _ := filepath.EvalSymlinks(filepath.Join(r.options.AppRoot, "data")); b.Dir != want {
		t.Errorf("working directory %q, want %q", b.Dir, want)
	}
	if r.Close() != nil {
		t.Error("Close failed")
	}
	for _, line := range []string{"Information: ready\n", "Information: half\n", "Error: bad\n", "Warning: WARNING: odd\n"} {
		if !strings.Contains(r.output.String(), line) {
			t.Errorf("no line %q in the output:\n%s", line, r.output)
		}
	}
}

func TestCrashedHandlerIsRestartedOnTheSamePort(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	crash := make(chan bool, 1)
	crash <- true
	r.onCall = func(request) answer {
		select {
		case <-crash:
			return answer{Exit: code(1)}
		default:
			return ok("{}")
		}
	}
	r.start()
	if got := r.get("/api/hello"); got != 500 {
		t.Errorf("status %d for the request in flight at the crash, want 500", got)
	}
	first, second := wait(t, r.born, "the first start"), wait(t, r.born, "the restart")
	if env(first, "FUNCTIONS_CUSTOMHANDLER_PORT") != env(second, "FUNCTIONS_CUSTOMHANDLER_PORT") {
		t.Error("the port changed")
	}
	if env(first, "FUNCTIONS_CUSTOMHANDLER_WORKER_ID") == env(second, "FUNCTIONS_CUSTOMHANDLER_WORKER_ID") {
		t.Error("the worker id did not change")
	}
	eventually(t, "the handler to serve again", func() bool { return r.get("/api/hello") == 200 })
	if c := r.Invocations()["hello"]; c.Failed < 1 || c.Succeeded != 1 || c.Started != c.Failed+c.Succeeded {
		t.Errorf("counts %+v", c)
	}
	if r.Err() != nil {
		t.Errorf("Err = %v", r.Err())
	}
}

func TestThirdCrashEndsTheHost(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	r.onCall = func(request) answer { return answer{Exit: code(7)} }
	r.onBirth = func(n int) order { return order{Stderr: "boom\n"} }
	r.start()
	eventually(t, "the host to end", func() bool {
		r.get("/api/hello")
		return r.Err() != nil
	})
	wait(t, r.Done(), "Done")
	if !errors.Is(r.Err(), ErrCrashed) || !strings.Contains(r.Err().Error(), "boom") {
		t.Errorf("Err = %v, want ErrCrashed with the last stderr line", r.Err())
	}
	if got := r.get("/api/hello"); got != 503 {
		t.Errorf("status %d from a host that ended, want 503", got)
	}
	if n := r.starts(); n != 3 {
		t.Errorf("%d starts, want 3", n)
	}
}

func TestOldCrashesAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	clock := clockwork.NewFakeClock()
	r.options.Clock = clock
	r.onCall = func(request) answer { return answer{Exit: code(1)} }
	r.start()
	wait(t, r.born, "the start")
	for range 4 {
		r.get("/api/hello")
		wait(t, r.born, "the restart")
		clock.Advance(31 * time.Minute)
	}
	if r.Err() != nil {
		t.Errorf("Err = %v after crashes that lie half an hour apart", r.Err())
	}
}

func TestExitZeroIsNotRestarted(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	r.onCall = func(request) answer { return answer{Exit: code(0)} }
	r.start()
	r.get("/api/hello")
	wait(t, r.Done(), "Done")
	if !errors.Is(r.Err(), ErrExited) {
		t.Errorf("Err = %v, want ErrExited", r.Err())
	}
	if status, _, body := r.do(http.MethodGet, "/api/hello", nil); status != 500 || body != "" {
		t.Errorf("%d %q, want 500 with an empty body", status, body)
	}
	if n := r.starts(); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

func TestExit200AsksForARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	r.onBirth = func(n int) order {
		if n <= 5 {
			return order{Exit: code(200)}
		}
		return order{}
	}
	r.start()
	if got := r.get("/api/hello"); got != 200 {
		t.Errorf("status %d", got)
	}
}

func TestKillRestartsAndDoesNotCount(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	r.start()
	for range 5 {
		r.Kill()
		if got := r.get("/api/hello"); got != 200 {
			t.Fatalf("status %d: a request during the restart waits", got)
		}
	}
	if r.Err() != nil {
		t.Errorf("Err = %v", r.Err())
	}
}

func TestPauseKeepsADeadHandlerDead(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")}).start()
	wait(t, r.born, "the start")
	r.Pause()
	if got := r.get("/api/hello"); got != 200 {
		t.Errorf("status %d while paused and alive, want 200", got)
	}
	r.Kill()
	if got := r.get("/api/hello"); got != 500 {
		t.Errorf("status %d from a dead handler, want 500", got)
	}
	r.Kill() // nothing to kill
	if n := r.starts(); n != 1 {
		t.Errorf("%d starts while paused, want 1", n)
	}
	r.Resume()
	wait(t, r.born, "the restart")
	eventually(t, "the handler to serve again", func() bool { return r.get("/api/hello") == 200 })
}

func TestFunctionTimeoutKillsTheWorkerAndFailsEverything(t *testing.T) {
	t.Parallel()
	hostJSON := strings.Replace(plainHostJSON, `"version":"2.0"`, `"version":"2.0","functionTimeout":"00:00:01"`, 1)
	r := newRig(t, hostJSON, map[string]string{"slow": open(""), "other": open("")})
	release, _ := hold(t)
	arrived := make(chan string, 10)
	r.onCall = func(in request) answer {
		arrived <- in.URI
		<-release
		return ok("{}")
	}
	r.start()
	wait(t, r.born, "the start")
	statuses := make(chan int, 2)
	go func() { statuses <- r.get("/api/slow") }()
	wait(t, arrived, "the slow request")
	go func() { statuses <- r.get("/api/other") }()
	wait(t, arrived, "the other request")
	for range 2 {
		if got := wait(t, statuses, "an answer"); got != 500 {
			t.Errorf("status %d, want 500", got)
		}
	}
	wait(t, r.born, "the restart")
	if r.Err() != nil {
		t.Errorf("Err = %v: a timeout is no crash", r.Err())
	}
}

func TestStartFailsWhenTheHandlerCannotStart(t *testing.T) {
	t.Parallel()
	functions := map[string]string{"hello": open("")}
	quick := strings.Replace(plainHostJSON, `"customHandler":{`, `"customHandler":{"initializationTimeout":"00:00:00.2",`, 1)

	r := newRig(t, quick, functions)
	r.onBirth = func(int) order { return order{Silent: true} }
	if err := r.tryStart(); !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("a handler that never listens: %v", err)
	}
	r = newRig(t, plainHostJSON, functions)
	r.onBirth = func(int) order { return order{Exit: code(0)} }
	if err := r.tryStart(); !errors.Is(err, ErrExited) {
		t.Errorf("a handler that exits 0: %v", err)
	}
	r = newRig(t, plainHostJSON, functions)
	r.onBirth = func(int) order { return order{Exit: code(1), Stderr: "no such table\n"} }
	if err := r.tryStart(); !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("a handler that crashes: %v", err)
	}
	r = newRig(t, plainHostJSON, functions)
	path := filepath.Join(r.options.AppRoot, "handler")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.tryStart(); err == nil || !strings.Contains(err.Error(), "starting the handler") {
		t.Errorf("a file that is no program: %v", err)
	}

	r = newRig(t, plainHostJSON, functions)
	r.onBirth = func(int) order { return order{Silent: true} }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-r.born; cancel() }()
	if err := r.tryStartWithin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
}

// TestCloseLeavesNothing is not parallel: it counts goroutines.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open(""), "tick": timerFunction("0 0 0 1 1 *", "")}).start()
	for range 3 {
		r.get("/api/hello")
	}
	if err := r.Trigger(within(t), "tick"); err != nil {
		t.Error(err)
	}
	port := env(wait(t, r.born, "the start"), "FUNCTIONS_CUSTOMHANDLER_PORT")
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := http.Get("http://127.0.0.1:" + port + "/"); err == nil {
		t.Error("the handler survived Close")
	}
	if err := r.Trigger(within(t), "tick"); !errors.Is(err, ErrClosed) {
		t.Errorf("Trigger after Close: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the goroutines to end", func() bool {
		return runtime.NumGoroutine() <= before+4 // the test's own control server
	})
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t, plainHostJSON, map[string]string{"hello": open("")})
	r.drain = 50 * time.Millisecond
	release, _ := hold(t)
	arrived := make(chan struct{}, 10)
	r.onCall = func(request) answer { arrived <- struct{}{}; <-release; return ok("{}") }
	r.start()
	status := make(chan int, 1)
	go func() { status <- r.get("/api/hello") }()
	wait(t, arrived, "the request")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := wait(t, status, "the answer"); got != 500 {
		t.Errorf("status %d, want 500", got)
	}
}
