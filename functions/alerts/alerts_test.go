package alerts

import (
	"context"
	"errors"
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
		status, took := post(t, hung{})
		if status != http.StatusServiceUnavailable || took != answerWithin {
			t.Errorf("%d after %s", status, took)
		}
	})
}

// TestWhateverGoesWrong: of all answers that are no success it repeats after 503 alone.
func TestWhateverGoesWrong(t *testing.T) {
	for _, err := range []error{access.ErrUnavailable, access.ErrForbidden, access.ErrTooLarge, errors.New("unreadable")} {
		if status, _ := post(t, sick{err: err}); status != http.StatusServiceUnavailable {
			t.Errorf("%v: %d", err, status)
		}
	}
}

// post makes a call of Azure Monitor's.
func post(t *testing.T, ledgers access.LedgerStore) (status int, took time.Duration) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	mux, api := web.New(web.Config{Verifier: monitor{}, Version: "1", Log: log})
	Register(api, &access.Service{Ledgers: ledgers, Now: time.Now, Log: log}, log)
	body, err := os.ReadFile("../../internal/alert/testdata/01-metric-fired.json")
	if err != nil {
		t.Fatal(err)
	}
	call := httptest.NewRequest(http.MethodPost, web.AlertsPath, strings.NewReader(string(body)))
	call.Header.Set("Content-Type", "application/json")
	w, began := httptest.NewRecorder(), time.Now()
	mux.ServeHTTP(w, call)
	return w.Code, time.Since(began)
}

// monitor takes every call for Azure Monitor's.
type monitor struct{}

func (monitor) Verify(context.Context, http.Header) (identity.Caller, error) {
	return identity.Caller{Object: "o", App: identity.ActionGroupApp, Application: true, Roles: []string{identity.RoleActionGroup}}, nil
}

// sick cannot be read.
type sick struct {
	access.LedgerStore
	err error
}

func (s sick) Ledger(context.Context) (access.Ledger, error) { return access.Ledger{}, s.err }

// hung never answers.
type hung struct{ access.LedgerStore }

func (hung) Ledger(ctx context.Context) (access.Ledger, error) {
	<-ctx.Done()
	return access.Ledger{}, ctx.Err()
}
