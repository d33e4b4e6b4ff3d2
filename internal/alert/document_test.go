package alert

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/policy"
	"jitgate/internal/strictyaml"
)

func TestFaultsAreNotEndless(t *testing.T) {
	for _, text := range []string{strings.Repeat("a: 1\n", 10000), "rules: [" + strings.Repeat("{},", 20000) + "]", "rules:\n" + strings.Repeat("- x\n", 15000)} {
		_, err := ParseRules([]byte(text))
		var faults strictyaml.Faults
		if !errors.As(err, &faults) || len(faults) > strictyaml.MaxFaults {
			t.Errorf("%.20s…: %d faults", text, len(faults))
		}
	}
	long := strings.Repeat("x", 10000)
	for _, text := range []string{long + ": 1", "apiVersion: " + long, "rules: [{name: a, when: {custom: {" + long + ": 1}}}]", "rules: [{name: a, when: {rule: ['*" + long + "']}}]"} {
		if _, err := ParseRules([]byte(text)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.30s…: %d characters", text, len(err.Error()))
		}
	}
}

func TestRulesReadTheSameInOtherWritings(t *testing.T) {
	all := cmp.AllowUnexported(Rules{}, rule{}, when{})
	want := parseRules(t, `apiVersion: jitgate/alerts/v1
rules:
  - name: a
    when: {severity: [0]}
    do: {revoke: true}
`)
	for what, text := range map[string]string{
		"JSON":            `{"apiVersion":"jitgate\/alerts/v1","rules":[{"name":"a","when":{"severity":[0]},"do":{"revoke":true}}]}`,
		"byte order mark": "\ufeffapiVersion: jitgate/alerts/v1\nrules: [{name: a, when: {severity: [0]}, do: {revoke: true}}]",
		"marks":           "---\napiVersion: jitgate/alerts/v1\nrules: [{name: a, when: {severity: [0]}, do: {revoke: true}}]\n...\n",
		"Windows":         "apiVersion: jitgate/alerts/v1\r\nrules:\r\n- name: a\r\n  when:\r\n    severity:\r\n    - 0\r\n  do:\r\n    revoke: true\r\n",
		"said out":        "# x\napiVersion: jitgate/alerts/v1\nrules: [{name: a, when: {severity: [0], condition: Fired}, do: {revoke: true}}]",
	} {
		if diff := cmp.Diff(want, parseRules(t, text), exactly, all); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
}

func TestRuleFaults(t *testing.T) {
	for _, c := range []struct {
		what, old, new string
		want           []string // "line:column path: part of the sentence"
	}{
		{"another version", "alerts/v1", "alerts/v2", []string{`2:13 apiVersion: apiVersion "jitgate/alerts/v2" is not known; write jitgate/alerts/v1.`}},
		{"no version", "apiVersion: jitgate/alerts/v1\n", "", []string{"2:1 apiVersion: apiVersion is missing."}},
		{"unknown key", "  - name: quarantine", "  - name: quarantine\n    then: x", []string{`8:5 rules[1].then: "then" is not known here; the keys are name, when, do, allow.`}},
		{"two unknown keys", "rule: [storm-*],", "rules: [x], sev: 1,", []string{
			`26:11 rules[4].when: when names nothing; write rule: ["*"] if every alert is meant.`,
			`26:12 rules[4].when.rules: "rules" is not known here; the keys are rule, severity, service, subscription, custom, condition, source.`,
			`26:24 rules[4].when.sev: "sev" is not known`}},
		{"key twice", "    do:\n      lockdown", "    do: {revoke: true}\n    do:\n      lockdown", []string{"12:5 rules[1].do: do is given twice; keep one of them."}},
		{"a rule that is none", "  - name: quarantine", "  - 7\n  - name: quarantine", []string{"7:5 rules[1]: rules[1] must be keys and values, not the number 7."}},
		{"a rule without value", "  - name: quarantine", "  - null\n  - name: quarantine", []string{"7:5 rules[1]: rules[1] has no value; it must be keys and values."}},

		{"no name", "name: quarantine\n    when", "when", []string{"7:5 rules[1].name: name is missing."}},
		{"name twice", "name: quarantine", "name: on call", []string{`13:11 rules[2].name: The name "on call" is given twice`}},
		{"empty name", "name: quarantine", `name: ""`, []string{"7:11 rules[1].name: A name has 1 to 64 printable characters."}},
		{"name over lines", "name: quarantine", `name: "a\nb"`, []string{"7:11 rules[1].name: A name has"}},
		{"name as number", "name: quarantine", "name: 7", []string{"7:11 rules[1].name: rules[1].name must be text, not the number 7."}},

		{"no when", "when: {rule: [storm-*], condition: Resolved}", "", []string{"25:5 rules[4].when: when is missing."}},
		{"when as word", "when: {rule: [storm-*], condition: Resolved}", "when: ever", []string{"26:11 rules[4].when: rules[4].when must be keys and values, not text."}},
		{"nothing named", "rule: [storm-*], ", "", []string{`26:11 rules[4].when: when names nothing`}},
		{"a condition left empty", "rule: [storm-*]", "rule: , severity: [1]", []string{"26:12 rules[4].when.rule: rules[4].when.rule has no value; it must be a list."}},
		{"a property left empty", "custom: {jit: isolate}", "custom: {jit: }", []string{"5:77 rules[0].when.custom.jit: rules[0].when.custom.jit has no value; it must be text."}},
		{"no property", "custom: {jit: isolate}", "custom: {}", []string{"5:76 rules[0].when.custom: rules[0].when.custom is empty"}},
		{"property as number", "custom: {jit: isolate}", "custom: {jit: 22}", []string{"5:82 rules[0].when.custom.jit: rules[0].when.custom.jit must be text, not the number 22."}},
		{"property twice", "custom: {jit: isolate}", "custom: {jit: isolate, jit: isolate}", []string{"5:91 rules[0].when.custom.jit: jit is given twice; keep one of them."}},
		{"property that cannot match", "custom: {jit: isolate}", `custom: {jit: "a\tb"}`, []string{"5:82 rules[0].when.custom.jit: Names and values are read up to 256"}},
		{"a list left empty", "severity: [0, 1]", "severity: []", []string{"5:22 rules[0].when.severity: rules[0].when.severity is empty; leave it out, or list something."}},
		{"null in a list", "severity: [0, 1]", "severity: [0, null]", []string{"5:26 rules[0].when.severity[1]: rules[0].when.severity[1] has no value; it must be a whole number in plain digits."}},
		{"severity alone", "severity: [0, 1]", "severity: 0", []string{"5:22 rules[0].when.severity: rules[0].when.severity must be a list, not the number 0."}},
		{"severity above", "severity: [0, 1]", "severity: [5]", []string{"5:23 rules[0].when.severity[0]: Severity 5 does not lie between 0"}},
		{"severity below", "severity: [0, 1]", "severity: [-1]", []string{"5:23 rules[0].when.severity[0]: Severity -1 does not lie between 0, the worst, and 4."}},
		{"severity as word", "severity: [0, 1]", "severity: [Sev0]", []string{"5:23 rules[0].when.severity[0]: rules[0].when.severity[0] must be a whole number"}},
		{"severity in quotes", "severity: [0, 1]", `severity: ["1"]`, []string{"5:23 rules[0].when.severity[0]: rules[0].when.severity[0] must be a whole number"}},
		{"severity octal", "severity: [0, 1]", "severity: [01]", []string{"5:23 rules[0].when.severity[0]: rules[0].when.severity[0] must be a whole number"}},
		{"empty service", "service: [ResourceHealth]", `service: [" "]`, []string{"14:35 rules[2].when.service[0]: A service is"}},
		{"star inside", "[storm-*]", `["*-storm"]`, []string{`26:19 rules[4].when.rule[0]: "*-storm" is no name or id of an alert rule; a * stands at the end only.`}},
		{"empty rule", "[storm-*]", `[""]`, []string{`26:19 rules[4].when.rule[0]: "" is no name`}},
		{"subscription as path", "subscription: [1", "subscription: [/subscriptions/1", []string{`10:22 rules[1].when.subscription[0]: "/subscriptions/11111111-2222-3333-4444-555555555555" is no id of a subscription; write the UUID alone.`}},
		{"another condition", "condition: Resolved", "condition: Activated", []string{`26:40 rules[4].when.condition: condition "Activated" is not known; write Fired or Resolved.`}},
		{"a source of odd letters", "[sentinel, Defender]", "[a b]", []string{`22:21 rules[3].when.source[0]: "a b" is no source`}},
		{"source and severity", "{source: [sentinel, Defender]}", "{source: [sentinel], severity: [1]}", []string{"22:11 rules[3].when: An alert with a source has no rule, severity, service, custom and condition; leave them out."}},

		{"no do", "    do: {revoke: true}\n", "", []string{"25:5 rules[4].do: do is missing."}},
		{"do nothing", "do: {revoke: true}", "do: {revoke: false}", []string{"27:9 rules[4].do: do says nothing; write revoke: true"}},
		{"do left empty", "do: {revoke: true}", "do:", []string{"27:5 rules[4].do: rules[4].do has no value; it must be keys and values."}},
		{"revoke in words", "do: {revoke: true}", "do: {revoke: yes}", []string{"27:18 rules[4].do.revoke: rules[4].do.revoke must be true or false, not text."}},
		{"revoke left empty", "do: {revoke: true}", "do: {revoke: }", []string{"27:10 rules[4].do.revoke: rules[4].do.revoke has no value; it must be true or false."}},
		{"lockdown without end", "lockdown: {for: PT4H}", "lockdown: {}", []string{"12:17 rules[1].do.lockdown: A lockdown says when it ends: either for, or untilResolved: true."}},
		{"lockdown with two ends", "lockdown: {for: PT4H}", "lockdown: {for: PT4H, untilResolved: true}", []string{"12:17 rules[1].do.lockdown: A lockdown says when it ends"}},
		{"lockdown until not resolved", "lockdown: {for: PT4H}", "lockdown: {untilResolved: false}", []string{"12:17 rules[1].do.lockdown: A lockdown says when it ends"}},
		{"lockdown until a word", "lockdown: {for: PT4H}", "lockdown: {untilResolved: yes}", []string{"12:33 rules[1].do.lockdown.untilResolved: rules[1].do.lockdown.untilResolved must be true or false, not text."}},
		{"lockdown short", "for: PT4H", "for: PT4M", []string{"12:23 rules[1].do.lockdown.for: for is 4m0s; it must lie between 5m0s and 720h0m0s."}},
		{"lockdown long", "for: PT4H", "for: P31D", []string{"12:23 rules[1].do.lockdown.for: for is 744h0m0s"}},
		{"lockdown in Go", "for: PT4H", "for: 4h", []string{`12:23 rules[1].do.lockdown.for: for "4h" is no duration in ISO 8601 form`}},
		{"lockdown as number", "for: PT4H", "for: 4", []string{"12:23 rules[1].do.lockdown.for: rules[1].do.lockdown.for must be text, not the number 4."}},
		{"until resolved when it is", "do: {revoke: true}", "do: {lockdown: {untilResolved: true}}", []string{"27:36 rules[4].do.lockdown.untilResolved: The alert is resolved already when this rule matches; write for."}},
		{"until resolved what never is", "service: [Platform,", `service: ["Activity Log - Security",`, []string{"6:50 rules[0].do.lockdown.untilResolved: Alerts of the activity log, resource health and service health are never resolved; write for."}},
		{"closing and easing", "      preapprove:\n", "      revoke: true\n      preapprove:\n", []string{"18:9 rules[2].do.preapprove: What closes access and what eases it do not go together"}},

		{"a group by name", "group: AAAAAAAA-1111-2222-3333-bbbbbbbbbbbb", "group: oncall", []string{`17:16 rules[2].do.preapprove.group: group "oncall" is no object id of a group.`}},
		{"a group in braces", "group: AAAAAAAA-1111-2222-3333-bbbbbbbbbbbb", `group: "{AAAAAAAA-1111-2222-3333-bbbbbbbbbbbb}"`, []string{`17:16 rules[2].do.preapprove.group: group "{`}},
		{"no group", "        group: AAAAAAAA-1111-2222-3333-bbbbbbbbbbbb\n", "", []string{"17:9 rules[2].do.preapprove.group: group is missing."}},
		{"within something else", "/resourceGroups/RG-prod-app", "/resourceGroups/rg/providers/Microsoft.Network/networkSecurityGroups/n", []string{"18:17 rules[2].do.preapprove.within: within \"/subscriptions/11111111-2222"}},
		{"within no id", "within: /subscriptions/11111111-2222-3333-4444-555555555555/", "within: x", []string{`18:17 rules[2].do.preapprove.within: within "xresourceGroups/RG-prod-app" is no id`}},
		{"pre-approved for long", "for: PT1H", "for: P2D", []string{"19:14 rules[2].do.preapprove.for: for is 48h0m0s; it must lie between 5m0s and 24h0m0s."}},
		{"pre-approved for no time", "        for: PT1H\n", "", []string{"17:9 rules[2].do.preapprove.for: for is missing."}},
		{"pre-approved ports left out", "        ports: [{port: 22, protocol: TCP}, {port: 53, protocol: \"*\"}]\n", "", []string{"17:9 rules[2].do.preapprove.ports: ports is missing."}},
		{"more ports than a request has", "{port: 53, protocol: \"*\"}", manyPorts(20), []string{"20:16 rules[2].do.preapprove.ports: 21 ports are listed; at most 20"}},
		{"port 0", "port: 53", "port: 0", []string{`20:44 rules[2].do.preapprove.ports[1]: 0/* is no port`}},
		{"port of no protocol", "port: 53, protocol: \"*\"", "port: 53", []string{"20:44 rules[2].do.preapprove.ports[1].protocol: protocol is missing."}},
		{"port of another protocol", "port: 53, protocol: \"*\"", "port: 53, protocol: ICMP", []string{"20:44 rules[2].do.preapprove.ports[1]: 53/ICMP is no port"}},
		{"port twice", "port: 53, protocol: \"*\"", "port: 22, protocol: tcp", []string{"20:44 rules[2].do.preapprove.ports[1]: Port 22/TCP is listed twice"}},

		{"allow left out", "    allow: [revoke, lockdown, preapprove]\n", "", []string{"21:5 rules[3].allow: allow is missing", "23:9 rules[3].do: do.preapprove is given, but allow does not list preapprove."}},
		{"allow for Azure Monitor", "when: {source: [sentinel, Defender]}", "when: {severity: [1]}", []string{"23:12 rules[3].allow: allow belongs to a rule with when.source"}},
		{"allow something else", "allow: [revoke,", "allow: [grant,", []string{`23:13 rules[3].allow[0]: "grant" is not known; write revoke, lockdown, unlock or preapprove.`}},
		{"allow a pre-approval of nothing", "    do: {preapprove: {group: aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb, within: /subscriptions/11111111-2222-3333-4444-555555555555, for: PT5M, ports: [{port: 22, protocol: TCP}]}}\n", "", []string{"21:5 rules[3].do: do is missing; say in do.preapprove what is pre-approved."}},
		{"do for our own body", "    do: {preapprove: {group: aaaa", "    do: {revoke: true, preapprove: {group: aaaa", []string{"24:9 rules[3].do: With when.source the alert says what is done", "24:36 rules[3].do.preapprove: What closes access"}},

		{"star without quotes", `["*"]`, `[*]`, []string{`14:20 : The document is no YAML or JSON: unexpected scalar value type. If * is meant as a value, write "*" in quotes.`}},
		{"anchor", "name: quarantine", "name: &a quarantine", []string{"7:11 rules[1].name: rules[1].name is an anchor or alias"}},
		{"tag", "name: quarantine", "name: !!str quarantine", []string{"7:11 rules[1].name: rules[1].name must be text, not a tagged value."}},
		{"merge key", "    when:\n", "    <<: {}\n    when:\n", []string{"8:5 rules[1]: A key is a plain word"}},
		{"no YAML", "do: {revoke: true}", "do: {revoke: true", []string{"27:9 : The document is no YAML or JSON"}},
		{"second document", "  - name: quarantine", "---\na: 1\n---\n  - name: quarantine", []string{"7:1 : A second document starts here"}},
		{"directive", "# what happens when something rings", "%YAML 1.2\n---", []string{"1:1 : Directives are not read"}},
		{"not UTF-8", "something rings", "\xff", []string{"1:21 : The document is not in UTF-8."}},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := strings.Replace(demoRules, c.old, c.new, 1)
			if text == demoRules {
				t.Fatal("nothing was replaced")
			}
			checkFaults(t, text, c.want)
		})
	}
}

