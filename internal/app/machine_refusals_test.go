package app_test

import (
	"net/http"
	"strings"
	"testing"

	"jitgate/internal/local/arm"
)

// webMachine is the path of the operations about web01.
const webMachine = "/api/machines" + web01

// TestMachineRefusals is TestRefusals for the operations about machines: calls that
// fail before the machine itself is looked at.
func TestMachineRefusals(t *testing.T) {
	e := newEdge(t)
	inGroup := func(vm string) string { return strings.TrimSuffix(webMachine, "web01") + vm }
	platform := map[string]string{"X-Forwarded-For": "203.0.113.7:40000"}
	for _, c := range []refusal{
		{"no token", "POST", webMachine + "/protect", `{}`, "", nil, 401, "token_missing"},
		{"no token for the report", "GET", "/api/machines/report", ``, "", nil, 401, "token_missing"},

		{"unknown query of the list", "GET", "/api/machines?nam=web01", ``, "alice", nil, 400, "unknown_field"},
		{"unknown state", "GET", "/api/machines?state=Open", ``, "alice", nil, 400, "state_unknown"},
		{"unknown query of a machine", "GET", webMachine + "?verbose=true", ``, "alice", nil, 400, "unknown_field"},
		{"unknown query of protect", "POST", webMachine + "/protect?dryRun=true", `{}`, "carol", nil, 400, "unknown_field"},
		{"whatIf in another case", "POST", webMachine + "/protect?whatif=true", `{}`, "carol", nil, 400, "unknown_field"},
		{"whatIf neither true nor false", "POST", webMachine + "/protect?whatIf=maybe", `{}`, "carol", nil, 400, "invalid_field"},
		{"whatIf without a value", "POST", webMachine + "/protect?whatIf", `{}`, "carol", nil, 400, "invalid_field"},
		{"whatIf empty", "POST", webMachine + "/unprotect?whatIf=", `{}`, "carol", nil, 400, "invalid_field"},
		{"whatIf twice", "POST", webMachine + "/unprotect?whatIf=false&whatIf=true", `{}`, "carol", nil, 400, "invalid_field"},
		{"unknown field of protect", "POST", webMachine + "/protect", `{"port":[]}`, "carol", nil, 400, "unknown_field"},
		{"unknown field of a port", "POST", webMachine + "/protect", `{"ports":[{"port":"22"}]}`, "carol", nil, 400, "unknown_field"},
		{"a number for ports", "POST", webMachine + "/protect", `{"ports":[{"ports":22}]}`, "carol", nil, 400, "invalid_field"},
		{"a text for a priority", "POST", webMachine + "/unprotect", `{"priorities":{"allow-ssh":"310"}}`, "carol", nil, 400, "invalid_field"},
		{"malformed JSON", "POST", webMachine + "/protect", `{"ports":`, "carol", nil, 400, "malformed_body"},
		{"an array", "POST", webMachine + "/unprotect", `[]`, "carol", nil, 400, "invalid_field"},
		{"not JSON", "POST", webMachine + "/protect", `{}`, "carol", map[string]string{"Content-Type": "text/plain"}, 415, "unsupported_media_type"},
		{"body over 256 KiB", "POST", webMachine + "/protect", `{"ports":[{"ports":"` + strings.Repeat("2", 256<<10) + `"}]}`, "carol", nil, 413, "body_too_large"},

		{"no port", "GET", webMachine + "/explain", ``, "alice", platform, 400, "invalid_field"},
		{"port is a word", "GET", webMachine + "/explain?port=ssh", ``, "alice", platform, 400, "invalid_field"},
		{"port 0", "GET", webMachine + "/explain?port=0", ``, "alice", platform, 400, "port_invalid"},
		{"port 65536", "GET", webMachine + "/explain?port=65536", ``, "alice", platform, 400, "port_invalid"},
		{"unknown protocol", "GET", webMachine + "/explain?port=22&protocol=ICMP", ``, "alice", platform, 400, "protocol_unknown"},
		{"any protocol", "GET", webMachine + "/explain?port=22&protocol=*", ``, "alice", platform, 400, "protocol_unknown"},
		{"source not an address", "GET", webMachine + "/explain?port=22&source=office", ``, "alice", platform, 400, "source_invalid"},
		{"source a range", "GET", webMachine + "/explain?port=22&source=203.0.113.0/28", ``, "alice", platform, 400, "source_invalid"},
		{"source left out, platform silent", "GET", webMachine + "/explain?port=22", ``, "alice", nil, 400, "source_unknown"},

		{"scope is a name", "GET", "/api/machines/report?scope=rg-demo", ``, "bob", nil, 400, "scope_invalid"},
		{"second scope is bad", "GET", "/api/machines/report?scope=" + group + "&scope=rg-demo", ``, "bob", nil, 400, "scope_invalid"},
		{"empty scope", "GET", "/api/machines/report?scope=", ``, "bob", nil, 400, "invalid_field"},
		{"empty scope before a good one", "GET", "/api/machines/report?scope=&scope=" + group, ``, "bob", nil, 400, "invalid_field"},

		{"subscription is a name", "GET", strings.Replace(webMachine, "00000000-0000-0000-0000-000000000001", "demo", 1), ``, "alice", nil, 400, "vm_id_invalid"},
		{"a name no VM can have", "POST", inGroup("-web01") + "/protect", `{}`, "carol", nil, 400, "vm_id_invalid"},
		{"a slash in the name", "POST", inGroup("web01%2Fextensions%2Fx") + "/unprotect", `{}`, "carol", nil, 400, "vm_id_invalid"},
		{"another VM in the group's name", "GET", strings.Replace(webMachine, "rg-demo", "rg-demo%2Fproviders%2FMicrosoft.Compute%2FvirtualMachines%2Fx", 1) + "/events", ``, "alice", nil, 400, "vm_id_invalid"},
		{"an id in another case is still checked", "GET", strings.Replace(strings.ToUpper(web01), strings.ToUpper(group), "/api/machines"+strings.ToUpper(group), 1) + "%20/explain?port=22", ``, "alice", platform, 400, "vm_id_invalid"},
		{"a name alone", "GET", "/api/machines/web01", ``, "alice", nil, 404, "operation_unknown"},
		{"another type of resource", "GET", "/api/machines" + group + "/providers/Microsoft.Network/networkSecurityGroups/nsg-web01", ``, "alice", nil, 404, "operation_unknown"},
		{"protect by GET", "GET", webMachine + "/protect", ``, "carol", nil, 404, "operation_unknown"},
		{"a machine by DELETE", "DELETE", webMachine, ``, "carol", nil, 404, "operation_unknown"},
		{"no such word", "POST", webMachine + "/enforce", ``, "carol", nil, 404, "operation_unknown"},
	} {
		e.refuses(t, c)
	}
}

