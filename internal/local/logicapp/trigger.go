package logicapp

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// trigger is the Request trigger.
type trigger struct {
	name     string
	schema   any
	validate bool // the schema; otherwise it only helps the designer
	hidden   hidden
}

// policy lets callers in whose token has all of these claims.
type policy struct{ claims map[string]string }

func readTrigger(o object) (t trigger, err error) {
	if len(o.fields) != 1 {
		return t, errors.New("a workflow needs one trigger")
	}
	for name := range o.fields {
		t.name = name
		o = o.object(name)
	}
	if err := o.only("type", "kind", "inputs", "operationOptions", "runtimeConfiguration"); err != nil {
		return t, err
	}
	if o.fields["type"] != "Request" || o.fields["kind"] != "Http" {
		return t, errors.New("the trigger must be a Request of kind Http")
	}
	switch o.fields["operationOptions"] {
	case nil:
	case "EnableSchemaValidation":
		t.validate = true
	default:
		return t, fmt.Errorf("the option %v of a trigger is not supported", o.fields["operationOptions"])
	}
	if err := o.object("inputs").only("schema"); err != nil {
		return t, err
	}
	if t.hidden, err = readHidden(o, both); err != nil {
		return t, err
	}
	if schema, set := o.object("inputs").fields["schema"]; set {
		t.schema = schema
		err = knownSchema(schema)
	}
	return t, err
}

// readPolicy wants an issuer, of Entra ID, as the service does [securing].
func readPolicy(o object) (policy, error) {
	p := policy{claims: map[string]string{}}
	if o.fields["type"] != "AAD" {
		return p, fmt.Errorf("%s: the type %v is not supported", o.path, o.fields["type"])
	}
	list, _ := o.fields["claims"].([]any)
	for _, v := range list {
		claim, _ := v.(map[string]any)
		name, _ := claim["name"].(string)
		value, _ := claim["value"].(string)
		if name == "" || value == "" {
			return p, fmt.Errorf("%s: a claim has no name or no value", o.path)
		}
		p.claims[name] = value
	}
	if iss := p.claims["iss"]; !strings.HasPrefix(iss, "https://sts.windows.net/") && !strings.HasPrefix(iss, "https://login.microsoftonline.com/") {
		return p, fmt.Errorf("%s: the issuer %q is not one of Entra ID", o.path, iss)
	}
	return p, nil
}

func (p policy) fits(claims map[string]any) bool {
	for name, want := range p.claims {
		if claims[name] != want {
			return false
		}
	}
	return true
}

// knownSchema refuses the words of JSON Schema that fitsSchema does not check.
func knownSchema(v any) error {
	fields, isObject := v.(map[string]any)
	if !isObject {
		return errors.New("a schema is an object")
	}
	o := object{path: "schema", fields: fields}
	if err := o.only("type", "required", "properties", "items", "enum", "title", "description"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.object("properties").fields)) {
		if err := knownSchema(o.object("properties").fields[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if items, set := fields["items"]; set {
		return knownSchema(items)
	}
	return nil
}

// fitsSchema checks v as JSON Schema says; path names it.
func fitsSchema(v any, schema any, path string) error {
	fields, _ := schema.(map[string]any)
	o := object{path: path, fields: fields}
	if typ, set := fields["type"].(string); set && !isType(v, typ) {
		return fmt.Errorf("%s is %s, not of type %s", path, kind(v), typ)
	}
	if choices, set := fields["enum"].([]any); set && !slices.ContainsFunc(choices, func(c any) bool { return same(c, v) }) {
		return fmt.Errorf("%s is none of the allowed values", path)
	}
	if m, isObject := v.(map[string]any); isObject {
		for _, name := range o.strings("required") {
			if _, has := m[name]; !has {
				return fmt.Errorf("%s has no property '%s'", path, name)
			}
		}
		properties := o.object("properties").fields
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			if value, has := m[name]; has {
				if err := fitsSchema(value, properties[name], path+"."+name); err != nil {
					return err
				}
			}
		}
	}
	if list, isList := v.([]any); isList && fields["items"] != nil {
		for i, item := range list {
			if err := fitsSchema(item, fields["items"], fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	}
	return nil
}

func isType(v any, typ string) bool {
	switch typ {
	case "integer":
		_, whole := number(v)
		return whole
	case "number":
		return kind(v) == "a number"
	case "null":
		return v == nil
	case "array", "object":
		return kind(v) == "an "+typ
	}
	return kind(v) == "a "+typ
}
