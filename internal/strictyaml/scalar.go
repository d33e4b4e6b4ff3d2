package strictyaml

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Text reads a string, plain or in quotes.
func (r *Reader) Text(f Field) (string, bool) {
	s, ok := f.node.(*ast.StringNode)
	if !ok {
		r.wrongType(f, "text")
		return "", false
	}
	return s.Value, true
}

// Line reads text for people: some, on one line, that can be shown as it is.
func (r *Reader) Line(f Field, most int) (string, bool) {
	text, ok := r.Text(f)
	switch {
	case !ok:
		return "", false
	case strings.TrimSpace(text) == "":
		r.Fault(f, "%s is empty; leave it out or fill it.", f.Path)
	case utf8.RuneCountInString(text) > most:
		r.Fault(f, "%s has %d characters; at most %d are read.", f.Path, utf8.RuneCountInString(text), most)
	case strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		r.Fault(f, "%s holds characters that cannot be shown, such as control characters or line breaks; take them out.", f.Path)
	default:
		return text, true
	}
	return "", false
}

// Paragraph is text that may be written over several lines, as expressions are.
func (r *Reader) Paragraph(f Field) (string, bool) {
	if n, ok := f.node.(*ast.LiteralNode); ok {
		return strings.TrimSpace(n.Value.Value), true
	}
	return r.Text(f)
}

// TextOrNumber reads text, or a whole number as it is written.
func (r *Reader) TextOrNumber(f Field) (string, bool) {
	if n, ok := f.node.(*ast.IntegerNode); ok {
		return n.GetToken().Value, true
	}
	return r.Text(f)
}

// Flag reads true or false. One that is not there is false, and ok.
func (r *Reader) Flag(f Field) (value, ok bool) {
	if _, ok := f.node.(*ast.BoolNode); !ok {
		r.wrongType(f, "true or false")
		return false, !f.Given()
	}
	return f.IsTrue(), true
}

var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// Number reads a plain decimal. 022, 0x16 and 1_000 are numbers to some readers
// of YAML and text to others.
func (r *Reader) Number(f Field) (int, bool) {
	if _, ok := f.node.(*ast.IntegerNode); ok {
		text := f.node.GetToken().Value
		if n, err := strconv.Atoi(text); err == nil && decimal.MatchString(text) {
			return n, true
		}
	}
	r.wrongType(f, "a whole number in plain digits")
	return 0, false
}

func (r *Reader) wrongType(f Field, wanted string) {
	if !f.Given() {
		return
	}
	name := cmp.Or(f.Path, "The document")
	switch f.node.Type() {
	case ast.NullType:
		r.Fault(f, "%s has no value; it must be %s.", name, wanted)
	case ast.AliasType, ast.AnchorType, ast.MergeKeyType:
		r.Fault(f, `%s is an anchor or alias, which are not read here; write the value itself, and "*" in quotes.`, name)
	default:
		r.Fault(f, "%s must be %s, not %s.", name, wanted, kindOf(f.node))
	}
}

func kindOf(n ast.Node) string {
	switch n.Type() {
	case ast.StringType:
		return "text"
	case ast.LiteralType:
		return "text of several lines"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return fmt.Sprintf("the number %.60s", n.GetToken().Value)
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
