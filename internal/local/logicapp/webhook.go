package logicapp

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// webhook is the HttpWebhook action: it subscribes with a URL of its own, waits
// until that is called, and unsubscribes: after success, when the run is cancelled,
// and before it times out [webhook]. That it does so when only the action times out
// is our reading of it.
func (r *Run) webhook(ctx context.Context, a *action, inputs map[string]any) result {
	subscribe, err := readRequest(inputs["subscribe"])
	if err != nil {
		return failed("InvalidTemplate", fmt.Errorf("subscribe: %w", err))
	}
	answers, stop := r.listen(a)
	defer stop()
	got, err := r.repeat(ctx, a, subscribe)
	switch {
	case err != nil:
		return r.stopped(ctx, "BadRequest", err)
	case !got.ok():
		return result{status: Failed, code: "ActionFailed", message: fmt.Sprintf("subscribe was answered with %d", got.status), outputs: got.outputs()}
	}
	r.wait(a)
	var res result
	select {
	case outputs := <-answers:
		res = result{status: Succeeded, outputs: outputs}
	case <-ctx.Done():
		res = r.stopped(ctx, "", nil)
	}
	stop() // whoever calls back from now on is too late
	select {
	case outputs := <-answers: // the caller was told that it was in time
		res = result{status: Succeeded, outputs: outputs}
	default:
	}
	if inputs["unsubscribe"] == nil {
		return res
	}
	unsubscribe, err := readRequest(inputs["unsubscribe"])
	if err == nil {
		// What ended the action must not end this call too.
		_, err = r.repeat(context.WithoutCancel(ctx), a, unsubscribe)
	}
	if err != nil {
		res.message = "unsubscribe: " + err.Error() // does not undo what came before
	}
	return res
}

// connection is the ApiConnectionWebhook action.
func (r *Run) connection(ctx context.Context, a *action, inputs map[string]any) result {
	connector, err := r.connector(inputs)
	if err != nil {
		return failed("InvalidTemplate", err)
	}
	answers, stop := r.listen(a)
	defer stop()
	type returned struct {
		body any
		err  error
	}
	results := make(chan returned, 1)
	r.wait(a)
	go func() {
		body, err := connector(ctx, inputs)
		if err == nil {
			body, err = normal(body)
		}
		results <- returned{body, err}
	}()
	select {
	case outputs := <-answers: // the connector passed the URL on
		return result{status: Succeeded, outputs: outputs}
	case got := <-results:
		if got.err != nil {
			return r.stopped(ctx, "BadGateway", got.err)
		}
		return result{status: Succeeded, outputs: map[string]any{"body": got.body}}
	case <-ctx.Done():
		return r.stopped(ctx, "", nil)
	}
}

// connector finds the one that the connection of the inputs leads to.
func (r *Run) connector(inputs map[string]any) (Connector, error) {
	host, _ := inputs["host"].(map[string]any)
	connection, _ := host["connection"].(map[string]any)
	all, _ := r.app.workflow.parameters["$connections"].(map[string]any)
	for _, v := range all {
		c, _ := v.(map[string]any)
		id, _ := c["connectionId"].(string)
		managed, _ := c["id"].(string)
		if id == "" || id != connection["name"] {
			continue
		}
		if f := r.app.engine.Connectors[path.Base(managed)]; f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("there is no connector for %q", managed)
	}
	return nil, errors.New("the connection is none of $connections")
}

// listen lets the action's callback URL work until stop is called. One call is
// taken, the others come too late.
func (r *Run) listen(a *action) (answers chan any, stop func()) {
	answers = make(chan any, 1)
	r.mu.Lock()
	r.callbacks[a.name] = answers
	r.mu.Unlock()
	return answers, func() {
		r.mu.Lock()
		delete(r.callbacks, a.name)
		r.mu.Unlock()
	}
}

// called takes a call of an action's callback URL and reports whether anybody was
// waiting for it.
func (r *Run) called(action string, outputs any) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := r.callbacks[action]
	if answers == nil {
		return false
	}
	delete(r.callbacks, action)
	answers <- outputs
	return true
}
