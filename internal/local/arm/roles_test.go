package arm_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/arm"
)

const (
	reader  = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
	anna    = "a0000000-0000-4000-8000-00000000000a"
	ben     = "b0000000-0000-4000-8000-00000000000b"
	inner   = "c0000000-0000-4000-8000-00000000000c"
	outer   = "d0000000-0000-4000-8000-00000000000d"
	top     = "/providers/Microsoft.Management/managementGroups/mg-top"
	machine = scope + "/providers/Microsoft.Compute/virtualMachines/"
)

// assigned lists the scopes of the assignments that a filter finds, and counts the
// pages.
func (e *estate) assigned(t *testing.T, at, filter string) (scopes []string, pages int) {
	t.Helper()
	next := at + "/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&%24filter=" + url.QueryEscape(filter)
	for next != "" {
		resp, out := e.call(t, "GET", next, nil)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d %v", filter, resp.StatusCode, out)
		}
		for _, item := range out["value"].([]any) {
			scopes = append(scopes, item.(map[string]any)["properties"].(map[string]any)["scope"].(string))
		}
		next, _ = out["nextLink"].(string)
		pages++
	}
	slices.Sort(scopes)
	return scopes, pages
}

func TestRoleAssignmentsByFilter(t *testing.T) {
	topology := must(arm.ParseTopology(arm.DemoTopology()))
	topology.Groups = map[string][]string{outer: {inner}, inner: {strings.ToUpper(ben), outer}} // a circle
	subscription := "/subscriptions/" + sub
	for _, at := range []string{"/", top, subscription, scope, machine + "web01", machine + "db01"} {
		topology.RoleAssignments = append(topology.RoleAssignments, arm.RoleAssignment{Scope: at, Principal: anna, Role: reader})
	}
	topology.RoleAssignments = append(topology.RoleAssignments,
		arm.RoleAssignment{Scope: scope, Principal: outer, Role: reader}, arm.RoleAssignment{Scope: subscription, Principal: ben, Role: reader})
	above := []string{"/", top, subscription, scope}
	for _, pageSize := range []int{0, 1, 2} {
		e := start(t, arm.Options{Topology: topology, PageSize: pageSize})
		for _, c := range []struct {
			at, filter string
			want       []string
		}{
			{machine + "web01", "atScope() and assignedTo('" + anna + "')", append(above[:4:4], machine+"web01")},
			{strings.ToUpper(scope), "atScope() and assignedTo('" + strings.ToUpper(anna) + "')", above},
			{subscription, "atScope() and assignedTo('" + anna + "')", above[:3]},
			{scope, "assignedTo('" + anna + "')", append(above[:4:4], machine+"db01", machine+"web01")},
			{machine + "web01", "assignedTo('" + anna + "')", append(above[:4:4], machine+"web01")},
			{machine + "db01", "atScope()", append(above[:4:4], subscription, scope, machine+"db01")},
			{machine + "db01", "assignedTo('" + ben + "')", []string{subscription, scope}},
			{machine + "db01", "assignedTo('" + reader + "')", nil},
		} {
			got, pages := e.assigned(t, c.at, c.filter)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s at %s: %s", c.filter, c.at, diff)
			}
			if size := pageSize; size > 0 && pages != max(1, (len(c.want)+size-1)/size) {
				t.Errorf("%s at %s: %d in %d pages of %d", c.filter, c.at, len(c.want), pages, size)
			}
		}
	}
}

func TestRoleAssignmentsRefused(t *testing.T) {
	topology := must(arm.ParseTopology(arm.DemoTopology()))
	topology.Groups = map[string][]string{inner: nil}
	e := start(t, arm.Options{Topology: topology})
	const list = "/providers/Microsoft.Authorization/roleAssignments"
	with := func(filter string) string {
		return list + "?api-version=2022-04-01&%24filter=" + url.QueryEscape(filter)
	}
	for _, c := range []struct {
		path   string
		status int
		code   string
	}{
		{machine + "web01" + list + "?%24filter=atScope()", 400, "MissingApiVersionParameter"},
		{machine + "web01" + list + "?api-version=2022-04-01", 400, "BadRequest"},
		{machine + "web01" + with(""), 400, "BadRequest"},
		{machine + "web01" + with("atScope()") + "&%24filter=atScope()", 400, "BadRequest"},
		{machine + "web01" + with("principalId eq '"+anna+"'"), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo('"+anna+"') and atScope()"), 400, "BadRequest"},
		{machine + "web01" + with("atScope() or assignedTo('"+anna+"')"), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo('"+anna+"') "), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo("+anna+")"), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo('anna')"), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo('')"), 400, "BadRequest"},
		{machine + "web01" + with("assignedTo('"+inner+"')"), 400, "BadRequest"},
		{machine + "web99" + with("atScope()"), 404, "ResourceNotFound"},
		{strings.ReplaceAll(scope, rg, "rg-none") + with("atScope()"), 404, "ResourceGroupNotFound"},
		{strings.ReplaceAll(scope, sub, inner) + with("atScope()"), 404, "SubscriptionNotFound"},
		{nsgs + "nsg-web01" + with("atScope()"), 404, "InvalidResourceType"},
	} {
		if resp, out := e.call(t, "GET", c.path, nil); resp.StatusCode != c.status || errorCode(out) != c.code {
			t.Errorf("%s: %d %v, want %d %s", c.path, resp.StatusCode, out, c.status, c.code)
		}
	}
	if resp, _ := e.call(t, "GET", machine+"web01"+with("atScope()"), nil, "Authorization", "Bearer "); resp.StatusCode != 401 {
		t.Errorf("without a token: %d", resp.StatusCode)
	}
}

