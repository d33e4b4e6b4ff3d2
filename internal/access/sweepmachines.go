package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

// estates are the subscriptions as listed, by lower-cased id. One that could not
// be listed is absent: nothing can be concluded about it.
type estates map[string]Estate

func (s *Service) estates(ctx context.Context) (estates, error) {
	out := estates{}
	var faults []error
	for _, subscription := range s.Subscriptions {
		e, err := s.Network.Estate(ctx, subscription)
		if err != nil {
			faults = append(faults, fmt.Errorf("list subscription %s: %w", subscription, err))
			continue
		}
		out[strings.ToLower(subscription)] = e
	}
	return out, errors.Join(faults...)
}

// machine finds a VM in the lists. listed is false when its subscription was not
// read, found when it is not in it.
func (e estates) machine(vm armid.ID) (m Machine, found, listed bool) {
	estate, listed := e[strings.ToLower(vm.Subscription())]
	i := slices.IndexFunc(estate.Machines, func(m Machine) bool { return m.VM.Equal(vm) })
	if i < 0 {
		return Machine{}, false, listed
	}
	return estate.Machines[i], true, listed
}

// gone asks Azure about a machine that the lists do not show. Lists leave out what
// we may not see, so only a plain "does not exist" counts.
func (s *Service) gone(ctx context.Context, vm armid.ID) bool {
	_, err := s.Network.Locate(ctx, vm)
	var refused Refusals
	return errors.As(err, &refused) && refused[0].Code == VMNotFound
}

// lostTargets are the live targets of a request whose machine does not exist any
// more, or does not have all of the addresses that were opened: their rules may now
// open a door to whoever has them.
func (s *Service) lostTargets(ctx context.Context, r *Request, estates estates) map[int]Reason {
	lost := map[int]Reason{}
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.State != Active {
			continue
		}
		switch m, found, listed := estates.machine(t.VM); {
		case !listed, found && m.Unseen, found && len(m.Interfaces) == 0:
		case !found:
			if s.gone(ctx, t.VM) {
				lost[i] = Reason{VMGone, "The VM does not exist any more."}
			}
		case !hasAll(m, t):
			lost[i] = Reason{AddressChanged, "The VM has other addresses than when it was opened; ask again."}
		}
	}
	return lost
}

func hasAll(m Machine, t *Target) bool {
	for _, o := range t.Openings {
		for _, a := range o.Addresses {
			if !slices.ContainsFunc(m.Interfaces, func(i Interface) bool { return slices.Contains(i.Addresses, a) }) {
				return false
			}
		}
	}
	return true
}

// closeLost ends targets as if somebody had revoked them.
func (s *Service) closeLost(ctx context.Context, id string, lost map[int]Reason) error {
	at := s.now()
	r, err := s.Store.UpdateRequest(ctx, id, func(r *Request) ([]audit.Event, error) {
		rec := record{at: at, by: jitgate}
		for i, why := range lost {
			t := &r.Targets[i]
			if t.State != Active {
				continue
			}
			if err := t.Apply(Revoke); err != nil {
				return nil, err
			}
			t.Reason = why
			rec.add(audit.RevokeAsked, t, audit.Event{Text: why.Sentence})
		}
		return rec.events, nil
	})
	if err != nil {
		return err
	}
	return s.withdraw(ctx, &r)
}

// sweepProtections carries on what was left lying, and follows machines that have
// moved or are gone.
func (s *Service) sweepProtections(ctx context.Context, estates estates, found *Swept) error {
	var all []Protection
	err := s.Store.Protections(ctx, func(p Protection) error {
		all = append(all, p)
		return nil
	})
	faults := []error{err}
	for _, p := range all {
		changed, err := s.sweepProtection(ctx, &p, estates, all)
		if changed {
			found.Machines++
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("look after the protection of %s: %w", p.VM.Name(), err))
		}
	}
	return errors.Join(faults...)
}

func (s *Service) sweepProtection(ctx context.Context, p *Protection, estates estates, all []Protection) (bool, error) {
	if p.unattended(s.now()) {
		return true, s.carryOutProtection(ctx, p)
	}
	m, there, listed := estates.machine(p.VM)
	switch {
	case !listed, m.Unseen, there && len(m.Interfaces) == 0, !p.Wanted && p.Settled():
		return false, nil
	case !there && !s.gone(ctx, p.VM):
		return false, nil
	case !there:
		if heir, found := estates.heir(p, all); found {
			return s.block(ctx, p, Reason{AddressReused, fmt.Sprintf("Azure does not know this VM any more, and %s has its address now. If it is the same machine under a new id, protect it; then this protection ends by itself.", heir)})
		}
		_, err := s.Unprotect(ctx, p.VM, nil, jitgate)
		return true, err
	case p.Wanted && (!p.fits(m) || p.Reason.Code != ""):
		_, err := s.Protect(ctx, p.VM, ProtectAsk{}, jitgate)
		var refused Refusals
		if errors.As(err, &refused) { // behind no NSG any more, say
			return s.block(ctx, p, Reason{refused[0].Code, refused.Error()})
		}
		return true, err
	}
	return false, nil
}

// block puts on record why a protection cannot hold, once.
func (s *Service) block(ctx context.Context, p *Protection, why Reason) (bool, error) {
	if p.Reason == why {
		return false, nil
	}
	at := s.now()
	_, err := s.Store.UpdateProtection(ctx, p.VM, func(r *Protection) ([]audit.Event, error) {
		if r.Revision != p.Revision || r.Reason == why {
			return nil, nil
		}
		r.Reason = why
		rec := record{at: at, by: jitgate}
		rec.add(audit.MachineBlocked, nil, audit.Event{VM: r.VM.String(), Text: why.Sentence})
		return rec.events, nil
	})
	return true, err
}

// heir finds another machine that now has an address of a machine that is gone,
// behind the same NSG, and is not protected itself. It may be the same machine,
// moved to another resource group: letting go would open it.
func (e estates) heir(p *Protection, all []Protection) (armid.ID, bool) {
	for _, estate := range e {
		for _, m := range estate.Machines {
			if m.VM.Equal(p.VM) || slices.ContainsFunc(all, func(o Protection) bool { return o.Wanted && o.VM.Equal(m.VM) && o.State() == Protected }) {
				continue
			}
			for _, place := range places(m.Interfaces) {
				part := p.part(place.NSG)
				if part != nil && slices.ContainsFunc(part.Addresses, func(a netip.Addr) bool { return slices.Contains(place.Addresses, a) }) {
					return m.VM, true
				}
			}
		}
	}
	return armid.ID{}, false
}

// fits reports whether the protection covers the machine where it is now.
func (p *Protection) fits(m Machine) bool {
	want := map[string][]netip.Addr{}
	for _, place := range places(m.reached(p.AllInterfaces)) {
		want[place.NSG.Key()] = place.Addresses
	}
	have := map[string][]netip.Addr{}
	for _, part := range p.Parts {
		if len(part.Addresses) > 0 {
			have[part.NSG.Key()] = part.Addresses
		}
	}
	return maps.EqualFunc(want, have, func(a, b []netip.Addr) bool { return sameSet(a, b) })
}
