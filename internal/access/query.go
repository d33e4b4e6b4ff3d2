package access

import (
	"slices"
	"strings"

	"jitgate/internal/armid"
)

// Narrow adds a state and a VM, as a caller wrote them, to the query. Empty text
// adds nothing.
func (q *Query) Narrow(state, vm string) error {
	var c check
	if state != "" {
		at := slices.IndexFunc(States, func(s State) bool { return strings.EqualFold(string(s), state) })
		if at < 0 {
			names := make([]string, len(States))
			for i, s := range States {
				names[i] = string(s)
			}
			c.fault(StateUnknown, "state", "%q is not a state; send one of %s.", clip(state), strings.Join(names, ", "))
		} else {
			q.State = States[at]
		}
	}
	if vm != "" {
		id, err := armid.ParseType(vm, armid.VirtualMachine)
		if err != nil {
			c.fault(VMIDInvalid, "vm", "%q is not the id of a virtual machine.", clip(vm))
		}
		q.VM = id
	}
	if len(c.faults) > 0 {
		return c.faults
	}
	return nil
}

// Matches reports whether a request is what the query asks for.
func (q *Query) Matches(r *Request) bool {
	if q.State != "" && r.State() != q.State {
		return false
	}
	if q.Unfinished && r.Finished() {
		return false
	}
	if q.ReviewDue && !r.Review.Open() {
		return false
	}
	if q.Requester != (Person{}) && !r.Requester.Same(q.Requester) {
		return false
	}
	return q.VM.IsZero() || slices.ContainsFunc(r.Targets, func(t Target) bool { return t.VM.Equal(q.VM) })
}
