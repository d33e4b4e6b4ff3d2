package arm_test

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	local "jitgate/internal/local/arm"
)

// leaveOut answers a list as Azure does to an identity that may not see some
// resources: without them, and without an error.
func leaveOut(list string, names ...string) func(*http.Request, []byte) []byte {
	return func(r *http.Request, body []byte) []byte {
		if !strings.HasSuffix(strings.ToLower(r.URL.Path), strings.ToLower(list)) {
			return body
		}
		return edit(body, func(page object) {
			page["value"] = slices.DeleteFunc(page["value"].([]any), func(item any) bool {
				name, _ := item.(object)["name"].(string)
				return slices.Contains(names, name)
			})
		})
	}
}

// inSubnet changes one subnet in the list of networks.
func inSubnet(network, subnet string, change func(subnets []any, at int) []any) func(*http.Request, []byte) []byte {
	return func(r *http.Request, body []byte) []byte {
		if !strings.HasSuffix(r.URL.Path, "/virtualNetworks") {
			return body
		}
		return edit(body, func(page object) {
			for _, item := range page["value"].([]any) {
				if item := item.(object); item["name"] == network {
					p := item["properties"].(object)
					subnets := p["subnets"].([]any)
					p["subnets"] = change(subnets, slices.IndexFunc(subnets, func(s any) bool { return s.(object)["name"] == subnet }))
				}
			}
		})
	}
}

