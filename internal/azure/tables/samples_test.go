package tables

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	person = access.Person{Tenant: "t-1", Object: "o-1", Name: "alice@example.com"}
	signed = access.Signature{By: person, Approver: access.Person{Tenant: "t-1", Object: "o-2", Name: "bob@example.com"}, At: noon}
	group  = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
	nsgID  = armid.MustParse(group + "/providers/Microsoft.Network/networkSecurityGroups/nsg")
	nicID  = armid.MustParse(group + "/providers/Microsoft.Network/networkInterfaces/nic")
	vmID   = armid.MustParse(group + "/providers/Microsoft.Compute/virtualMachines/vm")
	made   = []audit.Event{{At: noon, Kind: audit.RequestCreated, Actor: "o-1", Name: "alice@example.com", Text: "made"}}
)

func sample(n int) access.Request {
	return access.Request{
		ID: fmt.Sprintf("00000000-0000-7000-8000-%012d", n), Requester: person, Source: netip.MustParsePrefix("203.0.113.7/32"),
		Duration: time.Hour, CreatedAt: noon.Add(time.Duration(n) * time.Minute), Fingerprint: "f00d",
		Targets: []access.Target{{VM: vmID, State: access.Pending, Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}}}},
		Events:  1,
	}
}

func sampleGrant(n int) access.Grant {
	return access.Grant{
		Request: sample(1).ID, Target: n, Rule: nsg.AllowName(sample(1).ID, 0), Requester: person.Name,
		Source: netip.MustParsePrefix("203.0.113.7/32"), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")},
		Protocol: nsg.TCP, Ports: []uint16{22}, ExpiresAt: noon.Add(time.Hour),
	}
}

func sampleGuard(revision int) access.Guard {
	return access.Guard{
		VM: vmID, Revision: revision, Wanted: true, Ports: []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.4")}, Removed: []nsg.Rule{{Name: "open", Verbatim: []byte("{}")}},
		Former: []nsg.Cover{{Ports: []nsg.PortRange{{Protocol: nsg.TCP, First: 80, Last: 80}}}},
	}
}

func putSampleGuard(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.PutGuard(t.Context(), nsgID, sampleGuard(1)); err != nil {
		t.Fatal(err)
	}
}

// protectSample raises the revision of the protection to at least the given one.
func protectSample(ctx context.Context, s *Store, revision int) error {
	_, err := s.UpdateProtection(ctx, vmID, func(p *access.Protection) ([]audit.Event, error) {
		if p.Revision >= revision {
			return nil, nil
		}
		p.Revision = revision
		p.Parts = []access.Part{{NSG: nsgID, Removed: sampleGuard(1).Removed}}
		return []audit.Event{{Text: fmt.Sprint("revision ", revision)}}, nil
	})
	return err
}

// lockSample adds a lockdown to the ledger, unless it is there.
func lockSample(ctx context.Context, s *Store, id string) error {
	_, err := s.UpdateLedger(ctx, func(l *access.Ledger) ([]audit.Event, error) {
		if slices.ContainsFunc(l.Lockdowns, func(d access.Lockdown) bool { return d.ID == id }) {
			return nil, nil
		}
		l.Lockdowns = append(l.Lockdowns, access.Lockdown{ID: id, Scope: policy.Tenant, By: person, At: noon})
		return []audit.Event{{Text: id}}, nil
	})
	return err
}

func wantLocked(t *testing.T, s *Store, told map[string]int, ids ...string) {
	t.Helper()
	l, err := s.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range l.Lockdowns {
		got = append(got, d.ID)
	}
	if d := cmp.Diff(ids, got) + cmp.Diff(told, l.Told, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("lockdowns and told (-want +got):\n%s", d)
	}
	record, err := s.LedgerEvents(t.Context(), 0, 0)
	wantRecord(t, record, err, ids...)
}

// deny remembers one more denial, unless there is one.
func deny(ctx context.Context, s *Store) error {
	return s.UpdateHabits(ctx, person, func(h *access.Habits) bool {
		if len(h.Denials) > 0 {
			return false
		}
		h.Denials = append(h.Denials, noon)
		return true
	})
}

func signalKey(n int) string { return fmt.Sprintf("%064x", n) }

// sampleSignal n was received n minutes after noon.
func sampleSignal(n int) access.Signal {
	return access.Signal{Key: signalKey(n), Alert: "alert", Rules: "alert-rules version 1", ReceivedAt: noon.Add(time.Duration(n) * time.Minute),
		Action: alert.Action{Machines: []armid.ID{vmID}, Revoke: true}}
}

// laterSignal is other news under the key of a sample.
func laterSignal(n int) access.Signal {
	s := sampleSignal(n)
	s.ReceivedAt = s.ReceivedAt.Add(time.Hour)
	return s
}

// putSignals files signals of which the first ones are done.
func putSignals(t *testing.T, s *Store, done, open int) {
	t.Helper()
	for n := range done + open {
		signal := sampleSignal(n)
		signal.Done = n < done
		if err := s.InsertSignal(t.Context(), signal); err != nil {
			t.Fatal(err)
		}
	}
}

