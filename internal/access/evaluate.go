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
	"jitgate/internal/policy"
)

// Evaluate looks at a request and does what its state calls for: decides what is
// undecided, lets lapse what nobody decided in time, reminds of an end that is near,
// then sees to it that approved targets have their grants, wake-ups and nudges, and
// that closing ones are withdrawn. Running it again changes nothing.
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
	heard := r.lastVote()
	if r.undecided() {
		if r, err = s.decide(ctx, r); err != nil {
			return fmt.Errorf("decide request %s: %w", id, err)
		}
	}
	if r, err = s.noteTimes(ctx, r, heard); err != nil {
		return fmt.Errorf("note what is due about request %s: %w", id, err)
	}
	return s.carryOut(ctx, &r)
}

// undecided reports whether there is something to decide: what nobody has looked at
// yet, and what approvers have spoken about. They spoke in time, or they would have been
// refused, so it is heard however late it is looked at.
func (r *Request) undecided() bool {
	return slices.ContainsFunc(r.Targets, func(t Target) bool {
		return t.State == Pending || t.State == AwaitingApproval && len(r.Votes) > 0
	})
}

// lapsed allows for [Skew]: the message that wakes us may come a moment early.
func (r *Request) lapsed(now time.Time) bool {
	return !r.DecideBy.IsZero() && !now.Add(Skew).Before(r.DecideBy)
}

// decision is what was found out about one undecided target.
type decision struct {
	ruling
	refusal Reason          // zero = nothing is in the way
	heard   map[string]bool // object ids of those for it whose word counts here today
	tags    map[string]string
	ways    []Interface
}

// decide settles every undecided target. All reading happens before the update, so
// that the update may run again on a clash without asking Azure twice.
//
// A request is decided as a whole: while one of its targets waits for an approver,
// those that need none wait too. So all of it opens and ends at one moment, and
// rules that its targets share bear one expiry.
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
		if t.State != Pending && t.State != AwaitingApproval {
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
	// What this evaluation has moved, if another one did not get there first.
	var moved []State
	decided, err := s.update(ctx, r.ID, func(r *Request) ([]audit.Event, error) {
		rec := record{at: at, by: jitgate}
		before := slices.Clone(r.Targets)
		err := r.decide(decisions, at, &rec)
		moved = nil
		for i, t := range r.Targets {
			if t.State != before[i].State {
				moved = append(moved, t.State)
			}
		}
		return rec.events, err
	})
	if err == nil {
		s.watchDecision(ctx, &decided, moved)
	}
	return decided, err
}

// decide applies decisions about the targets that are still undecided.
func (r *Request) decide(decisions []decision, at time.Time, rec *record) error {
	var left []int
	waiting := false
	for i := range r.Targets {
		t, d := &r.Targets[i], &decisions[i]
		if t.State != Pending && t.State != AwaitingApproval {
			continue
		}
		t.Policy, t.Tags = d.by, d.tags
		if d.refusal.Code != "" {
			if err := t.deny(d, at, rec); err != nil {
				return err
			}
			continue
		}
		changed := t.State == AwaitingApproval && !sameApproval(t.Approval, d.approval)
		t.Approval = d.approval
		if changed {
			rec.add(audit.ApprovalAsked, t, audit.Event{Policy: d.by, Text: "Policy asks for another approval by now: " + needs(d.approval) + "."})
		}
		left = append(left, i)
		waiting = waiting || !r.agreed(d)
	}
	// The clock starts here and not when access was asked for: what follows is the writing
	// of the rule. No window is outlasted by that.
	end := at.Add(r.Duration)
	for _, i := range left {
		end = earlier(decisions[i].until, end)
	}
	for _, i := range left {
		t, d := &r.Targets[i], &decisions[i]
		var err error
		switch {
		case !waiting:
			err = t.approve(d, end, rec)
		case t.State == Pending:
			err = t.await(d, r, at, rec)
		}
		if err != nil {
			return err
		}
	}
	if !waiting && len(left) > 0 {
		planRules(r)
		r.startReview(decisions, left, at, rec)
	}
	return nil
}

