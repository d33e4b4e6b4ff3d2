package logicapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// result is what became of an action.
type result struct {
	status        Status
	code, message string
	outputs       any
}

func failed(code string, err error) result {
	return result{status: Failed, code: code, message: err.Error()}
}

// perform runs an action whose turn it is.
func (r *Run) perform(ctx context.Context, a *action) {
	r.change(a, func(rec *record) { rec.Status = Running })
	res := r.act(ctx, a)
	r.change(a, func(rec *record) {
		rec.Status, rec.Code, rec.Error, rec.outputs, rec.Outputs = res.status, res.code, res.message, res.outputs, res.outputs
		if a.hidden.outputs && res.outputs != nil {
			rec.Outputs = Hidden
		}
	})
}

func (r *Run) act(ctx context.Context, a *action) result {
	if a.limit > 0 {
		limited, end := context.WithCancelCause(ctx)
		defer end(nil)
		timer := r.app.engine.Clock.AfterFunc(a.limit, func() { end(errTimedOut) })
		defer timer.Stop()
		ctx = limited
	}
	switch a.typ {
	case "If":
		return r.branch(ctx, a)
	case "Select": // its expressions are computed for each item
		return r.choose(a)
	}
	inputs, err := r.functions(a.name, nil).expand(a.inputs)
	if err != nil {
		return failed("InvalidTemplate", err)
	}
	r.show(a, inputs)
	fields, _ := inputs.(map[string]any)
	switch a.typ {
	case "Compose":
		return result{status: Succeeded, outputs: inputs}
	case "Response":
		return r.respond(fields)
	case "Terminate":
		return r.terminate(fields)
	case "Http":
		return r.http(ctx, a, fields)
	case "HttpWebhook":
		return r.webhook(ctx, a, fields)
	case "ApiConnectionWebhook":
		return r.connection(ctx, a, fields)
	}
	panic("no such action: " + a.typ) // Load knows the types
}

// show puts the inputs into the history.
func (r *Run) show(a *action, inputs any) {
	if a.hidden.inputs {
		inputs = Hidden
	}
	r.change(a, func(rec *record) { rec.Inputs = inputs })
}

func (r *Run) branch(ctx context.Context, a *action) result {
	yes, err := r.condition(a.expression)
	if err != nil {
		return failed("InvalidTemplate", err)
	}
	run, skip := a.actions, a.others
	if !yes {
		run, skip = skip, run
	}
	for _, child := range skip {
		r.skip(child)
	}
	status := r.actions(ctx, run)
	if status != Succeeded {
		return result{status: status, code: "ActionFailed", message: "an action inside of it failed"}
	}
	return result{status: Succeeded}
}

// condition computes an expression, or an object with one operator: and, or, not,
// equals.
func (r *Run) condition(v any) (bool, error) {
	operator, isObject := v.(map[string]any)
	if !isObject {
		value, err := r.functions("", nil).expand(v)
		if err != nil {
			return false, err
		}
		yes, isBool := value.(bool)
		if !isBool {
			return false, fmt.Errorf("the condition is %s, not a boolean", kind(value))
		}
		return yes, nil
	}
	if len(operator) != 1 {
		return false, errors.New("a condition has one operator")
	}
	for name, operands := range operator {
		list, isList := operands.([]any)
		if !isList {
			list = []any{operands}
		}
		if name == "equals" {
			if len(list) != 2 {
				return false, errors.New("equals wants two operands")
			}
			values, err := r.functions("", nil).expand(list)
			if err != nil {
				return false, err
			}
			list, _ := values.([]any)
			return same(list[0], list[1]), nil
		}
		var values []any
		for _, o := range list {
			yes, err := r.condition(o)
			if err != nil {
				return false, err
			}
			values = append(values, yes)
		}
		if f, known := pure[name]; known && (name == "and" || name == "or" || name == "not") {
			yes, err := f.do(values)
			return yes == true, err
		}
		return false, fmt.Errorf("the operator %q is not supported", name)
	}
	return false, nil
}

func (r *Run) choose(a *action) result {
	inputs, _ := a.inputs.(map[string]any)
	from, err := r.functions(a.name, nil).expand(inputs["from"])
	list, isList := from.([]any)
	if err == nil && !isList {
		err = fmt.Errorf("select from %s, not from an array", kind(from))
	}
	body := []any{}
	for _, item := range list {
		var v any
		if err == nil {
			v, err = r.functions(a.name, item).expand(inputs["select"])
		}
		body = append(body, v)
	}
	if err != nil {
		return failed("InvalidTemplate", err)
	}
	r.show(a, map[string]any{"from": from})
	return result{status: Succeeded, outputs: map[string]any{"body": body}}
}

func (r *Run) terminate(inputs map[string]any) result {
	t := terminated{}
	status, _ := inputs["runStatus"].(string)
	switch t.status = Status(status); t.status {
	case Succeeded, Failed, Cancelled:
	default:
		return failed("InvalidTemplate", fmt.Errorf("runStatus %q", status))
	}
	e, _ := inputs["runError"].(map[string]any)
	t.code, t.message = text(e["code"]), text(e["message"])
	r.end(t)
	return result{status: Succeeded}
}

// respond answers whoever called the trigger.
func (r *Run) respond(inputs map[string]any) result {
	number, _ := inputs["statusCode"].(json.Number)
	status, err := number.Int64()
	if err != nil || status < 200 || status > 599 {
		return failed("InvalidTemplate", fmt.Errorf("the status code %v is not one of an answer", inputs["statusCode"]))
	}
	a := answer{status: int(status), headers: http.Header{}, body: inputs["body"]}
	headers, _ := inputs["headers"].(map[string]any)
	for name, value := range headers {
		a.headers.Set(name, text(value))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.response != nil {
		return failed("ActionResponseConflict", errors.New("the caller has been answered"))
	}
	r.response = &a
	close(r.answered)
	return result{status: Succeeded, outputs: a.outputs()}
}
