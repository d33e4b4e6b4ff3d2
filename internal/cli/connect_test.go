package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestLostAnswersDoNotAskTwice(t *testing.T) {
	d := newDesk(t)
	d.service.lose = 2
	r := d.ok("request", "--vm", web1, "--port", "22")
	if len(d.service.requests) != 1 {
		t.Errorf("%d requests were made, want 1", len(d.service.requests))
	}
	keys := d.service.keys
	if len(keys) != 3 || keys[0] != keys[1] || keys[1] != keys[2] || uuid.Validate(keys[0]) != nil {
		t.Errorf("keys %q, want the same UUID three times", keys)
	}
	if n := strings.Count(r.stderr, "trying again in 0s"); n != 2 {
		t.Errorf("the repeats were told %d times:\n%s", n, r.stderr)
	}
	d.ok("request", "--vm", web1, "--port", "22")
	if len(d.service.requests) != 2 {
		t.Errorf("another command must be another request; there are %d", len(d.service.requests))
	}
}

func TestRepeatedCallIsTheSameCall(t *testing.T) {
	d := newDesk(t)
	d.service.down = 2
	d.ok("request", "--vm", web1, "--port", "22", "--reason", "INC-1042")
	if got := d.service.requests; len(got) != 1 || got[0].Justification != "INC-1042" {
		t.Errorf("requests %+v, want the one that was asked for", got)
	}
}

func TestUncertainRequestCanBeRepeatedByHand(t *testing.T) {
	d := newDesk(t)
	d.service.lose = tries
	r := d.run("request", "--vm", web1, "--port", "22")
	if r.code != exitUnavailable {
		t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	hint := regexp.MustCompile(`--idempotency-key (\S+)`).FindStringSubmatch(r.stderr)
	if hint == nil {
		t.Fatalf("no hint at the key:\n%s", r.stderr)
	}
	d.ok("request", "--vm", web1, "--port", "22", "--idempotency-key", hint[1])
	if len(d.service.requests) != 1 {
		t.Errorf("%d requests were made, want 1", len(d.service.requests))
	}
}

func TestWaitOutlivesAnAbsentService(t *testing.T) {
	d := newDesk(t)
	d.ok("request", "--vm", "web-1", "--port", "22", "--wait")
	d.service.lose = 2
	r := d.ok("revoke", firstID, "--wait")
	contains(t, "stdout", r.stdout, "Revoked")
}

func TestRetryAfterIsHeededWithinReason(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": time.Second, "soon": time.Second, "-1": time.Second, "0": 0, "2": 2 * time.Second, "3600": longPause,
	} {
		r := &http.Response{Header: http.Header{"Retry-After": {text}}}
		if got := retryAfter(r, time.Second); got != want {
			t.Errorf("Retry-After %q gives %s, want %s", text, got, want)
		}
	}
}

func TestNamesAndIDs(t *testing.T) {
	d := newDesk(t)
	d.ok("request", "--vm", web1, "--port", "22")
	if asked := strings.Join(d.service.calls, "\n"); strings.Contains(asked, "/api/machines") {
		t.Errorf("an id needs no look-up:\n%s", asked)
	}
	d.ok("request", "--vm", "Web-1", "--vm", "web-2", "--port", "22")
	if got := d.service.requests[1].Targets; len(got) != 2 || got[0].VM != web1 || lastPart(got[1].VM) != "web-2" {
		t.Errorf("targets %+v", got)
	}
	if r := d.ok("list", "--vm", "web-2"); strings.Contains(r.stdout, firstID) || !strings.Contains(r.stdout, "web-2") {
		t.Errorf("list --vm web-2:\n%s", r.stdout)
	}
}

func TestLocalStackIsFoundByItsFile(t *testing.T) {
	d := newDesk(t)
	d.without("JITGATE_URL")
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("build/local", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		code       int
		says       string
	}{
		{"as written by the stack", "# addresses\nJITGATE_ARM_URL=http://127.0.0.1:7\nJITGATE_URL=" + d.service.URL + "\n", exitDone, "from the file build/local/env"},
		{"elsewhere", "JITGATE_URL=https://evil.example\n", exitUsage, "not on this machine"},
		{"sign-in elsewhere", "JITGATE_URL=" + d.service.URL + "\nJITGATE_ENTRA_URL=https://evil.example\n", exitUsage, "not on this machine"},
		{"still empty", "", exitUsage, "still starting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			writeFile(t, localEnv, c.file)
			r := d.run("list", "--verbose")
			if r.code != c.code {
				t.Errorf("exit code %d, want %d", r.code, c.code)
			}
			contains(t, "stderr", r.stderr, c.says)
		})
	}
	writeFile(t, localEnv, "JITGATE_URL=http://127.0.0.1:1\n")
	d.env["JITGATE_URL"] = d.service.URL + "/"
	contains(t, "stderr", d.ok("list", "-v").stderr, "from the environment", "sign-in: JITGATE_TOKEN", "GET /api/requests: 200 OK")
}

