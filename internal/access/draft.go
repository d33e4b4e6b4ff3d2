package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// draft is a protection as it is to be saved, with what it would change.
type draft struct {
	Forecast
	changed  bool // something new is wanted
	events   []audit.Event
	hindered Refusals // rules that cannot come back
}

// draftProtect reads the way to a machine and works out what protecting it means.
// An earlier protection goes on: what it removed stays on its account, and what it
// covered elsewhere is let go.
func (s *Service) draftProtect(ctx context.Context, vm armid.ID, ask ProtectAsk, by Person) (draft, error) {
	m, err := s.Network.Locate(ctx, vm)
	if err != nil {
		return draft{}, err
	}
	rules, err := s.rulebook(ctx, []armid.ID{vm})
	if err != nil {
		return draft{}, err
	}
	old, err := s.protection(ctx, vm)
	if err != nil {
		return draft{}, err
	}
	p, governed := rules.nearest(vm, m.Tags)
	all, reach := p.Interfaces == policy.AllInterfaces, p.Reach
	if following := old.Wanted && by.Same(jitgate); following {
		// Nobody asked for anything: what policy says today must not let go of anything.
		all, reach = old.AllInterfaces, policy.AnyReach
	}
	ways := m.reached(all)
	if err := protectable(m, ways, reach); err != nil {
		return draft{}, err
	}
	ask = ask.besides(&old, p.FlushConnection)
	views, err := s.views(ctx, ways, old)
	if err != nil {
		return draft{}, err
	}

	next := old
	next.VM, next.Wanted, next.Ports, next.Flush = m.VM, true, ask.Ports, *ask.Flush
	next.AllInterfaces = all
	next.Reason = Reason{}
	next.Parts = nil
	for i := range views {
		next.Parts = append(next.Parts, views[i].protect(&next, &old))
	}
	d := draft{Forecast: Forecast{Protection: next}}
	if d.changed = !sameWish(&old, &next) || old.State() == Blocked; d.changed {
		d.Protection.Revision, d.Protection.By, d.Protection.ChangedAt = old.Revision+1, by, s.now()
		kind, text := audit.ProtectAsked, "Ports %s are to be closed."
		if old.Wanted && by.Same(jitgate) {
			kind, text = audit.MachineMoved, "Found behind other NSGs or with other addresses; ports %s are to be closed there."
		}
		d.asked(by, kind, text, portsText(ask.Ports))
	} else {
		d.Protection = old
	}
	for i := range views {
		if err := s.foresee(&d, &views[i]); err != nil {
			return draft{}, err
		}
	}
	if !governed {
		d.warn(policy.NoPolicyCode, armid.ID{}, "", policy.NoPolicy(vm).Sentence)
	}
	return d, s.judge(ctx, &d, ways, views, p, old)
}

// besides fills in what an ask leaves out: what holds already, or else the defaults,
// of which policy sets flush.
// So a repeat never lets go of anything.
func (a ProtectAsk) besides(old *Protection, flush bool) ProtectAsk {
	if len(a.Ports) == 0 {
		if a.Ports = defaultPorts; old.Wanted {
			a.Ports = old.Ports
		}
	}
	if a.Flush == nil {
		if old.Wanted {
			flush = old.Flush
		}
		a.Flush = &flush
	}
	return a
}

// protectable refuses machines that cannot be protected, and says why.
func protectable(m Machine, ways []Interface, reach policy.Reach) error {
	public := false
	for _, i := range ways {
		switch {
		case len(i.NSGs) == 0 && i.Firewall:
			return refuse(FirewallOnly, "", fmt.Sprintf("Only an Azure Firewall stands before network interface %s of VM %s, and jitgate does not manage firewalls; attach an NSG to the interface or to its subnet.", i.ID.Name(), m.VM.Name()))
		case len(i.NSGs) == 0:
			return refuse(NoNSG, "", fmt.Sprintf("No network security group stands before network interface %s of VM %s; attach one to the interface or to its subnet.", i.ID.Name(), m.VM.Name()))
		case len(i.Addresses) == 0:
			return refuse(NoAddress, "", fmt.Sprintf("Network interface %s of VM %s has no private address; give its IP configuration one.", i.ID.Name(), m.VM.Name()))
		}
		public = public || i.Public
	}
	if !public && reach != policy.AnyReach {
		return refuse(NoPublicAddress, "", fmt.Sprintf("VM %s has neither a public address nor a load balancer in front; Azure Bastion reaches it without open ports. If it is to be protected from inside the network, write \"reach: any\" in its policy.", m.VM.Name()))
	}
	return nil
}

