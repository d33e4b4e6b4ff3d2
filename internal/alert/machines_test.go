package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/armid"
)

func TestMachines(t *testing.T) {
	const nsgRule = "/subscriptions/" + subscription + "/resourceGroups/rg/providers/Microsoft.Network/networkSecurityGroups/nsg/securityRules/r"
	dimension := func(name, value string) string { return `{"name":"` + name + `","value":"` + value + `"}` }
	allOf := func(dimensions ...string) string {
		return `{"condition":{"allOf":[{"dimensions":[` + strings.Join(dimensions, ",") + `]}]}}`
	}
	for _, c := range []struct {
		what, body string
		machines   []armid.ID
		names      []string
	}{
		{"a workspace", essentialsWith(`,"alertTargetIDs":["` + workspace + `"]`), nil, nil},
		{"a machine's extension as target", essentialsWith(`,"alertTargetIDs":["` + prodApp + `/extensions/e"]`), nil, nil},
		{"a scale set's machine", essentialsWith(`,"alertTargetIDs":["/subscriptions/` + subscription + `/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0"]`), nil, nil},
		{"an Arc machine", essentialsWith(`,"alertTargetIDs":["/subscriptions/` + subscription + `/resourceGroups/rg/providers/Microsoft.HybridCompute/machines/m"]`), nil, nil},
		{"an id with something behind it", essentialsWith(`,"alertTargetIDs":["` + prodApp + `?x=1","` + prodApp + `/"," ` + prodApp + `"]`), nil, nil},
		{"items: a full id, a bare name, another id", essentialsWith(`,"configurationItems":["` + bastion + `","vm-1","` + workspace + `","vm-1","a\nb",""]`), vm(bastion), []string{"vm-1", "a b"}},
		{"target before item", essentialsWith(`,"configurationItems":["` + bastion + `"],"alertTargetIDs":["` + prodApp + `"]`), append(vm(prodApp), vm(bastion)...), nil},
		{"the first column decides", contextWith(allOf(dimension("Computer", "vm-9"), dimension("Resource", bastion), dimension("_resourceid", prodApp))), vm(prodApp), nil},
		{"the next one if the first is none", contextWith(allOf(dimension("Computer", bastion), dimension("_ResourceId", workspace), dimension("Resource", prodApp))), vm(prodApp), nil},
		{"ResourceId before Resource", contextWith(allOf(dimension("Resource", bastion), dimension("ResourceId", prodApp))), vm(prodApp), nil},
		{"_ResourceId before ResourceId", contextWith(allOf(dimension("ResourceId", bastion), dimension("_ResourceId", prodApp))), vm(prodApp), nil},
		{"names only", contextWith(allOf(dimension("Computer", "vm-9"), dimension("Resource", "vm-8"), dimension("ApiName", "vm-7"))), nil, []string{"vm-8", "vm-9"}},
		{"another column", contextWith(allOf(dimension("TargetVM", prodApp))), nil, nil},
		{"a GUID as resource id", contextWith(allOf(dimension("ResourceId", "b1b1b1b1-cccc-dddd-eeee-f2f2f2f2f2f2"))), nil, []string{"b1b1b1b1-cccc-dddd-eeee-f2f2f2f2f2f2"}},
		{"several conditions", contextWith(`{"condition":{"allOf":[{"dimensions":[` + dimension("_ResourceId", prodApp) + `]},{"dimensions":null},{"dimensions":[` + dimension("_ResourceId", bastion) + `]}]}}`), append(vm(prodApp), vm(bastion)...), nil},
		{"rows of a simple log alert", contextWith(`{"condition":{"allOf":[{"dimensions":[],"event":[[` + dimension("TimeGenerated", "x") + `,` + dimension("_ResourceId", prodApp) + `],[` + dimension("_ResourceId", bastion) + `]]}]}}`), append(vm(prodApp), vm(bastion)...), nil},
		{"a log alert of the first version", contextWith(`{"Dimensions":[` + dimension("Computer", "vm-9") + `],"AffectedConfigurationItems":["INC-1"]}`), nil, []string{"INC-1", "vm-9"}},
		{"an operation on the machine", contextWith(`{"authorization":{"action":"x","scope":"` + prodApp + `"}}`), vm(prodApp), nil},
		{"an operation within the machine", contextWith(`{"authorization":{"scope":"` + prodApp + `/extensions/CustomScript"}}`), vm(prodApp), nil},
		{"an operation on the machine's roles", contextWith(`{"authorization":{"scope":"` + prodApp + `/providers/Microsoft.Authorization/roleAssignments/1"}}`), vm(prodApp), nil},
		{"an operation on an NSG rule", contextWith(`{"authorization":{"scope":"` + nsgRule + `"}}`), nil, nil},
		{"an operation on a group", contextWith(`{"authorization":{"scope":"/subscriptions/` + subscription + `/resourceGroups/rg"}}`), nil, nil},
		{"Defender's name", contextWith(`{"properties":{"compromisedEntity":"vm-3"}}`), nil, []string{"vm-3"}},
		{"ids in a query or a link", contextWith(`{"condition":{"allOf":[{"searchQuery":"` + prodApp + `","linkToSearchResultsUI":"` + prodApp + `"}]},"properties":{"entity":"` + prodApp + `"}}`), nil, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := parse(t, c.body)
			if diff := cmp.Diff(c.machines, a.Machines, exactly); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.names, a.Names); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPortalsTestAlerts(t *testing.T) {
	const testRG = "/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/test-RG/providers/"
	inTestRG := func(rule, target string) string {
		return essentialsWith(`,"alertRule":"` + rule + `","alertTargetIDs":["` + target + `"]`)
	}
	testVM := testRG + "microsoft.compute/virtualmachines/test-VM"
	for _, c := range []struct {
		what, body string
		want       bool
	}{
		{"resource health", inTestRG("test-ResourceHealthAlertRule", testVM), true},
		{"metric", inTestRG("test-metricAlertRule", testRG+"Microsoft.Storage/storageAccounts/test-storageAccount"), true},
		{"activity log", strings.Replace(inTestRG("x", prodApp), "/providers/x/alerts/1", "/resourceGroups/test-RG/providers/microsoft.insights/activityLogAlerts/Test_Alert", 1), true},
		{"budget", strings.Replace(essentialsWith(""), "x/alerts/1", "Microsoft.CostManagement/alerts/Test_Alert", 1), true},
		{"a subscription of zeros", strings.Replace(inTestRG("x", prodApp), subscription, "00000000-0000-0000-0000-000000000000", 1), true},
		{"a subscription of ones", strings.Replace(inTestRG("x", prodApp), subscription, "11111111-1111-1111-1111-111111111111", 1), true},

		{"a low subscription", strings.Replace(inTestRG("x", prodApp), subscription, "00000000-0000-0000-0000-000000000001", 1), false},
		{"a real rule in a group of that name", inTestRG("ssh-failures", testVM), false},
		{"a test rule of somebody's", inTestRG("test-cpu", prodApp), false},
		{"a test rule of somebody's in a group of that name", inTestRG("test-cpu", testRG+"microsoft.compute/virtualmachines/vm-1"), false},
		{"a test rule without a target", essentialsWith(`,"alertRule":"test-cpu"`), false},
		{"a real machine besides", essentialsWith(`,"alertRule":"test-cpu","alertTargetIDs":["` + testVM + `","` + prodApp + `"]`), false},
		{"a real machine in the items", essentialsWith(`,"alertRule":"test-cpu","alertTargetIDs":["` + testVM + `"],"configurationItems":["` + prodApp + `"]`), false},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := parse(t, c.body).Test; got != c.want {
				t.Errorf("Test is %v", got)
			}
		})
	}
}

