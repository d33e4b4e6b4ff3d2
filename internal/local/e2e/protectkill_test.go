package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

// guardedNSGs are those before app01, with the rule that each gets in [guarded].
var guardedNSGs = map[string]arm.Rule{
	"nsg-app-subnet": openToAll("allow-ssh-app01", "22"),
	"nsg-app01":      openToAll("allow-rdp-app01", "3389"),
}

func openToAll(name, port string) arm.Rule {
	return arm.Rule{Name: name, Description: "Opened in a hurry", Priority: 300, Direction: "Inbound", Access: "Allow", Protocol: "Tcp",
		SourceAddressPrefix: "Internet", SourcePortRange: "*", DestinationAddressPrefix: "10.20.3.4", DestinationPortRange: port}
}

// guarded is a stack in which protecting app01 has something to remove in each of
// its two NSGs, with a handler whose clock can be moved.
type guarded struct {
	*testing.T
	stack  *local.Stack
	reaper *reaper
	clock  clock
	ahead  time.Duration
}

func newGuarded(t *testing.T, at int, after bool) *guarded {
	t.Helper()
	root, clock := clockedApp(t)
	g := &guarded{T: t, clock: clock, stack: start(t, local.Options{AppRoot: root, Settings: map[string]string{clockVariable: clock.file}})}
	for nsg, rule := range guardedNSGs {
		if err := g.stack.ARM.PutRule(nsgID(nsg), rule); err != nil {
			t.Fatal(err)
		}
	}
	g.reaper = &reaper{stack: g.stack, at: at, after: after}
	g.reaper.attach()
	return g
}

func (g *guarded) groups() map[string]string {
	g.Helper()
	out := map[string]string{}
	for nsg := range guardedNSGs {
		out[nsg] = groupJSON(g.T, g.stack, nsg)
	}
	return out
}

func (g *guarded) same(what string, want, got any) {
	g.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		_, where := g.reaper.seen()
		g.Errorf("killed at %q: %s (-want +got):\n%s", where, what, diff)
	}
}

// machine asks until it is answered: the handler may be about to come back.
func (g *guarded) machine() (p api.Protection) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), 20*time.Second)
	defer cancel()
	if err := until(ctx, func() (err error) { p, _, err = as(g.stack, "carol").Machine(ctx, vmID("app01")); return err }); err != nil {
		g.Fatal(err)
	}
	return p
}

// lead makes a call and sees to it that the machine gets from one state to another.
// If no answer comes, the call is repeated; or nobody repeats it and the sweep runs
// minutes later: either the call was accepted, or nothing at all has happened.
func (g *guarded) lead(call func() error, from, to string, repeat bool) {
	g.Helper()
	untouched := g.groups()
	err := call()
	if err != nil && !repeat {
		g.machine()
		g.reaper.rest()
		for range 2 { // one sweep finds what was left alone, a second one what the first set going
			g.ahead += access.Patience + time.Second
			g.clock.set(g.T, g.ahead)
			sweep(g.T, g.stack)
		}
		switch p := g.machine(); p.State {
		case to:
			err = nil
		case from:
			g.same("a call that was not accepted", untouched, g.groups())
		default:
			g.Errorf("after the sweeps app01 is %s: %+v", p.State, p.NSGs)
		}
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(g.Context(), 20*time.Second)
		defer cancel()
		if err := until(ctx, call); err != nil {
			g.Fatal(err)
		}
	}
	if _, err := awaitMachine(g.Context(), as(g.stack, "carol"), "app01", to, 20*time.Second); err != nil {
		_, where := g.reaper.seen()
		g.Fatalf("killed at %q: %v", where, err)
	}
	quiet(g.T, g.stack)
}

// life protects app01 and takes it back. It returns the NSGs as they were in
// between, and what the record says, in alphabetical order: its NSGs are written at
// the same time.
func (g *guarded) life(repeat bool) (closed map[string]string, record []string) {
	g.Helper()
	carol := as(g.stack, "carol")
	before := g.groups()
	g.lead(func() error {
		_, err := carol.Protect(g.Context(), vmID("app01"), api.NewProtection{}, false)
		return err
	}, "Unprotected", "Protected", repeat)
	closed = g.groups()
	removed := map[string][]string{}
	for _, n := range g.machine().NSGs {
		for _, r := range n.Removed {
			removed[n.NSG] = append(removed[n.NSG], r.Name)
		}
	}
	for nsg, rule := range guardedNSGs {
		if names := g.stack.ARM.RuleNames(nsgID(nsg)); len(ours(g.stack, nsgID(nsg))) != 1 || slices.Contains(names, rule.Name) {
			g.Errorf("%s holds %v", nsg, names)
		}
		g.same("copies kept of "+nsg, []string{rule.Name}, removed[nsgID(nsg)])
	}
	probe(g.T, g.stack, "app01", stranger, "Deny")

	g.lead(func() error {
		_, err := carol.Unprotect(g.Context(), vmID("app01"), api.EndProtection{}, false)
		return err
	}, "Protected", "Unprotected", repeat)
	g.same("what came back", before, g.groups())
	record = machineKinds(g.T, g.stack, "app01")
	slices.Sort(record)
	return closed, record
}

// TestKilledWhileProtecting kills the real process before and after every effect of
// protecting a machine and of taking that back. Whoever got no answer repeats the
// call, or leaves it to the sweep; the end is that of an undisturbed life, and so is
// the record.
func TestKilledWhileProtecting(t *testing.T) {
	whole := newGuarded(t, 0, false)
	closed, record := whole.life(true)
	total, _ := whole.reaper.seen()
	if total < 15 {
		t.Fatalf("only %d effects were seen; is everything counted?", total)
	}
	var killed atomic.Int32
	t.Run("killed", func(t *testing.T) {
		lanes := make(chan struct{}, 6) // as in TestKilledBetweenAnyTwoSteps
		for at := 1; at <= total; at++ {
			for _, after := range []bool{false, true} {
				repeat := after == (at%2 == 0)
				t.Run(fmt.Sprintf("effect=%d/after=%v/repeat=%v", at, after, repeat), func(t *testing.T) {
					t.Parallel()
					lanes <- struct{}{}
					defer func() { <-lanes }()
					g := newGuarded(t, at, after)
					gotClosed, gotRecord := g.life(repeat)
					g.same("while protected", closed, gotClosed)
					g.same("the record", record, gotRecord)
					if _, where := g.reaper.seen(); where != "" {
						killed.Add(1)
						t.Logf("killed at %q", where)
					}
				})
			}
		}
	})
	if n := int(killed.Load()); n < total {
		t.Errorf("of %d lives only %d were disturbed", 2*total, n)
	}
}
