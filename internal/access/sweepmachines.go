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
	"jitgate/internal/nsg"
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
	r, err := s.update(ctx, id, func(r *Request) ([]audit.Event, error) {
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
	case !there && (!p.Wanted && p.Reason.Code == VMGone || !s.gone(ctx, p.VM)):
		return false, nil // let go already; its NSGs are looked at until they have followed
	case !there:
		if sentence, found := estates.heir(p, all); found {
			return s.block(ctx, p, Reason{AddressReused, sentence})
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

// heir says why a machine that is gone cannot be let go: another machine now has
// one of its addresses behind the same NSG, and nothing keeps that one closed as
// this protection does. It may be the same machine under a new id. What cannot be
// seen whole may have the address too.
func (e estates) heir(p *Protection, all []Protection) (sentence string, found bool) {
	var heirs []string
	for _, m := range e[strings.ToLower(p.VM.Subscription())].Machines {
		if m.VM.Equal(p.VM) {
			continue
		}
		if m.Unseen || len(m.Interfaces) == 0 {
			return "Azure does not know this VM any more, but shows other machines only in part, and one of them may have its address. Let jitgate's identity read them; then this protection ends by itself.", true
		}
		at := slices.IndexFunc(all, func(o Protection) bool { return o.VM.Equal(m.VM) })
		for _, place := range places(m.Interfaces) {
			part := p.part(place.NSG)
			if part == nil || !meet(part.Addresses, place.Addresses) {
				continue
			}
			if at < 0 || !all[at].covers(place.NSG, p.Ports, place.Addresses) {
				heirs = append(heirs, m.VM.String())
			}
		}
	}
	if len(heirs) == 0 {
		return "", false
	}
	return fmt.Sprintf("Azure does not know this VM any more, and %s has its address now. If it is the same machine under a new id, protect it on the same ports; then this protection ends by itself.", slices.Min(heirs)), true
}

func meet(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(x netip.Addr) bool { return slices.Contains(b, x) })
}

// covers reports whether the protection is known to keep these ports of these
// addresses closed in an NSG.
func (p *Protection) covers(id armid.ID, ports []nsg.PortRange, addresses []netip.Addr) bool {
	part := p.part(id)
	return p.Wanted && part != nil && part.Done &&
		!slices.ContainsFunc(ports, func(r nsg.PortRange) bool { return !slices.Contains(p.Ports, r) }) &&
		!slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !slices.Contains(part.Addresses, a) })
}

// fits reports whether the protection covers the machine where it is now.
func (p *Protection) fits(m Machine) bool {
	want := map[string]Place{}
	for _, place := range places(m.reached(p.AllInterfaces)) {
		want[place.NSG.Key()] = place
	}
	have := map[string]Place{}
	for _, part := range p.Parts {
		if len(part.Addresses) > 0 {
			have[part.NSG.Key()] = Place{NSG: part.NSG, Addresses: part.Addresses, Interfaces: part.Interfaces}
		}
	}
	return maps.EqualFunc(want, have, func(a, b Place) bool {
		return sameSet(a.Addresses, b.Addresses) && sameIDs(a.Interfaces, b.Interfaces)
	})
}
