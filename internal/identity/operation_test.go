package identity

import (
	"slices"
	"testing"
)

func TestMay(t *testing.T) {
	roles := []string{RoleRequest, RoleApprove, RoleAdmin, RoleAudit, RoleDecideWorkflow, RoleActionGroup}
	table := []struct {
		op      Operation
		allowed []string
	}{
		{"request.create", []string{"Jit.Request"}},
		{"request.read.own", []string{"Jit.Request", "Jit.Approve", "Jit.Admin"}},
		{"request.read.any", []string{"Jit.Approve", "Jit.Admin", "Jit.Audit"}},
		{"request.revoke.own", []string{"Jit.Request", "Jit.Admin"}},
		{"request.revoke.any", []string{"Jit.Approve", "Jit.Admin"}},
		{"policy.read", []string{"Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Audit"}},
		{"policy.write", []string{"Jit.Admin"}},
		{"machine.read", []string{"Jit.Request", "Jit.Approve", "Jit.Admin", "Jit.Audit"}},
		{"machine.report", []string{"Jit.Approve", "Jit.Admin", "Jit.Audit"}},
		{"machine.protect", []string{"Jit.Admin"}},
	}
	listed := map[Operation]bool{}
	for _, row := range table {
		for _, role := range roles {
			want := slices.Contains(row.allowed, role)
			if got := (Caller{Roles: []string{role}}).May(row.op); got != want {
				t.Errorf("%s may %s: %t, want %t", role, row.op, got, want)
			}
			if got := (Caller{Roles: []string{"jit.admin", role, "Unknown"}}).May(row.op); got != want {
				t.Errorf("%s among others may %s: %t, want %t", role, row.op, got, want)
			}
		}
		if (Caller{}).May(row.op) {
			t.Errorf("a caller without roles may %s", row.op)
		}
		listed[row.op] = true
	}
	for op := range allowed {
		if !listed[op] {
			t.Errorf("%s is not in this test's table", op)
		}
	}
	for _, role := range roles {
		for _, op := range []Operation{"", "request.delete", "*", "REQUEST.CREATE"} {
			if (Caller{Roles: []string{role}}).May(op) {
				t.Errorf("%s may do %q, which is no operation", role, op)
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
