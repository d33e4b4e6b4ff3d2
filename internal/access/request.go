package access

import (
	"net/netip"
	"slices"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// Person is who acts. Rights hang on Tenant and Object; Name is for reading.
type Person struct {
	Tenant string // Entra tenant id (tid)
	Object string // Entra object id (oid)
	Name   string // user principal name or application name as the token showed it
}

// Same compares by what cannot be changed by its owner.
func (p Person) Same(o Person) bool { return p.Tenant == o.Tenant && p.Object == o.Object }

// Request is what somebody asked for and what became of it.
type Request struct {
	ID            string // UUID
	Requester     Person
	Standing      Standing // the requester's, when they asked
	Source        netip.Prefix
	Duration      time.Duration
	Justification string
	CreatedAt     time.Time
	Fingerprint   string // of what was asked, to tell a repeat from a reused Idempotency-Key
	Targets       []Target

	BreakGlass bool      // asked for at once, whatever policy says about approval; it is reviewed afterwards
	DecideBy   time.Time // while it awaits approval: when it lapses
	Votes      []Vote
	Review     *Review
	Extensions int // how many times it was extended
	Callbacks  []Callback

	// Told holds, for each channel that was configured when the request was made or was
	// told of it since, up to which event of the record its notices went out.
	Told   map[string]int
	Events int // how many events its record holds
}

// Target is one VM of a request. Each has its own state and outcome.
type Target struct {
	VM        armid.ID
	Ports     []policy.Port
	State     State
	Ending    State             // while Closing: Expired or Revoked
	Reason    Reason            // why it was denied or failed
	Unmet     Refusals          // every condition that was not met, when it was denied
	Warning   Reason            // why it may not work although it is open
	Policy    string            // which policies decided: scope, version and hash
	Tags      map[string]string // of the VM when it was last looked at; only if a policy wanted to know
	Approval  *policy.Approval  // what was last asked for; nil if nothing
	ExpiresAt time.Time
	Reminded  bool // it is on record that the end is near
	OpenedAt  time.Time
	EndedAt   time.Time
	Ways      []Interface // those that are opened, as they were at the approval
	Openings  []Opening   // one per NSG on the way to the VM
}

// Reason tells why a target is not open, as a stable code and a sentence.
type Reason struct {
	Code     Code
	Sentence string
}

// Opening is the part of a target's access that lies in one NSG. It is fixed when
// the target is approved, so that repeating the work after a crash repeats the
// same work.
type Opening struct {
	NSG       armid.ID
	Addresses []netip.Addr // of the VM, of the family of the source
	Rules     []PlannedRule
	Open      bool      // ARM confirmed every rule
	Until     time.Time // the end that the confirmed rules bear
	Closed    bool      // ARM confirmed that every rule is gone
	Stuck     bool      // it is on record that Azure refuses to remove a rule
}

// PlannedRule is a security rule as planned at approval.
type PlannedRule struct {
	Name     string
	Protocol nsg.Protocol
	Ports    []uint16
}

// State is derived from the targets.
func (r *Request) State() State { return deriveState(r.Targets) }

// ExpiresAt is when the last target ends; zero while nothing was approved.
func (r *Request) ExpiresAt() time.Time {
	var last time.Time
	for _, t := range r.Targets {
		if t.ExpiresAt.After(last) {
			last = t.ExpiresAt
		}
	}
	return last
}

func (t *Target) allOpen() bool {
	return len(t.Openings) > 0 && !slices.ContainsFunc(t.Openings, func(o Opening) bool { return !o.Open })
}

func (t *Target) allClosed() bool {
	return !slices.ContainsFunc(t.Openings, func(o Opening) bool { return !o.Closed })
}

// opening finds the target's part in an NSG, nil if it has none.
func (t *Target) opening(id armid.ID) *Opening {
	for i := range t.Openings {
		if t.Openings[i].NSG.Equal(id) {
			return &t.Openings[i]
		}
	}
	return nil
}

// requester is who asked, with the rights they had then.
func (r *Request) requester() Actor { return Actor{r.Requester, r.Standing} }

// Extending reports whether the request is open and some rule of it does not bear its
// later end yet.
func (r *Request) Extending() bool {
	return r.State() == Active && slices.ContainsFunc(r.Targets, func(t Target) bool { return t.toBeOpened() })
}

// Finished reports whether the request has ended, nothing of it is left in any NSG,
// nothing is due about it, and everybody was told who is to be.
func (r *Request) Finished() bool {
	if r.Review.Open() || len(r.openCallbacks()) > 0 {
		return false
	}
	for _, upTo := range r.Told {
		if upTo < r.Events {
			return false
		}
	}
	for i := range r.Targets {
		t := &r.Targets[i]
		if !t.State.Ended() || slices.ContainsFunc(t.Openings, func(o Opening) bool { return mustGo(t, &o) }) {
			return false
		}
	}
	return true
}

// record collects the events of one change to a request. The store numbers and
// saves them together with the request.
type record struct {
	at     time.Time
	by     Person
	events []audit.Event
}

func (rec *record) add(kind audit.Kind, t *Target, e audit.Event) {
	e.At, e.Kind, e.Actor, e.Name = rec.at, kind, rec.by.Object, rec.by.Name
	if t != nil {
		e.VM = t.VM.String()
	}
	rec.events = append(rec.events, e)
}

// jitgate is the actor of what the service does by itself.
var jitgate = Person{Object: audit.System, Name: audit.System}
