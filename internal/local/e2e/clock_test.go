package e2e_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"jitgate/internal/app"
)

// The sweep only cares about what was left alone for minutes. So that a test need not
// wait for them, the test binary can play the handler: the same app, wired from the
// same settings, with a clock that runs ahead by what a file says. The handler itself
// has no such thing.
const clockVariable = "E2E_CLOCK_FILE"

func runClockedHandler() {
	settings := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		settings[name] = value
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	config, err := app.Load(settings)
	if err == nil {
		config.Now = func() time.Time {
			text, err := os.ReadFile(os.Getenv(clockVariable))
			if err != nil {
				panic(err)
			}
			ahead, err := time.ParseDuration(string(text))
			if err != nil {
				panic(err)
			}
			return time.Now().Add(ahead)
		}
		var a *app.App
		if a, err = app.New(config, log); err == nil {
			err = a.Run(context.Background())
		}
	}
	log.Error("handler ends", "error", err)
	os.Exit(1)
}

// clock is the file that the clocked handler reads.
type clock struct{ file string }

func (c clock) set(t *testing.T, ahead time.Duration) {
	t.Helper()
	// Renaming is atomic: the handler never reads half a number.
	if err := os.WriteFile(c.file+".new", []byte(ahead.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.file+".new", c.file); err != nil {
		t.Fatal(err)
	}
}

// clockedApp stages an app folder whose handler is this test binary.
func clockedApp(t *testing.T) (root string, c clock) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "app")
	if err := os.CopyFS(root, os.DirFS(appRoot)); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err == nil {
		err = os.Remove(filepath.Join(root, "handler"))
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(root, "handler"))
	}
	if err != nil {
		t.Fatal(err)
	}
	c = clock{file: filepath.Join(t.TempDir(), "clock")}
	c.set(t, 0)
	return root, c
}
