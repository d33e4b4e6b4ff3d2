package arm_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/arm"
)

// state is the provisioning state that a GET of a rule shows, or its status code.
func state(t *testing.T, e *estate, rule string) string {
	t.Helper()
	resp, out := e.call(t, "GET", web+"/securityRules/"+rule+version, nil)
	if resp.StatusCode != 200 {
		return http.StatusText(resp.StatusCode)
	}
	return out["properties"].(map[string]any)["provisioningState"].(string)
}

func status(t *testing.T, e *estate, url string) (string, map[string]any) {
	t.Helper()
	resp, out := e.call(t, "GET", url, nil)
	if resp.StatusCode != 200 {
		t.Fatalf("operation: %d %v", resp.StatusCode, out)
	}
	text, _ := out["status"].(string)
	return text, out
}

func TestWriteInProgress(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: 3 * time.Second})
	resp, out := e.call(t, "PUT", web+"/securityRules/mine"+version, ssh(100))
	follow := resp.Header.Get("Azure-AsyncOperation")
	if resp.StatusCode != 201 || resp.Header.Get("Location") != "" || resp.Header.Get("Retry-After") != "" ||
		!strings.HasPrefix(follow, e.url+"/subscriptions/"+sub+"/providers/Microsoft.Network/locations/westeurope/operations/") {
		t.Fatalf("%d %v %v", resp.StatusCode, resp.Header, out)
	}
	if got := out["properties"].(map[string]any)["provisioningState"]; got != "Updating" {
		t.Errorf("the PUT answered %v", got)
	}
	etag := out["etag"]
	clock.Advance(3*time.Second - time.Nanosecond)
	if s, _ := status(t, e, follow); s != "InProgress" || state(t, e, "mine") != "Updating" || state(t, e, "allow-https") != "Succeeded" {
		t.Errorf("before the end: operation %s, rule %s, other rule %s", s, state(t, e, "mine"), state(t, e, "allow-https"))
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Deny" {
		t.Errorf("the data plane is ahead of the operation: %+v", a)
	}
	clock.Advance(time.Nanosecond)
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Allow" {
		t.Errorf("the data plane missed the end of the operation: %+v", a)
	}
	if s, _ := status(t, e, follow); s != "Succeeded" || state(t, e, "mine") != "Succeeded" {
		t.Errorf("after the end: operation %s, rule %s", s, state(t, e, "mine"))
	}
	if _, now := e.call(t, "GET", web+version, nil); now["etag"] == etag {
		t.Error("the end of the operation did not renew the etag")
	}

	resp, _ = e.call(t, "DELETE", web+"/securityRules/mine"+version, nil)
	follow, location := resp.Header.Get("Azure-AsyncOperation"), resp.Header.Get("Location")
	if resp.StatusCode != 202 || follow == "" || !strings.Contains(location, "/operationResults/") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Allow" || state(t, e, "mine") != "Deleting" {
		t.Errorf("while deleting: %+v, rule %s", a, state(t, e, "mine"))
	}
	if resp, _ := e.call(t, "GET", location, nil); resp.StatusCode != 202 || resp.Header.Get("Location") != location {
		t.Errorf("result while deleting: %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp, out := e.call(t, "PUT", web+"/securityRules/next"+version, ssh(101)); resp.StatusCode != 429 || errorCode(out) != "RetryableError" {
		t.Errorf("a PUT meets a DELETE: %d %v", resp.StatusCode, out)
	}
	clock.Advance(3 * time.Second)
	if resp, _ := e.call(t, "GET", location, nil); resp.StatusCode != 204 {
		t.Errorf("result after deleting: %d", resp.StatusCode)
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Deny" || state(t, e, "mine") != "Not Found" {
		t.Errorf("after deleting: %+v, rule %s", a, state(t, e, "mine"))
	}
	other := strings.Replace(follow, sub, "00000000-0000-0000-0000-000000000002", 1)
	if resp, _ := e.call(t, "GET", other, nil); resp.StatusCode != 404 {
		t.Errorf("another subscription sees the operation: %d", resp.StatusCode)
	}
}

// The one test that waits on the wall clock: the SDK's poller at its shortest
// frequency, against an operation that needs a second poll.
func TestPollerWaits(t *testing.T) {
	e := start(t, arm.Options{Latency: 300 * time.Millisecond})
	poller, err := e.rules.BeginCreateOrUpdate(t.Context(), rg, "nsg-web01", "mine", ssh(100), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := poller.PollUntilDone(t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Second}); err != nil {
		t.Fatal(err)
	}
	if n := e.Counts()["operation.get"]; n < 1 || n > 2 {
		t.Errorf("%d polls", n)
	}
}

