package access_test

import (
	"context"
	"net/netip"
	"testing"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// The way check knows who is in an application security group, as explain does.
func TestTheWayCheckKnowsASGs(t *testing.T) {
	w := newWorld(t)
	block := allowFrom("block-db", 100, "*", "", "22")
	block.Access, block.Destinations, block.DestinationASGs = nsg.Deny, nil, []string{"/subscriptions/s/asg-db"}
	w.edit(nicNSG, block)
	w.service.Network = &knownMembers{w.service.Network}
	r := w.submit(ask("web01"))
	w.deliver()
	if got := w.wantState(r.ID, access.Active).Targets[0].Warning; got.Code != "" {
		t.Errorf("web01 is in no group and was warned: %+v", got)
	}
	e := w.explain(access.Question{VM: vmID("web01"), Source: netip.MustParseAddr("203.0.113.7"), Port: 22, Protocol: nsg.TCP})
	if e.Verdict != access.Allowed {
		t.Errorf("explain says %s", e.Verdict)
	}
}

type knownMembers struct{ access.Network }

func (b *knownMembers) Members(context.Context, string) (map[string][]netip.Addr, error) {
	return map[string][]netip.Addr{"/subscriptions/s/asg-db": {netip.MustParseAddr("10.0.1.4")}}, nil
}

// racing reads the other NSG before its rule is there and hands over only when that pass
// has been recorded.
type racing struct {
	access.Network
	stale func(context.Context, armid.ID) (nsg.Group, error)
}

func (r *racing) Group(ctx context.Context, id armid.ID) (nsg.Group, error) { return r.stale(ctx, id) }

// Two NSGs of one machine are enforced side by side. The pass that comes last has read
// the other NSG before the other pass wrote it; it must not warn of what it saw then.
func TestTwoPassesSideBySideWarnOfNothing(t *testing.T) {
	w := newWorld(t)
	w.protect(vmID("app01"))
	w.deliver()
	id := w.submit(ask("app01")).ID
	must(t, w.service.Evaluate(ctx, id))
	slow := *w.service
	slow.Network = &racing{w.service.Network, func(ctx context.Context, other armid.ID) (nsg.Group, error) {
		g, err := w.service.Network.Group(ctx, other) // read …
		must(t, w.service.Enforce(ctx, other))        // … and then the other pass writes and records
		return g, err
	}}
	must(t, slow.Enforce(ctx, nicNSG))
	w.deliver()
	if got := w.wantState(id, access.Active).Targets[0].Warning; got.Code != "" {
		t.Errorf("both NSGs let the requester in, and the warning says: %+v", got)
	}
}
