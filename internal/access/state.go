package access

import (
	"errors"
	"fmt"
)

// State is where a target stands. A request's state is derived from its targets.
type State string

const (
	Pending          State = "Pending"          // saved, not yet decided
	AwaitingApproval State = "AwaitingApproval" // policy wants a person to agree
	Approved         State = "Approved"         // decided, rules not yet confirmed
	Active           State = "Active"           // ARM confirmed every rule
	Closing          State = "Closing"          // to be removed, removal not yet confirmed
	Denied           State = "Denied"           // policy or the machine rules it out
	Rejected         State = "Rejected"         // an approver said no
	Lapsed           State = "Lapsed"           // nobody decided in time
	Cancelled        State = "Cancelled"        // taken back before a decision
	Failed           State = "Failed"           // approved, but could not be opened
	Expired          State = "Expired"          // ran its time; ARM confirmed the removal
	Revoked          State = "Revoked"          // ended early; ARM confirmed the removal
)

// States lists all states in the order of a request's life.
var States = []State{Pending, AwaitingApproval, Approved, Active, Closing,
	Denied, Rejected, Lapsed, Cancelled, Failed, Expired, Revoked}

// Ended reports whether nothing will change any more.
func (s State) Ended() bool {
	switch s {
	case Denied, Rejected, Lapsed, Cancelled, Failed, Expired, Revoked:
		return true
	}
	return false
}

// Live reports whether access in this state is meant to be open.
func (s State) Live() bool { return s == Approved || s == Active }

// Move is something that happens to a target.
type Move string

const (
	AskApproval Move = "ask-approval" // policy wants an approval
	Approve     Move = "approve"      // policy, or the last approver, agrees
	Deny        Move = "deny"         // policy or the machine rules it out
	Reject      Move = "reject"       // an approver refuses
	Lapse       Move = "lapse"        // time to decide is over
	Cancel      Move = "cancel"       // the requester takes it back
	Confirm     Move = "confirm"      // ARM confirmed every rule
	Fail        Move = "fail"         // it cannot be opened
	Expire      Move = "expire"       // its time is over
	Revoke      Move = "revoke"       // somebody ends it early
	Complete    Move = "complete"     // ARM confirmed that every rule is gone
)

// Moves lists all moves.
var Moves = []Move{AskApproval, Approve, Deny, Reject, Lapse, Cancel, Confirm, Fail, Expire, Revoke, Complete}

// ErrIllegalMove says that a target cannot make a move from where it is.
var ErrIllegalMove = errors.New("illegal move")

type transition struct {
	from  State
	move  Move
	to    State
	guard func(*Target) bool // nil = always
}

func became(end State) func(*Target) bool {
	return func(t *Target) bool { return t.Ending == end }
}

// transitions is the whole life of a target. Closing remembers why it was entered
// (Target.Ending), because the end is only reached once ARM confirmed the removal.
var transitions = []transition{
	{Pending, AskApproval, AwaitingApproval, nil},
	{Pending, Approve, Approved, nil},
	{Pending, Deny, Denied, nil},
	{Pending, Cancel, Cancelled, nil},
	{AwaitingApproval, Approve, Approved, nil},
	{AwaitingApproval, Deny, Denied, nil},
	{AwaitingApproval, Reject, Rejected, nil},
	{AwaitingApproval, Lapse, Lapsed, nil},
	{AwaitingApproval, Cancel, Cancelled, nil},
	{Approved, Confirm, Active, (*Target).allOpen},
	{Approved, Fail, Failed, nil},
	{Approved, Revoke, Closing, nil},
	{Active, Expire, Closing, nil},
	{Active, Revoke, Closing, nil},
	{Closing, Complete, Expired, became(Expired)},
	{Closing, Complete, Revoked, became(Revoked)},
}

// Apply makes the move or returns [ErrIllegalMove] and leaves t as it was.
func (t *Target) Apply(m Move) error {
	for _, tr := range transitions {
		if tr.from != t.State || tr.move != m || (tr.guard != nil && !tr.guard(t)) {
			continue
		}
		switch m {
		case Expire:
			t.Ending = Expired
		case Revoke:
			t.Ending = Revoked
		}
		t.State = tr.to
		return nil
	}
	return fmt.Errorf("%w: %s from %s", ErrIllegalMove, m, t.State)
}

// deriveState folds the states of targets into the state of their request: what
// still has to happen outranks what is over, and access that existed outranks
// access that never did.
func deriveState(targets []Target) State {
	order := []State{Pending, AwaitingApproval, Approved, Closing, Active,
		Revoked, Expired, Failed, Rejected, Lapsed, Cancelled, Denied}
	for _, s := range order {
		for i := range targets {
			if targets[i].State == s {
				return s
			}
		}
	}
	return Pending
}
