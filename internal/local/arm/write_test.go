package arm_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/arm"
)

// body is a rule's properties that Azure takes, changed by what follows; a nil
// value removes the field.
func body(changes ...any) map[string]any {
	p := map[string]any{"access": "Allow", "direction": "Inbound", "priority": 200, "protocol": "Tcp",
		"sourceAddressPrefix": "198.51.100.7", "sourcePortRange": "*",
		"destinationAddressPrefix": "10.20.1.4", "destinationPortRange": "22"}
	for i := 0; i+1 < len(changes); i += 2 {
		field := changes[i].(string)
		if p[field] = changes[i+1]; p[field] == nil {
			delete(p, field)
		}
	}
	return map[string]any{"properties": p}
}

func TestRuleRefusals(t *testing.T) {
	e := start(t, arm.Options{})
	asg := map[string]any{"id": scope + "/providers/Microsoft.Network/applicationSecurityGroups/asg-web"}
	none := map[string]any{"id": scope + "/providers/Microsoft.Network/applicationSecurityGroups/nope"}
	for _, c := range []struct {
		why, name string
		body      any
		code      string
	}{
		{"another rule has the priority", "r", body("priority", 1000), "SecurityRuleConflict"},
		{"priority too low", "r", body("priority", 99), "SecurityRuleInvalidPriority"},
		{"priority too high", "r", body("priority", 4097), "SecurityRuleInvalidPriority"},
		{"no priority", "r", body("priority", nil), "SecurityRuleInvalidPriority"},
		{"priority as text", "r", body("priority", "200"), "InvalidRequestFormat"},
		{"priority broken", "r", body("priority", 200.5), "InvalidRequestFormat"},
		{"name of 81 characters", strings.Repeat("n", 81), body(), "InvalidResourceName"},
		{"name starts with a hyphen", "-r", body(), "InvalidResourceName"},
		{"name ends with a dot", "r.", body(), "InvalidResourceName"},
		{"name with a space", "a%20b", body(), "InvalidResourceName"},
		{"description of 141 characters", "r", body("description", strings.Repeat("d", 141)), "SecurityRuleDescriptionTooLong"},
		{"star in plural sources", "r", body("sourceAddressPrefix", nil, "sourceAddressPrefixes", []string{"*"}), "SecurityRuleParameterContainsUnsupportedValue"},
		{"tag in plural sources", "r", body("sourceAddressPrefix", nil, "sourceAddressPrefixes", []string{"10.0.0.0/8", "Internet"}), "SecurityRuleParameterContainsUnsupportedValue"},
		{"tag in plural destinations", "r", body("destinationAddressPrefix", nil, "destinationAddressPrefixes", []string{"VirtualNetwork"}), "SecurityRuleParameterContainsUnsupportedValue"},
		{"regional tag in plural destinations", "r", body("destinationAddressPrefix", nil, "destinationAddressPrefixes", []string{"Storage.WestEurope"}), "SecurityRuleParameterContainsUnsupportedValue"},
		{"star in plural destination ports", "r", body("destinationPortRange", nil, "destinationPortRanges", []string{"22", "*"}), "SecurityRuleParameterContainsInvalidPortRanges"},
		{"star in plural source ports", "r", body("sourcePortRange", nil, "sourcePortRanges", []string{"*"}), "SecurityRuleParameterContainsInvalidPortRanges"},
		{"both source forms", "r", body("sourceAddressPrefixes", []string{"10.0.0.0/8"}), "SecurityRuleParametersConflict"},
		{"both destination forms", "r", body("destinationAddressPrefixes", []string{"10.0.0.0/8"}), "SecurityRuleParametersConflict"},
		{"both source port forms", "r", body("sourcePortRanges", []string{"1-2"}), "SecurityRuleParametersConflict"},
		{"both destination port forms", "r", body("destinationPortRanges", []string{"22"}), "SecurityRuleParametersConflict"},
		{"group and prefix", "r", body("sourceApplicationSecurityGroups", []any{asg}), "SecurityRuleParametersConflict"},
		{"no access", "r", body("access", nil), "SecurityRuleParametersMissing"},
		{"no direction", "r", body("direction", nil), "SecurityRuleParametersMissing"},
		{"no protocol", "r", body("protocol", nil), "SecurityRuleParametersMissing"},
		{"no source", "r", body("sourceAddressPrefix", nil), "SecurityRuleParametersMissing"},
		{"empty source", "r", body("sourceAddressPrefix", "", "sourceAddressPrefixes", []string{}), "SecurityRuleParametersMissing"},
		{"no destination", "r", body("destinationAddressPrefix", nil), "SecurityRuleParametersMissing"},
		{"no source port", "r", body("sourcePortRange", nil), "SecurityRuleParametersMissing"},
		{"no destination port", "r", body("destinationPortRange", nil), "SecurityRuleParametersMissing"},
		{"unknown access", "r", body("access", "Maybe"), "InvalidRequestFormat"},
		{"unknown direction", "r", body("direction", "Sideways"), "InvalidRequestFormat"},
		{"unknown protocol", "r", body("protocol", "Sctp"), "InvalidRequestFormat"},
		{"source is a word", "r", body("sourceAddressPrefix", "any"), "SecurityRuleInvalidAddressPrefix"},
		{"source is a subnet's name", "r", body("sourceAddressPrefix", "AzureBastionSubnet"), "SecurityRuleInvalidAddressPrefix"},
		{"bits behind the mask", "r", body("sourceAddressPrefix", "50.206.209.68/27"), "SecurityRuleInvalidAddressPrefix"},
		{"mask too long", "r", body("sourceAddressPrefix", "10.0.0.0/33"), "SecurityRuleInvalidAddressPrefix"},
		{"two addresses in one", "r", body("sourceAddressPrefix", "10.0.0.1,10.0.0.2"), "SecurityRuleInvalidAddressPrefix"},
		{"port out of range", "r", body("destinationPortRange", "65536"), "SecurityRuleInvalidPortRange"},
		{"two ports in one", "r", body("destinationPortRange", "80,443"), "SecurityRuleInvalidPortRange"},
		{"ports backwards", "r", body("destinationPortRange", "30-20"), "SecurityRuleInvalidPortRange"},
		{"port with a sign", "r", body("destinationPortRange", "+22"), "SecurityRuleInvalidPortRange"},
		{"port in words", "r", body("destinationPortRange", "ssh"), "SecurityRuleInvalidPortRange"},
		{"unknown group", "r", body("sourceAddressPrefix", nil, "sourceApplicationSecurityGroups", []any{none}), "InvalidResourceReference"},
		{"eleven groups", "r", body("sourceAddressPrefix", nil, "sourceApplicationSecurityGroups", slices.Repeat([]any{asg}, 11)), "SecurityRuleApplicationSecurityGroupLimitReached"},
		{"prefixes not a list", "r", body("sourceAddressPrefix", nil, "sourceAddressPrefixes", "10.0.0.0/8"), "InvalidRequestFormat"},
		{"prefix not a text", "r", body("sourceAddressPrefix", nil, "sourceAddressPrefixes", []int{1}), "InvalidRequestFormat"},
		{"no properties", "r", map[string]any{"name": "r"}, "InvalidRequestFormat"},
		{"not JSON", "r", "{", "InvalidRequestFormat"},
		{"an array", "r", "[]", "InvalidRequestFormat"},
		{"null", "r", "null", "InvalidRequestFormat"},
		{"two objects", "r", "{} {}", "InvalidRequestFormat"},
	} {
		t.Run(c.why, func(t *testing.T) {
			resp, out := e.call(t, "PUT", web+"/securityRules/"+c.name+version, c.body)
			if resp.StatusCode != 400 || errorCode(out) != c.code {
				t.Errorf("got %d %v, want 400 %s", resp.StatusCode, out, c.code)
			}
			if got := e.RuleNames(web); !slices.Equal(got, []string{"allow-https", "deny-management"}) {
				t.Errorf("a refused PUT left %v", got)
			}
		})
	}
	_, out := e.call(t, "PUT", web+"/securityRules/mine"+version, body("priority", 1000))
	message := out["error"].(map[string]any)["message"].(string)
	if !strings.Contains(message, "mine") || !strings.Contains(message, "deny-management") {
		t.Errorf("the conflict does not name both rules: %s", message)
	}
}

