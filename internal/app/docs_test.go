package app_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestEveryCodeIsExplained: callers branch on codes, so one that docs/api.md does not
// name might as well not exist.
func TestEveryCodeIsExplained(t *testing.T) {
	document, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := 0
	for _, folder := range []string{"access", "identity", "api"} {
		files, err := filepath.Glob("../" + folder + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", folder, err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok || len(spec.Values) != 1 || strings.HasSuffix(name, "_test.go") {
					return true
				}
				kind, typed := spec.Type.(*ast.Ident)
				// The edge's own codes are untyped, in a file of their own.
				if !(typed && kind.Name == "Code") && !(spec.Type == nil && filepath.Base(name) == "problem.go") {
					return true
				}
				value, ok := spec.Values[0].(*ast.BasicLit)
				if !ok {
					return true
				}
				code, err := strconv.Unquote(value.Value)
				if err != nil {
					t.Fatal(err)
				}
				if codes++; !strings.Contains(string(document), "`"+code+"`") {
					t.Errorf("%s (%s in %s) is not in docs/api.md", code, spec.Names[0], name)
				}
				return true
			})
		}
	}
	if codes < 60 {
		t.Errorf("only %d codes were found; are they still constants of a type Code?", codes)
	}
}
