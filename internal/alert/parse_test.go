package alert

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
)

const (
	subscription = "11111111-2222-3333-4444-555555555555"
	prodApp      = "/subscriptions/" + subscription + "/resourcegroups/rg-prod-app/providers/microsoft.compute/virtualmachines/vm-app-01"
	bastion      = "/subscriptions/" + subscription + "/resourcegroups/rg-prod-app/providers/microsoft.compute/virtualmachines/vm-bastion-01"
	workspace    = "/subscriptions/" + subscription + "/resourcegroups/rg-ops/providers/microsoft.operationalinsights/workspaces/law-ops"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parse(t testing.TB, body string) Alert {
	t.Helper()
	a, err := Parse([]byte(body))
	if err != nil {
		t.Fatalf("%v\nin %s", err, body)
	}
	return a
}

func vm(id string) []armid.ID { return []armid.ID{armid.MustParse(id)} }

func clock(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return at
}

// exactly compares ids letter by letter; cmp finds armid's Equal otherwise.
var exactly = cmp.Comparer(func(a, b armid.ID) bool { return a.String() == b.String() })

func TestSamples(t *testing.T) {
	id := func(guid string) string {
		return "/subscriptions/" + subscription + "/providers/microsoft.alertsmanagement/alerts/" + guid
	}
	const cpuRule = "/subscriptions/" + subscription + "/resourceGroups/rg-ops/providers/microsoft.insights/metricAlerts/vm-cpu-saturated"
	cpu := Alert{
		ID: id("6f1c2c53-7d64-4f52-9a0e-3b8f4c0a1d01"), Condition: Fired, RuleID: cpuRule, Rule: "vm-cpu-saturated",
		Severity: 1, Service: "Platform", Signal: "Metric", Subscription: subscription,
		Machines: vm(prodApp), Names: []string{"vm-app-01"},
		Custom: map[string]string{"jitPolicy": "prod-linux-oncall", "jitPort": "22"},
		Fired:  clock("2026-11-20T02:14:24.3713213Z"),
	}
	cpuResolved := cpu
	cpuResolved.Condition, cpuResolved.Resolved = Resolved, clock("2026-11-20T02:31:16.2246313Z")
	for name, want := range map[string]Alert{
		"01-metric-fired.json":                       cpu,
		"05-extra-metric-resolved-same-alertId.json": cpuResolved,
		"02-log-search-v2-fired.json": {
			ID: id("0b7d9f38-41b2-4a3f-8c55-91d2d7a0e602"), Condition: Fired, Rule: "ssh-auth-failures-by-host",
			Severity: 2, Service: "Log Alerts V2", Signal: "Log", Subscription: subscription,
			Machines: vm(bastion),
			Custom:   map[string]string{"jitAction": "revoke", "owner": "secops"},
			Fired:    clock("2026-11-20T03:08:03.626Z"),
		},
		"03-activitylog-administrative-nsg-rule-write.json": {
			ID: id("c94e8a17-2f0b-4f0a-b2f6-6fd1c5a70403"), Condition: Fired, Rule: "nsg-rule-written",
			Severity: 4, Service: "Activity Log - Administrative", Signal: "Activity Log", Subscription: subscription,
			Names: []string{"allow-ssh-any"},
			Fired: clock("2026-11-20T04:11:26.386Z"),
		},
		"04-activitylog-security-defender.json": {
			ID: id("e20a7d54-9b1c-46f9-8b45-5f1c8d9a7704"), Condition: Fired, Rule: "defender-alert-to-jit",
			Severity: 4, Service: "Activity Log - Security", Signal: "Activity Log", Subscription: subscription,
			Names: []string{"vm-app-01"},
			Fired: clock("2026-11-20T05:21:36.256Z"),
		},
		"06-extra-resource-health.json": {
			ID: id("3f6b5a90-6d6e-4a57-8c0f-0d6c5b2e9906"), Condition: Fired, Rule: "vm-resource-health",
			Severity: 4, Service: "Resource Health", Signal: "Activity Log", Subscription: subscription,
			Machines: vm(prodApp), Names: []string{"vm-app-01"},
			Fired: clock("2026-11-20T06:19:45.304Z"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := parse(t, sample(t, name))
			if len(got.Key) != 64 || strings.Trim(got.Key, "0123456789abcdef") != "" {
				t.Errorf("the key is %q", got.Key)
			}
			if over := parse(t, strings.Replace(sample(t, name), `"Fired"`, `"Resolved"`, 1)); got.End != over.Key || over.End != over.Key {
				t.Errorf("its end has the key %s, want %s", over.Key, got.End)
			}
			got.Key, got.End = "", ""
			if diff := cmp.Diff(want, got, exactly); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEverySampleIsInATest(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != 7 {
		t.Errorf("%v, %v: six that are read and one that is refused were expected", files, err)
	}
}

func TestKeysTellNewsFromRepeats(t *testing.T) {
	fired := sample(t, "01-metric-fired.json")
	first := parse(t, fired)
	// Another receiver of the same news writes the id in other letters.
	again := parse(t, strings.Replace(fired, "Microsoft.AlertsManagement", "MICROSOFT.alertsmanagement", 1))
	if again.Key != first.Key || again.ID != first.ID {
		t.Error("a repeat looks like news")
	}
	resolved := parse(t, sample(t, "05-extra-metric-resolved-same-alertId.json"))
	if resolved.Key == first.Key {
		t.Error("the end of an alert looks like a repeat of its start")
	}
	if resolved.ID != first.ID {
		t.Error("the end of an alert has another id than its start")
	}
	seen := map[string]string{}
	for _, body := range []string{
		ownBody("sentinel", "1", "lockdown"), strings.Replace(ownBody("sentinel", "1", "lockdown"), "vm-app-01", "vm-app-02", 1), ownBody("sentinel", "2", "lockdown"),
		ownBody("sentinel", "1", "revoke"), ownBody("sentinel", "1", "preapprove"),
		ownBody("defender", "1", "lockdown"), ownBody("sentinel.1", "lockdown", "lockdown"), ownBody("a", `b\" \"c`, "revoke"), ownBody("a", "b", "revoke"),
		fired,
	} {
		key := parse(t, body).Key
		if other, twice := seen[key]; twice {
			t.Errorf("one key for\n%s\n%s", body, other)
		}
		seen[key] = body
	}
	if parse(t, ownBody("Sentinel", "1", "unlock")).Key != parse(t, ownBody("sentinel", "1", "lockdown")).Key {
		t.Error("an unlock does not take the place of its lockdown")
	}
}

func essentialsWith(members string) string {
	return `{"schemaId":"azureMonitorCommonAlertSchema","data":{"essentials":{"alertId":"/subscriptions/` + subscription + `/providers/x/alerts/1","monitorCondition":"Fired"` + members + `}}}`
}

// dataWith has members beside essentials.
func dataWith(members string) string {
	return strings.TrimSuffix(essentialsWith(""), "}}") + `,` + members + `}}`
}

func contextWith(context string) string { return dataWith(`"alertContext":` + context) }

func TestReadsLeniently(t *testing.T) {
	base := parse(t, essentialsWith(""))
	if base.Severity != UnknownSeverity || base.Machines != nil || base.Subscription != subscription || base.Test {
		t.Errorf("the least alert is %+v", base)
	}
	for _, c := range []struct {
		what, body string
		change     func(*Alert)
	}{
		{"all null", essentialsWith(`,"alertRule":null,"severity":null,"signalType":null,"alertTargetIDs":null,"configurationItems":null,"originAlertId":null,"firedDateTime":null`), func(a *Alert) {}},
		{"unknown members", essentialsWith(`,"investigationLink":"https://x","new":{"a":[1]}`), func(a *Alert) {}},
		{"severity as number", essentialsWith(`,"severity":3`), func(a *Alert) { a.Severity = 3 }},
		{"severity as digit", essentialsWith(`,"severity":"0"`), func(a *Alert) { a.Severity = 0 }},
		{"severity in other letters", essentialsWith(`,"severity":"SEV2"`), func(a *Alert) { a.Severity = 2 }},
		{"severity out of range", essentialsWith(`,"severity":"Sev5"`), func(a *Alert) {}},
		{"severity below", essentialsWith(`,"severity":-1`), func(a *Alert) {}},
		{"severity with sign", essentialsWith(`,"severity":"Sev+1"`), func(a *Alert) {}},
		{"severity as a word", essentialsWith(`,"severity":"Critical"`), func(a *Alert) {}},
		{"rule id as documented", essentialsWith(`,"alertRuleID":"/r"`), func(a *Alert) { a.RuleID = "/r" }},
		{"rule id as sampled", essentialsWith(`,"alertRuleId":"/r"`), func(a *Alert) { a.RuleID = "/r" }},
		{"signal without space", essentialsWith(`,"signalType":"ActivityLog"`), func(a *Alert) { a.Signal = "Activity Log" }},
		{"numbers for text", essentialsWith(`,"alertRule":17,"monitoringService":true`), func(a *Alert) { a.Rule, a.Service = "17", "true" }},
		{"objects for text", essentialsWith(`,"alertRule":{"a":1},"monitoringService":[1]`), func(a *Alert) {}},
		{"one target without a list", essentialsWith(`,"alertTargetIDs":"` + prodApp + `"`), func(a *Alert) { a.Machines = vm(prodApp) }},
		{"targets of odd types", essentialsWith(`,"alertTargetIDs":[null,7,{"id":"x"},["y"],"` + prodApp + `"]`), func(a *Alert) { a.Machines = vm(prodApp) }},
		{"a target twice", essentialsWith(`,"alertTargetIDs":["` + prodApp + `","` + strings.ToUpper(prodApp) + `"]`), func(a *Alert) { a.Machines = vm(prodApp) }},
		{"time with an offset", essentialsWith(`,"firedDateTime":"2026-11-20T04:09:58.29+02:00"`), func(a *Alert) { a.Fired = clock("2026-11-20T02:09:58.29Z") }},
		{"time of the first log alerts", essentialsWith(`,"firedDateTime":"3/22/2019 1:36:31 PM"`), func(a *Alert) {}},
		{"keys and schema in other letters", strings.NewReplacer("schemaId", "SCHEMAID", "azureMonitor", "AzureMonitor", "data", "Data", "essentials", "Essentials", "alertId", "AlertID").Replace(essentialsWith("")), func(a *Alert) {}},
		{"condition in other letters", strings.Replace(essentialsWith(""), `"Fired"`, `"fired"`, 1), func(a *Alert) {}},
		{"service health", contextWith(`{"authorization":null,"channels":1,"claims":null,"eventSource":2,"level":3,"properties":{"title":"x","impactedServices":[{"a":1}]}}`), func(a *Alert) {}},
		{"a context that is none", contextWith(`"nothing"`), func(a *Alert) {}},
		{"parts of odd types", contextWith(`{"condition":{"allOf":{"dimensions":1}},"dimensions":"x","authorization":"y","properties":[1],"conditionType":"x"}`), func(a *Alert) {}},
		{"properties of an event", contextWith(`{"properties":{"jit":"isolate"}}`), func(a *Alert) {}},
		{"properties of a rule", contextWith(`{"conditionType":"LogQueryCriteria","properties":{"a":"x","b":2,"c":null,"d":{},"e":true}}`), func(a *Alert) { a.Custom = map[string]string{"a": "x", "b": "2", "e": "true"} }},
		{"custom properties before those of the context", dataWith(`"customProperties":{"a":"y"},"alertContext":{"conditionType":"x","properties":{"a":"x"}}`), func(a *Alert) { a.Custom = map[string]string{"a": "y"} }},
		{"foreign text in one short line", essentialsWith(`,"alertRule":"a\nb\u202ec` + strings.Repeat("é", 300) + `"`), func(a *Alert) { a.Rule = "a b c" + strings.Repeat("é", 251) }},
		{"space around it", " \r\n\t" + essentialsWith("") + "\n", func(a *Alert) {}},
	} {
		t.Run(c.what, func(t *testing.T) {
			want := base
			c.change(&want)
			if diff := cmp.Diff(want, parse(t, c.body), exactly, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		what, body string
		code       Code
		sentence   string
	}{
		{"nothing", "", Malformed, "no JSON object"},
		{"a list", "[1]", Malformed, "no JSON object"},
		{"text", `"azureMonitorCommonAlertSchema"`, Malformed, "no JSON object"},
		{"cut off", `{"schemaId":"azureMonitorCommonAlertSchema"`, Malformed, "no JSON: "},
		{"two of them", essentialsWith("") + essentialsWith(""), Malformed, "no JSON: "},
		{"deep", `{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", Malformed, "more than 40 levels"},
		{"not UTF-8", "{\"a\":\"\xff\"}", Malformed, "not in UTF-8"},
		{"no essentials", `{"schemaId":"azureMonitorCommonAlertSchema","data":{}}`, Malformed, `alertId "" is no id`},
		{"data of the wrong type", `{"schemaId":"azureMonitorCommonAlertSchema","data":[1]}`, Malformed, `alertId "" is no id`},
		{"an id that is none", strings.Replace(essentialsWith(""), `"/sub`, `"sub`, 1), Malformed, "must start with /"},
		{"an id over lines", strings.Replace(essentialsWith(""), `alerts/1`, `alerts/\n1`, 1), Malformed, "printable"},
		{"a long id", strings.Replace(essentialsWith(""), `alerts/1`, `alerts/`+strings.Repeat("1", 1024), 1), Malformed, "at most 1024"},
		{"no condition", strings.Replace(essentialsWith(""), `"Fired"`, `null`, 1), Malformed, `monitorCondition "" is not known; it must be Fired or Resolved.`},
		{"old condition", strings.Replace(essentialsWith(""), `"Fired"`, `"Activated"`, 1), Malformed, `monitorCondition "Activated"`},

		{"metric alert of before", sample(t, "07-extra-legacy-noncommon-metric.json"), OldSchema, "enable the common alert schema"},
		{"activity log of before", `{"schemaId":"Microsoft.Insights/activityLogs","data":{"status":"Activated","context":{"activityLog":{}}}}`, OldSchema, "enable the common alert schema"},
		{"Application Insights of before", `{"schemaId":"Microsoft.Insights/LogAlert","data":{"AlertRuleName":"x"}}`, OldSchema, "enable the common alert schema"},
		{"log alert of before", `{"SubscriptionId":"1","AlertRuleName":"AcmeRule","SearchQuery":"x","SearchResult":{}}`, OldSchema, "enable the common alert schema"},
		{"classic metric alert", `{"status":"Activated","context":{"id":"/x"},"properties":{}}`, OldSchema, "enable the common alert schema"},

		{"another schema", `{"schemaId":"somethingElse","source":"sentinel"}`, UnknownSchema, `schemaId "somethingElse" is not known; send azureMonitorCommonAlertSchema, or`},
		{"no schema", `{"hello":"world"}`, UnknownSchema, "or a body with source"},
		{"no members", `{}`, UnknownSchema, "or a body with source"},

		{"own without a source", `{"externalId":"1"}`, Malformed, `source "" must be`},
		{"own with a source of odd letters", ownBody("a:b", "1", "revoke"), Malformed, `source "a:b" must be`},
		{"own without an id", ownBody("sentinel", "", "revoke"), Malformed, `externalId "" must be`},
		{"own with an id over lines", ownBody("sentinel", `a\nb`, "revoke"), Malformed, "printable"},
		{"own with a long id", ownBody("sentinel", strings.Repeat("x", 257), "revoke"), Malformed, "1 to 256"},
		{"own with an unknown action", ownBody("sentinel", "1", "Revoke"), Malformed, `action "Revoke" is not known; write revoke, lockdown, unlock or preapprove.`},
		{"own with a bare name", strings.Replace(ownBody("sentinel", "1", "revoke"), prodApp, "vm-app-01", 1), Malformed, "a name alone is never acted on"},
		{"own with another resource", strings.Replace(ownBody("sentinel", "1", "revoke"), prodApp, workspace, 1), Malformed, "no full resource id of a VM"},
		{"own with a scale set's machine", strings.Replace(ownBody("sentinel", "1", "revoke"), "virtualmachines/vm-app-01", "virtualMachineScaleSets/s/virtualMachines/0", 1), Malformed, "no full resource id of a VM"},
		{"own with an end of nothing", withMember(ownBody("sentinel", "1", "revoke"), `"until":"2026-11-20T18:00:00Z"`), Malformed, "leave it out with revoke"},
		{"own with an end in words", withMember(ownBody("sentinel", "1", "lockdown"), `"until":"tomorrow"`), Malformed, `until "tomorrow" is no time`},
		{"own with an end that is none", withMember(ownBody("sentinel", "1", "lockdown"), `"until":"0001-01-01T00:00:00Z"`), Malformed, "is no time to come"},
		{"own with an end in the year 10000", withMember(ownBody("sentinel", "1", "lockdown"), `"until":"9999-12-31T23:59:59-23:00"`), Malformed, "is no time to come"},
		{"own with a spelling mistake", withMember(ownBody("sentinel", "1", "lockdown"), `"untill":"2026-11-20T18:00:00Z"`), Malformed, `"untill" is not known; the members are source`},
		{"own with a number", withMember(ownBody("sentinel", "1", "lockdown"), `"reason":7`), Malformed, "reason must be text, not a JSON number"},
	} {
		t.Run(c.what, func(t *testing.T) {
			a, err := Parse([]byte(c.body))
			var refusal Refusal
			if !errors.As(err, &refusal) || refusal.Code != c.code || !strings.Contains(refusal.Sentence, c.sentence) {
				t.Errorf("%+v, %v; want %s: %s", a, err, c.code, c.sentence)
			}
			if len(refusal.Sentence) > 400 {
				t.Errorf("%d characters are said", len(refusal.Sentence))
			}
			if diff := cmp.Diff(Alert{}, a, exactly); diff != "" {
				t.Errorf("a refused alert comes out: %s", diff)
			}
		})
	}
}

func TestDepthIgnoresBracketsInText(t *testing.T) {
	parse(t, essentialsWith(`,"description":"`+strings.Repeat(`[{\"\\`, 100)+`"`))
	parse(t, contextWith(strings.Repeat(`{"a":`, 37)+"1"+strings.Repeat("}", 37)))
}

func ownBody(source, externalID, action string) string {
	return `{"source":"` + source + `","externalId":"` + externalID + `","action":"` + action + `","vmResourceId":"` + prodApp + `"}`
}

func withMember(body, member string) string {
	return strings.TrimSuffix(body, "}") + "," + member + "}"
}

func TestOwnBody(t *testing.T) {
	got := parse(t, withMember(ownBody("Sentinel", "Inc-7", "lockdown"), `"reason":"seen\nat night","until":"2026-11-20T18:00:00+02:00"`))
	if got.Key == "" || got.End != got.Key {
		t.Errorf("key %q, end %q", got.Key, got.End)
	}
	got.Key, got.End = "", ""
	if diff := cmp.Diff(Alert{
		ID: "sentinel:Inc-7", Condition: Fired, Severity: UnknownSeverity, Subscription: subscription, Machines: vm(prodApp),
		Asked: &Ask{Source: "Sentinel", Verb: Lockdown, Until: clock("2026-11-20T16:00:00Z"), Reason: "seen at night"},
	}, got, exactly); diff != "" {
		t.Error(diff)
	}
	// Logic Apps writes null for an expression that found nothing.
	if got = parse(t, withMember(ownBody("sentinel", "1", "unlock"), `"until":null,"reason":null`)); got.Asked.Verb != Unlock || !got.Asked.Until.IsZero() {
		t.Errorf("%+v", got.Asked)
	}
}

func TestNoSourceCanPassForAzureMonitor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(map[string]string{
			"source": rapid.StringMatching(`[A-Za-z0-9._/:-]{1,10}`).Draw(t, "source"), "externalId": rapid.StringMatching(`[/:a-z]{1,10}`).Draw(t, "id"),
			"action": "unlock", "vmResourceId": prodApp,
		})
		if err != nil {
			t.Fatal(err)
		}
		if a, err := Parse(body); err == nil && strings.HasPrefix(a.ID, "/") {
			t.Fatalf("%s has the id of an Azure Monitor alert", body)
		}
	})
}
