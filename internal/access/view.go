package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// view is one NSG that a protection concerns: as Azure has it, and with
// everything else that is wanted of it.
type view struct {
	Place
	group  nsg.Group
	unread bool // the NSG cannot be read or is gone; only for a part the machine has left
	book   Book
	after  nsg.Group
}

// views reads the NSGs before the given interfaces, and those of an earlier
// protection that the machine is not behind any more.
func (s *Service) views(ctx context.Context, ways []Interface, old Protection) ([]view, error) {
	var out []view
	for _, p := range places(ways) {
		out = append(out, view{Place: p})
	}
	current := len(out)
	for _, part := range old.Parts {
		known := slices.ContainsFunc(out, func(v view) bool { return v.NSG.Equal(part.NSG) })
		if !known && (old.Wanted || !part.Done) {
			out = append(out, view{Place: Place{NSG: part.NSG}})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i := range out {
		v := &out[i]
		group.Go(func() (err error) {
			v.group, err = s.Network.Group(ctx, v.NSG)
			// An NSG that the machine has left must not keep it from being protected
			// where it is now; whether it can be written is seen when it is enforced.
			if v.unread = err != nil && i >= current; v.unread {
				return ctx.Err()
			}
			return err
		})
		group.Go(func() (err error) {
			v.book, err = s.book(ctx, v.NSG)
			return err
		})
	}
	return out, group.Wait()
}

// book is what is wanted of an NSG, nothing for one that never had anything.
func (s *Service) book(ctx context.Context, id armid.ID) (Book, error) {
	b, err := s.Store.Book(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Book{Head: Head{NSG: id}}, nil
	}
	if err != nil {
		return b, fmt.Errorf("read the grants of %s: %w", id.Name(), err)
	}
	return b, nil
}

// protect works out a protection's part in the NSG, from what it was in old.
func (v *view) protect(next, old *Protection) Part {
	part := Part{NSG: v.NSG, Addresses: v.Addresses, Interfaces: v.Interfaces}
	if was := old.part(v.NSG); was != nil && (old.Wanted || !was.Done) {
		part.NSG = was.NSG // as first seen
		part.Removed, part.Held, part.SetAside, part.FlushSet, part.Former = was.Removed, was.Held, was.SetAside, was.FlushSet, was.Former
		if same := sameSet(was.Addresses, part.Addresses) && samePorts(old.Ports, next.Ports); !same && len(was.Addresses) > 0 {
			part.Former = append(slices.Clone(part.Former), nsg.Cover{Ports: old.Ports, Addresses: was.Addresses})
		}
	}
	remove, _ := v.group.Opens(v.cover(next.Ports), v.alone())
	held := v.heldForOthers(next)
	part.Removed = addRules(addRules(part.Removed, held), remove)
	for _, r := range held {
		if !slices.Contains(part.Held, r.Name) {
			part.Held = append(slices.Clone(part.Held), r.Name)
		}
	}
	if len(v.Addresses) > 0 && next.Flush && (!v.group.FlushConnection || v.flushSetByOthers(next.VM)) {
		part.FlushSet = true
	}
	return part
}

// heldForOthers are rules that went for the sake of other machines of this NSG and
// would open this one too. It holds them as well, so that the end of one protection
// does not open the door of the other.
func (v *view) heldForOthers(next *Protection) []nsg.Rule {
	var out []nsg.Rule
	for _, g := range v.book.Guards {
		if g.VM.Equal(next.VM) || len(v.Addresses) == 0 {
			continue
		}
		for _, r := range g.Removed {
			if r.OpensFor(v.cover(next.Ports)) && !v.group.Stands(r) {
				out = addRules(out, []nsg.Rule{r})
			}
		}
	}
	return out
}

func (v *view) cover(ports []nsg.PortRange) nsg.Cover {
	return nsg.Cover{Ports: ports, Addresses: v.Addresses}
}

// alone reports whether the NSG filters for nothing but this machine.
func (v *view) alone() bool { return v.group.OnlyFor(v.Interfaces...) }

// flushSetByOthers: FlushConnection is on because of another machine, so whoever
// is last has to switch it off.
func (v *view) flushSetByOthers(vm armid.ID) bool {
	return slices.ContainsFunc(v.book.Guards, func(g Guard) bool { return g.FlushSet && !g.VM.Equal(vm) })
}

// addRules adds rules to those already on account; one found again is taken as it
// is now.
func addRules(known, found []nsg.Rule) []nsg.Rule {
	out := slices.DeleteFunc(slices.Clone(known), func(r nsg.Rule) bool {
		return slices.ContainsFunc(found, func(f nsg.Rule) bool { return strings.EqualFold(f.Name, r.Name) })
	})
	return append(out, found...)
}

// foresee plans the NSG with the drafted protection in its book.
func (s *Service) foresee(d *draft, v *view) error {
	v.after = v.group
	part := d.Protection.part(v.NSG)
	if v.unread || part == nil {
		return nil
	}
	guard := d.Protection.guard(*part)
	v.book.replace(guard)
	open := v.book.live(s.now())
	// Ports that are let go go in a second step; what is shown is the end of it.
	flush := v.book.flush()
	guard.Done = true
	v.book.replace(guard)
	desired := v.book.desired(v.group, open)
	desired.Flush = flush
	plan := nsg.MakePlan(v.group, desired, s.Bands)
	v.after = plan.Apply(v.group)
	f := NSGForecast{NSG: part.NSG, Before: v.group, After: v.after, Plan: plan}
	cover := nsg.Cover{Ports: d.Protection.Ports, Addresses: part.Addresses}
	for _, r := range v.after.Rules {
		if !r.Ours() && r.Touches(cover) {
			f.Kept = append(f.Kept, r)
		}
	}
	d.NSGs = append(d.NSGs, f)
	if d.Protection.Wanted {
		if _, shared := v.group.Opens(v.cover(d.Protection.Ports), v.alone()); len(shared) > 0 {
			d.warnShared(part.NSG, shared)
		}
		if d.Protection.Flush {
			d.warn(FlushAffectsOthers, part.NSG, "", "flushConnection is a property of the whole NSG: with every change of a rule, open connections of everything behind it are judged again. What Azure really does then is not documented.")
		}
	}
	if !d.Protection.Wanted {
		d.foreseeBack(v, guard)
	}
	return s.unplaced(d, part, cover, plan.Unplaced)
}

// foreseeBack says which removed rules do not return with this one.
func (d *draft) foreseeBack(v *view, guard Guard) {
	back, hindered := v.book.back(guard, v.group)
	if hindered.Code != "" {
		d.hindered = append(d.hindered, Refusal{Code: hindered.Code, Sentence: hindered.Sentence})
		d.warn(hindered.Code, v.NSG, "", hindered.Sentence)
		return
	}
	for _, r := range guard.Removed {
		if guard.Restore && !slices.ContainsFunc(back, func(b nsg.Rule) bool { return b.Name == r.Name }) {
			d.warn(RuleStaysAway, v.NSG, r.Name, staysAway(r.Name))
		}
	}
}

func staysAway(rule string) string {
	return fmt.Sprintf("Rule %s stays away, because it would open another protected machine too; it comes back when that one is unprotected.", rule)
}

// unplaced turns what a plan has no room for into a refusal, or into hindrances
// when it is about rules that are to come back.
func (s *Service) unplaced(d *draft, part *Part, cover nsg.Cover, list []nsg.Unplaced) error {
	for _, u := range list {
		switch {
		case slices.Contains(cover.RuleNames(), u.Name):
			return refuse(NSGFull, "", noPlace(part.NSG, u))
		case !d.Protection.Wanted && slices.ContainsFunc(part.Removed, func(r nsg.Rule) bool { return r.Name == u.Name }):
			code, sentence := hindrance(part.NSG, u)
			d.hindered = append(d.hindered, Refusal{Code: code, Field: u.Name, Sentence: sentence})
			d.warn(code, part.NSG, u.Name, sentence)
		}
	}
	return nil
}

func noPlace(id armid.ID, u nsg.Unplaced) string {
	return fmt.Sprintf("There is no place for the deny rule in NSG %s: %s", id.Name(), u.Reason)
}

// hindrance says why a rule cannot come back and what helps.
func hindrance(id armid.ID, u nsg.Unplaced) (Code, string) {
	switch u.Code {
	case nsg.PriorityHeld:
		return PriorityTaken, fmt.Sprintf("Rule %s cannot come back to NSG %s: %s Give it another priority (--priority %s=NUMBER), or free its own.", u.Name, id.Name(), u.Reason, u.Name)
	case nsg.NameTaken:
		return RuleNameTaken, fmt.Sprintf("Rule %s cannot come back to NSG %s: %s Rename or delete that one, then repeat.", u.Name, id.Name(), u.Reason)
	}
	return NSGFull, fmt.Sprintf("Rule %s cannot come back to NSG %s: %s", u.Name, id.Name(), u.Reason)
}

func (d *draft) warn(code Code, id armid.ID, rule, sentence string) {
	w := Warning{Code: code, NSG: id, Rule: rule, Sentence: sentence}
	if !slices.Contains(d.Warnings, w) {
		d.Warnings = append(d.Warnings, w)
	}
}

// warns reports whether the draft warns of this.
func (d *draft) warns(code Code) bool {
	return slices.ContainsFunc(d.Warnings, func(w Warning) bool { return w.Code == code })
}

func (d *draft) warnShared(id armid.ID, shared []nsg.Rule) {
	for _, r := range shared {
		d.warn(RuleShared, id, r.Name, fmt.Sprintf("Rule %s (priority %d) opens protected ports to everybody and serves other machines or ports too, so it stays; narrow or remove it yourself.", r.Name, r.Priority))
	}
}

// surroundings of an interface, with the members of application security groups if
// a rule names one.
func (s *Service) surroundings(ctx context.Context, i Interface, groups []nsg.Group) (nsg.Surroundings, error) {
	around := i.Surroundings()
	if !slices.ContainsFunc(groups, nsg.Group.NamesASGs) {
		return around, nil
	}
	members, err := s.Network.Members(ctx, i.ID.Subscription())
	if err != nil {
		return around, err
	}
	for id, own := range around.ASGMembers {
		members[id] = append(slices.Clone(members[id]), own...)
	}
	around.ASGMembers = members
	return around, nil
}
