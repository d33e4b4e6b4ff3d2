package arm_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"jitgate/internal/local/arm"
)

// probeEstate has one machine behind every mix of NSGs. The expectations below were
// worked out by hand from Azure's documentation, not from any evaluator.
const probeEstate = `
subscriptions:
  - id: 00000000-0000-0000-0000-000000000001
    resourceGroups:
      - name: rg-demo
        location: westeurope
        asgs: [jump, target]
        nsgs:
          - name: outer
            rules:
              - {name: from-office, priority: 100, direction: Inbound, access: Allow, protocol: Tcp, sourceAddressPrefixes: [198.51.100.0/24, 203.0.113.9],
                 sourcePortRange: "*", destinationAddressPrefix: 10.1.1.0/24, destinationPortRanges: ["22", "5985-5986"]}
              - {name: no-ssh, priority: 200, direction: Inbound, access: Deny, protocol: "*", sourceAddressPrefix: "*",
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "22"}
              - {name: dns, priority: 300, direction: Inbound, access: Allow, protocol: Udp, sourceAddressPrefix: Internet,
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "53"}
              - {name: from-low-ports, priority: 400, direction: Inbound, access: Allow, protocol: Tcp, sourceAddressPrefix: "*",
                 sourcePortRange: 1-1023, destinationAddressPrefix: "*", destinationPortRange: "9000"}
              - {name: to-elsewhere, priority: 410, direction: Inbound, access: Allow, protocol: "*", sourceAddressPrefix: "*",
                 sourcePortRange: "*", destinationAddressPrefix: 10.1.2.0/24, destinationPortRange: "9001"}
              - {name: outbound-only, priority: 100, direction: Outbound, access: Allow, protocol: "*", sourceAddressPrefix: "*",
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "9002"}
              - {name: azure-cloud, priority: 420, direction: Inbound, access: Allow, protocol: "*", sourceAddressPrefix: AzureCloud.westeurope,
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "9003"}
              - {name: ping, priority: 430, direction: Inbound, access: Allow, protocol: Icmp, sourceAddressPrefix: 198.51.100.7,
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "*"}
          - name: inner
            rules:
              - {name: from-jump, priority: 100, direction: Inbound, access: Allow, protocol: Tcp, sourceApplicationSecurityGroups: [jump],
                 sourcePortRange: "*", destinationApplicationSecurityGroups: [target], destinationPortRange: "22"}
              - {name: one-host, priority: 110, direction: Inbound, access: Allow, protocol: Tcp, sourceAddressPrefix: 198.51.100.7,
                 sourcePortRange: "*", destinationAddressPrefix: 10.1.1.4, destinationPortRange: "22"}
              - {name: no-ssh-at-all, priority: 200, direction: Inbound, access: Deny, protocol: "*", sourceAddressPrefix: "*",
                 sourcePortRange: "*", destinationAddressPrefix: "*", destinationPortRange: "22"}
        vnets:
          - name: net
            space: [10.1.0.0/16, 172.99.0.0/24]
            subnets:
              - {name: guarded, prefix: 10.1.1.0/24, nsg: outer}
              - {name: plain, prefix: 10.1.2.0/24}
        vms:
          - {name: both, nics: [{name: both-nic, subnet: net/guarded, private: 10.1.1.4, nsg: inner, asgs: [target]}]}
          - {name: subnet-only, nics: [{name: so-nic, subnet: net/guarded, private: 10.1.1.5}]}
          - {name: nic-only, nics: [{name: no-nic, subnet: net/plain, private: 10.1.2.4, nsg: inner}, {name: second, subnet: net/guarded, private: 10.1.1.6}]}
          - {name: none, nics: [{name: none-nic, subnet: net/plain, private: 10.1.2.5, asgs: [jump]}]}
`

