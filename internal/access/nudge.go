package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"jitgate/internal/armid"
)

// Nudge is what a message says: "look at this request" on queue "requests" (on queue
// "notices": tell of it), "carry out this alert" on queue "requests", "look at this
// NSG" on queue "nsgs", "tell of the ledger" on queue "notices". Exactly one field is
// set.
type Nudge struct {
	Request string   `json:"request,omitempty"`
	Signal  string   `json:"signal,omitempty"`
	NSG     armid.ID `json:"nsg,omitzero"`
	Ledger  bool     `json:"ledger,omitempty"`
}

// ParseNudge reads a message body. Unknown fields are refused: a message that
// claims more than an id was not written by us.
func ParseNudge(body []byte) (Nudge, error) {
	var n Nudge
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		return Nudge{}, fmt.Errorf("not a nudge: %w", err)
	}
	named := 0
	for _, set := range []bool{n.Request != "", n.Signal != "", !n.NSG.IsZero(), n.Ledger} {
		if set {
			named++
		}
	}
	if d.More() || named != 1 {
		return Nudge{}, errors.New("not a nudge: it must name one request, signal or nsg, or the ledger")
	}
	return n, nil
}

// OnRequestNudge carries out a message of queue "requests". A returned error keeps
// the message in the queue.
func (s *Service) OnRequestNudge(ctx context.Context, body []byte) error {
	n, err := ParseNudge(body)
	switch {
	case err == nil && n.Request != "":
		return s.settle(ctx, s.Evaluate(ctx, n.Request))
	case err == nil && n.Signal != "":
		return s.settle(ctx, s.CarryOutSignal(ctx, n.Signal))
	}
	return s.drop(ctx, "requests", err)
}

// OnNSGNudge carries out a message of the session queue "nsgs". It takes no other:
// only there does a session keep a second writer away. A returned error keeps the
// message in the queue.
func (s *Service) OnNSGNudge(ctx context.Context, body []byte) error {
	n, err := ParseNudge(body)
	if err != nil || n.NSG.IsZero() {
		return s.drop(ctx, "nsgs", err)
	}
	return s.settle(ctx, s.Enforce(ctx, n.NSG))
}

// OnNoticeNudge carries out a message of the session queue "notices", which is one of
// its own so that a slow channel never keeps an evaluation waiting; a session keeps a
// second teller of the same request away. A returned error keeps the message in the
// queue.
func (s *Service) OnNoticeNudge(ctx context.Context, body []byte) error {
	n, err := ParseNudge(body)
	if err != nil || n.Request == "" && !n.Ledger {
		return s.drop(ctx, "notices", err)
	}
	return s.settle(ctx, s.Tell(ctx, n.Request))
}

// drop settles a message that is none of ours: delivering it again would not make
// it one.
func (s *Service) drop(ctx context.Context, queue string, err error) error {
	s.Log.ErrorContext(ctx, "a message does not name what this queue is for; dropped", "queue", queue, "error", err)
	return nil
}

// settle decides what becomes of a message after its use case returned err: the
// error itself if delivering the message again may help, nil if it cannot. What
// cannot be helped is on record as state already. An error nobody thought of is
// repeated: after its last delivery it is in the dead-letter queue, where somebody
// will see it.
func (s *Service) settle(ctx context.Context, err error) error {
	for _, final := range []error{ErrIllegalMove, ErrNotFound} {
		if errors.Is(err, final) {
			s.Log.ErrorContext(ctx, "message settled although its work failed: repeating it cannot help", "error", err)
			return nil
		}
	}
	return err
}
