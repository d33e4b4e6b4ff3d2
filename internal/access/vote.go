package access

import (
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
	Guest            bool // of another tenant than home
}

// Actor is who acts, with the rights they have at that moment.
type Actor struct {
	Person
	Standing
}

// subject is the actor as policies know people.
func (a Actor) subject() policy.Subject {
	return policy.Subject{Object: a.Object, Name: a.Name, Tenant: a.Tenant, Guest: a.Guest, Roles: a.Roles, Groups: a.Groups, GroupsIncomplete: a.GroupsIncomplete, Application: a.Application}
}

// Vote is one approver's word on a request.
type Vote struct {
	By      Actor
	Via     Person // the workflow that vouches for By; zero when By signed in here
	Agrees  bool
	Comment string
	At      time.Time
}

const (
	Granted Result = "granted" // open everywhere
	Refused Result = "denied"  // it will not open: denied, rejected, lapsed, cancelled or failed
	Over    Result = "expired" // it was open and is closed again
)
