package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// settleGuard finds out what became of a guard and notes it for the book. The
// result is what stands in the way, zero if the NSG is as the guard wants it.
func (p *pass) settleGuard(g Guard, s *Settlement) Reason {
	problem := p.problemOf(g)
	switch {
	case p.gone, problem.Code == "" && !g.Wanted:
		s.Released[g.Key()] = g.Revision
	case problem.Code == "" && g.Done && g.outgrown():
		if p.forbidden == nil && !p.refusedAny(coverNames(g.Former)) {
			s.LetGo[g.Key()] = g.Revision
		} else {
			s.Enforced = 0 // no reason to call the machine unprotected: only more is closed than need be
		}
	case problem.Code != "":
		s.Enforced = 0 // the sweep will have it tried again
		if g.Done {
			s.Hindered[g.Key()] = g.Revision
		}
	case !g.Done:
		s.Guarded[g.Key()] = g.Revision
	}
	return problem
}

// problemOf compares the NSG as last read with what a guard wants. The plan had
// nothing left to do but what it had no place for and what Azure refused.
func (p *pass) problemOf(g Guard) Reason {
	names := g.cover().RuleNames()
	if !g.Done {
		names = append(names, coverNames(g.Former)...)
	}
	var back []string
	for _, r := range g.Removed {
		if g.Wanted || g.Restore {
			names = append(names, r.Name)
		}
		if !g.Wanted && g.Restore {
			back = append(back, r.Name)
		}
	}
	switch {
	case p.gone && g.Wanted:
		return Reason{NSGGone, fmt.Sprintf("NSG %s does not exist any more.", p.book.NSG.Name())}
	case p.gone:
		return Reason{}
	case p.forbidden != nil && g.Done:
		return Reason{} // nothing says that it has changed
	case p.forbidden != nil:
		p.Log.Error("Azure does not let us read an NSG; is the role assigned?", "nsg", p.book.NSG, "vm", g.VM, "error", p.forbidden)
		return writeRefused(p)
	}
	if _, hindered := p.book.back(g, p.outcome.Group); hindered.Code != "" {
		return hindered
	}
	for _, u := range p.outcome.Unplaced {
		switch {
		case slices.Contains(back, u.Name):
			code, sentence := hindrance(p.book.NSG, u)
			return Reason{code, sentence}
		case slices.Contains(names, u.Name):
			return Reason{NSGFull, noPlace(p.book.NSG, u)}
		}
	}
	if g.Flush || g.FlushSet {
		names = append(names, "")
	}
	for _, name := range names {
		if err := p.outcome.Refused[name]; err != nil {
			p.Log.Error("Azure refuses a change that protecting a machine needs; is the role assigned, or the NSG locked?", "nsg", p.book.NSG, "vm", g.VM, "rule", name, "error", err)
			return writeRefused(p)
		}
	}
	return Reason{}
}

// outgrown reports whether a guard has anything left of an earlier revision.
func (g Guard) outgrown() bool { return len(g.Former) > 0 || g.FlushSet && !g.Flush }

func coverNames(covers []nsg.Cover) []string {
	var names []string
	for _, c := range covers {
		names = append(names, c.RuleNames()...)
	}
	return names
}

func (p *pass) refusedAny(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return p.outcome.Refused[name] != nil })
}

func writeRefused(p *pass) Reason {
	return Reason{WriteRefused, fmt.Sprintf("Azure refuses the change of NSG %s; jitgate's operator finds the cause in the log.", p.book.NSG.Name())}
}

