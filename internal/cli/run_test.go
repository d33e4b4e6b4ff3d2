package cli

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600))

// desk is somebody's shell: a service to talk to and an environment.
type desk struct {
	t       *testing.T
	service *service
	clock   *clockwork.FakeClock
	env     map[string]string
	stdin   string
	ctx     context.Context
	tty     func(io.Writer) bool
}

// newDesk is signed in as ada by JITGATE_TOKEN, nowhere near a terminal.
func newDesk(t *testing.T) *desk {
	clock := clockwork.NewFakeClockAt(noon)
	s := newService(t, clock)
	return &desk{t: t, service: s, clock: clock, ctx: t.Context(), tty: func(io.Writer) bool { return false },
		env: map[string]string{"JITGATE_URL": s.URL, "JITGATE_TOKEN": secret("ada"), "JITGATE_CONFIG_DIR": t.TempDir()}}
}

type result struct {
	code           int
	stdout, stderr string
}

func (d *desk) run(args ...string) result {
	d.t.Helper()
	var out, talk bytes.Buffer
	a := &App{Args: args, Stdin: strings.NewReader(d.stdin), Stdout: &out, Stderr: &talk, Clock: d.clock, terminal: d.tty,
		Getenv: func(name string) string { return d.env[name] }}
	code := a.Run(d.ctx)
	for _, text := range []string{out.String(), talk.String()} {
		for name := range people {
			if strings.Contains(text, secret(name)) {
				d.t.Errorf("%q printed a token:\n%s", args, text)
			}
		}
	}
	return result{code: code, stdout: out.String(), stderr: talk.String()}
}

// ok runs a command that must succeed.
func (d *desk) ok(args ...string) result {
	d.t.Helper()
	r := d.run(args...)
	if r.code != exitDone {
		d.t.Fatalf("%q ended with %d:\n%s", args, r.code, r.stderr)
	}
	return r
}

func (d *desk) without(names ...string) {
	d.env = maps.Clone(d.env)
	for _, name := range names {
		delete(d.env, name)
	}
}

func contains(t *testing.T, what, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, text)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
