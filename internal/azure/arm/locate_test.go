package arm_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

func vm(name string) armid.ID {
	return armid.MustParse(scope + "Microsoft.Compute/virtualMachines/" + name)
}

func TestLocate(t *testing.T) {
	e := start(t, local.Options{})
	a, b := "nsg-a", "nsg-b"
	for name, test := range map[string]struct {
		addresses []string
		nsgs      []string
	}{
		"both":        {[]string{"10.0.1.4", "10.0.1.5"}, []string{a, b}}, // the subnet's first
		"same":        {[]string{"10.0.1.6"}, []string{a}},
		"nic-only":    {[]string{"10.0.0.4"}, []string{b}},
		"subnet-only": {[]string{"10.0.1.7"}, []string{a}},
		"two-nics":    {[]string{"10.0.1.8"}, []string{a}},
		"BOTH":        {[]string{"10.0.1.4", "10.0.1.5"}, []string{a, b}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := e.Locate(e.ctx, vm(name))
			if err != nil {
				t.Fatal(err)
			}
			var nsgs []string
			for _, id := range got.NSGs {
				nsgs = append(nsgs, id.Name())
			}
			var addresses []string
			for _, a := range got.Addresses {
				addresses = append(addresses, a.String())
			}
			if diff := cmp.Diff(test.nsgs, nsgs); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.addresses, addresses, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Error(diff)
			}
			if got.VM.Name() != strings.ToLower(name) {
				t.Errorf("VM %s: not the id Azure gave", got.VM)
			}
		})
	}
}

