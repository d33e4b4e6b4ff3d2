package arm_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

var yes, no = to.Ptr(true), to.Ptr(false)

// flushed is the group's JSON with FlushConnection as given and all else as it was.
func flushed(text string, on bool) string {
	if on {
		return strings.Replace(text, `"flushConnection":false`, `"flushConnection":true`, 1)
	}
	return strings.Replace(text, `"flushConnection":true`, `"flushConnection":false`, 1)
}

// opening is a plan for one rule of ours for each number.
func opening(t tb, e *estate, numbers ...int) nsg.Plan {
	t.Helper()
	g, err := e.Group(e.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return nsg.MakePlan(g, nsg.Desired{Open: wants(numbers...)}, nsg.DefaultBands)
}

func TestFlushIsOneWriteOfTheGroup(t *testing.T) {
	e := peculiar(t, local.Options{})
	e.must(t, 0)
	was := e.json(t)
	for _, on := range []*bool{yes, no, yes} {
		e.ResetCounts()
		e.wire.reset()
		got := e.apply(t, nsg.Plan{Flush: on})
		if diff := cmp.Diff(flushed(was, *on), e.json(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]int{"nsg.put": 1}, e.writeCounts()); diff != "" {
			t.Error(diff)
		}
		if w := e.wire.writes(); len(w) != 1 || w[0].ifMatch == "" {
			t.Errorf("sent %d writes", len(w))
		}
		if got.Writes != 1 || got.Group.FlushConnection != *on || len(got.Refused) > 0 {
			t.Errorf("outcome: %d writes, %v after, refused %v", got.Writes, got.Group.FlushConnection, got.Refused)
		}
		if got := e.apply(t, nsg.Plan{Flush: on}); got.Writes != 0 {
			t.Errorf("asking again took %d writes", got.Writes)
		}
	}
}

func TestFlushGoesWithRules(t *testing.T) {
	for _, numbers := range [][]int{{0}, {0, 1, 2}} {
		e := start(t, local.Options{})
		before := e.foreign(t)
		plan := opening(t, e, numbers...)
		if plan.Flush = yes; len(numbers) > 1 {
			plan.Delete = []string{"out"}
			delete(before, "out")
		}
		e.ResetCounts()
		got := e.apply(t, plan)
		e.holds(t, numbers...)
		if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]int{"nsg.put": 1}, e.writeCounts()); diff != "" || !got.Group.FlushConnection {
			t.Error(diff)
		}
		// A write of rules that says nothing about it leaves it alone.
		e.must(t, 7, 8)
		if g, err := e.Group(e.ctx, id); err != nil || !g.FlushConnection {
			t.Errorf("it was lost: %v", err)
		}
	}
}

