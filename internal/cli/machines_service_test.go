package cli

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/armid"
)

// guarded is a machine that was protected at least once. Names decide here too:
// blocked-… ends Blocked, waiting-… never ends, the priority of the rule that
// taken-… lost is in use, web-2 has two rules that come back.
type guarded struct {
	api.Protection
	polls int
}

const machineRoute = "/api/machines/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{vm}"

func (s *service) serveMachines(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/machines", s.findMachines)
	mux.HandleFunc("GET /api/machines/report", s.report)
	mux.HandleFunc("GET "+machineRoute, s.machine)
	mux.HandleFunc("POST "+machineRoute+"/protect", s.protect)
	mux.HandleFunc("POST "+machineRoute+"/unprotect", s.unprotect)
	mux.HandleFunc("GET "+machineRoute+"/explain", s.explain)
	mux.HandleFunc("GET "+machineRoute+"/events", s.machineEvents)
}

func (s *service) findMachines(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "name", "state") {
		return
	}
	out := api.MachineList{Machines: []api.Machine{}}
	for _, m := range s.machines {
		m.State = s.protection(m.ID).State
		name, state := r.URL.Query().Get("name"), r.URL.Query().Get("state")
		if (name == "" || strings.EqualFold(name, m.Name)) && (state == "" || strings.EqualFold(state, m.State)) {
			out.Machines = append(out.Machines, m)
		}
	}
	answer(w, http.StatusOK, out)
}

// given is the id in the path, in the spelling of the service.
func (s *service) given(r *http.Request) (id string, known bool) {
	id = "/subscriptions/" + r.PathValue("subscription") + "/resourceGroups/" + r.PathValue("group") + compute + r.PathValue("vm")
	for _, m := range s.machines {
		if strings.EqualFold(m.ID, id) {
			return m.ID, true
		}
	}
	return id, false
}

func (s *service) protection(id string) api.Protection {
	if g := s.guarded[strings.ToLower(id)]; g != nil {
		return g.Protection
	}
	return api.Protection{VM: id, State: "Unprotected"}
}

func (s *service) machine(w http.ResponseWriter, r *http.Request) {
	if !query(w, r) {
		return
	}
	id, _ := s.given(r)
	g := s.guarded[strings.ToLower(id)]
	if g == nil {
		answer(w, http.StatusOK, s.protection(id))
		return
	}
	if g.polls++; g.polls%2 == 0 {
		g.proceed()
	}
	if g.State == "Protecting" || g.State == "Unprotecting" {
		w.Header().Set("Retry-After", "0")
		answer(w, http.StatusAccepted, g.Protection)
		return
	}
	answer(w, http.StatusOK, g.Protection)
}

func (g *guarded) proceed() {
	name, n := lastPart(g.VM), &g.NSGs[0]
	switch {
	case strings.HasPrefix(name, "waiting-"):
	case g.State == "Protecting" && strings.HasPrefix(name, "blocked-"):
		g.State, n.Problem = "Blocked", &api.Reason{Code: "nsg_full", Text: "The NSG has no room for another rule; delete one that nobody needs."}
	case g.State == "Protecting":
		g.State, n.Done = "Protected", true
	case g.State == "Unprotecting":
		g.State, n.Done, n.Removed = "Unprotected", true, nil
	}
}

func nsgOf(name string) string {
	return subscription + "/resourceGroups/web" + network + "nsg-" + name
}

// change is what both verbs have in common: the machine must exist, and what-if is
// true or left out.
func (s *service) change(w http.ResponseWriter, r *http.Request) (id string, whatIf, ok bool) {
	if !query(w, r, "whatIf") {
		return "", false, false
	}
	if text := r.URL.Query().Get("whatIf"); text != "" && text != "true" {
		refuse(w, http.StatusBadRequest, api.InvalidField, "whatIf is true or left out.")
		return "", false, false
	}
	id, known := s.given(r)
	if !known {
		refuse(w, http.StatusNotFound, "vm_not_found", "Azure knows no such virtual machine.")
		return "", false, false
	}
	return id, r.URL.Query().Get("whatIf") == "true", true
}

