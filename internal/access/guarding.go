package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	cover := nsg.Cover{Ports: g.Ports, Addresses: g.Addresses}
	names := cover.RuleNames()
	for _, former := range g.Former {
		names = append(names, former.RuleNames()...)
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
	for _, u := range p.outcome.Unplaced {
		switch {
		case slices.Contains(back, u.Name):
			code, sentence := hindrance(p.book.NSG, u)
			return Reason{code, sentence}
		case slices.Contains(names, u.Name):
			return Reason{NSGFull, fmt.Sprintf("There is no place for the deny rule in NSG %s: %s", p.book.NSG.Name(), u.Reason)}
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

func writeRefused(p *pass) Reason {
	return Reason{WriteRefused, fmt.Sprintf("Azure refuses the change of NSG %s; jitgate's operator finds the cause in the log.", p.book.NSG.Name())}
}

// recordGuard writes what became of a guard into the record of its machine.
func (p *pass) recordGuard(ctx context.Context, g Guard, problem Reason) error {
	at := p.now()
	_, err := p.Store.UpdateProtection(ctx, g.VM, func(r *Protection) ([]audit.Event, error) {
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
		case !part.Done:
			part.Done, part.Problem = true, Reason{}
			recordDone(r, part, add)
		}
		return rec.events, nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// recordGone takes an NSG that does not exist any more out of the protection. A
// machine that has no other one left is not protected by anybody.
func (p *pass) recordGone(r *Protection, add func(audit.Kind, string, string, ...any)) {
	r.Parts = slices.DeleteFunc(slices.Clone(r.Parts), func(q Part) bool { return q.NSG.Equal(p.book.NSG) })
	add(audit.NSGReleased, "", "NSG %s does not exist any more.", p.book.NSG.Name())
	if len(r.Parts) == 0 {
		if r.Wanted {
			r.Wanted, r.Reason = false, Reason{NSGGone, "The last NSG before the machine was deleted."}
		}
		add(audit.MachineUnprotected, "", "No NSG is left to protect the machine in.")
	}
}

func recordDone(r *Protection, part *Part, add func(audit.Kind, string, string, ...any)) {
	switch {
	case r.Wanted:
		for _, rule := range part.Removed {
			add(audit.RuleSetAside, rule.Name, "A rule of others that opened protected ports is gone; a copy is kept.")
		}
		if len(part.Addresses) > 0 {
			add(audit.NSGClosed, "", "The NSG denies %s to the machine.", portsText(r.Ports))
		} else {
			add(audit.NSGReleased, "", "The machine is not behind this NSG any more; no deny rule names it.")
		}
		part.Former = nil
		part.FlushSet = part.FlushSet && r.Flush
	default:
		for _, rule := range part.Removed {
			if r.Reason.Code == "" {
				add(audit.RuleRestored, rule.Name, "The rule is back as it was, at priority %d.", rule.Priority)
			}
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
