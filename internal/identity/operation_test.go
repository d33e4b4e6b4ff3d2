package identity

import (
	"slices"
	"testing"
)

var allRoles = []string{RoleRequest, RoleApprove, RoleAdmin, RoleAudit, RoleDecideWorkflow, RoleActionGroup, RolePolicyWrite}

// TestMay walks every operation, every role and every kind of caller.
func TestMay(t *testing.T) {
	const monitor = "461e8683-5575-4561-ac7f-899cc907d62a"
	table := []struct {
		op                   Operation
		people, applications []string
		only                 string // the only application
	}{
		// What guests may stands in TestGuests.
		{"request.create", []string{"Jit.Request"}, []string{"Jit.Request"}, ""},
		{"request.read.own", []string{"Jit.Request", "Jit.Approve", "Jit.Admin"}, []string{"Jit.Request"}, ""},
		{"request.read.any", []string{"Jit.Approve", "Jit.Admin", "Jit.Audit"}, nil, ""},
		{"request.revoke.own", []string{"Jit.Request", "Jit.Admin"}, []string{"Jit.Request"}, ""},
		{"request.revoke.any", []string{"Jit.Approve", "Jit.Admin"}, nil, ""},
		{"request.extend.own", []string{"Jit.Request"}, nil, ""},
		{"request.decide", []string{"Jit.Approve"}, []string{"Jit.Decide.Workflow"}, ""},
		{"breakglass.open", []string{"Jit.Request"}, nil, ""},
		{"breakglass.review", []string{"Jit.Approve", "Jit.Admin"}, nil, ""},
		{"subscription.own", nil, []string{"Jit.Request"}, ""},
		{"subscription.any", nil, []string{"Jit.Decide.Workflow"}, ""},
		{"lockdown", []string{"Jit.Approve", "Jit.Admin"}, nil, ""},
		{"lockdown.person", []string{"Jit.Admin"}, nil, ""},
		{"ledger.read", []string{"Jit.Approve", "Jit.Admin", "Jit.Audit"}, nil, ""},
		{"alert.report", nil, []string{"Jit.Decide.Workflow"}, ""},
		{"policy.read", []string{"Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Audit"}, []string{"Jit.Policy.Write"}, ""},
		{"policy.write", []string{"Jit.Admin"}, []string{"Jit.Policy.Write"}, ""},
		{"policy.approve", []string{"Jit.Admin"}, nil, ""},
		{"machine.read", []string{"Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Audit"}, nil, ""},
		{"machine.report", []string{"Jit.Approve", "Jit.Admin", "Jit.Audit"}, nil, ""},
		{"machine.protect", []string{"Jit.Admin"}, nil, ""},
		{"alert.receive", nil, []string{"ActionGroupsSecureWebhook"}, monitor},
	}
	listed := map[Operation]bool{}
	for _, row := range table {
		listed[row.op] = true
		for _, application := range []bool{false, true} {
			for _, app := range []string{client, monitor, ""} {
				who := Caller{Application: application, App: app}
				if who.May(row.op) {
					t.Errorf("%+v without roles may %s", who, row.op)
				}
				may := row.people
				if application {
					may = row.applications
				}
				for _, role := range allRoles {
					want := slices.Contains(may, role) && (row.only == "" || app == row.only)
					for _, roles := range [][]string{{role}, {"jit.admin", role, "Unknown"}} {
						if who.Roles = roles; who.May(row.op) != want {
							t.Errorf("%+v may %s: %t", who, row.op, !want)
						}
					}
				}
			}
		}
	}
	for op := range allowed {
		if !listed[op] {
			t.Errorf("%s is not in this test's table", op)
		}
	}
	for _, application := range []bool{false, true} {
		for _, op := range []Operation{"", "request.delete", "*", "REQUEST.CREATE"} {
			if (Caller{Roles: allRoles, App: monitor, Application: application}).May(op) {
				t.Errorf("somebody may do %q, which is no operation", op)
			}
		}
	}
}

// TestGuests may do what concerns their own requests, whatever their tenant gave them.
func TestGuests(t *testing.T) {
	may := []Operation{"request.create", "request.extend.own", "request.read.own", "request.revoke.own", "subscription.own"}
	for _, op := range Operations() {
		for _, application := range []bool{false, true} {
			who := Caller{Guest: true, Application: application, App: ActionGroupApp, Roles: allRoles}
			want := slices.Contains(may, op) && (!application || op != "request.extend.own") && (application || op != "subscription.own")
			if who.May(op) != want {
				t.Errorf("a guest (application: %t) may %s: %t", application, op, !want)
			}
			if who.Roles = []string{RoleAdmin, RoleApprove, RoleAudit, RoleDecideWorkflow}; who.May(op) {
				t.Errorf("a guest (application: %t) without the role to ask may %s", application, op)
			}
		}
	}
}

func TestHas(t *testing.T) {
	c := Caller{Roles: []string{RoleApprove}}
	for role, want := range map[string]bool{RoleApprove: true, RoleAdmin: false, "jit.approve": false, "Jit.Approve ": false, "": false} {
		if c.Has(role) != want {
			t.Errorf("Has(%q) = %t", role, !want)
		}
	}
}