func (s *service) promise(w http.ResponseWriter, r *http.Request, f api.Forecast) {
	if f.WhatIf {
		answer(w, http.StatusOK, f)
		return
	}
	s.guarded[strings.ToLower(f.Protection.VM)] = &guarded{Protection: f.Protection}
	w.Header().Set("Location", s.URL+strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/protect"), "/unprotect"))
	w.Header().Set("Retry-After", "0")
	answer(w, http.StatusAccepted, f)
}

func (s *service) protect(w http.ResponseWriter, r *http.Request) {
	id, whatIf, ok := s.change(w, r)
	var in api.NewProtection
	if !ok || !body(w, r, &in) {
		return
	}
	if !people[caller(r)] {
		refuse(w, http.StatusForbidden, "role_missing", "None of your app roles allows this.")
		return
	}
	if len(in.Ports) == 0 {
		in.Ports = []api.PortRange{{Ports: "22", Protocol: "TCP"}, {Ports: "3389", Protocol: "TCP"}}
	}
	name := lastPart(id)
	nsg := api.ProtectedNSG{NSG: nsgOf(name), Addresses: []string{"10.0.0.4"}, Removed: []api.RemovedRule{{Name: "allow-ssh", Priority: 300}}}
	if name == "web-2" {
		nsg.Removed = append(nsg.Removed, api.RemovedRule{Name: "allow-rdp", Priority: 320})
	}
	now := s.clock.Now().UTC().Truncate(time.Second)
	f := api.Forecast{WhatIf: whatIf, Protection: api.Protection{
		VM: id, State: "Protecting", Ports: in.Ports, FlushConnection: in.FlushConnection != nil && *in.FlushConnection,
		By: &api.Person{Object: "0b1d", Name: caller(r)}, ChangedAt: &now, NSGs: []api.ProtectedNSG{nsg},
	}}
	change := api.NSGChange{NSG: nsg.NSG, Rules: []api.RuleChange{
		{Action: "keep", Name: "allow-office", Priority: 200, Access: "Allow", Protocol: "TCP", Ports: []string{"22"}, Sources: manySources(6), Destinations: []string{"*"}},
		{Action: "remove", Name: "allow-ssh", Priority: 300, Access: "Allow", Protocol: "TCP", Ports: []string{"22"}, Sources: []string{"*"}, Destinations: []string{"*"}},
		{Action: "add", Name: "jitgate-deny-" + name, Priority: 1000, Access: "Deny", Protocol: "*", Ports: []string{"22", "3389"}, Sources: []string{"*"}, Destinations: []string{"10.0.0.4"}},
	}}
	if in.FlushConnection != nil && *in.FlushConnection {
		change.FlushConnection = new(true)
	}
	f.NSGs = []api.NSGChange{change}
	deny := api.Decider{NSG: nsg.NSG, Rule: "jitgate-deny-" + name, Priority: 1000, Access: "Deny"}
	f.Verdicts = []api.VerdictChange{
		{Interface: "nic-" + name, Address: "10.0.0.4", Ports: in.Ports[0], From: "internet",
			Before: api.Exposure{Reach: "open", By: []api.Decider{{NSG: nsg.NSG, Rule: "allow-ssh", Priority: 300, Access: "Allow"}}},
			After:  api.Exposure{Reach: "partly", Allowed: manySources(6), By: []api.Decider{{NSG: nsg.NSG, Rule: "allow-office", Priority: 200, Access: "Allow"}, deny}}},
		{Interface: "nic-" + name, Address: "10.0.0.4", Ports: in.Ports[0], From: "virtual network",
			Before: api.Exposure{Reach: "depends", Depends: []api.Decider{{NSG: nsg.NSG, Rule: "allow-tag", Priority: 250, Access: "Allow"}}},
			After:  api.Exposure{Reach: "closed", By: []api.Decider{deny}}},
	}
	f.Warnings = []api.Finding{
		{Code: "still_open", NSG: nsg.NSG, Rule: "allow-office", Text: "It comes before the deny rule and lets 6 ranges in."},
		{Code: "no_policy", Text: "No policy allows to ask for access."},
	}
	s.promise(w, r, f)
}

func manySources(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("203.0.113.%d/32", i))
	}
	return out
}

