package arm_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"jitgate/internal/local/arm"
)

const head = `subscriptions:
  - id: 00000000-0000-0000-0000-000000000001
    resourceGroups:
      - name: rg
        location: westeurope
`

func TestTopologyFaultsNameTheLine(t *testing.T) {
	vnet := "        vnets: [{name: v, space: [10.0.0.0/16], subnets: [{name: s, prefix: 10.0.0.0/24}]}]\n"
	for _, c := range []struct{ why, text, want string }{
		{"unknown key", head + "        vmss: []\n", "6:"},
		{"wrong type", "subscriptions: 3\n", "1:"},
		{"repeated key", head + "        vms: []\n        vms: []\n", "7:"},
		{"broken YAML", "subscriptions: [", ""},
		{"subscription id", "subscriptions:\n  - id: x\n", "line 2: "},
		{"group without location", "subscriptions:\n  - id: 00000000-0000-0000-0000-000000000001\n    resourceGroups:\n      - name: rg\n", "line 4: "},
		{"two groups of one name", head + "      - name: RG\n        location: westeurope\n", "line 6: "},
		{"unknown NSG", head + "        vnets: [{name: v, space: [10.0.0.0/16], subnets: [\n          {name: s, prefix: 10.0.0.0/24, nsg: nope}]}]\n", "line 7: "},
		{"subnet outside the space", head + "        vnets: [{name: v, space: [10.0.0.0/16], subnets: [{name: s, prefix: 10.1.0.0/24}]}]\n", "line 6: "},
		{"overlapping subnets", head + "        vnets: [{name: v, space: [10.0.0.0/16], subnets: [{name: s, prefix: 10.0.0.0/24},\n         {name: t, prefix: 10.0.0.128/25}]}]\n", "line 7: "},
		{"space with host bits", head + "        vnets: [{name: v, space: [10.0.0.1/16]}]\n", "line 6: "},
		{"unknown subnet", head + "        vms:\n          - name: a\n            nics:\n              - {name: n, subnet: v/s, private: 10.0.0.4}\n", "line 9: "},
		{"address outside the subnet", head + vnet + "        vms:\n          - {name: a, nics: [{name: n, subnet: v/s, private: 10.0.1.4}]}\n", "line 8: "},
		{"address used twice", head + vnet + "        vms:\n          - {name: a, nics: [{name: n, subnet: v/s, private: 10.0.0.4}]}\n          - {name: b, nics: [{name: m, subnet: v/s, private: 10.0.0.4}]}\n", "line 9: "},
		{"machine without a NIC", head + "        vms:\n          - {name: a}\n", "line 7: "},
		{"two machines of one name", head + vnet + "        vms:\n          - {name: a, nics: [{name: n, subnet: v/s, private: 10.0.0.4}]}\n          - {name: A, nics: [{name: m, subnet: v/s, private: 10.0.0.5}]}\n", "line 9: "},
		{"unknown os", head + vnet + "        vms:\n          - {name: a, os: Plan9, nics: [{name: n, subnet: v/s, private: 10.0.0.4}]}\n", "line 8: "},
		{"unknown public address", head + vnet + "        vms:\n          - {name: a, nics: [{name: n, subnet: v/s, private: 10.0.0.4, publicIP: p}]}\n", "line 8: "},
		{"unknown group on a NIC", head + vnet + "        vms:\n          - {name: a, nics: [{name: n, subnet: v/s, private: 10.0.0.4, asgs: [p]}]}\n", "line 8: "},
		{"bad public address", head + "        publicIPs: [{name: p, address: x}]\n", "line 6: "},
		{"unknown peer", head + "        vnets: [{name: v, space: [10.0.0.0/16],\n          peers: [w]}]\n", "line 7: "},
		{"its own peer", head + "        vnets: [{name: v, space: [10.0.0.0/16],\n          peers: [V]}]\n", "its own peer"},
		{"peers that overlap", head + "        vnets: [{name: v, space: [10.0.0.0/16],\n          peers: [w]}, {name: w, space: [10.9.0.0/16, 10.0.9.0/24]}]\n", "line 7: "},
		{"rule Azure refuses", head + "        nsgs:\n          - name: n\n            rules:\n              - {name: r, priority: 1}\n", "line 9: "},
		{"rules in conflict", head + "        nsgs:\n          - name: n\n            rules:\n" +
			"              - &r {name: r, priority: 100, direction: Inbound, access: Allow, protocol: Tcp, sourceAddressPrefix: '*', sourcePortRange: '*', destinationAddressPrefix: '*', destinationPortRange: 22}\n" +
			"              - *r\n", "line 10: "},
	} {
		_, err := arm.ParseTopology([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", c.why, err, c.want)
		}
		if err != nil && strings.Count(err.Error(), "\n") > 3 {
			t.Errorf("%s: a long error: %v", c.why, err)
		}
	}
}

func TestTopologyAcrossGroups(t *testing.T) {
	text := head + `        nsgs: [{name: shared}]
      - name: other
        location: northeurope
        vnets: [{name: v, space: [10.0.0.0/16], subnets: [{name: s, prefix: 10.0.0.0/24, nsg: ` +
		`/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/RG/providers/Microsoft.Network/networkSecurityGroups/shared}]}]
`
	s, err := arm.New(arm.Options{Topology: must(arm.ParseTopology([]byte(text)))})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/subscriptions/"+sub+"/resourcegroups/other/providers/Microsoft.Network/virtualNetworks/v/subnets/s?api-version=1", nil)
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "resourceGroups/rg/providers/Microsoft.Network/networkSecurityGroups/shared") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if _, err := arm.New(arm.Options{Topology: arm.Topology{Subscriptions: []arm.Subscription{{ID: "x"}}}}); err == nil {
		t.Error("New took a broken topology")
	}
	if err := s.Load(arm.Topology{Subscriptions: []arm.Subscription{{ID: "x"}}}); err == nil {
		t.Error("Load took a broken topology")
	}
}

