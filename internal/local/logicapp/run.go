package logicapp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Status of a run or an action.
type Status string

// The states of runs and actions; Skipped and TimedOut are of actions only. An
// action is Waiting while it pauses between calls or for somebody's answer.
const (
	Running   Status = "Running"
	Waiting   Status = "Waiting"
	Succeeded Status = "Succeeded"
	Failed    Status = "Failed"
	Skipped   Status = "Skipped"
	TimedOut  Status = "TimedOut"
	Cancelled Status = "Cancelled"
)

// Hidden stands in the history for what secureData hides.
const Hidden = "hidden"

// Action is what the history of a run shows of an action.
type Action struct {
	Name            string
	Status          Status
	Code, Error     string // if it did not succeed
	Inputs, Outputs any
}

// Run is one run of a workflow.
type Run struct {
	ID string

	app     *App
	trigger map[string]any // headers and body of the call
	ctx     context.Context
	end     context.CancelCauseFunc
	done    chan struct{}

	answered chan struct{} // closed when response is set

	mu        sync.Mutex
	response  *answer       // of the first Response action
	changed   chan struct{} // closed at every change of an action
	status    Status
	records   map[string]*record
	callbacks map[string]chan any // of actions that wait for one
}

type record struct {
	Action
	waits   int
	outputs any // not hidden
}

// terminated is the cause of a run's end by a Terminate action.
type terminated struct {
	status        Status
	code, message string
}

func (t terminated) Error() string { return "terminated: " + t.code + " " + t.message }

func (r *Run) run() {
	status := r.actions(r.ctx, r.app.workflow.actions)
	var t terminated
	switch cause := context.Cause(r.ctx); {
	case cause == nil:
	case errors.As(cause, &t):
		status = t.status
	default:
		status = Cancelled
	}
	r.mu.Lock()
	r.status = status
	r.mu.Unlock()
	r.end(nil)
	close(r.done)
}

// Wait returns how the run ended.
func (r *Run) Wait(ctx context.Context) (Status, error) {
	select {
	case <-r.done:
		return r.Status(), nil
	case <-ctx.Done():
		return r.Status(), fmt.Errorf("wait for run %s: %w", r.ID, ctx.Err())
	}
}

// Status is Running until the run has ended.
func (r *Run) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Cancel ends the run as an operator may: actions that wait unsubscribe first.
func (r *Run) Cancel() { r.end(errCancelled) }

// AwaitWait waits until the action has begun to wait for the n-th time, counted from
// 1. Only then do its timers run: a test that moves the clock calls this before.
func (r *Run) AwaitWait(ctx context.Context, action string, n int) error {
	for {
		r.mu.Lock()
		changed, rec := r.changed, r.records[action]
		reached := rec != nil && rec.waits >= n
		over := rec != nil && rec.Status != Running && rec.Status != Waiting
		r.mu.Unlock()
		switch {
		case reached:
			return nil
		case over:
			return fmt.Errorf("%s ended before it waited %d times: %+v", action, n, r.Action(action))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s waits: %w", action, ctx.Err())
		}
	}
}

// Action is the history of one action; it is empty until its turn comes.
func (r *Run) Action(name string) Action {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.records[name]; rec != nil {
		return rec.Action
	}
	return Action{Name: name}
}

// History is everything the run's history shows, the trigger first, then the
// actions by name.
func (r *Run) History() []Action {
	t := Action{Name: r.app.workflow.trigger.name, Status: Succeeded, Outputs: r.trigger}
	if r.app.workflow.trigger.hidden.outputs {
		t.Outputs = Hidden
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []Action{t}
	for _, name := range slices.Sorted(maps.Keys(r.records)) {
		out = append(out, r.records[name].Action)
	}
	return out
}

// change applies f to an action's record and wakes who waits for it.
func (r *Run) change(a *action, f func(*record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[a.name]
	if rec == nil {
		rec = &record{Action: Action{Name: a.name}}
		r.records[a.name] = rec
	}
	f(rec)
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait notes that the action waits from now on; its timers have been set.
func (r *Run) wait(a *action) {
	r.change(a, func(rec *record) { rec.Status = Waiting; rec.waits++ })
}

// actions runs those that lie beside each other and returns what came of them.
func (r *Run) actions(ctx context.Context, actions map[string]*action) Status {
	done := map[string]chan struct{}{}
	for name := range actions {
		done[name] = make(chan struct{})
	}
	for name, a := range actions {
		go func() {
			defer close(done[name])
			ready := true
			for before, statuses := range a.runAfter {
				<-done[before]
				ready = ready && slices.Contains(statuses, string(r.Action(before).Status))
			}
			if !ready || ctx.Err() != nil {
				r.skip(a)
				return
			}
			r.perform(ctx, a)
		}()
	}
	for _, d := range done {
		<-d
	}
	return r.outcome(actions)
}

// skip marks an action and whatever is in it.
func (r *Run) skip(a *action) {
	r.change(a, func(rec *record) { rec.Status = Skipped })
	for _, children := range []map[string]*action{a.actions, a.others} {
		for _, child := range children {
			r.skip(child)
		}
	}
}

// outcome looks at the last action of every branch. If that was skipped, the one
// before it counts: a failure that nobody handled is not hidden by what did not run
// after it. That is our reading of [errors], which speaks of last actions only.
func (r *Run) outcome(actions map[string]*action) Status {
	followed := map[string]bool{}
	for _, a := range actions {
		for before := range a.runAfter {
			followed[before] = true
		}
	}
	var fine func(a *action) bool
	fine = func(a *action) bool {
		switch r.Action(a.name).Status {
		case Succeeded:
			return true
		case Skipped:
			for before := range a.runAfter {
				if !fine(actions[before]) {
					return false
				}
			}
			return true
		}
		return false
	}
	for name, a := range actions {
		if !followed[name] && !fine(a) {
			return Failed
		}
	}
	return Succeeded
}

// functions are the pure ones and those of the run, as the named action sees them.
func (r *Run) functions(name string, item any) functions {
	fs := maps.Clone(pure)
	output := func(args []any) (any, error) {
		s, err := strs(args)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if rec := r.records[s[0]]; rec != nil {
			return rec.outputs, nil
		}
		return nil, fmt.Errorf("%s has not run", s[0])
	}
	fs["outputs"] = function{1, 1, output}
	fs["body"] = function{1, 1, func(args []any) (any, error) {
		v, err := output(args)
		if m, isObject := v.(map[string]any); isObject && err == nil {
			return m["body"], nil
		}
		return nil, err
	}}
	fs["triggerbody"] = function{0, 0, func([]any) (any, error) { return r.trigger["body"], nil }}
	fs["parameters"] = lookup("parameter", r.app.workflow.parameters)
	fs["item"] = function{0, 0, func([]any) (any, error) { return item, nil }}
	fs["workflow"] = function{0, 0, func([]any) (any, error) {
		id := "/workflows/" + r.app.id
		return map[string]any{"id": id, "name": r.app.name, "type": "Microsoft.Logic/workflows",
			"run": map[string]any{"id": id + "/runs/" + r.ID, "name": r.ID, "type": "Microsoft.Logic/workflows/runs"}}, nil
	}}
	fs["listcallbackurl"] = function{0, 0, func([]any) (any, error) { return r.callbackURL(name), nil }}
	return fs
}