// TestLocateStrange rewrites what ARM says into shapes that Azure can produce and
// the topology cannot.
func TestLocateStrange(t *testing.T) {
	type object = map[string]any
	first := func(list any) object { return list.([]any)[0].(object) }
	onNIC := func(change func(object)) func(string, object) {
		return func(path string, o object) {
			if strings.Contains(path, "/networkInterfaces/") {
				change(o["properties"].(object))
			}
		}
	}
	onVM := func(change func(object)) func(string, object) {
		return func(path string, o object) {
			if strings.Contains(path, "/virtualMachines/") {
				change(o["properties"].(object)["networkProfile"].(object))
			}
		}
	}
	for name, test := range map[string]struct {
		vm      string
		change  func(string, object)
		refused access.Code
		want    access.Machine
	}{
		"no NICs": {"both", onVM(func(p object) { delete(p, "networkInterfaces") }), access.NoInterface, access.Machine{}},
		"none of two is primary": {"two-nics", onVM(func(p object) {
			for _, n := range p["networkInterfaces"].([]any) {
				delete(n.(object), "properties")
			}
		}), access.NoInterface, access.Machine{}},
		"the second is primary": {"two-nics", onVM(func(p object) {
			for i, n := range p["networkInterfaces"].([]any) {
				n.(object)["properties"] = object{"primary": i == 1}
			}
		}), "", access.Machine{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.8")}, NSGs: []armid.ID{armid.MustParse(strings.Replace(nsgID, "nsg-a", "nsg-b", 1))}}},
		"a scale set's NIC": {"both", onVM(func(p object) {
			first(p["networkInterfaces"])["id"] = scope + "Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0/networkInterfaces/n"
		}), access.NoInterface, access.Machine{}},
		"a NIC that is gone": {"both", onVM(func(p object) {
			first(p["networkInterfaces"])["id"] = scope + "Microsoft.Network/networkInterfaces/none"
		}), access.NoInterface, access.Machine{}},
		"no address yet": {"both", onNIC(func(p object) {
			for _, c := range p["ipConfigurations"].([]any) {
				delete(c.(object)["properties"].(object), "privateIPAddress")
			}
		}), access.NoAddress, access.Machine{}},
		"no IP configurations": {"both", onNIC(func(p object) { delete(p, "ipConfigurations") }), access.NoAddress, access.Machine{}},
		"IPv6 and a block of addresses": {"nic-only", onNIC(func(p object) {
			c := first(p["ipConfigurations"])
			subnet := c["properties"].(object)["subnet"]
			delete(c["properties"].(object), "primary") // the sole one needs no mark, of several one has it
			p["ipConfigurations"] = []any{
				object{"properties": object{"privateIPAddress": "fd00::4", "subnet": subnet}},
				object{"properties": object{"privateIPAddress": "10.0.0.16/28", "subnet": subnet}},
				object{"properties": object{"privateIPAddress": "10.0.0.4", "primary": true, "subnet": subnet}},
			}
		}), "", access.Machine{Addresses: []netip.Addr{netip.MustParseAddr("fd00::4"), netip.MustParseAddr("10.0.0.4")},
			NSGs: []armid.ID{armid.MustParse(strings.Replace(nsgID, "nsg-a", "nsg-b", 1))}}},
		"the same NSG in other letters": {"same", onNIC(func(p object) {
			p["networkSecurityGroup"] = object{"id": strings.ToUpper(nsgID)}
		}), "", access.Machine{Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.6")}, NSGs: []armid.ID{id}}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{})
			e.wire.rewrite = func(r *http.Request, body []byte) []byte {
				return edit(body, func(o map[string]any) {
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
			test.want.VM = vm(test.vm)
			same := cmp.Options{cmp.Comparer(armid.ID.Equal), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
			if diff := cmp.Diff(test.want, got, same); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func wantRefusal(t tb, err error, code access.Code, vm string) {
	t.Helper()
	var refusals access.Refusals
	if !errors.As(err, &refusals) || refusals[0].Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	if s := refusals[0].Sentence; !strings.Contains(s, vm) || !strings.HasSuffix(s, ".") {
		t.Errorf("the sentence %q does not name the VM", s)
	}
}

func TestLocateRefuses(t *testing.T) {
	e := start(t, local.Options{})
	_, err := e.Locate(e.ctx, vm("nobody"))
	wantRefusal(t, err, access.VMNotFound, "nobody")
	_, err = e.Locate(e.ctx, armid.MustParse(strings.Replace(vm("both").String(), "rg-test", "rg-none", 1)))
	wantRefusal(t, err, access.VMNotFound, "both")
	_, err = e.Locate(e.ctx, armid.MustParse(strings.Replace(vm("both").String(), sub, "00000000-0000-0000-0000-00000000ffff", 1)))
	wantRefusal(t, err, access.VMNotFound, "both")
	_, err = e.Locate(e.ctx, vm("bare"))
	wantRefusal(t, err, access.NoNSG, "bare")
	if !strings.Contains(err.Error(), "attach an NSG to the NIC or to its subnet") {
		t.Errorf("no way out: %v", err)
	}
}

func TestLocateFails(t *testing.T) {
	for _, kind := range []string{"vm.get", "nic.get", "subnet.get"} {
		for want, fault := range map[error]local.Fault{
			access.ErrForbidden:   {Status: 403, Code: "AuthorizationFailed"},
			access.ErrUnavailable: {Status: 502},
		} {
			t.Run(kind+" "+want.Error(), func(t *testing.T) {
				e := start(t, local.Options{})
				e.FailNext(kind, 4, fault)
				_, err := e.Locate(e.ctx, vm("both"))
				var refusals access.Refusals
				if !errors.Is(err, want) || errors.As(err, &refusals) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestLists(t *testing.T) {
	e := start(t, local.Options{Topology: topology(foreignRules()...), PageSize: 1})
	e.must(t, 0)
	groups := map[string]int{}
	if err := e.Groups(e.ctx, sub, func(id armid.ID, g nsg.Group) error {
		groups[id.Name()] = len(g.Rules)
		if len(g.Defaults) != 6 || g.ID != id.String() {
			t.Errorf("%s: %d default rules, id %s", id, len(g.Defaults), g.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"nsg-a": len(foreignRules()) + 1, "nsg-b": 0}, groups); diff != "" {
		t.Error(diff)
	}
	machines := map[string]int{}
	if err := e.Machines(e.ctx, sub, func(id armid.ID) error { machines[id.Name()]++; return nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"both": 1, "same": 1, "nic-only": 1, "subnet-only": 1, "two-nics": 1, "bare": 1}
	if diff := cmp.Diff(want, machines); diff != "" {
		t.Error(diff)
	}
	if e.Counts()["vm.list"] != len(want) {
		t.Errorf("%d pages of VMs", e.Counts()["vm.list"])
	}

	stop := errors.New("enough")
	calls := 0
	if err := e.Machines(e.ctx, sub, func(armid.ID) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := e.Groups(e.ctx, sub, func(armid.ID, nsg.Group) error { return stop }); err != stop {
		t.Error(err)
	}
	e.FailNext("nsg.list", 1, local.Fault{Status: 403, Code: "AuthorizationFailed"})
	if err := e.Groups(e.ctx, sub, func(armid.ID, nsg.Group) error { return nil }); !errors.Is(err, access.ErrForbidden) {
		t.Error(err)
	}
	e.FailNext("vm.list", 4, local.Fault{Status: 500})
	if err := e.Machines(e.ctx, sub, func(armid.ID) error { return nil }); !errors.Is(err, access.ErrUnavailable) {
		t.Error(err)
	}
}
