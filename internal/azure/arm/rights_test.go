package arm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/azure/arm"
	"jitgate/internal/identity"
	local "jitgate/internal/local/arm"
)

const (
	askers    = "a5ce0000-0000-4000-8000-0000000000aa" // role definitions
	approvers = "a6600000-0000-4000-8000-0000000000bb"
	masters   = "aa570000-0000-4000-8000-0000000000cc"
	strangers = "57a60000-0000-4000-8000-0000000000dd"
	dana      = "da4a0000-0000-4000-8000-000000000001" // people
	eve       = "e0e00000-0000-4000-8000-000000000002"
	team      = "7ea00000-0000-4000-8000-000000000003" // groups
	company   = "c0000000-0000-4000-8000-000000000004"
	ofSub     = "/subscriptions/" + sub
	ofGroup   = ofSub + "/resourceGroups/rg-test"
	ofBoth    = scope + "Microsoft.Compute/virtualMachines/both"
	above     = "/providers/Microsoft.Management/managementGroups/mg"
)

func table() map[string][]string {
	return map[string][]string{askers: {"Jit.Request"}, approvers: {"Jit.Approve"}, strings.ToUpper(masters): {"Jit.Request", "Jit.Approve"}}
}

// office is a stand-in behind HTTP with Rights pointed at it.
type office struct {
	*local.Server
	*arm.Rights
	clock *clockwork.FakeClock
	wire  *wire
	logs  *logs
	ctx   context.Context
}

func openOffice(t *testing.T, o local.Options) *office {
	t.Helper()
	if o.Topology.Subscriptions == nil {
		o.Topology = topology()
	}
	server, err := local.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &office{Server: server, clock: clockwork.NewFakeClock(), wire: &wire{}, logs: &logs{}}
	http := httptest.NewServer(server)
	t.Cleanup(http.Close)
	f.Rights, err = arm.NewRights(arm.Config{Endpoint: http.URL, Credential: &fake.TokenCredential{}, Transport: f.wire,
		Clock: f.clock, Log: slog.New(f.logs)}, table())
	if err != nil {
		t.Fatal(err)
	}
	f.ctx = policy.WithRetryOptions(t.Context(), policy.RetryOptions{RetryDelay: time.Microsecond})
	return f
}

func (f *office) assign(t *testing.T, scope, principal, role string) {
	t.Helper()
	if err := f.Assign(local.RoleAssignment{Scope: scope, Principal: principal, Role: role}); err != nil {
		t.Fatal(err)
	}
}

func (f *office) ask(object string) ([]string, error) {
	return f.Roles(f.ctx, access.Person{Object: object}, armid.MustParse(ofBoth))
}

