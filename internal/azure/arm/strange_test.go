package arm_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	local "jitgate/internal/local/arm"
)

type object = map[string]any

// shout turns the ids that a document refers to, its own not among them, into
// upper case, and names of subnets into lower case.
func shout(value any, path ...string) {
	switch v := value.(type) {
	case object:
		for member, inner := range v {
			if id, isText := inner.(string); isText && member == "id" && len(path) > 0 {
				v[member] = strings.ToUpper(id)
			} else if isText && member == "name" && len(path) > 0 {
				v[member] = strings.ToLower(id)
			}
			shout(inner, append(path, member)...)
		}
	case []any:
		for _, inner := range v {
			shout(inner, path...)
		}
	}
}

func TestCasingOfReferencesDoesNotMatter(t *testing.T) {
	e := start(t, local.Options{Topology: landscape()})
	e.wire.rewrite = func(r *http.Request, body []byte) []byte {
		return edit(body, func(o object) {
			if list, isList := o["value"].([]any); isList {
				for _, item := range list {
					shout(item)
				}
			} else {
				shout(o)
			}
		})
	}
	estate, err := e.Estate(e.ctx, strings.ToUpper(sub))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string][]access.Interface{}
	for _, m := range estate.Machines {
		listed[m.VM.Name()] = m.Interfaces
	}
	if diff := cmp.Diff(machines(), listed, same); diff != "" {
		t.Error(diff)
	}
	e.ResetCounts()
	for name, want := range machines() {
		got, err := e.Locate(e.ctx, vm(name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Interfaces, same); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func first(list any) object { return list.([]any)[0].(object) }

// TestLocateStrange rewrites what ARM says into shapes that Azure can produce and
// the topology cannot.
func TestLocateStrange(t *testing.T) {
	on := func(kind string, change func(object)) func(string, object) {
		return func(path string, o object) {
			if strings.Contains(path+"/", "/"+kind+"/") {
				change(o["properties"].(object))
			}
		}
	}
	onNIC := func(change func(object)) func(string, object) { return on("networkInterfaces", change) }
	onVM := func(change func(object)) func(string, object) {
		return on("virtualMachines", func(p object) { change(p["networkProfile"].(object)) })
	}
	peer := func(change func(object)) func(string, object) {
		return on("virtualNetworks/far", func(p object) {
			if p["virtualNetworkPeerings"] != nil {
				change(first(p["virtualNetworkPeerings"])["properties"].(object))
			}
		})
	}
	for name, test := range map[string]struct {
		vm      string
		change  func(string, object)
		refused access.Code
		want    func(map[string][]access.Interface) []access.Interface
	}{
		"no NICs": {vm: "both", change: onVM(func(p object) { delete(p, "networkInterfaces") }), refused: access.NoInterface},
		"none of several is primary": {vm: "many", change: onVM(func(p object) {
			for _, n := range p["networkInterfaces"].([]any) {
				delete(n.(object), "properties")
			}
		}), refused: access.NoInterface},
		"a sole one needs no mark": {vm: "both", change: onVM(func(p object) { delete(first(p["networkInterfaces"]), "properties") }),
			want: func(m map[string][]access.Interface) []access.Interface { return m["both"] }},
		"the third is primary": {vm: "many", change: onVM(func(p object) {
			for i, n := range p["networkInterfaces"].([]any) {
				n.(object)["properties"] = object{"primary": i == 2}
			}
		}), want: func(m map[string][]access.Interface) []access.Interface {
			n := m["many"]
			return []access.Interface{n[2], n[0], n[1], n[3]}
		}},
		"a scale set's NIC": {vm: "both", change: onVM(func(p object) {
			first(p["networkInterfaces"])["id"] = scope + "Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0/networkInterfaces/n"
		}), refused: access.NoInterface},
		"no IP configurations": {vm: "both", change: onNIC(func(p object) { delete(p, "ipConfigurations") }),
			want: func(map[string][]access.Interface) []access.Interface {
				return []access.Interface{{ID: nicID("both-nic"), NSGs: nsgs("nsg-b")}}
			}},
		"IPv6 and a block of addresses": {vm: "both", change: onNIC(func(p object) {
			subnet := first(p["ipConfigurations"])["properties"].(object)["subnet"]
			p["ipConfigurations"] = []any{
				object{"properties": object{"privateIPAddress": "fd09::4", "subnet": subnet}},
				object{"properties": object{"privateIPAddress": "10.9.1.16/28", "subnet": subnet}},
				object{"properties": object{"privateIPAddress": "10.9.1.4", "primary": true, "subnet": subnet}},
			}
		}), want: func(m map[string][]access.Interface) []access.Interface {
			m["both"][0].Addresses, m["both"][0].ASGs = addrs("fd09::4", "10.9.1.4"), nil
			return m["both"]
		}},
		"the same NSG in other letters": {vm: "guarded", change: onNIC(func(p object) {
			p["networkSecurityGroup"] = object{"id": strings.ToUpper(nsgID)}
		}), want: func(m map[string][]access.Interface) []access.Interface { return m["guarded"] }},
		"in a load balancer's backend pool": {vm: "both", change: onNIC(func(p object) {
			second := p["ipConfigurations"].([]any)[1].(object)
			second["properties"].(object)["loadBalancerBackendAddressPools"] = []any{object{"id": scope + "Microsoft.Network/loadBalancers/lb/backendAddressPools/p"}}
		}), want: func(m map[string][]access.Interface) []access.Interface {
			m["both"][0].Public = true
			return m["both"]
		}},
		"a peering that is not complete": {vm: "in-far", change: peer(func(p object) { p["peeringState"] = "Initiated" }),
			want: func(m map[string][]access.Interface) []access.Interface {
				m["in-far"][0].Network = prefixes("10.3.0.0/16")
				return m["in-far"]
			}},
		"a peering that is cut off": {vm: "in-far", change: peer(func(p object) { p["allowVirtualNetworkAccess"] = false }),
			want: func(m map[string][]access.Interface) []access.Interface {
				m["in-far"][0].Network = prefixes("10.3.0.0/16")
				return m["in-far"]
			}},
		"a peer that has grown": {vm: "in-far", change: peer(func(p object) {
			p["remoteVirtualNetworkAddressSpace"] = object{"addressPrefixes": []any{"10.2.0.0/16", "10.44.1.0/16", "none"}}
		}), want: func(m map[string][]access.Interface) []access.Interface {
			m["in-far"][0].Network = prefixes("10.3.0.0/16", "10.2.0.0/16", "10.44.0.0/16")
			return m["in-far"]
		}},
		"a peer in the older words": {vm: "in-far", change: peer(func(p object) { delete(p, "remoteVirtualNetworkAddressSpace") }),
			want: func(m map[string][]access.Interface) []access.Interface { return m["in-far"] }},
		"a firewall's subnet in other letters": {vm: "in-hub", change: on("virtualNetworks/hub", func(p object) {
			if p["subnets"] != nil {
				first(p["subnets"])["name"] = "AZUREFIREWALLSUBNET"
			}
		}), want: func(m map[string][]access.Interface) []access.Interface { return m["in-hub"] }},
		"a subnet of nearly that name": {vm: "in-hub", change: on("virtualNetworks/hub", func(p object) {
			if p["subnets"] != nil {
				first(p["subnets"])["name"] = "AzureFirewallManagementSubnet"
			}
		}), want: func(m map[string][]access.Interface) []access.Interface {
			m["in-hub"][0].Firewall = false
			return m["in-hub"]
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{Topology: landscape()})
			e.wire.rewrite = func(r *http.Request, body []byte) []byte {
				return edit(body, func(o object) {
					if o["properties"] != nil {
						test.change(r.URL.Path, o)
					}
				})
			}
			got, err := e.Locate(e.ctx, vm(test.vm))
			if test.refused != "" {
				wantRefusal(t, err, test.refused, test.vm)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want(machines()), got.Interfaces, same); diff != "" {
				t.Error(diff)
			}
		})
	}
}
