package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxDepth of nesting. The parser takes seconds for 64 KiB of opening brackets;
// policies need three levels, alert rules seven.
const maxDepth = 20

// load turns the text into its one document. Tokens are looked at before they
// are parsed, so that text made to be slow is refused while that is cheap.
func load(data []byte) (Field, Faults) {
	at := func(line, column int, format string, args ...any) (Field, Faults) {
		return Field{}, Faults{{Line: line, Column: column, Sentence: fmt.Sprintf(format, args...)}}
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
			return at(line, column, "A second document starts here; give each a file of its own.")
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
