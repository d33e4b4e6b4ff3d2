package arm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/azure/arm"
	local "jitgate/internal/local/arm"
	"jitgate/internal/nsg"
)

const (
	sub    = "00000000-0000-0000-0000-000000000001"
	scope  = "/subscriptions/" + sub + "/resourceGroups/rg-test/providers/"
	nsgID  = scope + "Microsoft.Network/networkSecurityGroups/nsg-a"
	wantID = "0198c0de-0000-7000-8000-000000000001"
)

var id = armid.MustParse(nsgID)

// foreignRules belong to somebody else and must come through everything.
func foreignRules() []local.Rule {
	return []local.Rule{
		{Name: "deny-management", Description: "Closed <by> & for \"us\"", Priority: 1000, Direction: "Inbound", Access: "Deny", Protocol: "*",
			SourceAddressPrefix: "*", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRanges: []string{"22", "3389"}},
		{Name: "allow-https", Priority: 1100, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
			SourceAddressPrefix: "Internet", SourcePortRange: "*", DestinationAddressPrefix: "*", DestinationPortRange: "443"},
		{Name: "allow-asg", Priority: 101, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
			SourceApplicationSecurityGroups: []string{"asg-web"}, SourcePortRange: "*", DestinationAddressPrefixes: []string{"10.0.1.0/24", "10.0.2.4"}, DestinationPortRange: "1433"},
		{Name: "out", Priority: 100, Direction: "Outbound", Access: "Deny", Protocol: "Udp",
			SourceAddressPrefix: "*", SourcePortRanges: []string{"1-5", "9"}, DestinationAddressPrefix: "Internet", DestinationPortRange: "53"},
	}
}

func topology(rules ...local.Rule) local.Topology {
	return local.Topology{Subscriptions: []local.Subscription{{ID: sub, Name: "test", ResourceGroups: []local.ResourceGroup{{
		Name: "rg-test", Location: "westeurope", ASGs: []string{"asg-web"},
		NSGs: []local.SecurityGroup{{Name: "nsg-a", Tags: map[string]string{"owner": "net"}, Rules: rules}, {Name: "nsg-b"}},
		VNets: []local.VirtualNetwork{{Name: "vnet", Space: []string{"10.0.0.0/16", "fd00::/48"}, Subnets: []local.Subnet{
			{Name: "plain", Prefix: "10.0.0.0/24"}, {Name: "guarded", Prefix: "10.0.1.0/24", NSG: "nsg-a"}, {Name: "six", Prefix: "fd00::/64"}}}},
		VMs: []local.VirtualMachine{
			{Name: "both", NICs: []local.Interface{{Name: "both-nic", Subnet: "vnet/guarded", Private: "10.0.1.4", Secondary: []string{"10.0.1.5"}, NSG: "nsg-b"}}},
			{Name: "same", NICs: []local.Interface{{Name: "same-nic", Subnet: "vnet/guarded", Private: "10.0.1.6", NSG: "nsg-a"}}},
			{Name: "nic-only", NICs: []local.Interface{{Name: "nic-only-nic", Subnet: "vnet/plain", Private: "10.0.0.4", NSG: "nsg-b"}}},
			{Name: "subnet-only", NICs: []local.Interface{{Name: "subnet-only-nic", Subnet: "vnet/guarded", Private: "10.0.1.7"}}},
			{Name: "two-nics", NICs: []local.Interface{{Name: "first-nic", Subnet: "vnet/guarded", Private: "10.0.1.8"}, {Name: "second-nic", Subnet: "vnet/plain", Private: "10.0.0.8", NSG: "nsg-b"}}},
			{Name: "bare", NICs: []local.Interface{{Name: "bare-nic", Subnet: "vnet/plain", Private: "10.0.0.9"}}},
		},
	}}}}}
}

// tb is what helpers need of a test, be it testing's or rapid's.
type tb interface {
	Helper()
	Cleanup(func())
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// estate is a stand-in behind HTTP with the adapter pointed at it. Waits pass at
// once on a clock that moves whenever somebody sleeps on it.
type estate struct {
	*local.Server
	*arm.Network
	clock *clockwork.FakeClock
	wire  *wire
	logs  *logs
	ctx   context.Context
}

func start(t tb, o local.Options) *estate {
	t.Helper()
	if o.Topology.Subscriptions == nil {
		o.Topology = topology(foreignRules()...)
	}
	server, err := local.New(o)
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{Server: server, clock: clockwork.NewFakeClock(), wire: &wire{}, logs: &logs{}}
	http := httptest.NewServer(server)
	t.Cleanup(http.Close)
	e.Network, err = arm.New(arm.Config{Endpoint: http.URL, Credential: &fake.TokenCredential{}, Transport: e.wire,
		PollEvery: time.Millisecond, Clock: e.clock, Log: slog.New(e.logs)})
	if err != nil {
		t.Fatal(err)
	}
	// The SDK's own retries stay as they are, only faster.
	ctx, cancel := context.WithCancel(context.Background())
	e.ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{RetryDelay: time.Microsecond})
	var moving sync.WaitGroup
	moving.Go(func() {
		for e.clock.BlockUntilContext(ctx, 1) == nil {
			e.clock.Advance(time.Second)
		}
	})
	t.Cleanup(func() { cancel(); moving.Wait() })
	return e
}

