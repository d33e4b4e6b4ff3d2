package arm_test

import (
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/arm"
)

// The path jitgate walks: machine, NIC, subnet, NSG, then one rule in and out.
func TestOpenAndCloseThroughTheSDK(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	vm := must(e.machines.Get(ctx, rg, "app01", nil))
	nicID := *vm.Properties.NetworkProfile.NetworkInterfaces[0].ID
	if vm.Properties.NetworkProfile.NetworkInterfaces[0].Properties != nil {
		t.Error("a single NIC carries no primary flag in Azure")
	}
	nic := must(e.network.NewInterfacesClient().Get(ctx, rg, last(nicID), nil))
	if *nic.Properties.NetworkSecurityGroup.ID != nsgs+"nsg-app01" || *nic.Properties.VirtualMachine.ID != *vm.ID {
		t.Errorf("NIC is tied to %s and %s", *nic.Properties.NetworkSecurityGroup.ID, *nic.Properties.VirtualMachine.ID)
	}
	ip := nic.Properties.IPConfigurations[0].Properties
	if *ip.PrivateIPAddress != "10.20.3.4" || !*ip.Primary {
		t.Errorf("private address %s, primary %v", *ip.PrivateIPAddress, *ip.Primary)
	}
	subnet := must(e.network.NewSubnetsClient().Get(ctx, rg, "vnet-demo", last(*ip.Subnet.ID), nil))
	if *subnet.Properties.NetworkSecurityGroup.ID != nsgs+"nsg-app-subnet" {
		t.Errorf("subnet NSG is %s", *subnet.Properties.NetworkSecurityGroup.ID)
	}
	public := must(e.network.NewPublicIPAddressesClient().Get(ctx, rg, last(*ip.PublicIPAddress.ID), nil))
	if *public.Properties.IPAddress != "203.0.113.13" {
		t.Errorf("public address %s", *public.Properties.IPAddress)
	}
	group := must(e.groups.Get(ctx, rg, "nsg-web01", nil))
	if n := len(group.Properties.DefaultSecurityRules); n != 6 {
		t.Errorf("%d default rules", n)
	}

	poller, err := e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "jitgate-1", ssh(100), nil)
	made, err := done(ctx, poller, err)
	if err != nil {
		t.Fatal(err)
	}
	if *made.Properties.ProvisioningState != armnetwork.ProvisioningStateSucceeded || *made.Name != "jitgate-1" {
		t.Errorf("the poller ended with %s %s", *made.Name, *made.Properties.ProvisioningState)
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Allow" || a.Rule != "jitgate-1" {
		t.Errorf("after the write: %+v", a)
	}
	gone, err := e.rules.BeginDelete(ctx, rg, "nsg-web01", "jitgate-1", nil)
	if _, err := done(ctx, gone, err); err != nil {
		t.Fatal(err)
	}
	if a := probe(t, e, "web01", "198.51.100.7", 22); a.Access != "Deny" || a.Rule != "deny-management" {
		t.Errorf("after the removal: %+v", a)
	}
	_, err = e.rules.Get(ctx, rg, "nsg-web01", "jitgate-1", nil)
	wantCode(t, err, 404, "NotFound")
	again, err := e.rules.BeginDelete(ctx, rg, "nsg-web01", "jitgate-1", nil)
	if _, err := done(ctx, again, err); err != nil {
		t.Errorf("deleting what is gone must be 204: %v", err)
	}
	want := map[string]int{"vm.get": 1, "nic.get": 1, "subnet.get": 1, "publicip.get": 1, "nsg.get": 1,
		"rule.put": 1, "rule.delete": 2, "rule.get": 2, "operation.get": 2}
	if diff := cmp.Diff(want, e.Counts()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if e.ResetCounts(); len(e.Counts()) != 0 {
		t.Error("counts survive a reset")
	}
}

func TestAuthorization(t *testing.T) {
	e := start(t, arm.Options{Authorize: func(bearer string) error {
		if bearer != "good" {
			return errors.New("not mine")
		}
		return nil
	}})
	for _, c := range []struct{ header, code string }{
		{"", "AuthenticationFailed"},
		{"Basic good", "AuthenticationFailedInvalidHeader"},
		{"Bearer bad", "InvalidAuthenticationToken"},
		{"Bearer good", ""},
	} {
		resp, body := e.call(t, "GET", "/subscriptions/"+sub+version, nil, "Authorization", c.header)
		want := http.StatusUnauthorized
		if c.code == "" {
			want = http.StatusOK
		}
		if resp.StatusCode != want || errorCode(body) != c.code {
			t.Errorf("%q: %d %s", c.header, resp.StatusCode, errorCode(body))
		}
		if want == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%q: no WWW-Authenticate", c.header)
		}
	}
	empty := start(t, arm.Options{})
	if resp, _ := empty.call(t, "GET", "/subscriptions"+version, nil, "Authorization", "Bearer "); resp.StatusCode != 401 {
		t.Errorf("an empty token got %d", resp.StatusCode)
	}
}

