package tables

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	person = access.Person{Tenant: "t-1", Object: "o-1", Name: "alice@example.com"}
	group  = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
	nsgID  = armid.MustParse(group + "/providers/Microsoft.Network/networkSecurityGroups/nsg")
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
	if _, err := s.PutPolicy(t.Context(), samplePolicy(22), person, noon); err != nil {
		t.Fatal(err)
	}
}

func mustID(text string) armid.ID { return armid.MustParse(text) }
