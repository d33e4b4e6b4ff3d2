package access

import (
	"context"
	"net/netip"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
)

// Store keeps requests with their events, and grants by NSG. Any method may
// return an error that wraps [ErrUnavailable]; a write that returned it may or
// may not have happened.
type Store interface {
	// InsertRequest saves a new request and its events as one transaction and makes
	// it visible to List. Returns ErrExists when the id is taken.
	InsertRequest(ctx context.Context, r Request, events []audit.Event) error
	// Request returns ErrNotFound when there is none.
	Request(ctx context.Context, id string) (Request, error)
	// UpdateRequest reads the request, lets change edit it and saves it with the
	// events change returns as one transaction, unless the request was changed by
	// somebody else meanwhile: then all of it happens again. A change that returns no
	// events saves nothing. An error of change is returned as it is. The result is
	// the request as it stands in the store afterwards.
	UpdateRequest(ctx context.Context, id string, change func(*Request) ([]audit.Event, error)) (Request, error)
	// WithdrawRequest deletes a request that was never accepted.
	WithdrawRequest(ctx context.Context, id string) error
	// MarkTold notes up to which event of a request's record the notices of each given
	// channel went out. It never goes back. Nothing else of the request changes.
	MarkTold(ctx context.Context, id string, told map[string]int) error
	// Events returns the record of a request in order.
	Events(ctx context.Context, id string) ([]audit.Event, error)
	// List returns one page, newest first.
	List(ctx context.Context, q Query) (Page, error)

	// PutGrants adds grants that the NSG does not have yet, marks those given as
	// Closing as closing (adding them if need be), gives one that ends later than the
	// one that is there its new end (it then is neither Opened nor has it a WakeUp),
	// leaves all others as they are, and bumps the generation, in one transaction. It
	// returns the new generation and the given grants as they now stand.
	PutGrants(ctx context.Context, id armid.ID, grants []Grant) (int64, []Grant, error)
	// SetWakeUp notes the scheduled message of a request's grants in an NSG. Grants
	// that are gone are skipped.
	SetWakeUp(ctx context.Context, id armid.ID, request string, sequence int64) error
	// Touch bumps the generation so that the next nudge looks at the NSG itself. It
	// creates the head of an NSG that has none. It returns the new generation.
	Touch(ctx context.Context, id armid.ID) (int64, error)
	// Head returns ErrNotFound for an NSG that never had a grant.
	Head(ctx context.Context, id armid.ID) (Head, error)
	// Book returns ErrNotFound for an NSG that never had a grant.
	Book(ctx context.Context, id armid.ID) (Book, error)
	// Settle records what one enforcement achieved: grants confirmed open, grants
	// confirmed gone (their rows are deleted), the same for guards, the generation
	// that was enforced and the next expiry. Grants added meanwhile are not touched,
	// nor is a guard that was replaced by another revision meanwhile.
	Settle(ctx context.Context, id armid.ID, s Settlement) error
	// Books calls f for every NSG that ever had a grant or a guard, with both.
	Books(ctx context.Context, f func(Book) error) error

	// PutGuard adds a machine's guard to an NSG, or replaces one of a smaller
	// revision, and bumps the generation, in one transaction. A guard of the same or
	// a greater revision is left as it is; the generation is bumped all the same. It
	// returns the new generation.
	PutGuard(ctx context.Context, id armid.ID, g Guard) (int64, error)
	// Protection returns ErrNotFound for a machine that never was protected.
	Protection(ctx context.Context, vm armid.ID) (Protection, error)
	// UpdateProtection is UpdateRequest for the protection of a machine. One that
	// does not exist is shown to change as a Protection with only VM set, and is
	// created if change returns events.
	UpdateProtection(ctx context.Context, vm armid.ID, change func(*Protection) ([]audit.Event, error)) (Protection, error)
	// Protections calls f for every protection, ended ones included.
	Protections(ctx context.Context, f func(Protection) error) error
	// ProtectionEvents returns the record of a machine in order; none for one that
	// never was protected.
	ProtectionEvents(ctx context.Context, vm armid.ID) ([]audit.Event, error)
	// Note appends events to the record of an NSG: what others did to it. Their
	// Sequence is set by the store.
	Note(ctx context.Context, id armid.ID, events []audit.Event) error
	// Notes returns the record of an NSG in order.
	Notes(ctx context.Context, id armid.ID) ([]audit.Event, error)
}

// Settlement is the outcome of one enforcement, see [Store.Settle].
type Settlement struct {
	Enforced int64 // not recorded when smaller than what is recorded already; 0 = the NSG does not match yet
	NextDue  time.Time
	Opened   []string       // grant keys
	Closed   []string       // grant keys
	Guarded  map[string]int // guard keys confirmed as wanted, with the revision that was
	Hindered map[string]int // guard keys confirmed once and not true any more
	LetGo    map[string]int // guard keys whose Former covers are confirmed gone; they are forgotten
	Released map[string]int // guard keys whose rows go, with the revision that was carried out
}

