package e2e_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/cli"
	"jitgate/internal/local"
)

// terminal is where one person types commands.
type terminal struct {
	*testing.T
	env  map[string]string
	talk string // stderr of the last command
}

func newTerminal(t *testing.T, stack *local.Stack) *terminal {
	return &terminal{T: t, env: map[string]string{
		"JITGATE_URL": stack.Env["JITGATE_URL"], "JITGATE_ENTRA_URL": stack.Env["JITGATE_ENTRA_URL"], "JITGATE_CONFIG_DIR": t.TempDir(),
	}}
}

// run runs a command that must end with an exit code, and returns its stdout.
func (c *terminal) run(want int, line string) string {
	c.Helper()
	var out, talk bytes.Buffer
	app := cli.App{Args: strings.Fields(line), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &talk, Getenv: func(name string) string { return c.env[name] }}
	if code := app.Run(c.Context()); code != want {
		c.Fatalf("jitgate %s: exit code %d, want %d\n%s%s", line, code, want, &out, &talk)
	}
	c.talk = talk.String()
	return out.String()
}

// TestCommandLine lives through the main job with the commands a person would type.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	run := newTerminal(t, stack).run
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

// TestCommandLineProtects is what an administrator types who finds an open machine.
func TestCommandLineProtects(t *testing.T) {
	t.Parallel()
	stack := start(t, local.Options{})
	c := newTerminal(t, stack)
	before := groupJSON(t, stack, "nsg-open01")
	says := func(text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%q is not said:\n%s", part, text)
			}
		}
	}

	c.run(0, "login --as alice")
	c.run(3, "report")
	c.run(3, "protect open01")
	c.run(0, "login --as carol")
	says(c.run(2, "report"), "open01", "allow-ssh")
	open := reported(t, c.run(2, "report -o csv"), "open01", "22")
	for column, want := range map[string]string{"closed": "false", "protected": "false", "state": "Unprotected", "address": "10.20.1.5", "protocol": "TCP", "internet": "open", "portProtected": "false"} {
		if open[column] != want {
			t.Errorf("report, %s: %q, want %q", column, open[column], want)
		}
	}

	says(c.run(0, "protect open01 --what-if"), "allow-ssh", "jitgate-deny-", "remove", "add")
	says(c.talk, "nothing was changed")
	if now := groupJSON(t, stack, "nsg-open01"); now != before {
		t.Errorf("--what-if changed the NSG:\n%s", cmp.Diff(before, now))
	}
	probe(t, stack, "open01", stranger, "Allow")
	c.run(5, "unprotect open01")
	c.run(4, "protect nowhere01")
	c.run(5, "protect lone01 --wait")
	says(c.talk, "no_nsg")
	c.run(64, "protect twin01") // of which there are two

	says(c.run(0, "protect open01 --wait"), "Protected", "allow-ssh")
	probe(t, stack, "open01", stranger, "Deny")
	says(c.run(0, "explain --vm open01 --port 22 --source "+stranger), "deny", "jitgate-deny-")
	var e api.Explanation
	if err := json.Unmarshal([]byte(c.run(0, "explain --vm open01 --port 22 --source "+stranger+" -o json")), &e); err != nil || e.Verdict != "deny" || len(e.Ways) != 1 {
		t.Errorf("explain: %+v, %v", e, err)
	}
	says(c.run(0, "machines show open01"), "Protected", "10.20.1.5", "allow-ssh (300)")
	says(c.run(0, "machines events open01"), "machine.protected", "rule.set-aside")
	closed := reported(t, c.run(2, "report -o csv"), "open01", "22") // others are open still
	for column, want := range map[string]string{"closed": "true", "protected": "true", "state": "Protected", "internet": "closed", "network": "closed", "portProtected": "true", "findings": ""} {
		if closed[column] != want {
			t.Errorf("report of the protected machine, %s: %q, want %q", column, closed[column], want)
		}
	}

	says(c.run(0, "unprotect open01 --wait"), "Unprotected", "allow-ssh")
	if now := groupJSON(t, stack, "nsg-open01"); now != before {
		t.Errorf("what came back (-before +now):\n%s", cmp.Diff(before, now))
	}
	says(c.run(0, "explain --vm open01 --port 22 --source "+stranger), "allow", "allow-ssh")
}

// reported reads a report as CSV, as a spreadsheet would, and returns the line about
// a machine and ports by column.
func reported(t *testing.T, text, vm, ports string) map[string]string {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll() // wants as many cells in each line
	if err != nil || len(lines) < 2 {
		t.Fatalf("report -o csv: %v in\n%s", err, text)
	}
	for _, cells := range lines[1:] {
		line := map[string]string{}
		for i, column := range lines[0] {
			line[column] = cells[i]
		}
		if line["name"] == vm && line["ports"] == ports {
			return line
		}
	}
	t.Fatalf("no line about %s and %s in\n%s", vm, ports, text)
	return nil
}
