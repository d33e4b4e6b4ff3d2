package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"jitgate/internal/armid"
)

// Nudge is what a message says: "look at this request" on queue "requests", "look
// at this NSG" on queue "nsgs". Exactly one field is set.
type Nudge struct {
	Request string   `json:"request,omitempty"`
	NSG     armid.ID `json:"nsg,omitzero"`
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
	if d.More() || (n.Request == "") == n.NSG.IsZero() {
		return Nudge{}, errors.New("not a nudge: it must hold either a request or an nsg")
	}
	return n, nil
}

// Settle decides what becomes of a message after its use case returned err: the
// error itself if delivering the message again may help, nil if it cannot. What
// cannot be helped is on record as state already, or is a message that makes no
// sense. An error nobody thought of is repeated: after its last delivery it is in
// the dead-letter queue, where somebody will see it.
func (s *Service) Settle(ctx context.Context, err error) error {
	for _, final := range []error{ErrIllegalMove, ErrNotFound} {
		if errors.Is(err, final) {
			s.Log.ErrorContext(ctx, "message settled although its work failed: repeating it cannot help", "error", err)
			return nil
		}
	}
	return err
}
