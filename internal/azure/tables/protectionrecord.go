package tables

import (
	"errors"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// The stored form of protections and guards.

type protectionBody struct {
	VM            armid.ID        `json:"vm"`
	Wanted        bool            `json:"wanted"`
	Ports         []portRangeBody `json:"ports"`
	AllInterfaces bool            `json:"allInterfaces"`
	Flush         bool            `json:"flush"`
	By            personBody      `json:"by"`
	ChangedAt     time.Time       `json:"changedAt,omitzero"`
	Revision      int             `json:"revision"`
	Parts         []partBody      `json:"parts,omitempty"`
	Reason        reasonBody      `json:"reason,omitzero"`
	Events        int             `json:"events"`
}

type partBody struct {
	NSG        armid.ID           `json:"nsg"`
	Addresses  []netip.Addr       `json:"addresses"`
	Interfaces []string           `json:"interfaces,omitempty"`
	Held       []string           `json:"held,omitempty"`
	Former     []coverBody        `json:"former,omitempty"`
	Removed    []securityRuleBody `json:"removed,omitempty"`
	SetAside   []string           `json:"setAside,omitempty"`
	FlushSet   bool               `json:"flushSet"`
	Done       bool               `json:"done"`
	Problem    reasonBody         `json:"problem,omitzero"`
}

// guardBody is the part of a guard that never changes within a revision. What
// settling changes are columns of their own: Done, and LetGo, which says that Former,
// and a FlushSet that is not wanted any more, do not count. With the removed rules written again, five guards could
// be more than the 4 MiB of a transaction. Revision is a column so that people see
// it and nothing else is read to compare it.
type guardBody struct {
	VM         armid.ID           `json:"vm"`
	Wanted     bool               `json:"wanted"`
	Restore    bool               `json:"restore"`
	Ports      []portRangeBody    `json:"ports"`
	Addresses  []netip.Addr       `json:"addresses"`
	Interfaces []string           `json:"interfaces,omitempty"`
	Held       []string           `json:"held,omitempty"`
	Former     []coverBody        `json:"former,omitempty"`
	Removed    []securityRuleBody `json:"removed,omitempty"`
	Flush      bool               `json:"flush"`
	FlushSet   bool               `json:"flushSet"`
}

type portRangeBody struct {
	Protocol string `json:"protocol"`
	First    uint16 `json:"first"`
	Last     uint16 `json:"last"`
}

type coverBody struct {
	Ports     []portRangeBody `json:"ports"`
	Addresses []netip.Addr    `json:"addresses"`
}

type securityRuleBody struct {
	Name             string   `json:"name"`
	Description      string   `json:"description,omitempty"`
	Direction        string   `json:"direction"`
	Access           string   `json:"access"`
	Protocol         string   `json:"protocol"`
	Priority         int      `json:"priority"`
	Sources          []string `json:"sources,omitempty"`
	SourcePorts      []string `json:"sourcePorts,omitempty"`
	SourceASGs       []string `json:"sourceASGs,omitempty"`
	Destinations     []string `json:"destinations,omitempty"`
	DestinationPorts []string `json:"destinationPorts,omitempty"`
	DestinationASGs  []string `json:"destinationASGs,omitempty"`
	Verbatim         verbatim `json:"verbatim,omitempty"`
}

// verbatim is JSON that comes back byte for byte: it is stored as a string,
// because JSON within JSON would be laid out and escaped anew.
type verbatim []byte

// MarshalText refuses what a string cannot hold; it would come back different.
func (v verbatim) MarshalText() ([]byte, error) {
	if !utf8.Valid(v) {
		return nil, errors.New("the copy of a rule is not UTF-8")
	}
	return v, nil
}

func (v *verbatim) UnmarshalText(text []byte) error {
	*v = slices.Clone(text)
	return nil
}

// protectionColumns is the protection row. The columns beside the body are for
// people who look at the table.
func protectionColumns(p *access.Protection) (columns, error) {
	c := columns{"VM": p.VM.String(), "State": string(p.State())}
	c.setTime("ChangedAt", p.ChangedAt)
	return c, c.setBody(protectionBody{
		VM: p.VM, Wanted: p.Wanted, Ports: convert(p.Ports, storePorts), AllInterfaces: p.AllInterfaces, Flush: p.Flush,
		By: personBody(p.By), ChangedAt: p.ChangedAt.UTC(), Revision: p.Revision, Reason: storeReason(p.Reason), Events: p.Events,
		Parts: convert(p.Parts, func(q access.Part) partBody {
			return partBody{NSG: q.NSG, Addresses: q.Addresses, Interfaces: q.Interfaces, Held: q.Held, Former: convert(q.Former, storeCover), Removed: convert(q.Removed, storeRule),
				SetAside: q.SetAside, FlushSet: q.FlushSet, Done: q.Done, Problem: storeReason(q.Problem)}
		}),
	})
}

func readProtection(c columns) (access.Protection, error) {
	var b protectionBody
	if err := c.body(&b); err != nil {
		return access.Protection{}, err
	}
	return access.Protection{
		VM: b.VM, Wanted: b.Wanted, Ports: convert(b.Ports, loadPorts), AllInterfaces: b.AllInterfaces, Flush: b.Flush,
		By: access.Person(b.By), ChangedAt: b.ChangedAt, Revision: b.Revision, Reason: loadReason(b.Reason), Events: b.Events,
		Parts: convert(b.Parts, func(q partBody) access.Part {
			return access.Part{NSG: q.NSG, Addresses: q.Addresses, Interfaces: q.Interfaces, Held: q.Held, Former: convert(q.Former, loadCover), Removed: convert(q.Removed, loadRule),
				SetAside: q.SetAside, FlushSet: q.FlushSet, Done: q.Done, Problem: loadReason(q.Problem)}
		}),
	}, nil
}

func guardColumns(g access.Guard) (columns, error) {
	c := columns{"VM": g.VM.String(), "Done": g.Done, "LetGo": false}
	c.setNumber("Revision", int64(g.Revision))
	return c, c.setBody(guardBody{
		VM: g.VM, Wanted: g.Wanted, Restore: g.Restore, Ports: convert(g.Ports, storePorts), Addresses: g.Addresses, Interfaces: g.Interfaces, Held: g.Held,
		Former: convert(g.Former, storeCover), Removed: convert(g.Removed, storeRule), Flush: g.Flush, FlushSet: g.FlushSet,
	})
}

func readGuard(c columns) (access.Guard, error) {
	var b guardBody
	if err := c.body(&b); err != nil {
		return access.Guard{}, err
	}
	if c.flag("LetGo") {
		b.Former, b.FlushSet = nil, b.FlushSet && b.Flush
	}
	revision, err := c.number("Revision")
	return access.Guard{
		VM: b.VM, Revision: int(revision), Wanted: b.Wanted, Restore: b.Restore, Ports: convert(b.Ports, loadPorts), Addresses: b.Addresses, Interfaces: b.Interfaces, Held: b.Held,
		Former: convert(b.Former, loadCover), Removed: convert(b.Removed, loadRule), Flush: b.Flush, FlushSet: b.FlushSet,
		Done: c.flag("Done"),
	}, err
}

func storePorts(p nsg.PortRange) portRangeBody {
	return portRangeBody{string(p.Protocol), p.First, p.Last}
}
func loadPorts(p portRangeBody) nsg.PortRange {
	return nsg.PortRange{Protocol: nsg.Protocol(p.Protocol), First: p.First, Last: p.Last}
}

func storeCover(c nsg.Cover) coverBody { return coverBody{convert(c.Ports, storePorts), c.Addresses} }
func loadCover(c coverBody) nsg.Cover {
	return nsg.Cover{Ports: convert(c.Ports, loadPorts), Addresses: c.Addresses}
}

func storeRule(r nsg.Rule) securityRuleBody {
	return securityRuleBody{
		Name: r.Name, Description: r.Description, Direction: string(r.Direction), Access: string(r.Access),
		Protocol: string(r.Protocol), Priority: r.Priority,
		Sources: r.Sources, SourcePorts: r.SourcePorts, SourceASGs: r.SourceASGs,
		Destinations: r.Destinations, DestinationPorts: r.DestinationPorts, DestinationASGs: r.DestinationASGs,
		Verbatim: r.Verbatim,
	}
}

func loadRule(r securityRuleBody) nsg.Rule {
	return nsg.Rule{
		Name: r.Name, Description: r.Description, Direction: nsg.Direction(r.Direction), Access: nsg.Access(r.Access),
		Protocol: nsg.Protocol(r.Protocol), Priority: r.Priority,
		Sources: r.Sources, SourcePorts: r.SourcePorts, SourceASGs: r.SourceASGs,
		Destinations: r.Destinations, DestinationPorts: r.DestinationPorts, DestinationASGs: r.DestinationASGs,
		Verbatim: r.Verbatim,
	}
}
