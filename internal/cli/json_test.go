package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
)

// decode reads JSON into one of the API's types; fields the type lacks are a fault.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("not a %T: %v\n%s", out, err, text)
	}
	if decoder.More() {
		t.Fatalf("more than one document:\n%s", text)
	}
	return out
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestJSONHasTheShapesOfTheAPI(t *testing.T) {
	d := newDesk(t)
	stored := func(i int) api.Request { return d.service.requests[i].Request }
	request := []string{"request", "--vm", "WEB-1", "--port", "22,53/udp", "--duration", "1h30m",
		"--source", "203.0.113.7/32", "--reason", "a <b> & c", "-o", "json"}

	accepted := decode[api.Request](t, d.ok(request...).stdout)
	same(t, "request", accepted, stored(0))
	same(t, "what was asked for", accepted, api.Request{
		ID: firstID, State: "Pending", Requester: api.Person{Object: "0b1d", Name: "ada"}, Source: "203.0.113.7/32",
		Duration: "PT1H30M", Justification: "a <b> & c", CreatedAt: noon.UTC(),
		Targets: []api.Target{{VM: web1, State: "Pending", Ports: []api.Port{{Port: 22, Protocol: "TCP"}, {Port: 53, Protocol: "UDP"}}}},
	})

	waited := decode[api.Request](t, d.ok(append(request, "--wait")...).stdout)
	same(t, "request --wait", waited, stored(1))
	if waited.State != "Active" || len(waited.Targets[0].NSGs) != 1 {
		t.Errorf("waited for %+v", waited)
	}
	same(t, "show", decode[api.Request](t, d.ok("show", waited.ID, "-o", "json").stdout), stored(1))

	both := decode[struct {
		api.Request
		api.EventList
	}](t, d.ok("show", waited.ID, "--events", "-o", "json").stdout)
	same(t, "show --events", both.Request, stored(1))
	if len(both.Events) != 2 {
		t.Errorf("show --events has %d events", len(both.Events))
	}

	d.ok(request...)
	page := decode[api.RequestPage](t, d.ok("list", "-o", "json").stdout)
	same(t, "list", page, api.RequestPage{Requests: []api.Request{stored(2), stored(1)}, Next: "1"})
	all := decode[api.RequestPage](t, d.ok("list", "--all-pages", "-o", "json").stdout)
	same(t, "list --all-pages", all, api.RequestPage{Requests: []api.Request{stored(2), stored(1), stored(0)}})
	none := d.ok("list", "--state", "expired", "-o", "json").stdout
	same(t, "empty list", decode[api.RequestPage](t, none), api.RequestPage{Requests: []api.Request{}})

	revoked := decode[api.Request](t, d.ok("revoke", waited.ID, "--wait", "-o", "json").stdout)
	same(t, "revoke --wait", revoked, stored(1))
	if revoked.State != "Revoked" {
		t.Errorf("revoked is %s", revoked.State)
	}

	same(t, "machines", decode[api.MachineList](t, d.ok("machines", "list", "-o", "json").stdout).Machines, d.service.machines)

	d.env["JITGATE_TOKEN"] = secret("root")
	d.stdin = "apiVersion: jitgate/v1\nscope: " + subscription + "\nports: [{port: 22, protocol: TCP}]\nsources: [{range: 203.0.113.0/24}]\n"
	changed := decode[api.ChangedPolicy](t, d.ok("policy", "apply", "-f", "-", "-o", "json").stdout)
	p := encodePolicy(d.service.set()[0])
	same(t, "policy apply", changed, api.ChangedPolicy{Policy: &p})
	same(t, "policy list", decode[api.PolicyList](t, d.ok("policy", "list", "-o", "json").stdout), api.PolicyList{Policies: []api.Policy{p}})
	same(t, "policy show", decode[api.Policy](t, d.ok("policy", "show", subscription, "-o", "json").stdout), p)
	if shown := d.ok("policy", "show", subscription).stdout; shown != d.stdin {
		t.Errorf("policy show gave %q, want the document as it was handed in", shown)
	}
}

func TestOutcomeIsShownWhenThereIsNoAccess(t *testing.T) {
	d := newDesk(t)
	r := d.run("request", "--vm", "denied-1", "--port", "22", "--wait", "-o", "json")
	if got := decode[api.Request](t, r.stdout); got.State != "Denied" || got.Targets[0].Reason == nil {
		t.Errorf("got %+v", got)
	}
	r = d.run("request", "--vm", "denied-1", "--port", "22", "--wait")
	contains(t, "stdout", r.stdout, "denied-1 is Denied:\n- The policy does not allow this port. (port_not_allowed)\n  policy: "+subscription+" version 1\n  would pass: 443/TCP\n- Not on Sundays. (condition_unmet)\n  policy: guardrail tenant version 3\n")
	r = d.run("request", "--vm", "failed-1", "--port", "22", "--wait")
	contains(t, "stdout", r.stdout, "failed-1 is Failed: The NSG has no room for another rule. (nsg_full)")
	if strings.Contains(r.stdout, "(in ") {
		t.Errorf("what never opened must not seem to end later:\n%s", r.stdout)
	}
	r = d.run("request", "--vm", "waiting-1", "--port", "22", "--wait", "--timeout", "20ms", "-o", "json")
	if got := decode[api.Request](t, r.stdout); got.State != "AwaitingApproval" {
		t.Errorf("after the timeout: %+v", got)
	}
}

func TestWideShowsIDs(t *testing.T) {
	d := newDesk(t)
	d.ok("request", "--vm", "web-1", "--port", "22", "--wait")
	for _, args := range [][]string{{"list"}, {"show", firstID}} {
		if r := d.ok(args...); strings.Contains(r.stdout, "/subscriptions/") || !strings.Contains(r.stdout, "web-1") {
			t.Errorf("%q should name the machine only:\n%s", args, r.stdout)
		}
		contains(t, "with --wide", d.ok(append(args, "--wide")...).stdout, web1)
	}
}
