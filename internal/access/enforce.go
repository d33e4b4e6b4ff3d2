package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// readers bounds how many things are read or recorded side by side; a burst on one
// NSG can concern hundreds of requests.
const readers = 16

// Enforce makes an NSG match its grants: opening, expiring, revoking and repairing
// are this one function. It runs under a Service Bus session that stands for the
// NSG, so one writer exists in the whole fleet. Running it again changes nothing;
// a nudge with nothing behind it ends after reading one row.
//
// A returned error means that trying again may help.
func (s *Service) Enforce(ctx context.Context, id armid.ID) error {
	head, err := s.Store.Head(ctx, id)
	if errors.Is(err, ErrNotFound) {
		s.Log.WarnContext(ctx, "nudged about an NSG that no grant names; nothing to do", "nsg", id)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the head of %s: %w", id.Name(), err)
	}
	if head.Settled(s.now()) {
		return nil
	}
	book, err := s.Store.Book(ctx, id)
	if err != nil {
		return fmt.Errorf("read the grants of %s: %w", id.Name(), err)
	}
	pass := &pass{Service: s, book: book}
	if err := pass.dropStale(ctx); err != nil {
		return fmt.Errorf("check what is wanted of %s against its records: %w", id.Name(), err)
	}
	err = pass.match(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
		pass.gone = true // with the NSG went every rule in it
	case errors.Is(err, ErrForbidden):
		pass.forbidden, pass.wanted = err, pass.book.live(s.now())
	case err != nil:
		return fmt.Errorf("write %s: %w", id.Name(), err)
	}
	return pass.record(ctx)
}

// match makes the NSG match. What others have changed is put on record before it is
// put right, so that a crash in between cannot hide it.
func (p *pass) match(ctx context.Context) (err error) {
	noted := false
	for {
		p.outcome, err = p.Network.Match(ctx, p.book.NSG, func(g nsg.Group) nsg.Plan {
			p.wanted = p.book.live(p.now())
			plan := nsg.MakePlan(g, p.book.desired(g, p.wanted), p.Bands)
			if !noted {
				if p.drift = p.findDrift(g, plan); len(p.drift) > 0 {
					return nsg.Plan{}
				}
			}
			return plan
		})
		if err != nil || noted || len(p.drift) == 0 {
			return err
		}
		if err := p.noteDrift(ctx); err != nil {
			return err
		}
		noted = true
	}
}

// pass is one enforcement under way.
type pass struct {
	*Service
	book      Book
	wanted    []Grant // what the last plan was made for; the NSG was compared with exactly these
	outcome   Outcome
	gone      bool  // the NSG does not exist
	forbidden error // Azure does not let us read the NSG at all
	drift     []finding

	stale []Guard         // left out of the book; their rows go
	early map[string]bool // guards, by key, that stand in for rows not filed yet: nothing is recorded of them
}

