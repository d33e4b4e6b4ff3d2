package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
)

// at is the demo policy at a scope, with tags as "name=value".
func at(t interface{ Fatal(...any) }, version int, scope string, tags ...string) Policy {
	d := demoDocument()
	if err := d.Scope.UnmarshalText([]byte(scope)); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		name, value, _ := strings.Cut(tag, "=")
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		d.Tags[name] = value
	}
	return New(d, version)
}

func TestNearest(t *testing.T) {
	tags := map[string]string{"Env": "prod", "tier": "1"}
	for _, c := range []struct {
		what string
		set  Set
		want int // version
	}{
		{"all four", Set{at(t, 1, "tenant"), at(t, 2, subscription), at(t, 3, group), at(t, 4, machine)}, 4},
		{"group before subscription", Set{at(t, 1, group), at(t, 2, subscription), at(t, 3, "tenant")}, 1},
		{"subscription before tenant", Set{at(t, 1, "tenant"), at(t, 2, subscription)}, 2},
		{"tenant alone", Set{at(t, 1, "tenant")}, 1},
		{"in other letters", Set{at(t, 1, strings.ToUpper(group))}, 1},
		{"tags that match before none", Set{at(t, 1, group), at(t, 2, group, "ENV=prod")}, 2},
		{"more tags before fewer", Set{at(t, 1, group, "env=prod", "Tier=1"), at(t, 2, group, "env=prod")}, 1},
		{"tags that do not match", Set{at(t, 1, group), at(t, 2, group, "env=test"), at(t, 3, group, "other=prod")}, 1},
		{"one of two tags", Set{at(t, 1, group), at(t, 2, group, "env=prod", "tier=2")}, 1},
		{"a nearer scope before tags", Set{at(t, 1, group, "env=prod"), at(t, 2, machine)}, 2},
	} {
		for range 2 {
			got, refusals := c.set.Nearest(armid.MustParse(machine), tags)
			if got.Version != c.want || len(refusals) > 0 {
				t.Errorf("%s: version %d, %v", c.what, got.Version, refusals)
			}
			slices.Reverse(c.set)
		}
	}
}

func TestNoNearest(t *testing.T) {
	guardrail := at(t, 9, subscription)
	guardrail.Enforced = true
	for _, c := range []struct {
		what string
		set  Set
		want []Refusal
	}{
		{"none", nil, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"only elsewhere", Set{at(t, 1, subscription+"/resourceGroups/other"), at(t, 1, machine+"2")}, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"nowhere", Set{New(Document{Ports: demoDocument().Ports, Sources: demoDocument().Sources}, 1)}, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"only for tags it has not", Set{at(t, 1, group, "env=prod")}, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"a guardrail that allows everything asked", Set{guardrail}, []Refusal{NoPolicy(armid.MustParse(machine))}},
		{"two alike", Set{at(t, 2, group, "a=1"), at(t, 2, group, "b=1"), at(t, 3, subscription)}, []Refusal{{
			AmbiguousCode, "The policies for resource group rg-demo (b=1) and resource group rg-demo (a=1) cover VM vm-1 alike, and it is not clear which is meant; its owners must give one of them more tags.",
			group + " [b=1] version 2", "",
		}}},
	} {
		d := c.set.Decide(Question{Ask: demoAsk(), Tags: map[string]string{"a": "1", "b": "1"}})
		if diff := cmp.Diff(c.want, d.Refusals); diff != "" || d.Policy.Version != 0 || d.Longest != 0 || d.BreakGlass != nil {
			t.Errorf("%s: %+v %s", c.what, d, diff)
		}
	}
	if got := (Set{at(t, 1, "tenant")}).Decide(Question{}).Refusals; len(got) != 1 || got[0].Code != NoPolicyCode {
		t.Errorf("no machine at all: %v", got)
	}
	d := Set{guardrail}.Decide(Question{Ask: Ask{VM: armid.MustParse(machine)}})
	if len(d.Refusals) != 3 || d.Refusals[0].Code != NoPolicyCode || d.Refusals[1].Policy != guardrail.Ref() {
		t.Errorf("guardrails speak although no policy does: %v", d.Refusals)
	}
}

// TestNeedsTags: tags are asked of Azure where a document selects by them or a condition
// speaks of them, and nowhere else.
func TestNeedsTags(t *testing.T) {
	speaking, silent := at(t, 1, group), at(t, 1, group)
	speaking.Conditions = []Condition{{`request.duration < duration("2h") || !("env" in machine.tags)`, "x"}}
	silent.Conditions = []Condition{{`machine.name != "tags"`, "x"}}
	for _, c := range []struct {
		what string
		set  Set
		want bool
	}{
		{"none", nil, false},
		{"a plain policy", Set{at(t, 1, group)}, false},
		{"a condition about something else", Set{silent}, false},
		{"a condition about tags", Set{silent, speaking}, true},
		{"a selector", Set{at(t, 1, "tenant", "env=prod")}, true},
		{"a selector elsewhere", Set{at(t, 1, subscription+"/resourceGroups/other", "env=prod")}, false},
	} {
		if got := c.set.NeedsTags(armid.MustParse(machine)); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]string{}
	for _, d := range []Policy{
		at(t, 1, "tenant"), at(t, 1, subscription), at(t, 1, group), at(t, 1, machine),
		at(t, 1, group, "env=prod"), at(t, 1, group, "env=test"), at(t, 1, group, "env=prod", "a=b"), at(t, 1, "tenant", "env=prod"),
	} {
		for _, enforced := range []bool{false, true} {
			d.Enforced = enforced
			if other, twice := seen[d.Key()]; twice || len(d.Key()) != 64 {
				t.Errorf("%s and %s share %q", d.Ref(), other, d.Key())
			}
			seen[d.Key()] = d.Ref()
		}
	}
	if key := at(t, 1, group).Key(); key != armid.MustParse(group).Key() {
		t.Error("policies from before there were tags are found under another key")
	}
	a, b := at(t, 1, group, "Env=prod", "B=2"), at(t, 1, strings.ToUpper(group), "ENV=prod", "b=2")
	if a.Key() != b.Key() || !a.Equal(b.Document) || a.Digest() != b.Digest() {
		t.Error("the case of a scope and of names of tags counts")
	}
	if a.Key() == at(t, 1, group, "Env=Prod", "B=2").Key() {
		t.Error("the case of a tag's value does not count")
	}
	if got, want := a.Name(), "resource group rg-demo (B=2, Env=prod)"; got != want {
		t.Errorf("%q", got)
	}
}

