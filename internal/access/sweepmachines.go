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
// more, or whose addresses have all changed: their rules may now open a door to
// whoever has the old address.
func (s *Service) lostTargets(ctx context.Context, r *Request, estates estates) map[int]Reason {
	lost := map[int]Reason{}
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.State != Active {
			continue
		}
		switch m, found, listed := estates.machine(t.VM); {
		case !listed:
		case !found:
			if s.gone(ctx, t.VM) {
				lost[i] = Reason{VMGone, "The VM does not exist any more."}
			}
		case !sharesAddress(m, t):
			lost[i] = Reason{AddressChanged, "The VM has other addresses than when it was opened; ask again."}
		}
	}
	return lost
}

func sharesAddress(m Machine, t *Target) bool {
	for _, i := range m.Interfaces {
		for _, o := range t.Openings {
			if slices.ContainsFunc(o.Addresses, func(a netip.Addr) bool { return slices.Contains(i.Addresses, a) }) {
				return true
			}
		}
	}
	return false
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
	var faults []error
	at := s.now()
	err := s.Store.Protections(ctx, func(p Protection) error {
		what := "carry on"
		var err error
		switch m, there, listed := estates.machine(p.VM); {
		case !p.Settled() && p.State() != Blocked && at.After(p.ChangedAt.Add(Patience)):
			found.Machines++
			err = s.carryOutProtection(ctx, &p)
		case !listed || !p.Wanted && p.Settled():
			return nil
		case !there:
			if s.gone(ctx, p.VM) {
				found.Machines++
				what = "let go"
				_, err = s.Unprotect(ctx, p.VM, nil, jitgate)
			}
		case p.Wanted && !p.fits(m):
			found.Machines++
			what = "follow"
			_, err = s.Protect(ctx, p.VM, ProtectAsk{Ports: p.Ports, Flush: p.Flush}, jitgate)
			var refused Refusals
			if errors.As(err, &refused) { // behind no NSG any more, say: the report shows it
				s.Log.WarnContext(ctx, "a protected machine has moved to where it cannot be protected", "vm", p.VM, "cause", refused)
				err = nil
			}
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s the protection of %s: %w", what, p.VM.Name(), err))
		}
		return nil
	})
	return errors.Join(append(faults, err)...)
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