func (s *Service) decideTarget(ctx context.Context, rules rulebook, r *Request, t Target) (decision, error) {
	var d decision
	m, err := s.Network.Locate(ctx, t.VM)
	if rules.needsTags(t.VM) {
		d.tags = m.Tags
	}
	if err == nil || !rules.needsTags(t.VM) {
		d.ruling = rules.asked(r, &t, d.tags)
	}
	if err == nil {
		d.ways, err = waysIn(m, d.nearest.Interfaces == policy.AllInterfaces, r.Source)
	}
	if err == nil && len(d.refusals) == 0 {
		err = s.entitled(ctx, r.Requester, t.VM, RequesterRole)
	}
	if err == nil && d.approval != nil {
		d.heard, err = s.heard(ctx, rules, r, t.VM)
	}
	var refused Refusals
	switch {
	case len(d.refusals) > 0:
		d.refusal = Reason{Code: d.refusals[0].Code, Sentence: d.refusals.Error()}
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

// asked rules on a target. Nobody has approved it yet while it is pending: it is judged
// as of when it was asked for, so that the moments it took to get here do not push it out
// of a window that it was accepted in. What waited for approval is judged as of now, and
// so is what nobody got to for longer than that, or before its window shut.
func (b rulebook) asked(r *Request, t *Target, tags map[string]string) ruling {
	e := r.enquiry(t, tags)
	if t.State == Pending && b.at.Sub(r.CreatedAt) <= Patience {
		e.From = r.CreatedAt
		if out := b.rule(e); out.until.IsZero() || out.until.After(b.at) {
			return out
		}
		e.From = time.Time{}
	}
	return b.rule(e)
}

// enquiry is what is asked about a target of the request.
func (r *Request) enquiry(t *Target, tags map[string]string) enquiry {
	return enquiry{
		Ask: policy.Ask{VM: t.VM, Ports: t.Ports, Source: r.Source, Duration: r.Duration},
		By:  r.requester(), Justification: r.Justification, Tags: tags, BreakGlass: r.BreakGlass,
	}
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

func (t *Target) deny(d *decision, at time.Time, rec *record) error {
	t.Reason, t.Unmet, t.EndedAt = d.refusal, d.refusals, at
	rec.add(audit.RequestDenied, t, audit.Event{Policy: d.by, Text: d.refusal.Sentence})
	return t.Apply(Deny)
}

// approve opens the door as far as deciding goes.
func (t *Target) approve(d *decision, end time.Time, rec *record) error {
	t.ExpiresAt = end
	t.Ways = d.ways
	for _, p := range places(d.ways) {
		t.Openings = append(t.Openings, Opening{NSG: p.NSG, Addresses: p.Addresses})
	}
	text := "Approved until " + t.ExpiresAt.Format(time.RFC3339) + "."
	if d.preApproved != "" {
		text += " Alert rule " + d.preApproved + " stands in for the approver."
	}
	rec.add(audit.RequestApproved, t, audit.Event{Policy: d.by, Text: text})
	return t.Apply(Approve)
}

// await asks approvers. The first to run out of time decides when the request lapses.
func (t *Target) await(d *decision, r *Request, at time.Time, rec *record) error {
	text := "Waits for the approval of the request's other targets."
	if d.approval != nil {
		until := at.Add(d.approval.Within)
		if r.DecideBy.IsZero() || until.Before(r.DecideBy) {
			r.DecideBy = until
		}
		text = needs(d.approval) + " until " + until.Format(time.RFC3339) + "."
	}
	rec.add(audit.ApprovalAsked, t, audit.Event{Policy: d.by, Text: text})
	return t.Apply(AskApproval)
}

// needs says who has to do what.
func needs(a *policy.Approval) string {
	if a == nil {
		return "Nobody has to agree"
	}
	return a.Needs() + " to agree"
}

// sameApproval compares by the versions of the policies that ask for it.
func sameApproval(a, b *policy.Approval) bool {
	return (a == nil) == (b == nil) && (a == nil || slices.Equal(a.Policies, b.Policies))
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
