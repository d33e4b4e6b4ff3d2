package accesstest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"jitgate/internal/access"
	"jitgate/internal/audit"
)

// ErrGone is what a channel answers that will never take a notice.
var ErrGone = errors.New("this channel is gone")

// Messages implements access.Messenger in memory. Its channels take every event,
// its seal turns a text around.
type Messages struct {
	Names []string
	// Fail, if set, decides the error of a call to a channel or a callback URL. It is
	// asked about several channels at once.
	Fail func(Sent) error

	mu   sync.Mutex
	sent []Sent
}

// Sent is something that was told.
type Sent struct {
	To     string // channel or callback URL
	Notice access.Notice
	State  access.State // of the request, to callbacks
}

var _ access.Messenger = (*Messages)(nil)

// Channels implements access.Messenger.
func (m *Messages) Channels(audit.Kind) []string { return m.Names }

// Tell implements access.Messenger.
func (m *Messages) Tell(_ context.Context, channel string, n access.Notice) error {
	return m.send(Sent{To: channel, Notice: n})
}

func (m *Messages) send(s Sent) error {
	if m.Fail != nil {
		if err := m.Fail(s); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, s)
	return nil
}

// Seal implements access.Messenger.
func (m *Messages) Seal(_, url string) (string, string, error) {
	if !strings.HasPrefix(url, "https://") {
		return "", "", access.Refusals{{Code: access.CallbackRefused, Sentence: "No."}}
	}
	return m.Hashes(url)[0], turned(url), nil
}

// Hashes implements access.Messenger.
func (m *Messages) Hashes(url string) []string { return []string{"hash of " + url} }

// CallBack implements access.Messenger.
func (m *Messages) CallBack(_ context.Context, sealed string, r access.Request) error {
	return m.send(Sent{To: turned(sealed), State: r.State()})
}

func turned(text string) string {
	b := []byte(text)
	slices.Reverse(b)
	return string(b)
}

// Sent returns what was told so far.
func (m *Messages) Sent() []Sent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sent)
}

// Kinds returns the kinds of the events that a channel was told of.
func (m *Messages) Kinds(channel string) []string {
	var out []string
	for _, s := range m.Sent() {
		if s.To == channel {
			out = append(out, string(s.Notice.Event.Kind))
		}
	}
	return out
}