func TestMissingThings(t *testing.T) {
	e := start(t, arm.Options{})
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", web, 400, "MissingApiVersionParameter"},
		{"GET", web + "?api-version=anything", 200, ""},
		{"GET", strings.ToUpper(web) + version, 200, ""},
		{"GET", "/subscriptions/nonsense" + version, 400, "InvalidSubscriptionId"},
		{"GET", "/subscriptions/00000000-0000-0000-0000-00000000dead" + version, 404, "SubscriptionNotFound"},
		{"GET", "/subscriptions/" + sub + "/resourceGroups/nope" + version, 404, "ResourceGroupNotFound"},
		{"GET", strings.Replace(web, rg, "nope", 1) + version, 404, "ResourceGroupNotFound"},
		{"GET", web + "x" + version, 404, "ResourceNotFound"},
		{"GET", web + "/securityRules/nope" + version, 404, "NotFound"},
		{"GET", web + "x/securityRules" + version, 404, "ResourceNotFound"},
		{"GET", scope + "/providers/Microsoft.Compute/virtualMachines/nope" + version, 404, "ResourceNotFound"},
		{"GET", scope + "/providers/Microsoft.Network/networkInterfaces/nope" + version, 404, "ResourceNotFound"},
		{"GET", scope + "/providers/Microsoft.Network/virtualNetworks/vnet-demo/subnets/nope" + version, 404, "NotFound"},
		{"GET", scope + "/providers/Microsoft.Network/virtualNetworks/nope/subnets/web" + version, 404, "ResourceNotFound"},
		{"GET", scope + "/providers/Microsoft.Network/publicIPAddresses/nope" + version, 404, "ResourceNotFound"},
		{"DELETE", web + "x" + version, 204, ""},
		{"DELETE", web + "/securityRules/nope" + version, 204, ""},
		{"DELETE", web + "x/securityRules/nope" + version, 404, "ParentResourceNotFound"},
		{"PUT", web + "x/securityRules/nope" + version, 404, "ParentResourceNotFound"},
		{"DELETE", web + version, 400, "InUseNetworkSecurityGroupCannotBeDeleted"},
		{"DELETE", scope + "/providers/Microsoft.Network/networkInterfaces/web01-nic" + version, 400, "NicInUse"},
		{"PUT", scope + "/providers/Microsoft.Compute/virtualMachines/new" + version, 405, "OperationNotAllowed"},
		{"GET", scope + "/providers/Microsoft.Network/routeTables" + version, 404, "InvalidResourceType"},
		{"GET", "/subscriptions/" + sub + "/providers/Microsoft.Network/locations/westeurope/operations/nope" + version, 404, "OperationNotFound"},
	} {
		resp, body := e.call(t, c.method, c.path, nil)
		if resp.StatusCode != c.status || errorCode(body) != c.code {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, resp.StatusCode, errorCode(body), c.status, c.code)
		}
		if resp.Header.Get("x-ms-request-id") == "" || resp.Header.Get("x-ms-correlation-request-id") == "" {
			t.Errorf("%s %s: request ids are missing", c.method, c.path)
		}
	}
}

func TestHeaders(t *testing.T) {
	e := start(t, arm.Options{})
	resp, _ := e.call(t, "GET", web+version, nil, "x-ms-correlation-request-id", "mine",
		"x-ms-client-request-id", "client", "x-ms-return-client-request-id", "true")
	for name, want := range map[string]string{"x-ms-correlation-request-id": "mine", "x-ms-client-request-id": "client",
		"x-ms-ratelimit-remaining-subscription-reads": "249"} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	resp, _ = e.call(t, "DELETE", web+"/securityRules/allow-https"+version, nil)
	if resp.Header.Get("x-ms-ratelimit-remaining-subscription-deletes") == "" {
		t.Error("a delete does not tell the deletes left")
	}
}

// Ids keep the casing they were created with, whatever casing the caller uses.
func TestCasing(t *testing.T) {
	e := start(t, arm.Options{})
	got := must(e.rules.Get(t.Context(), "RG-DEMO", "NSG-Web01", "ALLOW-HTTPS", nil))
	if want := web + "/securityRules/allow-https"; *got.ID != want {
		t.Errorf("id %s, want %s", *got.ID, want)
	}
	rule := ssh(1100)
	poller, err := e.rules.BeginCreateOrUpdate(t.Context(), "RG-DEMO", "NSG-WEB01", "ALLOW-HTTPS", rule, nil)
	made, err := done(t.Context(), poller, err)
	if err != nil {
		t.Fatal(err)
	}
	if *made.Name != "allow-https" || len(e.RuleNames(web)) != 2 {
		t.Errorf("a PUT in another casing made %s; rules %v", *made.Name, e.RuleNames(web))
	}
}

