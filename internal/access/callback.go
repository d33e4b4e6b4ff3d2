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
	Events []Result // what it waits for; the first that comes true is told
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

// open are the callbacks that still wait.
func (r *Request) openCallbacks() []Callback {
	return slices.DeleteFunc(slices.Clone(r.Callbacks), func(c Callback) bool { return c.Done })
}

// callBack answers workflows whose outcome has come. It returns what is to be put on record
// by callback id, and how long to wait before those that could not be reached are
// tried again.
func (s *Service) callBack(ctx context.Context, r *Request) (answered map[string]string, again time.Duration) {
	answered = map[string]string{}
	result := r.Result()
	for _, c := range r.openCallbacks() {
		age := s.now().Sub(later(r.lastChange(), c.At))
		over := r.State().Ended()
		switch {
		case slices.Contains(c.Events, result):
		case over: // what it waits for cannot come any more
			answered[c.ID] = "The request has ended as " + string(r.State()) + ", which the workflow did not wait for."
			continue
		default:
			continue
		}
		err := s.Messages.CallBack(ctx, c.Sealed, *r)
		switch {
		case err == nil:
			answered[c.ID] = "The workflow was told: " + string(result) + "."
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
