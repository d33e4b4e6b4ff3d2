package access

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// rulebook is everything that decides about some machines: the policies at all
// scopes they lie in, and the ledger.
type rulebook struct {
	policies policy.Set
	ledger   Ledger
	at       time.Time
}

// rulebook reads side by side: one after the other would cost a request for twenty
// machines dozens of round trips.
func (s *Service) rulebook(ctx context.Context, vms []armid.ID) (rulebook, error) {
	scopes := map[string]policy.Scope{policy.Tenant.Key(): policy.Tenant}
	for _, vm := range vms {
		for _, id := range vm.Scopes() {
			scopes[id.Key()] = policy.ScopeOf(id)
		}
	}
	b := rulebook{at: s.now()}
	var lock sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, scope := range scopes {
		group.Go(func() error {
			found, err := s.Policies.PoliciesAt(ctx, scope)
			if err != nil {
				return fmt.Errorf("read the policies of %s: %w", scope, err)
			}
			lock.Lock()
			defer lock.Unlock()
			b.policies = append(b.policies, found...)
			return nil
		})
	}
	group.Go(func() (err error) {
		if b.ledger, err = s.Ledgers.Ledger(ctx); err != nil {
			err = fmt.Errorf("read the lockdowns in force: %w", err)
		}
		return err
	})
	return b, group.Wait()
}

// enquiry is what the rulebook is asked.
type enquiry struct {
	policy.Ask
	By            Actor
	Justification string
	Tags          map[string]string
	BreakGlass    bool
	From          time.Time // when access opened; zero = it would open now
}

// ruling is what the rulebook answers. Access may open when nothing is refused,
// once the approval, if any is needed, was given.
type ruling struct {
	nearest  policy.Policy
	by       string // every policy that was asked: scope, version and hash
	refusals Refusals
	approval *policy.Approval
	review   time.Duration // not zero when access opens by breaking the glass
	longest  time.Duration // what would pass, 0 if nothing would
	until    time.Time     // when its windows shut; zero = not for as long as anything may last
	// extensions is how many times access may be extended.
	extensions int
	// preApproved names the alert rule that took the approver's place.
	preApproved string
}

// rule asks the nearest policy and every guardrail, and the ledger, which outranks
// them all.
func (b rulebook) rule(q enquiry) ruling {
	ask := policy.Question{Ask: q.Ask, Justification: q.Justification, Requester: q.By.subject(), Tags: q.Tags, At: cmp.Or(q.From, b.at)}
	pre := b.ledger.preApproval(q.By.Groups, q.VM, q.Ports, b.at)
	ask.PreApproved = pre != nil
	d := b.policies.Decide(ask)
	out := ruling{nearest: d.Policy, by: cite(d.Applied), approval: d.Approval, longest: d.Longest, until: d.Until, extensions: d.Extensions}
	if pre != nil && d.Spared {
		out.preApproved = pre.Rule
	}
	for _, r := range d.Refusals {
		out.refusals = append(out.refusals, refusalOf(r))
	}
	switch {
	case q.BreakGlass && strings.TrimSpace(q.Justification) == "":
		out.refusals = append(out.refusals, Refusal{Code: Code(policy.JustificationRequired),
			Sentence: "Breaking the glass needs a reason; send it as the justification."})
		out.longest = 0
	case q.BreakGlass && d.BreakGlass != nil:
		out.refusals, out.approval, out.review = nil, nil, d.BreakGlass.ReviewWithin
		out.longest, out.until = d.Applied.Limit(), time.Time{} // no window counts
	case q.BreakGlass:
		out.refusals = append(out.refusals, Refusal{Code: BreakGlassNotAllowed,
			Sentence: "Breaking the glass is not for you here, or would not overrule what stands against this; policy names who may. Ask without it."})
		out.longest = 0
	}
	if l := b.ledger.lockdown(q.By.Person, q.VM, b.at); l != nil {
		out.refusals, out.longest = append(Refusals{l.refusal()}, out.refusals...), 0
	}
	return out
}

// nearest is the policy that governs a machine.
func (b rulebook) nearest(vm armid.ID, tags map[string]string) (policy.Policy, bool) {
	p, refusals := b.policies.Nearest(vm, tags)
	return p, len(refusals) == 0
}

func refusalOf(r policy.Refusal) Refusal {
	return Refusal{Code: Code(r.Code), Sentence: r.Sentence, Policy: r.Policy, Passes: r.Passes}
}

// cite names policies with their versions and hashes, as decisions on record do.
func cite(set policy.Set) string {
	words := make([]string, len(set))
	for i, p := range set {
		words[i] = p.Ref() + " sha256:" + p.Hash
	}
	return strings.Join(words, "; ")
}

// needsTags reports whether some policy wants to know the tags of a machine. Asking
// Azure for them every time would make a request wait for a read it may not need.
func (b rulebook) needsTags(vm armid.ID) bool { return b.policies.NeedsTags(vm) }

// tags reads those of a machine if they matter.
func (s *Service) tags(ctx context.Context, rules rulebook, vm armid.ID) (map[string]string, error) {
	if !rules.needsTags(vm) {
		return nil, nil
	}
	return s.Network.Tags(ctx, vm)
}
