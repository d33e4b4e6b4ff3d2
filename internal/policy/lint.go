package policy

import (
	"fmt"
	"slices"
	"time"
)

// Finding is something in policies that is allowed but hardly meant.
type Finding struct {
	Policy   string `json:"policy"` // Policy.Ref
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}

// Codes of findings.
const (
	LintSameKey         = "same_key"         // two documents where one must replace the other
	LintAmbiguous       = "ambiguous_tags"   // a machine can match two documents alike
	LintIdleGuardrail   = "idle_guardrail"   // no policy that it could bear on
	LintIdleGlass       = "idle_break_glass" // nothing that breaking the glass would overrule
	LintGlassBlocked    = "break_glass_blocked"
	LintNeverPasses     = "never_passes" // no ask can meet this
	LintRedundantSource = "redundant_source"
	LintDefaultTooLong  = "default_too_long" // an ask without a duration is refused
	LintConstant        = "constant_condition"
	LintQuorum          = "quorum_out_of_reach"
	LintSelfApproval    = "approvers_are_requesters"
)

// Lint looks for what policies of a set say in vain, or cannot have meant. It
// knows no machines, so it does not tell whether some match a selector. Findings
// come in the order of the set.
func Lint(set Set) []Finding {
	l := &linter{set: set}
	for i, p := range set {
		l.document(p)
		l.among(i)
	}
	return l.findings
}

type linter struct {
	set      Set
	findings []Finding
}

func (l *linter) find(p Policy, code, format string, args ...any) {
	l.findings = append(l.findings, Finding{p.Ref(), code, capital(fmt.Sprintf(format, args...))})
}

// document looks at one policy by itself.
func (l *linter) document(p Policy) {
	l.sources(p)
	l.times(p)
	l.consent(p)
	for _, c := range p.Conditions {
		if outcome, is := c.constant(); is && outcome {
			l.find(p, LintConstant, "the condition %q of %s is true for every ask; take it out.", c.Expression, p.name())
		} else if is {
			l.find(p, LintNeverPasses, "the condition %q of %s is true for no ask.", c.Expression, p.name())
		}
	}
	if p.BreakGlass != nil && !p.demands() {
		l.find(p, LintIdleGlass, "%s has breakGlass but nothing that it would overrule: no approval, times, conditions, requesters or pattern.", p.name())
	}
}

// demands reports whether there is anything that breaking the glass overrules.
func (d Document) demands() bool {
	return d.Approval != nil || d.timed() || len(d.Conditions) > 0 || d.Requesters != nil || d.Justification != nil && d.Justification.Pattern != ""
}

func (l *linter) sources(p Policy) {
	for i, s := range p.Sources {
		within := slices.IndexFunc(p.Sources, func(o Source) bool {
			return o.Range != s.Range && o.Range.Bits() <= s.Range.Bits() && o.Range.Contains(s.Range.Addr()) && o.Widest <= s.Widest
		})
		if within >= 0 {
			l.find(p, LintRedundantSource, "source %s of %s adds nothing to %s; take one of them out.", p.Sources[i].Range, p.name(), p.Sources[within].Range)
		}
	}
}

func (l *linter) times(p Policy) {
	longest := longestOpening(p.Document)
	switch wanted := p.Default(); {
	case longest < MinDuration:
		l.find(p, LintNeverPasses, "%s allows access %s, which never leaves the %s that access lasts at least.", p.name(), p.times(), spoken(MinDuration))
	case !p.Enforced && longest < wanted:
		l.find(p, LintDefaultTooLong, "an ask that names no duration gets %s, and the longest that %s leaves is %s; set defaultDuration.", spoken(wanted), p.name(), spoken(longest))
	}
}

func (l *linter) consent(p Policy) {
	if p.Approval == nil || p.Approval.Approvers == nil {
		return
	}
	approvers, listed := p.Approval.Approvers.people()
	if listed && len(approvers) < p.Approval.Quorum {
		l.find(p, LintQuorum, "%s wants %d approvers and names %d.", p.name(), p.Approval.Quorum, len(approvers))
		return
	}
	if requesters, known := p.Requesters.people(); listed && known {
		for _, r := range requesters {
			if others := len(approvers) - count(approvers, r); others < p.Approval.Quorum {
				l.find(p, LintQuorum, "%s lets user %s ask, who may not approve that, and then only %d of %d approvers are left.", p.name(), r, others, p.Approval.Quorum)
			}
		}
	} else if p.Requesters != nil && len(p.Requesters.Tenants) == 0 && p.Requesters.equal(*p.Approval.Approvers) {
		l.find(p, LintSelfApproval, "%s has the same people ask and approve; if only one of them is there, nobody can.", p.name())
	}
}

func count(list []string, x string) (n int) {
	for _, y := range list {
		if x == y {
			n++
		}
	}
	return n
}

// reference is a fortnight to look at windows in, which come every week; no clocks
// are changed in it.
var reference = Period{
	time.Date(2026, time.June, 1, 0, 0, 0, 0, time.UTC),
	time.Date(2026, time.June, 15, 0, 0, 0, 0, time.UTC),
}

// longestOpening is how long access can last within the times of all documents
// together, up to noEnd. The longest starts where a window of one of them does.
func longestOpening(documents ...Document) time.Duration {
	periods := []Period{reference}
	for _, d := range documents {
		for _, p := range d.Maintenance {
			periods = append(periods, Period{p.From, p.From.Add(min(p.To.Sub(p.From), 14*midnight))})
		}
	}
	var longest time.Duration
	for _, period := range periods {
		starts := []time.Time{period.From}
		for _, d := range documents {
			starts = append(starts, d.openings(period)...)
		}
		for _, at := range starts {
			open := noEnd
			for _, d := range documents {
				open = min(open, d.open(at))
			}
			longest = max(longest, open)
		}
	}
	return longest
}

// openings are the instants within a period at which a window opens.
func (d Document) openings(within Period) (starts []time.Time) {
	for _, w := range d.Windows {
		at, found := w.next(within.From)
		for found && at.Before(within.To) {
			starts = append(starts, at)
			at, found = w.next(at.Add(w.open(at)))
		}
	}
	return starts
}
