package alert

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

const demoRules = `# what happens when something rings
apiVersion: jitgate/alerts/v1
rules:
  - name: isolate on high severity
    when: {severity: [0, 1], service: [Platform, "Log Alerts V2"], custom: {jit: isolate}, condition: Fired}
    do: {revoke: true, lockdown: {untilResolved: true}}
  - name: quarantine
    when:
      rule: [/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-ops/*, ssh-auth-failures-by-host]
      subscription: [11111111-2222-3333-4444-555555555555]
    do:
      lockdown: {for: PT4H}
  - name: on call
    when: {rule: ["*"], service: [ResourceHealth]}
    do:
      preapprove:
        group: AAAAAAAA-1111-2222-3333-bbbbbbbbbbbb
        within: /subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/RG-prod-app
        for: PT1H
        ports: [{port: 22, protocol: TCP}, {port: 53, protocol: "*"}]
  - name: from sentinel
    when: {source: [sentinel, Defender]}
    allow: [revoke, lockdown, preapprove]
    do: {preapprove: {group: aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb, within: /subscriptions/11111111-2222-3333-4444-555555555555, for: PT5M, ports: [{port: 22, protocol: TCP}]}}
  - name: after the storm
    when: {rule: [storm-*], condition: Resolved}
    do: {revoke: true}
`

func parseRules(t testing.TB, text string) Rules {
	t.Helper()
	rules, err := ParseRules([]byte(text))
	if err != nil {
		t.Fatalf("%v\nin %s", err, text)
	}
	return rules
}

