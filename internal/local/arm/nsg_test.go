package arm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/local/arm"
)

// flushConnection is a plain property of the group: a PUT sets it or, by leaving it
// out, clears it; rules and tags come and go without it.
func TestFlushConnection(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	get := func() armnetwork.SecurityGroup { return must(e.groups.Get(ctx, rg, "nsg-web01", nil)).SecurityGroup }
	put := func(g armnetwork.SecurityGroup) *bool {
		t.Helper()
		poller, err := e.groups.BeginCreateOrUpdate(ctx, rg, "nsg-web01", g, nil)
		if _, err := done(ctx, poller, err); err != nil {
			t.Fatal(err)
		}
		return get().Properties.FlushConnection
	}
	group := get()
	if group.Properties.FlushConnection != nil {
		t.Error("a group where it was never set shows it")
	}
	group.Properties.FlushConnection = to.Ptr(true)
	if on := put(group); on == nil || !*on {
		t.Error("it was not set")
	}
	poller, err := e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "r", ssh(100), nil)
	if _, err := done(ctx, poller, err); err != nil {
		t.Fatal(err)
	}
	must(e.groups.UpdateTags(ctx, rg, "nsg-web01", armnetwork.TagsObject{Tags: map[string]*string{"a": to.Ptr("b")}}, nil))
	if err := e.ReplaceRules(web, nil); err != nil {
		t.Fatal(err)
	}
	all, _ := collect(t, e.groups.NewListAllPager(nil), allGroups)
	i := slices.IndexFunc(all, func(g *armnetwork.SecurityGroup) bool { return *g.ID == web })
	if on := all[i].Properties.FlushConnection; on == nil || !*on {
		t.Error("writes of rules and tags cleared it, or the list does not show it")
	}
	group = get()
	if on := put(group); on == nil || !*on {
		t.Error("what was read and written back cleared it")
	}
	group.Properties.FlushConnection = to.Ptr(false)
	if on := put(group); on != nil && *on {
		t.Error("it cannot be turned off")
	}
	group.Properties.FlushConnection = to.Ptr(true)
	put(group)
	group.Properties.FlushConnection = nil
	if on := put(group); on != nil && *on {
		t.Error("a PUT without it kept it")
	}
	for _, bad := range []any{"true", 1, []any{}, map[string]any{}} {
		resp, out := e.call(t, "PUT", web+version, map[string]any{"location": "westeurope", "properties": map[string]any{"flushConnection": bad}})
		if resp.StatusCode != 400 || errorCode(out) != "InvalidRequestFormat" {
			t.Errorf("%v: %d %v", bad, resp.StatusCode, out)
		}
	}
}

// What a client does not know survives in a rule whichever way the rule is written.
func TestUnknownRulePropertiesSurviveEachWrite(t *testing.T) {
	e := start(t, arm.Options{})
	write := func(method, path string, body any) {
		t.Helper()
		if resp, out := e.call(t, method, path+version, body); resp.StatusCode >= 300 {
			t.Fatalf("%d %v", resp.StatusCode, out)
		}
	}
	if err := e.PutRuleJSON(web, "odd", []byte(`{"access":"Deny","direction":"Inbound","priority":222,"protocol":"*","sourceAddressPrefix":"*",
		"sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"22","future":{"list":[{"n":1.50}],"none":null}}`)); err != nil {
		t.Fatal(err)
	}
	want := string(must(e.RuleJSON(web, "odd")))
	if !strings.Contains(want, `"future":{"list":[{"n":1.50}],"none":null}`) {
		t.Fatalf("stored %s", want)
	}
	_, one := e.call(t, "GET", web+"/securityRules/odd"+version, nil)
	future := fmt.Sprint(one["properties"].(map[string]any)["future"])
	raw := `{"properties":` + want + `}`
	write("PUT", web+"/securityRules/odd", raw)
	if got := string(must(e.RuleJSON(web, "odd"))); got != want {
		t.Errorf("after a PUT of the rule: %s", got)
	}
	_, group := e.call(t, "GET", web+version, nil)
	write("PUT", web, group)
	write("PUT", web+"/securityRules/next", ssh(100))
	write("DELETE", web+"/securityRules/next", nil)
	_, one = e.call(t, "GET", web+"/securityRules/odd"+version, nil)
	if got := fmt.Sprint(one["properties"].(map[string]any)["future"]); got != future {
		t.Errorf("%s came back as %s", future, got)
	}
	_, listed := e.call(t, "GET", "/subscriptions/"+sub+"/providers/Microsoft.Network/networkSecurityGroups"+version, nil)
	if text := fmt.Sprint(listed); !strings.Contains(text, "future:"+future) {
		t.Error("the list of NSGs does not show it")
	}
}
