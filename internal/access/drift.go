package access

import (
	"fmt"

	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// drift is what a pass found changed behind its back.
type drift struct {
	byRule map[string]string // rules of live grants: what was found and what was done
	notes  []audit.Event     // what belongs to the NSG
}

// drift compares the NSG as first read with what had been confirmed before. The
// planner says what differs; it counts as drift unless it is the work that this
// pass came for: grants and guards that were not confirmed yet or are ending.
func (p *pass) drift() drift {
	found := drift{byRule: map[string]string{}}
	if p.gone || p.forbidden != nil {
		return found
	}
	plan := nsg.MakePlan(p.outcome.Before, p.book.desired(p.wanted), p.Bands)
	was := map[string]nsg.Rule{}
	for _, r := range p.outcome.Before.Rules {
		was[r.Name] = r
	}
	rec := record{at: p.now(), by: jitgate}
	note := func(kind audit.Kind, rule, format string, args ...any) {
		text := fmt.Sprintf(format, args...) + p.remedied(rule)
		rec.add(kind, nil, audit.Event{NSG: p.book.NSG.String(), Rule: rule, Text: text})
		p.Log.Warn("an NSG was changed by others", "nsg", p.book.NSG, "rule", rule, "found", text)
	}
	granted, denied, away := p.confirmed()
	for _, r := range plan.Put {
		old, there := was[r.Name]
		what := "deleted"
		if there {
			what = "changed (" + nsg.Difference(old, r) + ")"
		}
		switch {
		case granted[r.Name]:
			found.byRule[r.Name] = "The rule was " + what + " by others;" + p.remedied(r.Name)
		case denied[r.Name]:
			note(audit.DenyRepaired, r.Name, "The deny rule was %s by others;", what)
		}
	}
	known := map[string]bool{}
	for _, g := range p.book.Grants {
		known[g.Rule] = true
	}
	for _, name := range plan.Delete {
		r := was[name]
		switch {
		case r.Ours() && !known[name] && r.Access != nsg.Deny:
			note(audit.RuleUnbacked, name, "A rule with our prefix belongs to no grant;")
		case !r.Ours() && away[name]:
			note(audit.RuleReturned, name, "A rule that was removed to protect a machine is there again;")
		}
	}
	if p.flushWasSet() && plan.Flush != nil {
		note(audit.FlushRepaired, "", "flushConnection was changed by others;")
	}
	found.notes = rec.events
	return found
}

// remedied says what became of a finding.
func (p *pass) remedied(rule string) string {
	if p.outcome.Refused[rule] != nil {
		return " Azure refuses to have it put right."
	}
	return " it was put right."
}

// confirmed are the rules that an earlier pass confirmed as they are wanted now, by
// kind: of grants, of guards, and those that guards keep away. A rule that grants
// share is left out as soon as one of them is new or ending.
func (p *pass) confirmed() (granted, denied, away map[string]bool) {
	granted, denied, away = map[string]bool{}, map[string]bool{}, map[string]bool{}
	now := p.now()
	for _, g := range p.book.Grants {
		steady := g.Opened && !g.Closing && !g.Due(now)
		if known, seen := granted[g.Rule]; !seen || known {
			granted[g.Rule] = steady
		}
	}
	for _, g := range p.book.Guards {
		for _, name := range (nsg.Cover{Ports: g.Ports, Addresses: g.Addresses}).RuleNames() {
			if known, seen := denied[name]; !seen || known {
				denied[name] = g.Done
			}
		}
		for _, r := range g.Removed {
			away[r.Name] = g.Done && g.Wanted
		}
	}
	return granted, denied, away
}

// flushWasSet reports whether an earlier pass confirmed FlushConnection for all
// that want it.
func (p *pass) flushWasSet() bool {
	set := false
	for _, g := range p.book.Guards {
		if g.Wanted && g.Flush {
			if !g.Done {
				return false
			}
			set = true
		}
	}
	return set
}
