package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// reader walks a document and collects what is wrong with it.
type reader struct{ faults Faults }

// read loads data and has it read. The result counts only without faults.
func read[T any](data []byte, by func(*reader, field) T) (T, error) {
	var result, none T
	r := &reader{}
	root, faults := load(data)
	if len(faults) == 0 {
		result = by(r, root)
		faults = r.faults
	}
	if len(faults) == 0 {
		return result, nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return none, faults[:min(len(faults), maxFaults)]
}

func (r *reader) fault(f field, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: f.line, Column: f.column, Path: f.path, Sentence: fmt.Sprintf(format, args...)})
}

// field is a value of the document with the place faults about it are shown at.
type field struct {
	path         string
	line, column int
	node         ast.Node
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

// entry is a key of a mapping and what stands under it.
type entry struct {
	key   string
	place field // of the key
	value field
}

// anyMapping gives the entries of a mapping, whatever their keys; hint says what a
// key may be. It is nil when f is no mapping.
func (r *reader) anyMapping(f field, hint string) []entry {
	if _, empty := f.node.(*ast.MappingNode); !empty && pairsOf(f.node) == nil {
		r.wrongType(f, "keys and values")
		return nil
	}
	entries := []entry{}
	for _, pair := range pairsOf(f.node) {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			r.fault(placed(pair.Key, f.path), "A key is a plain word%s.", hint)
			continue
		}
		place := placed(key, strings.TrimPrefix(fmt.Sprintf("%s.%.60s", f.path, key.Value), "."))
		value := placed(pair.Value, place.path)
		if value.node.Type() == ast.NullType {
			value.line, value.column = place.line, place.column // nothing is there to point at
		}
		entries = append(entries, entry{key.Value, place, value})
	}
	return entries
}

// mapping gives the values under the known keys and finds fault with all others.
func (r *reader) mapping(f field, known ...string) map[string]field {
	entries := r.anyMapping(f, ", one of "+strings.Join(known, ", "))
	if entries == nil {
		return nil
	}
	fields := map[string]field{}
	for _, e := range entries {
		switch _, twice := fields[e.key]; {
		case !slices.Contains(known, e.key):
			r.fault(e.place, "%.60q is not known here; the keys are %s.", e.key, strings.Join(known, ", "))
		case twice:
			r.fault(e.place, "%s is given twice; keep one of them.", e.key)
		default:
			fields[e.key] = e.value
		}
	}
	return fields
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

// sequence gives the entries of a list that must have some; advice says what to do
// about one that has none.
func (r *reader) sequence(f field, advice string) []field {
	list, ok := f.node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(f, "a list")
		return nil
	}
	if len(list.Values) == 0 {
		r.fault(f, "%s is empty; %s.", cmp.Or(f.path, "The list"), advice)
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

// line reads text for people: some, on one line, that can be shown as it is.
func (r *reader) line(f field, most int) (string, bool) {
	text, ok := r.text(f)
	switch {
	case !ok:
		return "", false
	case strings.TrimSpace(text) == "":
		r.fault(f, "%s is empty; leave it out or fill it.", f.path)
	case utf8.RuneCountInString(text) > most:
		r.fault(f, "%s has %d characters; at most %d are read.", f.path, utf8.RuneCountInString(text), most)
	case strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.fault(f, "%s holds characters that cannot be shown, such as control characters or line breaks; take them out.", f.path)
	default:
		return text, true
	}
	return "", false
}

// paragraph is text that may be written over several lines, as expressions are.
func (r *reader) paragraph(f field) (string, bool) {
	if n, ok := f.node.(*ast.LiteralNode); ok {
		return strings.TrimSpace(n.Value.Value), true
	}
	return r.text(f)
}

func (r *reader) flag(f field) bool {
	n, ok := f.node.(*ast.BoolNode)
	if !ok {
		r.wrongType(f, "true or false")
		return false
	}
	return n.Value
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
