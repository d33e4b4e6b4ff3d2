// Package api owns the JSON shapes of jitgate's HTTP API. Server and client share
// it, and the OpenAPI document is generated from it. It holds no behaviour: what a
// field may contain is decided in the domain.
package api

import "time"

// NewRequest is the body of POST /api/requests.
type NewRequest struct {
	Targets       []NewTarget `json:"targets,omitempty" doc:"The VMs to reach, 1 to 20."`
	Source        string      `json:"source,omitempty" doc:"Address or range the access comes from. Left out: the caller's address as the platform saw it." example:"203.0.113.7"`
	Duration      string      `json:"duration,omitempty" doc:"ISO 8601 duration. Left out: what policy says is usual." example:"PT1H"`
	Justification string      `json:"justification,omitempty" doc:"Why access is needed." example:"INC-1042 disk full"`
	BreakGlass    bool        `json:"breakGlass,omitempty" doc:"Open at once, without approval, for those whom policy names. Everybody is told and a review is due."`
}

// NewTarget is one VM to reach.
type NewTarget struct {
	VM    string `json:"vm,omitempty" doc:"ARM id of the virtual machine."`
	Ports []Port `json:"ports,omitempty" doc:"Ports to open, 1 to 20."`
}

// Port is a destination port.
type Port struct {
	Port     int    `json:"port,omitempty" example:"22"`
	Protocol string `json:"protocol,omitempty" doc:"TCP, UDP or * (any)." example:"TCP"`
}

// Request is a request for access and what became of it.
type Request struct {
	ID            string     `json:"id"`
	State         string     `json:"state" doc:"Derived from the targets." enum:"Pending,AwaitingApproval,Approved,Active,Closing,Denied,Rejected,Lapsed,Cancelled,Failed,Expired,Revoked"`
	Requester     Person     `json:"requester"`
	Source        string     `json:"source"`
	Duration      string     `json:"duration"`
	Justification string     `json:"justification,omitempty"`
	CreatedAt     time.Time  `json:"createdAt"`
	ExpiresAt     *time.Time `json:"expiresAt,omitempty" doc:"When the last target ends."`
	BreakGlass    bool       `json:"breakGlass,omitempty"`
	DecideBy      *time.Time `json:"decideBy,omitempty" doc:"When it lapses unless it is decided."`
	Votes         []Vote     `json:"votes,omitempty"`
	Extensions    int        `json:"extensions,omitempty" doc:"How many times it was extended."`
	Review        *Review    `json:"review,omitempty" doc:"Due after the glass was broken."`
	Targets       []Target   `json:"targets"`
}

// Vote is one approver's word.
type Vote struct {
	By      Person    `json:"by"`
	Via     *Person   `json:"via,omitempty" doc:"The workflow that vouches for it."`
	Agrees  bool      `json:"agrees"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// Review is what is due after somebody broke the glass.
type Review struct {
	DueAt    time.Time  `json:"dueAt"`
	Overdue  bool       `json:"overdue,omitempty"`
	By       *Person    `json:"by,omitempty" doc:"Who closed it."`
	Comment  string     `json:"comment,omitempty"`
	ClosedAt *time.Time `json:"closedAt,omitempty"`
}

// NewVote is the body of POST /api/requests/{id}/approve and deny.
type NewVote struct {
	Comment  string  `json:"comment,omitempty" doc:"Up to 1,000 characters."`
	Approver *Person `json:"approver,omitempty" doc:"Only from a workflow: who it was that decided. Object id needed."`
}

// NewExtension is the body of POST /api/requests/{id}/extend.
type NewExtension struct {
	Duration string `json:"duration,omitempty" doc:"How much longer, as an ISO 8601 duration." example:"PT30M"`
}

// NewReview is the body of POST /api/requests/{id}/review.
type NewReview struct {
	Comment string `json:"comment,omitempty" doc:"What was done, and whether it was right."`
}

// Approval is whose consent is needed.
type Approval struct {
	Quorum    int          `json:"quorum" doc:"How many distinct people."`
	Within    string       `json:"within" doc:"Time to decide, as an ISO 8601 duration."`
	Approvers []Principals `json:"approvers,omitempty" doc:"An approver is among each of these; none: whoever may approve at all."`
	Policies  []string     `json:"policies" doc:"Those that ask for it."`
}

// Principals names people and applications; one match suffices.
type Principals struct {
	Roles        []string `json:"roles,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	Users        []string `json:"users,omitempty"`
	Applications []string `json:"applications,omitempty"`
}

