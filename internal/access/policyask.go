package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// PolicyAnswer is what would be said to a request for one machine: by policy, by the
// lockdowns in force, and by Azure's role assignments where they decide.
type PolicyAnswer struct {
	VM         armid.ID
	Verdict    policy.Verdict
	Policies   string   // every policy that was asked: scope, version and hash
	Refusals   Refusals // each with the policy that says so and what would pass
	Approval   *policy.Approval
	Longest    time.Duration // what would pass, also by the limits of the installation; 0 if nothing would
	Extensions int
	BreakGlass bool // the requester could open at once
}

// AskPolicy tells what would be said to a request, without making one. at is when it
// would be made; zero = now.
//
// Errors: [Refusals] with ScopeNotLookedAt; [ErrUnavailable].
func (s *Service) AskPolicy(ctx context.Context, by Actor, ask Ask, at time.Time) ([]PolicyAnswer, error) {
	rules, opinions, err := s.consider(ctx, by, &ask, at)
	if err != nil {
		return nil, err
	}
	out := make([]PolicyAnswer, len(opinions))
	for i, o := range opinions {
		e := o.enquiry
		e.BreakGlass = true
		out[i] = PolicyAnswer{VM: e.VM, Verdict: o.verdict(), Policies: o.by, Refusals: o.refusals, Approval: o.approval,
			Longest: s.Limits.within(o.longest), Extensions: o.extensions, BreakGlass: len(o.azures) == 0 && len(rules.rule(e).refusals) == 0}
	}
	return out, nil
}

// within is the longest that passes here of what passes by policy, 0 if that is nothing.
func (l Limits) within(longest time.Duration) time.Duration {
	if longest < l.Shortest {
		return 0
	}
	return min(longest, l.Longest)
}

// opinion is what is said to one target of an ask.
type opinion struct {
	ruling  // with all refusals
	enquiry enquiry
	azures  Refusals // those that follow from what Azure says: no such machine, no role there
}