func TestSupersededWrite(t *testing.T) {
	for _, c := range []struct {
		name    string
		survive bool
		first   []string // names while the second is in flight, and after it
	}{
		{"undone", false, []string{"allow-https", "deny-management", "second"}},
		{"survives", true, []string{"allow-https", "deny-management", "first", "second"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := clockwork.NewFakeClock()
			e := start(t, arm.Options{Clock: clock, Latency: 3 * time.Second, SupersededSurvives: c.survive})
			poller, err := e.rules.BeginCreateOrUpdate(t.Context(), rg, "nsg-web01", "first", ssh(100), nil)
			if err != nil {
				t.Fatal(err)
			}
			clock.Advance(time.Second)
			if resp, out := e.call(t, "PUT", web+"/securityRules/clash"+version, ssh(100)); errorCode(out) != "SecurityRuleConflict" {
				t.Errorf("a rule in flight must hold its priority: %d %v", resp.StatusCode, out)
			}
			resp, _ := e.call(t, "PUT", web+"/securityRules/second"+version, ssh(101))
			if resp.StatusCode != 201 {
				t.Fatalf("second PUT: %d", resp.StatusCode)
			}
			_, err = done(t.Context(), poller, nil)
			wantCode(t, err, 200, "Canceled")
			if !strings.Contains(err.Error(), "CanceledAndSupersededDueToAnotherOperation") {
				t.Errorf("the detail is missing: %v", err)
			}
			if got := e.RuleNames(web); !slices.Equal(got, c.first) {
				t.Errorf("in flight: %v, want %v", got, c.first)
			}
			if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Deny" {
				t.Errorf("nothing has succeeded yet: %+v", a)
			}
			clock.Advance(3 * time.Second)
			if s, _ := status(t, e, resp.Header.Get("Azure-AsyncOperation")); s != "Succeeded" {
				t.Errorf("the second PUT ended %s", s)
			}
			want := "second"
			if c.survive {
				want = "first"
			}
			if a := probe(t, e, "web01", "198.51.100.7", 22); a.Rule != want {
				t.Errorf("%+v, want rule %s", a, want)
			}
		})
	}
}

// A superseded update leaves the rule as it was before.
func TestSupersededUpdateRestores(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Second})
	before := string(must(e.RuleJSON(web, "allow-https")))
	e.call(t, "PUT", web+"/securityRules/allow-https"+version, ssh(100))
	if string(must(e.RuleJSON(web, "allow-https"))) == before {
		t.Fatal("the update does not show")
	}
	e.call(t, "PUT", web+"/securityRules/second"+version, ssh(101))
	if got := string(must(e.RuleJSON(web, "allow-https"))); got != before {
		t.Errorf("the superseded update left %s", got)
	}
}

// When the write that overtook another fails in its turn, neither is left.
func TestSupersedingWriteFails(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Second})
	e.call(t, "PUT", web+"/securityRules/first"+version, ssh(100))
	e.FailOperationNext("rule.put", 1, "InternalServerError", "An error occurred.")
	e.call(t, "PUT", web+"/securityRules/second"+version, ssh(101))
	clock.Advance(time.Second)
	if got := e.RuleNames(web); !slices.Equal(got, []string{"allow-https", "deny-management"}) {
		t.Errorf("%v", got)
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Rule != "deny-management" {
		t.Errorf("%+v", a)
	}
}

func TestWholeGroupIsSupersededToo(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Second})
	resp, _ := e.call(t, "PUT", web+version, map[string]any{"location": "westeurope"})
	first := resp.Header.Get("Azure-AsyncOperation")
	e.call(t, "PUT", web+"/securityRules/second"+version, ssh(100))
	if s, _ := status(t, e, first); s != "Canceled" {
		t.Errorf("the NSG PUT is %s", s)
	}
	if got := e.RuleNames(web); !slices.Equal(got, []string{"allow-https", "deny-management", "second"}) {
		t.Errorf("%v", got)
	}
}

