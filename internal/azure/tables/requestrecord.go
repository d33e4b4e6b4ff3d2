package tables

import (
	"net/netip"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// The stored form of requests.

type requestBody struct {
	ID            string         `json:"id"`
	Requester     personBody     `json:"requester"`
	Standing      standingBody   `json:"standing,omitzero"`
	Source        netip.Prefix   `json:"source"`
	Duration      time.Duration  `json:"durationNanoseconds"`
	Justification string         `json:"justification"`
	CreatedAt     time.Time      `json:"createdAt"`
	Fingerprint   string         `json:"fingerprint"`
	Targets       []targetBody   `json:"targets"`
	BreakGlass    bool           `json:"breakGlass,omitempty"`
	DecideBy      time.Time      `json:"decideBy,omitzero"`
	Votes         []voteBody     `json:"votes,omitempty"`
	Review        *reviewBody    `json:"review,omitempty"`
	Extensions    int            `json:"extensions,omitempty"`
	Callbacks     []callbackBody `json:"callbacks,omitempty"`
	Events        int            `json:"events"`
}

type standingBody struct {
	Roles            []string `json:"roles,omitempty"`
	Groups           []string `json:"groups,omitempty"`
	GroupsIncomplete bool     `json:"groupsIncomplete,omitempty"`
	Application      bool     `json:"application,omitempty"`
	Guest            bool     `json:"guest,omitempty"`
}

type voteBody struct {
	By       personBody   `json:"by"`
	Standing standingBody `json:"standing,omitzero"`
	Via      personBody   `json:"via,omitzero"`
	Agrees   bool         `json:"agrees"`
	Comment  string       `json:"comment,omitempty"`
	At       time.Time    `json:"at"`
}

type reviewBody struct {
	DueAt    time.Time  `json:"dueAt"`
	Overdue  bool       `json:"overdue,omitempty"`
	By       personBody `json:"by,omitzero"`
	Comment  string     `json:"comment,omitempty"`
	ClosedAt time.Time  `json:"closedAt,omitzero"`
}

type callbackBody struct {
	ID     string          `json:"id"`
	Sealed string          `json:"sealed"`
	Events []access.Result `json:"events"` // words of the interface to workflows, which never change
	At     time.Time       `json:"at"`
	Done   bool            `json:"done"`
}

type targetBody struct {
	VM             armid.ID          `json:"vm"`
	Ports          []portBody        `json:"ports"`
	State          string            `json:"state"`
	Ending         string            `json:"ending,omitempty"`
	ReasonCode     string            `json:"reasonCode,omitempty"`
	ReasonSentence string            `json:"reasonSentence,omitempty"`
	Unmet          []refusalBody     `json:"unmet,omitempty"`
	Warning        reasonBody        `json:"warning,omitzero"`
	Policy         string            `json:"policy,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	Approval       *approvalBody     `json:"approval,omitempty"`
	ExpiresAt      time.Time         `json:"expiresAt,omitzero"`
	Reminded       bool              `json:"reminded,omitempty"`
	OpenedAt       time.Time         `json:"openedAt,omitzero"`
	EndedAt        time.Time         `json:"endedAt,omitzero"`
	Ways           []wayBody         `json:"ways,omitempty"`
	Openings       []openingBody     `json:"openings,omitempty"`
}

type refusalBody struct {
	Code     string `json:"code"`
	Field    string `json:"field,omitempty"`
	Sentence string `json:"sentence"`
	Policy   string `json:"policy,omitempty"`
	Passes   string `json:"passes,omitempty"`
}

type approvalBody struct {
	Approvers []principalsBody `json:"approvers,omitempty"`
	Quorum    int              `json:"quorum"`
	Within    time.Duration    `json:"withinNanoseconds"`
	Policies  []string         `json:"policies,omitempty"`
}

type principalsBody struct {
	Roles        []string `json:"roles,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	Users        []string `json:"users,omitempty"`
	Applications []string `json:"applications,omitempty"`
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

type openingBody struct {
	NSG       armid.ID     `json:"nsg"`
	Addresses []netip.Addr `json:"addresses"`
	Rules     []ruleBody   `json:"rules"`
	Open      bool         `json:"open"`
	Until     time.Time    `json:"until,omitzero"`
	Closed    bool         `json:"closed"`
	Stuck     bool         `json:"stuck"`
}

type ruleBody struct {
	Name     string   `json:"name"`
	Protocol string   `json:"protocol"`
	Ports    []uint16 `json:"ports"`
}

// requestColumns is the request row. The columns beside the body and Told are for
// people who look at the table; nothing reads them back.
func requestColumns(r *access.Request) (columns, error) {
	body := requestBody{
		ID: r.ID, Requester: personBody(r.Requester), Standing: standingBody(r.Standing), Source: r.Source, Duration: r.Duration,
		Justification: r.Justification, CreatedAt: r.CreatedAt.UTC(), Fingerprint: r.Fingerprint, Targets: convert(r.Targets, storeTarget),
		BreakGlass: r.BreakGlass, DecideBy: r.DecideBy.UTC(), Extensions: r.Extensions, Events: r.Events,
		Votes: convert(r.Votes, func(v access.Vote) voteBody {
			return voteBody{personBody(v.By.Person), standingBody(v.By.Standing), personBody(v.Via), v.Agrees, v.Comment, v.At.UTC()}
		}),
		Callbacks: convert(r.Callbacks, func(b access.Callback) callbackBody {
			return callbackBody{b.ID, b.Sealed, b.Events, b.At.UTC(), b.Done}
		}),
	}
	if v := r.Review; v != nil {
		body.Review = &reviewBody{v.DueAt.UTC(), v.Overdue, personBody(v.By), v.Comment, v.ClosedAt.UTC()}
	}
	c := columns{"State": string(r.State()), "Requester": r.Requester.Name}
	c.setTime("CreatedAt", r.CreatedAt)
	if err := c.setTold(r.Told); err != nil {
		return nil, err
	}
	return c, c.setBody(body)
}

func storeTarget(t access.Target) targetBody {
	body := targetBody{
		VM: t.VM, State: string(t.State), Ending: string(t.Ending), Policy: t.Policy, Tags: t.Tags, Reminded: t.Reminded,
		ReasonCode: string(t.Reason.Code), ReasonSentence: t.Reason.Sentence, Warning: storeReason(t.Warning),
		ExpiresAt: t.ExpiresAt.UTC(), OpenedAt: t.OpenedAt.UTC(), EndedAt: t.EndedAt.UTC(),
		Ports: convert(t.Ports, storePort),
		Unmet: convert(t.Unmet, func(r access.Refusal) refusalBody {
			return refusalBody{string(r.Code), r.Field, r.Sentence, r.Policy, r.Passes}
		}),
		Ways: convert(t.Ways, func(i access.Interface) wayBody {
			return wayBody{ID: i.ID, Addresses: i.Addresses, NSGs: i.NSGs, Public: i.Public, Firewall: i.Firewall, Network: i.Network, ASGs: i.ASGs}
		}),
		Openings: convert(t.Openings, func(o access.Opening) openingBody {
			return openingBody{NSG: o.NSG, Addresses: o.Addresses, Open: o.Open, Until: o.Until.UTC(), Closed: o.Closed, Stuck: o.Stuck,
				Rules: convert(o.Rules, func(r access.PlannedRule) ruleBody { return ruleBody{r.Name, string(r.Protocol), r.Ports} })}
		}),
	}
	if a := t.Approval; a != nil {
		body.Approval = &approvalBody{
			Approvers: convert(a.Approvers, func(p policy.Principals) principalsBody { return principalsBody(p) }),
			Quorum:    a.Quorum, Within: a.Within, Policies: a.Policies,
		}
	}
	return body
}

func readRequest(c columns) (access.Request, error) {
	var b requestBody
	if err := c.body(&b); err != nil {
		return access.Request{}, err
	}
	told, err := c.told()
	r := access.Request{
		ID: b.ID, Requester: access.Person(b.Requester), Standing: access.Standing(b.Standing), Source: b.Source, Duration: b.Duration,
		Justification: b.Justification, CreatedAt: b.CreatedAt, Fingerprint: b.Fingerprint, Targets: convert(b.Targets, loadTarget),
		BreakGlass: b.BreakGlass, DecideBy: b.DecideBy, Extensions: b.Extensions, Told: told, Events: b.Events,
		Votes: convert(b.Votes, func(v voteBody) access.Vote {
			return access.Vote{By: access.Actor{Person: access.Person(v.By), Standing: access.Standing(v.Standing)},
				Via: access.Person(v.Via), Agrees: v.Agrees, Comment: v.Comment, At: v.At}
		}),
		Callbacks: convert(b.Callbacks, func(b callbackBody) access.Callback { return access.Callback(b) }),
	}
	if v := b.Review; v != nil {
		r.Review = &access.Review{DueAt: v.DueAt, Overdue: v.Overdue, By: access.Person(v.By), Comment: v.Comment, ClosedAt: v.ClosedAt}
	}
	return r, err
}

func loadTarget(t targetBody) access.Target {
	target := access.Target{
		VM: t.VM, State: access.State(t.State), Ending: access.State(t.Ending), Policy: t.Policy, Tags: t.Tags, Reminded: t.Reminded,
		Reason: access.Reason{Code: access.Code(t.ReasonCode), Sentence: t.ReasonSentence}, Warning: loadReason(t.Warning),
		ExpiresAt: t.ExpiresAt, OpenedAt: t.OpenedAt, EndedAt: t.EndedAt,
		Ports: convert(t.Ports, loadPort),
		Unmet: convert(t.Unmet, func(r refusalBody) access.Refusal {
			return access.Refusal{Code: access.Code(r.Code), Field: r.Field, Sentence: r.Sentence, Policy: r.Policy, Passes: r.Passes}
		}),
		Ways: convert(t.Ways, func(i wayBody) access.Interface {
			return access.Interface{ID: i.ID, Addresses: i.Addresses, NSGs: i.NSGs, Public: i.Public, Firewall: i.Firewall, Network: i.Network, ASGs: i.ASGs}
		}),
		Openings: convert(t.Openings, func(o openingBody) access.Opening {
			return access.Opening{NSG: o.NSG, Addresses: o.Addresses, Open: o.Open, Until: o.Until, Closed: o.Closed, Stuck: o.Stuck,
				Rules: convert(o.Rules, func(r ruleBody) access.PlannedRule {
					return access.PlannedRule{Name: r.Name, Protocol: nsg.Protocol(r.Protocol), Ports: r.Ports}
				})}
		}),
	}
	if a := t.Approval; a != nil {
		target.Approval = &policy.Approval{
			Approvers: convert(a.Approvers, func(p principalsBody) policy.Principals { return policy.Principals(p) }),
			Quorum:    a.Quorum, Within: a.Within, Policies: a.Policies,
		}
	}
	return target
}
