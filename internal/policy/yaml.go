package policy

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize of a document in bytes.
const MaxSize = 64 << 10

// maxDepth of nesting. The parser takes seconds for 64 KiB of opening brackets;
// a policy needs three levels.
const maxDepth = 20

// field is a value of the document with the place faults about it are shown at.
type field struct {
	path         string
	line, column int
	node         ast.Node
}

// load turns the text into its one document. Tokens are looked at before they
// are parsed, so that text made to be slow is refused while that is cheap.
func load(data []byte) (field, Faults) {
	at := func(line, column int, format string, args ...any) (field, Faults) {
		return field{}, Faults{{Line: line, Column: column, Sentence: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxSize {
		return at(1, 1, "The document has %d bytes; at most %d are read.", len(data), MaxSize)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors write a byte order mark
	if line, column, bad := invalidUTF8(data); bad {
		return at(line, column, "The document is not in UTF-8.")
	}
	tokens := lexer.Tokenize(string(data))
	if tk := tooDeep(tokens); tk != nil {
		return at(tk.Position.Line, tk.Position.Column, "The document is nested more than %d levels deep.", maxDepth)
	}
	// Duplicate keys are found here, together with the other faults.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, column, message := 1, 1, err.Error()
		if syntax := (*yaml.SyntaxError)(nil); errors.As(err, &syntax) {
			line, column, message = syntax.Token.Position.Line, syntax.Token.Position.Column, syntax.Message
		}
		return at(line, column, "The document is no YAML or JSON: %s.%s", message, hint(data, line))
	}
	var root ast.Node
	for i, doc := range file.Docs {
		if directive, ok := doc.Body.(*ast.DirectiveNode); ok {
			position := directive.GetToken().Position
			return at(position.Line, position.Column, "Directives are not read; leave the line out.")
		}
		if i > 0 {
			line, column := 1, 1
			if start := firstToken(doc); start != nil {
				line, column = start.Position.Line, start.Position.Column
			}
			return at(line, column, "A second document starts here; a policy is one document.")
		}
		root = doc.Body
	}
	if root == nil || root.Type() == ast.NullType {
		return at(1, 1, "The document is empty.")
	}
	return placed(root, ""), nil
}

// firstToken of a document is its "---", which may be left out after "...".
func firstToken(doc *ast.DocumentNode) *token.Token {
	if doc.Start == nil && doc.Body != nil {
		return doc.Body.GetToken()
	}
	return doc.Start
}

func invalidUTF8(data []byte) (line, column int, bad bool) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return line, column, true
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return 0, 0, false
}

// tooDeep finds the first token that opens one level too many: brackets, or
// several list entries on one line. Nesting by indentation alone is kept short
// by MaxSize, since each level is indented further.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, entries, line := 0, 0, 0
	for _, tk := range tokens {
		switch tk.Type {
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
		if brackets+entries > maxDepth {
			return tk
		}
	}
	return nil
}

var bareStar = regexp.MustCompile(`[:\[,-]\s*\*\s*([,}\]#]|$)`)

// hint helps with the one mistake that the language itself invites.
func hint(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	if line <= len(lines) && bareStar.MatchString(strings.TrimRight(lines[line-1], "\r")) {
		return ` If * is meant as a value, write "*" in quotes.`
	}
	return ""
}

// placed is a value at the place where it starts. The parser gives a block mapping
// the place of its first colon; it starts at its first key.
func placed(n ast.Node, path string) field {
	tk := n.GetToken()
	if pairs := pairsOf(n); len(pairs) > 0 && tk.Type == token.MappingValueType {
		tk = pairs[0].Key.GetToken()
	}
	return field{path: path, line: tk.Position.Line, column: tk.Position.Column, node: n}
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

// mapping gives the values under the known keys and finds fault with all others.
func (r *reader) mapping(f field, known ...string) map[string]field {
	fields := map[string]field{}
	if _, empty := f.node.(*ast.MappingNode); !empty && pairsOf(f.node) == nil {
		r.wrongType(f, "keys and values")
		return nil
	}
	for _, pair := range pairsOf(f.node) {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			r.fault(placed(pair.Key, f.path), "A key is a plain word, one of %s.", strings.Join(known, ", "))
			continue
		}
		place := placed(key, strings.TrimPrefix(fmt.Sprintf("%s.%.60s", f.path, key.Value), "."))
		value := placed(pair.Value, place.path)
		if value.node.Type() == ast.NullType {
			value.line, value.column = place.line, place.column // nothing is there to point at
		}
		switch _, twice := fields[key.Value]; {
		case !isOneOf(key.Value, known):
			r.fault(place, "%.60q is not known here; the keys are %s.", key.Value, strings.Join(known, ", "))
		case twice:
			r.fault(place, "%s is given twice; keep one of them.", key.Value)
		default:
			fields[key.Value] = value
		}
	}
	return fields
}

func isOneOf(word string, words []string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}

// required gives a value that must be there. fields is nil when the mapping is
// none, about which enough was said.
func (r *reader) required(parent field, fields map[string]field, key string) (field, bool) {
	f, ok := fields[key]
	if !ok && fields != nil {
		f = parent
		f.path = strings.TrimPrefix(parent.path+"."+key, ".")
		r.fault(f, "%s is missing.", key)
	}
	return f, ok
}

func (r *reader) sequence(f field) []field {
	list, ok := f.node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(f, "a list")
		return nil
	}
	if len(list.Values) == 0 {
		r.fault(f, "%s is empty; a policy that allows nothing is no policy.", f.path)
	}
	items := make([]field, len(list.Values))
	for i, value := range list.Values {
		items[i] = placed(value, fmt.Sprintf("%s[%d]", f.path, i))
	}
	return items
}

func (r *reader) text(f field) (string, bool) {
	s, ok := f.node.(*ast.StringNode)
	if !ok {
		r.wrongType(f, "text")
		return "", false
	}
	return s.Value, true
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// number reads a plain decimal. 022, 0x16 and 1_000 are numbers to some readers
// of YAML and text to others.
func (r *reader) number(f field) (int, bool) {
	_, ok := f.node.(*ast.IntegerNode)
	if ok {
		text := f.node.GetToken().Value
		if n, err := strconv.Atoi(text); err == nil && decimal.MatchString(text) {
			return n, true
		}
	}
	r.wrongType(f, "a whole number in plain digits")
	return 0, false
}

func (r *reader) wrongType(f field, wanted string) {
	name := f.path
	if name == "" {
		name = "The document"
	}
	switch f.node.Type() {
	case ast.NullType:
		r.fault(f, "%s has no value; it must be %s.", name, wanted)
	case ast.AliasType, ast.AnchorType, ast.MergeKeyType:
		r.fault(f, `%s is an anchor or alias, which are not read here; write the value itself, and "*" in quotes.`, name)
	default:
		r.fault(f, "%s must be %s, not %s.", name, wanted, kindOf(f.node))
	}
}

func kindOf(n ast.Node) string {
	switch n.Type() {
	case ast.StringType:
		return "text"
	case ast.LiteralType:
		return "text of several lines"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "the number " + n.GetToken().Value
	case ast.BoolType:
		return n.GetToken().Value
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "keys and values"
	case ast.TagType:
		return "a tagged value"
	}
	return strings.ToLower(n.Type().String())
}