func TestMatch(t *testing.T) {
	rules := parseRules(t, demoRules)
	base := Alert{ID: "/a", Condition: Fired, Severity: UnknownSeverity, Machines: vm(prodApp)}
	alert := func(change func(*Alert)) Alert {
		a := base
		change(&a)
		return a
	}
	isolated := func(a *Alert) {
		a.Severity, a.Service, a.Custom = 1, "log alerts v2", map[string]string{"jit": "isolate", "x": "y"}
	}
	asked := func(verb Verb) Alert {
		return alert(func(a *Alert) {
			a.ID, a.Asked, a.Subscription = "sentinel:1", &Ask{Source: "Sentinel", Verb: verb}, subscription
		})
	}
	until := asked(Lockdown)
	until.Asked.Until = clock("2026-11-20T18:00:00Z")
	preApproval := func(d time.Duration, ports ...policy.Port) *PreApproval {
		return &PreApproval{Group: "aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb", For: d, Ports: ports}
	}
	ssh := policy.Port{Number: 22, Protocol: policy.TCP}
	dns := policy.Port{Number: 53, Protocol: policy.AnyProtocol}
	elsewhere := armid.MustParse(strings.Replace(prodApp, "rg-prod-app", "rg-other", 1))
	isolate := Action{Rule: "isolate on high severity", Machines: vm(prodApp), Revoke: true, Lockdown: &Lock{UntilResolved: true}}
	quarantine := Action{Rule: "quarantine", Machines: vm(prodApp), Lockdown: &Lock{For: 4 * time.Hour}}

	for _, c := range []struct {
		what  string
		alert Alert
		want  Action // none: nothing is to be done
	}{
		{"nothing fits", base, Action{}},
		{"all conditions", alert(isolated), isolate},
		{"another severity", alert(func(a *Alert) { isolated(a); a.Severity = 2 }), Action{}},
		{"no severity", alert(func(a *Alert) { isolated(a); a.Severity = UnknownSeverity }), Action{}},
		{"another service", alert(func(a *Alert) { isolated(a); a.Service = "Application Insights" }), Action{}},
		{"another value", alert(func(a *Alert) { isolated(a); a.Custom = map[string]string{"jit": "Isolate"} }), Action{}},
		{"another property", alert(func(a *Alert) { isolated(a); a.Custom = map[string]string{"JIT": "isolate"} }), Action{}},
		{"the test of the portal", alert(func(a *Alert) { isolated(a); a.Test = true }), Action{}},
		{"no machine", alert(func(a *Alert) { isolated(a); a.Machines = nil; a.Names = []string{"vm-app-01"} }), Action{}},

		{"rule by id", alert(func(a *Alert) {
			a.RuleID, a.Subscription = "/SUBSCRIPTIONS/11111111-2222-3333-4444-555555555555/resourcegroups/rg-ops/providers/x", subscription
		}), quarantine},
		{"rule by name", alert(func(a *Alert) { a.Rule, a.Subscription = "SSH-auth-failures-by-host", subscription }), quarantine},
		{"rule by the start of a name", alert(func(a *Alert) { a.Rule, a.Subscription = "ssh-auth-failures-by-host-2", subscription }), Action{}},
		{"rule by name of another subscription", alert(func(a *Alert) {
			a.Rule, a.Subscription = "ssh-auth-failures-by-host", "22222222-2222-3333-4444-555555555555"
		}), Action{}},
		{"rule by name of no subscription", alert(func(a *Alert) { a.Rule = "ssh-auth-failures-by-host" }), Action{}},
		{"the first of two", alert(func(a *Alert) { isolated(a); a.Rule, a.Subscription = "ssh-auth-failures-by-host", subscription }), isolate},

		{"pre-approval", alert(func(a *Alert) { a.Service = "Resource Health" }), Action{Rule: "on call", Machines: vm(prodApp), PreApproval: preApproval(time.Hour, ssh, dns)}},
		{"pre-approval within its scope", alert(func(a *Alert) {
			a.Service, a.Machines = "ResourceHealth", append([]armid.ID{elsewhere}, vm(bastion)...)
		}), Action{Rule: "on call", Machines: vm(bastion), PreApproval: preApproval(time.Hour, ssh, dns)}},
		{"pre-approval out of its scope", alert(func(a *Alert) { a.Service, a.Machines = "ResourceHealth", []armid.ID{elsewhere} }), Action{}},

		{"asked: revoke", asked(Revoke), Action{Rule: "from sentinel", Machines: vm(prodApp), Revoke: true}},
		{"asked: lockdown", asked(Lockdown), Action{Rule: "from sentinel", Machines: vm(prodApp), Lockdown: &Lock{UntilResolved: true}}},
		{"asked: lockdown until", until, Action{Rule: "from sentinel", Machines: vm(prodApp), Lockdown: &Lock{Until: clock("2026-11-20T18:00:00Z"), UntilResolved: true}}},
		{"asked: pre-approval", asked(PreApprove), Action{Rule: "from sentinel", Machines: vm(prodApp), PreApproval: preApproval(5*time.Minute, ssh)}},
		{"asked: not allowed", asked(Unlock), Action{}},
		{"asked by another", alert(func(a *Alert) { a.Asked = &Ask{Source: "splunk", Verb: Revoke} }), Action{}},
		{"asked under a name of Azure Monitor's", alert(func(a *Alert) { isolated(a); a.Asked = &Ask{Source: "Platform", Verb: Revoke} }), Action{}},

		{"resolved", alert(func(a *Alert) { a.Condition = Resolved }), Action{Unlock: true}},
		{"resolved without a machine", alert(func(a *Alert) { a.Condition, a.Machines = Resolved, nil }), Action{Unlock: true}},
		{"resolved where fired would match", alert(func(a *Alert) { isolated(a); a.Condition = Resolved }), Action{Unlock: true}},
		{"resolved with a rule", alert(func(a *Alert) { a.Condition, a.Rule = Resolved, "storm-7" }), Action{Rule: "after the storm", Machines: vm(prodApp), Revoke: true, Unlock: true}},
		{"fired with a rule about resolved", alert(func(a *Alert) { a.Rule = "storm-7" }), Action{}},
		{"resolved test of the portal", alert(func(a *Alert) { a.Condition, a.Test = Resolved, true }), Action{}},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, ok := rules.Match(c.alert)
			if diff := cmp.Diff(c.want, got, exactly); diff != "" {
				t.Error(diff)
			}
			if want := !cmp.Equal(c.want, Action{}, exactly); ok != want {
				t.Errorf("%v, want %v", ok, want)
			}
		})
	}
}

func TestUnlockCanBeAllowed(t *testing.T) {
	rules := parseRules(t, "apiVersion: jitgate/alerts/v1\nrules: [{name: a, when: {source: [s], subscription: ["+strings.ToUpper(subscription)+"]}, allow: [unlock]}]")
	a := parse(t, ownBody("s", "1", "unlock"))
	want := Action{Rule: "a", Machines: vm(prodApp), Unlock: true}
	if got, ok := rules.Match(a); !ok || !cmp.Equal(want, got, exactly) {
		t.Errorf("%+v, %v", got, ok)
	}
	a = parse(t, strings.Replace(ownBody("s", "1", "unlock"), subscription, "22222222-2222-3333-4444-555555555555", 1))
	if got, ok := rules.Match(a); ok {
		t.Errorf("another subscription's machine: %+v", got)
	}
}

