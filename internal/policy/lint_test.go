package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLint(t *testing.T) {
	base := strings.Replace(demo, "maxDuration: PT3H\n", "", 1)
	guardrail := "apiVersion: jitgate/v1\nscope: tenant\nenforced: true\n"
	here := "The policy for resource group rg-demo"
	window := func(zone, from, to string) string {
		return "windows: [{zone: " + zone + ", from: '" + from + "', to: '" + to + "'}]\n"
	}
	for _, c := range []struct {
		what      string
		documents []string
		want      []string // code: sentence
	}{
		{"nothing", nil, nil},
		{"the demo", []string{demo}, nil},
		{"everything", []string{full}, nil},
		{"a range in another", []string{strings.Replace(base, "198.51.100.7", "203.0.113.64/26\n    widest: 32", 1)}, []string{"redundant_source: Source 203.0.113.64/26 of the policy for resource group rg-demo adds nothing to 203.0.113.0/24; take one of them out."}},
		{"a range in another, but wider asks", []string{strings.Replace(base, "198.51.100.7", "203.0.113.64/26", 1)}, nil},

		{"a window too short for anything", []string{base + window("UTC", "07:00", "07:04")}, []string{"never_passes: " + here + " allows access every day 07:00–07:04 UTC, which never leaves the 5m (PT5M) that access lasts at least."}},
		{"a window too short for the default", []string{base + window("UTC", "23:00", "01:00")}, []string{"default_too_long: An ask that names no duration gets 3h (PT3H), and the longest that the policy for resource group rg-demo leaves is 2h (PT2H); set defaultDuration."}},
		{"a window that overlaps another and fits", []string{base + "windows: [{zone: UTC, from: '08:00', to: '10:00'}, {zone: UTC, from: '09:00', to: '17:00'}]\n"}, nil},
		{"maintenance that fits", []string{base + window("UTC", "23:00", "01:00") + "maintenance: [{from: 2030-03-07T20:00:00Z, to: 2030-03-08T04:00:00Z}]\n"}, nil},

		{"too few approvers", []string{base + "approval: {quorum: 2, approvers: {users: [" + alice + "]}}\n"}, []string{"quorum_out_of_reach: " + here + " wants 2 approvers and names 1."}},
		{"too few besides oneself", []string{base + "requesters: {users: [" + alice + ", " + runner + "]}\napproval: {approvers: {users: [" + alice + "]}}\n"}, []string{"quorum_out_of_reach: " + here + " lets user " + alice + " ask, who may not approve that, and then only 0 of 1 approvers are left."}},
		{"enough besides oneself", []string{base + "requesters: {users: [" + alice + ", " + bob + "]}\napproval: {approvers: {users: [" + alice + ", " + bob + "]}}\n"}, nil},
		{"the same group", []string{base + "requesters: {groups: [" + groupA + "]}\napproval: {approvers: {groups: [" + groupA + "]}}\n"}, []string{"approvers_are_requesters: " + here + " has the same people ask and approve; if only one of them is there, nobody can."}},

		{"conditions that say nothing", []string{base + "conditions: [{expression: 1 == 1, message: x}, {expression: 'false && request.duration > duration(\"1s\")', message: x}]\n"}, []string{
			`constant_condition: The condition "1 == 1" of the policy for resource group rg-demo is true for every ask; take it out.`,
			`never_passes: The condition "false && request.duration > duration(\"1s\")" of the policy for resource group rg-demo is true for no ask.`,
		}},
		{"nothing to break", []string{base + "justification: {required: true}\nbreakGlass: {requesters: {roles: [x]}}\n"}, []string{"idle_break_glass: " + here + " has breakGlass but nothing that it would overrule: no approval, times, conditions, requesters or pattern."}},

		{"twice the same", []string{base, base}, []string{"same_key: There are two documents for resource group rg-demo; only one of them can be in force."}},
		{"tags that can meet", []string{base + "tags: {a: x}\n", base + "tags: {b: y}\n"}, []string{"ambiguous_tags: A machine can have the tags of the policy for resource group rg-demo (a=x) and of the policy for resource group rg-demo (b=y), and then every ask is refused; give one of them more tags."}},
		{"tags that cannot meet", []string{base + "tags: {a: x}\n", base + "tags: {A: y}\n"}, nil},
		{"tags that can meet, with a third", []string{base + "tags: {a: x}\n", base + "tags: {b: y}\n", base + "tags: {a: x, b: y}\n"}, nil},
		{"tags of a guardrail", []string{base + "tags: {a: x}\n", strings.Replace(guardrail, "tenant", group, 1) + "tags: {b: y}\nmaxDuration: PT4H\n"}, nil},

		{"a guardrail over nothing", []string{base, strings.Replace(guardrail, "tenant", subscription+"/resourceGroups/other", 1) + "maxDuration: PT4H\n"}, []string{"idle_guardrail: The guardrail for resource group other bears on nothing: there is no policy for its machines."}},
		{"a guardrail for other tags", []string{base + "tags: {env: test}\n", guardrail + "tags: {env: prod}\nmaxDuration: PT4H\n"}, []string{"idle_guardrail: The guardrail for the tenant (env=prod) bears on nothing: there is no policy for its machines."}},
		{"a guardrail for a part", []string{base, strings.Replace(guardrail, "tenant", machine, 1) + "maxDuration: PT4H\n"}, nil},
		{"other ports", []string{base, guardrail + "ports: [{port: 22, protocol: UDP}]\n"}, []string{"never_passes: " + here + " and the guardrail for the tenant have no port in common; where both apply, every ask is refused."}},
		{"a part of the ports", []string{base, guardrail + "ports: [{port: 53, protocol: UDP}]\n"}, nil},
		{"any protocol", []string{base, guardrail + "ports: [{port: 22, protocol: '*'}]\n"}, nil},
		{"other sources", []string{base, guardrail + "sources: [{range: 10.0.0.0/8}]\n"}, []string{"never_passes: " + here + " and the guardrail for the tenant have no source in common; where both apply, every ask is refused."}},
		{"other times", []string{base + window("Europe/Berlin", "07:00", "19:00"), guardrail + window("Europe/Berlin", "18:57", "08:00")}, nil},
		{"no common times", []string{base + window("Europe/Berlin", "07:00", "19:00"), guardrail + window("UTC", "17:00", "05:00")}, []string{"never_passes: " + here + " and the guardrail for the tenant have no times in common; where both apply, every ask is refused."}},
		{"hardly common times", []string{base + window("UTC", "07:00", "19:00"), guardrail + window("UTC", "18:57", "07:03")}, []string{"never_passes: " + here + " and the guardrail for the tenant have no times in common; where both apply, every ask is refused."}},
		{"just common times", []string{base + window("UTC", "07:00", "19:00"), guardrail + window("UTC", "18:55", "06:00")}, nil},
		{"other requesters", []string{base + "requesters: {users: [" + alice + "]}\n", guardrail + "requesters: {users: [" + bob + "]}\n"}, []string{"never_passes: " + here + " and the guardrail for the tenant have no requester in common; where both apply, every ask is refused."}},
		{"perhaps the same requesters", []string{base + "requesters: {users: [" + alice + "]}\n", guardrail + "requesters: {groups: [" + groupA + "]}\n"}, nil},
		{"a default over the guardrail", []string{base, guardrail + "maxDuration: PT1H\n"}, []string{"default_too_long: An ask that names no duration gets 3h (PT3H), and the guardrail for the tenant allows at most 1h (PT1H); set defaultDuration."}},
		{"approvers of both", []string{base + "approval: {approvers: {users: [" + alice + ", " + bob + "]}}\n", guardrail + "approval: {approvers: {users: [" + bob + "]}, quorum: 1}\n"}, nil},
		{"approvers of neither", []string{base + "approval: {approvers: {users: [" + alice + "]}}\n", guardrail + "approval: {approvers: {users: [" + bob + "]}}\n"}, []string{"quorum_out_of_reach: " + here + " and the guardrail for the tenant together want 1 approvers, and only 0 people are named by both."}},
		{"glass behind glass", []string{base + "approval: {}\nbreakGlass: {requesters: {roles: [x]}}\n", guardrail + "approval: {}\n"}, []string{"break_glass_blocked: Whoever breaks the glass under the policy for resource group rg-demo still has to meet the guardrail for the tenant, which has no breakGlass of its own."}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var set Set
			for _, text := range c.documents {
				set = append(set, New(parse(t, text), 1))
			}
			var got []string
			for _, f := range Lint(set) {
				got = append(got, f.Code+": "+f.Sentence)
				if !strings.HasSuffix(f.Policy, " version 1") {
					t.Errorf("about %q", f.Policy)
				}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLongestOpening holds the search by starts of windows against one by minutes.
func TestLongestOpening(t *testing.T) {
	a, b := demoDocument(), demoDocument()
	a.Windows = []Window{{"UTC", []string{"mon"}, "08:00", "10:00"}, {"Europe/Berlin", nil, "10:30", "17:00"}}
	b.Windows = []Window{{"America/New_York", nil, "05:00", "09:30"}}
	b.Maintenance = []Period{{reference.From.Add(30 * time.Hour), reference.From.Add(40 * time.Hour)}}
	var want time.Duration
	for at := reference.From; at.Before(reference.To); at = at.Add(time.Minute) {
		want = max(want, min(a.open(at), b.open(at)))
	}
	if got := longestOpening(a, b); got != want || want == 0 || want == noEnd {
		t.Errorf("%v, by minutes %v", got, want)
	}
}
