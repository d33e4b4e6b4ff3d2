package logicapp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Values are what encoding/json makes of a document, with numbers kept as they
// were written: nil, bool, json.Number, string, []any and map[string]any.

// decode reads one JSON document.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("there is more than one JSON document")
	}
	return v, nil
}

// encode is JSON as Logic Apps writes it: without escapes for HTML. It keeps the
// order of properties; here they are sorted, so nothing may depend on it.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // values came from JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// normal turns what Go code handed in into a value.
func normal(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return decode(text)
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

// text is a value inside of other text: null is empty, booleans are written as .NET
// does, the rest is JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "True"
		}
		return "False"
	}
	return string(encode(v))
}

// part of a string in a definition: fixed text or an expression.
type part struct {
	text string
	expr node // nil = text
}

// template is a string of a definition: one expression whose value has any type,
// or text with expressions in it.
type template struct {
	whole node
	parts []part
}

// parseTemplate reads "@expression" and "text @{expression} text". At the start, and
// before a brace, "@@" stands for "@" (workflow definition language, "expressions").
func parseTemplate(s string) (t template, err error) {
	if strings.HasPrefix(s, "@") && !strings.HasPrefix(s, "@@") && !strings.HasPrefix(s, "@{") {
		t.whole, err = parse(s[1:])
		return t, err
	}
	for rest := s; rest != ""; {
		at := strings.Index(rest, "@")
		switch {
		case at < 0:
			t.parts, rest = append(t.parts, part{text: rest}), ""
		case strings.HasPrefix(rest[at:], "@@{"), at == 0 && len(rest) == len(s) && strings.HasPrefix(rest, "@@"):
			t.parts, rest = append(t.parts, part{text: rest[:at+1]}), rest[at+2:]
		case strings.HasPrefix(rest[at:], "@{"):
			p := &parser{text: rest, at: at + 2}
			n, err := p.expression()
			if err == nil && !p.take("}") {
				err = p.fault("want }")
			}
			if err != nil {
				return t, fmt.Errorf("text %q: %w", s, err)
			}
			t.parts, rest = append(t.parts, part{text: rest[:at]}, part{expr: n}), rest[p.at:]
		default:
			t.parts, rest = append(t.parts, part{text: rest[:at+1]}), rest[at+1:]
		}
	}
	return t, nil
}

func (t template) visit(f func(call)) {
	visit(t.whole, f)
	for _, p := range t.parts {
		visit(p.expr, f)
	}
}

// expand computes every string inside of v.
func (fs functions) expand(v any) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := parseTemplate(v)
		if err != nil {
			return nil, err
		}
		if t.whole != nil {
			return fs.eval(t.whole)
		}
		var b strings.Builder
		for _, p := range t.parts {
			b.WriteString(p.text)
			if p.expr != nil {
				value, err := fs.eval(p.expr)
				if err != nil {
					return nil, err
				}
				b.WriteString(text(value))
			}
		}
		return b.String(), nil
	default:
		return mapStrings(v, func(s string) (any, error) { return fs.expand(s) })
	}
}

// mapStrings is v with every string in it replaced; keys stay.
func mapStrings(v any, f func(string) (any, error)) (any, error) {
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = mapStrings(v[i], f); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			var err error
			if out[key], err = mapStrings(v[key], f); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return v, nil
}
