package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"jitgate/internal/api"
)

// failure is an error as it is told: what went wrong, with details, and the way out.
type failure struct {
	exit     int
	sentence string
	lines    []string
	code     string
	hints    []string
	cause    error
}

func (f *failure) Error() string { return f.sentence }
func (f *failure) Unwrap() error { return f.cause }

// hinting adds ways out to a copy of the failure.
func (f *failure) hinting(hints ...string) *failure {
	told := *f
	told.hints = append(append([]string{}, f.hints...), hints...)
	return &told
}

func usage(text string, args ...any) *failure {
	return &failure{exit: exitUsage, sentence: fmt.Sprintf(text, args...)}
}

// report tells an error on stderr and returns the exit code.
func (a *App) report(err error) int {
	a.clearLine()
	if err == nil {
		return exitDone
	}
	f := explain(err)
	a.say("%s", f.sentence)
	for _, line := range f.lines {
		a.note("  %s", line)
	}
	if f.code != "" {
		a.note("code: %s", f.code)
	}
	for _, hint := range f.hints {
		a.note("hint: %s", hint)
	}
	return f.exit
}

// note writes a line that belongs to the one said before.
func (a *App) note(text string, args ...any) {
	_, _ = fmt.Fprintf(a.Stderr, "%s\n", clean(fmt.Sprintf(text, args...)))
}

// explain finds the failure in an error. An error that is none becomes one by what
// it is: the server's word, a connection that failed, or something nobody foresaw.
func explain(err error) *failure {
	var f *failure
	var problem *api.Problem
	var connection *url.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &problem):
		return explainProblem(problem)
	case errors.Is(err, context.Canceled):
		return &failure{exit: exitUnexpected, sentence: "interrupted", cause: err}
	case errors.As(err, &connection), errors.Is(err, context.DeadlineExceeded):
		return &failure{exit: exitUnavailable, sentence: err.Error(), cause: err,
			hints: []string{`is JITGATE_URL right, and does the service run? The local stack is started with "make run"`}}
	}
	return &failure{exit: exitUnexpected, sentence: err.Error(), cause: err}
}

const signInHint = "run: jitgate login --as NAME (local stack), or set JITGATE_TOKEN"

func explainProblem(p *api.Problem) *failure {
	f := &failure{exit: exitOf(p.Status), sentence: p.Detail, code: p.Code, cause: p}
	details := make([]string, len(p.Errors))
	for i, e := range p.Errors {
		details[i] = e.Detail
		switch {
		case e.Detail == p.Detail && e.Field == "":
		case e.Detail == p.Detail:
			f.lines = append(f.lines, "field: "+e.Field)
		case e.Field == "":
			f.lines = append(f.lines, e.Detail)
		default:
			f.lines = append(f.lines, e.Field+": "+e.Detail)
		}
		from := origin(e.Policy, e.Passes)
		if e.Detail == p.Detail { // it belongs to the sentence itself
			for j, line := range from {
				from[j] = strings.TrimSpace(line)
			}
		}
		f.lines = append(f.lines, from...)
	}
	// The detail of a problem with several faults is all their sentences in a row,
	// which nobody can read and the lines say again.
	if len(details) > 1 && strings.Join(details, " ") == p.Detail {
		f.sentence = fmt.Sprintf("refused, %d things are wrong:", len(details))
	}
	if f.sentence == "" {
		f.sentence = fmt.Sprintf("the server answered %d without saying why", p.Status)
	}
	if p.Status == http.StatusUnauthorized {
		f.hints = append(f.hints, signInHint)
	}
	if hint := wayOut[p.Code]; hint != "" {
		f.hints = append(f.hints, hint)
	}
	return f
}

const listMachines = "list those there are with: jitgate machines list"

// wayOut is what to type, by the code of a problem.
var wayOut = map[string]string{
	"request_not_found":  "list yours with: jitgate list --mine",
	"policy_not_found":   "list those there are with: jitgate policy list",
	"vm_not_found":       listMachines,
	"lockdown_not_found": "list those in force with: jitgate lockdown list",
	"proposal_not_found": "list those that wait with: jitgate policy proposals",
	"priority_taken":     "let the rule come back at another priority: jitgate unprotect VM --priority RULE=NUMBER",
}
