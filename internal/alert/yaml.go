package alert

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"jitgate/internal/policy"
)

// maxFlow is how many brackets may be open, and how many list entries may start
// on one line. The YAML parser takes seconds for 64 KiB of opening brackets;
// rules need seven.
const maxFlow = 20

// load decodes the one YAML or JSON document in data. It refuses, before
// parsing, what makes YAML mean something other than what is read: anchors,
// aliases, tags and merge keys.
func load(data []byte, into *value[document]) (fault policy.Fault, ok bool) {
	at := func(p *token.Position, format string, args ...any) (policy.Fault, bool) {
		fault := policy.Fault{Line: 1, Column: 1, Sentence: fmt.Sprintf(format, args...)}
		if p != nil {
			fault.Line, fault.Column = p.Line, p.Column
		}
		return fault, false
	}
	if len(data) > policy.MaxSize {
		return at(nil, "The document has %d bytes; at most %d are read.", len(data), policy.MaxSize)
	}
	if !utf8.Valid(data) {
		return at(nil, "The document is not in UTF-8.")
	}
	tokens := lexer.Tokenize(strings.TrimPrefix(string(data), "\ufeff"))
	brackets, entries, line := 0, 0, 0
	for _, tk := range tokens {
		switch tk.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType:
			return at(tk.Position, `Anchors, aliases, tags and merge keys are not read; write the value itself, and "*" in quotes.`)
		case token.DirectiveType:
			return at(tk.Position, "Directives are not read; leave the line out.")
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets--
		case token.SequenceEntryType, token.MappingKeyType:
			if tk.Position.Line != line {
				entries, line = 0, tk.Position.Line
			}
			entries++
		}
		if brackets+entries > maxFlow {
			return at(tk.Position, "The document is nested more than %d levels deep.", maxFlow)
		}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		if syntax := (*yaml.SyntaxError)(nil); errors.As(err, &syntax) {
			return at(syntax.Token.Position, "The document is no YAML or JSON: %s.", syntax.Message)
		}
		return at(nil, "The document is no YAML or JSON: %s.", err)
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return at(nil, "The document is empty.")
	case 1:
		return policy.Fault{}, into.UnmarshalYAML(bodies[0]) == nil
	}
	line, column := place(bodies[1])
	return at(&token.Position{Line: line, Column: column}, "A second document starts here; the rules are one document.")
}

// value is a T with its place in the document and what is wrong with it. Nothing
// below it fails to decode: each value keeps its own faults, so that all of
// them are told at once.
type value[T any] struct {
	v            T
	given        bool
	line, column int
	wanted       string         // what it should have been; empty when it is
	inside       []policy.Fault // keys that T does not have and values that are not there
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)

// UnmarshalYAML takes nothing for something else: 4 is no text, "4" no number,
// and 0x4 neither.
func (p *value[T]) UnmarshalYAML(n ast.Node) error {
	p.given = true
	p.line, p.column = place(n)
	switch v := any(&p.v).(type) {
	case *string:
		if s, ok := n.(*ast.StringNode); ok {
			*v = s.Value
		} else {
			p.wanted = "text"
		}
		return nil
	case *int:
		var err error
		if *v, err = strconv.Atoi(n.GetToken().Value); err != nil || n.Type() != ast.IntegerType || !decimal.MatchString(n.GetToken().Value) {
			p.wanted = "a whole number in plain digits"
		}
		return nil
	case *bool:
		if b, ok := n.(*ast.BoolNode); ok {
			*v = b.Value
		} else {
			p.wanted = "true or false"
		}
		return nil
	}
	if reflect.TypeFor[T]().Kind() == reflect.Slice {
		if n.Type() != ast.SequenceType {
			p.wanted = "a list"
			return nil
		}
	} else if n.Type() != ast.MappingType && n.Type() != ast.MappingValueType {
		p.wanted = "keys and values"
		return nil
	}
	p.look(n)
	if yaml.NodeToValue(n, &p.v) != nil {
		p.wanted = "plain keys and values"
	}
	return nil
}

// look finds fault with unknown keys, and with null: the decoder would take it
// as left out, and a condition that is left out is met by every alert.
func (p *value[T]) look(n ast.Node) {
	fault := func(at ast.Node, path, format string, args ...any) {
		line, column := place(at)
		p.inside = append(p.inside, policy.Fault{Line: line, Column: column, Path: path, Sentence: fmt.Sprintf(format, args...)})
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			if item.Type() == ast.NullType {
				fault(item, fmt.Sprintf("[%d]", i), "An entry of this list has no value.")
			}
		}
		return
	}
	var known []string
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			known = append(known, t.Field(i).Tag.Get("yaml"))
		}
	}
	for _, pair := range pairsOf(n) {
		key, ok := pair.Key.(*ast.StringNode)
		switch {
		case !ok:
			fault(pair.Key, "", "A key is a plain word.")
		case known != nil && !slices.Contains(known, key.Value):
			fault(pair.Key, fmt.Sprintf(".%.60s", key.Value), "%.60q is not known here; the keys are %s.", key.Value, strings.Join(known, ", "))
		case pair.Value.Type() == ast.NullType:
			fault(pair.Key, fmt.Sprintf(".%.60s", key.Value), "%.60s has no value.", key.Value)
		}
	}
}

func pairsOf(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// place where a value starts. The parser gives a block mapping the place of its
// first colon; it starts at its first key.
func place(n ast.Node) (line, column int) {
	tk := n.GetToken()
	if pairs := pairsOf(n); len(pairs) > 0 && tk.Type == token.MappingValueType {
		tk = pairs[0].Key.GetToken()
	}
	return tk.Position.Line, tk.Position.Column
}
