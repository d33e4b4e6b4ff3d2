// Package host stands in for the Azure Functions host v4 and its custom handlers: it reads a staged function app
// (host.json, the handler, one function.json per folder), starts the handler as a child process, forwards HTTP to it,
// pumps Service Bus queues through the real client and fires timers, so that the same handler runs on a laptop without
// knowing. It keeps the host's value encodings, its restart rules and its judgement of answers
// (Azure/azure-functions-host v4.1037, Service Bus extension 5.17), and it is never kinder: what would hang or be
// ignored in Azure is an error here.
//
// It refuses what jitgate does not use: the JSON envelope for HTTP, proxying, output bindings, topics, retry policies,
// identity-based connections, prefetch, and overrides of host.json by app settings. Each is a start error, not a
// silent difference. It listens on 127.0.0.1 only.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

var (
	// ErrHang: an answer (an empty 2xx, 204 or null) on which the real host would wait until functionTimeout.
	ErrHang = errors.New("the Functions host would hang on this answer")
	// ErrExited: the handler exited with code 0; the host does not restart it and every later invocation fails.
	ErrExited = errors.New("the handler exited with code 0")
	// ErrCrashed: the handler failed three times with no more than half an hour between the failures, or never became
	// ready; the host process itself stops.
	ErrCrashed = errors.New("the handler failed too often")
	// ErrClosed: the host is closed.
	ErrClosed = errors.New("the host is closed")
)

// drain is how long the host waits for invocations in flight when it stops; grace is what it adds to functionTimeout.
const (
	drain = 10 * time.Second
	grace = 2 * time.Second
)

// Options configure a Host. Only AppRoot is required.
type Options struct {
	// AppRoot is the staged app: host.json, the handler, <function>/function.json.
	AppRoot string
	// Settings are the app settings: with PATH and HOME they are the environment of the handler; bindings' connection
	// names and %NAME% resolve here.
	Settings map[string]string
	// Keys are the host keys by name: "_master" opens everything and /admin, any other opens authLevel function. As in
	// Azure, a function that wants a key answers 401 until there is one.
	Keys map[string]string
	// Listener is the public HTTP listener; it must be on 127.0.0.1. Default: a free port there. The Host closes it.
	Listener net.Listener
	// Clock runs timers, the renewal of Service Bus locks (which the broker dates, so give both the same clock) and the
	// half hour after which crashes are forgotten. Default: real time.
	Clock clockwork.Clock
	// Logger gets the host's own lines. Default: none.
	Logger *slog.Logger
	// Output gets the handler's lines, each with its level: "Information: …", "Warning: …" or "Error: …".
	Output io.Writer
	// Principal switches App Service Authentication on: every request is signed in as this client principal (JSON with
	// auth_typ, claims, name_typ, role_typ), headers of that kind sent by the client are removed, and the handler sees
	// WEBSITE_AUTH_ENABLED=True. When empty, client-sent X-MS-CLIENT-PRINCIPAL headers pass unchanged.
	Principal string
	// StateDir keeps the timers' schedule records between starts, as host storage does in Azure. When empty they live
	// in memory, and a start never finds a missed run.
	StateDir string
	// TolerateHangs makes an answer that hangs the real host hang here too, until functionTimeout. By default it fails
	// the invocation at once and ends the host with ErrHang, so that a test notices.
	TolerateHangs bool
}

// Count is what happened to one function. Hung is part of Failed. An HTTP answer of any status is a success; only an
// unreachable handler is a failure.
type Count struct{ Started, Succeeded, Failed, Hung int }

// Host is a running stand-in.
type Host struct {
	app           *app
	clock         clockwork.Clock
	log           *slog.Logger
	keys          map[string]string
	login         *login
	stateDir      string
	tolerateHangs bool
	grace         time.Duration
	drain         time.Duration

	listener    net.Listener
	server      *http.Server
	transport   *http.Transport
	worker      *worker
	releasePort func()
	gate        *gate
	buses       map[string]*bus // by connection string
	timers      map[string]*timer

	work     context.Context // listeners take new work until it ends
	stopWork context.CancelFunc
	life     context.Context // the handler runs until it ends
	stopLife context.CancelFunc
	tasks    tasks // everything that takes work or does it
	running  sync.WaitGroup

	mu     sync.Mutex
	counts map[string]Count
	err    error
	done   chan struct{}
	closed chan struct{}
	once   sync.Once
}

// Start runs the app. It returns once the handler answers and all listeners run; ctx bounds the start only. The error
// joins all faults of host.json, the function.json files, the settings and the queues.
func Start(ctx context.Context, o Options) (*Host, error) {
	return start(ctx, o, grace, drain)
}

