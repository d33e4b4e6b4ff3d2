package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"jitgate/internal/api"
)

func TestExitCodes(t *testing.T) {
	request := []string{"request", "--vm", "web-1", "--port", "22", "--wait"}
	fail := func(status int, code string) func(*desk) {
		return func(d *desk) { d.service.fail = &api.Problem{Status: status, Code: code, Detail: "So it is."} }
	}
	as := func(name string) func(*desk) { return func(d *desk) { d.env["JITGATE_TOKEN"] = secret(name) } }
	for _, c := range []struct {
		name string
		prep func(*desk)
		args []string
		want int
		says []string
	}{
		{"opened", nil, request, exitDone, nil},
		{"help", nil, []string{"--help"}, exitDone, nil},
		{"unknown command", nil, []string{"open"}, exitUsage, []string{`unknown command "open"`, "jitgate --help"}},
		{"unknown policy command", nil, []string{"policy", "drop"}, exitUsage, []string{`"drop"`}},
		{"unknown flag", nil, []string{"list", "--colour"}, exitUsage, []string{"--colour", "see: jitgate list --help"}},
		{"flag missing", nil, []string{"request", "--vm", "web-1"}, exitUsage, []string{`"port"`}},
		{"argument missing", nil, []string{"show"}, exitUsage, []string{"jitgate list"}},
		{"id that is a path", nil, []string{"show", ".."}, exitUsage, []string{"jitgate list"}},
		{"port", nil, []string{"request", "--vm", "web-1", "--port", "ssh"}, exitUsage, []string{`"ssh"`, "22/tcp"}},
		{"duration", nil, []string{"request", "--vm", "web-1", "--port", "22", "--duration", "1 hour"}, exitUsage, []string{`"1 hour"`, "PT1H"}},
		{"format", nil, []string{"list", "-o", "yaml"}, exitUsage, []string{"table or json"}},
		{"limit", nil, []string{"list", "--limit", "201"}, exitUsage, []string{"--all-pages"}},
		{"limit and all pages", nil, []string{"list", "--limit", "5", "--all-pages"}, exitUsage, nil},
		{"no installation", func(d *desk) { d.without("JITGATE_URL"); d.t.Chdir(d.t.TempDir()) }, []string{"list"}, exitUsage, []string{"JITGATE_URL", "build/local/env"}},
		{"policy file", nil, []string{"policy", "apply", "-f", "/no/such/file"}, exitUsage, []string{"/no/such/file"}},
		{"refused as malformed", nil, append(request, "--duration", "1m"), exitUsage, []string{"PT1M is too short", "field: duration", "code: duration_too_short"}},
		{"ambiguous name", nil, []string{"request", "--vm", "twin", "--port", "22"}, exitUsage, []string{"east", "west", "by its id"}},
		{"key used for something else", fail(422, "idempotency_key_reused"), request, exitUsage, []string{"idempotency_key_reused"}},
		{"too large", fail(413, "body_too_large"), request, exitUsage, nil},
		{"not signed in", func(d *desk) { d.without("JITGATE_TOKEN") }, request, exitNotAllowed, []string{"jitgate login --as NAME", "JITGATE_TOKEN", "JITGATE_AUDIENCE"}},
		{"token refused", func(d *desk) { d.env["JITGATE_TOKEN"] = "wrong" }, request, exitNotAllowed, []string{"jitgate login --as NAME", "token_signature"}},
		{"role missing", func(d *desk) { d.stdin = "scope: x\n" }, []string{"policy", "apply", "-f", "-"}, exitNotAllowed, []string{"role_missing"}},
		{"names are not for guests", fail(403, "role_missing"), []string{"request", "--vm", "web-1", "--port", "22"}, exitNotAllowed, []string{"full id: /subscriptions/…/virtualMachines/web-1", "role_missing"}},
		{"unknown machine", nil, []string{"request", "--vm", "web-9", "--port", "22"}, exitNotFound, []string{`"web-9"`, "jitgate machines"}},
		{"unknown request", nil, []string{"show", "nothing"}, exitNotFound, []string{"jitgate list --mine"}},
		{"unknown scope", nil, []string{"policy", "show", subscription}, exitNotFound, []string{"jitgate policy list"}},
		{"ended", func(d *desk) {
			d.ok(request...)
			d.ok("revoke", firstID, "--wait")
		}, []string{"revoke", firstID}, exitConflict, []string{"ended already (Revoked)", "request_ended"}},
		{"unavailable", func(d *desk) { d.service.lose = tries }, []string{"list"}, exitUnavailable, []string{"trying again", "code: unavailable"}},
		{"gateway without a word", func(d *desk) { d.service.badly = true }, []string{"list"}, exitUnavailable, []string{"502"}},
		{"cannot connect", func(d *desk) { d.service.Close() }, []string{"list"}, exitUnavailable, []string{"cannot reach jitgate", "make run"}},
		{"broken", fail(500, "internal"), []string{"list"}, exitUnexpected, []string{"So it is."}},
		{"wait too long", nil, []string{"request", "--vm", "waiting-1", "--port", "22", "--wait", "--timeout", "50ms"}, exitUnavailable,
			[]string{"still AwaitingApproval after 50ms", "jitgate show " + firstID}},
		{"machine wait too long", as("root"), []string{"protect", "waiting-1", "--wait", "--timeout", "50ms"}, exitUnavailable,
			[]string{"waiting-1 is still Protecting after 50ms", "jitgate machines show waiting-1"}},
		{"blocked", as("root"), []string{"protect", "blocked-1", "--wait"}, exitConflict, []string{"nsg-blocked-1 is blocked", "(nsg_full)"}},
		{"not protected", as("root"), []string{"unprotect", "web-1"}, exitConflict, []string{"not_protected"}},
		{"port range", nil, []string{"protect", "web-1", "--port", "22-"}, exitUsage, []string{`"22-"`, "5985-5986"}},
		{"priority", nil, []string{"unprotect", "web-1", "--priority", "allow-ssh=high"}, exitUsage, []string{"RULE=NUMBER"}},
		{"what-if and wait", nil, []string{"unprotect", "web-1", "--what-if", "--wait"}, exitUsage, nil},
		{"ids of other things", nil, []string{"request", "--vm", subscription, "--port", "22"}, exitUsage, []string{"not the id of a virtual machine"}},
		{"csv elsewhere", nil, []string{"machines", "list", "-o", "csv"}, exitUsage, []string{"table or json"}},
		{"open", nil, []string{"report"}, exitCheck, []string{"10 of 11"}},
		{"no such group", nil, []string{"report", "-g", "nowhere"}, exitNotFound, []string{`"nowhere"`}},
		{"Azure does not show it", fail(502, "machine_unreadable"), []string{"explain", "--vm", "web-1", "--port", "22"}, exitUnavailable, []string{"machine_unreadable"}},
		{"denied", nil, []string{"request", "--vm", "denied-1", "--port", "22", "--wait"}, exitNoAccess, []string{"denied-1 is Denied"}},
		{"failed", nil, []string{"request", "--vm", "failed-1", "--port", "22", "--wait"}, exitNoAccess, []string{"failed-1 is Failed"}},
		{"half of it", nil, []string{"request", "--vm", "web-1,denied-1", "--port", "22", "--wait"}, exitNoAccess, []string{"no access: denied-1 is Denied"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			if c.prep != nil {
				c.prep(d)
			}
			r := d.run(c.args...)
			if r.code != c.want {
				t.Errorf("exit code %d, want %d\n%s", r.code, c.want, r.stderr)
			}
			contains(t, "stderr", r.stderr, c.says...)
			if c.want != exitDone && !strings.Contains(r.stderr, "jitgate: ") {
				t.Errorf("stderr has no line of jitgate's: %q", r.stderr)
			}
		})
	}
}