// TestRolesForMachines: who may do what, over HTTP, each role and each operation. A
// call that is let in may fail later; it is only not refused for the role.
func TestRolesForMachines(t *testing.T) {
	e := newEdge(t)
	for _, c := range []struct {
		method, path string
		users        string // who may
	}{
		{"GET", "/api/machines?name=web01", "alice bob carol audrey"},
		{"GET", webMachine, "alice bob carol audrey"},
		{"GET", webMachine + "/events", "alice bob carol audrey"},
		// A port that is none and a scope that is none: let in, these are refused for that.
		{"GET", webMachine + "/explain?port=0", "alice bob carol audrey"},
		{"GET", "/api/machines/report?scope=x", "bob carol audrey"},
		{"POST", strings.Replace(webMachine, "web01", "-", 1) + "/protect", "carol"},
		{"POST", strings.Replace(webMachine, "web01", "-", 1) + "/protect?whatIf=true", "carol"},
		{"POST", strings.Replace(webMachine, "web01", "-", 1) + "/unprotect", "carol"},
		{"POST", strings.Replace(webMachine, "web01", "-", 1) + "/unprotect?whatIf=true", "carol"},
	} {
		for _, user := range []string{"alice", "bob", "carol", "audrey"} {
			status, _, body := e.call(c.method, c.path, "", user, nil)
			if may := strings.Contains(c.users, user); may == (status == http.StatusForbidden) || may == strings.Contains(body, "role_missing") {
				t.Errorf("%s %s by %s: %d %s", c.method, c.path, user, status, body)
			}
		}
	}
}

// TestAzureRefusesJitgate: the caller learns that it is not their fault and what the
// operator has to do, and nothing of what Azure said.
func TestAzureRefusesJitgate(t *testing.T) {
	e := newEdge(t)
	e.stack.ARM.FailNext("vm.list", 1, arm.Fault{Status: http.StatusForbidden, Code: "AuthorizationFailed", Message: "The client 'secret-client' does not have authorization."})
	e.refuses(t, refusal{"forbidden", "GET", "/api/machines", ``, "alice", nil, 502, "machine_unreadable"})
	if !strings.Contains(e.log.String(), "secret-client") {
		t.Error("what Azure said is not in the log")
	}
	_, _, body := e.call("GET", "/api/machines?name=web01", "", "alice", nil)
	if !strings.Contains(body, "web01") {
		t.Errorf("afterwards: %s", body)
	}
}

// TestNoMachineIsCalledARequest: what is not there is never called a request, whatever
// the store or Azure does not find.
func TestNoMachineIsCalledARequest(t *testing.T) {
	e := newEdge(t)
	e.stack.ARM.FailNext("vm.list", 1, arm.Fault{Status: http.StatusNotFound, Code: "SubscriptionNotFound", Message: "Gone."})
	for _, path := range []string{"/api/machines", webMachine, webMachine + "/events", strings.Replace(webMachine, "web01", "ghost", 1)} {
		if status, _, body := e.call("GET", path, "", "alice", nil); strings.Contains(body, "request") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