func TestRulesThatAreTaken(t *testing.T) {
	e := start(t, arm.Options{})
	asg := map[string]any{"id": strings.ToUpper(scope + "/providers/Microsoft.Network/applicationSecurityGroups/asg-web")}
	for i, c := range []map[string]any{
		body("priority", 1000, "direction", "Outbound"), // a conflict needs the same direction
		body("priority", 100),
		body("priority", 4096),
		body("protocol", "tcp"),
		body("sourceAddressPrefix", "789"), // as recorded from Azure
		body("sourceAddressPrefix", "2001:db8::/32"),
		body("sourceAddressPrefix", "0.0.0.0/0"),
		body("sourceAddressPrefix", "::/0"),
		body("sourceAddressPrefix", "AzureMonitor.westeurope"),
		body("sourceAddressPrefix", "", "sourceAddressPrefixes", []string{"198.51.100.7", "203.0.113.0/24"}),
		body("sourceAddressPrefix", nil, "sourceApplicationSecurityGroups", []any{asg}),
		body("destinationPortRange", nil, "destinationPortRanges", []string{"22", "5985-5986"}),
		body("description", strings.Repeat("ä", 140)),
	} {
		name := fmt.Sprintf("taken%d", i)
		if i > 2 {
			c["properties"].(map[string]any)["priority"] = 200 + i
		}
		resp, out := e.call(t, "PUT", web+"/securityRules/"+name+version, c)
		if resp.StatusCode != 201 {
			t.Errorf("%v: %d %v", c, resp.StatusCode, out)
			continue
		}
		properties := out["properties"].(map[string]any)
		for _, plural := range []string{"sourceAddressPrefixes", "destinationAddressPrefixes", "sourcePortRanges", "destinationPortRanges"} {
			if _, is := properties[plural].([]any); !is {
				t.Errorf("%s: %s is %v, want an array", name, plural, properties[plural])
			}
		}
	}
}