func FuzzParseTopology(f *testing.F) {
	f.Add(string(arm.DemoTopology()))
	f.Add(head)
	f.Add(head + "        nsgs: [{name: n, rules: [{name: r, priority: 100}]}]\n")
	f.Add("subscriptions: [{id: *a}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		topology, err := arm.ParseTopology([]byte(text))
		if err != nil {
			return
		}
		if _, err := arm.New(arm.Options{Topology: topology}); err != nil {
			t.Errorf("parsed, but New says %v", err)
		}
	})
}

// A rule that is taken must come back, be stored again unchanged, and be evaluated
// without trouble.
func FuzzRuleBody(f *testing.F) {
	f.Add("r", `{"access":"Allow","direction":"Inbound","priority":200,"protocol":"*","sourceAddressPrefix":"*","sourcePortRange":"*","destinationAddressPrefix":"*","destinationPortRange":"22-23"}`)
	f.Add("r", `{"access":"deny","direction":"inbound","priority":2e2,"protocol":"ah","sourceAddressPrefixes":["::/0","789"],"sourcePortRanges":["1"],"destinationAddressPrefix":"Sql.eastus","destinationPortRange":"0-65535"}`)
	f.Add("deny-management", `{"priority":null,"x":{"y":[1.0]}}`)
	f.Add("", `[]`)
	topology := must(arm.ParseTopology(arm.DemoTopology()))
	f.Fuzz(func(t *testing.T, name, properties string) {
		s, err := arm.New(arm.Options{Topology: topology})
		if err != nil {
			t.Fatal(err)
		}
		if s.PutRuleJSON(web, name, []byte(properties)) != nil {
			return
		}
		first, err := s.RuleJSON(web, name)
		if err != nil {
			t.Fatalf("taken, but not there: %v", err)
		}
		if err := s.PutRuleJSON(web, name, first); err != nil {
			t.Fatalf("what was returned is refused: %v\n%s", err, first)
		}
		if again := must(s.RuleJSON(web, name)); string(again) != string(first) {
			t.Errorf("stored %s, then %s", first, again)
		}
		probe(t, &estate{Server: s}, "web01", "198.51.100.7", 22)
	})
}