// expect asks what dana may do on the machine both.
func (f *office) expect(t *testing.T, want ...string) {
	t.Helper()
	got, err := f.ask(dana)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func (f *office) calls() int { return f.Counts()["roleassignment.list"] }

func TestRolesByAssignment(t *testing.T) {
	type assignments []local.RoleAssignment
	one := func(scope, principal, role string) assignments {
		return assignments{{Scope: scope, Principal: principal, Role: role}}
	}
	request, both := []string{identity.RoleRequest}, []string{identity.RoleApprove, identity.RoleRequest}
	for name, test := range map[string]struct {
		assigned assignments
		want     []string
	}{
		"nothing":                   {},
		"on the machine":            {one(ofBoth, dana, askers), request},
		"on its group":              {one(ofGroup, dana, askers), request},
		"on its subscription":       {one(ofSub, dana, askers), request},
		"on a management group":     {one(above, dana, askers), request},
		"on everything":             {one("/", dana, askers), request},
		"through a group":           {one(ofSub, team, askers), request},
		"through a group's group":   {one(above, company, askers), request},
		"ids in capitals":           {one(strings.ToUpper(ofGroup), strings.ToUpper(dana), strings.ToUpper(askers)), request},
		"a role that gives two":     {one(ofBoth, dana, masters), both},
		"two roles":                 {append(one(ofBoth, dana, approvers), one(ofSub, team, askers)...), both},
		"the same by two ways":      {append(one(ofBoth, dana, askers), one(ofSub, team, masters)...), both},
		"on another machine":        {one(scope+"Microsoft.Compute/virtualMachines/same", dana, askers), nil},
		"to somebody else":          {one(ofBoth, eve, askers), nil},
		"a role not in the table":   {one(ofBoth, dana, strangers), nil},
		"with a condition":          {assignments{{Scope: ofBoth, Principal: dana, Role: masters, Condition: "@Resource[x] StringEquals 'y'"}}, nil},
		"with a condition of space": {assignments{{Scope: ofBoth, Principal: dana, Role: masters, Condition: " "}}, nil},
		"with a condition and without": {assignments{{Scope: ofBoth, Principal: dana, Role: masters, Condition: "x"},
			{Scope: ofSub, Principal: dana, Role: askers}}, request},
	} {
		t.Run(name, func(t *testing.T) {
			o := local.Options{Topology: topology()}
			o.Topology.RoleAssignments = test.assigned
			o.Topology.Groups = map[string][]string{team: {dana}, company: {team}}
			f := openOffice(t, o)
			f.expect(t, test.want...)
			if lines := f.logs.take(slog.LevelWarn); len(lines) > 0 {
				t.Errorf("warnings: %q", lines)
			}
		})
	}
}

// TestStrangeAssignmentsGiveNothing: what Azure would not answer must not open a door.
func TestStrangeAssignmentsGiveNothing(t *testing.T) {
	const definitions = "/providers/Microsoft.Authorization/roleDefinitions/"
	for field, values := range map[string][]any{
		"scope": {"", nil, ofBoth + "2", ofBoth[:len(ofBoth)-1], ofGroup[:len(ofGroup)-1], ofBoth + "/", ofBoth + "/extensions/x", ofGroup + "2", ofGroup + "/", ofSub + "2", "/subscriptions/" + dana, "/subscriptions/", "/subscriptions",
			"//", above[1:], above + "/", above + "/x", above[:strings.LastIndex(above, "/")+1], "/providers/Microsoft.Management", ofBoth + above, scope + "Microsoft.Compute/virtualMachines/same"},
		"roleDefinitionId": {"", nil, masters, ofSub + definitions, ofSub + definitions + masters + "/", ofSub + definitions + masters + "x", "/x/" + masters,
			ofSub + "/providers/Microsoft.Authorization/roleAssignments/" + masters, "x" + definitions[1:] + masters},
		"condition": {"true", "\u00a0"},
	} {
		for _, value := range values {
			t.Run(fmt.Sprint(field, " ", value), func(t *testing.T) {
				f := openOffice(t, local.Options{})
				f.assign(t, ofBoth, dana, masters)
				changed := false
				f.wire.rewrite = func(_ *http.Request, body []byte) []byte {
					return edit(body, func(o object) {
						list := o["value"].([]any)
						list[0].(object)["properties"].(object)[field] = value
						o["value"], changed = append(list, nil), true
					})
				}
				f.expect(t)
				if warned := len(f.logs.take(slog.LevelWarn)) == 1; !changed || warned != (field == "scope") {
					t.Errorf("changed: %v, warned: %v", changed, warned)
				}
			})
		}
	}
}

func TestRightsAreKeptForAMinute(t *testing.T) {
	f := openOffice(t, local.Options{})
	f.assign(t, ofBoth, dana, askers)
	f.expect(t, "Jit.Request")
	if err := f.Unassign(local.RoleAssignment{Scope: ofBoth, Principal: dana, Role: askers}); err != nil {
		t.Fatal(err)
	}
	f.assign(t, ofGroup, dana, approvers)
	f.clock.Advance(time.Minute - time.Nanosecond)
	f.expect(t, "Jit.Request")
	// The same person and machine in other letters.
	got, err := f.Roles(f.ctx, access.Person{Object: strings.ToUpper(dana), Name: "x"}, armid.MustParse(strings.ToUpper(ofBoth)))
	if err != nil || !slices.Equal(got, []string{"Jit.Request"}) {
		t.Errorf("%v, %v", got, err)
	}
	got[0] = "Jit.Admin" // what a caller does to its answer is not what the next one gets
	f.expect(t, "Jit.Request")
	if f.calls() != 1 {
		t.Errorf("%d calls", f.calls())
	}
	if got, err := f.ask(eve); err != nil || got != nil {
		t.Errorf("somebody else: %v, %v", got, err)
	}
	if got, err := f.Roles(f.ctx, access.Person{Object: dana}, armid.MustParse(scope+"Microsoft.Compute/virtualMachines/same")); err != nil || !slices.Equal(got, []string{"Jit.Approve"}) {
		t.Errorf("another machine: %v, %v", got, err)
	}
	f.clock.Advance(time.Nanosecond)
	f.expect(t, "Jit.Approve")
	if f.calls() != 4 {
		t.Errorf("%d calls", f.calls())
	}
}

// TestRightsAgeWhileAzureAnswers: an answer is as old as the question.
func TestRightsAgeWhileAzureAnswers(t *testing.T) {
	f := openOffice(t, local.Options{})
	f.assign(t, ofBoth, dana, askers)
	f.SetHooks(nil, func(local.Op) *local.Fault { f.clock.Advance(40 * time.Second); return nil })
	f.expect(t, "Jit.Request")
	f.SetHooks(nil, nil)
	f.clock.Advance(20 * time.Second)
	f.expect(t, "Jit.Request")
	if f.calls() != 2 {
		t.Errorf("%d calls", f.calls())
	}
}

func TestRightsFail(t *testing.T) {
	for name, test := range map[string]struct {
		times int
		fault local.Fault
		want  error
	}{
		"may not read":                        {1, local.Fault{Status: 403, Code: "AuthorizationFailed"}, access.ErrForbidden},
		"no token":                            {1, local.Fault{Status: 401, Code: "InvalidAuthenticationToken"}, access.ErrForbidden},
		"bad question":                        {1, local.Fault{Status: 400, Code: "BadRequest"}, access.ErrForbidden},
		"a subscription that we cannot see":   {1, local.Fault{Status: 404, Code: "SubscriptionNotFound"}, access.ErrForbidden},
		"a 404 that does not speak of the VM": {1, local.Fault{Status: 404, Code: "InvalidResourceType"}, access.ErrUnavailable},
		"throttled":                           {4, local.Fault{Status: 429, Code: "TooManyRequests"}, access.ErrUnavailable},
		"throttled for a while":               {3, local.Fault{Status: 429, Code: "TooManyRequests"}, nil},
		"down":                                {4, local.Fault{Status: 503, Code: "ServerTimeout"}, access.ErrUnavailable},
		"no answer":                           {4, local.Fault{Drop: true}, access.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			f := openOffice(t, local.Options{})
			f.assign(t, ofBoth, dana, askers)
			f.FailNext("", test.times, test.fault)
			got, err := f.ask(dana)
			if !errors.Is(err, test.want) || test.want != nil && got != nil {
				t.Errorf("%v, %v, want %v", got, err, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dana) || !strings.Contains(err.Error(), ofBoth)) {
				t.Errorf("the error is not a line that says what failed: %q", err)
			}
			f.expect(t, "Jit.Request") // the failure is not remembered
			if want := test.times + 1; f.calls() != want {
				t.Errorf("%d calls, want %d", f.calls(), want)
			}
		})
	}
}