// draftUnprotect works out what taking a protection back means. A machine that
// does not exist any more is let go without its rules coming back: whoever gets
// its address next should not find doors open.
func (s *Service) draftUnprotect(ctx context.Context, vm armid.ID, priorities map[string]int, by Person) (draft, error) {
	old, err := s.protection(ctx, vm)
	if err != nil {
		return draft{}, err
	}
	switch {
	case old.Revision == 0:
		return draft{}, refuse(NotProtected, "", fmt.Sprintf("VM %s was never protected; there is nothing to take back.", vm.Name()))
	case !old.Wanted && old.Settled(): // a repeat
		return draft{Forecast: Forecast{Protection: old}}, nil
	}
	next := old
	next.Parts = slices.Clone(old.Parts)
	next.Wanted, next.Reason = false, Reason{}
	m, err := s.Network.Locate(ctx, vm)
	var refused Refusals
	switch {
	case errors.As(err, &refused) && refused[0].Code == VMNotFound:
		next.Reason = Reason{VMGone, "The VM does not exist any more; rules that were removed for it stay removed."}
	case err != nil && !errors.As(err, &refused):
		return draft{}, err
	}
	ways := m.reached(next.AllInterfaces)
	views, err := s.views(ctx, ways, old)
	if err != nil {
		return draft{}, err
	}
	if err := renumber(&next, priorities, views); err != nil {
		return draft{}, err
	}
	rules, err := s.rulebook(ctx, []armid.ID{vm})
	if err != nil {
		return draft{}, err
	}
	p, _ := rules.nearest(vm, nil)
	d := draft{Forecast: Forecast{Protection: next}}
	if d.changed = old.Wanted || len(priorities) > 0 || old.Reason != next.Reason || old.State() == Blocked; d.changed {
		d.Protection.Revision, d.Protection.By, d.Protection.ChangedAt = old.Revision+1, by, s.now()
		for i := range d.Protection.Parts {
			d.Protection.Parts[i].Done, d.Protection.Parts[i].Problem = false, Reason{}
		}
		kind, text := audit.UnprotectAsked, "The deny rules are to go, and rules that were removed are to come back."
		if next.Reason.Code == VMGone {
			kind, text = audit.MachineGone, next.Reason.Sentence
		}
		d.asked(by, kind, "%s", text)
	}
	for i := range views {
		if err := s.foresee(&d, &views[i]); err != nil {
			return draft{}, err
		}
	}
	for _, w := range d.Warnings {
		for name := range priorities {
			if w.Code == RuleStaysAway && strings.EqualFold(w.Rule, name) {
				return draft{}, refuse(PriorityInvalid, "priorities."+clip(name), w.Sentence+" Give it another priority then.")
			}
		}
	}
	return d, s.judge(ctx, &d, ways, views, p, old)
}

// renumber gives removed rules other priorities to come back at: of several rules of
// one name, in several NSGs, those whose own is taken, or all if none is.
func renumber(p *Protection, priorities map[string]int, views []view) error {
	var c check
	for name, priority := range priorities {
		var all, taken []*nsg.Rule
		for i := range p.Parts {
			part := &p.Parts[i]
			part.Removed = slices.Clone(part.Removed)
			for j := range part.Removed {
				r := &part.Removed[j]
				if !strings.EqualFold(r.Name, name) {
					continue
				}
				all = append(all, r)
				if slices.ContainsFunc(views, func(v view) bool { return v.NSG.Equal(part.NSG) && v.group.Holds(*r) }) {
					taken = append(taken, r)
				}
			}
		}
		found := len(all) > 0
		if len(taken) > 0 {
			all = taken
		}
		for _, r := range all {
			r.Priority = priority
		}
		switch field := "priorities." + clip(name); {
		case !found:
			c.fault(PriorityInvalid, field, "No rule %q waits to come back; show the machine to see which do.", clip(name))
		case priority < nsg.MinPriority || priority > nsg.MaxPriority:
			c.fault(PriorityInvalid, field, "%d is not a priority; send one from %d to %d.", priority, nsg.MinPriority, nsg.MaxPriority)
		}
	}
	if len(c.faults) > 0 {
		slices.SortFunc(c.faults, func(a, b Refusal) int { return strings.Compare(a.Field, b.Field) })
		return c.faults
	}
	return nil
}

// protection is the record of a machine, empty for one that has none.
func (s *Service) protection(ctx context.Context, vm armid.ID) (Protection, error) {
	p, err := s.Store.Protection(ctx, vm)
	if errors.Is(err, ErrNotFound) {
		return Protection{VM: vm}, nil
	}
	if err != nil {
		return p, fmt.Errorf("read the protection of %s: %w", vm.Name(), err)
	}
	return p, nil
}

// sameWish reports whether next wants nothing that old does not want already.
func sameWish(old, next *Protection) bool {
	return old.Wanted && old.Flush == next.Flush && old.AllInterfaces == next.AllInterfaces && old.Reason == next.Reason &&
		samePorts(old.Ports, next.Ports) &&
		slices.EqualFunc(old.Parts, next.Parts, func(a, b Part) bool {
			return a.NSG.Equal(b.NSG) && sameSet(a.Addresses, b.Addresses) && sameIDs(a.Interfaces, b.Interfaces) &&
				slices.EqualFunc(a.Removed, b.Removed, func(x, y nsg.Rule) bool { return x.Priority == y.Priority && x.SameMeaning(y) })
		})
}

// sameIDs compares ARM ids, which Azure gives in several cases.
func sameIDs(a, b []string) bool {
	lower := func(ids []string) []string {
		out := make([]string, len(ids))
		for i, id := range ids {
			out[i] = strings.ToLower(id)
		}
		return out
	}
	return sameSet(lower(a), lower(b))
}

func samePorts(a, b []nsg.PortRange) bool { return sameSet(a, b) }

func sameSet[T comparable](a, b []T) bool {
	has := func(list []T, all []T) bool {
		return !slices.ContainsFunc(all, func(x T) bool { return !slices.Contains(list, x) })
	}
	return has(a, b) && has(b, a)
}