// consider asks policy, the ledger and Azure about every target of an ask, as of a moment
// (zero = now), and fills in the duration where the ask leaves it to policy.
//
// Errors: [Refusals] with ScopeNotLookedAt; [ErrUnavailable].
func (s *Service) consider(ctx context.Context, by Actor, ask *Ask, at time.Time) (rulebook, []opinion, error) {
	if err := s.lookAfter(ask.Targets); err != nil {
		return rulebook{}, nil, err
	}
	vms := make([]armid.ID, len(ask.Targets))
	for i, t := range ask.Targets {
		vms[i] = t.VM
	}
	rules, err := s.rulebook(ctx, vms)
	if err != nil {
		return rulebook{}, nil, err
	}
	if !at.IsZero() {
		rules.at = at
	}
	tags := make([]map[string]string, len(vms))
	unknown, missing := make([]Refusals, len(vms)), make([]Refusals, len(vms))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, vm := range vms {
		group.Go(func() (err error) {
			if tags[i], err = s.tags(gctx, rules, vm); err != nil && !errors.As(err, &unknown[i]) {
				return err
			}
			if err := s.entitled(gctx, by.Person, vm, RequesterRole); err != nil && !errors.As(err, &missing[i]) {
				return err
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return rulebook{}, nil, fmt.Errorf("look at what is asked for: %w", err)
	}
	if ask.Duration == 0 {
		ask.Duration = rules.usual(vms, tags, s.Limits)
	}
	out := make([]opinion, len(vms))
	for i, t := range ask.Targets {
		o := &out[i]
		o.enquiry = enquiry{
			Ask: policy.Ask{VM: t.VM, Ports: t.Ports, Source: ask.Source, Duration: ask.Duration},
			By:  by, Justification: ask.Justification, Tags: tags[i], BreakGlass: ask.BreakGlass,
		}
		if len(unknown[i]) == 0 { // else its tags are not known, which policy wants to know
			o.ruling = rules.rule(o.enquiry)
		}
		if o.azures = append(unknown[i], missing[i]...); len(o.azures) > 0 {
			o.refusals, o.longest = append(o.refusals, o.azures...), 0
		}
	}
	return rules, out, nil
}

func (r *ruling) verdict() policy.Verdict {
	switch {
	case len(r.refusals) > 0:
		return policy.Deny
	case r.approval != nil:
		return policy.NeedsApproval
	}
	return policy.Allow
}

// Bounds of a what-if.
const (
	MaxLookBack   = 30 * 24 * time.Hour
	maxWhatIf     = 5000 // requests looked at
	maxDocuments  = 100
	maxDifference = 500
)

// PolicyKey names a document among those of its scope.
type PolicyKey struct {
	Scope policy.Scope
	Key   string // policy.Document.Key
}

// Difference is a request that other policies would have decided differently, or whose
// approval they would have asked of others while it waits or is open.
type Difference struct {
	Request       string
	VM            armid.ID
	Requester     Person
	CreatedAt     time.Time
	State         State // of the target; a live one would not be closed by the change
	Before, After policy.Verdict
	// What approval is asked for, where that is the verdict.
	ApprovalBefore, ApprovalAfter *policy.Approval
	Refusals                      Refusals // under the new policies
}

// PolicyForecast is what a change of policy would change.
type PolicyForecast struct {
	Looked      int  // requests
	Partial     bool // there were more of them, or more differences, than fit
	Differences []Difference
}

// WhatIf tells which live access and which requests of the last 30 days would have been
// decided differently, had the given documents been in force in place of or beside what
// is, and the named ones not been. Each is judged as of the moment it was asked for, with
// the rights that the requester had then. What was refused at once is not on record, and
// so not looked at. Lockdowns and pre-approvals stay out of it.
//
// Errors: [Refusals], PolicyNotFound among them; [ErrUnavailable].
func (s *Service) WhatIf(ctx context.Context, documents []policy.Document, remove []PolicyKey) (PolicyForecast, error) {
	if n := len(documents) + len(remove); n == 0 || n > maxDocuments {
		return PolicyForecast{}, refuse(PolicyInvalid, "documents", fmt.Sprintf("Send 1 to %d documents, or policies to remove.", maxDocuments))
	}
	before, err := s.Policies.ListPolicies(ctx)
	if err != nil {
		return PolicyForecast{}, fmt.Errorf("list the policies in force: %w", err)
	}
	w := whatIf{Service: s, before: policy.Set(before), tags: map[string]map[string]string{}}
	w.after = slices.Clone(w.before)
	var c check
	for i, gone := range remove {
		n := len(w.after)
		w.after = slices.DeleteFunc(w.after, func(p policy.Policy) bool { return p.Key() == gone.Key && p.Scope.Equal(gone.Scope) })
		if len(w.after) == n {
			c.fault(PolicyNotFound, fmt.Sprintf("remove[%d]", i), notInForce)
		}
	}
	if len(c.faults) > 0 {
		return PolicyForecast{}, c.faults
	}
	for _, doc := range documents {
		version := 1
		w.after = slices.DeleteFunc(w.after, func(p policy.Policy) bool {
			if p.Key() == doc.Key() {
				version = p.Version + 1
			}
			return p.Key() == doc.Key()
		})
		w.after = append(w.after, policy.New(doc, version))
	}
	since := s.now().Add(-MaxLookBack)
	if err := w.walk(ctx, Query{Limit: 200}, func(r *Request) bool { return !r.CreatedAt.Before(since) }); err != nil {
		return PolicyForecast{}, err
	}
	// Older ones that are live still.
	err = w.walk(ctx, Query{Unfinished: true, Limit: 200}, func(r *Request) bool { return true }, func(r *Request) bool { return r.CreatedAt.Before(since) })
	return w.PolicyForecast, err
}

type whatIf struct {
	*Service
	PolicyForecast
	before, after policy.Set
	tags          map[string]map[string]string // by VM
}

// walk compares requests, newest first, as long as going says so.
func (w *whatIf) walk(ctx context.Context, q Query, going func(*Request) bool, only ...func(*Request) bool) error {
	for {
		page, err := w.Store.List(ctx, q)
		if err != nil {
			return fmt.Errorf("list requests: %w", err)
		}
		for _, r := range page.Requests {
			if !going(&r) {
				return nil
			}
			if len(only) > 0 && !only[0](&r) {
				continue
			}
			if w.Looked >= maxWhatIf || len(w.Differences) >= maxDifference {
				w.Partial = true
				return nil
			}
			w.Looked++
			if err := w.compare(ctx, &r); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.Cursor = page.Next
	}
}

func (w *whatIf) compare(ctx context.Context, r *Request) error {
	for _, t := range r.Targets {
		tags, err := w.tagsOf(ctx, &t)
		if err != nil {
			return err
		}
		e := r.enquiry(&t, tags)
		e.From = r.CreatedAt
		before, after := rulebook{policies: w.before}.rule(e), rulebook{policies: w.after}.rule(e)
		d := Difference{Request: r.ID, VM: t.VM, Requester: r.Requester, CreatedAt: r.CreatedAt, State: t.State,
			Before: before.verdict(), After: after.verdict(), Refusals: after.refusals}
		if d.Before == policy.NeedsApproval {
			d.ApprovalBefore = before.approval
		}
		if d.After == policy.NeedsApproval {
			d.ApprovalAfter = after.approval
		}
		asksOthers := d.ApprovalBefore != nil && d.ApprovalAfter != nil && !d.ApprovalBefore.Same(*d.ApprovalAfter)
		if d.Before != d.After || asksOthers && !t.State.Ended() {
			w.Differences = append(w.Differences, d)
		}
	}
	return nil
}

// tagsOf are the machine's tags as they were when it was decided, if they are known,
// else as they are now. A machine that is gone has none.
func (w *whatIf) tagsOf(ctx context.Context, t *Target) (map[string]string, error) {
	if t.Tags != nil || !w.before.NeedsTags(t.VM) && !w.after.NeedsTags(t.VM) {
		return t.Tags, nil
	}
	if known, ok := w.tags[t.VM.Key()]; ok {
		return known, nil
	}
	tags, err := w.Network.Tags(ctx, t.VM)
	var refused Refusals
	if err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrForbidden) {
		return nil, fmt.Errorf("read the tags of %s: %w", t.VM.Name(), err)
	}
	w.tags[t.VM.Key()] = tags
	return tags, nil
}
