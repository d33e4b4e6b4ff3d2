package access

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Report says of every machine in some scopes whether its management ports are
// closed and whether jitgate keeps them so.
type Report struct {
	CheckedAt time.Time
	Machines  []MachineReport // by name, then id
}

// Open reports whether a management port of any machine is not proven closed.
func (r Report) Open() bool {
	return slices.ContainsFunc(r.Machines, func(m MachineReport) bool { return !m.Closed })
}

// MachineReport is the finding about one machine.
type MachineReport struct {
	VM         armid.ID
	Closed     bool            // every port of every interface proven closed to the internet, grants apart
	Protected  bool            // jitgate's deny rules are there for every protected port
	Protection ProtectionState // as recorded
	Ports      []PortReport
	Findings   []Warning
}

// PortReport is who can reach ports of an address, grants apart.
type PortReport struct {
	Interface armid.ID
	Address   netip.Addr
	Ports     nsg.PortRange
	Internet  nsg.Exposure
	Network   nsg.Exposure // from inside the virtual network
	Protected bool         // a deny rule of ours covers it in every NSG on the way
}

// ManagementPorts are looked at in every machine, beside the ports it is protected
// on: those that Defender suggests for its own JIT.
var ManagementPorts = []nsg.PortRange{
	{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.TCP, First: 3389, Last: 3389},
	{Protocol: nsg.TCP, First: 5985, Last: 5986},
}

// Report looks at all machines of the scopes, subscriptions or resource groups;
// none means every subscription of this installation. Errors: [Refusals] with
// ScopeInvalid or ScopeNotLookedAt; [ErrUnavailable]; [ErrForbidden].
func (s *Service) Report(ctx context.Context, scopes []armid.ID) (Report, error) {
	if err := s.checkScopes(scopes); err != nil {
		return Report{}, err
	}
	out := Report{CheckedAt: s.now()}
	protections := map[string]Protection{}
	err := s.Store.Protections(ctx, func(p Protection) error {
		protections[p.VM.Key()] = p
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("read the protections: %w", err)
	}
	books := map[string]Book{}
	err = s.Store.Books(ctx, func(b Book) error {
		books[b.NSG.Key()] = b
		return nil
	})
	if err != nil {
		return Report{}, fmt.Errorf("read the grants: %w", err)
	}
	for _, subscription := range s.Subscriptions {
		if len(scopes) > 0 && !slices.ContainsFunc(scopes, func(id armid.ID) bool { return strings.EqualFold(id.Subscription(), subscription) }) {
			continue
		}
		estate, err := s.Network.Estate(ctx, subscription)
		if err != nil {
			return Report{}, err
		}
		review := review{Estate: estate, books: books, now: out.CheckedAt, notes: s.reviewGroups(estate, books)}
		for _, m := range estate.Machines {
			if len(scopes) == 0 || slices.ContainsFunc(scopes, m.VM.Within) {
				out.Machines = append(out.Machines, MachineReport{VM: m.VM, Protection: Unprotected})
			}
		}
		if err := review.machines(ctx, out.Machines, protections); err != nil {
			return Report{}, err
		}
	}
	slices.SortFunc(out.Machines, func(a, b MachineReport) int {
		if by := strings.Compare(strings.ToLower(a.VM.Name()), strings.ToLower(b.VM.Name())); by != 0 {
			return by
		}
		return strings.Compare(strings.ToLower(a.VM.String()), strings.ToLower(b.VM.String()))
	})
	return out, nil
}

func (s *Service) checkScopes(scopes []armid.ID) error {
	var c check
	for _, id := range scopes {
		if id.Type() != "" {
			c.fault(ScopeInvalid, "scope", "%s is no subscription or resource group.", id)
			continue
		}
		c.faults = append(c.faults, s.inCare("scope", id)...)
	}
	if len(c.faults) > 0 {
		return c.faults
	}
	return nil
}

// review judges the machines of one subscription.
type review struct {
	Estate
	books map[string]Book
	now   time.Time
	notes map[string][]Warning // about NSGs, by key
}

// machines fills in reports side by side; judging is pure computing.
func (v *review) machines(ctx context.Context, reports []MachineReport, protections map[string]Protection) error {
	byKey := map[string]Machine{}
	for _, m := range v.Machines {
		byKey[m.VM.Key()] = m
	}
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range reports {
		m, mine := byKey[reports[i].VM.Key()]
		if !mine {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			p, known := protections[m.VM.Key()]
			if known {
				reports[i].Protection = p.State()
			}
			v.machine(&reports[i], m, p)
			return nil
		})
	}
	return group.Wait()
}

