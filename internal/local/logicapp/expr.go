package logicapp

import (
	"encoding/json"
	"fmt"
	"strings"
)

// node is a parsed expression. The language of workflow definitions and that of
// ARM templates have the same grammar but for "?", so they share the parser and
// differ in their functions.
type node interface{}

type (
	literal struct{ value any }
	call    struct {
		name string
		args []node
	}
	// access is of[key], or of?[key]: with "?" a null or a missing property is null,
	// without it is an error (workflow definition language, "operators").
	access struct {
		of, key node
		safe    bool
	}
)

// parser reads one expression.
type parser struct {
	text string
	at   int
}

// parse reads all of text as one expression.
func parse(text string) (node, error) {
	p := &parser{text: text}
	n, err := p.expression()
	if err == nil && p.space() < len(p.text) {
		err = p.fault("unexpected %q", p.text[p.at:])
	}
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", text, err)
	}
	return n, nil
}

func (p *parser) fault(format string, args ...any) error {
	return fmt.Errorf("at character %d: %s", p.at+1, fmt.Sprintf(format, args...))
}

// space skips blanks and returns the position behind them.
func (p *parser) space() int {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	return p.at
}

// take consumes token if it comes next.
func (p *parser) take(token string) bool {
	if strings.HasPrefix(p.text[p.space():], token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *parser) expression() (node, error) {
	n, err := p.primary()
	for err == nil {
		switch {
		case p.take("?["):
			n, err = p.index(n, true)
		case p.take("["):
			n, err = p.index(n, false)
		case p.take("?."):
			n, err = p.property(n, true)
		case p.take("."):
			n, err = p.property(n, false)
		default:
			return n, nil
		}
	}
	return nil, err
}

func (p *parser) index(of node, safe bool) (node, error) {
	key, err := p.expression()
	if err == nil && !p.take("]") {
		err = p.fault("want ]")
	}
	return access{of, key, safe}, err
}

func (p *parser) property(of node, safe bool) (node, error) {
	name := p.word()
	if name == "" {
		return nil, p.fault("want the name of a property")
	}
	return access{of, literal{name}, safe}, nil
}

func (p *parser) primary() (node, error) {
	if p.take("'") {
		return p.quoted()
	}
	start := p.space()
	word := p.word()
	switch {
	case word == "":
		return nil, p.fault("want a value or a function")
	case word == "true", word == "false":
		return literal{word == "true"}, nil
	case word == "null":
		return literal{nil}, nil
	case strings.IndexByte("-0123456789", word[0]) >= 0:
		if !json.Valid([]byte(word)) {
			p.at = start
			return nil, p.fault("%q is not a number", word)
		}
		return literal{json.Number(word)}, nil
	case !p.take("("):
		p.at = start
		return nil, p.fault("%q is neither a value nor a call; text wants single quotes", word)
	}
	c := call{name: strings.ToLower(word)} // names of functions have no case
	for !p.take(")") {
		if len(c.args) > 0 && !p.take(",") {
			return nil, p.fault("want , or )")
		}
		arg, err := p.expression()
		if err != nil {
			return nil, err
		}
		c.args = append(c.args, arg)
	}
	return c, nil
}

// quoted reads the rest of a text; two quotes stand for one.
func (p *parser) quoted() (node, error) {
	var b strings.Builder
	for {
		end := strings.IndexByte(p.text[p.at:], '\'')
		if end < 0 {
			return nil, p.fault("the text has no closing quote")
		}
		b.WriteString(p.text[p.at : p.at+end])
		p.at += end + 1
		if p.at >= len(p.text) || p.text[p.at] != '\'' {
			return literal{b.String()}, nil
		}
		b.WriteByte('\'')
		p.at++
	}
}

func (p *parser) word() string {
	start := p.space()
	for p.at < len(p.text) {
		c := p.text[p.at]
		inNumber := start < p.at && strings.IndexByte("-0123456789", p.text[start]) >= 0
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '$', c == '-' && p.at == start, c == '.' && inNumber:
			p.at++
		default:
			return p.text[start:p.at]
		}
	}
	return p.text[start:p.at]
}

// visit calls f for every call in n.
func visit(n node, f func(call)) {
	switch n := n.(type) {
	case call:
		f(n)
		for _, arg := range n.args {
			visit(arg, f)
		}
	case access:
		visit(n.of, f)
		visit(n.key, f)
	}
}

// function is a built-in. What depends on a run, such as body(), is bound to it.
type function struct {
	min, max int // how many arguments; max -1 = any number
	do       func(args []any) (any, error)
}

type functions map[string]function

// check reports calls that could never succeed: unknown functions, wrong numbers
// of arguments.
func (fs functions) check(n node) (err error) {
	visit(n, func(c call) {
		f, known := fs[c.name]
		switch {
		case err != nil:
		case !known:
			err = fmt.Errorf("the function %s() is not known", c.name)
		case len(c.args) < f.min || f.max >= 0 && len(c.args) > f.max:
			err = fmt.Errorf("%s() has %d arguments", c.name, len(c.args))
		}
	})
	return err
}

// eval computes n. All arguments are evaluated, those of if() and coalesce() too.
func (fs functions) eval(n node) (any, error) {
	switch n := n.(type) {
	case literal:
		return n.value, nil
	case access:
		of, err := fs.eval(n.of)
		if err != nil {
			return nil, err
		}
		key, err := fs.eval(n.key)
		if err != nil {
			return nil, err
		}
		return property(of, key, n.safe)
	case call:
		if err := fs.check(call{name: n.name, args: n.args}); err != nil {
			return nil, err
		}
		var args []any
		for _, a := range n.args {
			arg, err := fs.eval(a)
			if err != nil {
				return nil, err
			}
			args = append(args, arg)
		}
		v, err := fs[n.name].do(args)
		if err != nil {
			return nil, fmt.Errorf("%s(): %w", n.name, err)
		}
		return v, nil
	}
	panic(fmt.Sprintf("no such node: %T", n))
}

func property(of, key any, safe bool) (any, error) {
	switch k := key.(type) {
	case string:
		m, isObject := of.(map[string]any)
		v, found := m[k]
		switch {
		case found, safe && (isObject || of == nil):
			return v, nil
		case isObject:
			return nil, fmt.Errorf("there is no property '%s'", k)
		}
		return nil, fmt.Errorf("the property '%s' of %s was asked for", k, kind(of))
	case json.Number:
		list, isList := of.([]any)
		i, err := k.Int64()
		switch {
		case isList && err == nil && i >= 0 && i < int64(len(list)):
			return list[i], nil
		case safe && (isList || of == nil) && err == nil:
			return nil, nil
		}
		return nil, fmt.Errorf("there is no element %s in %s", k, kind(of))
	}
	return nil, fmt.Errorf("%s cannot be an index", kind(key))
}
