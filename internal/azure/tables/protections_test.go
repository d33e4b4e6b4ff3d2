package tables

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// recorder notes what queries filter by.
type recorder struct {
	policy.Transporter
	filters []string
	tops    []string
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	if filter := req.URL.Query().Get("$filter"); filter != "" {
		r.filters = append(r.filters, filter)
		r.tops = append(r.tops, req.URL.Query().Get("$top"))
	}
	return r.Transporter.Do(req)
}

// recorded opens a store whose queries are noted.
func recorded(t *testing.T) (*account, *recorder, *Store) {
	t.Helper()
	a := newAccount(t)
	rec := &recorder{Transporter: a.http.Client()}
	s, err := New(Config{ConnectionString: a.connection, Transport: rec})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a, rec, s
}

// A machine and its record are one transaction, and reading all machines is one
// range that holds no event: records only ever grow.
func TestRowsOfMachines(t *testing.T) {
	a, rec, s := recorded(t)
	before := a.Counts()["transaction"]
	if err := errors.Join(protectSample(t.Context(), s, 1), protectSample(t.Context(), s, 2)); err != nil {
		t.Fatal(err)
	}
	if got := a.Counts()["transaction"] - before; got != 2 {
		t.Errorf("%d transactions for two changes", got)
	}
	key := vmID.Key()
	if d := cmp.Diff([]string{"event-" + key + "-000001", "event-" + key + "-000002", "protection-" + key}, keysOf(t, s.machines.table, "")); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	rec.filters = nil
	if err := s.Protections(t.Context(), func(access.Protection) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ProtectionEvents(t.Context(), vmID); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PartitionKey eq 'machines' and RowKey ge 'protection-' and RowKey lt 'protection.'",
		"PartitionKey eq 'machines' and RowKey ge 'event-" + key + "-' and RowKey lt 'event-" + key + ".'",
	}
	if d := cmp.Diff(want, rec.filters); d != "" {
		t.Errorf("queries (-want +got):\n%s", d)
	}
}

// More removed rules than a row holds are refused before anything is written: a
// machine whose rules went without a copy could never be given back.
func TestProtectionTooLong(t *testing.T) {
	a := newAccount(t)
	s := a.store(t)
	removed := []nsg.Rule{{Verbatim: bytes.Repeat([]byte("x"), maxParts*partUnits)}}
	g := sampleGuard(1)
	g.Removed = removed
	before := a.Counts()["transaction"]
	if _, err := s.PutGuard(t.Context(), nsgID, g); !errors.Is(err, access.ErrTooLarge) || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("guard: error %v, want ErrTooLarge", err)
	}
	_, err := s.UpdateProtection(t.Context(), vmID, func(p *access.Protection) ([]audit.Event, error) {
		p.Parts = []access.Part{{NSG: nsgID, Removed: removed}}
		return made, nil
	})
	if !errors.Is(err, access.ErrTooLarge) || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("protection: error %v, want ErrTooLarge", err)
	}
	if got := a.Counts()["transaction"] - before; got != 0 {
		t.Errorf("%d transactions were sent", got)
	}

	// What the service takes, it takes whole.
	g.Removed[0].Verbatim = bytes.Repeat([]byte("é"), maxParts*partUnits-1000)
	if _, err := s.PutGuard(t.Context(), nsgID, g); err != nil {
		t.Fatal(err)
	}
	if b := wantBook(t, s, "guard 1"); !bytes.Equal(b.Guards[0].Removed[0].Verbatim, g.Removed[0].Verbatim) {
		t.Error("the longest guard came back different")
	}
}
