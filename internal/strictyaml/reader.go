package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Reader walks a document and collects what is wrong with it. The zero Reader is
// ready. A value of another type than a method reads is a fault; the result then
// counts as absent.
type Reader struct{ Faults Faults }

// Fault adds a sentence about f.
func (r *Reader) Fault(f Field, format string, args ...any) {
	r.Faults = append(r.Faults, Fault{Line: f.line, Column: f.column, Path: f.Path, Sentence: fmt.Sprintf(format, args...)})
}

// Field is a value of the document with the place faults about it are shown at.
// The zero Field stands for a key that is not there: it reads as absent, without
// a fault.
type Field struct {
	Path         string // as in [Fault]
	line, column int
	node         ast.Node
}

// Given reports whether something is written there, be it null.
func (f Field) Given() bool { return f.node != nil }

// IsTrue reports whether f is the flag true.
func (f Field) IsTrue() bool {
	n, ok := f.node.(*ast.BoolNode)
	return ok && n.Value
}

// placed is a value at the place where it starts. The parser gives a block mapping
// the place of its first colon; it starts at its first key.
func placed(n ast.Node, path string) Field {
	tk := n.GetToken()
	if pairs := pairsOf(n); len(pairs) > 0 && tk.Type == token.MappingValueType {
		tk = pairs[0].Key.GetToken()
	}
	return Field{Path: path, line: tk.Position.Line, column: tk.Position.Column, node: n}
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

// Entry is a key of a mapping and what stands under it.
type Entry struct {
	Key   string
	Place Field // of the key
	Value Field
}

// AnyMapping gives the entries of a mapping, whatever their keys; hint says what a
// key may be. It is nil when f is no mapping.
func (r *Reader) AnyMapping(f Field, hint string) []Entry {
	if _, empty := f.node.(*ast.MappingNode); !empty && pairsOf(f.node) == nil {
		r.wrongType(f, "keys and values")
		return nil
	}
	entries := []Entry{}
	for _, pair := range pairsOf(f.node) {
		key, ok := pair.Key.(*ast.StringNode)
		if !ok {
			r.Fault(placed(pair.Key, f.Path), "A key is a plain word%s.", hint)
			continue
		}
		place := placed(key, strings.TrimPrefix(fmt.Sprintf("%s.%.60s", f.Path, key.Value), "."))
		value := placed(pair.Value, place.Path)
		if value.node.Type() == ast.NullType {
			value.line, value.column = place.line, place.column // nothing is there to point at
		}
		entries = append(entries, Entry{key.Value, place, value})
	}
	return entries
}

// Mapping gives the values under the known keys and finds fault with all others.
func (r *Reader) Mapping(f Field, known ...string) map[string]Field {
	entries := r.AnyMapping(f, ", one of "+strings.Join(known, ", "))
	if entries == nil {
		return nil
	}
	fields := map[string]Field{}
	for _, e := range entries {
		switch _, twice := fields[e.Key]; {
		case !slices.Contains(known, e.Key):
			r.Fault(e.Place, "%.60q is not known here; the keys are %s.", e.Key, strings.Join(known, ", "))
		case twice:
			r.Fault(e.Place, "%s is given twice; keep one of them.", e.Key)
		default:
			fields[e.Key] = e.Value
		}
	}
	return fields
}

// Required gives a value that must be there. Nothing is missing from fields that
// are nil: about a mapping that is none, enough was said.
func (r *Reader) Required(parent Field, fields map[string]Field, key string) Field {
	f, ok := fields[key]
	if !ok && fields != nil {
		r.Missing(parent, key, "")
	}
	return f
}

// Missing finds fault with a key that is not there. advice follows the word
// "missing".
func (r *Reader) Missing(parent Field, key, advice string) {
	parent.Path = strings.TrimPrefix(parent.Path+"."+key, ".")
	r.Fault(parent, "%s is missing%s.", key, advice)
}

// Sequence gives the entries of a list. advice says what to do about one that has
// none; without advice it may be empty.
func (r *Reader) Sequence(f Field, advice string) []Field {
	list, ok := f.node.(*ast.SequenceNode)
	if !ok {
		r.wrongType(f, "a list")
		return nil
	}
	if len(list.Values) == 0 && advice != "" {
		r.Fault(f, "%s is empty; %s.", cmp.Or(f.Path, "The list"), advice)
	}
	items := make([]Field, len(list.Values))
	for i, value := range list.Values {
		items[i] = placed(value, fmt.Sprintf("%s[%d]", f.Path, i))
	}
	return items
}
