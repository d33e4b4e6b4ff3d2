package logicapp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// actionType is what an action of a type may hold.
type actionType struct {
	fields []string // beside those of every action
	inputs []string // members of inputs; nil = anything
	option string   // the one operation option
	hides  []string // what secureData may name
}

var both, onlyInputs = []string{"inputs", "outputs"}, []string{"inputs"}

// requestFields are those of a request in an Http or HttpWebhook action.
var requestFields = []string{"method", "uri", "headers", "body", "authentication", "retryPolicy"}

var actionTypes = map[string]actionType{
	"Http": {fields: []string{"inputs", "limit", "operationOptions"}, option: "DisableAsyncPattern", hides: both,
		inputs: requestFields},
	"HttpWebhook":          {fields: []string{"inputs", "limit"}, hides: both, inputs: []string{"subscribe", "unsubscribe"}},
	"ApiConnectionWebhook": {fields: []string{"inputs", "limit"}, hides: both, inputs: []string{"host", "path", "body", "queries", "authentication", "retryPolicy"}},
	"Response":             {fields: []string{"inputs", "kind", "operationOptions"}, option: "Asynchronous", hides: onlyInputs, inputs: []string{"statusCode", "headers", "body"}},
	"Compose":              {fields: []string{"inputs"}, hides: onlyInputs},
	"Select":               {fields: []string{"inputs"}, hides: onlyInputs, inputs: []string{"from", "select"}},
	"If":                   {fields: []string{"expression", "actions", "else"}},
	"Terminate":            {fields: []string{"inputs"}, inputs: []string{"runStatus", "runError"}},
}

// checker is the state of a walk over all actions.
type checker struct {
	names     map[string]bool // actions have one name space, whatever they are in
	functions functions
	identity  bool
}

// check does what the service does when a workflow is saved: every expression has to
// parse, call functions that exist, and name only actions that are over by then.
func (w *Workflow) check(identity bool) error {
	c := checker{names: map[string]bool{}, functions: (&Run{app: &App{workflow: w}}).functions("", nil), identity: identity}
	return c.actions(w.actions, nil)
}

// actions checks those that lie beside each other; visible are those that whatever
// contains them comes after.
func (c checker) actions(actions map[string]*action, visible []string) error {
	if len(actions) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(actions)), func(a *action) bool { return len(a.runAfter) == 0 }) {
		return errors.New("no action comes first")
	}
	for _, name := range slices.Sorted(maps.Keys(actions)) {
		a := actions[name]
		if c.names[name] {
			return fmt.Errorf("there are two actions %s", name)
		}
		c.names[name] = true
		seen := slices.Clone(visible)
		for _, earlier := range before(actions, a) {
			seen = append(seen, earlier)
			seen = append(seen, inside(actions[earlier])...)
		}
		err := c.action(a, seen)
		if err == nil {
			err = c.actions(a.actions, seen)
		}
		if err == nil {
			err = c.actions(a.others, seen)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func inside(a *action) (names []string) {
	for _, children := range []map[string]*action{a.actions, a.others} {
		for name, child := range children {
			names = append(append(names, name), inside(child)...)
		}
	}
	return names
}

func (c checker) action(a *action, visible []string) error {
	for _, v := range []any{a.inputs, a.expression} {
		if _, err := mapStrings(v, func(s string) (any, error) { return s, c.text(a, s, visible) }); err != nil {
			return err
		}
	}
	inputs, _ := a.inputs.(map[string]any)
	for _, request := range []any{inputs, inputs["subscribe"], inputs["unsubscribe"]} {
		r, isObject := request.(map[string]any)
		if !isObject || a.typ != "Http" && a.typ != "HttpWebhook" {
			continue
		}
		if _, err := readRetry(r["retryPolicy"]); err != nil {
			return err
		}
		if err := (object{path: "authentication", fields: r}).object("authentication").only("type", "audience"); err != nil {
			return err
		}
		if r["authentication"] != nil && !c.identity {
			return errors.New("it uses a managed identity, and the workflow has none")
		}
	}
	return nil
}

func (c checker) text(a *action, s string, visible []string) error {
	t, err := parseTemplate(s)
	if err != nil {
		return err
	}
	t.visit(func(call call) {
		if err == nil {
			err = c.functions.check(call)
		}
		switch {
		case err != nil:
		case call.name == "body" || call.name == "outputs":
			name, _ := call.args[0].(literal)
			if other, _ := name.value.(string); !slices.Contains(visible, other) {
				err = fmt.Errorf("it uses %s('%s'), which it does not run after", call.name, other)
			}
		case call.name == "listcallbackurl" && a.typ != "HttpWebhook" && a.typ != "ApiConnectionWebhook":
			err = errors.New("listCallbackUrl() works in webhook actions only")
		case call.name == "item" && a.typ != "Select":
			err = errors.New("item() works inside of a loop only")
		case call.name == "parameters":
			_, err = c.functions.eval(call)
		}
	})
	return err
}
