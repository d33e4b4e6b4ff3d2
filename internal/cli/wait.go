package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

type waitFlags struct {
	on      bool
	timeout time.Duration
}

func (f *waitFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "wait", false, "wait for the outcome and show progress")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait with --wait; 0 waits for as long as it takes")
}

// errand is something under way on the server that a command can wait for.
type errand[T any] struct {
	name     string // in a sentence, for example "the request"
	poll     func(ctx context.Context, seen func(T)) (T, error)
	state    func(T) string
	describe func(T) string // one line on where it stands
	judge    func(T) error  // of the outcome
	show     func(T) error  // writes it to stdout
	look     string         // the command that shows it
	undo     string         // the command that takes it back; empty if there is none
}

// finish waits until an errand is settled, shows it and judges the outcome. What is
// known is shown even when the wait fails.
func finish[T any](ctx context.Context, a *App, e errand[T], seen T, timeout time.Duration) error {
	seen, err := await(ctx, a, e, seen, timeout)
	if err == nil {
		err = e.judge(seen)
	}
	return errors.Join(e.show(seen), err)
}

// await polls until the errand is settled and returns it as last seen, with an
// error as well.
func await[T any](ctx context.Context, a *App, e errand[T], seen T, timeout time.Duration) (T, error) {
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	p := progress{app: a, began: a.Clock.Now()}
	p.show(e.describe(seen))
	_, err := e.poll(limited, func(now T) {
		seen = now
		p.show(e.describe(now))
	})
	a.clearLine()
	look := "it goes on without this command; look again with: " + e.look
	switch {
	case err == nil:
		return seen, nil
	case ctx.Err() != nil:
		f := &failure{exit: exitUnexpected, sentence: fmt.Sprintf("interrupted while %s was %s", e.name, e.state(seen)), cause: err, hints: []string{look}}
		if e.undo != "" {
			f.hints = append(f.hints, "take it back with: "+e.undo)
		}
		return seen, f
	case limited.Err() != nil:
		return seen, &failure{exit: exitUnavailable, cause: err,
			sentence: fmt.Sprintf("%s is still %s after %s", e.name, e.state(seen), short(timeout)), hints: []string{look}}
	}
	return seen, explain(err).hinting(look)
}

// progress tells where an errand stands: on a terminal in one line that changes,
// elsewhere in a line for every change.
type progress struct {
	app   *App
	began time.Time
	last  string
}

func (p *progress) show(text string) {
	if p.app.isTerminal(p.app.Stderr) {
		p.app.clearLine()
		line := fmt.Sprintf("jitgate: %s (%s)", clean(text), p.app.Clock.Since(p.began).Round(time.Second))
		// A line that wraps cannot be overwritten.
		const most = 79
		if runes := []rune(line); len(runes) > most {
			line = string(runes[:most-1]) + "…"
		}
		_, _ = fmt.Fprint(p.app.Stderr, line)
		p.app.midLine = true
		return
	}
	if text != p.last {
		p.app.say("%s", text)
		p.last = text
	}
}

// meaning of the states in which something is still to happen.
var meaning = map[string]string{
	"Pending":          "waiting for a decision",
	"AwaitingApproval": "waiting for an approver",
	"Approved":         "allowed, the rules are being written",
	"Closing":          "the rules are being removed",
	"Protecting":       "the deny rules are being written",
	"Unprotecting":     "the rules are being put back",
}

// explained is a state and what it means.
func explained(state string) string {
	if m := meaning[state]; m != "" {
		return state + ": " + m
	}
	return state
}
