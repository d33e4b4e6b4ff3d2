package tables

import (
	"net/netip"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// The types here and in the other files named record are the stored form. They repeat
// the domain's structs on purpose: renaming a field there must not make what is stored
// unreadable. A field that came later is left out when it is zero, and read as zero
// where it is missing.

type personBody struct {
	Tenant string `json:"tenant"`
	Object string `json:"object"`
	Name   string `json:"name"`
}

type reasonBody struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}

type portBody struct {
	Number   uint16 `json:"port"`
	Protocol string `json:"protocol"`
}

type eventBody struct {
	Sequence int       `json:"sequence,omitempty"` // none for notes
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Actor    string    `json:"actor"`
	Name     string    `json:"name,omitempty"`
	VM       string    `json:"vm,omitempty"`
	NSG      string    `json:"nsg,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Text     string    `json:"text"`
}

// grantBody is the part of a grant that only a later end changes. Opened, Closing and
// WakeUp are columns of their own, so that each is changed without writing the others.
type grantBody struct {
	Request   string       `json:"request"`
	Target    int          `json:"target"`
	Rule      string       `json:"rule"`
	Requester string       `json:"requester"`
	Source    netip.Prefix `json:"source"`
	Addresses []netip.Addr `json:"addresses"`
	Protocol  string       `json:"protocol"`
	Ports     []uint16     `json:"ports"`
	ExpiresAt time.Time    `json:"expiresAt"`
}

func storeReason(r access.Reason) reasonBody { return reasonBody{string(r.Code), r.Sentence} }
func loadReason(r reasonBody) access.Reason {
	return access.Reason{Code: access.Code(r.Code), Sentence: r.Sentence}
}

func eventColumns(e audit.Event) (columns, error) {
	c := columns{"Kind": string(e.Kind)}
	c.setTime("At", e.At)
	return c, c.setBody(eventBody{e.Sequence, e.At.UTC(), string(e.Kind), e.Actor, e.Name, e.VM, e.NSG, e.Rule, e.Policy, e.Text})
}

func readEvent(c columns) (audit.Event, error) {
	var b eventBody
	if err := c.body(&b); err != nil {
		return audit.Event{}, err
	}
	return audit.Event{Sequence: b.Sequence, At: b.At, Kind: audit.Kind(b.Kind), Actor: b.Actor, Name: b.Name,
		VM: b.VM, NSG: b.NSG, Rule: b.Rule, Policy: b.Policy, Text: b.Text}, nil
}

func grantColumns(g access.Grant) (columns, error) {
	c := columns{"Request": g.Request, "Opened": g.Opened, "Closing": g.Closing}
	c.setNumber("WakeUp", g.WakeUp)
	c.setTime("ExpiresAt", g.ExpiresAt)
	return c, c.setBody(grantBody{
		Request: g.Request, Target: g.Target, Rule: g.Rule, Requester: g.Requester, Source: g.Source,
		Addresses: g.Addresses, Protocol: string(g.Protocol), Ports: g.Ports, ExpiresAt: g.ExpiresAt.UTC(),
	})
}

func readGrant(c columns) (access.Grant, error) {
	var b grantBody
	if err := c.body(&b); err != nil {
		return access.Grant{}, err
	}
	wakeUp, err := c.number("WakeUp")
	return access.Grant{
		Request: b.Request, Target: b.Target, Rule: b.Rule, Requester: b.Requester, Source: b.Source,
		Addresses: b.Addresses, Protocol: nsg.Protocol(b.Protocol), Ports: b.Ports, ExpiresAt: b.ExpiresAt,
		WakeUp: wakeUp, Opened: c.flag("Opened"), Closing: c.flag("Closing"),
	}, err
}

func headColumns(h access.Head) columns {
	c := columns{"NSG": h.NSG.String()}
	c.setNumber("Generation", h.Generation)
	c.setNumber("Enforced", h.Enforced)
	c.setTime("NextDue", h.NextDue)
	c.setTime("ChangedAt", h.ChangedAt)
	return c
}

func readHead(c columns) (h access.Head, err error) {
	if h.NSG, err = armid.Parse(c.text("NSG")); err != nil {
		return h, err
	}
	if h.Generation, err = c.number("Generation"); err != nil {
		return h, err
	}
	if h.Enforced, err = c.number("Enforced"); err != nil {
		return h, err
	}
	if h.NextDue, err = c.time("NextDue"); err != nil {
		return h, err
	}
	h.ChangedAt, err = c.time("ChangedAt")
	return h, err
}

func storePort(p policy.Port) portBody { return portBody{p.Number, string(p.Protocol)} }
func loadPort(p portBody) policy.Port {
	return policy.Port{Number: p.Number, Protocol: policy.Protocol(p.Protocol)}
}

// convert maps a slice and keeps nil nil.
func convert[A, B any](in []A, f func(A) B) []B {
	if in == nil {
		return nil
	}
	out := make([]B, len(in))
	for i, a := range in {
		out[i] = f(a)
	}
	return out
}
