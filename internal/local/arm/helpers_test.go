package arm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azarm "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"

	"jitgate/internal/local/arm"
)

const (
	sub   = "00000000-0000-0000-0000-000000000001"
	rg    = "rg-demo"
	scope = "/subscriptions/" + sub + "/resourceGroups/" + rg
	nsgs  = scope + "/providers/Microsoft.Network/networkSecurityGroups/"
	web   = nsgs + "nsg-web01"
)

// estate is a running stand-in with real clients pointed at it.
type estate struct {
	*arm.Server
	url      string
	rules    *armnetwork.SecurityRulesClient
	groups   *armnetwork.SecurityGroupsClient
	machines *armcompute.VirtualMachinesClient
	network  *armnetwork.ClientFactory
}

func start(t testing.TB, o arm.Options) *estate {
	t.Helper()
	if o.Topology.Subscriptions == nil {
		var err error
		if o.Topology, err = arm.ParseTopology(arm.DemoTopology()); err != nil {
			t.Fatal(err)
		}
	}
	s, err := arm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	options := &azarm.ClientOptions{DisableRPRegistration: true, ClientOptions: policy.ClientOptions{
		InsecureAllowCredentialWithHTTP: true,
		Retry:                           policy.RetryOptions{MaxRetries: -1},
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: srv.URL,
			Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: srv.URL, Audience: "https://management.example"}}}}}
	network, err := armnetwork.NewClientFactory(sub, &fake.TokenCredential{}, options)
	if err != nil {
		t.Fatal(err)
	}
	compute, err := armcompute.NewClientFactory(sub, &fake.TokenCredential{}, options)
	if err != nil {
		t.Fatal(err)
	}
	return &estate{s, srv.URL, network.NewSecurityRulesClient(), network.NewSecurityGroupsClient(),
		compute.NewVirtualMachinesClient(), network}
}

// call sends one raw request and decodes the JSON answer.
func (e *estate) call(t testing.TB, method, path string, body any, headers ...string) (*http.Response, map[string]any) {
	t.Helper()
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			t.Fatal(err)
		}
	}
	if bytes.HasPrefix([]byte(path), []byte("/")) {
		path = e.url + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if len(all) > 0 {
		if err := json.Unmarshal(all, &out); err != nil {
			t.Fatalf("%s %s answered %q: %v", method, path, all, err)
		}
	}
	return resp, out
}

// errorCode is the code in an ARM error body.
func errorCode(body map[string]any) string {
	e, _ := body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

const version = "?api-version=2025-05-01"

// done is for pollers whose operation is already over: the first poll is sent at
// once, so Frequency never matters.
func done[T any](ctx context.Context, p *runtime.Poller[T], err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return p.PollUntilDone(ctx, &runtime.PollUntilDoneOptions{Frequency: time.Second})
}

// ssh is the allow rule that tests write.
func ssh(priority int32) armnetwork.SecurityRule {
	return armnetwork.SecurityRule{Properties: &armnetwork.SecurityRulePropertiesFormat{
		Description:              to.Ptr("JIT rule for alice"),
		Priority:                 to.Ptr(priority),
		Access:                   to.Ptr(armnetwork.SecurityRuleAccessAllow),
		Direction:                to.Ptr(armnetwork.SecurityRuleDirectionInbound),
		Protocol:                 to.Ptr(armnetwork.SecurityRuleProtocolTCP),
		SourceAddressPrefix:      to.Ptr("198.51.100.7"),
		SourcePortRange:          to.Ptr("*"),
		DestinationAddressPrefix: to.Ptr("10.20.1.4"),
		DestinationPortRange:     to.Ptr("22"),
	}}
}

// wantCode fails unless err is ARM's error with this status and code.
func wantCode(t testing.TB, err error, status int, code string) {
	t.Helper()
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		t.Fatalf("got %v, want a ResponseError %d %s", err, status, code)
	}
	if re.StatusCode != status || re.ErrorCode != code {
		t.Fatalf("got %d %s, want %d %s", re.StatusCode, re.ErrorCode, status, code)
	}
}

// must is for calls a test cannot go on without.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func last(id string) string { return id[bytes.LastIndexByte([]byte(id), '/')+1:] }

func probe(t testing.TB, e *estate, vm, source string, port uint16) arm.Answer {
	t.Helper()
	a, err := e.Probe(arm.Packet{VM: vm, Source: netip.MustParseAddr(source), Port: port, Protocol: "Tcp"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
