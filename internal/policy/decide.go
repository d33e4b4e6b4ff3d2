package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Decision is what policies say to a question. Access may open when there are no
// refusals and, if Approval is not nil, once it was given.
type Decision struct {
	Policy   Policy // the nearest, zero if none
	Applied  Set    // all that were asked, the nearest first
	Refusals []Refusal
	// Approval is set when somebody must agree, also beside refusals.
	Approval *Approval
	// Spared says that the nearest policy wants an approval that a pre-approval stands
	// in for.
	Spared bool
	// Extensions is how many times access may be extended.
	Extensions int
	// BreakGlass is set when this requester may open at once although something is
	// refused or to be approved. A reason is due all the same; the caller asks for it.
	BreakGlass *BreakGlass
	// Longest is how long access may last if it is asked for like this, 0 if no
	// duration of 5 minutes or more passes. Of a window it leaves a minute, since it is yet
	// to be asked for. When conditions speak of the duration it is the longest multiple of
	// 5 minutes that they let pass.
	Longest time.Duration
	// Until is when the windows shut on access that opens at Question.At; zero if they do
	// not for as long as anything may last.
	Until time.Time
}

// Approval is the strictest combination of what several policies ask for.
type Approval struct {
	Approvers []Principals  // an approver must match each of them; none = whoever may approve at all
	Quorum    int           // distinct approvers, never the requester
	Within    time.Duration // time to decide
	Policies  []string      // Policy.Ref of those that ask for it
}

// Same reports whether both ask for the same consent, whichever policies want it.
func (a Approval) Same(o Approval) bool {
	all := func(list, of []Principals) bool {
		return !slices.ContainsFunc(list, func(p Principals) bool { return !slices.ContainsFunc(of, p.equal) })
	}
	return a.Quorum == o.Quorum && a.Within == o.Within && all(a.Approvers, o.Approvers) && all(o.Approvers, a.Approvers)
}

// Accepts reports whether s is one whose consent counts, as far as policies say.
// That it is not the requester's own, and that s may approve at all, is for the
// caller to see to.
func (a Approval) Accepts(s Subject) bool {
	for _, p := range a.Approvers {
		if !p.Match(s) {
			return false
		}
	}
	return true
}

// Needs says who has to agree: "2 people of group 1111… have".
func (a Approval) Needs() string {
	who := ""
	for _, p := range a.Approvers {
		who += " who are " + p.String()
	}
	if a.Quorum == 1 {
		return "Somebody" + strings.ReplaceAll(who, "who are", "who is") + " has"
	}
	return fmt.Sprintf("%d people%s have", a.Quorum, who)
}

// AcceptsVouched reports whether consent counts that a workflow vouches for: who gave
// it is known by object id alone, so every policy has to name either that person or
// the workflow itself. Nobody named means nobody is trusted to vouch.
func (a Approval) AcceptsVouched(person, workflow string) bool {
	for _, p := range a.Approvers {
		if !has(p.Users, person) && !has(p.Applications, workflow) {
			return false
		}
	}
	return len(a.Approvers) > 0
}

// OutOfReach reports whether there cannot be enough approvers beside the requester.
// Only where people are named one by one is it known how many there are.
func (a Approval) OutOfReach(requester string) bool {
	var able []string
	named := false
	for _, p := range a.Approvers {
		users, known := p.people()
		switch {
		case !known:
		case !named:
			able, named = slices.Clone(users), true
		default:
			able = slices.DeleteFunc(able, func(u string) bool { return !has(users, u) })
		}
	}
	able = slices.DeleteFunc(able, func(u string) bool { return strings.EqualFold(u, requester) })
	return named && len(able) < a.Quorum
}

func (a Approval) unreachable() Refusal {
	who := strings.Join(a.Policies, "; ")
	return Refusal{Code: NoApprover, Policy: who, Sentence: fmt.Sprintf(
		"%s wants %d other people to agree and names fewer, so nobody could ever approve this; its owners must name more.", who, a.Quorum)}
}

// BreakGlass says what follows from breaking the glass.
type BreakGlass struct {
	ReviewWithin time.Duration // the shortest that a policy asks for
	Policies     []string      // Policy.Ref of those whose demands it overrules
}

