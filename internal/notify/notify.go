// Package notify turns a notice into one HTTP call: a card in Teams, a message in
// Slack, a signed webhook, or a call to a Logic Apps workflow. It owns what such a
// call looks like, where it may go, and how the secrets behind it are kept: the
// URLs of these services let whoever holds them act, so they are treated as
// passwords.
//
// It refuses every address that is not public, and of callbacks every host that is
// not listed, follows no redirect, and tells nobody a URL, a secret or what the receiver answered. It
// stores nothing and repeats nothing: callers deliver from a queue, and the errors
// of Send say whether a repeat can help.
package notify

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Kind says what is at the other end of a target.
type Kind string

// The kinds of targets. Teams and Slack show Title, Facts and Link to people; the
// others hand Data to programs.
const (
	Teams            Kind = "teams"             // a Workflows webhook of Teams
	Slack            Kind = "slack"             // an incoming webhook of Slack
	Webhook          Kind = "webhook"           // any receiver, signed as Verify checks it
	LogicAppCallback Kind = "logicapp-callback" // the callback URL of a waiting HttpWebhook action
	LogicAppTrigger  Kind = "logicapp-trigger"  // the Request trigger of a workflow
)

// Target is where a notice goes. URL and Secret are secrets: the one lets its
// holder post, the other sign. Neither is ever printed or encoded, whatever a
// caller does with the struct.
type Target struct {
	Kind   Kind   `json:"-"`
	URL    string `json:"-"`
	Secret []byte `json:"-"` // HMAC key of a Webhook, at least 16 bytes; unused otherwise
}

// Format implements fmt.Formatter for every verb: %+v and %#v would show the
// secrets otherwise.
func (t Target) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.name()) }

// LogValue implements slog.LogValuer.
func (t Target) LogValue() slog.Value { return slog.StringValue(t.name()) }

func (t Target) name() string { return describe(t.Kind, hostOf(t.URL)) }

// Notice is something to tell. ID names it for good: a receiver that sees an id
// twice saw the same notice twice. It has 1 to 128 of the characters A–Z, a–z,
// 0–9, - and _. Event is a word such as "request.approved". Title, Facts and Link
// are for people and may hold what people wrote: each format escapes and shortens
// them. Link is an absolute http or https URL, anything else is left out. Data is
// for programs and is sent whole.
type Notice struct {
	ID    string
	Event string
	At    time.Time
	Title string
	Facts []Fact
	Link  string
	Data  any
}

// Fact is one line of a notice: "Requester", "alice@example.com".
type Fact struct{ Name, Value string }

// body is what the call carries.
func body(kind Kind, n Notice) ([]byte, error) {
	switch kind {
	case Teams:
		return teamsBody(n)
	case Slack:
		return slackBody(n)
	case Webhook:
		return webhookBody(n)
	default: // a workflow has its own schema: Data is all of it
		return encode(n.Data)
	}
}

func (k Kind) known() bool {
	switch k {
	case Teams, Slack, Webhook, LogicAppCallback, LogicAppTrigger:
		return true
	}
	return false
}
