// Package arm reads machines and network security groups from Azure Resource
// Manager and writes rules to them. It implements [access.Network] and owns
// everything that is peculiar about ARM: which calls lead from a VM to its NSGs,
// what an answer means for the next step, long-running operations, and how a
// group is changed without touching what belongs to others.
//
// It refuses to decide what a group should hold: that is the caller's plan, which
// it carries out, and asks for again whenever somebody else was faster. It keeps
// no state between calls; who reads after it sees what Azure has. Only [Rights], which
// reads role assignments, remembers for a minute.
package arm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
)

// Config says where ARM is and who asks. Only Credential is required.
type Config struct {
	Endpoint   string // default https://management.azure.com; plain http for a loopback host only
	Audience   string // of tokens for the endpoint; default: Azure's own for the default endpoint, else the endpoint
	Credential azcore.TokenCredential
	Transport  policy.Transporter // default: the SDK's
	PollEvery  time.Duration      // between looks at an operation; default and SDK minimum 1 s
	Attempts   int                // writes per Match before it gives up; default 6
	Log        *slog.Logger
	Clock      clockwork.Clock // for the waits between attempts
}

// Network is ARM. It is safe for concurrent use; the writes of one NSG are in
// order only if no two calls of Match for it run at once.
type Network struct {
	credential azcore.TokenCredential
	options    *arm.ClientOptions
	pollEvery  time.Duration
	attempts   int
	log        *slog.Logger
	clock      clockwork.Clock

	mu      sync.Mutex
	clients map[string]*clients // by lower-cased subscription id
}

var _ access.Network = (*Network)(nil)

// New touches neither the network nor the credential.
func New(c Config) (*Network, error) {
	if c.Credential == nil {
		return nil, errors.New("arm: a credential is needed")
	}
	service := cloud.AzurePublic.Services[cloud.ResourceManager]
	plain := false
	if c.Endpoint != "" {
		var err error
		if plain, err = checkEndpoint(c.Endpoint); err != nil {
			return nil, fmt.Errorf("arm: endpoint %q: %w", c.Endpoint, err)
		}
		service.Endpoint = strings.TrimSuffix(c.Endpoint, "/")
		service.Audience = service.Endpoint
	}
	if c.Audience != "" {
		service.Audience = c.Audience // a slash at its end belongs to it
	}
	n := &Network{
		credential: c.Credential, pollEvery: c.PollEvery, attempts: c.Attempts, log: c.Log, clock: c.Clock,
		clients: map[string]*clients{},
		options: &arm.ClientOptions{
			// Registering resource providers is not ours to do, and the policy for it
			// reads the body of every 409 (azcore/arm/runtime).
			DisableRPRegistration: true,
			ClientOptions: policy.ClientOptions{
				Cloud:                           cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: service}},
				InsecureAllowCredentialWithHTTP: plain,
				PerCallPolicies:                 []policy.Policy{rawBody{}},
				Telemetry:                       policy.TelemetryOptions{ApplicationID: "jitgate"},
				Transport:                       c.Transport,
			},
		},
	}
	if n.pollEvery == 0 {
		n.pollEvery = time.Second
	}
	if n.attempts == 0 {
		n.attempts = 6
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.clock == nil {
		n.clock = clockwork.NewRealClock()
	}
	return n, nil
}

// checkEndpoint reports whether the endpoint is plain http, which is taken for
// this machine only.
func checkEndpoint(endpoint string) (plain bool, err error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return false, errors.New("it must be an absolute URL without query and fragment")
	case u.Scheme == "https":
		return false, nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return true, nil
	}
	return false, errors.New("it must be https; plain http is accepted for a loopback host only, because the token sent along may change any rule in the subscription and could be read on the way")
}

func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// clients are the SDK's clients for one subscription. Making them is not cheap,
// and each keeps its own token.
type clients struct {
	machines   *armcompute.VirtualMachinesClient
	interfaces *armnetwork.InterfacesClient
	subnets    *armnetwork.SubnetsClient
	networks   *armnetwork.VirtualNetworksClient
	groups     *armnetwork.SecurityGroupsClient
	rules      *armnetwork.SecurityRulesClient
}

func (n *Network) in(subscription string) (*clients, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := strings.ToLower(subscription)
	if c := n.clients[key]; c != nil {
		return c, nil
	}
	var c clients
	var errs [6]error
	c.machines, errs[0] = armcompute.NewVirtualMachinesClient(subscription, n.credential, n.options)
	c.interfaces, errs[1] = armnetwork.NewInterfacesClient(subscription, n.credential, n.options)
	c.subnets, errs[2] = armnetwork.NewSubnetsClient(subscription, n.credential, n.options)
	c.networks, errs[3] = armnetwork.NewVirtualNetworksClient(subscription, n.credential, n.options)
	c.groups, errs[4] = armnetwork.NewSecurityGroupsClient(subscription, n.credential, n.options)
	c.rules, errs[5] = armnetwork.NewSecurityRulesClient(subscription, n.credential, n.options)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make ARM clients: %w", err)
	}
	n.clients[key] = &c
	return &c, nil
}

// rawBody is a policy that sends the body found in the context instead of the
// one the typed client made: the models would drop every member they do not know.
type rawBody struct{}

type rawBodyKey struct{}

// withRawBody is for one request; polling for its end needs a context without.
func withRawBody(ctx context.Context, body []byte) context.Context {
	return context.WithValue(ctx, rawBodyKey{}, body)
}

func (rawBody) Do(r *policy.Request) (*http.Response, error) {
	if body, ok := r.Raw().Context().Value(rawBodyKey{}).([]byte); ok {
		if err := r.SetBody(streaming.NopCloser(bytes.NewReader(body)), "application/json"); err != nil {
			return nil, err
		}
	}
	return r.Next()
}
