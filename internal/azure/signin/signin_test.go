package signin

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

// fakeAZ puts an az in front of PATH that notes how it was called and answers with
// script. It returns the file of notes.
func fakeAZ(t *testing.T, script string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir := t.TempDir()
	notes := filepath.Join(dir, "calls")
	text := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> '%s'\n%s\n", notes, script)
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	return notes
}

func calls(t *testing.T, notes string) []string {
	t.Helper()
	text, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestTokenIsAskedForOnceAndReplacedBeforeItEnds(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := clockwork.NewFakeClockAt(start)
	notes := fakeAZ(t, fmt.Sprintf(`n=$(wc -l < "$(dirname "$0")/calls" | tr -d ' ')
echo "{\"accessToken\":\"token-$n\",\"expires_on\":%d}"`, start.Add(time.Hour).Unix()))
	az, err := NewAzureCLI("33333333-3333-3333-3333-333333333333", clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pass time.Duration
		want string
	}{
		{0, "token-1"},
		{54 * time.Minute, "token-1"},
		{time.Minute, "token-2"}, // five minutes are left
	} {
		clock.Advance(step.pass)
		got, err := az.Token(t.Context())
		if err != nil || got != step.want {
			t.Fatalf("after %s: %q, %v; want %q", step.pass, got, err, step.want)
		}
	}
	made := calls(t, notes)
	if len(made) != 2 {
		t.Fatalf("az was started %d times, want 2: %q", len(made), made)
	}
	if want := "--resource api://33333333-3333-3333-3333-333333333333"; !strings.Contains(made[0], want) {
		t.Errorf("az was called with %q, want %q in it", made[0], want)
	}
}

func TestRefusalNamesTheScope(t *testing.T) {
	fakeAZ(t, `echo "Please run 'az login' to setup account." >&2; exit 1`)
	az, err := NewAzureCLI("app", clockwork.NewFakeClock())
	if err != nil {
		t.Fatal(err)
	}
	_, err = az.Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "api://app/.default") {
		t.Fatalf("got %v, want an error that names the scope", err)
	}
}
