package app_test

import (
	"cmp"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/local/arm"
)

func machinePath(vm string) string { return strings.TrimSuffix(webMachine, "web01") + vm }

func TestMachinesAreListedByName(t *testing.T) {
	e := newEdge(t)
	status, _, body := e.call("GET", "/api/machines", "", "alice", nil)
	list := decode[api.MachineList](t, body).Machines
	if status != http.StatusOK || len(list) < 5 {
		t.Fatalf("%d %s", status, body)
	}
	if !slices.IsSortedFunc(list, func(a, b api.Machine) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	}) {
		t.Errorf("not in order: %s", body)
	}
	for _, m := range list {
		if m.State != "Unprotected" || !strings.HasSuffix(m.ID, "/virtualMachines/"+m.Name) {
			t.Errorf("%+v", m)
		}
	}
	for query, n := range map[string]int{"?state=unprotected": len(list), "?state=Protected": 0, "?name=WEB01": 1, "?name=web01&state=Blocked": 0, "?name=web": 0} {
		_, _, body := e.call("GET", "/api/machines"+query, "", "alice", nil)
		if got := decode[api.MachineList](t, body).Machines; len(got) != n {
			t.Errorf("%s finds %d machines, want %d", query, len(got), n)
		}
	}
}

// TestAMachineThatNeverWasProtected is shown without a look at Azure, whatever the
// case of its id, and has an empty record.
func TestAMachineThatNeverWasProtected(t *testing.T) {
	e := newEdge(t)
	for _, path := range []string{webMachine, strings.Replace(webMachine, "resourceGroups", "RESOURCEGROUPS", 1), "/api/machines" + strings.ToLower(web01), machinePath("ghost")} {
		status, header, body := e.call("GET", path, "", "audrey", nil)
		if p := decode[api.Protection](t, body); status != http.StatusOK || p.State != "Unprotected" || !strings.EqualFold("/api/machines"+p.VM, path) {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if header.Get("Location") != "" || len(header.Values("Retry-After")) > 0 {
			t.Errorf("%s: headers of something under way: %v", path, header)
		}
		if _, _, body := e.call("GET", path+"/events", "", "audrey", nil); strings.TrimSpace(body) != `{"events":[]}` {
			t.Errorf("%s: record %s", path, body)
		}
	}
	if n := e.stack.ARM.Counts()["vm.get"]; n > 0 {
		t.Errorf("Azure was asked %d times", n)
	}
}

// TestProtectingOverHTTP follows one machine from what-if to the end. Nothing
// enforces here, so that each wish stays under way.
func TestProtectingOverHTTP(t *testing.T) {
	e := newEdge(t)
	platform := map[string]string{"X-Forwarded-Proto": "http"}
	location := e.url + webMachine
	body := `{"ports":[{"ports":"22"},{"ports":"3389","protocol":"TCP"}]}`

	before := e.traces()
	status, header, answer := e.call("POST", webMachine+"/protect?whatIf=true", body, "carol", platform)
	forecast := decode[api.Forecast](t, answer)
	if status != http.StatusOK || !forecast.WhatIf || len(forecast.NSGs) != 1 || len(forecast.Verdicts) == 0 {
		t.Fatalf("what-if: %d %s", status, answer)
	}
	if !slices.ContainsFunc(forecast.NSGs[0].Rules, func(r api.RuleChange) bool {
		return r.Action == "add" && r.Access == "Deny" && strings.HasPrefix(r.Name, "jitgate-deny-") && r.Priority >= 1000
	}) {
		t.Errorf("what-if adds no deny rule: %s", answer)
	}
	if header.Get("Location") != "" || header.Get("Retry-After") != "" {
		t.Errorf("what-if says where to poll: %v", header)
	}
	if after := e.traces(); !maps.Equal(before, after) {
		t.Errorf("what-if left traces: %v, before %v", after, before)
	}
	if status, _, answer := e.call("GET", webMachine, "", "alice", nil); status != http.StatusOK || decode[api.Protection](t, answer).State != "Unprotected" {
		t.Errorf("after what-if: %d %s", status, answer)
	}

	underWay := func(what, method, path, body, state string) {
		t.Helper()
		status, header, answer := e.call(method, path, body, "carol", platform)
		var got string
		if method == "GET" {
			got = decode[api.Protection](t, answer).State
		} else {
			f := decode[api.Forecast](t, answer)
			if got = f.Protection.State; f.WhatIf {
				t.Errorf("%s: calls itself a what-if: %s", what, answer)
			}
		}
		if status != http.StatusAccepted || got != state || header.Get("Retry-After") != "2" || !strings.EqualFold(header.Get("Location"), location) {
			t.Errorf("%s: %d, Location %q, Retry-After %q: %s", what, status, header.Get("Location"), header.Get("Retry-After"), answer)
		}
	}
	underWay("protect", "POST", webMachine+"/protect", body, "Protecting")
	underWay("show", "GET", webMachine, "", "Protecting")
	underWay("show in lower case", "GET", "/api/machines"+strings.ToLower(web01), "", "Protecting")
	if c, err := e.stack.ServiceBus.Count("nsgs"); err != nil || c.Active+c.Locked == 0 {
		t.Errorf("nobody was nudged: %+v, %v", c, err)
	}
	_, _, answer = e.call("GET", "/api/machines?state=Protecting", "", "alice", nil)
	if list := decode[api.MachineList](t, answer).Machines; len(list) != 1 || list[0].Name != "web01" {
		t.Errorf("under protection: %s", answer)
	}
	before = e.traces()
	status, _, answer = e.call("POST", webMachine+"/unprotect?whatIf=true", "", "carol", platform)
	if f := decode[api.Forecast](t, answer); status != http.StatusOK || !f.WhatIf || f.Protection.State != "Unprotecting" {
		t.Errorf("what-if of the end: %d %s", status, answer)
	}
	if after := e.traces(); !maps.Equal(before, after) {
		t.Errorf("what-if of the end left traces: %v, before %v", after, before)
	}
	e.refuses(t, refusal{"a priority for a rule that does not wait", "POST", webMachine + "/unprotect", `{"priorities":{"nobodys":310}}`, "carol", nil, 400, "priority_invalid"})
	underWay("show after that", "GET", webMachine, "", "Protecting")
	underWay("unprotect without a body", "POST", webMachine+"/unprotect", "", "Unprotecting")
	underWay("show the end", "GET", webMachine, "", "Unprotecting")

	// What is found in the NSG belongs to no machine, and is shown with each behind it.
	note := audit.Event{At: time.Now().UTC().Add(-time.Hour), Kind: "rule.repaired", Actor: audit.System, NSG: forecast.NSGs[0].NSG, Rule: "jitgate-x", Text: "It was edited."}
	if err := e.app.Service.Store.Note(t.Context(), armid.MustParse(forecast.NSGs[0].NSG), []audit.Event{note}); err != nil {
		t.Fatal(err)
	}
	_, _, answer = e.call("GET", webMachine+"/events", "", "audrey", nil)
	events := decode[api.EventList](t, answer).Events
	if len(events) < 3 || events[0].Rule != "jitgate-x" || events[1].Sequence != 1 || !strings.HasPrefix(events[1].Name, "carol") {
		t.Errorf("record: %s", answer)
	}
	if !slices.IsSortedFunc(events, func(a, b api.Event) int { return a.At.Compare(b.At) }) {
		t.Errorf("not in order of time: %s", answer)
	}
}

// TestMachineRefusalsOfTheDomain: what is refused once the machine is looked at, with
// its status.
func TestMachineRefusalsOfTheDomain(t *testing.T) {
	e := newEdge(t)
	const elsewhere = "/subscriptions/00000000-0000-0000-0000-0000000000ff"
	for _, c := range []refusal{
		{"port 0", "POST", webMachine + "/protect", `{"ports":[{"ports":"0"}]}`, "carol", nil, 400, "port_invalid"},
		{"a word for a port", "POST", webMachine + "/protect?whatIf=true", `{"ports":[{"ports":"ssh"}]}`, "carol", nil, 400, "port_invalid"},
		{"unknown protocol", "POST", webMachine + "/protect", `{"ports":[{"ports":"22","protocol":"ICMP"}]}`, "carol", nil, 400, "protocol_unknown"},
		{"protect a VM that is not there", "POST", machinePath("ghost") + "/protect", `{}`, "carol", nil, 404, "vm_not_found"},
		{"what-if of one that is not there", "POST", machinePath("ghost") + "/protect?whatIf=true", `{}`, "carol", nil, 404, "vm_not_found"},
		{"protect a VM without NSG", "POST", machinePath("lone01") + "/protect", `{}`, "carol", nil, 409, "no_nsg"},
		{"unprotect what never was protected", "POST", webMachine + "/unprotect", `{}`, "carol", nil, 409, "not_protected"},
		{"explain a VM that is not there", "GET", machinePath("ghost") + "/explain?port=22&source=203.0.113.7", ``, "alice", nil, 404, "vm_not_found"},
		{"report on a subscription of others", "GET", "/api/machines/report?scope=" + elsewhere, ``, "bob", nil, 404, "scope_not_looked_at"},
		{"report on a VM", "GET", "/api/machines/report?scope=" + web01, ``, "bob", nil, 400, "scope_invalid"},
	} {
		e.refuses(t, c)
	}
	e.stack.ARM.FailNext("vm.get", 1, arm.Fault{Status: http.StatusForbidden, Code: "AuthorizationFailed", Message: "No."})
	e.refuses(t, refusal{"Azure does not show the VM", "POST", webMachine + "/protect?whatIf=true", `{}`, "carol", nil, 502, "machine_unreadable"})
}

// TestExplainOverHTTP holds the answer against the stand-in's own judgement of the
// packet.
func TestExplainOverHTTP(t *testing.T) {
	e := newEdge(t)
	for _, c := range []struct {
		vm, source, query string
		port              uint16
		protocol          string
	}{
		{"web01", "203.0.113.7", "port=22", 22, "Tcp"},
		{"web01", "198.51.100.7", "port=443&protocol=tcp", 443, "Tcp"},
		{"web01", "203.0.113.7", "port=443&protocol=UDP", 443, "Udp"},
		{"db01", "10.20.3.9", "port=5432", 5432, "Tcp"},
		{"open01", "203.0.113.7", "port=22", 22, "Tcp"},
		{"app01", "203.0.113.7", "port=8080", 8080, "Tcp"},
		{"lone01", "203.0.113.7", "port=22", 22, "Tcp"},
	} {
		probe, err := e.stack.ARM.Probe(arm.Packet{VM: strings.Replace(web01, "web01", c.vm, 1), Source: netip.MustParseAddr(c.source), Port: c.port, Protocol: c.protocol})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ToLower(probe.Access)
		for _, how := range []struct {
			query   string
			headers map[string]string
		}{
			{"&source=" + c.source, map[string]string{"X-Forwarded-For": "192.0.2.1"}},
			{"", map[string]string{"X-Forwarded-For": "192.0.2.1, " + c.source + ":40000"}},
		} {
			status, _, body := e.call("GET", machinePath(c.vm)+"/explain?"+c.query+how.query, "", "alice", how.headers)
			x := decode[api.Explanation](t, body)
			if status != http.StatusOK || x.Verdict != want || x.Source != c.source || x.Port != int(c.port) || x.Protocol != strings.ToUpper(c.protocol) || len(x.Ways) == 0 {
				t.Errorf("%s %s from %s: %d %s, the stand-in says %s", c.vm, c.query, c.source, status, body, want)
			}
			if (x.Remedy == "") != (want == "allow") {
				t.Errorf("%s %s: %s with the remedy %q", c.vm, c.query, x.Verdict, x.Remedy)
			}
			for _, w := range x.Ways {
				for _, n := range w.NSGs {
					if len(n.Steps) == 0 || n.Steps[len(n.Steps)-1].Matches != "yes" {
						t.Errorf("%s %s: nothing decides in %s: %s", c.vm, c.query, n.NSG, body)
					}
				}
			}
		}
	}
}

func TestReportOverHTTP(t *testing.T) {
	e := newEdge(t)
	status, _, body := e.call("GET", "/api/machines/report", "", "audrey", nil)
	all := decode[api.Report](t, body)
	if status != http.StatusOK || all.CheckedAt.IsZero() || all.Summary.Machines != len(all.Machines) || all.Summary.Closed+all.Summary.Open != len(all.Machines) {
		t.Fatalf("%d %s", status, body)
	}
	closed := map[string]bool{}
	for _, m := range all.Machines {
		closed[m.VM[strings.LastIndex(m.VM, "/")+1:]] = m.Closed
		if m.State != "Unprotected" || m.Protected || len(m.Ports) == 0 {
			t.Errorf("%+v", m)
		}
	}
	if closed["open01"] || closed["lone01"] || !closed["web01"] {
		t.Errorf("closed: %v", closed)
	}
	const subscription = "/subscriptions/00000000-0000-0000-0000-000000000001"
	_, _, body = e.call("GET", "/api/machines/report?scope="+subscription+"&scope="+strings.ToUpper(subscription), "", "bob", nil)
	if same := decode[api.Report](t, body); len(same.Machines) != len(all.Machines) {
		t.Errorf("the subscription named twice: %d machines, want %d", len(same.Machines), len(all.Machines))
	}
}
