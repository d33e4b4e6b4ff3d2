package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

type waitFlags struct {
	on      bool
	timeout time.Duration
}

func (f *waitFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "wait", false, "wait for the outcome and show progress")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait with --wait; 0 waits for as long as it takes")
}

// await polls until the request is settled and returns it as last seen, with an
// error as well.
func (a *App) await(ctx context.Context, jit *client.Client, r api.Request, timeout time.Duration) (api.Request, error) {
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	p := progress{app: a, began: a.Clock.Now()}
	p.show(r)
	_, err := jit.Wait(limited, r.ID, func(now api.Request) {
		r = now
		p.show(r)
	})
	a.clearLine()
	look := "it goes on without this command; look again with: jitgate show " + r.ID
	switch {
	case err == nil:
		return r, nil
	case ctx.Err() != nil:
		return r, &failure{exit: exitUnexpected, sentence: "interrupted while the request was " + r.State, cause: err,
			hints: []string{look, "take it back with: jitgate revoke " + r.ID}}
	case limited.Err() != nil:
		return r, &failure{exit: exitUnavailable, cause: err,
			sentence: fmt.Sprintf("the request is still %s after %s", r.State, short(timeout)), hints: []string{look}}
	}
	return r, explain(err).hinting(look)
}

// progress tells where a request stands: on a terminal in one line that changes,
// elsewhere in a line for every change.
type progress struct {
	app   *App
	began time.Time
	last  string
}

func (p *progress) show(r api.Request) {
	text := describe(r)
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
}

func describe(r api.Request) string {
	if len(r.Targets) < 2 {
		if m := meaning[r.State]; m != "" {
			return r.State + ": " + m
		}
		return r.State
	}
	each := make([]string, len(r.Targets))
	for i, t := range r.Targets {
		each[i] = lastPart(t.VM) + " " + t.State
	}
	return r.State + ": " + strings.Join(each, ", ")
}
