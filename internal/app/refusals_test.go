package app_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/local/entra"
)

const good = `{"targets":[{"vm":"` + web01 + `","ports":[{"port":22,"protocol":"TCP"}]}],"source":"203.0.113.7","duration":"PT1H","justification":"INC-1042"}`

// with replaces a part of the good body.
func with(old, new string) string {
	if !strings.Contains(good, old) {
		panic(old)
	}
	return strings.Replace(good, old, new, 1)
}

// refusal is a call and what it is refused with.
type refusal struct {
	name, method, path, body, user string
	headers                        map[string]string
	status                         int
	code                           string
}

// refuses makes the call and expects a problem, and no trace of the call in store or
// queue.
func (e *edge) refuses(t *testing.T, c refusal) {
	t.Helper()
	t.Run(c.name, func(t *testing.T) {
		before := e.traces()
		status, header, body := e.call(c.method, c.path, c.body, c.user, c.headers)
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("not a problem: %d %s %s", status, header.Get("Content-Type"), body)
		}
		if status != c.status || p.Status != c.status || p.Code != c.code {
			t.Errorf("got %d %s (%s), want %d %s", status, p.Code, body, c.status, c.code)
		}
		if p.Type != "urn:jitgate:problem:"+p.Code || !strings.HasSuffix(p.Detail, ".") {
			t.Errorf("type %q, detail %q", p.Type, p.Detail)
		}
		if after := e.traces(); !maps.Equal(before, after) {
			t.Errorf("the refused call left traces: %v, before %v", after, before)
		}
	})
}

