package logicapp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sosodev/duration"
)

// Workflow is a definition that was checked, with the values of its parameters.
type Workflow struct {
	// Enabled is the template's state; a bare definition is enabled. A workflow that
	// is not takes no calls. Set it before Start, as an administrator would.
	Enabled bool

	parameters map[string]any
	trigger    trigger
	actions    map[string]*action
	sas        bool     // the trigger takes calls signed by their URL
	policies   []policy // or with a token that fits one of these
}

// action is one action of a definition.
type action struct {
	name      string
	typ       string
	inputs    any
	runAfter  map[string][]string
	limit     time.Duration // 0 = none
	noPolling bool          // DisableAsyncPattern
	async     bool          // Asynchronous, of a Response
	hidden    hidden

	expression      any // of an If
	actions, others map[string]*action
}

// hidden says what the history of runs does not show.
type hidden struct{ inputs, outputs bool }

// runAfterStatuses are those that an action can wait for.
var runAfterStatuses = []string{string(Succeeded), string(Failed), string(Skipped), string(TimedOut)}

// Load reads an ARM template with one Consumption workflow in it, or a bare workflow
// definition. The parameters are those of the template or of the definition. It
// refuses what the service refuses when a workflow is saved, and everything that
// this package does not know: a definition that only seems to work is no use.
func Load(document []byte, parameters map[string]any) (*Workflow, error) {
	v, err := decode(document)
	if err != nil {
		return nil, fmt.Errorf("read the workflow: %w", err)
	}
	given, err := normal(parameters)
	if err != nil {
		return nil, fmt.Errorf("read the parameters: %w", err)
	}
	root, _ := v.(map[string]any)
	values, _ := given.(map[string]any)
	w := &Workflow{Enabled: true, sas: true}
	identity := true // whoever deploys a bare definition gives it one
	if schema, _ := root["$schema"].(string); strings.HasSuffix(schema, "/deploymentTemplate.json#") {
		if root, values, identity, err = w.fromTemplate(root, values); err != nil {
			return nil, fmt.Errorf("deploy the template: %w", err)
		}
	}
	if err := w.read(root, values); err != nil {
		return nil, fmt.Errorf("read the definition: %w", err)
	}
	if err := w.check(identity); err != nil {
		return nil, fmt.Errorf("check the definition: %w", err)
	}
	return w, nil
}

// fromTemplate takes what surrounds the definition and returns it with the values of
// its parameters, and whether there is a managed identity.
func (w *Workflow) fromTemplate(root, given map[string]any) (definition, values map[string]any, identity bool, err error) {
	resource, err := deploy(root, given)
	if err != nil {
		return nil, nil, false, err
	}
	o := object{path: "workflow", fields: resource}
	properties := o.object("properties")
	w.Enabled = properties.choice("state", "Enabled", "Disabled") == "Enabled"
	triggers := properties.object("accessControl").object("triggers")
	if err := triggers.only("sasAuthenticationPolicy", "openAuthenticationPolicies"); err != nil {
		return nil, nil, false, err
	}
	w.sas = triggers.object("sasAuthenticationPolicy").choice("state", "Enabled", "Disabled") == "Enabled"
	policies := triggers.object("openAuthenticationPolicies").object("policies")
	for _, name := range slices.Sorted(maps.Keys(policies.fields)) {
		p, err := readPolicy(policies.object(name))
		if err != nil {
			return nil, nil, false, err
		}
		w.policies = append(w.policies, p)
	}
	values = map[string]any{}
	set := properties.object("parameters")
	for name := range set.fields {
		values[name] = set.object(name).fields["value"]
	}
	return properties.object("definition").fields, values, o.object("identity").fields["type"] == "SystemAssigned", nil
}

func (w *Workflow) read(definition, given map[string]any) error {
	if schema, _ := definition["$schema"].(string); !strings.HasSuffix(schema, "/2016-06-01/workflowdefinition.json#") {
		return errors.New("it is not a definition of schema 2016-06-01")
	}
	o := object{path: "definition", fields: definition}
	if err := o.only("$schema", "contentVersion", "parameters", "triggers", "actions", "outputs"); err != nil {
		return err
	}
	declared := o.object("parameters")
	for name := range given {
		if _, known := declared.fields[name]; !known {
			return fmt.Errorf("there is no parameter %q", name)
		}
	}
	w.parameters = map[string]any{}
	for name := range declared.fields {
		v, set := given[name]
		if !set {
			if v, set = declared.object(name).fields["defaultValue"]; !set {
				return fmt.Errorf("the parameter %q wants a value", name)
			}
		}
		if err := fits(v, declared.object(name).fields["type"]); err != nil {
			return fmt.Errorf("the parameter %q: %w", name, err)
		}
		w.parameters[name] = v
	}
	var err error
	if w.trigger, err = readTrigger(o.object("triggers")); err != nil {
		return err
	}
	w.actions, err = readActions(o.object("actions"))
	return err
}

