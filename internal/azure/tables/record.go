package tables

import (
	"encoding/json"
	"net/netip"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// The types below are the stored form. They repeat the domain's structs on
// purpose: renaming a field there must not make what is stored unreadable.

type requestBody struct {
	ID            string        `json:"id"`
	Requester     personBody    `json:"requester"`
	Source        netip.Prefix  `json:"source"`
	Duration      time.Duration `json:"durationNanoseconds"`
	Justification string        `json:"justification"`
	CreatedAt     time.Time     `json:"createdAt"`
	Fingerprint   string        `json:"fingerprint"`
	Targets       []targetBody  `json:"targets"`
	Events        int           `json:"events"`
}

type personBody struct {
	Tenant string `json:"tenant"`
	Object string `json:"object"`
	Name   string `json:"name"`
}

type targetBody struct {
	VM             armid.ID      `json:"vm"`
	Ports          []portBody    `json:"ports"`
	State          string        `json:"state"`
	Ending         string        `json:"ending,omitempty"`
	ReasonCode     string        `json:"reasonCode,omitempty"`
	ReasonSentence string        `json:"reasonSentence,omitempty"`
	Warning        reasonBody    `json:"warning,omitzero"`
	Policy         string        `json:"policy,omitempty"`
	ExpiresAt      time.Time     `json:"expiresAt,omitzero"`
	OpenedAt       time.Time     `json:"openedAt,omitzero"`
	EndedAt        time.Time     `json:"endedAt,omitzero"`
	Ways           []wayBody     `json:"ways,omitempty"`
	Openings       []openingBody `json:"openings,omitempty"`
}

type reasonBody struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}

// wayBody is a network interface of the target.
type wayBody struct {
	ID        armid.ID       `json:"id"`
	Addresses []netip.Addr   `json:"addresses"`
	NSGs      []armid.ID     `json:"nsgs"`
	Public    bool           `json:"public"`
	Firewall  bool           `json:"firewall"`
	Network   []netip.Prefix `json:"network,omitempty"`
	ASGs      []string       `json:"asgs,omitempty"`
}

type portBody struct {
	Number   uint16 `json:"port"`
	Protocol string `json:"protocol"`
}

type openingBody struct {
	NSG       armid.ID     `json:"nsg"`
	Addresses []netip.Addr `json:"addresses"`
	Rules     []ruleBody   `json:"rules"`
	Open      bool         `json:"open"`
	Closed    bool         `json:"closed"`
	Stuck     bool         `json:"stuck"`
}

type ruleBody struct {
	Name     string   `json:"name"`
	Protocol string   `json:"protocol"`
	Ports    []uint16 `json:"ports"`
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

// grantBody is the part of a grant that never changes. Opened, Closing and WakeUp
// are columns of their own, so that each is changed without writing the others.
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

// requestColumns is the request row. The columns beside the body are for people
// who look at the table; nothing reads them back.
func requestColumns(r *access.Request) (columns, error) {
	body := requestBody{
		ID: r.ID, Requester: personBody(r.Requester), Source: r.Source, Duration: r.Duration,
		Justification: r.Justification, CreatedAt: r.CreatedAt.UTC(), Fingerprint: r.Fingerprint, Events: r.Events,
		Targets: convert(r.Targets, storeTarget),
	}
	c := columns{"State": string(r.State()), "Requester": r.Requester.Name}
	c.setTime("CreatedAt", r.CreatedAt)
	return c, c.setBody(body)
}

func storeTarget(t access.Target) targetBody {
	return targetBody{
		VM: t.VM, State: string(t.State), Ending: string(t.Ending), Policy: t.Policy,
		ReasonCode: string(t.Reason.Code), ReasonSentence: t.Reason.Sentence, Warning: storeReason(t.Warning),
		ExpiresAt: t.ExpiresAt.UTC(), OpenedAt: t.OpenedAt.UTC(), EndedAt: t.EndedAt.UTC(),
		Ports: convert(t.Ports, func(p policy.Port) portBody { return portBody{p.Number, string(p.Protocol)} }),
		Ways: convert(t.Ways, func(i access.Interface) wayBody {
			return wayBody{ID: i.ID, Addresses: i.Addresses, NSGs: i.NSGs, Public: i.Public, Firewall: i.Firewall, Network: i.Network, ASGs: i.ASGs}
		}),
		Openings: convert(t.Openings, func(o access.Opening) openingBody {
			return openingBody{NSG: o.NSG, Addresses: o.Addresses, Open: o.Open, Closed: o.Closed, Stuck: o.Stuck,
				Rules: convert(o.Rules, func(r access.PlannedRule) ruleBody { return ruleBody{r.Name, string(r.Protocol), r.Ports} })}
		}),
	}
}

func readRequest(c columns) (access.Request, error) {
	var b requestBody
	if err := c.body(&b); err != nil {
		return access.Request{}, err
	}
	return access.Request{
		ID: b.ID, Requester: access.Person(b.Requester), Source: b.Source, Duration: b.Duration,
		Justification: b.Justification, CreatedAt: b.CreatedAt, Fingerprint: b.Fingerprint, Events: b.Events,
		Targets: convert(b.Targets, loadTarget),
	}, nil
}

func loadTarget(t targetBody) access.Target {
	return access.Target{
		VM: t.VM, State: access.State(t.State), Ending: access.State(t.Ending), Policy: t.Policy,
		Reason: access.Reason{Code: access.Code(t.ReasonCode), Sentence: t.ReasonSentence}, Warning: loadReason(t.Warning),
		ExpiresAt: t.ExpiresAt, OpenedAt: t.OpenedAt, EndedAt: t.EndedAt,
		Ports: convert(t.Ports, func(p portBody) policy.Port {
			return policy.Port{Number: p.Number, Protocol: policy.Protocol(p.Protocol)}
		}),
		Ways: convert(t.Ways, func(i wayBody) access.Interface {
			return access.Interface{ID: i.ID, Addresses: i.Addresses, NSGs: i.NSGs, Public: i.Public, Firewall: i.Firewall, Network: i.Network, ASGs: i.ASGs}
		}),
		Openings: convert(t.Openings, func(o openingBody) access.Opening {
			return access.Opening{NSG: o.NSG, Addresses: o.Addresses, Open: o.Open, Closed: o.Closed, Stuck: o.Stuck,
				Rules: convert(o.Rules, func(r ruleBody) access.PlannedRule {
					return access.PlannedRule{Name: r.Name, Protocol: nsg.Protocol(r.Protocol), Ports: r.Ports}
				})}
		}),
	}
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

// policyColumns keeps the text as it was handed in, which is what people want to
// see again and what Parse reads; a document that never was text is kept as its
// canonical JSON.
func policyColumns(p policy.Policy, by access.Person, at time.Time) (columns, error) {
	text := p.Text
	if text == "" {
		data, err := json.Marshal(p.Document)
		if err != nil {
			return nil, err
		}
		text = string(data)
	}
	c := columns{"Scope": p.Scope.String(), "Hash": p.Hash, "ByTenant": by.Tenant, "ByObject": by.Object, "ByName": by.Name}
	c.setNumber("Version", int64(p.Version))
	c.setTime("At", at)
	return c, c.setText("Text", text)
}

func readPolicy(c columns) (policy.Policy, error) {
	version, err := c.number("Version")
	if err != nil {
		return policy.Policy{}, err
	}
	document, err := policy.Parse([]byte(c.text("Text")))
	if err != nil {
		return policy.Policy{}, err
	}
	return policy.New(document, int(version)), nil
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
