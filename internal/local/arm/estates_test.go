package arm_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/arm"
)

func TestFleet(t *testing.T) {
	s, err := arm.New(arm.Options{Topology: arm.Fleet(1000)})
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{Server: s}
	if a := probe(t, e, "fleet1000", "198.51.100.7", 22); a.Rule != "deny-management" {
		t.Errorf("%+v", a)
	}
	if text := must(yaml.Marshal(arm.Fleet(2))); len(text) == 0 {
		t.Error("a fleet cannot be written down")
	} else if _, err := arm.ParseTopology(text); err != nil {
		t.Errorf("a fleet written down cannot be read: %v", err)
	}
}

// What the doc comment of Varied promises, asked of the data plane and of the SDK.
func TestVaried(t *testing.T) {
	const n = 100
	if diff := cmp.Diff(arm.Varied(n), arm.Varied(n)); diff != "" {
		t.Fatalf("not the same twice:\n%s", diff)
	}
	if _, err := arm.ParseTopology(must(yaml.Marshal(arm.Varied(n)))); err != nil {
		t.Fatalf("written down it cannot be read: %v", err)
	}
	e := start(t, arm.Options{Topology: arm.Varied(n)})
	const stranger, office, granted = "192.0.2.1", "203.0.113.9", "198.51.100.7"
	for _, c := range []struct {
		kind   int
		source string
		port   uint16
		access string
		nsg    string // suffix
		rule   string
	}{
		{0, stranger, 22, "Allow", "-nsg", "allow-ssh"}, {0, stranger, 3389, "Deny", "-nsg", "DenyAllInBound"},
		{1, stranger, 22, "Deny", "-nsg", "DenyAllInBound"}, {1, office, 22, "Allow", "-nsg", "allow-ssh-office"},
		{2, stranger, 22, "Allow", "", ""}, {2, stranger, 3389, "Allow", "", ""},
		{3, stranger, 22, "Deny", "nsg-shared", "deny-management"}, {4, stranger, 22, "Deny", "nsg-shared", "deny-management"},
		{5, stranger, 22, "Deny", "-nsg", "SecurityCenter-JITRule_-"}, {5, granted, 22, "Allow", "-nsg", "SecurityCenter-JITRule-"},
		{5, granted, 3389, "Deny", "-nsg", "SecurityCenter-JITRule_-"},
		{6, stranger, 3389, "Allow", "-nsg", "allow-rdp"}, {6, stranger, 22, "Deny", "-nsg", "MicrosoftDefenderForCloud-JITRule_"},
		{7, stranger, 22, "Deny", "nsg-shared", "deny-management"}, {17, stranger, 3389, "Deny", "nsg-shared", "deny-management"},
		{8, stranger, 22, "Deny", "nsg-shared", "deny-management"}, {19, stranger, 22, "Deny", "nsg-shared", "deny-management"},
	} {
		for i := c.kind; i < n; i += 20 {
			a := probe(t, e, fmt.Sprintf("vm%04d", i), c.source, c.port)
			if a.Access != c.access || !strings.HasSuffix(a.NSG, c.nsg) || (c.nsg == "") != (a.NSG == "") || !strings.HasPrefix(a.Rule, c.rule) || (c.rule == "") != (a.Rule == "") {
				t.Errorf("vm%04d from %s to %d: %+v", i, c.source, c.port, a)
			}
		}
	}

	nics, publics := map[string]int{}, map[string]int{}
	groups := map[string]bool{}
	all, _ := collect(t, e.network.NewInterfacesClient().NewListAllPager(nil), interfaces)
	for _, nic := range all {
		vm := last(*nic.Properties.VirtualMachine.ID)
		nics[vm]++
		groups[strings.Split(*nic.ID, "/")[4]] = true
		for _, c := range nic.Properties.IPConfigurations {
			if c.Properties.PublicIPAddress != nil {
				publics[vm]++
			}
		}
	}
	if len(nics) != n || len(groups) != 4 {
		t.Errorf("%d machines in %d resource groups", len(nics), len(groups))
	}
	for i := range n {
		vm := fmt.Sprintf("vm%04d", i)
		wantNICs, wantPublics := 1, 1
		if i%10 == 7 {
			wantNICs = 2
		}
		if i%20 == 3 || i%20 == 13 {
			wantPublics = 0
		}
		if nics[vm] != wantNICs || publics[vm] != wantPublics {
			t.Errorf("%s has %d NICs and %d public addresses, want %d and %d", vm, nics[vm], publics[vm], wantNICs, wantPublics)
		}
	}
	if all, _ := collect(t, e.groups.NewListAllPager(nil), allGroups); len(all) != 4+5*n/20 {
		t.Errorf("%d NSGs", len(all))
	}
	second := must(e.Probe(arm.Packet{VM: "vm0007", To: netip.MustParseAddr("10.100.64.4"), Source: netip.MustParseAddr(stranger), Port: 22, Protocol: "Tcp"}))
	if second.Rule != "deny-management" {
		t.Errorf("the second NIC: %+v", second)
	}
	if _, err := arm.New(arm.Options{Topology: arm.Varied(20000)}); err != nil {
		t.Errorf("the largest estate cannot be held: %v", err)
	}
}
