package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

// Constants of the real host (HttpWorkerProcess.cs, HttpFunctionInvocationDispatcher.cs).
const (
	readyPoll    = 25 * time.Millisecond
	maxStrikes   = 3
	strikeWindow = 30 * time.Minute
	exitRestart  = 200 // an exit code that asks for a restart
)

// worker keeps the handler process alive, on one port for the life of the host.
type worker struct {
	app     *app
	env     []string
	url     string
	gate    *gate
	clock   clockwork.Clock
	console *console
	log     *slog.Logger
	end     func(err error, stop bool) // what can only end the host

	mu      sync.Mutex
	current *process
	ready   chan struct{} // closed while the dispatcher takes the handler for initialized
	strikes []time.Time   // touched by run only
}

// process is one start of the handler.
type process struct {
	cmd     *exec.Cmd
	exited  chan struct{} // closed once it is gone
	handled chan struct{} // closed once the worker has drawn its conclusions
	planned bool          // killed by the host; guarded by worker.mu
	flush   func()
}

func (w *worker) start(port int) (*process, error) {
	id := uuid.NewString()
	cmd := exec.Command(w.app.command, w.app.args...)
	cmd.Dir = w.app.dir
	cmd.Env = append(append([]string(nil), w.env...),
		"FUNCTIONS_CUSTOMHANDLER_PORT="+strconv.Itoa(port), "FUNCTIONS_HTTPWORKER_PORT="+strconv.Itoa(port),
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID="+id, "FUNCTIONS_HTTPWORKER_ID="+id,
		"FUNCTIONS_APP_ROOT_PATH="+w.app.root)
	stdout, stderr := &lines{to: w.console, level: stdoutLevel}, &lines{to: w.console, level: stderrLevel}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipes open must not hold up the restart
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the handler: %w", err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{}), handled: make(chan struct{}), flush: func() { stdout.flush(); stderr.flush() }}
	go func() {
		_ = cmd.Wait() // the exit code is read from ProcessState
		p.flush()
		close(p.exited)
	}()
	w.mu.Lock()
	w.current = p
	w.mu.Unlock()
	return p, nil
}

// run starts the handler and starts it again whenever it goes, until ctx ends or it may not be restarted. The first
// outcome, ready or not, is sent on first.
func (w *worker) run(ctx context.Context, port int, first chan<- error) {
	report := func(err error) bool {
		if first == nil {
			return false
		}
		first <- err
		first = nil
		return true
	}
	for {
		p, err := w.start(port)
		if err != nil {
			if !report(err) {
				w.end(err, true)
			}
			return
		}
		ready, late := w.awaitReady(ctx, p)
		if ready {
			w.setReady(true)
			report(nil)
			select {
			case <-p.exited:
			case <-ctx.Done():
			}
		}
		_ = p.cmd.Process.Kill() // already gone, or late, or the host closes
		<-p.exited
		if ctx.Err() != nil {
			close(p.handled)
			report(ctx.Err())
			return
		}
		if err, stop := w.judgeExit(p, late); err != nil {
			close(p.handled)
			if !report(err) {
				w.end(err, stop)
			}
			return
		}
		if w.gate.isOpen() {
			w.setReady(false) // new invocations wait; while paused they find a dead port instead
		}
		close(p.handled)
		if _, leave, err := w.gate.enter(ctx); err != nil {
			return
		} else {
			leave()
		}
		w.setReady(false)
	}
}

// awaitReady asks GET / until anything but "connection refused" comes back, or the handler is gone. The error says that
// it took too long.
func (w *worker) awaitReady(ctx context.Context, p *process) (ready bool, late error) {
	ctx, cancel := context.WithTimeout(ctx, w.app.initTimeout)
	defer cancel()
	client := &http.Transport{DisableKeepAlives: true}
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/", nil)
		if err != nil {
			return false, err
		}
		resp, err := client.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
			return true, nil
		}
		if ctx.Err() == nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return true, nil
		}
		select {
		case <-tick.C:
		case <-p.exited:
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("the handler did not answer GET / within %v", w.app.initTimeout)
		}
	}
}

// judgeExit decides whether the handler is started again. An error says that it is not; stop, that the host ends too.
func (w *worker) judgeExit(p *process, late error) (err error, stop bool) {
	code := p.cmd.ProcessState.ExitCode()
	stderr := w.console.lastErrors()
	w.mu.Lock()
	planned := p.planned
	w.mu.Unlock()
	switch {
	case planned:
		w.log.Info("handler killed, restarting")
		return nil, false
	case late == nil && code == 0:
		w.log.Error("handler exited with code 0: the host does not restart it, every invocation fails from now on")
		return fmt.Errorf("%w: %s", ErrExited, stderr), false
	case late == nil && code == exitRestart:
		w.log.Info("handler asked for a restart (exit code 200)")
		return nil, false
	}
	if late == nil {
		late = fmt.Errorf("the handler exited (%v)", p.cmd.ProcessState)
	}
	now := w.clock.Now()
	if n := len(w.strikes); n > 0 && now.Sub(w.strikes[n-1]) > strikeWindow {
		w.strikes = nil
	}
	w.strikes = append(w.strikes, now)
	w.log.Error("handler failed", "reason", late, "errors", len(w.strikes), "stderr", stderr)
	if len(w.strikes) >= maxStrikes {
		return fmt.Errorf("%w: %w: %s", ErrCrashed, late, stderr), true
	}
	return nil, false
}

func (w *worker) setReady(ready bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.ready:
		if !ready {
			w.ready = make(chan struct{})
		}
	default:
		if ready {
			close(w.ready)
		}
	}
}

// await returns the process that takes the next call. Like the host it waits while the handler starts, up to four times
// the initialization timeout, and then gives up for good.
func (w *worker) await(ctx context.Context) (*process, error) {
	limit := time.NewTimer(4 * w.app.initTimeout)
	defer limit.Stop()
	for {
		w.mu.Lock()
		ready, current := w.ready, w.current
		w.mu.Unlock()
		select {
		case <-ready:
			return current, nil
		default:
		}
		select {
		case <-ready: // look again, together with the process
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-limit.C:
			err := fmt.Errorf("%w: the handler did not become ready within %v", ErrCrashed, 4*w.app.initTimeout)
			w.end(err, true)
			return nil, err
		}
	}
}

// kill ends process p, or whichever runs when p is nil, as a platform recycle does, and returns once it is gone. New
// invocations wait for the restart; while paused they find a dead port.
func (w *worker) kill(p *process) {
	w.mu.Lock()
	if p == nil {
		p = w.current
	}
	p.planned = true
	w.mu.Unlock()
	if w.gate.isOpen() && p.running() {
		w.setReady(false)
	}
	_ = p.cmd.Process.Kill() // an error means that it is gone already
	<-p.handled
}

// running reports whether the worker has not yet drawn its conclusions from the end of the process.
func (p *process) running() bool {
	select {
	case <-p.handled:
		return false
	default:
		return true
	}
}

// settled waits for those conclusions, for no longer than limit.
func (p *process) settled(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.handled:
	case <-timer.C:
	}
}

// handlerEnv is the environment of the handler: what a bare system has, and the app settings.
func handlerEnv(s settings) []string {
	all := map[string]string{"PATH": os.Getenv("PATH"), "HOME": os.Getenv("HOME"), "FUNCTIONS_WORKER_RUNTIME": "custom"}
	for name, value := range s {
		all[name] = value
	}
	list := make([]string, 0, len(all))
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	return list
}