func (v *review) machine(r *MachineReport, m Machine, p Protection) {
	ports := slices.Clone(ManagementPorts)
	for _, own := range p.Ports {
		if p.Wanted && !slices.Contains(ports, own) {
			ports = append(ports, own)
		}
	}
	seen := len(m.Interfaces) > 0 && !m.Unseen
	r.Closed, r.Protected = seen, seen && p.State() == Protected
	if !seen {
		r.add(MachineUnreadable, armid.ID{}, "", "A network interface of the machine, or what stands before it, cannot be read; it counts as open.")
	}
	reached := m.reached(p.AllInterfaces)
	for n, i := range m.Interfaces {
		groups, around, read := v.before(i)
		if len(i.NSGs) == 0 {
			r.add(NoNSG, armid.ID{}, "", fmt.Sprintf("No NSG stands before network interface %s, so nothing filters.", i.ID.Name()))
		}
		for _, id := range i.NSGs {
			if _, read := v.Groups[id.Key()]; !read {
				r.add(MachineUnreadable, id, "", fmt.Sprintf("NSG %s cannot be read; the machine counts as open.", id.Name()))
			}
			for _, w := range v.notes[id.Key()] {
				r.add(w.Code, w.NSG, w.Rule, w.Sentence)
			}
		}
		for _, address := range i.Addresses {
			for _, port := range ports {
				q := PortReport{Interface: i.ID, Address: address, Ports: port}
				q.Internet.Reach, q.Network.Reach = nsg.Unsure, nsg.Unsure
				if read {
					q.Internet = fromInternet(address, port, around, groups)
					q.Network = fromNetwork(address, port, around, groups)
					q.Protected = len(groups) > 0 && !slices.ContainsFunc(groups, func(g nsg.Group) bool { return !g.Denies(address, port) })
				}
				r.addPort(q, p, n < len(reached))
			}
		}
	}
	if p.Wanted && p.Reason.Code != "" {
		r.add(ProtectionBlocked, armid.ID{}, "", p.Reason.Sentence)
	}
	for _, part := range p.Parts {
		if part.Problem.Code != "" {
			r.add(ProtectionBlocked, part.NSG, "", part.Problem.Sentence)
		}
	}
}

// before are the NSGs of an interface without the rules of grants, and whether all
// of them could be read.
func (v *review) before(i Interface) (groups []nsg.Group, around nsg.Surroundings, read bool) {
	read = true
	for _, id := range i.NSGs {
		g, listed := v.Groups[id.Key()]
		read = read && listed
		// Only rules that stand as a live grant wants them are left out: one that merely
		// bears such a name, or was widened by hand, opens the door like any other.
		book := v.books[id.Key()]
		groups = append(groups, g.Without(wants(book.live(v.now))))
	}
	around = i.Surroundings()
	around.ASGMembers = v.Members
	return groups, around, read
}

// addPort adds who can reach a port, and what is wrong with that. reached tells
// the interfaces that protecting is about.
func (r *MachineReport) addPort(q PortReport, p Protection, reached bool) {
	r.Closed = r.Closed && q.Internet.Reach == nsg.Shut
	if p.Wanted && slices.Contains(p.Ports, q.Ports) {
		if reached && !q.Protected {
			r.Protected = false
			r.add(ProtectionMissing, armid.ID{}, "", fmt.Sprintf("Port %s of %s is recorded as protected, but the deny rule is not in every NSG on the way.", PortText(q.Ports), q.Address))
		}
		for _, by := range slices.Concat(q.Internet.By, q.Network.By) {
			if q.Protected && by.Rule.Access == nsg.Allow && !by.Rule.Ours() {
				r.add(StillOpen, nsgID(by.Group), by.Rule.Name, stillOpen(by.Rule, q.Ports))
			}
		}
	}
	for _, by := range q.Internet.Depends {
		r.add(TagUnknown, nsgID(by.Group), by.Rule.Name, fmt.Sprintf("Rule %s (priority %d) may let somebody in to port %s: what it names cannot be looked up here.", by.Rule.Name, by.Rule.Priority, PortText(q.Ports)))
	}
	r.Ports = append(r.Ports, q)
}

func (r *MachineReport) add(code Code, id armid.ID, rule, sentence string) {
	w := Warning{Code: code, NSG: id, Rule: rule, Sentence: sentence}
	if !slices.Contains(r.Findings, w) {
		r.Findings = append(r.Findings, w)
	}
}

// reviewGroups finds what is to be said about NSGs whatever machine is behind them.
func (s *Service) reviewGroups(e Estate, books map[string]Book) map[string][]Warning {
	out := map[string][]Warning{}
	for key, g := range e.Groups {
		id := nsgID(g.ID)
		book := books[key]
		unbacked, strays := nsg.MakePlan(g, book.desired(g, book.Grants), s.Bands), book.strays(g)
		for _, r := range g.Rules {
			switch {
			case nsg.DefenderMade(r.Name):
				out[key] = append(out[key], Warning{DefenderRules, id, r.Name, fmt.Sprintf("Rule %s was made by Defender for Cloud's own JIT access; two systems should not look after one machine.", r.Name)})
			case r.Ours() && slices.Contains(unbacked.Delete, r.Name):
				out[key] = append(out[key], Warning{RuleWithoutGrant, id, r.Name, fmt.Sprintf("Rule %s bears jitgate's prefix, and no grant backs it; the sweep removes it.", r.Name)})
			case slices.Contains(strays, r.Name):
				out[key] = append(out[key], Warning{RuleWithoutGrant, id, r.Name, fmt.Sprintf("Deny rule %s bears jitgate's prefix, and no protection backs it. It stays, because removing it could open ports; delete it by hand if it is not needed.", r.Name)})
			}
		}
	}
	return out
}