func TestFlushInTrouble(t *testing.T) {
	whole := func(fault local.Fault, times int) func(*estate) {
		return func(e *estate) { e.FailNext("nsg.put", times, fault) }
	}
	for name, test := range map[string]struct {
		order      func(*estate)
		set        bool
		refused    bool
		err        error
		mostWrites int
	}{
		"may not write groups": {order: whole(local.Fault{Status: 403, Code: "AuthorizationFailed"}, 99), refused: true, mostWrites: 4},
		"a lock":               {order: whole(local.Fault{Status: 409, Code: "ScopeLocked"}, 99), refused: true, mostWrites: 4},
		"a region without it":  {order: whole(local.Fault{Status: 400, Code: "FeatureNotAvailable"}, 99), refused: true, mostWrites: 4},
		"lost once":            {order: whole(local.Fault{Status: 412, Code: "PreconditionFailed"}, 1), set: true, mostWrites: 2},
		"busy, then well":      {order: whole(local.Fault{Status: 409, Code: "AnotherOperationInProgress"}, 4), set: true, mostWrites: 7},
		"always lost":          {order: whole(local.Fault{Status: 412, Code: "PreconditionFailed"}, 99), err: access.ErrUnavailable, mostWrites: 12},
		"always 500":           {order: whole(local.Fault{Status: 500}, 99), err: access.ErrUnavailable, mostWrites: 12},
		"failed at first":      {order: func(e *estate) { e.FailOperationNext("nsg.put", 1, "InternalServerError", "") }, set: true, mostWrites: 4},
		"fails for good":       {order: func(e *estate) { e.FailOperationNext("nsg.put", 99, "InternalServerError", "") }, refused: true, mostWrites: 6},
		"superseded":           {order: func(e *estate) { e.SupersedeNext("nsg.put", 1) }, set: true, mostWrites: 2},
		"no ETag": {order: func(e *estate) {
			e.wire.rewrite = func(r *http.Request, body []byte) []byte { return edit(body, func(g object) { delete(g, "etag") }) }
		}, refused: true, mostWrites: 2},
		"taken and not kept": {order: func(e *estate) {
			e.wire.rewrite = func(r *http.Request, body []byte) []byte {
				if !strings.HasSuffix(r.URL.Path, "/nsg-a") {
					return body
				}
				return edit(body, func(g object) { delete(g["properties"].(object), "flushConnection") })
			}
		}, set: true, refused: true, mostWrites: 2},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			before := e.foreign(t)
			plan := opening(t, e, 0, 1)
			plan.Flush = yes
			test.order(e)
			got, err := e.Match(e.ctx, id, once(plan))
			if !errors.Is(err, test.err) {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			e.holds(t, 0, 1) // whatever becomes of the flush, the rules come first
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
			if on := strings.Contains(e.json(t), `"flushConnection":true`); on != test.set {
				t.Errorf("set: %v, want %v", on, test.set)
			}
			if err := got.Refused[""]; test.refused != errors.Is(err, access.ErrForbidden) || test.refused != (len(got.Refused) == 1) {
				t.Errorf("refused %v", got.Refused)
			}
			if counts := e.writeCounts(); got.Writes > test.mostWrites {
				t.Errorf("%d writes: %v", got.Writes, counts)
			}
		})
	}
}

// TestPoisonedRuleDoesNotKeepFlushFromHappening: the whole is refused for a rule's
// sake, which is not the flush's fault.
func TestPoisonedRuleDoesNotKeepFlushFromHappening(t *testing.T) {
	e := start(t, local.Options{})
	plan := opening(t, e, 0, 1)
	plan.Flush = yes
	plan.Put[1].DestinationPorts = []string{"not a port"}
	got := e.apply(t, plan)
	e.holds(t, 0)
	if len(got.Refused) != 1 || got.Refused[name(1)] == nil || !got.Group.FlushConnection {
		t.Errorf("refused %v, flush %v", got.Refused, got.Group.FlushConnection)
	}
}

// TestSecondWriter lets somebody replace all rules while we restore two verbatim
// and set the flush; theirs stay, ours come.
func TestSecondWriter(t *testing.T) {
	e := peculiar(t, local.Options{})
	g, err := e.Group(e.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	plan := nsg.Plan{Put: []nsg.Rule{rule(t, g, "newer"), rule(t, g, "allow-https")}, Flush: yes}
	e.apply(t, nsg.Plan{Delete: []string{"newer", "allow-https"}})
	times := 0
	e.SetHooks(func(op local.Op) *local.Fault {
		if op.Kind == "nsg.put" && times < 2 {
			times++
			if err := e.ReplaceRules(nsgID, foreignRules()[2:2+times]); err != nil {
				t.Error(err)
			}
		}
		return nil
	}, nil)
	if got := e.apply(t, plan); !got.Group.FlushConnection || got.Writes != 3 || len(got.Refused) > 0 {
		t.Errorf("flush %v after %d writes, refused %v", got.Group.FlushConnection, got.Writes, got.Refused)
	}
	after, err := e.Group(e.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(plan.Put, rule(t, g, "allow-asg"), rule(t, g, "out")) {
		if diff := cmp.Diff(p, rule(t, after, p.Name)); diff != "" {
			t.Error(diff)
		}
	}
	if len(after.Rules) != 4 {
		t.Errorf("%d rules", len(after.Rules))
	}
}
