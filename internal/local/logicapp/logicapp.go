// Package logicapp stands in for Azure Logic Apps (Consumption) in tests: it runs
// the workflows that are shipped in infra/logicapp against an API over real HTTP.
// It owns the Request trigger with its two ways of signing in, callback URLs, the
// actions and functions which those workflows use, and what happens around an HTTP
// call: retries, polling on 202, webhooks with their unsubscribing, time limits.
//
// It refuses to be a general engine. An action type, option or function that no
// shipped workflow uses is an error that names it, as is everything the service
// would refuse when a workflow is saved. It listens on 127.0.0.1 only.
//
// Sources, in brackets where they are used: [actions] the reference of triggers and
// actions, [http] and [webhook] the pages of those connectors, [errors] handling
// errors and exceptions, [securing] securing a logic app, [custom API] creating
// APIs for Logic Apps, all of Microsoft's documentation of Azure Logic Apps.
package logicapp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/jonboulle/clockwork"
)

// Connector does what a managed connector does in an ApiConnectionWebhook action:
// it returns the answer that somebody gave, as the action's body. The context ends
// when the action's time is over.
type Connector func(ctx context.Context, inputs map[string]any) (body any, err error)

// Engine runs workflows. What is nil is refused when a workflow asks for it, but
// for HTTP and Clock.
type Engine struct {
	HTTP *http.Client // for calls of actions; redirects are not followed
	// Token returns a token of the workflow's managed identity.
	Token func(ctx context.Context, audience string) (string, error)
	// Verify returns the claims of a token that a caller of the trigger sent, or an
	// error if it was not signed by Entra ID.
	Verify     func(ctx context.Context, token string) (map[string]any, error)
	Clock      clockwork.Clock
	Connectors map[string]Connector // by the managed API: "teams"
}

// App is a workflow that is listening.
type App struct {
	engine   Engine
	workflow *Workflow
	name, id string
	base     string // URL
	key      []byte // signs URLs

	ctx    context.Context
	cancel context.CancelFunc
	server *http.Server
	tasks  sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed when runs grows
	runs    []*Run
}

// Start makes the workflow reachable until Close, or until ctx ends. Both cancel
// runs that are under way.
func (e *Engine) Start(ctx context.Context, w *Workflow, name string) (*App, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the workflow %s: %w", name, err)
	}
	a := &App{engine: *e, workflow: w, name: name, id: rand.Text(), base: "http://" + listener.Addr().String(),
		key: []byte(rand.Text()), changed: make(chan struct{})}
	client := http.Client{}
	if e.HTTP != nil {
		client = *e.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a.engine.HTTP = &client
	if a.engine.Clock == nil {
		a.engine.Clock = clockwork.NewRealClock()
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.server = &http.Server{Handler: a.routes()}
	a.tasks.Go(func() { _ = a.server.Serve(listener) })
	return a, nil
}

// Close cancels all runs, waits until they have unsubscribed, and stops listening.
func (a *App) Close() {
	a.cancel()
	for _, r := range a.Runs() {
		<-r.done
	}
	_ = a.server.Close()
	a.tasks.Wait()
}

// TriggerURL is where the workflow is called. If the trigger takes calls that are
// signed by their URL this one is, and it is a secret; otherwise callers need a token.
func (a *App) TriggerURL() string {
	path := a.path("triggers", a.workflow.trigger.name, "paths", "invoke")
	if a.workflow.sas {
		return a.signed(path, "/triggers/"+a.workflow.trigger.name+"/run")
	}
	return a.base + path + "?" + apiVersion
}

// Runs lists all runs, oldest first.
func (a *App) Runs() []*Run {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*Run(nil), a.runs...)
}

// Run waits until there is an n-th run, counted from 1, and returns it.
func (a *App) Run(ctx context.Context, n int) (*Run, error) {
	for {
		a.mu.Lock()
		changed, runs := a.changed, a.runs
		a.mu.Unlock()
		if len(runs) >= n {
			return runs[n-1], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for run %d of %s: %w", n, a.name, ctx.Err())
		}
	}
}

// begin starts a run.
func (a *App) begin(trigger map[string]any) *Run {
	r := &Run{ID: "08584" + rand.Text() + "CU00", app: a, trigger: trigger, status: Running, done: make(chan struct{}),
		answered: make(chan struct{}), changed: make(chan struct{}), records: map[string]*record{}, callbacks: map[string]chan any{}}
	r.ctx, r.end = context.WithCancelCause(a.ctx)
	a.mu.Lock()
	a.runs = append(a.runs, r)
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	go r.run()
	return r
}

func (a *App) run(id string) *Run {
	for _, r := range a.Runs() {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// Why a run or an action ends early.
var (
	errCancelled = errors.New("the run was cancelled")
	errTimedOut  = errors.New("the time limit of the action is over")
)
