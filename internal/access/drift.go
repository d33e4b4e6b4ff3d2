package access

import (
	"context"
	"fmt"
	"strings"

	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// finding is something that others did to an NSG of ours.
type finding struct {
	kind  audit.Kind
	rule  string // empty for FlushConnection
	text  string // what was found
	grant bool   // the rule is a live grant's
	stays bool   // nothing is done about it
}

// findDrift compares the NSG with what had been confirmed before. The planner says
// what differs; it counts as drift unless it is the work that this pass came for:
// grants and guards that were not confirmed yet or are ending.
func (p *pass) findDrift(g nsg.Group, plan nsg.Plan) []finding {
	var found []finding
	was := map[string]nsg.Rule{}
	for _, r := range g.Rules {
		was[r.Name] = r
	}
	granted, denied, away := p.confirmed()
	for _, r := range plan.Put {
		what := "was deleted"
		if old, there := was[r.Name]; there {
			if r.Access == nsg.Deny && old.SameMeaning(r) {
				continue // it only moves, before a rule of others that stands in its way
			}
			what = "was changed (" + nsg.Difference(old, r) + ")"
		}
		switch {
		case granted[r.Name]:
			found = append(found, finding{audit.RuleRepaired, r.Name, "The rule " + what + " by others.", true, false})
		case denied[r.Name]:
			found = append(found, finding{audit.DenyRepaired, r.Name, "The deny rule " + what + " by others.", false, false})
		}
	}
	known := map[string]bool{}
	for _, g := range p.book.Grants {
		known[g.Rule] = true
	}
	for _, name := range plan.Delete {
		switch r := was[name]; {
		case r.Ours() && !known[name] && r.Access != nsg.Deny:
			found = append(found, finding{audit.RuleUnbacked, name, "A rule with our prefix belongs to no grant.", false, false})
		case !r.Ours() && away[strings.ToLower(name)]:
			found = append(found, finding{audit.RuleReturned, name, "A rule that was removed to protect a machine is there again.", false, false})
		}
	}
	if p.flushWasSet() && plan.Flush != nil {
		found = append(found, finding{audit.FlushRepaired, "", "flushConnection was changed by others.", false, false})
	}
	for _, name := range p.book.strays(g) {
		found = append(found, finding{audit.RuleUnbacked, name, stray, false, true})
	}
	return found
}

// stray is said of a deny rule with our prefix that nothing backs.
const stray = "A deny rule with our prefix belongs to no protection. It stays, since removing it could open ports: delete it by hand if it is not needed."

// strays are the deny rules with our prefix that no guard stands behind: somebody made
// them, or what they were made for was lost with the store.
func (b *Book) strays(g nsg.Group) []string {
	var out []string
	for _, r := range g.Rules {
		if r.Ours() && r.Access == nsg.Deny && !b.denies(r.Name) {
			out = append(out, r.Name)
		}
	}
	return out
}

// What becomes of a finding.
const (
	repairing = " It is being put right."
	repaired  = "It was put right."
	refusing  = " Azure refuses to have it put right; look for a lock or a missing role. It is tried again."
)

// noteDrift puts what was found on the record of the NSG. It is not said again while
// the last word about it stands: when it is tried again after an outage, or when
// Azure refuses to have it put right.
func (p *pass) noteDrift(ctx context.Context) error {
	events, err := p.note(ctx, func(f finding, last string) (audit.Kind, string) {
		text := f.text
		if !f.stays {
			text += repairing
		}
		if last == text || last == f.text+refusing {
			return "", ""
		}
		return f.kind, text
	})
	if err == nil && len(events) > 0 {
		p.report(ctx, audit.RulesEdited, jitgate, audit.Event{NSG: p.book.NSG.String(), Rule: events[0].Rule,
			Text: fmt.Sprintf("%d rule(s) of jitgate in NSG %s are not as they were left: %s The Azure activity log says who did it.", len(events), p.book.NSG.Name(), events[0].Text)})
	}
	return err
}

// noteOutcome adds what became of it.
func (p *pass) noteOutcome(ctx context.Context) error {
	_, err := p.note(ctx, func(f finding, last string) (audit.Kind, string) {
		switch {
		case f.stays:
			return "", ""
		case p.outcome.Refused[f.rule] == nil:
			return audit.DriftRepaired, repaired
		case last == f.text+refusing:
			return "", ""
		}
		return f.kind, f.text + refusing
	})
	return err
}

// note appends to the record of the NSG what say makes of each finding and of what
// was said of its rule last, and returns it; nothing if it makes no kind.
func (p *pass) note(ctx context.Context, say func(f finding, last string) (audit.Kind, string)) ([]audit.Event, error) {
	if len(p.drift) == 0 {
		return nil, nil
	}
	said, err := p.Store.Notes(ctx, p.book.NSG)
	if err != nil {
		return nil, fmt.Errorf("read the record of %s: %w", p.book.NSG.Name(), err)
	}
	last := lastWords(said)
	rec := record{at: p.now(), by: jitgate}
	for _, f := range p.drift {
		kind, text := say(f, last[f.rule])
		if kind == "" {
			continue
		}
		p.Log.WarnContext(ctx, "an NSG was changed by others", "nsg", p.book.NSG, "rule", f.rule, "found", f.text, "note", text)
		rec.add(kind, nil, audit.Event{NSG: p.book.NSG.String(), Rule: f.rule, Text: text})
	}
	if len(rec.events) == 0 {
		return nil, nil
	}
	return rec.events, p.Store.Note(ctx, p.book.NSG, rec.events)
}

// lastWords are what a record of an NSG says last about each rule.
func lastWords(said []audit.Event) map[string]string {
	last := map[string]string{}
	for _, e := range said {
		last[e.Rule] = e.Text
	}
	return last
}

// tampered is what the requests are told about the rules of their grants.
func (p *pass) tampered() map[string]string {
	out := map[string]string{}
	for _, f := range p.drift {
		if f.grant {
			out[f.rule] = f.text + " " + repaired
			if p.outcome.Refused[f.rule] != nil {
				out[f.rule] = f.text + refusing
			}
		}
	}
	return out
}

// confirmed are the rules that an earlier pass confirmed as they are wanted now, by
// kind: of grants, of guards, and those that guards keep away. A rule that several
// share is left out as soon as one of them is new, is ending, or has just let go of
// what it closed before: then the difference is our own work.
func (p *pass) confirmed() (granted, denied, away map[string]bool) {
	granted, denied, away = map[string]bool{}, map[string]bool{}, map[string]bool{}
	note := func(into map[string]bool, name string, steady bool) {
		if known, seen := into[name]; !seen || known {
			into[name] = steady
		}
	}
	now := p.now()
	for _, g := range p.book.Grants {
		note(granted, g.Rule, g.Opened && !g.Closing && !g.Due(now))
	}
	for _, g := range p.book.Guards {
		for _, name := range g.cover().RuleNames() {
			note(denied, name, g.Done)
		}
		for _, former := range g.Former {
			for _, name := range former.RuleNames() {
				note(denied, name, false)
			}
		}
		for _, r := range g.Removed {
			note(away, strings.ToLower(r.Name), g.Done && g.Wanted)
		}
	}
	return granted, denied, away
}

// flushWasSet reports whether an earlier pass confirmed FlushConnection for all
// that want it.
func (p *pass) flushWasSet() bool {
	set := false
	for _, g := range p.book.Guards {
		if g.Wanted && g.Flush && len(g.Addresses) > 0 {
			if !g.Done {
				return false
			}
			set = true
		}
	}
	return set
}
