package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// Evaluate looks at a request and does what its state calls for: decides what is
// undecided, then sees to it that approved targets have their grants, wake-ups and
// nudges, and that closing ones are withdrawn. Running it again changes nothing.
//
// A returned error means that trying again may help; everything else, a request
// that does not exist included, is settled.
func (s *Service) Evaluate(ctx context.Context, id string) error {
	r, err := s.Store.Request(ctx, id)
	if errors.Is(err, ErrNotFound) {
		s.Log.WarnContext(ctx, "nudged about a request that does not exist; nothing to do", "request", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read request %s: %w", id, err)
	}
	if slices.ContainsFunc(r.Targets, func(t Target) bool { return t.State == Pending }) {
		if r, err = s.decide(ctx, r); err != nil {
			return fmt.Errorf("decide request %s: %w", id, err)
		}
	}
	return s.carryOut(ctx, &r)
}

// decision is what was found out about one pending target.
type decision struct {
	refusal Reason // zero = approved
	policy  string
	ways    []Interface
}

// decide settles every pending target. All reading happens before the update, so
// that the update may run again on a clash without asking Azure twice.
func (s *Service) decide(ctx context.Context, r Request) (Request, error) {
	vms := make([]armid.ID, len(r.Targets))
	for i, t := range r.Targets {
		vms[i] = t.VM
	}
	rules, err := s.rulebook(ctx, vms)
	if err != nil {
		return Request{}, err
	}
	decisions := make([]decision, len(r.Targets))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, t := range r.Targets {
		if t.State != Pending {
			continue
		}
		group.Go(func() (err error) {
			decisions[i], err = s.decideTarget(gctx, rules, &r, t)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Request{}, err
	}
	at := s.now()
	return s.Store.UpdateRequest(ctx, r.ID, func(r *Request) ([]audit.Event, error) {
		rec := record{at: at, by: jitgate}
		for i := range r.Targets {
			if t := &r.Targets[i]; t.State == Pending {
				if err := t.decide(decisions[i], r, at, &rec); err != nil {
					return nil, err
				}
			}
		}
		planRules(r)
		return rec.events, nil
	})
}

func (s *Service) decideTarget(ctx context.Context, rules rulebook, r *Request, t Target) (decision, error) {
	p, refusals := rules.judge(policy.Ask{VM: t.VM, Ports: t.Ports, Source: r.Source, Duration: r.Duration})
	d := decision{}
	if p.Version > 0 {
		d.policy = fmt.Sprintf("%s version %d", p.Scope, p.Version)
	}
	if len(refusals) > 0 {
		d.refusal = Reason{Code: Code(refusals[0].Code), Sentence: joinSentences(refusals)}
		return d, nil
	}
	m, err := s.Network.Locate(ctx, t.VM)
	if err == nil {
		d.ways, err = waysIn(m, p.Interfaces == policy.AllInterfaces, r.Source)
	}
	var refused Refusals
	switch {
	case errors.As(err, &refused):
		d.refusal = Reason{Code: refused[0].Code, Sentence: refused.Error()}
	case errors.Is(err, ErrForbidden):
		s.Log.ErrorContext(ctx, "not allowed to read a machine; does the identity have its role there?", "vm", t.VM, "error", err)
		d.refusal = Reason{Code: WriteRefused, Sentence: "jitgate may not read this VM or its network; its operator must assign its role there."}
	case err != nil:
		return decision{}, fmt.Errorf("locate %s: %w", t.VM, err)
	}
	return d, nil
}

// waysIn are the interfaces that a grant opens, each with the addresses of the
// source's family only: one security rule cannot hold both.
func waysIn(m Machine, all bool, source netip.Prefix) ([]Interface, error) {
	var out []Interface
	guarded, addressed := false, false
	for _, i := range m.reached(all) {
		guarded = guarded || len(i.NSGs) > 0
		addressed = addressed || len(i.Addresses) > 0
		i.Addresses = addressesFor(i.Addresses, source)
		if len(i.NSGs) > 0 && len(i.Addresses) > 0 {
			out = append(out, i)
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case !addressed:
		return nil, refuse(NoAddress, "", fmt.Sprintf("The network interface of VM %s has no private address; give its IP configuration one.", m.VM.Name()))
	case !guarded:
		return nil, refuse(NoNSG, "", fmt.Sprintf("No network security group stands before VM %s, so there is nothing to open; attach an NSG to the NIC or to its subnet.", m.VM.Name()))
	}
	return nil, refuse(NoAddress, "", fmt.Sprintf("%s has no private address of the family of %s; ask from an address of the other family.", m.VM.Name(), source))
}

// decide moves one target out of Pending.
func (t *Target) decide(d decision, r *Request, at time.Time, rec *record) error {
	t.Policy = d.policy
	if d.refusal.Code != "" {
		t.Reason, t.EndedAt = d.refusal, at
		rec.add(audit.RequestDenied, t, audit.Event{Policy: d.policy, Text: d.refusal.Sentence})
		return t.Apply(Deny)
	}
	t.ExpiresAt = at.Add(r.Duration)
	t.Ways = d.ways
	for _, p := range places(d.ways) {
		t.Openings = append(t.Openings, Opening{NSG: p.NSG, Addresses: p.Addresses})
	}
	rec.add(audit.RequestApproved, t, audit.Event{Policy: d.policy, Text: "Approved until " + t.ExpiresAt.Format(time.RFC3339) + "."})
	return t.Apply(Approve)
}

// planRules names the rules of every opening: one per NSG for the same protocol
// and ports, shared by all targets of the request that want exactly these. Ports
// are never merged across targets: that would open on each VM what was asked for
// another.
func planRules(r *Request) {
	names := map[string]string{} // NSG, protocol and ports → rule
	count := map[string]int{}    // NSG → rules so far
	for i := range r.Targets {
		t := &r.Targets[i]
		for j := range t.Openings {
			o := &t.Openings[j]
			o.Rules = nil
			for _, p := range byProtocol(t.Ports) {
				group := fmt.Sprint(o.NSG.Key(), p.Protocol, p.Ports)
				if names[group] == "" {
					names[group] = nsg.AllowName(r.ID, count[o.NSG.Key()])
					count[o.NSG.Key()]++
				}
				p.Name = names[group]
				o.Rules = append(o.Rules, p)
			}
		}
	}
}

// byProtocol groups ports, each list sorted, protocols in a fixed order.
func byProtocol(ports []policy.Port) []PlannedRule {
	var out []PlannedRule
	for _, kind := range []struct {
		asked policy.Protocol
		rule  nsg.Protocol
	}{{policy.TCP, nsg.TCP}, {policy.UDP, nsg.UDP}, {policy.AnyProtocol, nsg.AnyProtocol}} {
		var numbers []uint16
		for _, p := range ports {
			if p.Protocol == kind.asked {
				numbers = append(numbers, p.Number)
			}
		}
		if len(numbers) > 0 {
			slices.Sort(numbers)
			out = append(out, PlannedRule{Protocol: kind.rule, Ports: slices.Compact(numbers)})
		}
	}
	return out
}

// addressesFor keeps the addresses of the source's family: one security rule
// cannot hold both.
func addressesFor(all []netip.Addr, source netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if a.Is4() == source.Addr().Is4() {
			out = append(out, a)
		}
	}
	return out
}

func joinSentences(refusals []policy.Refusal) string {
	out := Refusals{}
	for _, r := range refusals {
		out = append(out, Refusal{Sentence: r.Sentence})
	}
	return out.Error()
}

// carryOut derives the effects of a request from its record and makes sure they
// are under way: the same code after a decision, after a crash and in the sweep.
func (s *Service) carryOut(ctx context.Context, r *Request) error {
	for _, n := range grantsOf(r, mustOpen) {
		if err := s.put(ctx, r, n); err != nil {
			return err
		}
	}
	return s.withdraw(ctx, r)
}

// put saves grants of one NSG, schedules the wake-up at their expiry if none is
// known, and nudges. The wake-up comes before the nudge: nothing is opened whose
// closing is not arranged.
func (s *Service) put(ctx context.Context, r *Request, n NSGGrants) error {
	generation, grants, err := s.Store.PutGrants(ctx, n.NSG, n.Grants)
	if err != nil {
		return fmt.Errorf("save grants of request %s: %w", r.ID, err)
	}
	if err := s.arrangeWakeUp(ctx, n.NSG, r.ID, grants); err != nil {
		return err
	}
	if err := s.Queue.Enforce(ctx, n.NSG, generation); err != nil {
		return fmt.Errorf("nudge %s: %w", n.NSG.Name(), err)
	}
	return nil
}

// arrangeWakeUp schedules one message for the grants of a request in an NSG,
// unless they have one.
func (s *Service) arrangeWakeUp(ctx context.Context, id armid.ID, request string, grants []Grant) error {
	missing := slices.IndexFunc(grants, func(g Grant) bool { return g.WakeUp == 0 && !g.Closing })
	if missing < 0 {
		return nil
	}
	sequence, err := s.Queue.EnforceAt(ctx, id, request, grants[missing].ExpiresAt)
	if err != nil {
		return fmt.Errorf("schedule the end of request %s: %w", request, err)
	}
	if err := s.Store.SetWakeUp(ctx, id, request, sequence); err != nil {
		return fmt.Errorf("note the wake-up of request %s: %w", request, err)
	}
	return nil
}
