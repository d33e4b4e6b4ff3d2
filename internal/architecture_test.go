package internal_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	ImportPath string
	Imports    []string
	Dir        string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Dir", "jitgate/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func under(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

// rules says who may not import what, and why.
var rules = []struct {
	who    []string
	except []string
	not    []string
	why    string
}{
	{
		who: []string{"jitgate"}, except: []string{"jitgate/internal/azure", "jitgate/internal/local", "jitgate/cmd/bench"},
		not: []string{"github.com/Azure"},
		why: "only adapters, stand-ins and the benchmarks' baselines know Azure's SDKs, so that the rest can be read and tested without them",
	},
	{
		who: []string{"jitgate"}, except: []string{"jitgate/internal/local", "jitgate/cmd"},
		not: []string{"jitgate/internal/local"},
		why: "the product has no test mode: it must not be able to know that it runs on a laptop",
	},
	{
		who: []string{"jitgate/internal/policy", "jitgate/internal/alert", "jitgate/internal/strictyaml", "jitgate/internal/nsg", "jitgate/internal/audit", "jitgate/internal/armid"},
		not: []string{"jitgate/internal/access", "jitgate/internal/azure", "jitgate/internal/web", "jitgate/internal/identity", "jitgate/functions", "net/http", "log/slog"},
		why: "what decides is pure: it depends on nothing that acts",
	},
	{
		who: []string{"jitgate/internal/access"}, except: []string{"jitgate/internal/access/storetest", "jitgate/internal/access/accesstest"},
		not: []string{"jitgate/internal/azure", "jitgate/internal/web", "jitgate/internal/api", "jitgate/internal/identity", "jitgate/internal/azfunc", "jitgate/functions", "net/http"},
		why: "the domain declares ports; adapters and edges depend on it, not the other way round",
	},
	{
		who: []string{"jitgate/internal/notify"},
		not: []string{"jitgate/internal/access", "jitgate/internal/azure", "jitgate/internal/web", "jitgate/internal/api", "jitgate/functions"},
		why: "what calls out knows addresses and formats, and nothing of what it tells",
	},
	{
		who: []string{"jitgate/functions"},
		not: []string{"jitgate/internal/azure", "jitgate/internal/app"},
		why: "functions decode, call and encode; which adapter serves them is decided in internal/app",
	},
	{
		who: []string{"jitgate/internal/azure", "jitgate/internal/identity", "jitgate/internal/azfunc"},
		not: []string{"jitgate/functions", "jitgate/internal/app", "jitgate/internal/web", "jitgate/internal/api"},
		why: "dependencies point inward",
	},
	{
		who: []string{"jitgate/internal/cli", "jitgate/internal/client", "jitgate/internal/api"},
		not: []string{"jitgate/internal/access", "jitgate/functions", "jitgate/internal/app", "jitgate/internal/web"},
		why: "what talks to the API sees what any caller sees",
	},
	{
		who: []string{"jitgate/internal/local/arm"},
		not: []string{"jitgate/internal/nsg"},
		why: "the probe is a second, independent answer to what an NSG lets through",
	},
}

func TestDependenciesPointInward(t *testing.T) {
	seen := 0
	for _, p := range packages(t) {
		for _, rule := range rules {
			if !under(p.ImportPath, rule.who...) || under(p.ImportPath, rule.except...) {
				continue
			}
			seen++
			for _, imported := range p.Imports {
				if under(imported, rule.not...) {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d packages were held against a rule; are the paths right?", seen)
	}
}

// TestEveryFolderSaysWhatItIs: one package comment per folder, so that a newcomer
// finds one answer and not two.
func TestEveryFolderSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		var comments []string
		files := 0
		err := filepath.WalkDir(p.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && path != p.Dir {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			files++
			var file *ast.File
			file, err = parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err == nil && file.Doc != nil {
				comments = append(comments, filepath.Base(path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if files > 0 && len(comments) != 1 {
			t.Errorf("%s has %d package comments (%v), want one", p.ImportPath, len(comments), comments)
		}
	}
}
