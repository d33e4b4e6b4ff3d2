package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// judge adds to a draft who can reach the ports now and afterwards, and warns of
// whoever still gets in although nothing was granted.
// old tells which ports are let go: they are judged as well, and warned of.
func (s *Service) judge(ctx context.Context, d *draft, ways []Interface, views []view, p policy.Policy, old Protection) error {
	ports := slices.Clone(d.Protection.Ports)
	for _, was := range old.Ports {
		if old.Wanted && !slices.Contains(ports, was) {
			ports = append(ports, was)
			if d.Protection.Wanted {
				d.warn(PortsLetGo, armid.ID{}, "", fmt.Sprintf("Port %s is not protected any more.", PortText(was)))
			}
		}
	}
	for _, i := range ways {
		var before, after, ungranted []nsg.Group
		for _, id := range i.NSGs {
			v := &views[slices.IndexFunc(views, func(v view) bool { return v.NSG.Equal(id) })]
			before, after = append(before, v.group), append(after, v.after)
			ungranted = append(ungranted, v.after.Without(wants(v.book.live(s.now()))))
		}
		around, err := s.surroundings(ctx, i, before)
		if err != nil {
			return err
		}
		for _, address := range i.Addresses {
			for _, ports := range ports {
				for _, from := range classes(p) {
					d.Verdicts = append(d.Verdicts, VerdictChange{
						Interface: i.ID, Address: address, Ports: ports, From: from.name,
						Before: from.judge(address, ports, around, before),
						After:  from.judge(address, ports, around, after),
					})
				}
				if d.Protection.Wanted && slices.Contains(d.Protection.Ports, ports) {
					d.warnOpen(address, ports, around, ungranted)
				}
			}
		}
	}
	return nil
}

// class is a set of sources that people have a name for.
type class struct {
	name  string
	judge func(netip.Addr, nsg.PortRange, nsg.Surroundings, []nsg.Group) nsg.Exposure
}

// Names of the classes that every verdict covers.
const (
	FromInternet = "internet"
	FromNetwork  = "virtual network"
)

// maxSources bounds how many ranges of a policy get a line of their own.
const maxSources = 10

func classes(p policy.Policy) []class {
	out := []class{{FromInternet, fromInternet}, {FromNetwork, fromNetwork}}
	for _, source := range p.Sources[:min(len(p.Sources), maxSources)] {
		out = append(out, class{source.Range.String(), func(to netip.Addr, ports nsg.PortRange, around nsg.Surroundings, groups []nsg.Group) nsg.Exposure {
			return nsg.Expose(nsg.From(source.Range), to, ports, around, groups...)
		}})
	}
	return out
}

func fromInternet(to netip.Addr, ports nsg.PortRange, around nsg.Surroundings, groups []nsg.Group) nsg.Exposure {
	return nsg.Expose(nsg.Internet(around), to, ports, around, groups...)
}

// fromNetwork: a network whose space could not be read is not an empty one.
func fromNetwork(to netip.Addr, ports nsg.PortRange, around nsg.Surroundings, groups []nsg.Group) nsg.Exposure {
	if len(around.VirtualNetwork) == 0 {
		return nsg.Exposure{Reach: nsg.Unsure}
	}
	return nsg.Expose(nsg.InVirtualNetwork(around), to, ports, around, groups...)
}

var anywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// warnOpen names the rules of others that come before ours and let somebody in.
func (d *draft) warnOpen(address netip.Addr, ports nsg.PortRange, around nsg.Surroundings, after []nsg.Group) {
	for _, all := range anywhere {
		e := nsg.Expose(nsg.From(all), address, ports, around, after...)
		if e.Reach == nsg.Open || e.Reach == nsg.Partly {
			for _, by := range e.By {
				d.warn(StillOpen, nsgID(by.Group), by.Rule.Name, stillOpen(by.Rule, ports))
			}
		}
		for _, by := range e.Depends {
			d.warn(TagUnknown, nsgID(by.Group), by.Rule.Name, fmt.Sprintf("Rule %s (priority %d) may let somebody in to port %s: what it names cannot be looked up here. Check it, and move it behind the deny rule if it should not.", by.Rule.Name, by.Rule.Priority, PortText(ports)))
		}
	}
}

func stillOpen(r nsg.Rule, ports nsg.PortRange) string {
	sources := append(slices.Clone(r.Sources), r.SourceASGs...)
	const most = 5
	if len(sources) > most {
		sources = append(sources[:most:most], fmt.Sprintf("%d more", len(r.Sources)+len(r.SourceASGs)-most))
	}
	return fmt.Sprintf("Port %s stays open to %s: rule %s (priority %d) comes before the deny rule and is not jitgate's to change. Give it a priority behind the deny rule, or remove it.",
		PortText(ports), strings.Join(sources, ", "), r.Name, r.Priority)
}

// nsgID reads back an id that Azure gave; one it does not understand is left out.
func nsgID(text string) armid.ID {
	id, err := armid.Parse(text)
	if err != nil {
		return armid.ID{}
	}
	return id
}
