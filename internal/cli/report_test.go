package cli

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"jitgate/internal/api"
)

func TestReportInJSONHasTheShapeOfTheAPI(t *testing.T) {
	d := admin(t)
	d.ok("protect", "web-1", "--wait")
	r := d.run("report", "-g", "east", "-g", "West", "-g", "east", "-o", "json")
	report := decode[api.Report](t, r.stdout)
	if r.code != exitCheck || len(report.Machines) != 2 || report.Summary.Open != 2 {
		t.Errorf("exit code %d, report %+v", r.code, report)
	}
	same(t, "scopes", d.service.scopes, []string{subscription + "/resourceGroups/east", subscription + "/resourceGroups/west"})
	d.run("report", "-g", "web")
	same(t, "scopes", d.service.scopes, []string{subscription + "/resourceGroups/web", farther + "/resourceGroups/WEB"})
	report = decode[api.Report](t, d.run("report", "-o", "json").stdout)
	if len(report.Machines) != len(d.service.machines) || report.Summary.Protected != 1 {
		t.Errorf("report on everything: %+v", report.Summary)
	}
}

func TestReportOnNothingSaysSo(t *testing.T) {
	d := newDesk(t)
	d.service.machines = nil
	r := d.ok("report")
	contains(t, "stderr", r.stderr, "there are no virtual machines to report on")
	contains(t, "stdout", r.stdout, "virtual machines 0")
	if r = d.ok("report", "-o", "csv"); strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("CSV of nothing is its header, got\n%s", r.stdout)
	}
}

func TestWideReportShowsIDs(t *testing.T) {
	d := newDesk(t)
	if r := d.run("report"); strings.Contains(r.stdout, "/subscriptions/") {
		t.Errorf("want names only:\n%s", r.stdout)
	}
	contains(t, "with --wide", d.run("report", "--wide").stdout, web1, nsgOf("web-1"))
}

// TestSpreadsheetsRunNothing: whatever the names and texts are, the CSV reads back
// as a table in which no cell is a formula and none is lost.
func TestSpreadsheetsRunNothing(t *testing.T) {
	nasty := rapid.OneOf(rapid.String(), rapid.StringMatching(`[=+\-@\t\r\n][=+@a-z,";\n]{0,5}`))
	rapid.Check(t, func(t *rapid.T) {
		exposure := func(label string) api.Exposure {
			return api.Exposure{Reach: nasty.Draw(t, label), Allowed: rapid.SliceOfN(nasty, 0, 2).Draw(t, label),
				By: []api.Decider{{Rule: nasty.Draw(t, label), NSG: nasty.Draw(t, label)}}}
		}
		var r api.Report
		lines := 1
		for range rapid.IntRange(0, 3).Draw(t, "machines") {
			m := api.MachineReport{VM: nasty.Draw(t, "vm"), State: nasty.Draw(t, "state")}
			for range rapid.IntRange(0, 2).Draw(t, "ports") {
				m.Ports = append(m.Ports, api.PortReport{Interface: nasty.Draw(t, "interface"), Address: nasty.Draw(t, "address"),
					Ports: api.PortRange{Ports: nasty.Draw(t, "port"), Protocol: nasty.Draw(t, "protocol")}, Internet: exposure("internet"), Network: exposure("network")})
			}
			for range rapid.IntRange(0, 2).Draw(t, "findings") {
				m.Findings = append(m.Findings, api.Finding{Code: nasty.Draw(t, "code"), Text: nasty.Draw(t, "text")})
			}
			r.Machines = append(r.Machines, m)
			lines += max(1, len(m.Ports))
		}
		var out strings.Builder
		writeReportCSV(&out, r)
		table, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
		if err != nil || len(table) != lines || !slices.Equal(table[0], reportColumns) {
			t.Fatalf("%d lines, %v; want %d\n%s", len(table), err, lines, out.String())
		}
		for _, line := range table {
			for _, cell := range line {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
					t.Fatalf("a spreadsheet runs %q", cell)
				}
			}
		}
	})
}

func TestCSVHasEveryPort(t *testing.T) {
	at := time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC)
	deny := []api.Decider{{NSG: nsgOf("a"), Rule: "deny", Priority: 1000}}
	r := api.Report{CheckedAt: at, Machines: []api.MachineReport{{
		VM: web1, Closed: true, Protected: true, State: "Protected",
		Ports: []api.PortReport{
			{Interface: "nic", Address: "10.0.0.4", Ports: api.PortRange{Ports: "22", Protocol: "TCP"}, Internet: api.Exposure{Reach: "closed", By: deny}, Network: api.Exposure{Reach: "open"}, Protected: true},
			{Interface: "nic", Address: "10.0.0.4", Ports: api.PortRange{Ports: "5985-5986", Protocol: "TCP"}, Internet: api.Exposure{Reach: "partly", Allowed: []string{"203.0.113.0/28", "198.51.100.7/32"}}, Network: api.Exposure{Reach: "depends", Depends: deny}},
		},
		Findings: []api.Finding{{Code: "tag_unknown", Text: "One."}, {Code: "rule_shared", Text: "Two."}},
	}}}
	var out strings.Builder
	writeReportCSV(&out, r)
	table, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	by := "deny (" + nsgOf("a") + ", 1000)"
	same(t, "CSV", table, [][]string{
		reportColumns,
		{"2026-03-01T11:00:00Z", web1, "web-1", "true", "true", "Protected", "nic", "10.0.0.4", "22", "TCP", "closed", "", by, "open", "", "", "true", "tag_unknown, rule_shared", "One. Two."},
		{"2026-03-01T11:00:00Z", web1, "web-1", "true", "true", "Protected", "nic", "10.0.0.4", "5985-5986", "TCP", "partly", "203.0.113.0/28, 198.51.100.7/32", "", "depends", "", "perhaps " + by, "false", "tag_unknown, rule_shared", "One. Two."},
	})
}
