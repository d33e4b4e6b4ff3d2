package logicapp

import (
	"errors"
	"fmt"
	"strings"
)

// What a deployment knows beside its parameters.
const (
	subscriptionID = "99999999-0000-4000-8000-0000000000aa"
	tenantID       = "99999999-0000-4000-8000-000000000001"
	groupID        = "/subscriptions/" + subscriptionID + "/resourceGroups/local"
)

// deploy evaluates an ARM template as a deployment does and returns its workflow
// resource. Everything in the template is evaluated, outputs too, so that a slip
// anywhere in it is found.
func deploy(document map[string]any, given map[string]any) (map[string]any, error) {
	values, err := armParameters(document, given)
	if err != nil {
		return nil, err
	}
	var workflow map[string]any
	resources, _ := document["resources"].([]any)
	for i, r := range resources {
		evaluated, err := armFunctions(values, false).armExpand(r)
		if err != nil {
			return nil, fmt.Errorf("resource %d: %w", i+1, err)
		}
		resource, _ := evaluated.(map[string]any)
		if resource["type"] != "Microsoft.Logic/workflows" {
			continue
		}
		if workflow != nil {
			return nil, errors.New("the template has several workflows")
		}
		workflow = resource
	}
	if workflow == nil {
		return nil, errors.New("the template has no workflow")
	}
	if _, err := armFunctions(values, true).armExpand(document["outputs"]); err != nil {
		return nil, fmt.Errorf("outputs: %w", err)
	}
	return workflow, nil
}

func armParameters(document map[string]any, given map[string]any) (map[string]any, error) {
	declared, _ := document["parameters"].(map[string]any)
	for name := range given {
		if _, known := declared[name]; !known {
			return nil, fmt.Errorf("the template has no parameter %q", name)
		}
	}
	values := map[string]any{}
	for name, d := range declared {
		declaration, _ := d.(map[string]any)
		v, isGiven := given[name]
		if !isGiven {
			fallback, hasFallback := declaration["defaultValue"]
			if !hasFallback {
				return nil, fmt.Errorf("the parameter %q wants a value", name)
			}
			var err error
			if v, err = armFunctions(nil, false).armExpand(fallback); err != nil {
				return nil, fmt.Errorf("default of the parameter %q: %w", name, err)
			}
		}
		if err := fits(v, declaration["type"]); err != nil {
			return nil, fmt.Errorf("the parameter %q: %w", name, err)
		}
		values[name] = v
	}
	return values, nil
}

// fits checks a value against the type of a parameter; types have no case.
func fits(v any, typ any) error {
	name, _ := typ.(string)
	var ok bool
	switch strings.ToLower(name) {
	case "string", "securestring":
		_, ok = v.(string)
	case "object", "secureobject":
		_, ok = v.(map[string]any)
	case "array":
		_, ok = v.([]any)
	case "bool":
		_, ok = v.(bool)
	default:
		return fmt.Errorf("the type %q is not supported", name)
	}
	if !ok {
		return fmt.Errorf("%s is not of type %s", kind(v), name)
	}
	return nil
}

// armExpand evaluates the strings that are expressions: those from "[" to "]". "[["
// stands for "[" (ARM template syntax, "expressions").
func (fs functions) armExpand(v any) (any, error) {
	return mapStrings(v, func(s string) (any, error) {
		switch {
		case !strings.HasPrefix(s, "["), !strings.HasSuffix(s, "]"):
			return s, nil
		case strings.HasPrefix(s, "[["):
			return s[1:], nil
		}
		n, err := parse(s[1 : len(s)-1])
		if err != nil {
			return nil, err
		}
		return fs.eval(n)
	})
}

// armFunctions are the functions of templates that the shipped one uses. reference()
// works in outputs only, and parameters() not in defaults, as in ARM.
func armFunctions(values map[string]any, outputs bool) functions {
	fs := functions{
		"concat": pure["concat"],
		"subscription": {0, 0, func([]any) (any, error) {
			return map[string]any{"subscriptionId": subscriptionID, "tenantId": tenantID}, nil
		}},
		"resourcegroup": {0, 0, func([]any) (any, error) {
			return map[string]any{"id": groupID, "name": "local", "location": "westeurope"}, nil
		}},
		"resourceid":             {2, -1, func(a []any) (any, error) { return resourceID(groupID, a) }},
		"subscriptionresourceid": {2, -1, func(a []any) (any, error) { return resourceID("/subscriptions/"+subscriptionID, a) }},
	}
	if values != nil {
		fs["parameters"] = lookup("parameter", values)
	}
	if outputs {
		fs["reference"] = function{1, 3, func([]any) (any, error) {
			return map[string]any{"accessEndpoint": "https://prod-00.westeurope.logic.azure.com:443/workflows/0",
				"identity": map[string]any{"principalId": "99999999-0000-4000-8000-0000000000ab"}}, nil
		}}
	}
	return fs
}

// resourceID joins a type with its names: "A/b/c" and x, y become A/b/x/c/y.
func resourceID(scope string, args []any) (any, error) {
	s, err := strs(args)
	if err != nil {
		return nil, err
	}
	types := strings.Split(s[0], "/")
	if len(types) != len(s) {
		return nil, fmt.Errorf("the type %s does not fit %d names", s[0], len(s)-1)
	}
	id := scope + "/providers/" + types[0]
	for i, name := range s[1:] {
		id += "/" + types[i+1] + "/" + name
	}
	return id, nil
}

// lookup is a function that returns the named one of values.
func lookup(what string, values map[string]any) function {
	return function{1, 1, func(args []any) (any, error) {
		s, err := strs(args)
		if err != nil {
			return nil, err
		}
		v, known := values[s[0]]
		if !known {
			return nil, fmt.Errorf("there is no %s '%s'", what, s[0])
		}
		return v, nil
	}}
}
