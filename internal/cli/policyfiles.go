package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"jitgate/internal/policy"
)

// documents are what files hold: policies, and cases to try them with.
type documents struct {
	files  []string // of the policies, in the same order
	texts  []string
	set    policy.Set
	cases  []policy.Case
	faults []fileFault
}

// fileFault is one thing wrong with a file.
type fileFault struct {
	File   string `json:"file"`
	Line   int    `json:"line"`   // from 1
	Column int    `json:"column"` // from 1, in characters
	Text   string `json:"text"`
}

func (f fileFault) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Text)
}

// casesName is the file, beside policies, that holds cases and no policy.
const casesName = "cases"

func holdsCases(file string) bool {
	name := filepath.Base(file)
	return strings.TrimSuffix(name, filepath.Ext(name)) == casesName && isDocument(file)
}

func isDocument(file string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file))
}

// files are the files that paths name: a folder stands for the documents in it.
func files(paths []string) ([]string, error) {
	var all []string
	for _, path := range paths {
		if info, err := os.Stat(path); path == "-" || err != nil || !info.IsDir() {
			all = append(all, path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, unreadable(err)
		}
		before := len(all)
		for _, e := range entries {
			if !e.IsDir() && isDocument(e.Name()) {
				all = append(all, filepath.Join(path, e.Name()))
			}
		}
		if len(all) == before {
			return nil, usage("%s holds no documents; they end in .yaml, .yml or .json", path)
		}
	}
	return all, nil
}

// documents reads all files and collects what is wrong with any of them.
func (a *App) documents(paths []string) (documents, error) {
	var d documents
	all, err := files(paths)
	if err != nil {
		return d, err
	}
	for _, file := range all {
		text, err := a.read(file)
		if err != nil {
			return d, err
		}
		if holdsCases(file) {
			cases, err := policy.ParseCases(text)
			d.cases = append(d.cases, cases...)
			d.faults = append(d.faults, faultsOf(file, err)...)
			continue
		}
		document, err := policy.Parse(text)
		if err != nil {
			d.faults = append(d.faults, faultsOf(file, err)...)
			continue
		}
		d.files = append(d.files, file)
		d.texts = append(d.texts, string(text))
		// Versions are made up: they tell documents of one scope apart.
		d.set = append(d.set, policy.New(document, len(d.files)))
	}
	return d, nil
}

func faultsOf(file string, err error) []fileFault {
	var faults policy.Faults
	if err == nil {
		return nil
	}
	if !errors.As(err, &faults) {
		return []fileFault{{File: file, Line: 1, Column: 1, Text: err.Error()}}
	}
	all := make([]fileFault, len(faults))
	for i, f := range faults {
		all[i] = fileFault{File: file, Line: f.Line, Column: f.Column, Text: f.Sentence}
	}
	return all
}

// refuseFiles shows faults on stdout, as compilers do, and is an error. The value is
// what JSON has instead; nil has the faults alone.
func (a *App) refuseFiles(value any, faults []fileFault) error {
	if value == nil {
		value = struct {
			Faults []fileFault `json:"faults"`
		}{faults}
	}
	return errors.Join(a.print(value, func(w io.Writer) { writeFaults(w, faults) }),
		&failure{exit: exitUsage, sentence: fmt.Sprintf("the documents cannot be read: %s", plural(len(faults), "fault"))})
}

func writeFaults(w io.Writer, faults []fileFault) {
	for _, f := range faults {
		_, _ = fmt.Fprintln(w, clean(f.String()))
	}
}