func TestRoleAssignmentBody(t *testing.T) {
	e := start(t, arm.Options{})
	for _, a := range []arm.RoleAssignment{{Scope: scope, Principal: anna, Role: reader, Condition: "x"}, {Scope: "/", Principal: inner, Role: reader}} {
		if err := e.Assign(a); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.SetGroup(inner); err != nil {
		t.Fatal(err)
	}
	_, out := e.call(t, "GET", scope+"/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&%24filter=atScope()", nil)
	definition := "/providers/Microsoft.Authorization/roleDefinitions/" + reader
	want := map[string]map[string]any{
		scope: {"roleDefinitionId": "/subscriptions/" + sub + definition, "principalId": anna, "principalType": "User", "scope": scope, "condition": "x", "conditionVersion": "2.0"},
		"/":   {"roleDefinitionId": definition, "principalId": inner, "principalType": "Group", "scope": "/", "condition": nil, "conditionVersion": nil},
	}
	for _, item := range out["value"].([]any) {
		a := item.(map[string]any)
		p := a["properties"].(map[string]any)
		at := p["scope"].(string)
		delete(p, "description")
		delete(p, "delegatedManagedIdentityResourceId")
		if diff := cmp.Diff(want[at], p); diff != "" {
			t.Errorf("at %s: %s", at, diff)
		}
		if id := strings.TrimSuffix(at, "/") + "/providers/Microsoft.Authorization/roleAssignments/" + a["name"].(string); a["id"] != id || a["type"] != "Microsoft.Authorization/roleAssignments" {
			t.Errorf("%v is not %s", a, id)
		}
		delete(want, at)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestAssignAndUnassign(t *testing.T) {
	e := start(t, arm.Options{})
	web01 := machine + "web01"
	who := "atScope() and assignedTo('" + ben + "')"
	expect := func(what string, want ...string) {
		t.Helper()
		if got, _ := e.assigned(t, web01, who); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	direct := arm.RoleAssignment{Scope: web01, Principal: ben, Role: reader}
	again := direct
	again.Scope, again.Principal, again.Role, again.Condition = strings.ToUpper(direct.Scope), strings.ToUpper(ben), strings.ToUpper(reader), "x"
	for _, err := range []error{e.Assign(direct), e.Assign(arm.RoleAssignment{Scope: scope, Principal: inner, Role: reader}), e.SetGroup(inner, ben)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("at first", scope, web01)
	if e.Assign(again) == nil {
		t.Error("the same was assigned twice")
	}
	if err := e.Unassign(again); err != nil {
		t.Error(err)
	}
	if e.Unassign(direct) == nil {
		t.Error("what was gone went again")
	}
	expect("after it was taken away", scope)
	if e.SetGroup(inner, "nobody") == nil {
		t.Error("a member without a GUID")
	}
	expect("after a refused change", scope)
	if err := e.SetGroup(inner); err != nil {
		t.Error(err)
	}
	expect("out of the group")
	for _, bad := range []arm.RoleAssignment{
		{Scope: "", Principal: ben, Role: reader}, {Scope: sub, Principal: ben, Role: reader}, {Scope: scope + "x", Principal: ben, Role: reader},
		{Scope: scope + "/", Principal: ben, Role: reader}, {Scope: "/subscriptions/" + inner, Principal: ben, Role: reader},
		{Scope: top + "/x", Principal: ben, Role: reader}, {Scope: web, Principal: ben, Role: reader},
		{Scope: scope, Principal: "ben", Role: reader}, {Scope: scope, Principal: ben, Role: "Reader"},
	} {
		if e.Assign(bad) == nil {
			t.Errorf("%+v was assigned", bad)
		}
		if e.Unassign(bad) == nil {
			t.Errorf("%+v was there", bad)
		}
	}
}

func TestRolesInTopology(t *testing.T) {
	text := head + "roleAssignments:\n  - {scope: /, principal: " + inner + ", role: " + reader + ", condition: x}\ngroups:\n  " + inner + ": [" + anna + "]\n"
	got := must(arm.ParseTopology([]byte(text)))
	want := arm.Topology{Subscriptions: got.Subscriptions, Groups: map[string][]string{inner: {anna}},
		RoleAssignments: []arm.RoleAssignment{{Scope: "/", Principal: inner, Role: reader, Condition: "x"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct{ why, text, want string }{
		{"unknown key", head + "roleAssignments:\n  - {scope: /, members: []}\n", "7:"},
		{"a role by name", head + "roleAssignments:\n  - {scope: /, principal: " + anna + ", role: Reader}\n", "line 7: "},
		{"the same twice", head + "roleAssignments:\n  - &a {scope: /, principal: " + anna + ", role: " + reader + "}\n  - *a\n", "line 8: "},
		{"a group by name", head + "groups:\n  ops: []\n", `group "ops"`},
		{"a member by name", head + "groups:\n  " + inner + ": [anna]\n", `member "anna"`},
		{"one group in two cases", head + "groups:\n  " + inner + ": []\n  " + strings.ToUpper(inner) + ": []\n", "twice"},
	} {
		if _, err := arm.ParseTopology([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.why, err, c.want)
		}
	}
}
