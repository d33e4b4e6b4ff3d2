package arm_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/arm"
)

const (
	vms     = scope + "/providers/Microsoft.Compute/virtualMachines/"
	subnets = scope + "/providers/Microsoft.Network/virtualNetworks/vnet-demo/subnets/"
)

func TestDeleteMachineByHand(t *testing.T) {
	e := start(t, arm.Options{})
	if err := e.DeleteMachine(strings.ToUpper(vms + "web01")); err != nil {
		t.Fatal(err)
	}
	_, err := e.machines.Get(t.Context(), rg, "web01", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	nic := must(e.network.NewInterfacesClient().Get(t.Context(), rg, "web01-nic", nil))
	if nic.Properties.VirtualMachine != nil || *nic.Properties.NetworkSecurityGroup.ID != web {
		t.Errorf("the NIC left behind: %+v", nic.Properties)
	}
	if err := e.DeleteMachine(vms + "web01"); err == nil {
		t.Error("deleted twice")
	}
}

func TestDeleteInterfaceByHand(t *testing.T) {
	e := start(t, arm.Options{})
	if err := e.DeleteInterface(nicID("web01-nic")); err != nil {
		t.Fatal(err)
	}
	vm := must(e.machines.Get(t.Context(), rg, "web01", nil))
	if id := *vm.Properties.NetworkProfile.NetworkInterfaces[0].ID; id != nicID("web01-nic") {
		t.Errorf("the machine names %s", id)
	}
	_, err := e.network.NewInterfacesClient().Get(t.Context(), rg, "web01-nic", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	sub := must(e.network.NewSubnetsClient().Get(t.Context(), rg, "vnet-demo", "web", nil))
	for _, c := range sub.Properties.IPConfigurations {
		if strings.Contains(*c.ID, "/web01-nic/") {
			t.Error("the subnet still lists it")
		}
	}
	if ip := must(e.network.NewPublicIPAddressesClient().Get(t.Context(), rg, "web01-ip", nil)); ip.Properties.IPConfiguration != nil {
		t.Error("the public address still belongs to it")
	}
	if group := must(e.groups.Get(t.Context(), rg, "nsg-web01", nil)); group.Properties.NetworkInterfaces != nil {
		t.Error("the NSG still lists it")
	}
	if _, err := e.Probe(arm.Packet{VM: "web01", Source: netip.MustParseAddr("8.8.8.8"), Port: 22, Protocol: "Tcp"}); err == nil {
		t.Error("a machine without a NIC was reached")
	}
	if err := e.DeleteInterface(nicID("web01-nic")); err == nil {
		t.Error("deleted twice")
	}
}

func TestDeleteGroupByHand(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Minute})
	for _, attached := range []string{subnets + "edge", nicID("lone01-nic")} {
		if err := e.AttachGroup(attached, web); err != nil {
			t.Fatal(err)
		}
	}
	resp, _ := e.call(t, "PUT", web+"/securityRules/mine"+version, ssh(100))
	if err := e.DeleteGroup(web); err != nil {
		t.Fatal(err)
	}
	_, err := e.groups.Get(t.Context(), rg, "nsg-web01", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	if s, _ := status(t, e, resp.Header.Get("Azure-AsyncOperation")); s != "Canceled" {
		t.Errorf("the write in flight is %s", s)
	}
	if must(e.network.NewSubnetsClient().Get(t.Context(), rg, "vnet-demo", "edge", nil)).Properties.NetworkSecurityGroup != nil ||
		must(e.network.NewInterfacesClient().Get(t.Context(), rg, "lone01-nic", nil)).Properties.NetworkSecurityGroup != nil ||
		must(e.network.NewInterfacesClient().Get(t.Context(), rg, "web01-nic", nil)).Properties.NetworkSecurityGroup != nil {
		t.Error("something still names the deleted NSG")
	}
	if a := probe(t, e, "web01", "8.8.8.8", 22); a.Access != "Allow" || a.NSG != "" {
		t.Errorf("with no NSG left: %+v", a)
	}
	// What was in flight must not touch a new NSG of the name.
	e.SetLatency(0)
	if resp, out := e.call(t, "PUT", web+version, map[string]any{"location": "westeurope"}); resp.StatusCode != 201 {
		t.Fatalf("%d %v", resp.StatusCode, out)
	}
	clock.Advance(time.Hour)
	if names := e.RuleNames(web); names == nil || len(names) != 0 {
		t.Errorf("the new NSG has %v", names)
	}
	if err := e.DeleteGroup(web + "x"); err == nil {
		t.Error("an unknown NSG was deleted")
	}
}

func TestAttachGroup(t *testing.T) {
	e := start(t, arm.Options{})
	users := func(nsg string) (nics, subs []string) {
		t.Helper()
		got := must(e.groups.Get(t.Context(), rg, nsg, nil)).SecurityGroup
		all, _ := collect(t, e.groups.NewListAllPager(nil), allGroups)
		i := slices.IndexFunc(all, func(g *armnetwork.SecurityGroup) bool { return *g.ID == *got.ID })
		if diff := cmp.Diff(got.Properties.NetworkInterfaces, all[i].Properties.NetworkInterfaces); diff != "" {
			t.Errorf("get and list differ:\n%s", diff)
		}
		for _, n := range got.Properties.NetworkInterfaces {
			nics = append(nics, *n.ID)
		}
		for _, s := range got.Properties.Subnets {
			subs = append(subs, *s.ID)
		}
		return nics, subs
	}
	want := func(nsg string, nics, subs []string) {
		t.Helper()
		gotNICs, gotSubs := users(nsg)
		if !slices.Equal(gotNICs, nics) || !slices.Equal(gotSubs, subs) {
			t.Errorf("%s is attached to %v and %v, want %v and %v", nsg, gotNICs, gotSubs, nics, subs)
		}
	}
	want("nsg-web01", []string{nicID("web01-nic")}, nil)
	want("nsg-data", nil, []string{subnets + "data"})
	nicTag := *must(e.network.NewInterfacesClient().Get(t.Context(), rg, "lone01-nic", nil)).Etag
	subTag := *must(e.network.NewSubnetsClient().Get(t.Context(), rg, "vnet-demo", "data", nil)).Etag

	if err := e.AttachGroup(nicID("LONE01-nic"), nsgs+"NSG-web01"); err != nil {
		t.Fatal(err)
	}
	if err := e.AttachGroup(subnets+"data", web); err != nil {
		t.Fatal(err)
	}
	want("nsg-web01", []string{nicID("lone01-nic"), nicID("web01-nic")}, []string{subnets + "data"})
	want("nsg-data", nil, nil)
	if a := probe(t, e, "lone01", "8.8.8.8", 22); a.Rule != "deny-management" || a.NSG != web {
		t.Errorf("not at once before the NIC: %+v", a)
	}
	if a := probe(t, e, "db01", "8.8.8.8", 443); a.Rule != "allow-https" || a.NSG != web {
		t.Errorf("not at once before the subnet: %+v", a)
	}
	if *must(e.network.NewInterfacesClient().Get(t.Context(), rg, "lone01-nic", nil)).Etag == nicTag ||
		*must(e.network.NewSubnetsClient().Get(t.Context(), rg, "vnet-demo", "data", nil)).Etag == subTag {
		t.Error("the etags of NIC and subnet were not renewed")
	}
	for _, id := range []string{nicID("lone01-nic"), subnets + "data"} {
		if err := e.AttachGroup(id, ""); err != nil {
			t.Fatal(err)
		}
	}
	want("nsg-web01", []string{nicID("web01-nic")}, nil)
	if a := probe(t, e, "lone01", "8.8.8.8", 22); a.Access != "Allow" {
		t.Errorf("detached: %+v", a)
	}
	if e.AttachGroup(nicID("nope"), web) == nil || e.AttachGroup(nicID("web01-nic"), web+"x") == nil {
		t.Error("something unknown was taken")
	}
	if err := e.AttachGroup(nicID("web01-nic"), ""); err != nil {
		t.Fatal(err)
	}
	e.SetLatency(time.Hour)
	e.call(t, "DELETE", web+version, nil)
	if e.AttachGroup(nicID("web01-nic"), web) == nil {
		t.Error("an NSG that is being deleted was attached")
	}
}

func TestSetPrivateAddress(t *testing.T) {
	e := start(t, arm.Options{})
	address := func() *string {
		return must(e.network.NewInterfacesClient().Get(t.Context(), rg, "shared01-nic", nil)).Properties.IPConfigurations[0].Properties.PrivateIPAddress
	}
	if a := probe(t, e, "shared01", "8.8.8.8", 22); a.Rule != "allow-ssh-shared01" {
		t.Errorf("before: %+v", a)
	}
	if err := e.SetPrivateAddress(nicID("shared01-nic"), netip.MustParseAddr("10.20.5.77")); err != nil {
		t.Fatal(err)
	}
	if a := probe(t, e, "shared01", "8.8.8.8", 22); a.Rule != "allow-ssh-all" || *address() != "10.20.5.77" {
		t.Errorf("after: %+v at %s", a, *address())
	}
	for _, taken := range []string{"10.20.5.5", "10.20.6.9"} {
		if err := e.SetPrivateAddress(nicID("shared01-nic"), netip.MustParseAddr(taken)); err == nil {
			t.Errorf("%s was taken", taken)
		}
	}
	if err := e.SetPrivateAddress(nicID("shared01-nic"), netip.MustParseAddr("10.20.5.77")); err != nil {
		t.Errorf("its own address: %v", err)
	}
	if err := e.SetPrivateAddress(nicID("shared01-nic"), netip.Addr{}); err != nil || address() != nil {
		t.Errorf("the address is still there: %v", err)
	}
	// The second NIC does not stand in for a first one without an address.
	if err := e.SetPrivateAddress(nicID("duo01-web-nic"), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	if a, err := e.Probe(arm.Packet{VM: "duo01", Source: netip.MustParseAddr("8.8.8.8"), Port: 22, Protocol: "Tcp"}); err == nil {
		t.Errorf("duo01 answered %+v", a)
	}
	if err := e.SetPrivateAddress(nicID("nope"), netip.Addr{}); err == nil {
		t.Error("an unknown NIC was taken")
	}
}

func TestReplaceRules(t *testing.T) {
	clock := clockwork.NewFakeClock()
	e := start(t, arm.Options{Clock: clock, Latency: time.Minute})
	mine := arm.Rule{Name: "iac", Priority: 400, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
		SourceApplicationSecurityGroups: []string{"asg-web"}, SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "8080"}
	other := mine
	other.Name, other.Priority = "iac2", 401
	e.call(t, "PUT", web+"/securityRules/jitgate-1"+version, ssh(100)) // in flight
	before := *must(e.groups.Get(t.Context(), rg, "nsg-web01", nil)).Etag
	if err := e.ReplaceRules(web, []arm.Rule{other, mine}); err != nil {
		t.Fatal(err)
	}
	if names := e.RuleNames(web); !slices.Equal(names, []string{"iac2", "iac"}) {
		t.Errorf("rules %v", names)
	}
	if a := probe(t, e, "web01", "10.20.1.4", 8080); a.Rule != "iac" && a.Rule != "iac2" {
		t.Errorf("not at once: %+v", a)
	}
	clock.Advance(time.Minute)
	after := must(e.groups.Get(t.Context(), rg, "nsg-web01", nil))
	if names := e.RuleNames(web); !slices.Equal(names, []string{"iac2", "iac"}) || *after.Etag == before || *after.Tags["owner"] != "web-team" {
		t.Errorf("once the write in flight has ended: rules %v, tags %v", names, after.Tags)
	}
	clash := mine
	clash.Name = "clash"
	bad := mine
	bad.DestinationPortRange = "x"
	for why, rules := range map[string][]arm.Rule{"SecurityRuleConflict": {mine, clash}, "SecurityRuleInvalidPortRange": {bad}} {
		if err := e.ReplaceRules(web, rules); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if names := e.RuleNames(web); len(names) != 2 {
		t.Errorf("a refused replacement left %v", names)
	}
	if err := e.ReplaceRules(web, nil); err != nil || len(e.RuleNames(web)) != 0 {
		t.Errorf("emptied: %v %v", err, e.RuleNames(web))
	}
	if err := e.ReplaceRules(web+"x", nil); err == nil {
		t.Error("an unknown NSG was taken")
	}
}

// Equal bytes mean equal groups: each change shows, and taking it back shows too.
func TestGroupJSON(t *testing.T) {
	e := start(t, arm.Options{})
	now := func() string { t.Helper(); return string(must(e.GroupJSON(web))) }
	first := now()
	want := `{"location":"westeurope","properties":{"flushConnection":false,"securityRules":[` +
		`{"name":"allow-https","properties":` + string(must(e.RuleJSON(web, "allow-https"))) + `},` +
		`{"name":"deny-management","properties":` + string(must(e.RuleJSON(web, "deny-management"))) + `}]},"tags":{"owner":"web-team"}}`
	if first != want {
		t.Errorf("got\n%s\nwant\n%s", first, want)
	}
	_, original := e.call(t, "GET", web+version, nil)
	properties := original["properties"].(map[string]any)
	rules := properties["securityRules"].([]any)
	put := func(body any) {
		t.Helper()
		if resp, out := e.call(t, "PUT", web+version, body); resp.StatusCode != 200 {
			t.Fatalf("%d %v", resp.StatusCode, out)
		}
	}
	with := func(members map[string]any, p map[string]any) map[string]any {
		body := map[string]any{"location": "westeurope", "tags": original["tags"]}
		for k, v := range members {
			body[k] = v
		}
		body["properties"] = map[string]any{"securityRules": rules}
		for k, v := range p {
			body["properties"].(map[string]any)[k] = v
		}
		return body
	}
	changed := func(member string, value any) []any {
		r := map[string]any{}
		for k, v := range rules[0].(map[string]any) {
			r[k] = v
		}
		r[member] = value
		return []any{r, rules[1]}
	}
	seen := map[string]string{first: "nothing"}
	for why, body := range map[string]any{
		"flushConnection":         with(nil, map[string]any{"flushConnection": true}),
		"a tag":                   with(map[string]any{"tags": map[string]any{"owner": "x"}}, nil),
		"no tags":                 with(map[string]any{"tags": nil}, nil),
		"unknown member":          with(map[string]any{"managedBy": "x"}, nil),
		"unknown property":        with(nil, map[string]any{"future": "x"}),
		"a rule's name":           with(nil, map[string]any{"securityRules": changed("name", "allow-http5")}),
		"a rule's unknown member": with(nil, map[string]any{"securityRules": changed("zone", "x")}),
		"a rule less":             with(nil, map[string]any{"securityRules": rules[:1]}),
		"no rules":                with(nil, map[string]any{"securityRules": nil}),
	} {
		put(body)
		if other, is := seen[now()]; is {
			t.Errorf("%s looks like %s: %s", why, other, now())
		}
		seen[now()] = why
		put(original)
		if now() != first {
			t.Errorf("%s taken back shows\n%s\nnot\n%s", why, now(), first)
		}
	}
	// What is no difference: order, off and absent, null and absent.
	for why, body := range map[string]any{
		"order": with(nil, map[string]any{"securityRules": []any{rules[1], rules[0]}}),
		"off":   with(nil, map[string]any{"flushConnection": false}),
		"null":  with(nil, map[string]any{"flushConnection": nil, "future": nil}),
	} {
		if put(body); now() != first {
			t.Errorf("%s makes a difference:\n%s", why, now())
		}
	}
	put(with(map[string]any{"tags": nil}, nil))
	untagged := now()
	if put(with(map[string]any{"tags": map[string]any{}}, nil)); now() != untagged {
		t.Errorf("empty tags make a difference:\n%s\n%s", now(), untagged)
	}
	if _, err := e.GroupJSON(web + "x"); err == nil {
		t.Error("an unknown NSG was found")
	}
}