// wantSignals describes all rows of alerts by what they are and their number, and
// holds them against what the calls say.
func wantSignals(t *testing.T, s *Store, want ...string) {
	t.Helper()
	var got, open []string
	for found, err := range s.ledger.rows(t.Context(), is("PartitionKey", alertsPartition), pageSize) {
		if err != nil {
			t.Fatal(err)
		}
		key := found.rk[len(found.rk)-64:]
		n, err := strconv.ParseUint(key, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(found.rk, "-")
		if found.rk == key {
			kind = "signal"
			switch signal, err := s.Signal(t.Context(), key); {
			case err != nil:
				t.Fatal(err)
			case signal.Done:
				kind = "signal done"
			default:
				open = append(open, key)
			}
		}
		got = append(got, fmt.Sprint(kind, " ", n))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("rows (-want +got):\n%s", d)
	}
	var listed []string
	if err := s.OpenSignals(t.Context(), func(signal access.Signal) error { listed = append(listed, signal.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(open, listed); d != "" {
		t.Fatalf("open signals (-want +got):\n%s", d)
	}
}

func wantPolicyVersions(t *testing.T, s *Store, want ...string) {
	t.Helper()
	doc := samplePolicy(22)
	versions, err := s.PolicyVersions(t.Context(), doc.Scope, doc.Key())
	if err != nil {
		t.Fatal(err)
	}
	inForce, err := s.PoliciesAt(t.Context(), doc.Scope)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range versions {
		text := fmt.Sprint(v.Version)
		if v.Removed {
			text += " removed"
		}
		if v.By != signed.By || v.Approver != signed.Approver {
			t.Errorf("version %d is signed %+v", v.Version, v.Signature)
		}
		got = append(got, text)
	}
	for _, p := range inForce {
		got = append(got, fmt.Sprint(p.Version, " in force"))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("versions (-want +got):\n%s", d)
	}
}

func sampleProposal(n int) access.Proposal {
	return access.Proposal{ID: sample(n).ID, Key: samplePolicy(22).Key(), Scope: samplePolicy(22).Scope, Text: "text", By: person, At: noon}
}

func wantProposals(t *testing.T, s *Store, want ...access.Proposal) {
	t.Helper()
	got, err := s.Proposals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("proposals (-want +got):\n%s", d)
	}
}

func samplePolicy(port int) policy.Document {
	d, err := policy.Parse(fmt.Appendf(nil, "# why\napiVersion: jitgate/v1\nscope: %s\nports: [{port: %d, protocol: TCP}]\nsources: [{range: 203.0.113.0/24, widest: 32}]\n", vmID, port))
	if err != nil {
		panic(err)
	}
	return d
}

func insertSample(t *testing.T, s *Store) {
	t.Helper()
	if err := s.InsertRequest(t.Context(), sample(1), made); err != nil {
		t.Fatal(err)
	}
}

func putSamples(t *testing.T, s *Store) {
	t.Helper()
	if _, _, err := s.PutGrants(t.Context(), nsgID, []access.Grant{sampleGrant(1), sampleGrant(2)}); err != nil {
		t.Fatal(err)
	}
}

func putSamplePolicy(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.PutPolicy(t.Context(), samplePolicy(22), signed); err != nil {
		t.Fatal(err)
	}
}

func mustID(text string) armid.ID { return armid.MustParse(text) }
func wantListed(t *testing.T, s *Store, q access.Query, want ...int) {
	t.Helper()
	page, err := s.List(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var got, ids []string
	for _, r := range page.Requests {
		got = append(got, r.ID)
	}
	for _, n := range want {
		ids = append(ids, sample(n).ID)
	}
	if d := cmp.Diff(ids, got); d != "" || page.Next != "" {
		t.Fatalf("listed for %+v (-want +got), cursor %q:\n%s", q, page.Next, d)
	}
}

func wantEvents(t *testing.T, s *Store, request int, want ...string) {
	t.Helper()
	events, err := s.Events(t.Context(), sample(request).ID)
	wantRecord(t, events, err, want...)
}

// wantRecord takes what a call returned.
func wantRecord(t *testing.T, events []audit.Event, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range events {
		got = append(got, e.Text)
		if e.Sequence != i+1 {
			t.Errorf("event %d has the number %d", i+1, e.Sequence)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("events (-want +got):\n%s", d)
	}
}

func wantProtection(t *testing.T, s *Store, revision int, events ...string) {
	t.Helper()
	p, err := s.Protection(t.Context(), vmID)
	if err != nil || p.Revision != revision || p.Events != len(events) {
		t.Fatalf("revision %d with %d events, error %v; want revision %d with %d", p.Revision, p.Events, err, revision, len(events))
	}
	record, err := s.ProtectionEvents(t.Context(), vmID)
	wantRecord(t, record, err, events...)
}

// wantBook describes grants by target and guards by revision, with whatever is not
// zero.
func wantBook(t *testing.T, s *Store, want ...string) access.Book {
	t.Helper()
	b, err := s.Book(t.Context(), nsgID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range b.Grants {
		text := strconv.Itoa(g.Target)
		if g.WakeUp != 0 {
			text += fmt.Sprint(" wakes ", g.WakeUp)
		}
		if g.Opened {
			text += " opened"
		}
		if g.Closing {
			text += " closing"
		}
		got = append(got, text)
	}
	for _, g := range b.Guards {
		text := fmt.Sprint("guard ", g.Revision)
		if g.Done {
			text += " done"
		}
		if len(g.Former) == 0 {
			text += " let go"
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("grants (-want +got):\n%s", d)
	}
	return b
}

// keysOf lists the row keys of a table that begin with prefix.
func keysOf(t *testing.T, from table, prefix string) []string {
	t.Helper()
	var out []string
	for found, err := range from.rows(t.Context(), "", pageSize) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(found.rk, prefix) {
			out = append(out, found.rk)
		}
	}
	return out
}
