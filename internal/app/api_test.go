package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/local/servicebus"
	"jitgate/internal/local/tables"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var out T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return out
}

func TestSourceLeftOutIsTheCallersAddress(t *testing.T) {
	e := newEdge(t)
	body := with(`"source":"203.0.113.7",`, "")
	for forwarded, want := range map[string]string{
		"203.0.113.9:50123":                    "203.0.113.9/32",
		"198.51.100.7, 203.0.113.10":           "203.0.113.10/32", // the caller's own claim comes first
		"::ffff:203.0.113.11":                  "203.0.113.11/32",
		"203.0.113.7, [::ffff:203.0.113.12]:1": "203.0.113.12/32",
	} {
		status, _, answer := e.call("POST", "/api/requests", body, "alice", map[string]string{"X-Forwarded-For": forwarded})
		if r := decode[api.Request](t, answer); status != http.StatusAccepted || r.Source != want {
			t.Errorf("X-Forwarded-For %q: %d, source %q, want %q", forwarded, status, r.Source, want)
		}
	}
}

func TestListIsNewestFirstPagedAndFiltered(t *testing.T) {
	e := newEdge(t)
	var ids []string
	for range 5 {
		ids = append(ids, e.create("alice", good))
	}
	bobs := e.create("bob", strings.Replace(good, "web01", "app01", 1))

	var seen []string
	cursor := ""
	for range 10 {
		_, _, body := e.call("GET", "/api/requests?limit=2&cursor="+cursor, "", "audrey", nil)
		page := decode[api.RequestPage](t, body)
		for _, r := range page.Requests {
			seen = append(seen, r.ID)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	want := bobs
	for i := len(ids) - 1; i >= 0; i-- {
		want += " " + ids[i]
	}
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("listed %s, want %s", got, want)
	}
	for query, n := range map[string]int{
		"": 5, "?mine=true": 5, "?state=Pending": 5, "?state=Active": 0, "?vm=" + web01: 5,
		"?vm=" + strings.ToUpper(web01): 5, "?vm=" + strings.Replace(web01, "web01", "app01", 1): 0, // bob's is not alice's to see
	} {
		_, _, body := e.call("GET", "/api/requests"+query, "", "alice", nil)
		if page := decode[api.RequestPage](t, body); len(page.Requests) != n {
			t.Errorf("alice sees %d requests with %q, want %d", len(page.Requests), query, n)
		}
	}
	_, _, body := e.call("GET", "/api/requests?mine=true", "", "bob", nil)
	if page := decode[api.RequestPage](t, body); len(page.Requests) != 1 || page.Requests[0].ID != bobs {
		t.Errorf("bob's own: %s", body)
	}
}

func TestIdempotencyKeyOverHTTP(t *testing.T) {
	e := newEdge(t)
	key := map[string]string{"Idempotency-Key": "run-1"}
	_, _, first := e.call("POST", "/api/requests", good, "alice", key)
	status, _, again := e.call("POST", "/api/requests", good, "alice", key)
	if a, b := decode[api.Request](t, first), decode[api.Request](t, again); status != http.StatusAccepted || a.ID != b.ID {
		t.Errorf("a repeat answered %d with request %s, first was %s", status, b.ID, a.ID)
	}
}

func TestPoliciesAndMachines(t *testing.T) {
	e := newEdge(t)
	_, _, body := e.call("GET", "/api/policies", "", "alice", nil)
	if list := decode[api.PolicyList](t, body); len(list.Policies) != 1 || list.Policies[0].Version != 1 || !strings.Contains(list.Policies[0].Document, "# the office") {
		t.Errorf("policies: %s", body)
	}
	_, _, body = e.call("GET", "/api/machines?name=WEB01", "", "alice", nil)
	if list := decode[api.MachineList](t, body); len(list.Machines) != 1 || !strings.EqualFold(list.Machines[0].ID, web01) {
		t.Errorf("machines: %s", body)
	}
	document, _ := json.Marshal(api.NewPolicy{Document: "apiVersion: jitgate/v1\nscoop: x\nports: 7\n"})
	_, _, body = e.call("PUT", "/api/policies", string(document), "carol", nil)
	p := decode[api.Problem](t, body)
	if len(p.Errors) < 4 || p.Errors[2].Field != "document:2:1" {
		t.Errorf("faults of the document: %s", body)
	}
}

// TestSomethingIsDown: 503 with Retry-After, nothing of it comes through later, and
// the same call works once all is well.
func TestSomethingIsDown(t *testing.T) {
	e := newEdge(t)
	key := map[string]string{"Idempotency-Key": "k"}
	down := func(what string) {
		t.Helper()
		status, header, body := e.call("POST", "/api/requests", good, "alice", key)
		if p := decode[api.Problem](t, body); status != http.StatusServiceUnavailable || p.Code != "unavailable" || header.Get("Retry-After") == "" {
			t.Errorf("%s is down: %d %s", what, status, body)
		}
		for _, secret := range []string{"127.0.0.1", "SharedAccess", "AccountKey", "devjitgate"} {
			if strings.Contains(body, secret) {
				t.Errorf("%s is down: the answer tells %q: %s", what, secret, body)
			}
		}
	}
	e.stack.ServiceBus.SetFaults(func(servicebus.Op) *servicebus.Fault { return &servicebus.Fault{Drop: true} }, nil)
	down("Service Bus")
	e.stack.ServiceBus.SetFaults(nil, nil)
	_, _, list := e.call("GET", "/api/requests", "", "alice", nil)
	if page := decode[api.RequestPage](t, list); len(page.Requests) != 0 {
		t.Errorf("a request that was not accepted is listed: %s", list)
	}
	refuse := func(tables.Op) *tables.Fault {
		return &tables.Fault{Status: 503, Code: "ServerBusy", Message: "The server is busy."}
	}
	e.stack.Tables.SetFaults(refuse, nil)
	down("the store")
	e.stack.Tables.SetFaults(nil, nil)

	status, _, body := e.call("POST", "/api/requests", good, "alice", key)
	if status != http.StatusAccepted {
		t.Errorf("after all came back: %d %s", status, body)
	}
	if counts, err := e.stack.ServiceBus.Count("requests"); err != nil || counts.Active != 1 {
		t.Errorf("queue: %+v, %v", counts, err)
	}
}
