package access_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/azure/tables"
	local "jitgate/internal/local/tables"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

var (
	ctx   = context.Background()
	alice = access.Person{Tenant: "t", Object: "alice-oid", Name: "alice@contoso.example"}
	bob   = access.Person{Tenant: "t", Object: "bob-oid", Name: "bob@contoso.example"}
	carol = access.Person{Tenant: "t", Object: "carol-oid", Name: "carol@contoso.example"}
	dave  = access.Person{Tenant: "t", Object: "dave-oid", Name: "dave@contoso.example"}

	nicNSG    = armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-nic")
	subnetNSG = armid.MustParse(subscription + "/resourceGroups/rg-demo/providers/Microsoft.Network/networkSecurityGroups/nsg-subnet")
)

func vmID(name string) armid.ID { return vmIn("rg-demo", name) }

func vmIn(group, name string) armid.ID {
	return armid.MustParse(subscription + "/resourceGroups/" + group + "/providers/Microsoft.Compute/virtualMachines/" + name)
}

// server is one Table Storage stand-in for all tests; worlds keep apart by prefix.
var (
	server  *httptest.Server
	storage *local.Server
	worlds  atomic.Int64
)

func TestMain(m *testing.M) {
	storage = local.New(local.Options{})
	server = httptest.NewServer(storage)
	code := m.Run()
	server.Close()
	os.Exit(code)
}

// tb is what *testing.T and *rapid.T have in common.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// world is an installation whose clock and messages a test moves.
type world struct {
	tb      tb
	clock   *clockwork.FakeClock
	queue   *accesstest.Queue
	channel *accesstest.Messages
	network *accesstest.Network
	service *access.Service
}

// newWorld has VMs behind a NIC NSG (web01), a subnet NSG (db01, db02), both (app01)
// and none (lone01), and a policy for the resource group.
func newWorld(tb tb) *world {
	tb.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC))
	store, err := tables.New(tables.Config{
		ConnectionString: storage.ConnectionString(server.URL), Prefix: fmt.Sprintf("w%d", worlds.Add(1)),
		Now: clock.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := store.EnsureTables(ctx); err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, clock: clock, queue: &accesstest.Queue{}, channel: &accesstest.Messages{}, network: accesstest.NewNetwork()}
	w.network.AddMachine(vmID("web01"), "10.0.0.4", nicNSG)
	w.network.AddMachine(vmID("db01"), "10.0.1.4", subnetNSG)
	w.network.AddMachine(vmID("db02"), "10.0.1.5", subnetNSG)
	w.network.AddMachine(vmID("app01"), "10.0.0.5", subnetNSG, nicNSG)
	w.network.AddMachine(vmID("lone01"), "10.0.0.6")
	w.service = &access.Service{
		Store: store, Policies: store, Ledgers: store, Messages: w.channel, Queue: w.queue, Network: w.network, Now: w.clock.Now, Log: slog.New(slog.DiscardHandler),
		Limits: defaults, Bands: nsg.DefaultBands, Subscriptions: []string{"00000000-0000-0000-0000-000000000001"},
	}
	w.apply(`apiVersion: jitgate/v1
scope: ` + subscription + `/resourceGroups/rg-demo
ports: [{port: 22, protocol: TCP}, {port: 3389, protocol: TCP}, {port: 53, protocol: UDP}]
sources: [{range: 203.0.113.0/24}]
maxDuration: PT3H
`)
	return w
}

func (w *world) apply(document string) {
	w.tb.Helper()
	doc, err := policy.Parse([]byte(document))
	if err != nil {
		w.tb.Fatal(err)
	}
	if _, err := w.service.Policies.PutPolicy(ctx, doc, access.Signature{By: bob, At: w.clock.Now()}); err != nil {
		w.tb.Fatal(err)
	}
}

func ask(vms ...string) access.Ask {
	a := access.Ask{Source: netip.MustParsePrefix("203.0.113.7/32"), Duration: time.Hour, Justification: "INC-1", Fingerprint: fmt.Sprint(vms)}
	for _, vm := range vms {
		a.Targets = append(a.Targets, access.AskTarget{VM: vmID(vm), Ports: []policy.Port{{Number: 22, Protocol: policy.TCP}}})
	}
	return a
}