func readActions(o object) (map[string]*action, error) {
	actions := map[string]*action{}
	for name := range o.fields {
		a, err := readAction(name, o.object(name))
		if err != nil {
			return nil, err
		}
		actions[name] = a
	}
	for name, a := range actions {
		for before := range a.runAfter {
			if actions[before] == nil {
				return nil, fmt.Errorf("%s runs after %s, which is not beside it", name, before)
			}
		}
		if slices.Contains(before(actions, a), name) {
			return nil, fmt.Errorf("%s waits for itself", name)
		}
	}
	return actions, nil
}

func readAction(name string, o object) (*action, error) {
	typ, _ := o.fields["type"].(string)
	t, known := actionTypes[typ]
	if !known {
		return nil, fmt.Errorf("%s: the type %q is not supported", o.path, typ)
	}
	if err := o.only(append([]string{"type", "runAfter", "description", "runtimeConfiguration"}, t.fields...)...); err != nil {
		return nil, err
	}
	a := &action{name: name, typ: typ, inputs: o.fields["inputs"], expression: o.fields["expression"], runAfter: map[string][]string{}}
	runAfter := o.object("runAfter")
	for before := range runAfter.fields {
		for _, status := range runAfter.strings(before) {
			if !slices.Contains(runAfterStatuses, status) {
				return nil, fmt.Errorf("%s: cannot run after the status %q", o.path, status)
			}
			a.runAfter[before] = append(a.runAfter[before], status)
		}
	}
	switch options := o.fields["operationOptions"]; options {
	case nil:
	case t.option:
		a.noPolling, a.async = typ == "Http", typ == "Response"
	default:
		return nil, fmt.Errorf("%s: the option %v is not supported", o.path, options)
	}
	var err error
	if a.hidden, err = readHidden(o, t.hides); err != nil {
		return nil, err
	}
	if limit, set := o.object("limit").fields["timeout"]; set {
		if a.limit, err = iso(limit); err != nil {
			return nil, fmt.Errorf("%s: limit: %w", o.path, err)
		}
	}
	if inputs, isObject := a.inputs.(map[string]any); isObject && t.inputs != nil {
		if err := (object{path: o.path + ".inputs", fields: inputs}).only(t.inputs...); err != nil {
			return nil, err
		}
	}
	if typ == "If" {
		if a.actions, err = readActions(o.object("actions")); err != nil {
			return nil, err
		}
		a.others, err = readActions(o.object("else").object("actions"))
	}
	return a, err
}

// readHidden reads secureData. Compose, Select and Response have only "inputs", which
// hides both ends (securing a logic app, "obfuscate").
func readHidden(o object, properties []string) (h hidden, err error) {
	for _, p := range o.object("runtimeConfiguration").object("secureData").strings("properties") {
		if !slices.Contains(properties, p) {
			return h, fmt.Errorf("%s: secureData cannot hide %q here", o.path, p)
		}
		h.inputs = h.inputs || p == "inputs"
		h.outputs = h.outputs || p == "outputs" || len(properties) == 1
	}
	return h, nil
}

// before names the actions that a comes after, at any distance.
func before(beside map[string]*action, a *action) []string {
	var names []string
	var walk func(a *action)
	walk = func(a *action) {
		for name := range a.runAfter {
			if !slices.Contains(names, name) {
				names = append(names, name)
				walk(beside[name])
			}
		}
	}
	walk(a)
	return names
}

func iso(v any) (time.Duration, error) {
	s, _ := v.(string)
	d, err := duration.Parse(s)
	if err != nil || d.ToTimeDuration() <= 0 {
		return 0, fmt.Errorf("%q is not an ISO 8601 duration above zero", s)
	}
	return d.ToTimeDuration(), nil
}

// object reads a JSON object. A member that is absent or of another kind reads as
// empty: what has to be there is checked where it is used.
type object struct {
	path   string
	fields map[string]any
}

func (o object) object(name string) object {
	fields, _ := o.fields[name].(map[string]any)
	return object{path: o.path + "." + name, fields: fields}
}

func (o object) strings(name string) (out []string) {
	list, _ := o.fields[name].([]any)
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}

// choice returns the first choice if there is none, or one that is unknown.
func (o object) choice(name string, choices ...string) string {
	if s, _ := o.fields[name].(string); slices.Contains(choices, s) {
		return s
	}
	return choices[0]
}

// only refuses members that nobody reads.
func (o object) only(names ...string) error {
	for name := range o.fields {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%s: %q is not supported", o.path, name)
		}
	}
	return nil
}