func TestWholeGroupRefusals(t *testing.T) {
	e := start(t, arm.Options{})
	group := func(location string, rules ...any) map[string]any {
		return map[string]any{"location": location, "properties": map[string]any{"securityRules": rules}}
	}
	named := func(name string, changes ...any) map[string]any {
		r := body(changes...)
		r["name"] = name
		return r
	}
	many := func(n, prefixes int, field string) (rules []any) {
		for i := range n {
			list := make([]string, prefixes)
			for j := range list {
				list[j] = fmt.Sprintf("10.%d.%d.%d", j>>8, j&255, i&255)
			}
			rules = append(rules, named(fmt.Sprintf("r%d", i), "priority", 100+i, field, nil, field+"es", list))
		}
		return rules
	}
	for _, c := range []struct {
		why  string
		body any
		code string
	}{
		{"no location", group(""), "LocationRequired"},
		{"other location", group("northeurope"), "InvalidResourceLocation"},
		{"two rules of one name", group("westeurope", named("a"), named("A", "priority", 300)), "DuplicateResourceName"},
		{"two rules of one priority", group("westeurope", named("a"), named("b")), "SecurityRuleConflict"},
		{"rule without a name", group("westeurope", body()), "InvalidResourceName"},
		{"rule without properties", group("westeurope", map[string]any{"name": "a"}), "InvalidRequestFormat"},
		{"bad rule", group("westeurope", named("a", "priority", 1)), "SecurityRuleInvalidPriority"},
		{"1,001 rules", group("westeurope", many(1001, 1, "sourceAddressPrefix")...), "SecurityRuleCountLimitReached"},
		{"4,002 sources", group("westeurope", many(2, 2001, "sourceAddressPrefix")...), "SecurityRuleAddressPrefixLimitReached"},
		{"4,002 destinations", group("westeurope", many(2, 2001, "destinationAddressPrefix")...), "SecurityRuleAddressPrefixLimitReached"},
		{"rules not a list", map[string]any{"location": "westeurope", "properties": map[string]any{"securityRules": 1}}, "InvalidRequestFormat"},
		{"tags not text", map[string]any{"location": "westeurope", "tags": map[string]any{"a": 1}}, "InvalidRequestFormat"},
		{"properties not an object", map[string]any{"location": "westeurope", "properties": 1}, "InvalidRequestFormat"},
		{"not JSON", "", "InvalidRequestFormat"},
	} {
		resp, out := e.call(t, "PUT", web+version, c.body)
		if resp.StatusCode/100 != 4 || errorCode(out) != c.code {
			t.Errorf("%s: got %d %s, want %s", c.why, resp.StatusCode, errorCode(out), c.code)
		}
	}
	if got := e.RuleNames(web); !slices.Equal(got, []string{"allow-https", "deny-management"}) {
		t.Errorf("refused PUTs left %v", got)
	}
	for _, n := range []int{1000} { // the limit itself is taken
		if resp, out := e.call(t, "PUT", web+version, group("West Europe", many(n, 4, "sourceAddressPrefix")...)); resp.StatusCode != 200 {
			t.Errorf("%d rules: %d %v", n, resp.StatusCode, out)
		}
		if resp, out := e.call(t, "PUT", web+"/securityRules/more"+version, body("priority", 2000)); errorCode(out) != "SecurityRuleCountLimitReached" {
			t.Errorf("rule 1,001 by itself: %d %v", resp.StatusCode, out)
		}
	}
	if resp, out := e.call(t, "PUT", nsgs+"-bad"+version, group("westeurope")); errorCode(out) != "InvalidResourceName" {
		t.Errorf("bad NSG name: %d %v", resp.StatusCode, out)
	}
}

