package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestConditions(t *testing.T) {
	q := fullQuestion(t)
	q.Requester.Roles, q.Requester.Groups, q.Requester.Tenant = []string{"Jit.Oncall"}, []string{groupA}, fabrikam
	q.Ports = []Port{{22, TCP}, {3389, AnyProtocol}}
	for expression, want := range map[string]string{
		`request.ports.exists(p, p.port == 22 && p.protocol == "TCP") && size(request.ports) == 2`:     "true",
		`request.ports.all(p, p.protocol == "TCP")`:                                                    "false",
		`request.source == "203.0.113.7/32"`:                                                           "true",
		`request.duration > duration("59m") && request.duration < duration("61m")`:                     "true",
		`request.justification.matches("^INC-[0-9]+ ")`:                                                "true",
		`requester.object == "` + alice + `" && requester.name == "alice" && !requester.application`:   "true",
		`requester.tenant == "` + fabrikam + `"`:                                                       "true",
		`"Jit.Oncall" in requester.roles && "` + groupA + `" in requester.groups`:                      "true",
		`machine.name == "vm-1" && machine.resourceGroup == "rg-demo"`:                                 "true",
		`machine.subscription == "00000000-0000-0000-0000-000000000001"`:                               "true",
		`machine.id.endsWith("/virtualMachines/vm-1")`:                                                 "true",
		`machine.tags["env"] == "prod" && machine.tags["ENV"] == "prod" && machine.tags.Env == "prod"`: "true",
		`"eNv" in machine.tags && has(machine.tags.OWNER) && !has(machine.tags.other)`:                 "true",
		`machine.tags.exists(name, name == "owner")`:                                                   "true",
		`time == timestamp("2026-03-10T09:00:00Z") && time.getHours() == 9`:                            "true",
		`time.getHours("Europe/Berlin") == 10 && time.getDayOfWeek() == 2`:                             "true",
		`machine.tags["other"] == ""`:                                                                  "no such key: other",
		`int(machine.name) == 1`:                                                                       "type conversion error from 'string' to 'int'",
		`requester.roles[5] == ""`:                                                                     "index out of bounds: 5",
		`1 / (size(request.ports) - 2) == 0`:                                                           "division by zero",
		`dyn(request.name) == 1 || true`:                                                               "its expression cannot be read",
	} {
		ok, err := Condition{Expression: expression}.holds(q.facts())
		got := fmt.Sprint(ok)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

// TestUnnamedGroupsProveNothing: whoever is in more groups than a token names is not
// taken for somebody who is in none.
func TestUnnamedGroupsProveNothing(t *testing.T) {
	const unnamed = "your token does not name your groups, because there are more than 200 of them"
	q := fullQuestion(t)
	q.Requester.Roles, q.Requester.Groups, q.Requester.GroupsIncomplete = []string{"Jit.Senior"}, nil, true
	for expression, want := range map[string]string{
		`!("` + groupA + `" in requester.groups)`:                                    unnamed,
		`"` + groupA + `" in requester.groups`:                                       unnamed,
		`requester.groups.all(g, g != "` + groupA + `")`:                             unnamed,
		`size(requester.groups) == 0 || machine.tags["other"] == ""`:                 unnamed,
		`requester.groups == []`:                                                     unnamed,
		`"Jit.Senior" in requester.roles || "` + groupA + `" in requester.groups`:    "true",
		`"` + groupA + `" in requester.groups || "Jit.Senior" in requester.roles`:    "true",
		`"` + groupA + `" in requester.groups && !("Jit.Senior" in requester.roles)`: "false",
		`machine.tags["other"] == ""`:                                                "no such key: other",
	} {
		ok, err := Condition{Expression: expression}.holds(q.facts())
		got := fmt.Sprint(ok)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}

	d := demoDocument()
	d.Requesters = &Requesters{Principals: Principals{Groups: []string{groupA}}}
	d.Conditions = []Condition{{`!("` + groupA + `" in requester.groups)`, "Not for group A."}}
	q.Ask = demoAsk()
	got := (Set{New(d, 1)}).Decide(q).Refusals
	if len(got) != 2 || got[0].Code != RequesterNotAllowed || !strings.HasSuffix(got[0].Sentence, "you are none of these. Your token does not name your groups, because there are more than 200 of them; an app role would count.") ||
		got[1].Code != ConditionFailed || !strings.Contains(got[1].Sentence, unnamed+". It reads: Not for group A.") {
		t.Errorf("%+v", got)
	}
	if (Approval{Approvers: []Principals{d.Requesters.Principals}}).Accepts(q.Requester) {
		t.Error("an approver whose groups are not known is among them")
	}
}

// TestCostLimit: what can be told to be costly is refused when it is read, and
// what turns out costly is refused access.
func TestCostLimit(t *testing.T) {
	for _, expression := range []string{
		`requester.groups.all(a, requester.groups.exists(b, a == b))`,
		`request.justification.matches(request.justification + request.justification + request.justification)`,
	} {
		var bad exprError
		if _, err := compile(expression); !errors.As(err, &bad) || !strings.Contains(bad.what, "more work than the 20000 steps") {
			t.Errorf("%s: %v", expression, err)
		}
	}
	q := fullQuestion(t)
	for range 10_000 {
		q.Requester.Groups = append(q.Requester.Groups, fmt.Sprint(rand.Uint64()))
	}
	c := Condition{Expression: `requester.groups.all(g, g != "x" && g != "y")`, Message: "No group x or y."}
	if ok, err := c.holds(q.facts()); ok || err == nil || err.Error() != "it takes more work than the 20000 steps a condition may" {
		t.Errorf("%v, %v", ok, err)
	}
	d := demoDocument()
	d.Conditions = []Condition{c}
	q.Ask = demoAsk()
	got := (Set{New(d, 1)}).Decide(q)
	if len(got.Refusals) != 1 || got.Refusals[0].Code != ConditionFailed || got.Longest != 0 ||
		got.Refusals[0].Sentence != "A condition of the policy for resource group rg-demo cannot be judged for this ask: it takes more work than the 20000 steps a condition may. It reads: No group x or y." {
		t.Errorf("%+v", got)
	}
}

func TestErrorsOfConditionsCanBeShown(t *testing.T) {
	q := fullQuestion(t)
	q.Requester.Name = "\x1b[2Jmallory\n" + strings.Repeat("x", 1000)
	_, err := Condition{Expression: "machine.tags[requester.name] == ''"}.holds(q.facts())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len([]rune(err.Error())) > 120 {
		t.Errorf("%q", err)
	}
}

func TestProgramsAreKeptWithinBounds(t *testing.T) {
	for i := range 1100 {
		if _, err := programFor(fmt.Sprintf("%d == %d", i, i)); err != nil {
			t.Fatal(err)
		}
	}
	programs.lock.Lock()
	defer programs.lock.Unlock()
	if n := len(programs.made); n == 0 || n > 1000 {
		t.Errorf("%d programs", n)
	}
}

func FuzzCondition(f *testing.F) {
	for _, expression := range []string{
		`request.duration <= duration("1h") || "x" in requester.groups`, `machine.tags["env"] == "prod"`, `request.ports.map(p, p.port)[0] > 1`,
		`[1, 2].exists_one(x, x > 1) ? true : false`, `"a" + b'\x00'`, `((((`, `port{port: 1}.port == 1`, "true // comment\n", `has(machine.tags.x) && timestamp("x") == time`, `{1: 2}[1] == 2u`,
		`type(time) == google.protobuf.Timestamp`, `optional.of(1).hasValue()`, `"é" < "\u00e9"`,
	} {
		f.Add(expression)
	}
	q := fullQuestion(f)
	f.Fuzz(func(t *testing.T, expression string) {
		data := Document{APIVersion: APIVersion, Scope: Tenant, Ports: demoDocument().Ports, Sources: demoDocument().Sources,
			MaxDuration: Duration(time.Hour), Conditions: []Condition{{Expression: expression, Message: "No."}}}.YAML()
		d, err := Parse(data)
		if err != nil {
			return
		}
		start := time.Now()
		set := Set{New(d, 1)}
		decision := set.Decide(q)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%q took %v", expression, took)
		}
		for _, r := range decision.Refusals {
			if r.Sentence == "" {
				t.Errorf("%+v", r)
			}
		}
		if again := set.Decide(q); len(again.Refusals) != len(decision.Refusals) || again.Longest != decision.Longest {
			t.Errorf("%q has another outcome the second time", expression)
		}
		Lint(set)
	})
}
