package policy

import (
	"os"
	"path/filepath"
	"testing"
)

const examples = "../../docs/examples"

func exampleFolders(t *testing.T) []string {
	folders, err := filepath.Glob(filepath.Join(examples, "policies", "*"))
	if err != nil || len(folders) < 3 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	return folders
}

func loadExamples(t *testing.T, folder string) (set Set, cases []Case) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "cases.yaml" {
			cases, err = ParseCases(data)
		} else {
			var d Document
			if d, err = Parse(data); err == nil {
				set = append(set, New(d, 1))
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return set, cases
}

// TestExamples reads, lints and runs what docs/examples offers for copying.
func TestExamples(t *testing.T) {
	for _, folder := range exampleFolders(t) {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			set, cases := loadExamples(t, folder)
			for _, f := range Lint(set) {
				t.Errorf("%s: %s: %s", f.Policy, f.Code, f.Sentence)
			}
			if len(set) < 2 || len(cases) < 5 {
				t.Errorf("only %d policies and %d cases", len(set), len(cases))
			}
			for _, r := range RunCases(set, cases) {
				if !r.Passed {
					t.Errorf("%s: %s", r.Case.Name, r.Sentence)
				}
			}
		})
	}
}

func TestDemoPolicies(t *testing.T) {
	var set Set
	for _, name := range []string{"demo-policy.yaml", "demo-production.yaml"} {
		data, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, New(parse(t, string(data)), 1))
	}
	if findings := Lint(set); len(findings) > 0 {
		t.Error(findings)
	}
}