func TestWholeGroupReplacesRulesUnderIfMatch(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	got := must(e.groups.Get(ctx, rg, "nsg-web01", nil)).SecurityGroup
	if !strings.HasPrefix(*got.Etag, `W/"`) || *got.Etag != *got.Properties.SecurityRules[0].Etag || *got.Etag != *got.Properties.DefaultSecurityRules[0].Etag {
		t.Errorf("the NSG and its rules do not share a weak etag: %s", *got.Etag)
	}
	first := *got.Etag
	rule := ssh(100)
	rule.Name = to.Ptr("jitgate-1")
	// Read, modify, write: what was read goes back, read-only members and all.
	got.Properties.SecurityRules = append(got.Properties.SecurityRules[1:], &rule)
	conditional := policy.WithHTTPHeader(ctx, http.Header{"If-Match": {first}})
	poller, err := e.groups.BeginCreateOrUpdate(conditional, rg, "nsg-web01", got, nil)
	put, err := done(ctx, poller, err)
	if err != nil {
		t.Fatal(err)
	}
	if names := e.RuleNames(web); !slices.Equal(names, []string{"deny-management", "jitgate-1"}) {
		t.Errorf("after the PUT: %v", names)
	}
	if *put.Etag == first || *put.Tags["owner"] != "web-team" {
		t.Errorf("etag %s, tags %v", *put.Etag, put.Tags)
	}
	_, err = e.groups.BeginCreateOrUpdate(conditional, rg, "nsg-web01", got, nil)
	wantCode(t, err, 412, "PreconditionFailed")

	// Every kind of change renews the etag of the NSG and of all its rules.
	seen := map[string]bool{*put.Etag: true}
	changed := func(what string) {
		t.Helper()
		now := must(e.groups.Get(ctx, rg, "nsg-web01", nil))
		one := must(e.rules.Get(ctx, rg, "nsg-web01", "deny-management", nil))
		if seen[*now.Etag] || *one.Etag != *now.Etag {
			t.Errorf("%s: NSG %s, rule %s", what, *now.Etag, *one.Etag)
		}
		seen[*now.Etag] = true
	}
	single, err := e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "x", ssh(101), nil)
	if _, err := done(ctx, single, err); err != nil {
		t.Fatal(err)
	}
	changed("rule PUT")
	if _, err := e.groups.UpdateTags(ctx, rg, "nsg-web01", armnetwork.TagsObject{Tags: map[string]*string{"a": to.Ptr("b")}}, nil); err != nil {
		t.Fatal(err)
	}
	changed("PATCH")
	if err := e.DeleteRule(web, "x"); err != nil {
		t.Fatal(err)
	}
	changed("edit by hand")

	for _, c := range []struct{ header, value, nsg string }{
		{"If-Match", "*", "new"}, {"If-None-Match", "*", "nsg-web01"}, {"If-Match", `W/"other"`, "nsg-web01"},
	} {
		resp, out := e.call(t, "PUT", nsgs+c.nsg+version, map[string]any{"location": "westeurope"}, c.header, c.value)
		if resp.StatusCode != 412 || errorCode(out) != "PreconditionFailed" {
			t.Errorf("%s %s on %s: %d %v", c.header, c.value, c.nsg, resp.StatusCode, out)
		}
	}
}