// TestRulesForAzureMonitorDoNotHideThoseForSources: what our own body asks for
// is decided by the first rule for its source, not by one that could never
// take it.
func TestRulesForAzureMonitorDoNotHideThoseForSources(t *testing.T) {
	const forAll = "{name: all, when: {subscription: [" + subscription + "]}, do: {revoke: true}}"
	const forSource = "{name: own, when: {source: [s]}, allow: [revoke]}"
	for _, order := range []string{forAll + ", " + forSource, forSource + ", " + forAll} {
		rules := parseRules(t, "apiVersion: jitgate/alerts/v1\nrules: ["+order+"]")
		if got, _ := rules.Match(parse(t, ownBody("s", "1", "revoke"))); got.Rule != "own" {
			t.Errorf("%s: our own body is decided by %q", order, got.Rule)
		}
		if got, _ := rules.Match(parse(t, sample(t, "01-metric-fired.json"))); got.Rule != "all" {
			t.Errorf("%s: Azure Monitor's alert is decided by %q", order, got.Rule)
		}
	}
}

func TestSamplesThroughRules(t *testing.T) {
	rules := parseRules(t, demoRules)
	for name, want := range map[string]string{
		"01-metric-fired.json":                              "quarantine",
		"02-log-search-v2-fired.json":                       "quarantine",
		"03-activitylog-administrative-nsg-rule-write.json": "",
		"04-activitylog-security-defender.json":             "",
		"05-extra-metric-resolved-same-alertId.json":        "",
		"06-extra-resource-health.json":                     "on call",
	} {
		if got, _ := rules.Match(parse(t, sample(t, name))); got.Rule != want {
			t.Errorf("%s is decided by %q, want %q", name, got.Rule, want)
		}
	}
}

func TestNoRulesDoNothing(t *testing.T) {
	for what, rules := range map[string]Rules{"zero": {}, "an empty list": parseRules(t, "{apiVersion: jitgate/alerts/v1, rules: []}")} {
		if got, ok := rules.Match(parse(t, sample(t, "01-metric-fired.json"))); ok {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// TestAlertTextIsNoAuthority: whatever an alert says, what is done to a machine
// is something that a rule in the document says, about a machine of the alert.
func TestAlertTextIsNoAuthority(t *testing.T) {
	rules := parseRules(t, demoRules)
	word := rapid.SampledFrom([]string{"", "Platform", "Resource Health", "sentinel", "storm-1", "ssh-auth-failures-by-host", "isolate", "jit", "*"})
	rapid.Check(t, func(t *rapid.T) {
		a := Alert{
			Condition: rapid.SampledFrom([]Condition{Fired, Resolved}).Draw(t, "condition"), Rule: word.Draw(t, "rule"), RuleID: word.Draw(t, "rule id"),
			Severity: rapid.IntRange(-1, 4).Draw(t, "severity"), Service: word.Draw(t, "service"),
			Custom: map[string]string{word.Draw(t, "key"): word.Draw(t, "value")}, Subscription: rapid.SampledFrom([]string{"", subscription}).Draw(t, "subscription"),
			Machines: rapid.SampledFrom([][]armid.ID{nil, vm(prodApp), append(vm(prodApp), vm(bastion)...)}).Draw(t, "machines"),
		}
		if rapid.Bool().Draw(t, "own") {
			a.Asked = &Ask{Source: word.Filter(func(s string) bool { return s != "" }).Draw(t, "source"), Verb: rapid.SampledFrom(verbs).Draw(t, "verb")}
		}
		got, ok := rules.Match(a)
		if got.Revoke || got.Lockdown != nil || got.PreApproval != nil {
			if !ok || got.Rule == "" || len(got.Machines) == 0 {
				t.Fatalf("%+v is done to no machine or by no rule", got)
			}
		}
		for _, m := range got.Machines {
			if !m.Equal(armid.MustParse(prodApp)) && !m.Equal(armid.MustParse(bastion)) {
				t.Fatalf("%s is not of the alert", m)
			}
		}
		if a.Asked != nil && got.Rule != "" && !(got.Rule == "from sentinel" && a.Asked.Source == "sentinel" && a.Asked.Verb != Unlock) {
			t.Fatalf("%+v got %+v", a.Asked, got)
		}
		if got.PreApproval != nil && (got.Revoke || got.Lockdown != nil) {
			t.Fatalf("%+v", got)
		}
		if got.Unlock && a.Condition != Resolved {
			t.Fatalf("%+v is unlocked", a)
		}
	})
}

func TestMatchHandsOutNothingOfItsOwn(t *testing.T) {
	rules := parseRules(t, demoRules)
	a := parse(t, sample(t, "06-extra-resource-health.json"))
	first, _ := rules.Match(a)
	first.Machines[0] = armid.ID{}
	if a.Machines[0].IsZero() {
		t.Error("the alert's machines were handed out")
	}
}
