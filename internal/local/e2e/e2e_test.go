// Package e2e_test runs the built handler under the local stack, through the real SDK
// clients and all parts, and looks at it from outside: by HTTP and by the probe.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"jitgate/internal/api"
	"jitgate/internal/client"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

const (
	group  = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo"
	inside = "203.0.113.7"
)

func vmID(name string) string { return group + "/providers/Microsoft.Compute/virtualMachines/" + name }
func nsgID(name string) string {
	return group + "/providers/Microsoft.Network/networkSecurityGroups/" + name
}
func nicID(name string) string {
	return group + "/providers/Microsoft.Network/networkInterfaces/" + name
}

// appRoot is the staged app folder, built once.
var appRoot string

func TestMain(m *testing.M) {
	if os.Getenv(clockVariable) != "" {
		runClockedHandler()
	}
	dir, err := os.MkdirTemp("", "jitgate-e2e")
	if err == nil {
		appRoot = filepath.Join(dir, "app")
		err = local.Stage(context.Background(), "../../..", appRoot)
	}
	code := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// start runs a stack with a policy for the demo estate in which access may last a
// second.
func start(t *testing.T, o local.Options) *local.Stack {
	t.Helper()
	if o.AppRoot == "" {
		o.AppRoot = appRoot
	}
	if o.Settings == nil {
		o.Settings = map[string]string{}
	}
	o.Settings["JITGATE_SHORTEST_DURATION"] = "PT1S"
	o.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	stack, err := local.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stack.Close)
	scope := group
	if o.Topology != nil {
		scope = "/subscriptions/00000000-0000-0000-0000-000000000001"
	}
	_, err = as(stack, "carol").ApplyPolicy(t.Context(), `{apiVersion: jitgate/v1, scope: `+scope+`, ports: [{port: 22, protocol: TCP}],
sources: [{range: 203.0.113.0/24}], maxDuration: PT3H}`)
	if err != nil {
		t.Fatal(err)
	}
	return stack
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	if w.t.Context().Err() == nil { // a log line after the end of a test would panic
		w.t.Logf("%s", line)
	}
	return len(line), nil
}

func as(stack *local.Stack, name string) *client.Client {
	return &client.Client{Base: stack.Env["JITGATE_URL"], Token: func(context.Context) (string, error) {
		return stack.Entra.UserToken(stack.Env["JITGATE_ENTRA_URL"], name)
	}}
}

func ask(vm, duration string) api.NewRequest {
	return api.NewRequest{
		Targets: []api.NewTarget{{VM: vmID(vm), Ports: []api.Port{{Port: 22, Protocol: "TCP"}}}},
		Source:  inside, Duration: duration, Justification: "INC-1042",
	}
}

func create(t *testing.T, c *client.Client, in api.NewRequest) api.Request {
	t.Helper()
	r, _, err := c.Create(t.Context(), in, "")
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	return r
}

// until looks again and again, faster than the server asks for, until a look finds
// nothing wrong.
func until(ctx context.Context, look func() error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
	}
}

// await waits until the request is in a state that done accepts.
func await(ctx context.Context, c *client.Client, id string, done func(api.Request) bool) (r api.Request, err error) {
	err = until(ctx, func() (err error) {
		if r, _, err = c.Get(ctx, id); err == nil && !done(r) {
			err = fmt.Errorf("request %s stays %s (%+v)", id, r.State, r.Targets)
		}
		return err
	})
	return r, err
}

func waitFor(t *testing.T, c *client.Client, id, state string) api.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := await(ctx, c, id, func(r api.Request) bool { return r.State == state })
	if err != nil {
		t.Fatalf("waiting for %s: %v", state, err)
	}
	return r
}

func probe(t *testing.T, stack *local.Stack, vm, source, want string) {
	t.Helper()
	probeTo(t, stack, vm, netip.Addr{}, source, want)
}

// probeTo sends to one of the machine's addresses; zero means its primary one.
func probeTo(t *testing.T, stack *local.Stack, vm string, to netip.Addr, source, want string) {
	t.Helper()
	answer, err := stack.ARM.Probe(arm.Packet{VM: vm, To: to, Source: netip.MustParseAddr(source), Port: 22, Protocol: "Tcp"})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Access != want {
		t.Errorf("%s → %s:22 is %s (%s), want %s", source, vm, answer.Access, answer.Reason, want)
	}
}

// quiet waits until every message that was sent is settled. Queue "nsgs" is looked
// at last: work on "requests" nudges NSGs before it is done.
func quiet(t *testing.T, stack *local.Stack) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := until(ctx, func() error {
		for _, queue := range []string{"requests", "nsgs"} {
			if c, err := stack.ServiceBus.Count(queue); err != nil || c.Active+c.Locked > 0 {
				return errors.Join(err, fmt.Errorf("queue %s is not empty: %+v", queue, c))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sweep(t *testing.T, stack *local.Stack) {
	t.Helper()
	if err := stack.Host.Trigger(t.Context(), "sweep"); err != nil {
		t.Fatalf("sweep: %v", err)
	}
	quiet(t, stack)
}

// groupJSON is all that somebody can set in an NSG, in a text that differs when any
// of it does.
func groupJSON(t *testing.T, stack *local.Stack, nsg string) string {
	t.Helper()
	text, err := stack.ARM.GroupJSON(nsgID(nsg))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func nsgWrites(stack *local.Stack) int {
	counts := stack.ARM.Counts()
	return counts["nsg.put"] + counts["rule.put"] + counts["rule.delete"]
}