// Nothing tells that Azure heeds If-Match on a single rule, so it must not help here.
func TestIfMatchOnARuleIsIgnored(t *testing.T) {
	e := start(t, arm.Options{})
	resp, out := e.call(t, "PUT", web+"/securityRules/r"+version, body(), "If-Match", `W/"stale"`)
	if resp.StatusCode != 201 {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
}

func TestCreateGroup(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Second})
	resp, out := e.call(t, "PUT", nsgs+"New"+version, map[string]any{"location": "westeurope"})
	if resp.StatusCode != 201 || out["id"] != nsgs+"New" || resp.Header.Get("Azure-AsyncOperation") == "" {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
	if resp, out := e.call(t, "PUT", nsgs+"New/securityRules/r"+version, body()); resp.StatusCode != 429 || errorCode(out) != "RetryableError" {
		t.Errorf("a rule for an NSG that is being created: %d %v", resp.StatusCode, out)
	}
	clock.Advance(time.Second)
	if resp, out := e.call(t, "PUT", nsgs+"new/securityRules/r"+version, body()); resp.StatusCode != 201 || out["id"] != nsgs+"New/securityRules/r" {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
}

// What a client does not know must come back as it was sent.
func TestUnknownPropertiesAreKept(t *testing.T) {
	e := start(t, arm.Options{})
	foreign := `{"properties":{"access":"Allow","direction":"Inbound","priority":700,"protocol":"Udp","description":null,
		"sourceAddressPrefix":"Internet","sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"53",
		"provisioningState":"Succeeded","future":{"z":[1,2.50,12345678901234567890],"a":"<&>"}},"zone":"x"}`
	if resp, out := e.call(t, "PUT", web+"/securityRules/foreign"+version, foreign); resp.StatusCode != 201 {
		t.Fatalf("%d %v", resp.StatusCode, out)
	}
	before := string(must(e.RuleJSON(web, "foreign")))
	want := `{"access":"Allow","destinationAddressPrefix":"*","destinationAddressPrefixes":[],"destinationPortRange":"53",` +
		`"destinationPortRanges":[],"direction":"Inbound","future":{"a":"\u003c\u0026\u003e","z":[1,2.50,12345678901234567890]},` +
		`"priority":700,"protocol":"Udp","sourceAddressPrefix":"Internet","sourceAddressPrefixes":[],"sourcePortRange":"*","sourcePortRanges":[]}`
	if before != want {
		t.Errorf("stored\n%s\nwant\n%s", before, want)
	}
	// A careful client PUTs back the JSON it read.
	_, group := e.call(t, "GET", web+version, nil)
	group["properties"].(map[string]any)["flushConnection"] = true
	group["managedBy"] = "someone"
	if resp, out := e.call(t, "PUT", web+version, group); resp.StatusCode != 200 {
		t.Fatalf("%d %v", resp.StatusCode, out)
	}
	_, group = e.call(t, "GET", web+version, nil)
	p := group["properties"].(map[string]any)
	if p["flushConnection"] != true || group["managedBy"] != "someone" || p["provisioningState"] != "Succeeded" {
		t.Errorf("the NSG lost members: %v", group)
	}
	_, one := e.call(t, "GET", web+"/securityRules/foreign"+version, nil)
	if one["zone"] != "x" {
		t.Errorf("the rule lost members: %v", one)
	}
	// A typed client drops what its model does not know; the stand-in must show it.
	typed := must(e.groups.Get(t.Context(), rg, "nsg-web01", nil)).SecurityGroup
	poller, err := e.groups.BeginCreateOrUpdate(t.Context(), rg, "nsg-web01", typed, nil)
	if _, err := done(t.Context(), poller, err); err != nil {
		t.Fatal(err)
	}
	if after := string(must(e.RuleJSON(web, "foreign"))); strings.Contains(after, "future") || after == before {
		t.Errorf("a typed client cannot have kept what it does not know: %s", after)
	}
	if a, b := must(e.RuleJSON(web, "allow-https")), must(e.RuleJSON(web, "deny-management")); !json.Valid(a) || !json.Valid(b) {
		t.Error("not JSON")
	}
	if _, err := e.RuleJSON(web, "nope"); err == nil {
		t.Error("no error for a missing rule")
	}
	if _, err := e.RuleJSON(web+"x", "nope"); err == nil || e.RuleNames(web+"x") != nil {
		t.Error("no error for a missing NSG")
	}
}

func TestTypedRoundTripKeepsKnownRulesByteForByte(t *testing.T) {
	e := start(t, arm.Options{})
	for _, nsg := range []string{"nsg-web01", "nsg-data", "nsg-app-subnet", "nsg-app01", "nsg-open01"} {
		before := map[string]string{}
		for _, name := range e.RuleNames(nsgs + nsg) {
			before[name] = string(must(e.RuleJSON(nsgs+nsg, name)))
		}
		group := must(e.groups.Get(t.Context(), rg, nsg, nil)).SecurityGroup
		poller, err := e.groups.BeginCreateOrUpdate(t.Context(), rg, nsg, group, nil)
		if _, err := done(t.Context(), poller, err); err != nil {
			t.Fatal(err)
		}
		after := map[string]string{}
		for _, name := range e.RuleNames(nsgs + nsg) {
			after[name] = string(must(e.RuleJSON(nsgs+nsg, name)))
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s changed (-before +after):\n%s", nsg, diff)
		}
	}
}

func TestEditsByHand(t *testing.T) {
	e := start(t, arm.Options{})
	rule := arm.Rule{Name: "hand", Priority: 150, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
		SourceApplicationSecurityGroups: []string{"asg-web"}, SourcePortRange: "*",
		DestinationAddressPrefix: "*", DestinationPortRange: "22"}
	if err := e.PutRule(web, rule); err != nil {
		t.Fatal(err)
	}
	if a := probe(t, e, "web01", "10.20.1.4", 22); a.Rule != "hand" {
		t.Errorf("%+v", a)
	}
	rule.Name = "other"
	if err := e.PutRule(web, rule); err == nil || !strings.Contains(err.Error(), "SecurityRuleConflict") {
		t.Errorf("conflict by hand: %v", err)
	}
	rule.SourceApplicationSecurityGroups = []string{"nope"}
	if err := e.PutRule(web, rule); err == nil {
		t.Error("an unknown group was taken")
	}
	if err := e.PutRuleJSON(web, "hand", []byte(`{"priority":1}`)); err == nil {
		t.Error("bad JSON rule was taken")
	}
	text := must(json.Marshal(body("priority", 151, "x", 1)["properties"]))
	if err := e.PutRuleJSON(web, "hand", text); err != nil {
		t.Fatal(err)
	}
	if got := string(must(e.RuleJSON(web, "hand"))); !strings.Contains(got, `"x":1`) {
		t.Errorf("%s", got)
	}
	if err := e.DeleteRule(web, "HAND"); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteRule(web, "hand"); err == nil {
		t.Error("removed twice")
	}
	if err := e.PutRule(web+"x", rule); err == nil {
		t.Error("an unknown NSG was taken")
	}
	if err := e.Load(arm.Fleet(3)); err != nil {
		t.Fatal(err)
	}
	if e.RuleNames(web) != nil {
		t.Error("Load kept the old estate")
	}
	if a := probe(t, e, "fleet03", "198.51.100.7", 22); a.Access != "Deny" {
		t.Errorf("%+v", a)
	}
}
