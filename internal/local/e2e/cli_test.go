package e2e_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/cli"
	"jitgate/internal/local"
)

// TestCommandLine lives through the main job with the commands a person would type.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	config := t.TempDir()
	env := map[string]string{
		"JITGATE_URL": stack.Env["JITGATE_URL"], "JITGATE_ENTRA_URL": stack.Env["JITGATE_ENTRA_URL"], "JITGATE_CONFIG_DIR": config,
	}
	run := func(want int, line string) string {
		t.Helper()
		var out, talk bytes.Buffer
		app := cli.App{Args: strings.Fields(line), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &talk, Getenv: func(name string) string { return env[name] }}
		if code := app.Run(t.Context()); code != want {
			t.Fatalf("jitgate %s: exit code %d, want %d\n%s%s", line, code, want, &out, &talk)
		}
		return out.String() + talk.String()
	}
	policy, err := filepath.Abs("../../../docs/examples/demo-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	run(0, "login --as carol")
	run(0, "policy apply -f "+policy)
	if text := run(0, "policy list"); !strings.Contains(text, "rg-demo") {
		t.Errorf("policy list: %s", text)
	}
	run(0, "login --as alice")
	run(3, "request --vm web01 --port 8080 --source 203.0.113.7 --duration 1h --reason INC-1")
	run(64, "request --vm web01 --port 22 --source 203.0.113.7/24 --duration 1h --reason INC-1")
	run(4, "request --vm nowhere01 --port 22 --source 203.0.113.7 --duration 1h --reason INC-1")

	text := run(0, "request --vm web01 --vm app01 --port 22 --source 203.0.113.7 --duration 1h --reason INC-1 --wait")
	if !strings.Contains(text, "jitgate-") || !strings.Contains(text, "web01") || !strings.Contains(text, "in 59m") && !strings.Contains(text, "in 1h") {
		t.Errorf("request --wait does not end with the rule names and the expiry: %s", text)
	}
	probe(t, stack, "web01", inside, "Allow")
	probe(t, stack, "app01", inside, "Allow")

	var page api.RequestPage
	if err := json.Unmarshal([]byte(run(0, "list --state Active -o json")), &page); err != nil || len(page.Requests) != 1 {
		t.Fatalf("list: %+v, %v", page, err)
	}
	id := page.Requests[0].ID
	if text := run(0, "show "+id+" --events"); !strings.Contains(text, "access.opened") {
		t.Errorf("show --events: %s", text)
	}
	run(0, "revoke "+id+" --wait")
	run(5, "revoke "+id)
	probe(t, stack, "web01", inside, "Deny")
}
