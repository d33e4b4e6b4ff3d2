package alerts

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// TestAStoreThatHangs: Azure Monitor is told to come again before it gives up by itself.
func TestAStoreThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		mux, api := web.New(web.Config{Verifier: monitor{}, Version: "1", Log: log})
		Register(api, &access.Service{Ledgers: hung{}, Now: time.Now, Log: log}, log)
		body, err := os.ReadFile("../../internal/alert/testdata/01-metric-fired.json")
		if err != nil {
			t.Fatal(err)
		}
		call := httptest.NewRequest(http.MethodPost, web.AlertsPath, strings.NewReader(string(body)))
		call.Header.Set("Content-Type", "application/json")
		w, began := httptest.NewRecorder(), time.Now()
		mux.ServeHTTP(w, call)
		if took := time.Since(began); w.Code != http.StatusServiceUnavailable || took != answerWithin {
			t.Errorf("%d after %s: %s", w.Code, took, w.Body)
		}
	})
}

// monitor takes every call for Azure Monitor's.
type monitor struct{}

func (monitor) Verify(context.Context, http.Header) (identity.Caller, error) {
	return identity.Caller{Object: "o", App: identity.ActionGroupApp, Application: true, Roles: []string{identity.RoleActionGroup}}, nil
}

// hung never answers.
type hung struct{ access.LedgerStore }

func (hung) Ledger(ctx context.Context) (access.Ledger, error) {
	<-ctx.Done()
	return access.Ledger{}, ctx.Err()
}