// TestEstateSaysWhatItCouldNotSee filters the lists. Machines that it concerns are
// Unseen and none of their interfaces is made up; all others are as Locate has them.
func TestEstateSaysWhatItCouldNotSee(t *testing.T) {
	all := machines()
	many := all["many"]
	// without is an interface of which only the NIC is known.
	without := func(i access.Interface, nsgNames ...string) access.Interface {
		i.NSGs, i.Network, i.Firewall = nsgs(nsgNames...), nil, false
		return i
	}
	noNSG := func(i access.Interface) access.Interface { i.NSGs = nil; return i }
	for name, test := range map[string]struct {
		rewrite func(*http.Request, []byte) []byte
		want    map[string][]access.Interface // of machines that are Unseen
	}{
		"nothing":             {leaveOut("/networkInterfaces"), nil},
		"a secondary NIC":     {leaveOut("/networkInterfaces", "third-nic"), map[string][]access.Interface{"many": {many[0], many[1], many[3]}}},
		"the primary NIC":     {leaveOut("/networkInterfaces", "first-nic"), map[string][]access.Interface{"many": nil}},
		"all but the primary": {leaveOut("/networkInterfaces", "second-nic", "third-nic", "fourth-nic"), map[string][]access.Interface{"many": {many[0]}}},
		"an only NIC":         {leaveOut("/networkInterfaces", "guarded-nic"), map[string][]access.Interface{"guarded": nil}},
		"NICs of two machines": {leaveOut("/networkInterfaces", "in-hub-nic", "fourth-nic"),
			map[string][]access.Interface{"in-hub": nil, "many": {many[0], many[1], many[2]}}},
		// The NSGs of NICs stay known, those of subnets do not.
		"a network": {leaveOut("/virtualNetworks", "alone"), map[string][]access.Interface{
			"both": {without(all["both"][0], "nsg-b")}, "balanced": {without(all["balanced"][0], "nsg-b")}, "unborn": {without(all["unborn"][0])}}},
		"the network of a secondary NIC": {leaveOut("/virtualNetworks", "far"), map[string][]access.Interface{
			"in-far": {without(all["in-far"][0])}, "many": {many[0], without(many[1]), many[2], many[3]}}},
		"a subnet in its network": {inSubnet("spoke", "guarded", func(list []any, at int) []any { return slices.Delete(list, at, at+1) }),
			map[string][]access.Interface{"guarded": {firewalled(noNSG(all["guarded"][0]))}, "many": {firewalled(noNSG(many[0])), many[1], firewalled(noNSG(many[2])), many[3]}}},
		"what is in a subnet": {inSubnet("alone", "guarded", func(list []any, at int) []any { delete(list[at].(object), "properties"); return list }),
			map[string][]access.Interface{"both": {{ID: nicID("both-nic"), Addresses: all["both"][0].Addresses, NSGs: nsgs("nsg-b"), Network: all["both"][0].Network, ASGs: all["both"][0].ASGs}},
				"unborn": {noNSG(all["unborn"][0])}}},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, local.Options{Topology: landscape()})
			e.wire.rewrite = test.rewrite
			got, err := e.Estate(e.ctx, sub)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]access.Machine{}
			for name, interfaces := range all {
				want[name] = access.Machine{VM: vm(name), Interfaces: interfaces}
			}
			for name, interfaces := range test.want {
				want[name] = access.Machine{VM: vm(name), Interfaces: interfaces, Unseen: true}
			}
			listed := map[string]access.Machine{}
			for _, m := range got.Machines {
				listed[m.VM.Name()] = m
			}
			if diff := cmp.Diff(want, listed, same); diff != "" {
				t.Error(diff)
			}
			if lines := e.logs.take(slog.LevelWarn); (len(lines) > 0) != (test.want != nil) {
				t.Errorf("warnings: %q", lines)
			}
			for name := range test.want { // not so for who may read each by itself
				located, err := e.Locate(e.ctx, vm(name))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(access.Machine{VM: vm(name), Interfaces: all[name]}, located, same); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// firewalled: with no NSG known, a firewall near is looked for.
func firewalled(i access.Interface) access.Interface {
	i.Firewall = true
	return i
}

// TestHiddenNetworksAreNamedOnce: a hub that is not ours to list would fill the log
// with a line for each machine in it, at every sweep.
func TestHiddenNetworksAreNamedOnce(t *testing.T) {
	e := start(t, local.Options{Topology: local.Varied(40)})
	e.wire.rewrite = func(r *http.Request, body []byte) []byte {
		if !strings.HasSuffix(r.URL.Path, "/virtualNetworks") {
			return body
		}
		return edit(body, func(page object) { page["value"] = []any{} })
	}
	got, err := e.Estate(e.ctx, local.Varied(40).Subscriptions[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Machines {
		if !m.Unseen {
			t.Errorf("%s counts as seen", m.VM.Name())
		}
	}
	if lines := e.logs.take(slog.LevelWarn); len(got.Machines) != 40 || len(lines) != 1 {
		t.Errorf("%d machines, warnings %q", len(got.Machines), lines)
	}
}

// TestNICThatIsNowhere: VMs name NICs that neither the list nor a GET shows. Locate
// takes Azure's word that they do not exist; a list gives no such word.
func TestNICThatIsNowhere(t *testing.T) {
	for _, strange := range []string{
		nicID("never-was").String(),
		vm("scaleset").String() + "/networkInterfaces/nic", // lies within another resource
		"",
	} {
		e := start(t, local.Options{})
		e.wire.rewrite = func(r *http.Request, body []byte) []byte {
			if !strings.Contains(r.URL.Path, "/virtualMachines") {
				return body
			}
			return edit(body, func(o object) {
				list, ok := o["value"].([]any)
				if !ok {
					list = []any{o}
				}
				for _, item := range list {
					p := item.(object)["properties"].(object)["networkProfile"].(object)
					switch refs := p["networkInterfaces"].([]any); item.(object)["name"] {
					case "two-nics": // a secondary one more
						p["networkInterfaces"] = append(refs, object{"id": strange, "properties": object{"primary": false}})
					case "bare": // instead of its only one
						p["networkInterfaces"] = []any{object{"id": strange}}
					}
				}
			})
		}
		got, err := e.Estate(e.ctx, sub)
		if err != nil {
			t.Fatal(err)
		}
		unseen := map[string]int{}
		for _, m := range got.Machines {
			if m.Unseen {
				unseen[m.VM.Name()] = len(m.Interfaces)
			}
		}
		if diff := cmp.Diff(map[string]int{"two-nics": 2, "bare": 0}, unseen); diff != "" {
			t.Errorf("%q: %s", strange, diff)
		}
		located, err := e.Locate(e.ctx, vm("two-nics"))
		if err != nil || located.Unseen || len(located.Interfaces) != 2 {
			t.Errorf("%q: located %+v, %v", strange, located, err)
		}
		_, err = e.Locate(e.ctx, vm("bare"))
		wantRefusal(t, err, access.NoInterface, "bare")
	}
}

// TestHiddenGroupLeavesAReference: a group that is not listed shows by itself, as the
// interface still names it.
func TestHiddenGroupLeavesAReference(t *testing.T) {
	e := start(t, local.Options{Topology: landscape()})
	e.wire.rewrite = leaveOut("/networkSecurityGroups", "nsg-a")
	got, err := e.Estate(e.ctx, sub)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got.Machines {
		if diff := cmp.Diff(access.Machine{VM: m.VM, Interfaces: machines()[m.VM.Name()]}, m, same); diff != "" {
			t.Error(diff)
		}
	}
	if keys := slices.Collect(maps.Keys(got.Groups)); len(keys) != 1 || keys[0] != networkID("networkSecurityGroups", "nsg-b").Key() {
		t.Errorf("groups %q", keys)
	}
}