func start(ctx context.Context, o Options, grace, drain time.Duration) (_ *Host, err error) {
	h := &Host{
		clock: o.Clock, log: o.Logger, keys: o.Keys, stateDir: o.StateDir, tolerateHangs: o.TolerateHangs,
		grace: grace, drain: drain, listener: o.Listener,
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second},
		gate:      newGate(), buses: map[string]*bus{}, timers: map[string]*timer{},
		counts: map[string]Count{}, done: make(chan struct{}), closed: make(chan struct{}),
	}
	if h.clock == nil {
		h.clock = clockwork.NewRealClock()
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	h.work, h.stopWork = context.WithCancel(context.Background())
	h.life, h.stopLife = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.listener == nil {
		if h.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	if a, ok := h.listener.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return nil, fmt.Errorf("the listener is on %v: it must be on 127.0.0.1", h.listener.Addr())
	}
	env := settings(o.Settings)
	var faults []error
	if h.app, err = loadApp(o.AppRoot, env); err != nil {
		faults = append(faults, err)
	}
	if h.login, err = parseLogin(o.Principal); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, warning := range h.app.warnings {
		h.log.Warn(warning)
	}
	if err := h.openBuses(ctx); err != nil {
		return nil, err
	}
	if err := h.startWorker(ctx, env, o); err != nil {
		return nil, err
	}
	var loops []func()
	for _, fn := range h.app.functions {
		if fn.disabled {
			continue
		}
		if fn.queue != nil {
			loops = append(loops, h.pump(fn))
		}
		if fn.timer != nil {
			t := &timer{h: h, fn: fn}
			t.prepare()
			h.timers[fn.name] = t
			loops = append(loops, t.run)
		}
	}
	h.serveHTTP()
	for _, loop := range loops {
		h.tasks.spawn(loop)
	}
	return h, nil
}

func (h *Host) startWorker(ctx context.Context, env settings, o Options) error {
	port, release, err := reservePort()
	if err != nil {
		return err
	}
	h.releasePort = release
	list := handlerEnv(env)
	if h.login != nil {
		list = append(list, "WEBSITE_AUTH_ENABLED=True")
	}
	h.worker = &worker{
		app: h.app, env: list, url: fmt.Sprintf("http://127.0.0.1:%d", port), gate: h.gate, clock: h.clock,
		console: &console{out: o.Output}, log: h.log, end: h.end, ready: make(chan struct{}),
	}
	first := make(chan error, 1)
	h.running.Go(func() { h.worker.run(h.life, port, first) })
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the handler to answer: %w", ctx.Err())
	}
}

// URL is the public base address, without a slash at the end.
func (h *Host) URL() string { return "http://" + h.listener.Addr().String() }

// Done is closed when the app is over: the handler exited with code 0, failed too often, or made the host hang.
func (h *Host) Done() <-chan struct{} { return h.done }

// Err says why Done is closed; nil before.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// end records the first reason why the app is over. With stop, the host takes no more work.
func (h *Host) end(err error, stop bool) {
	h.mu.Lock()
	first := h.err == nil
	if first {
		h.err = err
	}
	h.mu.Unlock()
	if first {
		close(h.done)
	}
	if stop {
		h.stopWork()
		h.stopLife()
	}
}

// Invocations returns what happened so far, by function name.
func (h *Host) Invocations() map[string]Count {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[string]Count, len(h.counts))
	for name, c := range h.counts {
		out[name] = c
	}
	return out
}

func (h *Host) count(fn *function, add func(*Count)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.counts[fn.name]
	add(&c)
	h.counts[fn.name] = c
}

// Kill ends the handler now, as a recycle by the platform does, and returns when the process is gone. The host starts
// it again on the same port and does not count it as a crash.
func (h *Host) Kill() { h.worker.kill(nil) }

// Pause stops taking messages and firing timers, and keeps a dead handler dead; work in flight goes on. HTTP is still
// forwarded, and answers 500 once the handler is dead.
func (h *Host) Pause() { h.gate.shut() }

// Resume undoes Pause. A timer whose time passed meanwhile runs at once.
func (h *Host) Resume() { h.gate.open() }

// Close stops the listeners, waits up to ten seconds for what is in flight, kills the handler and returns when nothing
// of the Host is left running. It may be called more than once.
func (h *Host) Close() error {
	h.once.Do(func() {
		if h.listener != nil {
			_ = h.listener.Close()
		}
		h.stopWork()
		idle := h.tasks.close()
		limit := time.NewTimer(h.drain)
		select {
		case <-idle:
		case <-h.life.Done(): // the host gave up already: nothing in flight can end well
		case <-limit.C:
			h.log.Warn("invocations are still in flight, killing the handler", "after", h.drain)
		}
		limit.Stop()
		h.stopLife()
		<-idle
		if h.server != nil {
			// An answer is written after its handler returned: give the last ones the time.
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_ = h.server.Shutdown(ctx)
			cancel()
			_ = h.server.Close()
		}
		h.running.Wait()
		if h.releasePort != nil {
			h.releasePort()
		}
		for _, b := range h.buses {
			b.close()
		}
		h.transport.CloseIdleConnections()
		close(h.closed)
	})
	<-h.closed
	return nil
}
