package tables

import (
	"net/netip"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// The stored form of the ledger, of habits and of signals.

type ledgerBody struct {
	Lockdowns    []lockdownBody    `json:"lockdowns,omitempty"`
	PreApprovals []preApprovedBody `json:"preApprovals,omitempty"`
	Events       int               `json:"events"`
}

type lockdownBody struct {
	ID     string       `json:"id"`
	User   string       `json:"user,omitempty"`
	Scope  policy.Scope `json:"scope,omitzero"` // as documents write it
	Until  time.Time    `json:"until,omitzero"`
	Alert  string       `json:"alert,omitempty"`
	By     personBody   `json:"by"`
	Reason string       `json:"reason,omitempty"`
	At     time.Time    `json:"at"`
}

// preApprovedBody is a pre-approval that was given.
type preApprovedBody struct {
	Alert    string     `json:"alert"`
	Rule     string     `json:"rule"`
	Group    string     `json:"group"`
	Machines []armid.ID `json:"machines"`
	Ports    []portBody `json:"ports"`
	Until    time.Time  `json:"until"`
}

type habitsBody struct {
	Denials  []time.Time          `json:"denials,omitempty"`
	Sources  []sightingBody       `json:"sources,omitempty"`
	Approved []approvingBody      `json:"approved,omitempty"`
	Warned   map[string]time.Time `json:"warned,omitempty"`
}

type sightingBody struct {
	Source netip.Prefix `json:"source"`
	Last   time.Time    `json:"last"`
}

type approvingBody struct {
	Request string    `json:"request"`
	At      time.Time `json:"at"`
}

// signalBody is the part of a signal that never changes; Done is a column.
type signalBody struct {
	Key        string     `json:"key"`
	End        string     `json:"end,omitempty"`
	Alert      string     `json:"alert"`
	Rule       string     `json:"rule,omitempty"`
	Action     actionBody `json:"action"`
	Rules      string     `json:"rules"`
	By         personBody `json:"by"`
	ReceivedAt time.Time  `json:"receivedAt"`
}

type actionBody struct {
	Rule        string           `json:"rule,omitempty"`
	Machines    []armid.ID       `json:"machines,omitempty"`
	Revoke      bool             `json:"revoke,omitempty"`
	Lockdown    *lockBody        `json:"lockdown,omitempty"`
	PreApproval *preApprovalBody `json:"preApproval,omitempty"`
	Unlock      bool             `json:"unlock,omitempty"`
}

type lockBody struct {
	For           time.Duration `json:"forNanoseconds,omitempty"`
	Until         time.Time     `json:"until,omitzero"`
	UntilResolved bool          `json:"untilResolved,omitempty"`
}

// preApprovalBody is one that an alert asks for.
type preApprovalBody struct {
	Group string        `json:"group"`
	For   time.Duration `json:"forNanoseconds"`
	Ports []portBody    `json:"ports"`
}

func ledgerColumns(l *access.Ledger) (columns, error) {
	c := columns{}
	if err := c.setTold(l.Told); err != nil {
		return nil, err
	}
	return c, c.setBody(ledgerBody{
		Lockdowns: convert(l.Lockdowns, func(d access.Lockdown) lockdownBody {
			return lockdownBody{d.ID, d.User, d.Scope, d.Until.UTC(), d.Alert, personBody(d.By), d.Reason, d.At.UTC()}
		}),
		PreApprovals: convert(l.PreApprovals, func(p access.PreApproval) preApprovedBody {
			return preApprovedBody{p.Alert, p.Rule, p.Group, p.Machines, convert(p.Ports, storePort), p.Until.UTC()}
		}),
		Events: l.Events,
	})
}

func readLedger(c columns) (access.Ledger, error) {
	var b ledgerBody
	if err := c.body(&b); err != nil {
		return access.Ledger{}, err
	}
	told, err := c.told()
	return access.Ledger{
		Lockdowns: convert(b.Lockdowns, func(d lockdownBody) access.Lockdown {
			return access.Lockdown{ID: d.ID, User: d.User, Scope: d.Scope, Until: d.Until, Alert: d.Alert, By: access.Person(d.By), Reason: d.Reason, At: d.At}
		}),
		PreApprovals: convert(b.PreApprovals, func(p preApprovedBody) access.PreApproval {
			return access.PreApproval{Alert: p.Alert, Rule: p.Rule, Group: p.Group, Machines: p.Machines, Ports: convert(p.Ports, loadPort), Until: p.Until}
		}),
		Told: told, Events: b.Events,
	}, err
}

func habitsColumns(h *access.Habits) (columns, error) {
	b := habitsBody{
		Denials:  convert(h.Denials, time.Time.UTC),
		Sources:  convert(h.Sources, func(s access.Sighting) sightingBody { return sightingBody{s.Source, s.Last.UTC()} }),
		Approved: convert(h.Approved, func(a access.Approving) approvingBody { return approvingBody{a.Request, a.At.UTC()} }),
		Warned:   map[string]time.Time{},
	}
	for kind, at := range h.Warned {
		b.Warned[kind] = at.UTC()
	}
	c := columns{}
	return c, c.setBody(b)
}

func readHabits(c columns) (access.Habits, error) {
	var b habitsBody
	err := c.body(&b)
	return access.Habits{
		Denials:  b.Denials,
		Sources:  convert(b.Sources, func(s sightingBody) access.Sighting { return access.Sighting(s) }),
		Approved: convert(b.Approved, func(a approvingBody) access.Approving { return access.Approving(a) }),
		Warned:   b.Warned,
	}, err
}

func signalColumns(s access.Signal) (columns, error) {
	c := columns{"Alert": s.Alert, "Done": s.Done}
	c.setTime("ReceivedAt", s.ReceivedAt)
	a := actionBody{Rule: s.Action.Rule, Machines: s.Action.Machines, Revoke: s.Action.Revoke, Unlock: s.Action.Unlock}
	if l := s.Action.Lockdown; l != nil {
		a.Lockdown = &lockBody{l.For, l.Until.UTC(), l.UntilResolved}
	}
	if p := s.Action.PreApproval; p != nil {
		a.PreApproval = &preApprovalBody{p.Group, p.For, convert(p.Ports, storePort)}
	}
	return c, c.setBody(signalBody{s.Key, s.End, s.Alert, s.Rule, a, s.Rules, personBody(s.By), s.ReceivedAt.UTC()})
}

func readSignal(c columns) (access.Signal, error) {
	var b signalBody
	if err := c.body(&b); err != nil {
		return access.Signal{}, err
	}
	a := alert.Action{Rule: b.Action.Rule, Machines: b.Action.Machines, Revoke: b.Action.Revoke, Unlock: b.Action.Unlock}
	if l := b.Action.Lockdown; l != nil {
		a.Lockdown = &alert.Lock{For: l.For, Until: l.Until, UntilResolved: l.UntilResolved}
	}
	if p := b.Action.PreApproval; p != nil {
		a.PreApproval = &alert.PreApproval{Group: p.Group, For: p.For, Ports: convert(p.Ports, loadPort)}
	}
	return access.Signal{Key: b.Key, End: b.End, Alert: b.Alert, Rule: b.Rule, Action: a, Rules: b.Rules, By: access.Person(b.By), ReceivedAt: b.ReceivedAt, Done: c.flag("Done")}, nil
}
