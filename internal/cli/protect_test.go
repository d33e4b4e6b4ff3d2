package cli

import (
	"context"
	"io"
	"maps"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/policy"

	"pgregory.net/rapid"
)

// admin is a desk of somebody who may protect machines.
func admin(t *testing.T) *desk {
	d := newDesk(t)
	d.env["JITGATE_TOKEN"] = secret("root")
	return d
}

func TestJSONOfMachinesHasTheShapesOfTheAPI(t *testing.T) {
	d := admin(t)
	whatIf := decode[api.Forecast](t, d.ok("protect", "web-1", "--port", "22,53/udp", "--what-if", "-o", "json").stdout)
	if !whatIf.WhatIf || len(d.service.guarded) != 0 {
		t.Errorf("what-if %v left %d protections", whatIf.WhatIf, len(d.service.guarded))
	}
	waited := decode[api.Forecast](t, d.ok("protect", "web-1", "--port", "22,53/udp", "--flush-connection", "--wait", "-o", "json").stdout)
	stored := d.service.protection(web1)
	same(t, "protect --wait", waited.Protection, stored)
	same(t, "what was asked for", stored.Ports, []api.PortRange{{Ports: "22", Protocol: "TCP"}, {Ports: "53", Protocol: "UDP"}})
	if stored.State != "Protected" || !stored.FlushConnection || len(waited.NSGs) != 1 || len(waited.Verdicts) != 2 || len(waited.Warnings) != 2 {
		t.Errorf("waited for %+v", waited)
	}
	same(t, "machines show", decode[api.Protection](t, d.ok("machines", "show", "web-1", "-o", "json").stdout), stored)
	same(t, "machines list", decode[api.MachineList](t, d.ok("machines", "list", "WEB-1", "-o", "json").stdout).Machines,
		[]api.Machine{{ID: web1, Name: "web-1", State: "Protected"}})
	if events := decode[api.EventList](t, d.ok("machines", "events", "web-1", "-o", "json").stdout); len(events.Events) != 2 {
		t.Errorf("machines events: %+v", events)
	}
	if none := d.ok("machines", "events", "web-2", "-o", "json").stdout; len(decode[api.EventList](t, none).Events) != 0 || strings.Contains(none, "null") {
		t.Errorf("no events are %s", none)
	}
	e := decode[api.Explanation](t, d.ok("explain", "--vm", "web-1", "--port", "53/udp", "-o", "json").stdout)
	if e.VM != web1 || e.Port != 53 || e.Protocol != "UDP" || e.Source != "127.0.0.1" || e.Verdict != "deny" {
		t.Errorf("explain: %+v", e)
	}
	ended := decode[api.Forecast](t, d.ok("unprotect", "web-1", "--wait", "-o", "json").stdout)
	same(t, "unprotect --wait", ended.Protection, d.service.protection(web1))
	if ended.Protection.State != "Unprotected" {
		t.Errorf("ended as %s", ended.Protection.State)
	}
}

func TestAnyCaseOfAnIDFindsTheMachine(t *testing.T) {
	d := admin(t)
	shouted := strings.ToUpper(web1)
	d.ok("protect", shouted, "--wait")
	if got := d.service.protection(web1).State; got != "Protected" {
		t.Fatalf("the machine is %s", got)
	}
	d.ok("machines", "show", strings.ToLower(web1))
	d.ok("machines", "events", shouted)
	d.ok("explain", "--vm", shouted, "--port", "22")
	d.ok("unprotect", shouted, "--what-if")
	for _, call := range d.service.calls {
		if strings.HasSuffix(call, "/api/machines") {
			t.Errorf("an id needs no look-up: %s", call)
		}
		if !strings.Contains(call, " /api/machines/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/") || !strings.Contains(call, compute) {
			t.Errorf("not spelled as the route: %s", call)
		}
	}
}

func TestLostAnswersAboutMachines(t *testing.T) {
	d := admin(t)
	d.service.lose = 2
	d.ok("protect", web1)
	d.service.down = 2
	d.ok("protect", web1, "--port", "5985-5986")
	same(t, "the repeated call", d.service.protection(web1).Ports, []api.PortRange{{Ports: "5985-5986", Protocol: "TCP"}})

	for _, c := range []struct {
		args []string
		hint bool
	}{
		{[]string{"protect", web1}, true},
		{[]string{"unprotect", web1}, true},
		{[]string{"protect", web1, "--what-if"}, false},
		{[]string{"machines", "show", web1}, false},
		{[]string{"report"}, false},
		{[]string{"explain", "--vm", web1, "--port", "22"}, false},
	} {
		d.service.down = tries
		r := d.run(c.args...)
		if r.code != exitUnavailable || strings.Contains(r.stderr, "it may have arrived") != c.hint {
			t.Errorf("%q: exit code %d, want a hint at what may have arrived: %v\n%s", c.args, r.code, c.hint, r.stderr)
		}
	}
}

func TestInterruptedWaitForAMachineTellsTheWayOn(t *testing.T) {
	for verb, undo := range map[string]bool{"protect": true, "unprotect": false} {
		d := admin(t)
		d.ok("protect", "waiting-1")
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
		r := d.run(verb, "waiting-1", "--wait", "--timeout", "0")
		if r.code != exitUnexpected {
			t.Errorf("%s: exit code %d, want %d", verb, r.code, exitUnexpected)
		}
		contains(t, "stderr", r.stderr, "interrupted while waiting-1 was ", "look again with: jitgate machines show waiting-1")
		if got := strings.Contains(r.stderr, "take it back"); got != undo {
			t.Errorf("%s: says how to take it back: %v\n%s", verb, got, r.stderr)
		}
		if undo {
			contains(t, "stderr", r.stderr, "take it back with: jitgate unprotect waiting-1")
		}
		contains(t, "stdout", r.stdout, "waiting-1", "jitgate-deny-waiting-1")
	}
}

