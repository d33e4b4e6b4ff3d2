package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"jitgate/internal/policy"
)

// lintReport is what lint prints as JSON.
type lintReport struct {
	Documents int           `json:"documents"` // policies that were read
	Faults    []fileFault   `json:"faults"`
	Findings  []fileFinding `json:"findings"`
}

type fileFinding struct {
	File string `json:"file"`
	Code string `json:"code"`
	Text string `json:"text"`
}

func (a *App) policyLintCommand() *cobra.Command {
	var strict bool
	c := &cobra.Command{
		Use:   "lint FILE|DIR…",
		Short: "Find faults in policy files, and what is hardly meant",
		Long: `Read policy files and tell all their faults, each as FILE:LINE:COLUMN. When there are
none, look for what is allowed but hardly meant, also between the documents: all that
are named are looked at together. A folder stands for its .yaml, .yml and .json files,
without those in folders below; a file called cases.yaml holds cases for jitgate
policy test and is only read for faults.

Nothing is asked of an installation. The exit code is 64 if there is a fault. Findings
are no error, unless --strict is given: then it is 2.`,
		Example: `  jitgate policy lint policies/
  jitgate policy lint --strict tenant.yaml production.yaml
  jitgate policy lint policies/ -o json`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.MinimumNArgs(1)(c, args); err != nil {
				return usage("name the files to look at, or a folder")
			}
			return nil
		},
		RunE: a.run(func(_ *cobra.Command, args []string) error { return a.lint(args, strict) }),
	}
	c.Flags().BoolVar(&strict, "strict", false, "end with exit code 2 if there is a finding")
	return c
}

func (a *App) lint(paths []string, strict bool) error {
	d, err := a.documents(paths)
	if err != nil {
		return err
	}
	r := lintReport{Documents: len(d.set), Faults: d.faults, Findings: []fileFinding{}}
	if len(d.faults) > 0 {
		return a.refuseFiles(r, d.faults)
	}
	r.Faults = []fileFault{}
	for _, f := range policy.Lint(d.set) {
		at := slices.IndexFunc(d.set, func(p policy.Policy) bool { return p.Ref() == f.Policy })
		r.Findings = append(r.Findings, fileFinding{File: d.files[at], Code: f.Code, Text: f.Sentence})
	}
	if len(r.Findings) == 0 {
		a.say("nothing to say about %s", plural(len(d.set), "document"))
	}
	err = a.print(r, func(w io.Writer) {
		rows := make([]table.Row, len(r.Findings))
		for i, f := range r.Findings {
			rows[i] = table.Row{f.File, f.Code, f.Text}
		}
		if len(rows) > 0 {
			writeTable(w, table.Row{"File", "Finding", "What"}, rows)
		}
	})
	if strict && len(r.Findings) > 0 {
		err = errors.Join(err, &failure{exit: exitCheck, sentence: plural(len(r.Findings), "finding") + " in " + plural(len(d.set), "document")})
	}
	return err
}

// testReport is what test prints as JSON.
type testReport struct {
	Documents int          `json:"documents"`
	Passed    int          `json:"passed"`
	Cases     []testedCase `json:"cases"`
}

type testedCase struct {
	Name   string   `json:"name"`
	Passed bool     `json:"passed"`
	Expect string   `json:"expect"`
	Got    string   `json:"got"`
	Codes  []string `json:"codes,omitempty"`
	Text   string   `json:"text,omitempty"` // what differs, and why
}

func (a *App) policyTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR",
		Short: "Try the policies in a folder with the cases beside them",
		Long: `Ask the policies in a folder what its cases.yaml asks, and compare the answers with
those that are expected. Cases that got another answer are shown, and why.

Nothing is asked of an installation. The exit code is 2 if a case got another answer
and 64 if a document has a fault.`,
		Example: `  jitgate policy test policies/
  jitgate policy test docs/examples/policies/pci -o json`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return usage("name one folder with policies and %s.yaml", casesName)
			}
			return nil
		},
		RunE: a.run(func(_ *cobra.Command, args []string) error { return a.tryCases(args[0]) }),
	}
}

func (a *App) tryCases(dir string) error {
	d, err := a.documents([]string{dir})
	if err != nil {
		return err
	}
	if len(d.faults) > 0 {
		return a.refuseFiles(nil, d.faults)
	}
	if len(d.cases) == 0 {
		return usage("%s has no %s.yaml with cases", dir, casesName)
	}
	r := testReport{Documents: len(d.set)}
	for _, result := range policy.RunCases(d.set, d.cases) {
		if result.Passed {
			r.Passed++
		}
		r.Cases = append(r.Cases, testedCase{Name: result.Case.Name, Passed: result.Passed, Expect: string(result.Case.Expect),
			Got: string(result.Got), Codes: result.Codes, Text: result.Sentence})
	}
	failed := len(r.Cases) - r.Passed
	tally := fmt.Sprintf("%s, %s: %d passed, %d failed", plural(r.Documents, "document"), plural(len(r.Cases), "case"), r.Passed, failed)
	err = a.print(r, func(w io.Writer) {
		var rows []table.Row
		for _, c := range r.Cases {
			if !c.Passed {
				rows = append(rows, table.Row{c.Name, c.Expect, c.Got, strings.Join(c.Codes, ", ")}, table.Row{under(c.Text)})
			}
		}
		if len(rows) > 0 {
			writeTable(w, table.Row{"Case", "Expected", "Got", "Codes"}, rows)
			_, _ = fmt.Fprintln(w)
		}
		_, _ = fmt.Fprintln(w, tally)
	})
	if failed > 0 {
		err = errors.Join(err, &failure{exit: exitCheck, sentence: fmt.Sprintf("%d of %s got another answer", failed, plural(len(r.Cases), "case"))})
	}
	return err
}
