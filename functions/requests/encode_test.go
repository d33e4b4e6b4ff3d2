package requests

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/api"
)

// TestReasonAndWarningOfATarget: a target can be open and yet not work, so the two
// are told apart; nothing is told of what is not there.
func TestReasonAndWarningOfATarget(t *testing.T) {
	outranked := access.Reason{Code: access.Outranked, Sentence: "deny-all comes first."}
	gone := access.Reason{Code: access.NSGGone, Sentence: "The NSG is gone."}
	for _, c := range []struct {
		in              access.Target
		reason, warning *api.Reason
	}{
		{access.Target{}, nil, nil},
		{access.Target{Warning: outranked}, nil, &api.Reason{Code: "outranked", Text: "deny-all comes first."}},
		{access.Target{Reason: gone}, &api.Reason{Code: "nsg_gone", Text: "The NSG is gone."}, nil},
	} {
		got := encodeTarget(c.in)
		if diff := cmp.Diff([]*api.Reason{c.reason, c.warning}, []*api.Reason{got.Reason, got.Warning}); diff != "" {
			t.Errorf("%+v: -want +got\n%s", c.in, diff)
		}
	}
}
