package cli

import (
	"io"
	"strings"
	"testing"
	"time"

	"jitgate/internal/api"
)

// onTerminal is an app that writes colours into a string.
func onTerminal() (*App, *strings.Builder) {
	var out strings.Builder
	return &App{Stdout: &out, Getenv: func(string) string { return "" }, terminal: func(io.Writer) bool { return true }}, &out
}

func TestColoursMeanTheSameEverywhere(t *testing.T) {
	a, _ := onTerminal()
	for colour, painted := range map[string][]any{
		"31": {a.state("Blocked"), a.state("Failed"), a.exposure(api.Exposure{Reach: "open"}), a.verdict("deny"), a.action("remove")},
		"32": {a.state("Protected"), a.state("Active"), a.exposure(api.Exposure{Reach: "closed"}), a.verdict("allow"), a.action("add"), a.matches("yes"), a.proof(true)},
		"33": {a.state("Protecting"), a.state("Pending"), a.exposure(api.Exposure{Reach: "depends"}), a.exposure(api.Exposure{Reach: "partly"}),
			a.verdict("depends"), a.action("change"), a.matches("unknown"), a.proof(false)},
		"2": {a.state("Unprotected"), a.state("Expired"), a.action("keep"), a.matches("no")},
	} {
		for _, cell := range painted {
			if text, ok := cell.(coloured); !ok || !strings.HasPrefix(string(text), "\x1b["+colour+"m") || !strings.HasSuffix(string(text), "\x1b[0m") {
				t.Errorf("%q is not in colour %s", cell, colour)
			}
		}
	}
}

// TestTextAboutMachinesCannotSteerTheTerminal: names of rules and texts are what
// others wrote.
func TestTextAboutMachinesCannotSteerTheTerminal(t *testing.T) {
	const evil = "x\x1b]0;owned\a\u202e\r\n\x1b[35m"
	reason := &api.Reason{Code: evil, Text: evil}
	ports := api.PortRange{Ports: evil, Protocol: evil}
	decider := []api.Decider{{NSG: evil, Rule: evil}}
	exposure := api.Exposure{Reach: evil, Allowed: []string{evil}, By: decider, Depends: decider}
	p := api.Protection{VM: evil, State: evil, Ports: []api.PortRange{ports}, By: &api.Person{Object: evil, Name: evil}, Reason: reason,
		NSGs: []api.ProtectedNSG{{NSG: evil, Addresses: []string{evil}, Removed: []api.RemovedRule{{Name: evil}}, Problem: reason}}}
	finding := []api.Finding{{Code: evil, NSG: evil, Rule: evil, Text: evil}}
	many := []string{evil}
	flush := true
	for _, tty := range []bool{false, true} {
		for _, wide := range []bool{false, true} {
			a, out := onTerminal()
			a.terminal, a.wide, a.Clock = func(io.Writer) bool { return tty }, wide, newDesk(t).clock
			a.writeProtection(out, p)
			a.writeForecast(out, api.Forecast{Protection: p, Warnings: finding,
				NSGs:     []api.NSGChange{{NSG: evil, FlushConnection: &flush, Rules: []api.RuleChange{{Action: evil, Name: evil, Access: evil, Protocol: evil, Sources: many, Destinations: many, Ports: many}}}},
				Verdicts: []api.VerdictChange{{Address: evil, Ports: ports, From: evil, Before: exposure, After: exposure}}})
			a.writeExplanation(out, api.Explanation{VM: evil, Source: evil, Protocol: evil, Verdict: evil, Remedy: evil, Policy: evil, Blind: many,
				Grants: []api.LiveGrant{{Request: evil, Rule: evil, NSG: evil, ExpiresAt: time.Now()}},
				Ways:   []api.Way{{Interface: evil, Address: evil, Verdict: evil, NSGs: []api.NSGExplanation{{NSG: evil, Verdict: evil, Steps: []api.RuleStep{{Rule: evil, Access: evil, Matches: evil, Why: evil}}}}}}})
			a.writeReport(out, api.Report{Machines: []api.MachineReport{{VM: evil, Findings: finding,
				Ports: []api.PortReport{{Address: evil, Ports: ports, Internet: exposure, Network: exposure}}}}})
			a.writeRequests(out, []api.Request{{ID: evil, State: evil, Targets: []api.Target{{VM: evil, Warning: reason}}}})
			a.writeRequest(out, api.Request{ID: evil, State: evil, Targets: []api.Target{{VM: evil, Warning: reason}}})
			text := out.String()
			if tty { // our own colours may stay
				for _, ours := range []string{red, green, yellow, dim, "0"} {
					text = strings.ReplaceAll(text, "\x1b["+ours+"m", "")
				}
			}
			if i := strings.IndexAny(text, "\x1b\a\r\u202e"); i >= 0 {
				t.Errorf("terminal %v, wide %v: %q gets through", tty, wide, text[max(0, i-40):i+20])
			}
		}
	}
}