func TestProbe(t *testing.T) {
	s, err := arm.New(arm.Options{Topology: must(arm.ParseTopology([]byte(probeEstate)))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why, vm, source string
		port            uint16
		protocol        string
		access, nsg     string
		rule            string
	}{
		{"both allow", "both", "198.51.100.7", 22, "Tcp", "Allow", "inner", "one-host"},
		{"subnet allows, NIC denies", "both", "198.51.100.8", 22, "Tcp", "Deny", "inner", "no-ssh-at-all"},
		{"subnet denies, NIC is not asked", "both", "203.0.113.10", 22, "Tcp", "Deny", "outer", "no-ssh"},
		{"a single address in a plural field", "subnet-only", "203.0.113.9", 22, "Tcp", "Allow", "outer", "from-office"},
		{"an allow in front of the deny", "subnet-only", "198.51.100.200", 22, "Tcp", "Allow", "outer", "from-office"},
		{"UDP is not TCP", "subnet-only", "198.51.100.200", 22, "Udp", "Deny", "outer", "no-ssh"},
		{"first port of a range", "subnet-only", "198.51.100.200", 5985, "Tcp", "Allow", "outer", "from-office"},
		{"last port of a range", "subnet-only", "198.51.100.200", 5986, "Tcp", "Allow", "outer", "from-office"},
		{"below the range", "subnet-only", "198.51.100.200", 5984, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"above the range", "subnet-only", "198.51.100.200", 5987, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"Internet by tag", "subnet-only", "8.8.8.8", 53, "udp", "Allow", "outer", "dns"},
		{"the vnet is not the internet", "subnet-only", "10.1.2.5", 53, "Udp", "Allow", "outer", "AllowVnetInBound"},
		{"public addresses used in the vnet are not the internet", "subnet-only", "172.99.0.9", 53, "Udp", "Allow", "outer", "AllowVnetInBound"},
		{"private addresses elsewhere are neither", "subnet-only", "192.168.1.1", 53, "Udp", "Deny", "outer", "DenyAllInBound"},
		{"shared address space is neither", "subnet-only", "100.64.0.1", 53, "Udp", "Deny", "outer", "DenyAllInBound"},
		{"a load balancer's probe", "subnet-only", "168.63.129.16", 8080, "Tcp", "Allow", "outer", "AllowVnetInBound"},
		{"a load balancer's probe meets a deny first", "subnet-only", "168.63.129.16", 22, "Tcp", "Deny", "outer", "no-ssh"},
		{"the host is not the internet", "subnet-only", "168.63.129.16", 53, "Udp", "Allow", "outer", "AllowVnetInBound"},
		{"inside the vnet a deny still counts", "subnet-only", "10.1.2.5", 22, "Tcp", "Deny", "outer", "no-ssh"},
		{"inside the vnet the default opens the rest", "subnet-only", "10.1.2.5", 3389, "Tcp", "Allow", "outer", "AllowVnetInBound"},
		{"an ephemeral source port is not a low one", "subnet-only", "8.8.8.8", 9000, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"a rule for another destination", "subnet-only", "8.8.8.8", 9001, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"an outbound rule", "subnet-only", "8.8.8.8", 9002, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"a tag whose addresses only Azure knows", "subnet-only", "20.1.2.3", 9003, "Tcp", "Deny", "outer", "DenyAllInBound"},
		{"ICMP where it is allowed", "subnet-only", "198.51.100.7", 0, "Icmp", "Allow", "outer", "ping"},
		{"ICMP is not stopped by a rule for port 22", "subnet-only", "198.51.100.9", 22, "Icmp", "Deny", "outer", "DenyAllInBound"},
		{"ESP from outside", "subnet-only", "198.51.100.7", 0, "Esp", "Deny", "outer", "DenyAllInBound"},
		{"application groups on both ends", "both", "10.1.2.5", 22, "Tcp", "Deny", "outer", "no-ssh"},
		{"destination outside the application group", "nic-only", "10.1.2.5", 22, "Tcp", "Deny", "inner", "no-ssh-at-all"},
		{"NIC NSG alone", "nic-only", "8.8.8.8", 443, "Tcp", "Deny", "inner", "DenyAllInBound"},
		{"the primary NIC counts, not the second", "nic-only", "198.51.100.200", 5985, "Tcp", "Deny", "inner", "DenyAllInBound"},
		{"no NSG at all", "none", "8.8.8.8", 3389, "Tcp", "Allow", "", ""},
		{"IPv6 from outside", "subnet-only", "2001:db8::1", 22, "Tcp", "Deny", "outer", "no-ssh"},
		{"IPv6 internet", "subnet-only", "2a00::1", 53, "Udp", "Allow", "outer", "dns"},
		{"IPv4 written as IPv6", "subnet-only", "::ffff:198.51.100.200", 22, "Tcp", "Allow", "outer", "from-office"},
		{"a machine by id", scope + "/providers/microsoft.compute/virtualmachines/NONE", "8.8.8.8", 22, "Tcp", "Allow", "", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			a, err := s.Probe(arm.Packet{VM: c.vm, Source: netip.MustParseAddr(c.source), Port: c.port, Protocol: c.protocol})
			if err != nil {
				t.Fatal(err)
			}
			nsg := a.NSG[strings.LastIndex(a.NSG, "/")+1:]
			if a.Access != c.access || nsg != c.nsg || a.Rule != c.rule {
				t.Errorf("%s by %s/%s (%s), want %s by %s/%s", a.Access, nsg, a.Rule, a.Reason, c.access, c.nsg, c.rule)
			}
		})
	}
	t.Run("source port", func(t *testing.T) {
		a := must(s.Probe(arm.Packet{VM: "subnet-only", Source: netip.MustParseAddr("8.8.8.8"), SourcePort: 1023, Port: 9000, Protocol: "Tcp"}))
		if a.Rule != "from-low-ports" {
			t.Errorf("%+v", a)
		}
	})
	t.Run("application groups let through", func(t *testing.T) {
		if err := s.DeleteRule(nsgs+"outer", "no-ssh"); err != nil {
			t.Fatal(err)
		}
		a := must(s.Probe(arm.Packet{VM: "both", Source: netip.MustParseAddr("10.1.2.5"), Port: 22, Protocol: "Tcp"}))
		if a.Rule != "from-jump" || len(a.Path) != 2 || a.Path[0].Rule != "AllowVnetInBound" || a.Path[1].Priority != 100 {
			t.Errorf("%+v", a)
		}
	})
	for _, p := range []arm.Packet{
		{VM: "nope", Source: netip.MustParseAddr("8.8.8.8"), Protocol: "Tcp"},
		{VM: "/nope", Source: netip.MustParseAddr("8.8.8.8"), Protocol: "Tcp"},
		{VM: "both", Source: netip.MustParseAddr("8.8.8.8"), Protocol: "Any"},
		{VM: "both", Protocol: "Tcp"},
	} {
		if a, err := s.Probe(p); err == nil {
			t.Errorf("%+v was answered with %+v", p, a)
		}
	}
}

