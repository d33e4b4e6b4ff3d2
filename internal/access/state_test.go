package access_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"jitgate/internal/access"
)

// legal spells out every move there is; all others must be refused.
var legal = map[access.State]map[access.Move]access.State{
	access.Pending: {access.AskApproval: access.AwaitingApproval, access.Approve: access.Approved,
		access.Deny: access.Denied, access.Cancel: access.Cancelled},
	access.AwaitingApproval: {access.Approve: access.Approved, access.Deny: access.Denied, access.Reject: access.Rejected,
		access.Lapse: access.Lapsed, access.Cancel: access.Cancelled},
	access.Approved: {access.Confirm: access.Active, access.Fail: access.Failed, access.Revoke: access.Closing},
	access.Active:   {access.Expire: access.Closing, access.Revoke: access.Closing},
	access.Closing:  {access.Complete: access.Revoked}, // with Ending set to Revoked below
}

func TestEveryMoveFromEveryState(t *testing.T) {
	for _, from := range access.States {
		for _, move := range access.Moves {
			target := access.Target{State: from, Openings: []access.Opening{{Open: true}}}
			if from == access.Closing {
				target.Ending = access.Revoked
			}
			before := target.State
			err := target.Apply(move)
			to, ok := legal[from][move]
			switch {
			case ok && (err != nil || target.State != to):
				t.Errorf("%s from %s: got %s, %v; want %s", move, from, target.State, err, to)
			case !ok && !errors.Is(err, access.ErrIllegalMove):
				t.Errorf("%s from %s: got %v; want ErrIllegalMove", move, from, err)
			case !ok && target.State != before:
				t.Errorf("%s from %s: the refused move changed the state to %s", move, from, target.State)
			}
		}
	}
}

func TestActiveNeedsEveryOpening(t *testing.T) {
	for _, openings := range [][]access.Opening{nil, {{Open: false}}, {{Open: true}, {Open: false}}} {
		target := access.Target{State: access.Approved, Openings: openings}
		if err := target.Apply(access.Confirm); !errors.Is(err, access.ErrIllegalMove) || target.State != access.Approved {
			t.Errorf("confirmed with openings %+v: %v", openings, err)
		}
	}
}

func TestTheEndRemembersItsCause(t *testing.T) {
	for move, end := range map[access.Move]access.State{access.Expire: access.Expired, access.Revoke: access.Revoked} {
		target := access.Target{State: access.Active}
		if err := errors.Join(target.Apply(move), target.Apply(access.Complete)); err != nil || target.State != end {
			t.Errorf("after %s: %s, %v", move, target.State, err)
		}
	}
}

// Whatever happens to a target, it never leaves an end state, and it is never
// recorded as expired or revoked without having been Closing first.
func TestMovesNeverEscapeAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := access.Target{State: access.Pending, Openings: []access.Opening{{Open: true}}}
		for range rapid.IntRange(1, 30).Draw(t, "moves") {
			before := target.State
			_ = target.Apply(rapid.SampledFrom(access.Moves).Draw(t, "move"))
			if before.Ended() && target.State != before {
				t.Fatalf("left %s for %s", before, target.State)
			}
			if (target.State == access.Expired || target.State == access.Revoked) && before != target.State && before != access.Closing {
				t.Fatalf("%s without closing, from %s", target.State, before)
			}
		}
	})
}

func TestRequestStateIsDerived(t *testing.T) {
	for _, c := range []struct {
		targets []access.State
		want    access.State
	}{
		{[]access.State{access.Pending}, access.Pending},
		{[]access.State{access.Active, access.Pending}, access.Pending},
		{[]access.State{access.Active, access.Approved}, access.Approved},
		{[]access.State{access.Active, access.Denied}, access.Active},
		{[]access.State{access.Closing, access.Active}, access.Closing},
		{[]access.State{access.Expired, access.Denied}, access.Expired},
		{[]access.State{access.Failed, access.Denied}, access.Failed},
		{[]access.State{access.Denied, access.Denied}, access.Denied},
		{[]access.State{access.Cancelled, access.Denied}, access.Cancelled},
	} {
		r := access.Request{}
		for _, s := range c.targets {
			r.Targets = append(r.Targets, access.Target{State: s})
		}
		if got := r.State(); got != c.want {
			t.Errorf("%v: %s, want %s", c.targets, got, c.want)
		}
		for _, s := range access.States {
			r := access.Request{Targets: []access.Target{{State: s}}}
			if r.State() != s {
				t.Errorf("one target %s gives %s", s, r.State())
			}
		}
	}
}
