package access_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// newGuardedWorld has app01 behind two NSGs, each with a rule that opens port 22 to
// everybody for it alone, and a neighbour that is protected already.
func newGuardedWorld(tb tb) *world {
	w := newWorld(tb)
	w.edit(subnetNSG, allowFrom("allow-ssh-app01", 300, "*", "10.0.0.5", "22"), allowFrom("allow-https", 400, "*", "*", "443"))
	w.edit(nicNSG, allowFrom("allow-rdp-app01", 310, "Internet", "10.0.0.5", "3389"))
	w.protect(vmID("db01"))
	w.deliver()
	return w
}

// TestKilledWhileProtecting kills the process before and after each effect of
// protecting and of unprotecting, with and without the loss of all messages. Then
// either the command is repeated or the sweep takes over; the end is the same.
func TestKilledWhileProtecting(t *testing.T) {
	app01 := vmID("app01")
	steps := map[string]func(*world, *access.Service) error{
		"protect": func(w *world, s *access.Service) error {
			if _, err := s.Protect(ctx, app01, ports22, bob); err != nil {
				return err
			}
			return w.deliverTo(s)
		},
		"unprotect": func(w *world, s *access.Service) error {
			if _, err := s.Unprotect(ctx, app01, nil, bob); err != nil {
				return err
			}
			return w.deliverTo(s)
		},
	}
	ready := func(tb tb, step string) (*world, [2]nsg.Group) {
		w := newGuardedWorld(tb)
		before := [2]nsg.Group{w.group(subnetNSG), w.group(nicNSG)}
		if step == "unprotect" {
			w.protect(app01)
			w.deliver()
		}
		return w, before
	}
	for step, do := range steps {
		whole := &accesstest.Crash{}
		w, _ := ready(t, step)
		if err := do(w, whole.Service(w.service)); err != nil {
			t.Fatal(err)
		}
		end := [2]nsg.Group{w.group(subnetNSG), w.group(nicNSG)}
		if whole.Effects() < 11 {
			t.Fatalf("only %d effects of %s; is everything counted?", whole.Effects(), step)
		}
		for at := 1; at <= whole.Effects(); at++ {
			for variant := range 8 {
				after, lose, repeat := variant&1 != 0, variant&2 != 0, variant&4 != 0
				t.Run(fmt.Sprintf("%s/effect=%d/after=%v/lose=%v/repeat=%v", step, at, after, lose, repeat), func(t *testing.T) {
					t.Parallel()
					w, before := ready(t, step)
					crash := &accesstest.Crash{At: at, After: after}
					err := do(w, crash.Service(w.service))
					died, where := crash.Died()
					if !died || err != nil && !errors.Is(err, accesstest.ErrCrashed) {
						t.Fatalf("died %v at %q: %v", died, where, err)
					}
					if lose {
						w.queue.DropAll()
					}
					if repeat {
						if err := do(w, w.service); err != nil {
							t.Fatalf("repeated after dying at %q: %v", where, err)
						}
					}
					w.settleDown()
					if found := w.sweep(); found != (access.Swept{}) {
						t.Errorf("died at %q: a third sweep finds %+v", where, found)
					}
					p, err := w.service.Store.Protection(ctx, app01)
					begun := err == nil && p.Revision == map[string]int{"protect": 1, "unprotect": 2}[step]
					if repeat && !begun {
						t.Fatalf("died at %q: the repeated command left %+v", where, p)
					}
					want := end
					if !begun { // killed before the wish was saved
						if want = before; step == "unprotect" {
							return
						}
					}
					wantSame(t, want[0], w.group(subnetNSG))
					wantSame(t, want[1], w.group(nicNSG))
					if begun && !p.Settled() {
						t.Errorf("died at %q: unsettled %+v", where, p)
					}
					w.wantProtection(vmID("db01"), access.Protected)
					kinds := w.machineKinds(app01)
					if last := map[string]string{"protect": "machine.protected", "unprotect": "machine.unprotected"}[step]; begun && kinds[len(kinds)-1] != last {
						t.Errorf("died at %q: the record is %v", where, kinds)
					}
				})
			}
		}
	}
}