// dropStale marks grants as closing that were never opened and whose request does
// not want them open any more, and takes guards out of the book that are not what
// their machine's record says. A row can be younger than the end of its request,
// when a message was delivered twice; a row alone therefore never opens anything.
// Rows that were carried out once are trusted, or every pass would read every record.
func (p *pass) dropStale(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range p.book.Grants {
		g := &p.book.Grants[i]
		if !g.Opened && !g.Closing {
			group.Go(func() (err error) {
				g.Closing, err = p.staleGrant(ctx, g)
				return err
			})
		}
	}
	guards := make([]*Guard, len(p.book.Guards))
	for i, g := range p.book.Guards {
		if guards[i] = &p.book.Guards[i]; g.Done {
			continue
		}
		group.Go(func() (err error) {
			guards[i], err = p.current(ctx, g)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var kept []Guard
	p.early = map[string]bool{}
	for i, g := range guards {
		if g == nil {
			p.stale = append(p.stale, p.book.Guards[i])
			continue
		}
		p.early[g.Key()] = g.Revision != p.book.Guards[i].Revision
		kept = append(kept, *g)
	}
	p.book.Guards = kept
	return nil
}

func (p *pass) staleGrant(ctx context.Context, g *Grant) (bool, error) {
	r, err := p.Store.Request(ctx, g.Request)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return g.Target >= len(r.Targets) || !r.Targets[g.Target].State.Live(), nil
}

// current is what the record of its machine makes of a guard that was not carried
// out yet; nil if nothing. A guard of another revision was filed early or late, and
// the record's own stands in for it: without it, what it keeps away for the sake of
// one machine could come back for another. A guard that takes back what is recorded
// as taken back is nothing: carried out again, it would bring back a rule that its
// owner may have deleted since.
func (p *pass) current(ctx context.Context, g Guard) (*Guard, error) {
	r, err := p.Store.Protection(ctx, g.VM)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	part := r.part(p.book.NSG)
	switch {
	case part == nil, !r.Wanted && part.Done:
		return nil, nil
	case r.Revision != g.Revision:
		g = r.guard(*part)
	}
	return &g, nil
}

// fate is what a pass found out about one grant. The zero fate says nothing: look
// again later.
type fate struct {
	open    bool   // ARM shows the rule as wanted
	closed  bool   // ARM shows that the rule is gone
	failed  Reason // it cannot be opened,
	left    bool   // but its rule may be there all the same
	refused error  // Azure refuses to remove the rule
}

// fates compares the NSG as last read with what each grant wants.
func (p *pass) fates() []fate {
	present := map[string]bool{}
	for _, r := range p.outcome.Group.Rules {
		present[r.Name] = true
	}
	unplaced := map[string]nsg.Unplaced{}
	for _, u := range p.outcome.Unplaced {
		unplaced[u.Name] = u
	}
	wanted := map[string]bool{}
	for _, g := range p.wanted {
		wanted[g.Key()] = true
	}
	out := make([]fate, len(p.book.Grants))
	for i, g := range p.book.Grants {
		switch {
		case p.gone:
			out[i] = fateOfGone(g)
		case p.forbidden != nil:
			out[i] = fateUnseen(g, wanted[g.Key()], p.forbidden)
		case wanted[g.Key()]:
			out[i] = fateOfWanted(p.outcome.Refused[g.Rule], unplaced[g.Rule], present[g.Rule])
		case p.outcome.Refused[g.Rule] != nil:
			out[i].refused = p.outcome.Refused[g.Rule]
		default:
			// The plan had nothing left to do, so the rule is gone, or it is shared with
			// targets that are still live and no longer names this one's address.
			out[i].closed = true
		}
		if out[i].failed.Code == WriteRefused {
			p.Log.Error("Azure refuses an allow rule; is the role assigned on this NSG?",
				"nsg", p.book.NSG, "rule", g.Rule, "request", g.Request, "error", errors.Join(p.outcome.Refused[g.Rule], p.forbidden))
		}
	}
	return out
}

// fateOfGone: with the NSG went its rules.
func fateOfGone(g Grant) fate {
	if g.Closing {
		return fate{closed: true}
	}
	return fate{failed: Reason{NSGGone, "The NSG does not exist any more; ask again, so that the way to the VM is looked up anew."}}
}

// fateUnseen: Azure does not let us read the NSG. What was open is taken to be open
// still; what was not may have been written by a process that died before it could
// record it.
func fateUnseen(g Grant, wanted bool, forbidden error) fate {
	switch {
	case !wanted:
		return fate{refused: forbidden}
	case g.Opened:
		return fate{}
	}
	return fate{failed: refusedByAzure, left: true}
}

// fateOfWanted: a rule that has no place was deleted by the same plan if there was
// one; if that was refused, it is refused here.
func fateOfWanted(refused error, unplaced nsg.Unplaced, present bool) fate {
	switch {
	case refused != nil:
		return fate{failed: refusedByAzure, left: present}
	case unplaced.Code == nsg.BandFull || unplaced.Code == nsg.RuleLimit || unplaced.Code == nsg.AddressLimit:
		return fate{failed: Reason{NSGFull, unplaced.Reason}}
	case unplaced.Code != "":
		return fate{failed: Reason{RuleImpossible, unplaced.Reason}}
	}
	return fate{open: present}
}

var refusedByAzure = Reason{WriteRefused, "Azure refuses the rule for this NSG; jitgate's operator finds the cause in the log."}

// record writes what was confirmed, first to the requests and machines, then to
// the book: if we die in between, the next pass finds the rules as they should be
// and records them again, which changes nothing.
func (p *pass) record(ctx context.Context) error {
	fates, tampered := p.fates(), p.tampered()
	byRequest := map[string][]int{}
	settlement := Settlement{Enforced: p.book.Generation, Guarded: map[string]int{}, Released: map[string]int{}, Hindered: map[string]int{}, LetGo: map[string]int{}}
	for i, g := range p.book.Grants {
		f := fates[i]
		switch {
		case f.refused != nil:
			p.Log.ErrorContext(ctx, "Azure refuses to remove a rule; access may still be open. Look for a lock on the NSG or a missing role assignment; the sweep will try again",
				"nsg", p.book.NSG, "rule", g.Rule, "request", g.Request, "error", f.refused)
			settlement.Enforced = 0
		case f.closed, f.failed.Code != "" && !f.left:
			settlement.Closed = append(settlement.Closed, g.Key())
		case !f.open:
			settlement.Enforced = 0 // neither open nor gone: look again
		case !g.Opened:
			settlement.Opened = append(settlement.Opened, g.Key())
		}
		if f.open {
			settlement.NextDue = earlier(settlement.NextDue, g.ExpiresAt)
		}
		if !(f.open && g.Opened) || tampered[g.Rule] != "" {
			byRequest[g.Request] = append(byRequest[g.Request], i)
		}
	}

	for _, g := range p.stale {
		settlement.Released[g.Key()] = g.Revision
	}
	problems := make([]Reason, len(p.book.Guards))
	for i, g := range p.book.Guards {
		if !p.early[g.Key()] {
			problems[i] = p.settleGuard(g, &settlement)
		}
	}
	if len(settlement.Hindered) > 0 {
		// Before the record says so: a guard that the book takes for carried out is not
		// looked at again, and the machine would stay blocked for good.
		if err := p.Store.Settle(ctx, p.book.NSG, Settlement{Hindered: settlement.Hindered}); err != nil {
			return fmt.Errorf("settle %s: %w", p.book.NSG.Name(), err)
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for id, grants := range byRequest {
		group.Go(func() error { return p.recordRequest(gctx, id, grants, fates, tampered) })
	}
	for i, g := range p.book.Guards {
		if !p.early[g.Key()] && (!g.Done || problems[i].Code != "") {
			group.Go(func() error { return p.recordGuard(gctx, g, problems[i]) })
		}
	}
	group.Go(func() error { return p.noteOutcome(gctx) })
	if err := group.Wait(); err != nil {
		return fmt.Errorf("record what was done to %s: %w", p.book.NSG.Name(), err)
	}
	if err := p.Store.Settle(ctx, p.book.NSG, settlement); err != nil {
		return fmt.Errorf("settle %s: %w", p.book.NSG.Name(), err)
	}
	for _, g := range p.book.Guards {
		if _, confirmed := settlement.Guarded[g.Key()]; confirmed && g.outgrown() {
			return p.nudge(ctx, p.book.NSG) // to let go what it closed before
		}
	}
	return nil
}

// earlier returns the earlier of two times, taking zero for none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