// invented finds the first machine that no text of the body holds, whole or as
// the start of a path.
func invented(t interface{ Fatalf(string, ...any) }, body []byte, machines []armid.ID) (armid.ID, bool) {
	var texts []string
	for d := json.NewDecoder(strings.NewReader(string(body))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("a body that is no JSON was read: %v", err)
		}
		if text, ok := token.(string); ok {
			texts = append(texts, text)
		}
	}
	for _, m := range machines {
		if !slices.ContainsFunc(texts, func(text string) bool { return text == m.String() || strings.HasPrefix(text, m.String()+"/") }) {
			return m, true
		}
	}
	return armid.ID{}, false
}

// drawValue draws JSON in which ids, names and the schema's words meet in every
// way, the documented ones among them.
func drawValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth <= 0 {
		kind %= 3
	}
	switch kind {
	case 0:
		return rapid.SampledFrom([]string{prodApp, bastion, strings.ToUpper(prodApp), prodApp + "/extensions/e", prodApp + "?", workspace, "vm-app-01", "_ResourceId", "Resource", "Computer", "Fired", "x\x00", ""}).Draw(t, "text")
	case 1:
		return rapid.Int().Draw(t, "number")
	case 2:
		return nil
	case 3:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "length"))
		for i := range list {
			list[i] = drawValue(t, depth-1)
		}
		return list
	default:
		members := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			name := rapid.SampledFrom([]string{"alertTargetIDs", "configurationItems", "dimensions", "event", "name", "value", "condition", "allOf", "authorization", "scope", "properties", "compromisedEntity", "alertRuleId", "severity", "conditionType", "AffectedConfigurationItems"}).Draw(t, "name")
			members[name] = drawValue(t, depth-1)
		}
		return members
	}
}

func TestParseNeverInventsAMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		essentials, _ := drawValue(t, 3).(map[string]any)
		if essentials == nil {
			essentials = map[string]any{}
		}
		essentials["alertId"], essentials["monitorCondition"] = "/a", "Fired"
		body, err := json.Marshal(map[string]any{"schemaId": commonSchema, "data": map[string]any{
			"essentials": essentials, "alertContext": drawValue(t, 6), "customProperties": drawValue(t, 2),
		}})
		if err != nil {
			t.Fatal(err)
		}
		a, err := Parse(body)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if m, bad := invented(t, body, a.Machines); bad {
			t.Fatalf("%s is not in %s", m, body)
		}
	})
}

// TestLargeBodiesAreReadQuickly: whoever may call must not be able to keep an
// instance busy. The bound is generous; work that grows with the square of the
// body takes minutes.
func TestLargeBodiesAreReadQuickly(t *testing.T) {
	var names, ids strings.Builder
	for i := 0; names.Len() < MaxSize-1000; i++ {
		fmt.Fprintf(&names, `"%x",`, i)
	}
	for i := 0; ids.Len() < MaxSize-1000; i++ {
		fmt.Fprintf(&ids, `"%s%x",`, prodApp, i)
	}
	begin := time.Now()
	many := parse(t, essentialsWith(`,"configurationItems":[`+names.String()+`""]`))
	if len(many.Names) < 50000 {
		t.Errorf("%d names", len(many.Names))
	}
	if many = parse(t, essentialsWith(`,"alertTargetIDs":[`+ids.String()+`""]`)); len(many.Machines) < 3000 {
		t.Errorf("%d machines", len(many.Machines))
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"01-metric-fired.json", "02-log-search-v2-fired.json", "03-activitylog-administrative-nsg-rule-write.json", "04-activitylog-security-defender.json", "07-extra-legacy-noncommon-metric.json"} {
		f.Add([]byte(sample(f, name)))
	}
	f.Add([]byte(withMember(ownBody("sentinel", "1", "lockdown"), `"until":"2026-11-20T18:00:00Z","reason":"x"`)))
	f.Add([]byte(contextWith(`{"authorization":{"scope":"` + prodApp + `/extensions/e"},"condition":{"allOf":[{"event":[[{"name":"Computer","value":7}]]}]}}`)))
	f.Add([]byte(essentialsWith(`,"firedDateTime":"2026-11-20T04:09:58.29+02:00"`)))
	f.Add([]byte(essentialsWith(`,"alertTargetIDs":"\/subscriptions\/\ud800"`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := Parse(body)
		if err != nil {
			var refusal Refusal
			if !errors.As(err, &refusal) || refusal.Code == "" || refusal.Sentence == "" || len(refusal.Sentence) > 1000 {
				t.Fatalf("refused with %#v", err)
			}
			return
		}
		if m, bad := invented(t, body, a.Machines); bad {
			t.Fatalf("%s is not in the body", m)
		}
		seen := map[string]bool{}
		for _, m := range a.Machines {
			if !strings.EqualFold(m.Type(), armid.VirtualMachine) || seen[m.Key()] {
				t.Fatalf("%s is no machine, or is there twice", m)
			}
			seen[m.Key()] = true
		}
		if a.Fired.Location() != time.UTC || a.Resolved.Location() != time.UTC {
			t.Fatalf("%s and %s are not in UTC", a.Fired, a.Resolved)
		}
		if len(a.Key) != 64 || a.ID == "" || a.Condition != Fired && a.Condition != Resolved || a.Severity < UnknownSeverity || a.Severity > 4 {
			t.Fatalf("read as %+v", a)
		}
		for _, text := range append(slices.Clone(a.Names), a.Rule, a.RuleID, a.Service, a.Signal) {
			if line(text) != text {
				t.Fatalf("%q would reach a record", text)
			}
		}
		again, err := Parse(body)
		if diff := cmp.Diff(a, again, exactly); err != nil || diff != "" {
			t.Fatalf("read twice, it differs: %v %s", err, diff)
		}
	})
}
