package arm_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

func TestOneChangeIsOneWriteOfThatRule(t *testing.T) {
	e := start(t, local.Options{})
	if got := e.must(t, 0); got.Writes != 1 {
		t.Errorf("opening took %d writes", got.Writes)
	}
	if diff := cmp.Diff(map[string]int{"rule.put": 1}, e.writeCounts()); diff != "" {
		t.Error(diff)
	}
	if got := e.must(t, 0); got.Writes != 0 {
		t.Errorf("matching again took %d writes", got.Writes)
	}
	e.ResetCounts()
	e.must(t)
	if diff := cmp.Diff(map[string]int{"rule.delete": 1}, e.writeCounts()); diff != "" {
		t.Error(diff)
	}
}

func TestBurstIsOneWriteOfTheGroup(t *testing.T) {
	e := start(t, local.Options{})
	e.must(t, 1000, 1001)
	before := e.foreign(t)
	e.ResetCounts()
	e.wire.reset()
	if got := e.must(t, upTo(50)...); got.Writes != 1 {
		t.Errorf("%d writes", got.Writes)
	}
	if diff := cmp.Diff(map[string]int{"nsg.put": 1}, e.writeCounts()); diff != "" {
		t.Error(diff)
	}
	writes := e.wire.writes()
	if len(writes) != 1 || writes[0].ifMatch == "" {
		t.Errorf("sent %d writes, If-Match %q", len(writes), writes[0].ifMatch)
	}
	for _, s := range e.wire.sent {
		if s.method == http.MethodGet && s.ifMatch != "" {
			t.Errorf("If-Match on GET %s", s.path)
		}
		if !strings.HasPrefix(s.agent, "jitgate ") {
			t.Errorf("user agent %q", s.agent)
		}
	}
	if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
		t.Error(diff)
	}
}

func TestOpensForPackets(t *testing.T) {
	e := start(t, local.Options{})
	packet := local.Packet{VM: "subnet-only", Source: want(0).Source.Addr().Next(), Port: 22, Protocol: "Tcp"}
	w := want(0)
	w.Destinations = nil
	located, err := e.Locate(e.ctx, armid.MustParse(scope+"Microsoft.Compute/virtualMachines/subnet-only"))
	if err != nil {
		t.Fatal(err)
	}
	w.Destinations = located.Interfaces[0].Addresses
	for _, step := range []struct {
		wants []nsg.Want
		want  string
	}{{nil, "Deny"}, {[]nsg.Want{w}, "Allow"}, {nil, "Deny"}} {
		if _, err := e.match(step.wants...); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Probe(packet); err != nil || got.Access != step.want {
			t.Errorf("with %d wants: %+v, %v", len(step.wants), got, err)
		}
	}
}

func TestForeignRulesComeThroughUntouched(t *testing.T) {
	e := start(t, local.Options{})
	// Members that this SDK has never heard of.
	if err := e.PutRuleJSON(nsgID, "newer", []byte(`{"access":"Allow","direction":"Inbound","priority":3000,"protocol":"Tcp",
		"sourceAddressPrefix":"10.0.0.0/8","sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"80",
		"logging":{"level":"full","weights":[1,2.50,1e3]},"description":"newer than <us>"}`)); err != nil {
		t.Fatal(err)
	}
	before, order := e.foreign(t), e.RuleNames(nsgID)
	for _, numbers := range [][]int{{0}, {0, 1, 2, 3}, {2, 3, 4, 5, 6}, {6}, upTo(60), {59, 58}, {}} {
		e.must(t, numbers...)
		if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
			t.Fatal(diff)
		}
	}
	if diff := cmp.Diff(order, e.RuleNames(nsgID)); diff != "" {
		t.Error("order of the foreign rules:", diff)
	}
}

// TestWholeGroupGoesBack compares what was sent with what was read.
func TestWholeGroupGoesBack(t *testing.T) {
	e := start(t, local.Options{})
	e.must(t, 7)
	e.wire.rewrite = func(r *http.Request, body []byte) []byte {
		if !strings.HasSuffix(r.URL.Path, "/nsg-a") || r.Method != http.MethodGet {
			return body
		}
		return edit(body, func(g map[string]any) {
			g["zones"] = []string{"1"}
			g["properties"].(map[string]any)["flushConnection"] = true
			g["properties"].(map[string]any)["somethingNew"] = map[string]any{"a": 1.25}
		})
	}
	e.wire.reset()
	e.must(t, 1, 2, 3)
	writes := e.wire.writes()
	if len(writes) != 1 {
		t.Fatalf("%d writes", len(writes))
	}
	edit(writes[0].body, func(g map[string]any) {
		p := g["properties"].(map[string]any)
		if diff := cmp.Diff(map[string]any{"owner": "net"}, g["tags"]); diff != "" {
			t.Error(diff)
		}
		if g["location"] != "westeurope" || p["flushConnection"] != true || len(g["zones"].([]any)) != 1 {
			t.Errorf("went back changed: %v", g)
		}
		if diff := cmp.Diff(map[string]any{"a": 1.25}, p["somethingNew"]); diff != "" {
			t.Error(diff)
		}
		if rules := p["securityRules"].([]any); len(rules) != len(foreignRules())+3 {
			t.Errorf("%d rules went back", len(rules))
		}
	})
}