func TestFaultsOfWholeTexts(t *testing.T) {
	for _, c := range []struct {
		what, text string
		want       []string
	}{
		{"nothing", "", []string{"1:1 : The document is empty."}},
		{"only a comment", "# soon\n", []string{"1:1 : The document is empty."}},
		{"a list", "\n- a\n", []string{"2:1 : The document must be keys and values, not a list."}},
		{"null", "null\n", []string{"1:1 : The document is empty."}},
		{"no keys", "{}", []string{"1:1 apiVersion: apiVersion is missing.", "1:1 rules: rules is missing."}},
		{"key that is no word", "1: 2", []string{"1:1 : A key is a plain word, one of apiVersion, rules.", "1:1 apiVersion: ", "1:1 rules: "}},
	} {
		t.Run(c.what, func(t *testing.T) { checkFaults(t, c.text, c.want) })
	}
}

func checkFaults(t *testing.T, text string, want []string) {
	t.Helper()
	rules, err := ParseRules([]byte(text))
	var faults strictyaml.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("no faults but %v, %v", rules, err)
	}
	if rules.rules != nil {
		t.Error("a faulty document comes out")
	}
	var got []string
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d:%d %s: %s", f.Line, f.Column, f.Path, f.Sentence))
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestNoRulesAreADocument(t *testing.T) {
	if rules := parseRules(t, "apiVersion: jitgate/alerts/v1\nrules: []\n"); len(rules.rules) != 0 {
		t.Errorf("%d rules", len(rules.rules))
	}
}

func TestManyRulesAreOneDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("apiVersion: jitgate/alerts/v1\nrules:\n")
	for i := range 500 {
		fmt.Fprintf(&b, "  - name: rule %d\n    when:\n      severity:\n        - 1\n    do: {revoke: true}\n", i)
	}
	if rules := parseRules(t, b.String()); len(rules.rules) != 500 {
		t.Errorf("%d rules", len(rules.rules))
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add(demoRules)
	f.Add(`{"apiVersion":"jitgate/alerts/v1","rules":[{"name":"a","when":{"source":["s"]},"allow":["unlock"]}]}`)
	f.Add("rules: [{when: {rule: null, custom: {1: 2}}, do: {lockdown: {for: 1e3}}}, null, - x]\n? a\n: b\n")
	f.Add("- - - ? : - \n\t'")
	alerts := []Alert{
		{Condition: Fired, Severity: 1, Rule: "r", Service: "Platform", Machines: vm(prodApp), Subscription: subscription},
		{Condition: Fired, Severity: -1, Machines: vm(prodApp), Asked: &Ask{Source: "s", Verb: Revoke}},
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules([]byte(text))
		if err != nil {
			var faults strictyaml.Faults
			if !errors.As(err, &faults) || len(faults) == 0 || len(faults) > 100 {
				t.Fatalf("an error without faults: %v", err)
			}
			for _, fault := range faults {
				if fault.Line < 1 || fault.Column < 1 || fault.Sentence == "" {
					t.Fatalf("a fault nowhere: %+v", fault)
				}
			}
			return
		}
		for _, r := range rules.rules {
			w := r.when
			if r.name == "" || len(w.rules)+len(w.severities)+len(w.services)+len(w.subscriptions)+len(w.sources)+len(w.custom) == 0 {
				t.Fatalf("a rule without name or condition: %+v", r)
			}
			if l := r.do.Lockdown; l != nil && (l.For == 0) == !l.UntilResolved {
				t.Fatalf("a lockdown without end: %+v", l)
			}
			if p := r.do.PreApproval; p != nil && (p.For < policy.MinDuration || p.For > policy.MaxDuration || len(p.Ports) == 0 || r.scope.IsZero() || len(p.Group) != 36) {
				t.Fatalf("a pre-approval of too much: %+v", p)
			}
		}
		for _, a := range alerts {
			rules.Match(a)
		}
	})
}

// manyPorts is part of a sequence.
func manyPorts(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("{port: %d, protocol: TCP}", 100+i))
	}
	return strings.Join(out, ", ")
}