// wire carries requests and lets tests look at them and rewrite answers.
type wire struct {
	mu      sync.Mutex
	sent    []sent
	flying  int
	most    int // that were in flight at once
	rewrite func(*http.Request, []byte) []byte
}

type sent struct {
	method, path, ifMatch, agent string
	body                         []byte
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	s := sent{method: r.Method, path: r.URL.Path, ifMatch: r.Header.Get("If-Match"), agent: r.UserAgent()}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body, r.Body = body, io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	w.sent = append(w.sent, s)
	w.flying++
	w.most = max(w.most, w.flying)
	rewrite := w.rewrite
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.flying--; w.mu.Unlock() }()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || rewrite == nil {
		return answer, err
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return nil, err
	}
	body = rewrite(r, body)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return answer, nil
}

func (w *wire) writes() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.sent), func(s sent) bool { return s.method == http.MethodGet })
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.most = nil, 0
}

// logs keeps what was logged.
type logs struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// take returns the messages of a level since the last call.
func (l *logs) take(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, r := range l.records {
		if r.Level == level {
			out = append(out, r.Message)
		}
	}
	l.records = nil
	return out
}

// name is that of the n-th rule of ours.
func name(n int) string { return nsg.AllowName(wantID, n) }

func want(n int) nsg.Want {
	return nsg.Want{
		Name: name(n), Description: nsg.Description("dana@contoso.com", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		Source: netip.MustParsePrefix("198.51.100.0/24"), Destinations: []netip.Addr{netip.MustParseAddr("10.0.1.4")},
		Protocol: nsg.TCP, Ports: []uint16{22},
	}
}

func wants(numbers ...int) []nsg.Want {
	var out []nsg.Want
	for _, n := range numbers {
		out = append(out, want(n))
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func names(numbers ...int) []string {
	var out []string
	for _, n := range numbers {
		out = append(out, name(n))
	}
	slices.Sort(out)
	return out
}

// match asks for the wants in nsg-a.
func (e *estate) match(wants ...nsg.Want) (access.Outcome, error) {
	return e.Match(e.ctx, id, func(g nsg.Group) nsg.Plan { return nsg.MakePlan(g, nsg.Desired{Open: wants}, nsg.DefaultBands) })
}

// must matches and checks that Azure and the outcome hold exactly these rules of
// ours, and returns the outcome.
func (e *estate) must(t tb, numbers ...int) access.Outcome {
	t.Helper()
	got, err := e.match(wants(numbers...)...)
	if err != nil {
		t.Fatal(err)
	}
	e.holds(t, numbers...)
	var inOutcome []string
	for _, r := range got.Group.Rules {
		if strings.HasPrefix(r.Name, nsg.Prefix) {
			inOutcome = append(inOutcome, r.Name)
		}
	}
	slices.Sort(inOutcome)
	if diff := cmp.Diff(names(numbers...), inOutcome); diff != "" {
		t.Errorf("the outcome's group: %s", diff)
	}
	if len(got.Refused) != 0 || len(got.Unplaced) != 0 {
		t.Errorf("refused %v, unplaced %v", got.Refused, got.Unplaced)
	}
	return got
}

func (e *estate) ours() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, n := range e.RuleNames(nsgID) {
			if strings.HasPrefix(n, nsg.Prefix) && !yield(n) {
				return
			}
		}
	})
}

func (e *estate) holds(t tb, numbers ...int) {
	t.Helper()
	if diff := cmp.Diff(names(numbers...), e.ours()); diff != "" {
		t.Errorf("rules of ours in Azure (-want +got): %s", diff)
	}
}

// foreign returns the stored JSON of all rules that are not ours, by name.
func (e *estate) foreign(t tb) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, n := range e.RuleNames(nsgID) {
		if strings.HasPrefix(n, nsg.Prefix) {
			continue
		}
		text, err := e.RuleJSON(nsgID, n)
		if err != nil {
			t.Fatal(err)
		}
		out[n] = string(text)
	}
	return out
}

// writeCounts are the counts of calls that change something.
func (e *estate) writeCounts() map[string]int {
	counts := e.Counts()
	maps.DeleteFunc(counts, func(kind string, _ int) bool {
		return !strings.HasSuffix(kind, ".put") && !strings.HasSuffix(kind, ".delete") && !strings.HasSuffix(kind, ".patch")
	})
	return counts
}

// same compares what the port returns; ids and addresses hide their fields.
var same = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(armid.ID.Equal),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

// edit changes an answer's JSON where it is an object.
func edit(body []byte, change func(map[string]any)) []byte {
	var object map[string]any
	if json.Unmarshal(body, &object) != nil {
		return body
	}
	change(object)
	out, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return out
}