func TestDemoEstate(t *testing.T) {
	e := start(t, arm.Options{})
	for _, c := range []struct {
		vm     string
		port   uint16
		access string
		rule   string
	}{
		{"web01", 22, "Deny", "deny-management"}, {"web01", 3389, "Deny", "deny-management"}, {"web01", 443, "Allow", "allow-https"},
		{"db01", 22, "Deny", "deny-management"}, {"db01", 5432, "Deny", "DenyAllInBound"},
		{"app01", 3389, "Deny", "deny-management"}, {"app01", 443, "Allow", "allow-https"}, {"app01", 8085, "Deny", "DenyAllInBound"},
		{"open01", 22, "Allow", "allow-ssh"}, {"open01", 3389, "Deny", "DenyAllInBound"},
		{"inner01", 22, "Deny", "DenyAllInBound"}, {"duo01", 22, "Allow", "allow-ssh"}, {"office01", 22, "Deny", "DenyAllInBound"},
		{"shared01", 22, "Allow", "allow-ssh-shared01"}, {"shared02", 22, "Allow", "allow-ssh-all"}, {"shared01", 3389, "Deny", "DenyAllInBound"},
		{vms + "twin01", 22, "Deny", "deny-management"}, {strings.Replace(vms, rg, "rg-other", 1) + "twin01", 22, "Deny", "deny-management"},
		{"lone01", 22, "Allow", ""}, {"fleet01", 22, "Deny", "deny-management"}, {"fleet20", 3389, "Deny", "deny-management"},
	} {
		if a := probe(t, e, c.vm, "198.51.100.7", c.port); a.Access != c.access || a.Rule != c.rule {
			t.Errorf("%s:%d: %s by %s, want %s by %s", c.vm, c.port, a.Access, a.Rule, c.access, c.rule)
		}
	}
	if a := probe(t, e, "app01", "198.51.100.7", 22); len(a.Path) != 1 || a.Path[0].Level != "subnet" {
		t.Errorf("app01 must be stopped at the subnet: %+v", a)
	}
	if a := probe(t, e, "office01", "203.0.113.9", 22); a.Rule != "allow-ssh-office" {
		t.Errorf("%+v", a)
	}
	duo := arm.Packet{VM: "duo01", To: netip.MustParseAddr("10.20.6.4"), Source: netip.MustParseAddr("8.8.8.8"), Port: 22, Protocol: "Tcp"}
	if a := must(e.Probe(duo)); a.Rule != "allow-ssh" || a.NSG != nsgs+"nsg-duo01-edge" {
		t.Errorf("%+v", a)
	}
	if nic := must(e.network.NewInterfacesClient().Get(t.Context(), rg, "inner01-nic", nil)); nic.Properties.IPConfigurations[0].Properties.PublicIPAddress != nil {
		t.Error("inner01 has a public address")
	}
	if _, err := e.Probe(arm.Packet{VM: "twin01", Source: duo.Source, Port: 22, Protocol: "Tcp"}); err == nil {
		t.Error("two machines answer to one name")
	}
	if a := probe(t, e, "db01", "10.20.3.4", 5432); a.Rule != "allow-postgres-from-app" {
		t.Errorf("%+v", a)
	}
}

