package app_test

import (
	"strings"
	"testing"

	"jitgate/internal/api"
	"jitgate/internal/local/entra"
)

// TestOneselfInAnotherSpelling: an object id is a GUID, whose case says nothing, so
// nobody becomes somebody else by it, by a workflow or by an own token.
func TestOneselfInAnotherSpelling(t *testing.T) {
	e := newEdge(t)
	e.apply(strings.Replace(needsApproval, "{roles: [Jit.Approve]}", "{roles: [Jit.Approve], applications: ["+workflowOID+"]}", 1))
	const alices = "a11ce000-0000-4000-8000-000000000001"
	loud := e.bearer(map[string]any{"oid": strings.ToUpper(alices)}, entra.MintOptions{User: "alice"})
	id := decode[api.Request](t, e.must("POST", "/api/requests", strings.Replace(good, web01, db01, 1), "", loud)).ID
	if err := e.app.Service.Evaluate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	path := "/api/requests/" + id + "/approve"
	e.refuses(t, refusal{"by a workflow", "POST", path, `{"approver":{"object":"` + alices + `","name":"x"}}`, "", e.bearer(nil, entra.MintOptions{App: "workflow"}), 403, "own_request"})
	e.refuses(t, refusal{"by a token", "POST", path, ``, "", e.bearer(map[string]any{"roles": []string{"Jit.Approve"}}, entra.MintOptions{User: "alice"}), 403, "own_request"})
}