func TestNoMachineNoRights(t *testing.T) {
	f := openOffice(t, local.Options{})
	f.assign(t, "/", dana, masters)
	for _, id := range []string{ofBoth + "2", strings.ReplaceAll(ofBoth, "rg-test", "rg-none")} {
		if got, err := f.Roles(f.ctx, access.Person{Object: dana}, armid.MustParse(id)); err != nil || got != nil {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
	if f.calls() != 1+1 {
		t.Errorf("%d calls", f.calls())
	}
	// Nothing is asked about what is no person or no machine.
	for _, object := range []string{"", "dana", dana + "') or assignedTo('" + eve, "{" + dana + "}", strings.ReplaceAll(dana, "-", ""), "urn:uuid:" + dana, dana[:35] + "'"} {
		if got, err := f.ask(object); err != nil || got != nil {
			t.Errorf("%q: %v, %v", object, got, err)
		}
	}
	for _, id := range []armid.ID{{}, armid.MustParse(ofSub), armid.MustParse(ofGroup), armid.MustParse(nsgID)} {
		if got, err := f.Roles(f.ctx, access.Person{Object: dana}, id); err != nil || got != nil {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
	if f.calls() != 2 {
		t.Errorf("%d calls", f.calls())
	}
}

func TestRightsOnManyPages(t *testing.T) {
	f := openOffice(t, local.Options{PageSize: 2})
	for i := range 6 {
		f.assign(t, ofBoth, dana, fmt.Sprintf("57a60000-0000-4000-8000-%012d", i))
	}
	f.assign(t, "/", dana, askers)
	f.assign(t, ofGroup, dana, approvers)
	// Half a list is no list.
	pages := 0
	f.SetHooks(func(local.Op) *local.Fault {
		if pages++; pages == 4 {
			return &local.Fault{Status: 403, Code: "AuthorizationFailed"}
		}
		return nil
	}, nil)
	if got, err := f.ask(dana); !errors.Is(err, access.ErrForbidden) || got != nil {
		t.Errorf("%v, %v", got, err)
	}
	f.SetHooks(nil, nil)
	f.ResetCounts()
	f.expect(t, "Jit.Approve", "Jit.Request")
	if f.calls() != 4 {
		t.Errorf("%d calls for 8 assignments", f.calls())
	}
}

func TestRightsStayWithARM(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked with %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(elsewhere.Close)
	for name, link := range map[string]func(own string) string{
		"another host":       func(string) string { return elsewhere.URL + "/x" },
		"another scheme":     func(own string) string { return strings.Replace(own, "http:", "https:", 1) },
		"credentials":        func(own string) string { return strings.Replace(own, "http://", "http://me:secret@", 1) },
		"our host as a name": func(own string) string { return strings.Replace(own, "http://", elsewhere.URL+"/", 1) },
		"no host":            func(string) string { return "/subscriptions" },
		"not a URL":          func(string) string { return "http://[" },
	} {
		t.Run(name, func(t *testing.T) {
			f := openOffice(t, local.Options{PageSize: 1})
			f.assign(t, ofBoth, dana, askers)
			f.assign(t, ofSub, dana, approvers)
			f.wire.rewrite = func(_ *http.Request, body []byte) []byte {
				return edit(body, func(o object) { o["nextLink"] = link(o["nextLink"].(string)) })
			}
			if got, err := f.ask(dana); !errors.Is(err, access.ErrUnavailable) || got != nil {
				t.Errorf("%v, %v", got, err)
			}
			if n := len(f.wire.sent); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestRightsUnreadable(t *testing.T) {
	for _, text := range []string{"", "[]", "{", `{"value":{}}`, `{"value":[{"properties":{"condition":{}}}]}`, `{"value":[3]}`} {
		f := openOffice(t, local.Options{})
		f.wire.rewrite = func(*http.Request, []byte) []byte { return []byte(text) }
		if got, err := f.ask(dana); text != "" && !errors.Is(err, access.ErrUnavailable) || got != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestRightsOnTheWire(t *testing.T) {
	f := openOffice(t, local.Options{})
	var query, accept string
	f.wire.rewrite = func(r *http.Request, body []byte) []byte {
		query, accept = r.URL.RawQuery, r.Header.Get("Accept")
		return body
	}
	f.expect(t)
	want := "%24filter=atScope%28%29%20and%20assignedTo%28%27" + dana + "%27%29&api-version=2022-04-01"
	if query != want || accept != "application/json" {
		t.Errorf("sent %s for %q, want %s", query, accept, want)
	}
	s := f.wire.sent[0]
	if diff := cmp.Diff(ofBoth+"/providers/Microsoft.Authorization/roleAssignments", s.path); diff != "" || !strings.HasPrefix(s.agent, "jitgate ") {
		t.Errorf("agent %q, path %s", s.agent, diff)
	}
}