// TestRefusals is the table of what calls are refused for, over HTTP: status, code, a
// sentence that is one, and no trace in store or queue.
func TestRefusals(t *testing.T) {
	e := newEdge(t)
	ended := e.create("alice", good)
	if status, _, body := e.call("POST", "/api/requests/"+ended+"/revoke", "", "alice", nil); status != http.StatusAccepted {
		t.Fatalf("revoke: %d %s", status, body)
	}
	alices := e.create("alice", good)
	if status, _, body := e.call("POST", "/api/requests", good, "alice", map[string]string{"Idempotency-Key": "k"}); status != http.StatusAccepted {
		t.Fatalf("create: %d %s", status, body)
	}
	mint := func(claims map[string]any, o entra.MintOptions) map[string]string {
		t.Helper()
		base := map[string]any{"oid": "55555555-0000-4000-8000-000000000001", "roles": []string{"Jit.Request"}}
		maps.Copy(base, claims)
		token, err := e.stack.Entra.Mint(e.stack.Env["JITGATE_ENTRA_URL"], base, o)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"Authorization": "Bearer " + token}
	}
	manyTargets := strings.TrimSuffix(strings.Repeat(`{"vm":"`+web01+`","ports":[{"port":22,"protocol":"TCP"}]},`, 21), ",")

	for _, c := range []refusal{
		{"malformed JSON", "POST", "/api/requests", `{"targets":`, "alice", nil, 400, "malformed_body"},
		{"no body", "POST", "/api/requests", ``, "alice", nil, 400, "malformed_body"},
		{"two objects", "POST", "/api/requests", good + good, "alice", nil, 400, "malformed_body"},
		{"an array", "POST", "/api/requests", `[]`, "alice", nil, 400, "invalid_field"},
		{"unknown field", "POST", "/api/requests", with(`"source"`, `"sorce"`), "alice", nil, 400, "unknown_field"},
		{"unknown field of a port", "POST", "/api/requests", with(`"port":22`, `"port":22,"range":1`), "alice", nil, 400, "unknown_field"},
		{"a text for a port", "POST", "/api/requests", with(`"port":22`, `"port":"22"`), "alice", nil, 400, "invalid_field"},
		{"unknown query parameter", "GET", "/api/requests?stat=Active", ``, "alice", nil, 400, "unknown_field"},
		{"not JSON", "POST", "/api/requests", good, "alice", map[string]string{"Content-Type": "text/plain"}, 415, "unsupported_media_type"},
		{"bad VM id", "POST", "/api/requests", with(web01, "web01"), "alice", nil, 400, "vm_id_invalid"},
		{"duration not ISO 8601", "POST", "/api/requests", with("PT1H", "1 hour"), "alice", nil, 400, "duration_invalid"},
		{"duration under 5 minutes", "POST", "/api/requests", with("PT1H", "PT4M"), "alice", nil, 400, "duration_too_short"},
		{"duration over 24 hours", "POST", "/api/requests", with("PT1H", "PT25H"), "alice", nil, 400, "duration_too_long"},
		{"duration over the policy", "POST", "/api/requests", with("PT1H", "PT4H"), "alice", nil, 403, "duration_over_policy"},
		{"source not an address", "POST", "/api/requests", with("203.0.113.7", "office"), "alice", nil, 400, "source_invalid"},
		{"host bits set", "POST", "/api/requests", with("203.0.113.7", "203.0.113.7/28"), "alice", nil, 400, "source_host_bits"},
		{"wider than allowed", "POST", "/api/requests", with("203.0.113.7", "203.0.113.0/25"), "alice", nil, 403, "source_too_wide"},
		{"outside of all ranges", "POST", "/api/requests", with("203.0.113.7", "198.51.100.1"), "alice", nil, 403, "source_not_allowed"},
		{"any source", "POST", "/api/requests", with("203.0.113.7", "*"), "alice", nil, 400, "source_any"},
		{"any source as a range", "POST", "/api/requests", with("203.0.113.7", "0.0.0.0/0"), "alice", nil, 400, "source_any"},
		{"source left out, platform silent", "POST", "/api/requests", with(`"source":"203.0.113.7",`, ""), "alice", nil, 400, "source_unknown"},
		{"source left out, not allowed", "POST", "/api/requests", with(`"source":"203.0.113.7",`, ""), "alice", map[string]string{"X-Forwarded-For": "203.0.113.7, 198.51.100.1:40000"}, 403, "source_not_allowed"},
		{"port 0", "POST", "/api/requests", with(`"port":22`, `"port":0`), "alice", nil, 400, "port_invalid"},
		{"port 65536", "POST", "/api/requests", with(`"port":22`, `"port":65536`), "alice", nil, 400, "port_invalid"},
		{"port not in the policy", "POST", "/api/requests", with(`"port":22`, `"port":8080`), "alice", nil, 403, "port_not_allowed"},
		{"unknown protocol", "POST", "/api/requests", with("TCP", "ICMP"), "alice", nil, 400, "protocol_unknown"},
		{"no targets", "POST", "/api/requests", `{"source":"203.0.113.7","duration":"PT1H"}`, "alice", nil, 400, "targets_empty"},
		{"21 targets", "POST", "/api/requests", `{"targets":[` + manyTargets + `],"source":"203.0.113.7","duration":"PT1H"}`, "alice", nil, 400, "targets_too_many"},
		{"body over 256 KiB", "POST", "/api/requests", with("INC-1042", strings.Repeat("x", 256<<10)), "alice", nil, 413, "body_too_large"},
		{"no policy covers the VM", "POST", "/api/requests", with("rg-demo", "rg-other"), "alice", nil, 403, "no_policy"},
		{"key with another body", "POST", "/api/requests", with("INC-1042", "other"), "alice", map[string]string{"Idempotency-Key": "k"}, 422, "idempotency_key_reused"},
		{"a novel for a key", "POST", "/api/requests", good, "alice", map[string]string{"Idempotency-Key": strings.Repeat("k", 201)}, 400, "idempotency_key_invalid"},

		{"token missing", "POST", "/api/requests", good, "", nil, 401, "token_missing"},
		{"token expired", "POST", "/api/requests", good, "", mint(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, entra.MintOptions{}), 401, "token_expired"},
		{"wrong audience", "POST", "/api/requests", good, "", mint(map[string]any{"aud": "other"}, entra.MintOptions{}), 401, "token_audience"},
		{"wrong issuer", "POST", "/api/requests", good, "", mint(map[string]any{"iss": "https://example.org"}, entra.MintOptions{}), 401, "token_issuer"},
		{"wrong tenant", "POST", "/api/requests", good, "", mint(map[string]any{"tid": "77777777-0000-4000-8000-000000000001"}, entra.MintOptions{}), 401, "token_tenant"},
		{"alg none", "POST", "/api/requests", good, "", mint(nil, entra.MintOptions{Algorithm: "none"}), 401, "token_algorithm"},
		{"alg HS256", "POST", "/api/requests", good, "", mint(nil, entra.MintOptions{Algorithm: "HS256"}), 401, "token_algorithm"},
		{"easy-auth headers alone", "POST", "/api/requests", good, "", map[string]string{"X-MS-CLIENT-PRINCIPAL-ID": "alice", "X-MS-CLIENT-PRINCIPAL": "e30="}, 401, "token_missing"},
		{"role missing", "POST", "/api/requests", good, "audrey", nil, 403, "role_missing"},
		{"no role at all", "GET", "/api/requests", ``, "", mint(map[string]any{"roles": []string{}}, entra.MintOptions{}), 403, "role_missing"},
		{"policy without the role", "PUT", "/api/policies", `{"document":"x"}`, "alice", nil, 403, "role_missing"},

		{"request of somebody else", "GET", "/api/requests/" + alices, ``, "", mint(nil, entra.MintOptions{}), 403, "not_your_request"},
		{"its record", "GET", "/api/requests/" + alices + "/events", ``, "", mint(nil, entra.MintOptions{}), 403, "not_your_request"},
		{"its end", "POST", "/api/requests/" + alices + "/revoke", ``, "", mint(nil, entra.MintOptions{}), 403, "not_your_request"},
		{"an auditor ends nothing", "POST", "/api/requests/" + alices + "/revoke", ``, "audrey", nil, 403, "role_missing"},
		{"no such request", "GET", "/api/requests/0192f0c1-2222-7333-8444-555566667777", ``, "alice", nil, 404, "request_not_found"},
		{"an id with a slash in it", "GET", "/api/requests/..%2Frequest", ``, "alice", nil, 404, "request_not_found"},
		{"revoke of an ended request", "POST", "/api/requests/" + ended + "/revoke", ``, "alice", nil, 409, "request_ended"},
		{"no such operation", "DELETE", "/api/requests/" + alices, ``, "alice", nil, 404, "operation_unknown"},
		{"no such path", "GET", "/api/secrets", ``, "alice", nil, 404, "operation_unknown"},
		{"unknown state", "GET", "/api/requests?state=Open", ``, "alice", nil, 400, "state_unknown"},
		{"bad VM in a filter", "GET", "/api/requests?vm=web01", ``, "alice", nil, 400, "vm_id_invalid"},
		{"bad cursor", "GET", "/api/requests?cursor=xyz", ``, "alice", nil, 400, "cursor_invalid"},
		{"page too large", "GET", "/api/requests?limit=1000", ``, "alice", nil, 400, "invalid_field"},

		{"policy with faults", "PUT", "/api/policies", `{"document":"apiVersion: jitgate/v1\nscoop: x\n"}`, "carol", nil, 400, "policy_invalid"},
		{"no policy document", "PUT", "/api/policies", `{}`, "carol", nil, 400, "policy_invalid"},
		{"no policy there", "GET", "/api/policies?scope=" + web01, ``, "alice", nil, 404, "policy_not_found"},
	} {
		e.refuses(t, c)
	}
	for _, user := range []string{"alice", "carol", "audrey"} {
		if strings.Contains(e.log.String(), e.token(user)[:40]) {
			t.Errorf("a token of %s is in the log", user)
		}
	}
}

// create asks and returns the request's id.
func (e *edge) create(user, body string) string {
	e.t.Helper()
	status, header, answer := e.call("POST", "/api/requests", body, user, map[string]string{"X-Forwarded-Proto": "http"})
	var r api.Request
	if err := json.Unmarshal([]byte(answer), &r); status != http.StatusAccepted || err != nil {
		e.t.Fatalf("create: %d %s (%v)", status, answer, err)
	}
	if want := fmt.Sprintf("%s/api/requests/%s", e.url, r.ID); header.Get("Location") != want || header.Get("Retry-After") == "" {
		e.t.Errorf("Location %q, want %q; Retry-After %q", header.Get("Location"), want, header.Get("Retry-After"))
	}
	return r.ID
}
