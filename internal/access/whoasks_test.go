package access_test

import (
	"testing"

	"jitgate/internal/access"
)

const contractors = "aaaaaaaa-0000-4000-8000-000000000001"

// TestUnnamedGroupsLetNobodyIn: a policy that shuts members of a group out does not let
// in people whose groups are not known, neither when they ask nor when it is decided.
func TestUnnamedGroupsLetNobodyIn(t *testing.T) {
	const shutOut = `conditions: [{expression: '!("` + contractors + `" in requester.groups)', message: "Not for contractors."}]`
	w := newWorld(t)
	unnamed := as(alice)
	unnamed.GroupsIncomplete = true
	r, err := w.service.Submit(ctx, unnamed, "", ask("web01"))
	must(t, err)
	w.rule(shutOut)
	_, err = w.service.Submit(ctx, unnamed, "", ask("web01"))
	wantCode(t, err, "condition_failed")
	w.deliver()
	if r = w.wantState(r.ID, access.Denied); r.Targets[0].Reason.Code != "condition_failed" {
		t.Errorf("denied for %+v", r.Targets[0].Reason)
	}
	_, err = w.service.Submit(ctx, as(alice), "", ask("web01"))
	must(t, err)
}

// TestGuestsAskWhereTheirTenantIsNamed: when they ask and when it is decided.
func TestGuestsAskWhereTheirTenantIsNamed(t *testing.T) {
	const named = "requesters: {tenants: [home, ffffffff-0000-4000-8000-000000000006]}"
	w := newWorld(t)
	guest := as(access.Person{Tenant: "ffffffff-0000-4000-8000-000000000006", Object: "gus-oid", Name: "gus@fabrikam.example"}, access.RequesterRole)
	guest.Guest = true
	_, err := w.service.Submit(ctx, guest, "", ask("web01"))
	wantCode(t, err, "requester_not_allowed")
	w.rule(named)
	open, err := w.service.Submit(ctx, guest, "", ask("web01"))
	must(t, err)
	w.deliver()
	w.wantState(open.ID, access.Active)
	w.active("app01") // of somebody of the home tenant
	waiting, err := w.service.Submit(ctx, guest, "", ask("web01"))
	must(t, err)
	w.rule("")
	w.deliver()
	w.wantState(waiting.ID, access.Denied)
}