// as is somebody with the app roles given.
func as(p access.Person, roles ...string) access.Actor {
	return access.Actor{Person: p, Standing: access.Standing{Roles: roles}}
}

func (w *world) submit(a access.Ask) access.Request {
	w.tb.Helper()
	r, err := w.service.Submit(ctx, as(alice), "", a)
	if err != nil {
		w.tb.Fatalf("submit: %v", err)
	}
	return r
}

func (w *world) revoke(id string) {
	w.tb.Helper()
	if _, err := w.service.Revoke(ctx, id, alice); err != nil {
		w.tb.Fatalf("revoke: %v", err)
	}
}

// deliver hands out messages until none is due. A use case that fails keeps its
// message, as an abandoned one would; more than 1,000 deliveries are a loop.
func (w *world) deliver() {
	w.tb.Helper()
	for range 1000 {
		due := w.queue.Due(w.clock.Now())
		if len(due) == 0 {
			return
		}
		if err := accesstest.Deliver(ctx, w.service, due[0]); err != nil {
			w.tb.Fatalf("deliver %+v: %v", due[0], err)
		}
		w.queue.Drop(due[0])
	}
	w.tb.Fatal("messages breed messages")
}

// pass moves the clock and delivers what became due.
func (w *world) pass(d time.Duration) {
	w.tb.Helper()
	w.clock.Advance(d)
	w.deliver()
}

// sweep lets enough time pass for the sweep to care, runs it, and delivers.
func (w *world) sweep() access.Swept {
	w.tb.Helper()
	w.clock.Advance(access.Patience + time.Second)
	found, err := w.service.Sweep(ctx)
	if err != nil {
		w.tb.Fatalf("sweep: %v", err)
	}
	w.deliver()
	return found
}

func (w *world) request(id string) access.Request {
	w.tb.Helper()
	r, err := w.service.Store.Request(ctx, id)
	if err != nil {
		w.tb.Fatalf("request %s: %v", id, err)
	}
	return r
}

func (w *world) wantState(id string, want access.State) access.Request {
	w.tb.Helper()
	r := w.request(id)
	if r.State() != want {
		w.tb.Errorf("request is %s (%+v), want %s", r.State(), r.Targets, want)
	}
	return r
}

func (w *world) wantRules(id armid.ID, n int) map[string]nsg.Rule {
	w.tb.Helper()
	rules := w.network.Rules(id)
	if len(rules) != n {
		w.tb.Errorf("%s holds %d rules of ours (%v), want %d", id.Name(), len(rules), rules, n)
	}
	return rules
}

// wantUnsettled: the sweep has to come back to the NSG.
func (w *world) wantUnsettled(id armid.ID) {
	w.tb.Helper()
	head, err := w.service.Store.Head(ctx, id)
	if err != nil {
		w.tb.Fatal(err)
	}
	if head.Settled(w.clock.Now()) {
		w.tb.Errorf("%s counts as settled: %+v", id.Name(), head)
	}
}

// kinds returns the kinds of a request's events and checks their numbering.
func (w *world) kinds(id string) []string {
	w.tb.Helper()
	events, err := w.service.Store.Events(ctx, id)
	if err != nil {
		w.tb.Fatal(err)
	}
	var out []string
	for i, e := range events {
		if e.Sequence != i+1 {
			w.tb.Errorf("event %d bears number %d", i+1, e.Sequence)
		}
		out = append(out, string(e.Kind))
	}
	return out
}

func (w *world) wantKinds(id string, want ...string) {
	w.tb.Helper()
	if got := w.kinds(id); !slices.Equal(got, want) {
		w.tb.Errorf("the record is %v, want %v", got, want)
	}
}

func scopeOf(vm string) policy.Scope { return policy.ScopeOf(vmID(vm)) }

// newCrash is the service of a process that dies at its n-th effect.
func newCrash(w *world, n int) *access.Service {
	return (&accesstest.Crash{At: n}).Service(w.service)
}