func TestExitCodesTopicIsTheTable(t *testing.T) {
	help := newDesk(t).ok("help", "exit-codes").stdout
	found := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^  (\d+) +(.+)$`).FindAllStringSubmatch(help, -1) {
		found[line[1]] = line[2]
	}
	for i, e := range exitCodes {
		if i > 0 && e.code <= exitCodes[i-1].code {
			t.Errorf("code %d stands behind %d", e.code, exitCodes[i-1].code)
		}
		if got := found[strconv.Itoa(e.code)]; got != e.means {
			t.Errorf("help says of %d: %q, want %q", e.code, got, e.means)
		}
	}
	if len(found) != len(exitCodes) {
		t.Errorf("help has %d codes, the table %d", len(found), len(exitCodes))
	}
	// What the table says about HTTP is what is done.
	said := map[string]int{}
	for _, e := range exitCodes {
		for _, status := range regexp.MustCompile(`\b[45]\d\d\b`).FindAllString(e.means, -1) {
			said[status] = e.code
		}
	}
	for _, status := range []int{400, 401, 403, 404, 409, 422, 429, 502, 503, 504} {
		if code, ok := said[strconv.Itoa(status)]; !ok || code != exitOf(status) {
			t.Errorf("help says %d for HTTP %d (%v), the code %d", code, status, ok, exitOf(status))
		}
	}
	if got := exitOf(http.StatusInternalServerError); got != exitUnexpected {
		t.Errorf("HTTP 500 gives %d", got)
	}
}

func TestEveryCommandIsExplained(t *testing.T) {
	var walk func(c *cobra.Command)
	seen := 0
	walk = func(c *cobra.Command) {
		seen++
		topic := !c.Runnable() && !c.HasSubCommands()
		if c.Short == "" {
			t.Errorf("%s has no short description", c.CommandPath())
		}
		if c.Example == "" && !topic {
			t.Errorf("%s has no example", c.CommandPath())
		}
		if topic && c.Long == "" {
			t.Errorf("the topic %s is empty", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if line != "" && !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: the example %q is not indented like the others", c.CommandPath(), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&App{}).root())
	if seen < 15 {
		t.Errorf("only %d commands were looked at", seen)
	}
}

func TestHelpSaysThatOpenConnectionsGoOn(t *testing.T) {
	for _, command := range []string{"request", "revoke", "protect", "unprotect"} {
		help := strings.Join(strings.Fields(newDesk(t).ok(command, "--help").stdout), " ")
		contains(t, command+" --help", help, "Connections that are open", "go on until they end")
	}
}

func TestErrorNamesEveryFault(t *testing.T) {
	r := newDesk(t).run("request", "--vm", "web-1", "--port", "22", "--duration", "1m", "--source", "any")
	contains(t, "stderr", r.stderr, "jitgate: refused, 2 things are wrong:\n", "\n  duration: PT1M is too short", "\n  source: Access from any")
}

func TestColourIsForTerminals(t *testing.T) {
	d := admin(t)
	d.ok("request", "--vm", "web-1", "--port", "22", "--wait")
	terminal := func(io.Writer) bool { return true }
	for _, c := range []struct {
		name     string
		tty      func(io.Writer) bool
		env      map[string]string
		coloured bool
	}{
		{"file", func(io.Writer) bool { return false }, nil, false},
		{"terminal", terminal, nil, true},
		{"terminal, NO_COLOR", terminal, map[string]string{"NO_COLOR": "1"}, false},
		{"dumb terminal", terminal, map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := *d
			d.t, d.tty = t, c.tty
			d.without()
			for name, value := range c.env {
				d.env[name] = value
			}
			for _, args := range [][]string{
				{"list"}, {"show", firstID, "--events"}, {"machines", "list"}, {"machines", "show", "web-1"},
				{"protect", "web-1", "--what-if"}, {"explain", "--vm", "web-1", "--port", "22"}, {"report"},
			} {
				r := d.run(args...)
				if got := strings.Contains(r.stdout, "\x1b["); got != c.coloured {
					t.Errorf("%q: coloured is %v, want %v\n%q", args, got, c.coloured, r.stdout)
				}
			}
			for _, args := range [][]string{{"list", "-o", "json"}, {"protect", "web-1", "--what-if", "-o", "json"}, {"report", "-o", "csv"}} {
				if r := d.run(args...); r.stdout == "" || strings.Contains(r.stdout, "\x1b") {
					t.Errorf("%q: for programs, and coloured: %q", args, r.stdout)
				}
			}
		})
	}
}

func TestTextOfOthersCannotSteerTheTerminal(t *testing.T) {
	d := newDesk(t)
	d.ok("request", "--vm", "web-1", "--port", "22", "--reason", "x\x1b]0;owned\a\u202ereversed")
	for _, args := range [][]string{{"show", firstID}, {"list"}} {
		if r := d.ok(args...); strings.ContainsAny(r.stdout, "\x1b\a\u202e") {
			t.Errorf("%q lets control characters through: %q", args, r.stdout)
		}
	}
}

func TestProgress(t *testing.T) {
	d := newDesk(t)
	r := d.ok("request", "--vm", "web-1", "--port", "22", "--wait")
	want := fmt.Sprintf(`jitgate: request %s is accepted
jitgate: Pending: waiting for a decision
jitgate: Approved: allowed, the rules are being written
jitgate: Active
`, firstID)
	if r.stderr != want {
		t.Errorf("a line for every change and none twice; got\n%swant\n%s", r.stderr, want)
	}
	contains(t, "stdout", r.stdout, "nsg-web-1 (open)", "jitgate-0001-web-1", "2026-03-01 13:00 CET (in 1h)")

	d.tty = func(io.Writer) bool { return true }
	r = d.ok("request", "--vm", "web-1,web-2", "--port", "22", "--wait")
	lines := strings.Split(r.stderr, "\r\x1b[K")
	if len(lines) < 4 || lines[len(lines)-1] != "" {
		t.Fatalf("want one line that changes and is gone at the end, got %q", r.stderr)
	}
	for _, line := range lines[1:] {
		if strings.Contains(line, "\n") || len([]rune(line)) > 79 {
			t.Errorf("the line %q cannot be overwritten", line)
		}
	}
	contains(t, "stderr", r.stderr, "web-1 Approved, web-2 Approved")
}

func TestInterruptedWaitTellsTheWayOn(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.ctx = ctx
	looks := 0
	d.tty = func(io.Writer) bool { // asked at every progress line
		if looks++; looks == 3 {
			cancel()
		}
		return false
	}
	r := d.run("request", "--vm", "waiting-1", "--port", "22", "--wait", "--timeout", "0")
	if r.code != exitUnexpected {
		t.Errorf("exit code %d, want %d", r.code, exitUnexpected)
	}
	contains(t, "stderr", r.stderr, "interrupted", "jitgate show "+firstID, "jitgate revoke "+firstID)
	contains(t, "stdout", r.stdout, firstID)
}