// Query selects requests. Zero fields select everything.
type Query struct {
	State      State
	Unfinished bool // only requests that have not ended
	VM         armid.ID
	Requester  Person
	ReviewDue  bool   // only requests whose review after breaking the glass is open
	Limit      int    // 1–200; 0 = 50
	Cursor     string // from Page.Next
}

// Page is a part of a list.
type Page struct {
	Requests []Request
	Next     string // empty on the last page
}

// Queue sends nudges. Messages carry ids and nothing else.
type Queue interface {
	// Evaluate asks for a look at a request. events, how many its record holds, makes
	// the message's id deterministic, so that a repeat within the queue's window is
	// dropped and a look for the sake of a later change is not.
	Evaluate(ctx context.Context, request string, events int) error
	// EvaluateAt asks for it at a later time: a decision is overdue by then, or an end
	// near.
	EvaluateAt(ctx context.Context, request string, at time.Time) error
	// Signal asks for an alert to be carried out. One that was filed at another time under
	// the same key is other news, and no repeat of it.
	Signal(ctx context.Context, key string, filed time.Time) error
	// Tell asks for the notices of a request to be sent, or those of the ledger when
	// request is empty; events as in Evaluate.
	Tell(ctx context.Context, request string, events int) error
	// TellAt asks for it at a later time, after a channel could not be reached.
	TellAt(ctx context.Context, request string, at time.Time) error
	// Enforce asks for a look at an NSG now. The generation makes the message's id
	// deterministic, so that a repeat within the queue's window is dropped.
	Enforce(ctx context.Context, id armid.ID, generation int64) error
	// EnforceAt asks for a look at an NSG at a later time and returns the sequence
	// number that CancelWakeUp takes.
	EnforceAt(ctx context.Context, id armid.ID, request string, at time.Time) (int64, error)
	// CancelWakeUp takes back a scheduled message. One that has fired or was
	// cancelled before is no error.
	CancelWakeUp(ctx context.Context, sequence int64) error
}

// Network reads machines and NSGs and writes rules.
type Network interface {
	// Tags returns the tags of a VM. Errors as Locate.
	Tags(ctx context.Context, vm armid.ID) (map[string]string, error)
	// Locate finds the interfaces of a VM and what stands before them. Errors: a
	// Refusals error with the codes VMNotFound (Azure says that the VM does not
	// exist) or NoInterface; ErrUnavailable; ErrForbidden, also for a subscription
	// that Azure does not show us.
	Locate(ctx context.Context, vm armid.ID) (Machine, error)
	// Match makes an NSG equal to what plan asks for: it reads the NSG, calls plan,
	// writes, and reads again until plan has nothing left to change. plan is called
	// again whenever somebody else got in between, so it must be repeatable; a plan
	// without changes ends it.
	// Returns ErrNotFound when the NSG does not exist, ErrUnavailable when the NSG
	// could not be made to match this time.
	Match(ctx context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (Outcome, error)
	// Group reads one NSG. Errors: ErrNotFound, ErrUnavailable, ErrForbidden.
	Group(ctx context.Context, id armid.ID) (nsg.Group, error)
	// Members lists the private addresses in every application security group of a
	// subscription, by lower-cased id.
	Members(ctx context.Context, subscription string) (map[string][]netip.Addr, error)
	// Estate reads everything in a subscription by lists: a handful of calls per
	// hundred machines. What Azure does not let us see is missing from it without an
	// error, so absence proves nothing.
	Estate(ctx context.Context, subscription string) (Estate, error)
	// Machines calls f for every VM of a subscription.
	Machines(ctx context.Context, subscription string, f func(armid.ID) error) error
}

// Outcome is an NSG after Match.
type Outcome struct {
	Group    nsg.Group        // as last read; the plan's changes are in it, except:
	Refused  map[string]error // rules whose change Azure refused for good, by name; "" stands for FlushConnection
	Unplaced []nsg.Unplaced   // wanted rules that had no place
	Writes   int              // how many writes it took
}

// Rights says what Azure RBAC lets a person do on a machine, as app roles. It is
// only asked in installations that let Azure RBAC decide.
type Rights interface {
	// Roles returns the app roles that somebody has on a VM by Azure's role assignments, those
	// by way of groups included. An assignment with a condition that is not understood
	// gives nothing. Errors: ErrUnavailable, ErrForbidden.
	Roles(ctx context.Context, who Person, vm armid.ID) ([]string, error)
}