// TestGuardrailsOnlyTighten: whatever a guardrail says and wherever it stands,
// nothing passes with it that did not pass without it, nobody approves or breaks
// the glass who could not before, and nothing lasts longer.
func TestGuardrailsOnlyTighten(t *testing.T) {
	verdicts := map[Verdict]int{}
	tightened := 0
	rapid.Check(t, func(t *rapid.T) {
		var set Set
		for _, d := range rapid.SliceOfN(rapid.Custom(drawDocument), 1, 3).Draw(t, "set") {
			d.Scope = rapid.SampledFrom([]Scope{Tenant, ScopeOf(armid.MustParse(group)), ScopeOf(armid.MustParse(machine))}).Draw(t, "scope of it")
			if rapid.IntRange(0, 3).Draw(t, "strict") > 0 { // so that something passes, too
				d = Document{Scope: d.Scope, Ports: []Port{{22, TCP}, {3389, TCP}}, Sources: everybody, MaxDuration: Duration(MaxDuration), Approval: d.Approval, BreakGlass: d.BreakGlass}
			}
			set = append(set, New(d, 1))
		}
		guardrail := drawDocument(t)
		guardrail.Enforced = true
		for range 10 {
			tighten(t, set, guardrail, drawQuestion(t), func(before, after Verdict) {
				verdicts[before]++
				if before != after {
					tightened++
				}
			})
		}
	})
	if verdicts[Allow] == 0 || verdicts[Deny] == 0 || verdicts[NeedsApproval] == 0 || tightened == 0 {
		t.Errorf("not everything was tried: %v, %d tightened", verdicts, tightened)
	}
}

func tighten(t *rapid.T, set Set, guardrail Document, q Question, saw func(before, after Verdict)) {
	before, after := set.Decide(q), append(slices.Clone(set), New(guardrail, 2)).Decide(q)
	saw(before.Verdict(), after.Verdict())
	strictness := map[Verdict]int{Allow: 0, NeedsApproval: 1, Deny: 2}
	if strictness[after.Verdict()] < strictness[before.Verdict()] {
		t.Fatalf("%s became %s", before.Verdict(), after.Verdict())
	}
	if after.Policy.Ref() != before.Policy.Ref() {
		t.Fatalf("%s became the nearest", after.Policy.Ref())
	}
	if after.Extensions > before.Extensions {
		t.Fatalf("%d extensions became %d", before.Extensions, after.Extensions)
	}
	if after.Longest > before.Longest {
		t.Fatalf("%v became %v", before.Longest, after.Longest)
	}
	if after.BreakGlass != nil && (before.BreakGlass == nil || after.BreakGlass.ReviewWithin > before.BreakGlass.ReviewWithin) && before.Verdict() == Deny {
		t.Fatalf("%+v became %+v", before.BreakGlass, after.BreakGlass)
	}
	if a, b := before.Approval, after.Approval; a != nil {
		who := drawQuestion(t).Requester
		if b == nil || b.Quorum < a.Quorum || b.Within > a.Within || b.Accepts(who) && !a.Accepts(who) {
			t.Fatalf("%+v became %+v", a, b)
		}
	}
	for _, r := range before.Refusals {
		// How many have to agree, and who is named, is another matter with the guardrail.
		still := slices.ContainsFunc(after.Refusals, func(a Refusal) bool { return a == r || a.Code == NoApprover && r.Code == NoApprover })
		if !still {
			t.Fatalf("%v is not refused any more", r)
		}
	}
	for _, r := range after.Refusals {
		if r.Sentence == "" || r.Policy == "" && r.Code != NoPolicyCode {
			t.Fatalf("a refusal that says little: %+v", r)
		}
	}
}

// TestLongestPasses: what Longest promises is kept, and nothing longer would be.
func TestLongestPasses(t *testing.T) {
	some := 0
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuestion(t)
		q.Ports, q.Source = []Port{{22, TCP}}, demoAsk().Source
		d := drawDocument(t)
		d.Scope, d.Tags, d.Enforced, d.Ports, d.Sources, d.Requesters, d.Justification = Tenant, nil, false, q.Ports, everybody, nil, nil
		set := Set{New(d, 1)}
		longest := set.Decide(q).Longest
		if longest > 0 {
			some++
			q.Duration = longest
			if got := set.Decide(q).Refusals; len(got) > 0 {
				t.Fatalf("%v is promised and refused: %v", longest, got)
			}
		}
		const asking = 2 * time.Minute // what a window leaves is promised less this at most
		for d := MaxDuration; d > max(longest, MinDuration)+asking; d -= 5 * time.Minute {
			q.Duration = d
			if got := set.Decide(q).Refusals; len(got) == 0 {
				t.Fatalf("%v is promised and %v passes", longest, d)
			}
		}
	})
	if some == 0 {
		t.Error("nothing was ever promised")
	}
}