func TestProgressOfSeveralNSGs(t *testing.T) {
	p := api.Protection{State: "Protecting", NSGs: []api.ProtectedNSG{{Done: true}, {}}}
	if got, want := describeProtection(p), "Protecting: the deny rules are being written, 1 of 2 NSGs done"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	p.State = "Blocked"
	if got := describeProtection(p); got != "Blocked" {
		t.Errorf("got %q", got)
	}
}

func TestOutcomeOfAWait(t *testing.T) {
	taken := &api.Reason{Code: "priority_taken", Text: "Taken."}
	for _, c := range []struct {
		state string
		nsgs  []api.ProtectedNSG
		want  int
		says  []string
	}{
		{state: "Protected", want: exitDone},
		{state: "Unprotected", want: exitConflict, says: []string{"web-1 is Unprotected and not Protected", "hint: look at it with: LOOK"}},
		{state: "Blocked", nsgs: []api.ProtectedNSG{{NSG: nsgOf("a"), Problem: taken}, {NSG: nsgOf("b"), Done: true}, {NSG: nsgOf("c"), Problem: taken}},
			want: exitConflict, says: []string{"  nsg-a is blocked: Taken. (priority_taken)\n  nsg-c is blocked: Taken. (priority_taken)\nhint: let the rule", "RULE=NUMBER\nhint: it is tried again"}},
	} {
		var talk strings.Builder
		a := &App{Stderr: &talk}
		if code := a.report(become("Protected", api.Protection{VM: web1, State: c.state, NSGs: c.nsgs}, "LOOK")); code != c.want {
			t.Errorf("%s: exit code %d, want %d", c.state, code, c.want)
		}
		contains(t, c.state, talk.String(), c.says...)
	}
}

func TestParsePriorities(t *testing.T) {
	for text, want := range map[string]map[string]int{
		"":                       {},
		"310":                    {"": 310},
		"allow-ssh=310":          {"allow-ssh": 310},
		"a=310 b=320":            {"a": 310, "b": 320},
		"310 320":                nil,
		"310 a=320":              nil,
		"a=310 320":              nil,
		"a=310 A=320":            nil,
		"=310":                   nil,
		"a=":                     nil,
		"a=b=310":                nil,
		"allow-ssh":              nil,
		"a=99999999999999999999": nil,
	} {
		got, err := parsePriorities(strings.Fields(text))
		if !maps.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%q gives %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestParsePortRanges(t *testing.T) {
	for text, want := range map[string]api.PortRange{
		"22": {Ports: "22", Protocol: "TCP"}, "22/tcp": {Ports: "22", Protocol: "TCP"}, "53/udp": {Ports: "53", Protocol: "UDP"},
		"22/*": {Ports: "22", Protocol: "*"}, "5985-5986": {Ports: "5985-5986", Protocol: "TCP"}, "1-65535/UDP": {Ports: "1-65535", Protocol: "UDP"},
		"22-22": {Ports: "22", Protocol: "TCP"},
		"":      {}, "0": {}, "65536": {}, "22-": {}, "-22": {}, "5986-5985": {}, "1-2-3": {}, "22/icmp": {}, "ssh": {}, "022": {}, "22/": {}, "*": {},
	} {
		got, err := parsePortRanges([]string{text})
		if want.Ports == "" {
			if err == nil {
				t.Errorf("%q gives %v, want an error", text, got)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q gives %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestOnePortIsARangeOfOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,6}(/(tcp|UDP|\*))?`).Draw(t, "port")
		ranges, err := parsePortRanges([]string{text})
		p, single := policy.ParsePort(text)
		if (err == nil) != (single == nil) {
			t.Fatalf("%q: %v, and as a port %v", text, err, single)
		}
		if err == nil && rangeList(ranges) != p.String() {
			t.Fatalf("%q: %s, and as a port %s", text, rangeList(ranges), p)
		}
	})
}

func TestCompletionNamesMachines(t *testing.T) {
	d := newDesk(t)
	for _, line := range [][]string{{"protect", ""}, {"unprotect", ""}, {"machines", "show", ""}, {"machines", "events", ""},
		{"explain", "--vm", ""}, {"request", "--vm", ""}, {"list", "--vm", ""}} {
		r := d.ok(append([]string{"__complete"}, line...)...)
		words := strings.Split(strings.TrimSpace(r.stdout), "\n")
		if len(words) != len(d.service.machines)+1 || words[0] != "web-1" || words[len(words)-1] != ":4" {
			t.Errorf("%q offers %q", line, words)
		}
		contains(t, "names that two machines have", r.stdout, "/resourceGroups/east/", "/resourceGroups/west/")
	}
	if r := d.ok("__complete", "protect", "web-1", ""); strings.Contains(r.stdout, "web") {
		t.Errorf("a second machine is offered:\n%s", r.stdout)
	}
	contains(t, "formats", d.ok("__complete", "report", "-o", "").stdout, "table\njson\ncsv\n:4")
	contains(t, "formats", d.ok("__complete", "list", "-o", "").stdout, "table\njson\n:4")
	contains(t, "states", d.ok("__complete", "machines", "list", "--state", "").stdout, "Protected\n")
	d.without("JITGATE_TOKEN")
	if r := d.ok("__complete", "protect", ""); strings.TrimSpace(r.stdout) != ":4" || strings.Contains(r.stderr, "signed in") {
		t.Errorf("somebody in the middle of a line is bothered:\n%s%s", r.stdout, r.stderr)
	}
}
