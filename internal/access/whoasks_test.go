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
