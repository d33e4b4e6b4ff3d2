package access

import (
	"slices"
	"time"

	"jitgate/internal/policy"
)

// Standing is what a checked token said about the rights of whoever acts, as it was
// when they acted. Policies are asked with it again later, because a token lives for
// an hour and a request may wait for days.
type Standing struct {
	Roles, Groups    []string
	GroupsIncomplete bool // in more groups than a token names: Groups is empty and says nothing
	Application      bool // no person is behind the token
}

// Actor is who acts, with the rights they have at that moment.
type Actor struct {
	Person
	Standing
}

// subject is the actor as policies know people.
func (a Actor) subject() policy.Subject {
	return policy.Subject{Object: a.Object, Name: a.Name, Roles: a.Roles, Groups: a.Groups, Application: a.Application}
}

// Vote is one approver's word on a request.
type Vote struct {
	By      Actor
	Via     Person // the workflow that vouches for By; zero when By signed in here
	Agrees  bool
	Comment string
	At      time.Time
}

// Review is what is due after somebody broke the glass: somebody else looks at what
// was done and says so.
type Review struct {
	DueAt    time.Time
	Overdue  bool // it is on record that it was not closed in time
	By       Person
	Comment  string
	ClosedAt time.Time // zero while it is open
}

// Open reports whether the review is still to be closed.
func (v *Review) Open() bool { return v != nil && v.ClosedAt.IsZero() }

// Callback is a workflow that waits to hear what became of a request (Logic Apps'
// HttpWebhook action). Its URL lets whoever has it answer in the workflow's place, so
// only its sealed form is kept.
type Callback struct {
	ID     string   // keyed hash of the URL
	Sealed string   // see [Messenger]; empty once it is done
	Events []Result // what it waits for; the first that comes true is told
	At     time.Time
	Done   bool // told, given up or cancelled
}

// Result is what a workflow may wait for.
type Result string

const (
	Granted Result = "granted" // open everywhere
	Refused Result = "denied"  // it will not open: denied, rejected, lapsed, cancelled or failed
	Over    Result = "expired" // it was open and is closed again
)

// Results lists all results.
var Results = []Result{Granted, Refused, Over}

// Result tells which outcome the request has come to; empty while there is none.
func (r *Request) Result() Result {
	switch s := r.State(); {
	case s == Active:
		return Granted
	case s == Expired, s == Revoked:
		return Over
	case s.Ended():
		return Refused
	}
	return ""
}

// open are the callbacks that still wait.
func (r *Request) openCallbacks() []Callback {
	return slices.DeleteFunc(slices.Clone(r.Callbacks), func(c Callback) bool { return c.Done })
}