// TestAnyOrderOfProtections lets people protect and unprotect machines that share
// NSGs, ask for access and change rules by hand, with messages lost, repeated and
// reordered. At rest every machine is as its record says, and once all is taken
// back the NSGs are as they were.
func TestAnyOrderOfProtections(t *testing.T) {
	t.Parallel()
	vms := []string{"web01", "db01", "db02", "app01"}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		w.edit(subnetNSG, allowFrom("allow-ssh-app01", 300, "*", "10.0.0.5", "22"), allowFrom("allow-https", 400, "*", "*", "443"))
		w.edit(nicNSG, allowFrom("allow-rdp-web01", 310, "Internet", "10.0.0.4", "3389"), allowFrom("allow-ssh-both", 320, "*", "*", "22"))
		before := map[string]nsg.Group{"nic": w.group(nicNSG), "subnet": w.group(subnetNSG)}
		var ids []string
		for range rapid.IntRange(3, 20).Draw(rt, "steps") {
			vm := vmID(rapid.SampledFrom(vms).Draw(rt, "vm"))
			id := rapid.SampledFrom([]armid.ID{nicNSG, subnetNSG}).Draw(rt, "nsg")
			var refused access.Refusals
			switch step := rapid.SampledFrom([]string{"protect", "protect", "unprotect", "ask", "deliver", "deliver", "lose", "tamper", "sweep"}).Draw(rt, "step"); step {
			case "protect":
				w.protect(vm)
			case "unprotect":
				if _, err := w.service.Unprotect(ctx, vm, nil, bob); err != nil && !errors.As(err, &refused) {
					rt.Fatal(err)
				}
			case "ask":
				ids = append(ids, w.submit(ask(vm.Name())).ID)
			case "deliver":
				if due := w.queue.Due(w.clock.Now()); len(due) > 0 {
					m := rapid.SampledFrom(due).Draw(rt, "message")
					if err := accesstest.Deliver(ctx, w.service, m); err != nil {
						rt.Fatalf("deliver: %v", err)
					}
					if rapid.Bool().Draw(rt, "done with it") {
						w.queue.Drop(m)
					}
				}
			case "lose":
				w.queue.DropAll()
			case "tamper":
				w.network.Edit(id, func(g *nsg.Group) {
					g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r nsg.Rule) bool {
						return r.Ours() && rapid.Bool().Draw(rt, "delete")
					})
				})
			case "sweep":
				w.sweep()
			}
		}
		w.settleDown()
		w.wantSafe()
		for _, name := range vms {
			p, err := w.service.Store.Protection(ctx, vmID(name))
			if errors.Is(err, access.ErrNotFound) {
				continue
			}
			if err != nil || !p.Settled() {
				rt.Fatalf("%s is %s at rest: %+v (%v)", name, p.State(), p, err)
			}
			for _, part := range p.Parts {
				g := w.group(part.NSG)
				for _, a := range part.Addresses {
					if got := g.Denies(a, ports22.Ports[0]); got != p.Wanted {
						rt.Errorf("%s is %s, and %s denies it: %v", name, p.State(), part.NSG.Name(), got)
					}
				}
			}
			if p.Wanted {
				w.unprotect(vmID(name))
			}
		}
		for _, id := range ids {
			var refused access.Refusals
			if _, err := w.service.Revoke(ctx, id, alice); err != nil && !errors.As(err, &refused) {
				rt.Fatal(err)
			}
		}
		w.settleDown()
		if found := w.sweep(); found != (access.Swept{}) {
			rt.Errorf("at rest the sweep finds %+v", found)
		}
		wantSame(rt, before["nic"], w.group(nicNSG))
		wantSame(rt, before["subnet"], w.group(subnetNSG))
	})
}
