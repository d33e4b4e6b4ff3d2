package tables

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"

	"jitgate/internal/access/storetest"
	local "jitgate/internal/local/tables"
)

// account is a stand-in with its address.
type account struct {
	*local.Server
	connection string
	http       *httptest.Server
}

func newAccount(t *testing.T) *account {
	t.Helper()
	server := local.New(local.Options{})
	h := httptest.NewServer(server)
	t.Cleanup(h.Close)
	return &account{Server: server, connection: server.ConnectionString(h.URL), http: h}
}

// store opens the account as another process would.
func (a *account) store(t *testing.T) *Store {
	t.Helper()
	s, err := New(Config{ConnectionString: a.connection, Transport: a.http.Client(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Store { return newAccount(t).store(t) })
}

// TestConformanceExternal runs the suite against a real account or Azurite, each
// subtest in tables of its own.
func TestConformanceExternal(t *testing.T) {
	connection := os.Getenv("JITGATE_TEST_TABLES")
	if connection == "" {
		t.Skip("set JITGATE_TEST_TABLES to a connection string to run the suite against it")
	}
	storetest.Run(t, func(t *testing.T) storetest.Store {
		var random [6]byte
		rand.Read(random[:])
		s, err := New(Config{ConnectionString: connection, Prefix: "test" + hex.EncodeToString(random[:])})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.EnsureTables(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			for _, table := range s.tables() {
				if _, err := table.client.Delete(context.Background(), nil); err != nil { // the test's own context is over
					t.Errorf("delete table %s: %v", table.name, err)
				}
			}
		})
		return s
	})
}
