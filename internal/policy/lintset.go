package policy

import (
	"slices"
)

// among looks at one policy beside the others of the set.
func (l *linter) among(i int) {
	p := l.set[i]
	for _, other := range l.set[i+1:] {
		switch {
		case p.Key() == other.Key():
			l.find(p, LintSameKey, "there are two documents for %s; only one of them can be in force.", p.Name())
		case l.alike(p, other):
			l.find(p, LintAmbiguous, "a machine can have the tags of %s and of %s, and then every ask is refused; give one of them more tags.", p.name(), other.name())
		}
	}
	if !p.Enforced {
		return
	}
	bears := false
	for _, other := range l.set {
		if other.Enforced || !p.Scope.meets(other.Scope) || !p.agree(other.Document) {
			continue
		}
		bears = true
		l.pair(other, p)
	}
	if !bears {
		l.find(p, LintIdleGuardrail, "%s bears on nothing: there is no policy for its machines.", p.name())
	}
}

// alike reports whether both can be the nearest of one machine, and no third one
// with the tags of both is there to decide.
func (l *linter) alike(a, b Policy) bool {
	if a.Enforced || b.Enforced || !a.Scope.Equal(b.Scope) || len(a.Tags) != len(b.Tags) || !a.agree(b.Document) {
		return false
	}
	both := map[string]string{}
	for _, d := range []Document{a.Document, b.Document} {
		for name, value := range foldedTags(d.Tags) {
			both[name] = value
		}
	}
	return !slices.ContainsFunc(l.set, func(c Policy) bool {
		return !c.Enforced && c.Scope.Equal(a.Scope) && len(c.Tags) > len(a.Tags) && c.matches(both)
	})
}

// pair looks for what cannot pass a policy and a guardrail over some of its
// machines.
func (l *linter) pair(p, guardrail Policy) {
	never := func(what string) {
		l.find(p, LintNeverPasses, "%s and %s have no %s in common; where both apply, every ask is refused.", p.name(), guardrail.name(), what)
	}
	if len(guardrail.Ports) > 0 && !slices.ContainsFunc(p.Ports, func(x Port) bool {
		return slices.ContainsFunc(guardrail.Ports, func(y Port) bool { return x.covers(y) || y.covers(x) })
	}) {
		never("port")
	}
	if len(guardrail.Sources) > 0 && !slices.ContainsFunc(p.Sources, func(x Source) bool {
		return slices.ContainsFunc(guardrail.Sources, func(y Source) bool { return x.Range.Overlaps(y.Range) })
	}) {
		never("source")
	}
	if longestOpening(p.Document) >= MinDuration && longestOpening(p.Document, guardrail.Document) < MinDuration {
		never("times")
	}
	if a, known := p.Requesters.people(); known && guardrail.Requesters != nil {
		if b, known := guardrail.Requesters.people(); known && !slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) }) {
			never("requester")
		}
	}
	if longest := guardrail.longest(); p.Default() > longest {
		l.find(p, LintDefaultTooLong, "an ask that names no duration gets %s, and %s allows at most %s; set defaultDuration.", spoken(p.Default()), guardrail.name(), spoken(longest))
	}
	if needed := (Set{p, guardrail}).approval(); needed != nil && len(needed.Approvers) == 2 {
		a, knownA := needed.Approvers[0].people()
		b, knownB := needed.Approvers[1].people()
		both := slices.DeleteFunc(slices.Clone(a), func(x string) bool { return !slices.Contains(b, x) })
		if knownA && knownB && len(both) < needed.Quorum {
			l.find(p, LintQuorum, "%s and %s together want %d approvers, and only %d people are named by both.", p.name(), guardrail.name(), needed.Quorum, len(both))
		}
	}
	if p.BreakGlass != nil && guardrail.BreakGlass == nil && guardrail.demands() {
		l.find(p, LintGlassBlocked, "whoever breaks the glass under %s still has to meet %s, which has no breakGlass of its own.", p.name(), guardrail.name())
	}
}
