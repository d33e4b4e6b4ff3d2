package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"jitgate/functions/requests"
	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/audit"
	"jitgate/internal/notify"
)

// Messenger implements access.Messenger. Nothing of it changes after NewMessenger.
type Messenger struct {
	sender   *notify.Sender
	keys     *notify.Keys // nil = no workflow may wait for a request
	channels []Channel
	link     string
}

var _ access.Messenger = (*Messenger)(nil)

// NewMessenger checks every channel before anything is sent over it. link is where
// people look at a request, with {id} in the place of its id; empty = nowhere.
func NewMessenger(sender *notify.Sender, keys *notify.Keys, channels []Channel, link string) (*Messenger, error) {
	var faults []error
	for _, c := range channels {
		if err := sender.Check(c.target()); err != nil {
			faults = append(faults, fmt.Errorf("channel %s: %w", c.Name, err))
		}
	}
	return &Messenger{sender: sender, keys: keys, channels: channels, link: link}, errors.Join(faults...)
}

// Channels implements access.Messenger.
func (m *Messenger) Channels(kind audit.Kind) []string {
	var out []string
	for i := range m.channels {
		if c := &m.channels[i]; kind == "" || c.takes(kind) {
			out = append(out, c.Name)
		}
	}
	return out
}

// Tell implements access.Messenger.
func (m *Messenger) Tell(ctx context.Context, channel string, n access.Notice) error {
	for i := range m.channels {
		if c := &m.channels[i]; c.Name == channel {
			return retriable(m.sender.Send(ctx, c.target(), m.notice(n)))
		}
	}
	return fmt.Errorf("channel %.40q is not configured any more", channel)
}

// notice writes for people what happened, and for programs the whole request.
func (m *Messenger) notice(n access.Notice) notify.Notice {
	e := n.Event
	data := api.Notice{Event: string(e.Kind), At: e.At, Title: n.Title, Text: e.Text, VM: e.VM, Actor: e.Actor, Name: e.Name}
	out := notify.Notice{ID: n.ID, Event: string(e.Kind), At: e.At, Title: n.Title}
	fact := func(name, value string) {
		if value != "" {
			out.Facts = append(out.Facts, notify.Fact{Name: name, Value: value})
		}
	}
	fact("What", e.Text)
	fact("By", e.Name)
	if r := n.Request; r != nil {
		shown := requests.Encode(*r)
		data.Request = &shown
		fact("Who", r.Requester.Name)
		fact("Why", r.Justification)
		fact("From", r.Source.String())
		for _, t := range r.Targets {
			var ports []string
			for _, p := range t.Ports {
				ports = append(ports, p.String())
			}
			fact("Where", t.VM.Name()+" "+strings.Join(ports, ", "))
		}
		if r.State() == access.AwaitingApproval {
			fact("Decide by", r.DecideBy.Format(time.RFC3339))
		}
		if m.link != "" {
			data.Link = strings.ReplaceAll(m.link, "{id}", r.ID)
			out.Link = data.Link
		}
		fact("Request", r.ID)
	} else {
		fact("Machine", e.VM)
	}
	out.Data = data
	return out
}

// Seal implements access.Messenger.
func (m *Messenger) Seal(request, url string) (id, sealed string, err error) {
	refuse := func(why string) error {
		return access.Refusals{{Code: access.CallbackRefused, Field: "callbackUrl", Sentence: why}}
	}
	if m.keys == nil {
		return "", "", refuse("Workflows cannot wait for requests here: the operator has set no JITGATE_CALLBACK_KEYS. Poll Location instead.")
	}
	if err := m.sender.Check(notify.Target{Kind: notify.LogicAppCallback, URL: url}); err != nil {
		return "", "", refuse("The callback URL is not one that may be called; send @listCallbackUrl() of a Logic App. The operator has to list other hosts (JITGATE_CALLBACK_HOSTS).")
	}
	// The request is part of what is sealed: moved to another, it opens nothing.
	return m.keys.Hash(url), m.keys.Seal(url, request), nil
}

// Hashes implements access.Messenger.
func (m *Messenger) Hashes(url string) []string {
	if m.keys == nil {
		return nil
	}
	return m.keys.Hashes(url)
}

// CallBack implements access.Messenger.
func (m *Messenger) CallBack(ctx context.Context, sealed string, r access.Request) error {
	if m.keys == nil {
		return errors.New("no key is configured to open the callback with")
	}
	url, err := m.keys.Open(sealed, r.ID)
	if err != nil {
		return err
	}
	return retriable(m.sender.Send(ctx, notify.Target{Kind: notify.LogicAppCallback, URL: url}, notify.Notice{
		ID: r.ID, Event: string(r.Result()), Data: api.Callback{Outcome: string(r.Result()), Request: requests.Encode(r)},
	}))
}

// retriable tells the domain in its own words that trying again may help.
func retriable(err error) error {
	if errors.Is(err, notify.ErrRetry) {
		return fmt.Errorf("%w: %w", access.ErrUnavailable, err)
	}
	return err
}