// recordGuard writes what became of a guard into the record of its machine.
func (p *pass) recordGuard(ctx context.Context, g Guard, problem Reason) error {
	at := p.now()
	reconsidered := false
	r, err := p.Store.UpdateProtection(ctx, g.VM, func(r *Protection) ([]audit.Event, error) {
		reconsidered = false
		part := r.part(p.book.NSG)
		if r.Revision != g.Revision || part == nil {
			return nil, nil // wanted otherwise meanwhile
		}
		rec := record{at: at, by: jitgate}
		add := func(kind audit.Kind, rule, format string, args ...any) {
			rec.add(kind, nil, audit.Event{VM: r.VM.String(), NSG: part.NSG.String(), Rule: rule, Text: fmt.Sprintf(format, args...)})
		}
		switch {
		case p.gone:
			p.recordGone(r, add)
		case problem.Code != "":
			if part.Problem != problem || part.Done {
				add(audit.MachineBlocked, "", "%s", problem.Sentence)
			}
			part.Done, part.Problem = false, problem
		case part.Done:
		case r.Wanted && p.recordStanding(r, part, add):
			reconsidered = true
		default:
			part.Done, part.Problem = true, Reason{}
			p.recordDone(r, part, add)
		}
		return rec.events, nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil && reconsidered {
		return p.carryOutProtection(ctx, &r)
	}
	return err
}

// recordGone takes an NSG that does not exist any more out of the protection. The
// wish stays: wherever the machine is found next, the sweep protects it there.
func (p *pass) recordGone(r *Protection, add func(audit.Kind, string, string, ...any)) {
	r.Parts = slices.DeleteFunc(slices.Clone(r.Parts), func(q Part) bool { return q.NSG.Equal(p.book.NSG) })
	add(audit.NSGReleased, "", "NSG %s does not exist any more.", p.book.NSG.Name())
	switch {
	case !r.Wanted && r.Settled():
		add(audit.MachineUnprotected, "", "Nothing of ours is left before the machine.")
	case r.Wanted && !slices.ContainsFunc(r.Parts, func(q Part) bool { return len(q.Addresses) > 0 }):
		r.Reason = Reason{NSGGone, "The last NSG before the machine was deleted. Attach another one: the machine is protected there within minutes."}
		add(audit.MachineBlocked, "", "%s", r.Reason.Sentence)
	}
}

// recordStanding takes rules off the account that their owners changed before they
// could be removed: they stand, and nothing of them has to come back. What is wanted
// has changed by that, so all of it is filed anew.
func (p *pass) recordStanding(r *Protection, part *Part, add func(audit.Kind, string, string, ...any)) bool {
	stands := func(rule nsg.Rule) bool { return p.holds(rule.Name) && !slices.Contains(part.SetAside, rule.Name) }
	if !slices.ContainsFunc(part.Removed, stands) {
		return false
	}
	for _, rule := range part.Removed {
		if stands(rule) {
			add(audit.RuleKept, rule.Name, "The rule was changed by its owner before it could be removed, so it stays.")
		}
	}
	part.Removed = slices.DeleteFunc(slices.Clone(part.Removed), stands)
	r.Revision++
	for i := range r.Parts {
		r.Parts[i].Done = false
	}
	return true
}

// holds reports whether the NSG as last read has a rule of this name.
func (p *pass) holds(name string) bool {
	return slices.ContainsFunc(p.outcome.Group.Rules, func(r nsg.Rule) bool { return strings.EqualFold(r.Name, name) })
}

func (p *pass) recordDone(r *Protection, part *Part, add func(audit.Kind, string, string, ...any)) {
	switch {
	case r.Wanted:
		var gone []string
		for _, rule := range part.Removed {
			if !slices.Contains(part.SetAside, rule.Name) && !p.holds(rule.Name) {
				gone = append(gone, rule.Name)
			}
		}
		if len(gone) > 0 { // one event, however many: a transaction holds a hundred
			add(audit.RuleSetAside, strings.Join(gone, ", "), "Rules of others that opened protected ports are gone; copies are kept.")
			part.SetAside = append(slices.Clone(part.SetAside), gone...)
		}
		if len(part.Addresses) > 0 {
			add(audit.NSGClosed, "", "The NSG denies %s to the machine.", portsText(r.Ports))
		} else {
			add(audit.NSGReleased, "", "The machine is not behind this NSG any more; no deny rule names it.")
		}
		part.Former = nil
		part.FlushSet = part.FlushSet && r.Flush && len(part.Addresses) > 0
	default:
		var back, away []string
		for _, rule := range part.Removed {
			if p.holds(rule.Name) {
				back = append(back, fmt.Sprintf("%s (priority %d)", rule.Name, rule.Priority))
			} else {
				away = append(away, rule.Name)
			}
		}
		if len(back) > 0 {
			add(audit.RuleRestored, "", "Rules are back as they were: %s.", strings.Join(back, ", "))
		}
		if len(away) > 0 {
			add(audit.RuleKeptAway, strings.Join(away, ", "), "%s", awayText(r.Reason.Code))
		}
		add(audit.NSGReleased, "", "The NSG holds no deny rule of ours for the machine any more.")
	}
	switch {
	case !r.Settled():
	case r.Wanted:
		add(audit.MachineProtected, "", "Ports %s are closed unless access is granted.", portsText(r.Ports))
	default:
		add(audit.MachineUnprotected, "", "Nothing of ours is left before the machine.")
	}
}

func awayText(why Code) string {
	if why == VMGone {
		return "Rules that were removed for the machine stay removed, since it does not exist any more."
	}
	return "Rules stay away because they would open other protected machines too; they come back when those are unprotected."
}
