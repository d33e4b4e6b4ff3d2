package access

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Grant is the desired state of one target in one NSG, for one protocol: the
// request's decision, filed under the NSG so that enforcing reads one partition.
// Grants that name the same rule share it: their addresses stand side by side.
type Grant struct {
	Request   string
	Target    int // index in the request
	Rule      string
	Requester string // for the rule's description
	Source    netip.Prefix
	Addresses []netip.Addr
	Protocol  nsg.Protocol
	Ports     []uint16
	ExpiresAt time.Time
	WakeUp    int64 // sequence number of the scheduled message; 0 = none known
	Opened    bool  // confirmed and recorded on the request
	Closing   bool  // to be removed whatever the time
}

// Key identifies a grant within its NSG.
func (g Grant) Key() string { return g.Rule + "." + strconv.Itoa(g.Target) }

// Due reports whether the grant's time is over at now, allowing for [Skew].
func (g Grant) Due(now time.Time) bool { return !now.Add(Skew).Before(g.ExpiresAt) }

// Head is the row that stands for an NSG among its grants. Generation is bumped
// in the transaction of every change to the grants; Enforced is the generation
// that the NSG was last made to match. Equal numbers mean that a nudge has
// nothing to do before NextDue.
type Head struct {
	NSG        armid.ID
	Generation int64
	Enforced   int64
	NextDue    time.Time // earliest expiry among open grants; zero = none
	ChangedAt  time.Time // of the last bump
}

// Settled reports whether there is nothing to do for this NSG at now.
func (h Head) Settled(now time.Time) bool {
	return h.Generation == h.Enforced && (h.NextDue.IsZero() || now.Add(Skew).Before(h.NextDue))
}

// Book is an NSG's head with all its grants and guards, read together.
type Book struct {
	Head
	Grants []Grant
	Guards []Guard
}

// wants turns grants into the rules that should be in the NSG. Grants of one rule
// are merged; the rule's expiry is theirs, which is one because they were
// approved together.
func wants(grants []Grant) []nsg.Want {
	byRule := map[string]*nsg.Want{}
	var order []string
	for _, g := range grants {
		w := byRule[g.Rule]
		if w == nil {
			w = &nsg.Want{
				Name:        g.Rule,
				Description: nsg.Description(g.Requester, g.ExpiresAt),
				Source:      g.Source,
				Protocol:    g.Protocol,
				Ports:       g.Ports,
			}
			byRule[g.Rule] = w
			order = append(order, g.Rule)
		}
		w.Destinations = append(w.Destinations, g.Addresses...)
	}
	slices.Sort(order)
	out := make([]nsg.Want, len(order))
	for i, name := range order {
		out[i] = *byRule[name]
	}
	return out
}

// mustOpen selects what was approved and is not confirmed open everywhere, and what
// was extended and not confirmed to end later.
func mustOpen(t *Target, o *Opening) bool {
	return t.State == Approved || t.State == Active && o.Until.Before(t.ExpiresAt)
}

// mustGo selects what has to be closed and is not confirmed closed. A target that
// failed in one NSG may be open in another.
func mustGo(t *Target, o *Opening) bool {
	return (t.State == Closing || t.State == Failed) && !o.Closed
}

// grantsOf derives from the record the grants of selected openings, filed by NSG
// in a stable order.
func grantsOf(r *Request, include func(*Target, *Opening) bool) []NSGGrants {
	var out []NSGGrants
	for i := range r.Targets {
		t := &r.Targets[i]
		for j := range t.Openings {
			o := &t.Openings[j]
			if !include(t, o) {
				continue
			}
			at := slices.IndexFunc(out, func(n NSGGrants) bool { return n.NSG.Equal(o.NSG) })
			if at < 0 {
				out, at = append(out, NSGGrants{NSG: o.NSG}), len(out)
			}
			for _, rule := range o.Rules {
				out[at].Grants = append(out[at].Grants, Grant{
					Request: r.ID, Target: i, Rule: rule.Name, Requester: r.Requester.Name,
					Source: r.Source, Addresses: o.Addresses, Protocol: rule.Protocol, Ports: rule.Ports,
					ExpiresAt: t.ExpiresAt,
				})
			}
		}
	}
	slices.SortFunc(out, func(a, b NSGGrants) int { return strings.Compare(a.NSG.Key(), b.NSG.Key()) })
	return out
}

// NSGGrants are grants of one request in one NSG.
type NSGGrants struct {
	NSG    armid.ID
	Grants []Grant
}
