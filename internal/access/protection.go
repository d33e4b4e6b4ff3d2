package access

import (
	"slices"
	"time"

	"net/netip"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Protection is the desired state of one machine, as a request is of one access:
// its ports stay closed unless a grant opens them, or, once Wanted is false, its
// NSGs are as they were before. It is kept after the machine was released.
type Protection struct {
	VM            armid.ID
	Wanted        bool
	Ports         []nsg.PortRange
	AllInterfaces bool // not only the primary one
	Flush         bool // NSGs are to judge open connections again when rules change
	By            Person
	ChangedAt     time.Time // of the last change of what is wanted
	Revision      int       // counts these changes; guards carry it, so that a late message cannot bring back an older wish
	Parts         []Part    // one per NSG
	Reason        Reason    // why it ended by itself, or why it cannot hold as it is wanted
	Events        int       // how many events its record holds
}

// Part is a protection's share of one NSG. It is fixed, with a copy of the rules
// that are removed, before anything is written there.
type Part struct {
	NSG        armid.ID
	Addresses  []netip.Addr // empty once the machine is no longer behind this NSG
	Interfaces []string     // ARM ids of the NICs that have them
	Former     []nsg.Cover  // what an earlier revision covered and this one may not
	Removed    []nsg.Rule   // rules of others that went, as they were
	Held       []string     // names of those that went for other machines' sake and would open this one too
	SetAside   []string     // names of those whose going is on record
	FlushSet   bool         // FlushConnection was off before we switched it on
	Done       bool         // ARM confirmed this revision
	Problem    Reason       // why it cannot be carried out; it is tried again whenever the NSG is looked at
}

// ProtectionState is where a protection stands.
type ProtectionState string

const (
	Protecting   ProtectionState = "Protecting"   // rules are being written
	Protected    ProtectionState = "Protected"    // ARM confirmed the deny rules
	Unprotecting ProtectionState = "Unprotecting" // rules are being put back
	Unprotected  ProtectionState = "Unprotected"  // ARM confirmed that nothing of ours is left; also a machine that never was protected
	Blocked      ProtectionState = "Blocked"      // something stands in the way, see Part.Problem
)

// State is derived from the parts.
func (p *Protection) State() ProtectionState {
	undone := func(q Part) bool { return !q.Done }
	covers := func(q Part) bool { return len(q.Addresses) > 0 }
	switch {
	case slices.ContainsFunc(p.Parts, func(q Part) bool { return !q.Done && q.Problem.Code != "" }),
		p.Wanted && (p.Reason.Code != "" || !slices.ContainsFunc(p.Parts, covers)):
		return Blocked
	case p.Wanted && slices.ContainsFunc(p.Parts, undone):
		return Protecting
	case p.Wanted:
		return Protected
	case slices.ContainsFunc(p.Parts, undone):
		return Unprotecting
	}
	return Unprotected
}

// Settled reports whether nothing is left to be done or tried.
func (p *Protection) Settled() bool {
	return !slices.ContainsFunc(p.Parts, func(q Part) bool { return !q.Done })
}

func (p *Protection) part(id armid.ID) *Part {
	for i := range p.Parts {
		if p.Parts[i].NSG.Equal(id) {
			return &p.Parts[i]
		}
	}
	return nil
}

// Guard is a part of a protection, filed under its NSG beside the grants, so that
// enforcing reads one partition.
type Guard struct {
	VM         armid.ID
	Revision   int
	Wanted     bool // false = to be taken back
	Restore    bool // when taken back, the removed rules return; not for a machine that is gone
	Ports      []nsg.PortRange
	Addresses  []netip.Addr
	Interfaces []string // ARM ids of the machine's NICs behind the NSG
	Former     []nsg.Cover
	Removed    []nsg.Rule
	Held       []string // of Removed, see Part
	Flush      bool
	FlushSet   bool
	Done       bool // confirmed and recorded on the protection
}

// Key identifies a guard within its NSG.
func (g Guard) Key() string { return g.VM.Key() }

// unattended reports whether there is work that nobody seems to be at. What is
// blocked is at work: its NSG is looked at with every sweep.
func (p *Protection) unattended(now time.Time) bool {
	return now.After(p.ChangedAt.Add(Patience)) &&
		slices.ContainsFunc(p.Parts, func(q Part) bool { return !q.Done && q.Problem.Code == "" })
}

// guard files a part of the protection.
func (p *Protection) guard(q Part) Guard {
	return Guard{VM: p.VM, Revision: p.Revision, Wanted: p.Wanted, Restore: !p.Wanted && p.Reason.Code != VMGone,
		Ports: p.Ports, Addresses: q.Addresses, Interfaces: q.Interfaces, Former: q.Former, Removed: q.Removed, Held: q.Held,
		Flush: p.Flush, FlushSet: q.FlushSet}
}
