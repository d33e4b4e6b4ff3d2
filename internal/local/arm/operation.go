package arm

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Operation states on the wire.
const (
	inProgress = "InProgress"
	succeeded  = "Succeeded"
	failed     = "Failed"
	canceled   = "Canceled"
)

// operation is one long-running write. Nothing runs in the background: settle
// finishes every operation whose time has come before the next call looks.
type operation struct {
	id      string
	name    string // as in Azure's messages, PutSecurityRuleOperation
	path    string // of its status, without the api-version
	due     time.Time
	outcome *outcome // an ordered end other than success
	status  string
	failure *failure
	commit  func() // makes the change real; nil once finished
	undo    func()
}

// outcome is an ordered end of an operation.
type outcome struct {
	superseded    bool
	code, message string
}

// begin registers a write that has been accepted. commit runs when it succeeds,
// undo when it does not.
func (s *Server) begin(c *call, provider, location, name string, commit, undo func()) *operation {
	op := &operation{
		id: uuid.NewString(), name: name, due: s.clock.Now().Add(s.latency),
		outcome: take(&s.outcomes, c.kind), status: inProgress, commit: commit, undo: undo,
	}
	op.path = fmt.Sprintf("/subscriptions/%s/providers/%s/locations/%s/operations/%s", c.subscription(), provider, location, op.id)
	s.operations[op.id] = op
	s.running = append(s.running, op)
	return op
}

// settle finishes, in the order they fall due, all operations whose time has come.
func (s *Server) settle() {
	now := s.clock.Now()
	var due []*operation
	s.running = slices.DeleteFunc(s.running, func(op *operation) bool {
		if op.status == inProgress && op.due.After(now) {
			return false
		}
		if op.status == inProgress {
			due = append(due, op)
		}
		return true
	})
	slices.SortStableFunc(due, func(a, b *operation) int { return a.due.Compare(b.due) })
	for _, op := range due {
		commit, undo := op.commit, op.undo
		switch {
		case op.outcome == nil:
			op.end(succeeded, nil)
			commit()
		case op.outcome.superseded:
			op.end(canceled, overtaken(op, op.name, uuid.NewString()))
			if s.survive { // as if the one that overtook it had carried it along
				commit()
			} else {
				undo()
			}
		default:
			op.end(failed, &failure{Code: op.outcome.code, Message: op.outcome.message})
			undo()
		}
	}
}

// end closes an operation without touching what it worked on.
func (op *operation) end(status string, f *failure) {
	op.status, op.failure = status, f
	op.commit, op.undo = nil, nil // they hold on to the state of before
}

// overtaken is how Azure reports a write cancelled by a later one on the same NSG
// (azure-cli#21156).
func overtaken(op *operation, byName, byID string) *failure {
	return &failure{Code: "Canceled", Message: "Operation was canceled.", Details: []detail{{
		Code: "CanceledAndSupersededDueToAnotherOperation",
		Message: fmt.Sprintf("Operation %s (%s) was canceled and superseded by operation %s (%s).",
			op.name, op.id, byName, byID)}}}
}

// accepted adds the headers by which a client follows the operation. Location is
// for DELETE only: the recorded PUT had none.
func (op *operation) accepted(c *call, a *answer) *answer {
	a.header = map[string]string{
		"Azure-AsyncOperation":        c.link(op.path, nil),
		"azure-asyncnotification":     "Enabled",
		"x-ms-arm-service-request-id": uuid.NewString(),
	}
	if a.status == http.StatusAccepted {
		a.header["Location"] = c.link(op.resultPath(), nil)
	}
	return a
}

func (op *operation) resultPath() string {
	cut := len(op.path) - len("operations/"+op.id)
	return op.path[:cut] + "operationResults/" + op.id
}

// find returns the operation the path names, which must be one of its subscription.
func (s *Server) find(c *call) *operation {
	op := s.operations[key(c.values[len(c.values)-1])]
	if op == nil || len(op.path) < len(c.subscription()) || key(op.path[len("/subscriptions/"):][:36]) != key(c.subscription()) {
		return nil
	}
	return op
}

func (s *Server) getOperation(c *call) *answer {
	op := s.find(c)
	if op == nil {
		return refuse(http.StatusNotFound, "OperationNotFound", "The operation %s was not found.", c.values[len(c.values)-1])
	}
	body := map[string]any{"status": op.status}
	if op.failure != nil {
		body["error"] = op.failure
	}
	return ok(body)
}

func (s *Server) getOperationResult(c *call) *answer {
	op := s.find(c)
	switch {
	case op == nil:
		return refuse(http.StatusNotFound, "OperationNotFound", "The operation %s was not found.", c.values[len(c.values)-1])
	case op.status == inProgress:
		return op.accepted(c, &answer{status: http.StatusAccepted})
	case op.failure != nil:
		return refuseWith(http.StatusConflict, *op.failure)
	}
	return &answer{status: http.StatusNoContent}
}

// deleteResource accepts the removal of a resource that has no state of its own
// beyond existing.
func (s *Server) deleteResource(c *call, r *resource, provider, name string, remove func()) *answer {
	if r.state == "Deleting" {
		return refuse(http.StatusConflict, "OperationNotAllowed", "%s is already being deleted.", r.id)
	}
	r.state = "Deleting"
	op := s.begin(c, provider, r.location, name, remove, func() { r.state = "Succeeded" })
	return op.accepted(c, &answer{status: http.StatusAccepted})
}