func TestControlOverHTTP(t *testing.T) {
	e := start(t, arm.Options{})
	none := []string{"Authorization", ""}
	resp, out := e.call(t, "GET", "/probe?vm=open01&source=198.51.100.7&port=22", nil, none...)
	if resp.StatusCode != 200 || out["access"] != "Allow" || out["rule"] != "allow-ssh" {
		t.Errorf("%d %v", resp.StatusCode, out)
	}
	for _, path := range []string{"/probe?vm=open01&source=x&port=22", "/probe?vm=open01&source=8.8.8.8&port=70000",
		"/probe?vm=nope&source=8.8.8.8&port=1", "/probe?vm=open01&source=8.8.8.8&port=1&protocol=x"} {
		if resp, _ := e.call(t, "GET", path, nil, none...); resp.StatusCode != 400 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if resp, _ := e.call(t, "POST", "/control/latency", map[string]any{"latency": "1h"}, none...); resp.StatusCode != 200 {
		t.Errorf("latency: %d", resp.StatusCode)
	}
	e.call(t, "PUT", web+"/securityRules/slow"+version, ssh(100))
	if state(t, e, "slow") != "Updating" {
		t.Error("the latency was not set")
	}
	e.SetLatency(0)
	for _, b := range []map[string]any{{"kind": "nsg.get", "count": 2, "status": 429, "code": "TooManyRequests", "retryAfter": "7s"}, {"kind": "rule.put", "supersede": true}} {
		if resp, out := e.call(t, "POST", "/control/faults", b, none...); resp.StatusCode != 200 {
			t.Errorf("%v: %d %v", b, resp.StatusCode, out)
		}
	}
	for range 2 {
		if resp, _ := e.call(t, "GET", web+version, nil); resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "7" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
	}
	resp, _ = e.call(t, "PUT", nsgs+"nsg-data/securityRules/x"+version, ssh(100))
	if s, _ := status(t, e, resp.Header.Get("Azure-AsyncOperation")); s != "Canceled" {
		t.Errorf("ordered over HTTP: %s", s)
	}
	for _, b := range []any{map[string]any{"kind": "x", "status": 200}, map[string]any{"count": 0, "status": 500}, map[string]any{"unknown": 1}, "{", "{}{}",
		map[string]any{"status": 500, "retryAfter": "soon"}} {
		if resp, _ := e.call(t, "POST", "/control/faults", b, none...); resp.StatusCode != 400 {
			t.Errorf("%v: %d", b, resp.StatusCode)
		}
	}
	if resp, _ := e.call(t, "POST", "/control/latency", map[string]any{"latency": "-1s"}, none...); resp.StatusCode != 400 {
		t.Errorf("negative latency: %d", resp.StatusCode)
	}
	if resp, _ := e.call(t, "GET", "/control/nope", nil, none...); resp.StatusCode != http.StatusNotFound {
		t.Errorf("unknown control: %d", resp.StatusCode)
	}
	_, counts := e.call(t, "GET", "/control/counts", nil, none...)
	if counts["nsg.get"] != 2.0 || counts["rule.put"] != 2.0 {
		t.Errorf("%v", counts)
	}
}