// Decide asks the nearest policy and every guardrail over the machine. It names
// all that is not met, of the nearest policy first.
func (s Set) Decide(q Question) Decision {
	nearest, all, refusals := s.applying(q.VM, q.Tags)
	governed := len(refusals) == 0
	d := Decision{Policy: nearest, Applied: all, Refusals: refusals, Extensions: all.extensions()}
	unmet := make([][]Refusal, len(all))
	for i, p := range all {
		unmet[i] = p.unmet(q)
		d.Refusals = append(d.Refusals, unmet[i]...)
	}
	consenting := all
	if q.PreApproved && governed {
		d.Spared = nearest.Approval != nil
		consenting = all[1:]
	}
	d.Approval = consenting.approval()
	reachable := d.Approval == nil || !d.Approval.OutOfReach(q.Requester.Object)
	if !reachable {
		d.Refusals = append(d.Refusals, d.Approval.unreachable())
	}
	if open := all.open(q.At); open < noEnd {
		d.Until = q.At.Add(open)
	}
	if governed {
		d.BreakGlass = all.breakGlass(q.Requester, unmet)
	}
	if governed && reachable {
		d.Longest = all.longest(q)
	}
	return d
}

// extensions: the nearest policy has to allow them, a guardrail may only lessen them.
func (s Set) extensions() int {
	most, allowed := 0, false
	for _, p := range s {
		switch {
		case !p.Enforced:
			most, allowed = max(most, p.extensionsAllowed()), true
		case p.Extensions != nil:
			most = min(most, p.extensionsAllowed())
		}
	}
	if !allowed {
		return 0
	}
	return most
}

func (d Document) extensionsAllowed() int {
	if d.Extensions == nil {
		return 0
	}
	return *d.Extensions
}

func (s Set) approval() *Approval {
	var a *Approval
	for _, p := range s {
		rule := p.Approval
		if rule == nil {
			continue
		}
		if a == nil {
			a = &Approval{Quorum: rule.Quorum, Within: time.Duration(rule.Within)}
		}
		a.Quorum = max(a.Quorum, rule.Quorum)
		a.Within = min(a.Within, time.Duration(rule.Within))
		a.Policies = append(a.Policies, p.Ref())
		if rule.Approvers != nil {
			a.Approvers = append(a.Approvers, *rule.Approvers)
		}
	}
	return a
}

// breakGlass: a policy's demands are overruled only where that policy itself names
// the requester. Otherwise whoever writes the policy of one machine could let
// anybody past the guardrails over it.
func (s Set) breakGlass(who Subject, unmet [][]Refusal) *BreakGlass {
	var b *BreakGlass
	for i, p := range s {
		rule := p.BreakGlass
		if rule == nil || !rule.Requesters.Match(who) {
			if len(unmet[i]) > 0 || p.Approval != nil {
				return nil
			}
			continue
		}
		if slices.ContainsFunc(unmet[i], func(r Refusal) bool { return !lifted[r.Code] }) {
			return nil
		}
		if b == nil {
			b = &BreakGlass{ReviewWithin: time.Duration(rule.ReviewWithin)}
		}
		b.ReviewWithin = min(b.ReviewWithin, time.Duration(rule.ReviewWithin))
		b.Policies = append(b.Policies, p.Ref())
	}
	return b
}

// open is how long the windows of all of them stay open from t on, up to noEnd.
func (s Set) open(t time.Time) time.Duration {
	open := noEnd
	for _, p := range s {
		open = min(open, p.open(t))
	}
	return open
}

// Limit is the longest that all of them allow, whatever else they demand.
func (s Set) Limit() time.Duration {
	d := MaxDuration
	for _, p := range s {
		d = min(d, p.longest())
	}
	return d
}

// longest tries durations downwards from what limits and windows leave.
func (s Set) longest(q Question) time.Duration {
	const step = 5 * time.Minute
	d := s.Limit()
	for _, p := range s {
		d = min(d, p.leaves(q.At))
	}
	q.Duration = d
	conditions := false
	for _, p := range s {
		for _, r := range p.unmet(q) {
			if r.Code != ConditionUnmet && r.Code != ConditionFailed {
				return 0
			}
		}
		conditions = conditions || slices.ContainsFunc(p.Conditions, Condition.timed)
	}
	for ; d >= MinDuration; d = (d - 1) / step * step {
		q.Duration = d
		if s.conditionsHold(q) {
			return d
		}
		if !conditions {
			break // a shorter one fares no better
		}
	}
	return 0
}

func (s Set) conditionsHold(q Question) bool {
	facts := q.facts()
	for _, p := range s {
		for _, c := range p.Conditions {
			if ok, err := c.holds(facts); !ok || err != nil {
				return false
			}
		}
	}
	return true
}