// Person is who asked.
type Person struct {
	Object string `json:"object" doc:"Entra object id."`
	Name   string `json:"name" doc:"For reading only; rights never hang on it."`
}

// Target is one VM of a request and its outcome.
type Target struct {
	VM        string     `json:"vm"`
	Ports     []Port     `json:"ports"`
	State     string     `json:"state"`
	Reason    *Reason    `json:"reason,omitempty" doc:"Why it was denied or failed."`
	Unmet     []Unmet    `json:"unmet,omitempty" doc:"Every condition that was not met, when it was denied."`
	Approval  *Approval  `json:"approval,omitempty" doc:"Whose consent it needs."`
	Warning   *Reason    `json:"warning,omitempty" doc:"Why it may not work although it is open: a rule of others stops it."`
	Policy    string     `json:"policy,omitempty" doc:"Scope, version and hash of the policies that decided."`
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	OpenedAt  *time.Time `json:"openedAt,omitempty" doc:"When Azure confirmed the last rule."`
	EndedAt   *time.Time `json:"endedAt,omitempty"`
	NSGs      []Opening  `json:"nsgs,omitempty"`
}

// Reason tells why a target is not open.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Unmet is one condition that an ask does not meet.
type Unmet struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Policy string `json:"policy,omitempty" doc:"Which policy says so, with its version."`
	Passes string `json:"passes,omitempty" doc:"What would pass."`
}

// Opening is a target's part in one network security group.
type Opening struct {
	NSG   string   `json:"nsg" doc:"ARM id."`
	Rules []string `json:"rules" doc:"Names of the security rules."`
	State string   `json:"state" enum:"opening,open,closed" doc:"As last confirmed by Azure."`
}

// RequestPage is a page of requests, newest first.
type RequestPage struct {
	Requests []Request `json:"requests"`
	Next     string    `json:"next,omitempty" doc:"Send as ?cursor= for the next page; absent on the last."`
}

// Event is one line of a request's record.
type Event struct {
	Sequence int       `json:"sequence"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Actor    string    `json:"actor" doc:"Object id, or jitgate."`
	Name     string    `json:"name,omitempty"`
	VM       string    `json:"vm,omitempty"`
	NSG      string    `json:"nsg,omitempty"`
	Rule     string    `json:"rule,omitempty" doc:"Name of the security rule; of several, with commas between them."`
	Policy   string    `json:"policy,omitempty"`
	Text     string    `json:"text"`
}

// EventList is the record of a request.
type EventList struct {
	Events []Event `json:"events"`
}

// Policy is a policy document in force.
type Policy struct {
	Scope    string            `json:"scope"`
	Tags     map[string]string `json:"tags,omitempty"`
	Enforced bool              `json:"enforced,omitempty" doc:"A guardrail."`
	Key      string            `json:"key" doc:"Of the document: a later one of the same key replaces it."`
	Version  int               `json:"version"`
	Hash     string            `json:"hash" doc:"SHA-256 of the document's canonical form."`
	Document string            `json:"document" doc:"As it was handed in."`
}

// PolicyList holds the policies in force, ordered by scope.
type PolicyList struct {
	Policies []Policy `json:"policies"`
}

// NewPolicy is the body of PUT /api/policies and PUT /api/alerts/rules.
type NewPolicy struct {
	Document string `json:"document,omitempty" doc:"The document in YAML or JSON."`
}