func (s *service) unprotect(w http.ResponseWriter, r *http.Request) {
	id, whatIf, ok := s.change(w, r)
	var in api.EndProtection
	if !ok || !body(w, r, &in) {
		return
	}
	p := s.protection(id)
	if p.State == "Unprotected" {
		refuse(w, http.StatusConflict, "not_protected", "The machine is not protected.")
		return
	}
	p.NSGs = slices.Clone(p.NSGs)
	n := &p.NSGs[0]
	change := api.NSGChange{NSG: n.NSG, Rules: []api.RuleChange{{Action: "remove", Name: "jitgate-deny-" + lastPart(id), Priority: 1000, Access: "Deny",
		Protocol: "*", Ports: []string{"22"}, Sources: []string{"*"}, Destinations: []string{"10.0.0.4"}}}}
	for rule := range in.Priorities {
		if !slices.ContainsFunc(n.Removed, func(r api.RemovedRule) bool { return strings.EqualFold(r.Name, rule) }) {
			detail := "No rule of this name is to come back."
			refuse(w, http.StatusBadRequest, "priority_invalid", detail, api.Fault{Field: "priorities." + rule, Code: "priority_invalid", Detail: detail})
			return
		}
	}
	for _, rule := range n.Removed {
		priority := rule.Priority
		for name, other := range in.Priorities {
			if strings.EqualFold(name, rule.Name) {
				priority = other
			}
		}
		if priority == 300 && strings.HasPrefix(lastPart(id), "taken-") {
			detail := "Priority 300 of allow-ssh is taken by the rule deploy."
			refuse(w, http.StatusConflict, "priority_taken", detail, api.Fault{Field: "priorities.allow-ssh", Code: "priority_taken", Detail: detail})
			return
		}
		change.Rules = append(change.Rules, api.RuleChange{Action: "add", Name: rule.Name, Priority: priority, Access: "Allow", Protocol: "TCP",
			Ports: []string{"22"}, Sources: []string{"*"}, Destinations: []string{"*"}})
	}
	p.State, n.Done, n.Problem = "Unprotecting", false, nil
	s.promise(w, r, api.Forecast{WhatIf: whatIf, Protection: p, NSGs: []api.NSGChange{change}, Verdicts: []api.VerdictChange{}})
}

func (s *service) explain(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "port", "protocol", "source") {
		return
	}
	id, known := s.given(r)
	if !known {
		refuse(w, http.StatusNotFound, "vm_not_found", "Azure knows no such virtual machine.")
		return
	}
	q := r.URL.Query()
	port, err := strconv.Atoi(q.Get("port"))
	if err != nil || port < 1 || q.Get("protocol") != "TCP" && q.Get("protocol") != "UDP" {
		refuse(w, http.StatusBadRequest, "protocol_unknown", "Ask for TCP or UDP.", api.Fault{Field: "protocol", Code: "protocol_unknown", Detail: "Ask for TCP or UDP."})
		return
	}
	source := q.Get("source")
	if source == "" {
		source = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(source); err != nil {
		detail := source + " is not an address."
		refuse(w, http.StatusBadRequest, "source_invalid", detail, api.Fault{Field: "source", Code: "source_invalid", Detail: detail})
		return
	}
	name := lastPart(id)
	e := api.Explanation{VM: id, Source: source, Port: port, Protocol: q.Get("protocol"), Blind: []string{"Firewalls inside the machine."}}
	nsg := api.NSGExplanation{NSG: nsgOf(name), Steps: []api.RuleStep{
		{Rule: "allow-web", Priority: 100, Access: "Allow", Matches: "no", Why: "other ports"},
	}}
	step := func(rule string, priority int, access, matches, why string) {
		nsg.Steps = append(nsg.Steps, api.RuleStep{Rule: rule, Priority: priority, Access: access, Matches: matches, Why: why})
	}
	switch {
	case source == "10.0.0.9":
		e.Verdict = "depends"
		step("allow-tag", 250, "Allow", "unknown", "the tag Sql is not known here")
		step("DenyAllInBound", 65500, "Deny", "yes", "")
	case s.protection(id).State == "Protected":
		e.Verdict, e.Remedy, e.Policy = "deny", "Ask for access: a request for this port would open it.", subscription+" version 1"
		step("jitgate-deny-"+name, 1000, "Deny", "yes", "")
	default:
		e.Verdict = "allow"
		step("jitgate-0001-"+name, 150, "Allow", "yes", "")
		e.Grants = []api.LiveGrant{{Request: firstID, Rule: "jitgate-0001-" + name, NSG: nsg.NSG, ExpiresAt: s.clock.Now().Add(90 * time.Minute)}}
	}
	nsg.Verdict = e.Verdict
	e.Ways = []api.Way{{Interface: "nic-" + name, Address: "10.0.0.4", Verdict: e.Verdict, NSGs: []api.NSGExplanation{nsg}}}
	if name == "web-2" {
		e.Ways = append(e.Ways, api.Way{Interface: "nic2-" + name, Address: "10.0.1.4", Verdict: "allow", NSGs: []api.NSGExplanation{}})
	}
	answer(w, http.StatusOK, e)
}

