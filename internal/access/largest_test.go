package access_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// TestTheLargestRequest has as many machines as one may have, in one NSG, each with
// rules for three protocols that it shares with no other. Whatever happens to all of
// them at one moment is one change, and a change holds 99 events.
func TestTheLargestRequest(t *testing.T) {
	w := newWorld(t)
	a, ports := ask(), ""
	for i := range access.MaxTargets {
		name, port := fmt.Sprint("many", i), uint16(2000+i)
		w.network.AddMachine(vmID(name), fmt.Sprint("10.0.3.", i+4), nicNSG)
		target := access.AskTarget{VM: vmID(name)}
		for _, p := range []policy.Protocol{policy.TCP, policy.UDP, policy.AnyProtocol} {
			target.Ports = append(target.Ports, policy.Port{Number: port, Protocol: p})
		}
		a.Targets = append(a.Targets, target)
		ports += fmt.Sprintf("{port: %d, protocol: \"*\"}, ", port)
	}
	w.apply("apiVersion: jitgate/v1\nscope: " + demoScope + "\nports: [" + ports + "]\nsources: [{range: 203.0.113.0/24}]\nmaxDuration: PT3H\nextensions: 1\n")
	block := allowFrom("block", 99, "*", "*", "2000-2999")
	block.Access, block.Protocol = nsg.Deny, nsg.AnyProtocol
	w.edit(nicNSG, block)
	wantNew := func(id string, before int, want ...string) int {
		t.Helper()
		kinds := w.kinds(id)
		for _, kind := range want {
			if n := len(slices.DeleteFunc(slices.Clone(kinds[before:]), func(k string) bool { return k != kind })); n != access.MaxTargets {
				t.Errorf("%s %d times, want once for each of %d machines", kind, n, access.MaxTargets)
			}
		}
		return len(kinds)
	}

	r := w.submit(a)
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.wantRules(nicNSG, 3*access.MaxTargets)
	seen := wantNew(r.ID, 0, "rule.created", "access.opened", "access.outranked")
	must(t, w.extend(r.ID, "PT30M"))
	w.deliver()
	seen = wantNew(r.ID, seen, "access.extended", "rule.extended")
	w.network.Edit(nicNSG, func(g *nsg.Group) {
		g.Rules = slices.DeleteFunc(g.Rules, func(r nsg.Rule) bool { return strings.HasPrefix(r.Name, "jitgate-") })
	})
	w.network.Refuse(nicNSG, errors.New("a lock"))
	w.sweep()
	w.wantState(r.ID, access.Revoked)
	wantNew(r.ID, seen, "rule.repaired", "access.failed", "access.revoked")

	w.network.Refuse(nicNSG, nil)
	r = w.submit(a)
	w.deliver()
	seen = wantNew(r.ID, 0, "access.opened")
	w.network.Refuse(nicNSG, errors.New("a lock"))
	w.pass(time.Hour)
	seen = wantNew(r.ID, seen, "rule.removal-failed")
	w.network.Refuse(nicNSG, nil)
	w.sweep()
	w.wantState(r.ID, access.Expired)
	w.wantRules(nicNSG, 0)
	wantNew(r.ID, seen, "rule.removed", "access.expired")
	events, err := w.service.Store.Events(ctx, r.ID)
	must(t, err)
	if e := events[slices.IndexFunc(events, func(e audit.Event) bool { return e.Kind == audit.RuleCreated })]; strings.Count(e.Rule, nsg.AllowName(r.ID, 0)[:20]) != 3 {
		t.Errorf("it names the rules %q", e.Rule)
	}
}