func TestRecovers(t *testing.T) {
	for name, test := range map[string]struct {
		numbers []int // of wants; one makes a rule write, two a group write
		order   func(*estate)
	}{
		"group: 412": {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.put", 2, local.Fault{Status: 412, Code: "PreconditionFailed"}) }},
		"group: 409": {[]int{0, 1}, func(e *estate) {
			e.FailNext("nsg.put", 2, local.Fault{Status: 409, Code: "AnotherOperationInProgress"})
		}},
		"group: 429 beyond the SDK":  {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.put", 5, local.Fault{Status: 429, Code: "RetryableError"}) }},
		"group: superseded":          {[]int{0, 1}, func(e *estate) { e.SupersedeNext("nsg.put", 2) }},
		"group: operation retryable": {[]int{0, 1}, func(e *estate) { e.FailOperationNext("nsg.put", 1, "RetryableError", "") }},
		"group: operation failed":    {[]int{0, 1}, func(e *estate) { e.FailOperationNext("nsg.put", 1, "InternalServerError", "") }},
		"group: always lost":         {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.put", 99, local.Fault{Status: 412, Code: "PreconditionFailed"}) }},
		"group: always 500":          {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.put", 99, local.Fault{}) }},
		"group: not in the role":     {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.put", 99, local.Fault{Status: 403, Code: "AuthorizationFailed"}) }},
		"group: lost response": {[]int{0, 1}, func(e *estate) {
			dropped := false
			e.SetHooks(nil, func(op local.Op) *local.Fault {
				if op.Kind != "nsg.put" || dropped {
					return nil
				}
				dropped = true
				return &local.Fault{Drop: true}
			})
		}},
		"rule: 409": {[]int{0}, func(e *estate) {
			e.FailNext("rule.put", 2, local.Fault{Status: 409, Code: "ConflictingConcurrentWriteNotAllowed"})
		}},
		"rule: 429 beyond the SDK":        {[]int{0}, func(e *estate) { e.FailNext("rule.put", 9, local.Fault{Status: 429, Code: "RetryableError"}) }},
		"rule: superseded":                {[]int{0}, func(e *estate) { e.SupersedeNext("rule.put", 4) }},
		"rule: operation failed once":     {[]int{0}, func(e *estate) { e.FailOperationNext("rule.put", 1, "InternalServerError", "") }},
		"rule: 503 within the SDK's":      {[]int{0}, func(e *estate) { e.FailNext("rule.put", 3, local.Fault{Status: 503}) }},
		"rule: connection cut":            {[]int{0}, func(e *estate) { e.FailNext("rule.put", 2, local.Fault{Drop: true}) }},
		"rule: taken for gone by mistake": {[]int{0}, func(e *estate) { e.FailNext("rule.put", 1, local.Fault{Status: 404, Code: "ParentResourceNotFound"}) }},
		"poll: operation forgotten":       {[]int{0}, func(e *estate) { e.FailNext("operation.get", 1, local.Fault{Status: 404, Code: "OperationNotFound"}) }},
		"poll: throttled":                 {[]int{0, 1}, func(e *estate) { e.FailNext("operation.get", 6, local.Fault{Status: 429, Code: "TooManyRequests"}) }},
		"read: throttled beyond the SDK":  {[]int{0, 1}, func(e *estate) { e.FailNext("nsg.get", 6, local.Fault{Status: 429, Code: "TooManyRequests"}) }},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			e.must(t, 8, 9)
			before := e.foreign(t)
			test.order(e)
			e.must(t, test.numbers...)
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSupersededMayHaveSurvived: whether Azure keeps a cancelled write is not
// known; reading tells, and nothing is written twice.
func TestSupersededMayHaveSurvived(t *testing.T) {
	e := start(t, local.Options{SupersededSurvives: true})
	e.SupersedeNext("rule.put", 1)
	if got := e.must(t, 0); got.Writes != 1 {
		t.Errorf("%d writes", got.Writes)
	}
}

func TestWaitsForOthersToFinish(t *testing.T) {
	e := start(t, local.Options{})
	reads := 0
	e.wire.rewrite = func(r *http.Request, body []byte) []byte {
		if !strings.HasSuffix(r.URL.Path, "/nsg-a") || r.Method != http.MethodGet {
			return body
		}
		if reads++; reads > 2 {
			return body
		}
		return edit(body, func(g map[string]any) { g["properties"].(map[string]any)["provisioningState"] = "Updating" })
	}
	began := e.clock.Now()
	if got := e.must(t, 0, 1); got.Writes != 1 {
		t.Errorf("%d writes", got.Writes)
	}
	if reads < 4 || !e.clock.Now().After(began) {
		t.Errorf("%d reads in %s", reads, e.clock.Since(began))
	}
	reads = -99
	e.ResetCounts()
	if _, err := e.match(); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("an NSG that never comes to rest: %v", err)
	}
	if diff := cmp.Diff(map[string]int{}, e.writeCounts()); diff != "" {
		t.Error(diff)
	}
}

// TestPlansAnewAfterForeignChange lets somebody edit the NSG between our read and
// our write, as a plan for the old group would get it wrong.
func TestPlansAnewAfterForeignChange(t *testing.T) {
	for kind, numbers := range map[string][]int{"nsg.put": {0, 1}, "rule.put": {0}} {
		t.Run(kind, func(t *testing.T) {
			e := start(t, local.Options{})
			intruder := local.Rule{Name: "intruder", Priority: 100, Direction: "Inbound", Access: "Deny", Protocol: "*",
				SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "25"}
			var once bool
			e.SetHooks(func(op local.Op) *local.Fault {
				if op.Kind == kind && !once {
					once = true
					if err := e.PutRule(nsgID, intruder); err != nil {
						t.Error(err)
					}
				}
				return nil
			}, nil)
			plans := 0
			got, err := e.Match(e.ctx, id, func(g nsg.Group) nsg.Plan {
				plans++
				return nsg.MakePlan(g, nsg.Desired{Open: wants(numbers...)}, nsg.DefaultBands)
			})
			if err != nil {
				t.Fatal(err)
			}
			e.holds(t, numbers...)
			if _, there := e.foreign(t)["intruder"]; !there {
				t.Error("the other's rule is gone")
			}
			for _, r := range got.Group.Rules {
				if strings.HasPrefix(r.Name, nsg.Prefix) && r.Priority == 100 {
					t.Errorf("%s has the other's priority", r.Name)
				}
			}
			if plans != 3 || got.Writes != 2 {
				t.Errorf("%d plans and %d writes, want 3 and 2", plans, got.Writes)
			}
		})
	}
}

func TestFailedRuleIsWrittenAgain(t *testing.T) {
	for _, state := range []string{"Failed", "Canceled"} {
		t.Run(state, func(t *testing.T) {
			e := start(t, local.Options{})
			e.must(t, 0, 1)
			written := false
			e.wire.rewrite = func(r *http.Request, body []byte) []byte {
				written = written || r.Method == http.MethodPut
				if written || r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/nsg-a") {
					return body
				}
				return edit(body, func(g map[string]any) {
					for _, r := range g["properties"].(map[string]any)["securityRules"].([]any) {
						if r := r.(map[string]any); r["name"] == name(1) || r["name"] == "allow-https" {
							r["properties"].(map[string]any)["provisioningState"] = state
						}
					}
				})
			}
			before := e.foreign(t)
			e.wire.reset()
			e.must(t, 0, 1)
			writes := e.wire.writes()
			if len(writes) != 1 || !strings.HasSuffix(writes[0].path, name(1)) {
				t.Errorf("writes: %v", writes)
			}
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnplacedIsReported(t *testing.T) {
	e := start(t, local.Options{})
	got, err := e.Match(e.ctx, id, func(g nsg.Group) nsg.Plan {
		return nsg.MakePlan(g, nsg.Desired{Open: wants(0, 1, 2)}, nsg.Bands{Allow: nsg.Band{First: 100, Last: 102}, Deny: nsg.DefaultBands.Deny})
	})
	if err != nil {
		t.Fatal(err)
	}
	e.holds(t, 0, 1) // 101 is a foreign rule's
	if len(got.Unplaced) != 1 || got.Unplaced[0].Name != name(2) || got.Unplaced[0].Code != nsg.BandFull {
		t.Errorf("unplaced %v", got.Unplaced)
	}
}

// TestTwoWriters lets two of us loose on one NSG, which the sessions prevent in
// production, and others on other NSGs. All see the same wants, so all must end
// with them in place.
func TestTwoWriters(t *testing.T) {
	for name, busy := range map[string]local.Busy{"supersede": local.BusySupersede, "retryable": local.BusyRetryable, "conflict": local.BusyConflict} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{Busy: busy, Latency: 2 * time.Millisecond})
			before := e.foreign(t)
			other := armid.MustParse(strings.Replace(nsgID, "nsg-a", "nsg-b", 1))
			var group sync.WaitGroup
			for _, id := range []armid.ID{id, id, other} {
				group.Go(func() {
					for try := 0; ; try++ {
						_, err := e.Match(e.ctx, id, func(g nsg.Group) nsg.Plan {
							return nsg.MakePlan(g, nsg.Desired{Open: wants(upTo(4)...)}, nsg.DefaultBands)
						})
						if err == nil {
							return
						}
						if !errors.Is(err, access.ErrUnavailable) || try == 50 {
							t.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			e.holds(t, upTo(4)...)
			if n := len(e.RuleNames(other.String())); n != 4 {
				t.Errorf("%d rules in the other NSG", n)
			}
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	e := start(t, local.Options{Latency: 30 * time.Millisecond})
	if got := e.must(t, upTo(5)...); got.Writes != 1 {
		t.Errorf("%d writes", got.Writes)
	}
	if e.Counts()["operation.get"] < 2 {
		t.Error("nobody waited for the operation")
	}
}