func TestMachineAndNICRemoval(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	poller, err := e.machines.BeginDelete(ctx, rg, "web01", nil)
	if _, err := done(ctx, poller, err); err != nil {
		t.Fatal(err)
	}
	_, err = e.machines.Get(ctx, rg, "web01", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	nics := e.network.NewInterfacesClient()
	nic := must(nics.Get(ctx, rg, "web01-nic", nil))
	if nic.Properties.VirtualMachine != nil {
		t.Error("the NIC still names the deleted machine")
	}
	gone, err := nics.BeginDelete(ctx, rg, "web01-nic", nil)
	if _, err := done(ctx, gone, err); err != nil {
		t.Fatal(err)
	}
	drop, err := e.groups.BeginDelete(ctx, rg, "nsg-web01", nil)
	if _, err := done(ctx, drop, err); err != nil {
		t.Fatalf("an NSG nobody uses can be deleted: %v", err)
	}
	_, err = e.groups.Get(ctx, rg, "nsg-web01", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	if _, err := e.Probe(arm.Packet{VM: "web01", Source: netip.MustParseAddr("198.51.100.7"), Port: 22, Protocol: "Tcp"}); err == nil {
		t.Error("the probe still knows the deleted machine")
	}
}

func TestFaults(t *testing.T) {
	e := start(t, arm.Options{})
	ctx := t.Context()
	e.FailNext("rule.put", 1, arm.Fault{Status: 429, Code: "TooManyRequests", RetryAfter: 1500 * time.Millisecond})
	_, err := e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "a", ssh(100), nil)
	wantCode(t, err, 429, "TooManyRequests")
	if slices.Contains(e.RuleNames(web), "a") {
		t.Error("a refused write took effect")
	}
	e.FailNext("", 1, arm.Fault{Drop: true})
	if _, err := e.groups.Get(ctx, rg, "nsg-web01", nil); err == nil {
		t.Error("the connection was not cut")
	}
	e.FailNext("nsg.get", 2, arm.Fault{Status: 503, RetryAfter: 1500 * time.Millisecond})
	resp, body := e.call(t, "GET", web+version, nil)
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "2" || errorCode(body) != "InternalServerError" {
		t.Errorf("%d %s %s", resp.StatusCode, resp.Header.Get("Retry-After"), errorCode(body))
	}
	if resp, _ := e.call(t, "GET", web+version, nil); resp.StatusCode != 503 {
		t.Errorf("the second ordered fault was not given: %d", resp.StatusCode)
	}
	if resp, _ := e.call(t, "GET", web+version, nil); resp.StatusCode != 200 {
		t.Errorf("a third fault came: %d", resp.StatusCode)
	}

	var seen []arm.Op
	e.SetHooks(func(op arm.Op) *arm.Fault {
		seen = append(seen, op)
		if op.Kind == "rule.delete" {
			return &arm.Fault{Status: 409, Code: "AnotherOperationInProgress"}
		}
		return nil
	}, func(op arm.Op) *arm.Fault {
		if op.Kind == "rule.put" {
			return &arm.Fault{Status: 500}
		}
		return nil
	})
	_, err = e.rules.BeginCreateOrUpdate(ctx, rg, "nsg-web01", "b", ssh(100), nil)
	wantCode(t, err, 500, "InternalServerError")
	if !slices.Contains(e.RuleNames(web), "b") {
		t.Error("a fault after the effect must leave the effect")
	}
	_, err = e.rules.BeginDelete(ctx, rg, "nsg-web01", "b", nil)
	wantCode(t, err, 409, "AnotherOperationInProgress")
	want := []arm.Op{{Kind: "rule.put", Method: "PUT", ID: web + "/securityRules/b"}, {Kind: "rule.delete", Method: "DELETE", ID: web + "/securityRules/b"}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("hooks saw (-want +got):\n%s", diff)
	}
}

func TestConcurrentUse(t *testing.T) {
	e := start(t, arm.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := "r" + string(rune('a'+i))
			rule := ssh(int32(200 + i))
			for range 10 {
				resp, body := e.call(t, "PUT", web+"/securityRules/"+name+version, rule)
				if resp.StatusCode >= 300 {
					t.Errorf("PUT %s: %d %v", name, resp.StatusCode, body)
				}
				e.RuleNames(web)
				e.Counts()
				if _, err := e.Probe(arm.Packet{VM: "web01", Source: netip.MustParseAddr("198.51.100.7"), Port: 22, Protocol: "Tcp"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	names := e.RuleNames(web)
	if len(names) != 10 {
		t.Errorf("rules %v", names)
	}
	if e.Counts()["rule.put"] != 80 {
		t.Errorf("counts %v", maps.Clone(e.Counts()))
	}
}
