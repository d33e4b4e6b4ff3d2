package notify_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"jitgate/functions/notify"
	"jitgate/internal/access"
	"jitgate/internal/audit"
	sending "jitgate/internal/notify"
)

// TestWhoCancelledIsTold: a request that somebody else has cancelled is news for
// whoever asked, and so is who it was.
func TestWhoCancelledIsTold(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = string(content)
	}))
	t.Cleanup(server.Close)
	sender, err := sending.New(sending.Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := notify.NewMessenger(sender, nil, []notify.Channel{
		{Name: "askers", Kind: sending.Teams, URL: server.URL, For: []notify.Subject{notify.Decisions}},
		{Name: "approvers", Kind: sending.Teams, URL: server.URL, For: []notify.Subject{notify.Approvals}},
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Channels(audit.RequestCancelled); !slices.Equal(got, []string{"askers"}) {
		t.Errorf("told over %v", got)
	}
	n := access.Notice{ID: "1", Title: "Cancelled", Request: &access.Request{},
		Event: audit.Event{Kind: audit.RequestCancelled, At: time.Now(), Name: "bob@contoso.example", Text: "Taken back before it was decided."}}
	if err := m.Tell(t.Context(), "askers", n); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, `"By: "`) || !strings.Contains(got, "bob@contoso.example") {
		t.Error(got)
	}
}
