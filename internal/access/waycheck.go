package access

import (
	"context"
	"fmt"
	"net/netip"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// checkWays looks whether what was opened can be passed: a rule of others that
// comes first, in this NSG or another on the way, is no fault of the grant and no
// priority of ours can change it, so the requester is told. It runs before the
// opening is recorded, so that whoever reads "Active" reads the warning with it.
func (p *pass) checkWays(ctx context.Context, request string, source netip.Prefix, t *Target) Reason {
	for _, way := range t.Ways {
		groups, err := p.groupsOn(ctx, way)
		var around nsg.Surroundings
		if err == nil {
			around, err = p.surroundings(ctx, way, groups)
		}
		if err != nil {
			p.Log.WarnContext(ctx, "an NSG on the way could not be read back; the way is not checked", "request", request, "vm", t.VM, "error", err)
			return Reason{PathUnchecked, "The rules are in place, but an NSG on the way could not be read back, so it is not certain that they are enough."}
		}
		if why := checkWay(source, way, t.Ports, around, groups); why.Code != "" {
			return why
		}
	}
	return Reason{}
}

func checkWay(source netip.Prefix, way Interface, asked []policy.Port, around nsg.Surroundings, groups []nsg.Group) Reason {
	for _, address := range way.Addresses {
		for _, rule := range byProtocol(asked) {
			for _, port := range rule.Ports {
				ports := nsg.PortRange{Protocol: rule.Protocol, First: port, Last: port}
				if why := whyNot(source, address, ports, around, groups); why.Code != "" {
					return why
				}
			}
		}
	}
	return Reason{}
}

// whyNot says what keeps a source, or a part of it, from a port. What stops the rest
// is asked for by itself: an answer about all of the source would name the rules
// that let some of it in.
func whyNot(source netip.Prefix, to netip.Addr, ports nsg.PortRange, around nsg.Surroundings, groups []nsg.Group) Reason {
	e := nsg.Expose(nsg.From(source), to, ports, around, groups...)
	if e.Reach == nsg.Open {
		return Reason{}
	}
	rest := nsg.From(source).Without(e.Allowed)
	return outranked(nsg.Expose(rest, to, ports, around, groups...), ports)
}

func outranked(e nsg.Exposure, ports nsg.PortRange) Reason {
	code, how, deciders := Outranked, "stops", e.By
	if e.Reach != nsg.Shut {
		code, how, deciders = TagUnknown, "may stop", e.Depends
	}
	for _, d := range deciders {
		if d.Rule.Access != nsg.Allow {
			return Reason{code, fmt.Sprintf("The rules are in place, but rule %s (priority %d) in NSG %s comes first and %s the connection to port %s; its owner has to change it.",
				d.Rule.Name, d.Rule.Priority, nsgID(d.Group).Name(), how, PortText(ports))}
		}
	}
	return Reason{code, fmt.Sprintf("The rules are in place, but no NSG on the way is certain to let the connection to port %s through; ask \"explain\" why.", PortText(ports))}
}

// groupsOn reads the NSGs on a way; this pass's own is the one just written.
func (p *pass) groupsOn(ctx context.Context, way Interface) ([]nsg.Group, error) {
	var out []nsg.Group
	for _, id := range way.NSGs {
		g, err := p.groupOf(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

func (p *pass) groupOf(ctx context.Context, id armid.ID) (nsg.Group, error) {
	if id.Equal(p.book.NSG) {
		return p.outcome.Group, nil
	}
	return p.Network.Group(ctx, id)
}
