package arm_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

// newer has members that this SDK has never heard of, and text that encoders like
// to rewrite.
const newer = `{"access":"Allow","direction":"Inbound","priority":3000,"protocol":"Tcp","sourceAddressPrefix":"10.0.0.0/8",
	"sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"80",
	"logging":{"level":"full","weights":[1,2.50,1e3,12345678901234567890],"provisioningState":"mine"},"description":"newer than <us> & \"you\" é "}`

// peculiar is an estate with such a rule among the foreign ones.
func peculiar(t tb, o local.Options) *estate {
	t.Helper()
	e := start(t, o)
	if err := e.PutRuleJSON(nsgID, "newer", []byte(newer)); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *estate) json(t tb) string {
	t.Helper()
	text, err := e.GroupJSON(nsgID)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// once carries out a plan until each of its parts is done.
func once(plan nsg.Plan) func(nsg.Group) nsg.Plan {
	return func(g nsg.Group) nsg.Plan {
		var left nsg.Plan
		for _, name := range plan.Delete {
			if slices.ContainsFunc(g.Rules, func(r nsg.Rule) bool { return r.Name == name }) {
				left.Delete = append(left.Delete, name)
			}
		}
		for _, p := range plan.Put {
			if !slices.ContainsFunc(g.Rules, func(r nsg.Rule) bool {
				return r.Name == p.Name && r.Priority == p.Priority && r.SameMeaning(p)
			}) {
				left.Put = append(left.Put, p)
			}
		}
		if plan.Flush != nil && *plan.Flush != g.FlushConnection {
			left.Flush = plan.Flush
		}
		return left
	}
}

func (e *estate) apply(t tb, plan nsg.Plan) access.Outcome {
	t.Helper()
	got, err := e.Match(e.ctx, id, once(plan))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func rule(t tb, g nsg.Group, name string) nsg.Rule {
	t.Helper()
	i := slices.IndexFunc(g.Rules, func(r nsg.Rule) bool { return r.Name == name })
	if i < 0 {
		t.Fatalf("no rule %s in %s", name, g.ID)
	}
	return g.Rules[i]
}

func TestGroup(t *testing.T) {
	e := peculiar(t, local.Options{})
	e.apply(t, nsg.Plan{Flush: yes})
	got, err := e.Group(e.ctx, armid.MustParse(strings.ToUpper(nsgID)))
	if err != nil {
		t.Fatal(err)
	}
	var attached []string
	for _, id := range append(got.Interfaces, got.Subnets...) {
		attached = append(attached, id[strings.LastIndex(id, "/")+1:])
	}
	slices.Sort(attached)
	if diff := cmp.Diff([]string{"guarded", "same-nic"}, attached); diff != "" {
		t.Error(diff)
	}
	if got.ID != nsgID || !got.FlushConnection || len(got.Rules) != len(foreignRules())+1 || len(got.Defaults) != 6 {
		t.Errorf("got %+v", got)
	}
	// The stand-in writes "<" that way; what came is what is kept.
	const want = `{"access":"Allow","description":"newer than \u003cus\u003e \u0026 \"you\" é ","destinationAddressPrefix":"*","destinationPortRange":"80","direction":"Inbound",` +
		`"logging":{"level":"full","provisioningState":"mine","weights":[1,2.50,1e3,12345678901234567890]},"priority":3000,"protocol":"Tcp","sourceAddressPrefix":"10.0.0.0/8","sourcePortRange":"*"}`
	kept := string(rule(t, got, "newer").Verbatim)
	// Azure returns plural fields as empty lists where they are not used.
	for _, field := range []string{"sourceAddressPrefixes", "sourcePortRanges", "destinationAddressPrefixes", "destinationPortRanges"} {
		kept = strings.Replace(kept, `"`+field+`":[],`, "", 1)
	}
	if diff := cmp.Diff(want, strings.Replace(kept, `,"sourcePortRanges":[]`, "", 1)); diff != "" {
		t.Error(diff)
	}
	for _, r := range got.Rules {
		if len(r.Verbatim) == 0 || strings.Contains(string(r.Verbatim), "Succeeded") {
			t.Errorf("%s is kept as %s", r.Name, r.Verbatim)
		}
	}
}

func TestGroupFails(t *testing.T) {
	for _, test := range []struct {
		fault local.Fault
		want  error
	}{
		{local.Fault{Status: 404, Code: "ResourceNotFound"}, access.ErrNotFound},
		{local.Fault{Status: 404, Code: "SubscriptionNotFound"}, access.ErrForbidden},
		{local.Fault{Status: 403, Code: "AuthorizationFailed"}, access.ErrForbidden},
		{local.Fault{Status: 429, Code: "TooManyRequests"}, access.ErrUnavailable},
		{local.Fault{Status: 500}, access.ErrUnavailable},
	} {
		e := start(t, local.Options{})
		e.FailNext("nsg.get", 4, test.fault)
		if _, err := e.Group(e.ctx, id); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test.fault, err)
		}
	}
	e := start(t, local.Options{})
	for _, body := range []string{`{"id":"x"}`, `{"properties":{"securityRules":[{"name":"a","properties":[]}]}}`, `<html>`, ``} {
		e.wire.rewrite = func(*http.Request, []byte) []byte { return []byte(body) }
		if _, err := e.Group(e.ctx, id); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// TestRestoredVerbatim takes rules away and puts them back: nothing of the group
// may differ afterwards, in the words of a server that keeps what it does not know.
func TestRestoredVerbatim(t *testing.T) {
	all := func(g nsg.Group) []string {
		var out []string
		for _, r := range g.Rules {
			out = append(out, r.Name)
		}
		return out
	}
	some := func(names ...string) func(nsg.Group) []string { return func(nsg.Group) []string { return names } }
	for name, test := range map[string]struct {
		pick  func(nsg.Group) []string
		kinds map[string]int
	}{
		"one":                {some("newer"), map[string]int{"rule.delete": 1, "rule.put": 1}},
		"one with ASGs":      {some("allow-asg"), map[string]int{"rule.delete": 1, "rule.put": 1}},
		"several":            {some("newer", "deny-management", "out"), map[string]int{"nsg.put": 2}},
		"all, one at a time": {all, map[string]int{"nsg.put": 1, "rule.put": 5}},
	} {
		t.Run(name, func(t *testing.T) {
			e := peculiar(t, local.Options{})
			want := e.json(t)
			g, err := e.Group(e.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			e.ResetCounts()
			plan := nsg.Plan{Delete: test.pick(g)}
			if got := e.apply(t, plan); len(got.Refused) > 0 {
				t.Fatal(got.Refused)
			}
			for _, n := range plan.Delete {
				if slices.Contains(e.RuleNames(nsgID), n) {
					t.Fatalf("%s is still there", n)
				}
			}
			back := nsg.Plan{}
			for _, n := range plan.Delete {
				back.Put = append(back.Put, rule(t, g, n))
			}
			if name == "all, one at a time" {
				for _, r := range back.Put {
					e.apply(t, nsg.Plan{Put: []nsg.Rule{r}})
				}
			} else {
				e.apply(t, back)
			}
			if diff := cmp.Diff(want, e.json(t)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.kinds, e.writeCounts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRestoredElsewhere: only the number differs when the old one is taken.
func TestRestoredElsewhere(t *testing.T) {
	for _, others := range [][]string{nil, {"out", "deny-management"}} {
		e := peculiar(t, local.Options{})
		before := e.json(t)
		g, err := e.Group(e.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		r := rule(t, g, "newer")
		plan := nsg.Plan{Put: []nsg.Rule{r}}
		plan.Put[0].Priority = 3001
		for _, n := range others { // as they stand, only to have several
			plan.Put = append(plan.Put, rule(t, g, n))
		}
		e.apply(t, nsg.Plan{Delete: append([]string{"newer"}, others...)})
		e.apply(t, plan)
		if diff := cmp.Diff(strings.Replace(before, `"priority":3000`, `"priority":3001`, 1), e.json(t)); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(string(r.Verbatim), `"priority":3000`) {
			t.Error("the caller's rule was changed")
		}
	}
}

// TestSpoiltVerbatim: a record that cannot be read refuses its own rule and no other.
func TestSpoiltVerbatim(t *testing.T) {
	for _, text := range []string{"", "null", "[]", "{", `"x"`} {
		for _, n := range []int{0, 2} {
			e := start(t, local.Options{})
			before := e.foreign(t)
			spoilt := nsg.Rule{Name: "spoilt", Priority: 4000, Direction: nsg.Inbound, Verbatim: []byte(text)}
			plan := nsg.Plan{Put: []nsg.Rule{spoilt}}
			for i, w := range wants(upTo(n)...) {
				plan.Put = append(plan.Put, nsg.Rule{Name: w.Name, Priority: 200 + i, Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP,
					Sources: []string{"*"}, SourcePorts: []string{"*"}, Destinations: []string{"10.0.1.4"}, DestinationPorts: []string{"22"}})
			}
			got := e.apply(t, plan)
			e.holds(t, upTo(n)...)
			if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
				t.Error(diff)
			}
			if err := got.Refused["spoilt"]; len(got.Refused) != 1 || !errors.Is(err, access.ErrForbidden) || strings.Contains(err.Error(), "%!") {
				t.Errorf("%q: refused %v", text, got.Refused)
			}
		}
	}
}

// TestForeignDeleteRefused: a lock keeps a foreign rule, and a rule of ours that
// needs its priority, from their places; the rest goes through and nothing loops.
func TestForeignDeleteRefused(t *testing.T) {
	e := start(t, local.Options{})
	e.SetHooks(func(op local.Op) *local.Fault {
		if op.Kind == "nsg.put" || op.Kind == "rule.delete" {
			return &local.Fault{Status: 409, Code: "ScopeLocked"}
		}
		return nil
	}, nil)
	before := e.foreign(t)
	mine := func(n, priority int) nsg.Rule {
		return nsg.Rule{Name: name(n), Priority: priority, Direction: nsg.Inbound, Access: nsg.Allow, Protocol: nsg.TCP,
			Sources: []string{"*"}, SourcePorts: []string{"*"}, Destinations: []string{"10.0.1.4"}, DestinationPorts: []string{"22"}}
	}
	got := e.apply(t, nsg.Plan{Delete: []string{"deny-management", "allow-https"}, Put: []nsg.Rule{mine(0, 1000), mine(1, 1001)}, Flush: yes})
	e.holds(t, 1)
	if diff := cmp.Diff(before, e.foreign(t)); diff != "" {
		t.Error(diff)
	}
	var refused []string
	for n, err := range got.Refused {
		refused = append(refused, n)
		if !errors.Is(err, access.ErrForbidden) {
			t.Errorf("%s: %v", n, err)
		}
	}
	slices.Sort(refused)
	if diff := cmp.Diff([]string{"", "allow-https", "deny-management", name(0)}, refused); diff != "" {
		t.Error(diff)
	}
	// The whole; two deletes and two puts; the one in doubt once more; the flush.
	if got.Writes != 7 {
		t.Errorf("%d writes", got.Writes)
	}
}