func TestTokensAreNotSentInTheClear(t *testing.T) {
	for address, fine := range map[string]bool{
		"https://jit.example.org": true, "http://127.0.0.1:7071": true, "http://[::1]:7071": true, "http://localhost:7071": true,
		"http://jit.example.org": false, "http://127.0.0.1.example.org": false, "http://10.0.0.1": false, "ftp://127.0.0.1": false,
		"jit.example.org": false, "https://user:password@jit.example.org": false, "https://jit.example.org?x=1": false, "https://": false,
	} {
		if err := checkURL("JITGATE_URL", address); (err == nil) != fine {
			t.Errorf("%s: %v, want it to be fine: %v", address, err, fine)
		}
	}
	d := newDesk(t)
	d.env["JITGATE_URL"] = "http://jit.example.org"
	if r := d.run("list"); r.code != exitUsage {
		t.Errorf("exit code %d, want %d\n%s", r.code, exitUsage, r.stderr)
	}
}

func TestStoredLogin(t *testing.T) {
	d := newDesk(t)
	d.without("JITGATE_TOKEN")
	d.env["JITGATE_ENTRA_URL"] = d.service.URL
	file := filepath.Join(d.env["JITGATE_CONFIG_DIR"], "token.json")

	r := d.ok("login", "--as", "ada", "-o", "json")
	contains(t, "stdout", r.stdout, `"expiresOn": "2026-03-01T12:00:00Z"`, `"name": "ada"`)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("token.json has mode %v", info.Mode().Perm())
	}
	d.ok("list")

	// Again over an older file that everybody could read.
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	d.ok("login", "--as", "root")
	if info, err = os.Stat(file); err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("after the second login: %v, %v", info.Mode().Perm(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) != 1 {
		t.Errorf("files were left behind: %q", left)
	}

	other := newService(t, d.clock)
	d.env["JITGATE_URL"] = other.URL
	if r := d.run("list"); r.code != exitNotAllowed || len(other.calls) > 0 {
		t.Errorf("the login of one installation must not be sent to another: code %d, calls %q", r.code, other.calls)
	}
	d.env["JITGATE_URL"] = d.service.URL

	d.clock.Advance(time.Hour)
	before := len(d.service.calls)
	r = d.run("list")
	if r.code != exitNotAllowed || len(d.service.calls) != before {
		t.Errorf("exit code %d with an ended login, %d calls", r.code, len(d.service.calls)-before)
	}
	contains(t, "stderr", r.stderr, "the login of root ended", "run: jitgate login --as root")

	writeFile(t, file, "{")
	r = d.run("list")
	contains(t, "stderr", r.stderr, file, "jitgate login")
	d.env["JITGATE_TOKEN"] = secret("ada")
	d.ok("list")
}

func TestLoginThatIsNoLogin(t *testing.T) {
	d := newDesk(t)
	contains(t, "stderr", d.ok("login").stderr, "JITGATE_TOKEN", "az login", "JITGATE_AUDIENCE", "--as NAME")
	r := d.run("login", "--as", "ada")
	if r.code != exitUsage {
		t.Errorf("exit code %d without a local stack", r.code)
	}
	contains(t, "stderr", r.stderr, "JITGATE_ENTRA_URL")
	d.env["JITGATE_ENTRA_URL"] = d.service.URL
	if r := d.run("login", "--as", "mallory"); r.code != exitNotFound {
		t.Errorf("exit code %d for somebody unknown\n%s", r.code, r.stderr)
	}
	for _, nonsense := range []string{`<html>`, `{}`, `{"access_token":"x"}`, `{"access_token":"","expires_on":"1"}`} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, nonsense) }))
		d.env["JITGATE_ENTRA_URL"] = s.URL
		if r := d.run("login", "--as", "ada"); r.code != exitUnexpected || !strings.Contains(r.stderr, "not a token") {
			t.Errorf("%s: exit code %d\n%s", nonsense, r.code, r.stderr)
		}
		s.Close()
	}
}

func TestAzureCLISignsIn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	d := newDesk(t)
	d.without("JITGATE_TOKEN")
	d.env["JITGATE_AUDIENCE"] = "33333333-3333-3333-3333-333333333333"
	dir := t.TempDir()
	az := filepath.Join(dir, "az")
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	script := func(text string) {
		if err := os.WriteFile(az, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	script(fmt.Sprintf(`case "$*" in *"--resource api://33333333-3333-3333-3333-333333333333") echo '{"accessToken":"%s","expires_on":%d}';; *) exit 9;; esac`,
		secret("ada"), d.clock.Now().Add(time.Hour).Unix()))
	contains(t, "stderr", d.ok("list", "-v").stderr, "sign-in: azure-cli, scope api://33333333-3333-3333-3333-333333333333/.default")

	script(`echo "ERROR: Please run 'az login' to setup account." >&2; exit 1`)
	r := d.run("list")
	if r.code != exitNotAllowed {
		t.Errorf("exit code %d, want %d", r.code, exitNotAllowed)
	}
	contains(t, "stderr", r.stderr, "az login --scope api://33333333-3333-3333-3333-333333333333/.default")
}