func TestOrderedEnds(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	e.SupersedeNext("rule.put", 1)
	poller, err := e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "mine", ssh(100), nil)
	_, err = done(ctx, poller, err)
	wantCode(t, err, 200, "Canceled")
	if slices.Contains(e.RuleNames(web), "mine") {
		t.Error("a superseded rule survived")
	}
	poller, err = e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "mine", ssh(100), nil)
	if _, err = done(ctx, poller, err); err != nil {
		t.Fatalf("only one was ordered: %v", err)
	}
	e.SupersedeNext("rule.delete", 1)
	gone, err := e.rules.BeginDelete(ctx, rg, "nsg-web01", "mine", nil)
	_, err = done(ctx, gone, err)
	wantCode(t, err, 200, "Canceled")
	if !slices.Contains(e.RuleNames(web), "mine") {
		t.Error("a superseded delete deleted")
	}
	e.FailOperationNext("nsg.put", 1, "InternalServerError", "An error occurred.")
	resp, _ := e.call(t, "PUT", web+version, map[string]any{"location": "westeurope"})
	if s, out := status(t, e, resp.Header.Get("Azure-AsyncOperation")); s != "Failed" || errorCode(out) != "InternalServerError" {
		t.Errorf("%s %v", s, out)
	}
	if len(e.RuleNames(web)) != 3 {
		t.Errorf("a failed NSG PUT left %v", e.RuleNames(web))
	}
	e.SupersedeNext("nsg.put", 1)
	e.call(t, "PUT", nsgs+"new"+version, map[string]any{"location": "westeurope"})
	if resp, _ := e.call(t, "GET", nsgs+"new"+version, nil); resp.StatusCode != 404 {
		t.Errorf("a superseded creation left an NSG: %d", resp.StatusCode)
	}
}

func TestBusy(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Second, Busy: arm.BusyRetryable})
	e.call(t, "PUT", web+"/securityRules/first"+version, ssh(100))
	for _, c := range []struct {
		busy   arm.Busy
		method string
		path   string
		status int
		code   string
	}{
		{arm.BusyRetryable, "PUT", web + "/securityRules/second", 429, "RetryableError"},
		{arm.BusyConflict, "PUT", web + "/securityRules/second", 409, "AnotherOperationInProgress"},
		{arm.BusyConflict, "DELETE", web + "/securityRules/allow-https", 409, "AnotherOperationInProgress"},
		{arm.BusySupersede, "DELETE", web + "/securityRules/allow-https", 429, "RetryableError"},
		{arm.BusySupersede, "DELETE", web + "/securityRules/first", 429, "RetryableError"},
	} {
		e.SetBusy(c.busy)
		resp, out := e.call(t, c.method, c.path+version, ssh(101))
		if resp.StatusCode != c.status || errorCode(out) != c.code {
			t.Errorf("%v %s: %d %s, want %d %s", c.busy, c.method, resp.StatusCode, errorCode(out), c.status, c.code)
		}
	}
	if resp, _ := e.call(t, "PUT", nsgs+"nsg-open01/securityRules/other"+version, ssh(100)); resp.StatusCode != 201 {
		t.Errorf("another NSG was locked as well: %d", resp.StatusCode)
	}
	clock.Advance(time.Second)
	if got := e.RuleNames(web); !slices.Equal(got, []string{"allow-https", "deny-management", "first"}) {
		t.Errorf("refused writes left %v", got)
	}
}

// An edit by hand while an operation is in flight survives both its ends.
func TestEditDuringOperation(t *testing.T) {
	for _, end := range []string{"success", "cancel"} {
		clock := clockwork.NewFakeClock()
		e := start(t, arm.Options{Clock: clock, Latency: time.Second})
		if end == "cancel" {
			e.SupersedeNext("", 1)
		}
		e.call(t, "PUT", web+"/securityRules/mine"+version, ssh(100))
		if err := e.DeleteRule(web, "deny-management"); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
		want := []string{"allow-https"}
		if end == "success" {
			want = append(want, "mine")
		}
		if got := e.RuleNames(web); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", end, got, want)
		}
		if a := probe(t, e, "web01", "203.0.113.200", 3389); a.Rule != "DenyAllInBound" {
			t.Errorf("%s: the data plane kept the removed rule: %+v", end, a)
		}
	}
}

func TestSetLatency(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock})
	e.SetLatency(time.Hour)
	e.call(t, "DELETE", scope+"/providers/Microsoft.Compute/virtualMachines/web01"+version, nil)
	resp, out := e.call(t, "GET", scope+"/providers/Microsoft.Compute/virtualMachines/web01"+version, nil)
	if resp.StatusCode != 200 || out["properties"].(map[string]any)["provisioningState"] != "Deleting" {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
	if resp, _ := e.call(t, "DELETE", scope+"/providers/Microsoft.Compute/virtualMachines/web01"+version, nil); resp.StatusCode != 409 {
		t.Errorf("a second delete: %d", resp.StatusCode)
	}
	clock.Advance(time.Hour)
	if resp, _ := e.call(t, "GET", scope+"/providers/Microsoft.Compute/virtualMachines/web01"+version, nil); resp.StatusCode != 404 {
		t.Errorf("after the delete: %d", resp.StatusCode)
	}
}
