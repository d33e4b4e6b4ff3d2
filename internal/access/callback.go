package access

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Callback is a workflow that waits to hear what became of a request (Logic Apps'
// HttpWebhook action). Its URL lets whoever has it answer in the workflow's place, so
// only its sealed form is kept.
type Callback struct {
	ID     string   // keyed hash of the URL
	Sealed string   // see [Messenger]; empty once it is done
	Events []Result // what it waits for; the first that comes true is told, or else how the request ended
	At     time.Time
	Done   bool // told, given up or cancelled
}

// Result is what a workflow may wait for.
type Result string

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

// openCallbacks are those that still wait.
func (r *Request) openCallbacks() []Callback {
	return slices.DeleteFunc(slices.Clone(r.Callbacks), func(c Callback) bool { return c.Done })
}

// dueCallbacks are those to be called now. Once the request has ended that is all of
// them: nothing else will come, and a run that nobody calls waits until its own limit.
func (r *Request) dueCallbacks() []Callback {
	result, over := r.Result(), r.State().Ended()
	return slices.DeleteFunc(r.openCallbacks(), func(c Callback) bool { return !over && !slices.Contains(c.Events, result) })
}

// callBack answers workflows whose outcome has come. It returns what is to be put on record
// by callback id, and how long to wait before those that could not be reached are
// tried again.
func (s *Service) callBack(ctx context.Context, r *Request) (answered map[string]string, again time.Duration) {
	answered = map[string]string{}
	for _, c := range r.dueCallbacks() {
		age := s.now().Sub(later(r.lastChange(), c.At))
		err := s.Messages.CallBack(ctx, c.Sealed, *r)
		switch {
		case err == nil:
			answered[c.ID] = "The workflow was told: " + string(r.Result()) + "."
		case errors.Is(err, ErrUnavailable) && age < Staleness:
			s.Log.WarnContext(ctx, "a workflow cannot be reached; it will be tried again", "request", r.ID, "error", err)
			again = earliest(again, pause(age))
		default:
			answered[c.ID] = "The workflow could not be told: " + err.Error()
		}
	}
	return answered, again
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// lastChange is when a target last came to where it is.
func (r *Request) lastChange() time.Time {
	last := r.CreatedAt
	for _, t := range r.Targets {
		for _, at := range []time.Time{t.OpenedAt, t.EndedAt} {
			if at.After(last) {
				last = at
			}
		}
	}
	return last
}
