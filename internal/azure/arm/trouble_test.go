package arm_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

func TestPoisonedPutDoesNotKeepRemovalsFromHappening(t *testing.T) {
	poison := want(5)
	for name, test := range map[string]func(*estate){
		"400": func(e *estate) {
			bad := func(op local.Op) bool {
				return op.Kind == "nsg.put" || op.Kind == "rule.put" && strings.HasSuffix(op.ID, poison.Name)
			}
			e.SetHooks(func(op local.Op) *local.Fault {
				if bad(op) {
					return &local.Fault{Status: 400, Code: "SecurityRuleInvalidAddressPrefix", Message: "no"}
				}
				return nil
			}, nil)
		},
		"the operation fails": func(e *estate) {
			e.SetHooks(func(op local.Op) *local.Fault {
				if op.Kind == "nsg.put" || op.Kind == "rule.put" && strings.HasSuffix(op.ID, poison.Name) {
					e.FailOperationNext(op.Kind, 1, "InternalServerError", "no")
				}
				return nil
			}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			e.must(t, 0, 1, 2)
			before := e.foreign(t)
			test(e)
			e.wire.reset()
			got, err := e.match(append(wants(2, 6), poison)...)
			if err != nil {
				t.Fatal(err)
			}
			e.holds(t, 2, 6)
			refused := got.Refused[poison.Name]
			if len(got.Refused) != 1 || !errors.Is(refused, access.ErrForbidden) || !strings.Contains(refused.Error(), ": no") {
				t.Errorf("refused %v", got.Refused)
			}
			if strings.Contains(refused.Error(), "\n") {
				t.Errorf("the error does not fit on a line: %q", refused)
			}
			var methods []string
			for _, s := range e.wire.writes() {
				methods = append(methods, s.method)
			}
			if i := slices.Index(methods, "DELETE"); i != 1 {
				t.Errorf("removals must come right after the refused whole: %v", methods)
			}
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedForGood(t *testing.T) {
	deny := func(status int, code string, kinds ...string) func(local.Op) *local.Fault {
		return func(op local.Op) *local.Fault {
			if slices.Contains(kinds, op.Kind) {
				return &local.Fault{Status: status, Code: code}
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		before     func(local.Op) *local.Fault
		want       []int
		holds      []int
		refused    []int
		mostWrites int
	}{
		"a lock on everything":       {deny(403, "AuthorizationFailed", "nsg.put", "rule.put", "rule.delete"), []int{1, 2}, []int{0, 1}, []int{0, 2}, 3},
		"a lock as Azure reports it": {deny(409, "ScopeLocked", "nsg.put", "rule.put", "rule.delete"), []int{1, 2}, []int{0, 1}, []int{0, 2}, 3},
		"no removal":                 {deny(409, "ScopeLocked", "rule.delete"), []int{1}, []int{0, 1}, []int{0}, 1},
		// Rule 0 keeps its priority, which the plan gives to rule 2.
		"a new rule in the place of one that cannot go": {deny(409, "ScopeLocked", "nsg.put", "rule.delete"), []int{1, 2}, []int{0, 1}, []int{0, 2}, 5},
		"a token nobody accepts":                        {deny(401, "InvalidAuthenticationToken", "rule.put"), []int{0, 1, 2}, []int{0, 1}, []int{2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			e.must(t, 0, 1)
			e.SetHooks(test.before, nil)
			got, err := e.match(wants(test.want...)...)
			if err != nil {
				t.Fatal(err)
			}
			e.holds(t, test.holds...)
			var refused []string
			for n, err := range got.Refused {
				refused = append(refused, n)
				if !errors.Is(err, access.ErrForbidden) {
					t.Errorf("%s: %v", n, err)
				}
			}
			slices.Sort(refused)
			if diff := cmp.Diff(names(test.refused...), refused); diff != "" {
				t.Error(diff)
			}
			if got.Writes > test.mostWrites {
				t.Errorf("%d writes, want at most %d", got.Writes, test.mostWrites)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		order func(*estate)
		want  error
		not   error
	}{
		"writes fail":     {func(e *estate) { e.FailNext("rule.put", 99, local.Fault{Status: 500}) }, access.ErrUnavailable, access.ErrForbidden},
		"nothing answers": {func(e *estate) { e.FailNext("", 99, local.Fault{Drop: true}) }, access.ErrUnavailable, access.ErrNotFound},
		"reads fail":      {func(e *estate) { e.FailNext("nsg.get", 99, local.Fault{Status: 503}) }, access.ErrUnavailable, access.ErrNotFound},
		"always busy": {func(e *estate) {
			e.FailNext("rule.put", 999, local.Fault{Status: 409, Code: "AnotherOperationInProgress"})
		}, access.ErrUnavailable, access.ErrForbidden},
		"asked to wait too long": {func(e *estate) { e.FailNext("rule.put", 1, local.Fault{Status: 429, RetryAfter: 2 * time.Minute}) }, access.ErrUnavailable, nil},
		"may not read":           {func(e *estate) { e.FailNext("nsg.get", 1, local.Fault{Status: 403, Code: "AuthorizationFailed"}) }, access.ErrForbidden, access.ErrUnavailable},
		"an unknown subscription is not gone": {func(e *estate) { e.FailNext("nsg.get", 1, local.Fault{Status: 404, Code: "SubscriptionNotFound"}) },
			access.ErrForbidden, access.ErrNotFound},
		"a 404 that does not speak of the NSG": {func(e *estate) { e.FailNext("nsg.get", 1, local.Fault{Status: 404, Code: "InvalidResourceType"}) },
			access.ErrUnavailable, access.ErrNotFound},
		"somebody undoes our changes": {func(e *estate) {
			e.SetHooks(func(op local.Op) *local.Fault {
				if op.Kind == "nsg.get" {
					_ = e.DeleteRule(nsgID, name0)
				}
				return nil
			}, nil)
		}, access.ErrUnavailable, access.ErrForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			test.order(e)
			_, err := e.match(want(0))
			if !errors.Is(err, test.want) || test.not != nil && errors.Is(err, test.not) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if n := e.Counts()["rule.put"]; n > 24 {
				t.Errorf("%d writes before it gave up", n)
			}
		})
	}
}

const name0 = "jitgate-" + wantID + "-0"

func TestGroupGone(t *testing.T) {
	e := start(t, local.Options{})
	for _, missing := range []string{
		nsgID + "-x", strings.Replace(nsgID, "rg-test", "rg-other", 1),
	} {
		_, err := e.Match(e.ctx, armid.MustParse(missing), func(nsg.Group) nsg.Plan { t.Error("planned"); return nsg.Plan{} })
		if !errors.Is(err, access.ErrNotFound) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	// It goes between reading and writing.
	e.FailNext("rule.put", 1, local.Fault{Status: 404, Code: "ParentResourceNotFound"})
	reads := 0
	e.SetHooks(func(op local.Op) *local.Fault {
		if op.Kind != "nsg.get" {
			return nil
		}
		if reads++; reads == 1 {
			return nil
		}
		return &local.Fault{Status: 404, Code: "ResourceNotFound"}
	}, nil)
	if _, err := e.match(want(0)); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("gone on the way: %v", err)
	}
}

func TestOutageAfterRemovals(t *testing.T) {
	e := start(t, local.Options{})
	e.must(t, 0, 1)
	e.FailNext("nsg.put", 99, local.Fault{Status: 500})
	e.FailNext("rule.put", 99, local.Fault{Status: 500})
	if _, err := e.match(wants(2, 3)...); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	e.holds(t) // the old ones are closed all the same
}

func TestStopsWithItsContext(t *testing.T) {
	e := start(t, local.Options{})
	ctx, cancel := context.WithCancel(e.ctx)
	e.SetHooks(func(op local.Op) *local.Fault {
		if op.Kind == "rule.put" {
			cancel()
		}
		return nil
	}, nil)
	_, err := e.Match(ctx, id, func(g nsg.Group) nsg.Plan { return nsg.MakePlan(g, nsg.Desired{Open: wants(0)}, nsg.DefaultBands) })
	if !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestHonoursRetryAfter(t *testing.T) {
	e := start(t, local.Options{})
	e.FailNext("rule.put", 1, local.Fault{Status: 429, Code: "RetryableError", RetryAfter: 40 * time.Second})
	began := e.clock.Now()
	// The SDK would sleep on the real clock; without its retries the wait is ours.
	ctx := policy.WithRetryOptions(e.ctx, policy.RetryOptions{MaxRetries: -1})
	if _, err := e.Match(ctx, id, func(g nsg.Group) nsg.Plan { return nsg.MakePlan(g, nsg.Desired{Open: wants(0)}, nsg.DefaultBands) }); err != nil {
		t.Fatal(err)
	}
	if waited := e.clock.Since(began); waited < 40*time.Second {
		t.Errorf("waited %s", waited)
	}
}
