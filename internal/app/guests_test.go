package app_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"jitgate/functions/requests"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// known is a verifier that takes everybody for one caller.
type known identity.Caller

func (k known) Verify(context.Context, http.Header) (identity.Caller, error) {
	return identity.Caller(k), nil
}

// TestPoliciesKnowGuests: that a caller is of a further tenant gets through to policy.
func TestPoliciesKnowGuests(t *testing.T) {
	e := newEdge(t)
	for guest, want := range map[bool]int{false: http.StatusAccepted, true: http.StatusForbidden} {
		log := slog.New(slog.DiscardHandler)
		mux, operations := web.New(web.Config{Verifier: known{Tenant: "ffffffff-0000-4000-8000-000000000006", Object: "0b1ec700-0000-4000-8000-000000000001",
			Roles: []string{identity.RoleRequest}, Guest: guest}, Log: log})
		requests.Register(operations, e.app.Service, log)
		r := httptest.NewRequest("POST", "/api/requests", strings.NewReader(good))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if answer := w.Body.String(); w.Code != want || guest && !strings.Contains(answer, "those of the home tenant") {
			t.Errorf("guest %t: %d %s", guest, w.Code, answer)
		}
	}
}