func (s *service) machineEvents(w http.ResponseWriter, r *http.Request) {
	if !query(w, r) {
		return
	}
	id, _ := s.given(r)
	out := api.EventList{Events: []api.Event{}}
	if p := s.protection(id); p.By != nil {
		out.Events = append(out.Events,
			api.Event{Sequence: 1, At: *p.ChangedAt, Kind: "protection.wanted", Actor: p.By.Object, Name: p.By.Name, VM: id, Text: "Ports are to stay closed."},
			api.Event{Sequence: 1, At: *p.ChangedAt, Kind: "rule.removed", Actor: "jitgate", NSG: nsgOf(lastPart(id)), Rule: "allow-ssh", Text: "A copy is kept."})
	}
	answer(w, http.StatusOK, out)
}

// report knows of port 22 of every machine: open unless it is protected. stopped-1
// cannot be looked at, and waiting-1 is closed without jitgate.
func (s *service) report(w http.ResponseWriter, r *http.Request) {
	if !query(w, r, "scope") {
		return
	}
	s.scopes = r.URL.Query()["scope"]
	var scopes []armid.ID
	for _, text := range s.scopes {
		id, err := armid.Parse(text)
		if err != nil {
			refuse(w, http.StatusBadRequest, "scope_invalid", "A scope is a subscription or a resource group.")
			return
		}
		if !strings.HasPrefix(text, subscription) && !strings.HasPrefix(text, farther) {
			refuse(w, http.StatusNotFound, "scope_not_looked_at", "This installation does not look after "+text+".")
			return
		}
		scopes = append(scopes, id)
	}
	out := api.Report{CheckedAt: s.clock.Now().UTC().Truncate(time.Second), Machines: []api.MachineReport{}}
	for _, m := range s.machines {
		if len(scopes) > 0 && !slices.ContainsFunc(scopes, armid.MustParse(m.ID).Within) {
			continue
		}
		out.Machines = append(out.Machines, s.reportOn(m))
	}
	for _, m := range out.Machines {
		out.Summary.Machines++
		if m.Protected {
			out.Summary.Protected++
		}
		if m.Closed {
			out.Summary.Closed++
		} else {
			out.Summary.Open++
		}
	}
	answer(w, http.StatusOK, out)
}

func (s *service) reportOn(m api.Machine) api.MachineReport {
	out := api.MachineReport{VM: m.ID, State: s.protection(m.ID).State, Ports: []api.PortReport{}}
	nsg := nsgOf(m.Name)
	port := api.PortReport{Interface: "nic-" + m.Name, Address: "10.0.0.4", Ports: api.PortRange{Ports: "22", Protocol: "TCP"},
		Network: api.Exposure{Reach: "open", By: []api.Decider{{NSG: nsg, Rule: "AllowVnetInBound", Priority: 65000, Access: "Allow"}}}}
	switch {
	case m.Name == "stopped-1":
		out.Findings = []api.Finding{{Code: "machine_unreadable", Text: "=HYPERLINK(\"http://evil.example\") stands in its tags."}}
		return out
	case out.State == "Protected":
		out.Closed, out.Protected, port.Protected = true, true, true
		port.Internet = api.Exposure{Reach: "closed", By: []api.Decider{{NSG: nsg, Rule: "jitgate-deny-" + m.Name, Priority: 1000, Access: "Deny"}}}
	case m.Name == "waiting-1":
		out.Closed = true
		port.Internet = api.Exposure{Reach: "closed", By: []api.Decider{{NSG: nsg, Rule: "DenyAllInBound", Priority: 65500, Access: "Deny"}}}
	case m.Name == "web-2":
		port.Internet = api.Exposure{Reach: "partly", Allowed: []string{"203.0.113.0/28"}, By: []api.Decider{{NSG: nsg, Rule: "allow-office", Priority: 200, Access: "Allow"}},
			Depends: []api.Decider{{NSG: nsg, Rule: "@allow-tag", Priority: 250, Access: "Allow"}}}
	default:
		port.Internet = api.Exposure{Reach: "open", By: []api.Decider{{NSG: nsg, Rule: "allow-ssh", Priority: 300, Access: "Allow"}}}
		out.Findings = []api.Finding{{Code: "still_open", NSG: nsg, Rule: "allow-ssh", Text: "It lets everybody in."}}
	}
	out.Ports = []api.PortReport{port}
	return out
}
