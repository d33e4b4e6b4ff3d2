package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/armid"
	"jitgate/internal/audit"
)

// Notice is something to tell people or programs.
type Notice struct {
	ID      string      // the same for a repeat
	Event   audit.Event // one for all machines that came to the same at once; it names the machine if it is about one
	Title   string
	Request *Request // nil for what concerns the whole installation
}

// Messenger reaches channels outside. It may be used by several goroutines: channels
// are told side by side. Its errors: ErrUnavailable, when trying again later may work;
// anything else means that it cannot.
type Messenger interface {
	// Channels names those that are configured for an event of this kind.
	Channels(kind audit.Kind) []string
	// Tell sends a notice over a channel. A notice may arrive twice.
	Tell(ctx context.Context, channel string, n Notice) error
	// Seal checks the callback URL of a workflow and returns a keyed hash by which it is
	// found again and its sealed form. Errors: [Refusals] with CallbackRefused.
	Seal(request, url string) (id, sealed string, err error)
	// Hashes are the ids that Seal may have given for this URL.
	Hashes(url string) []string
	// CallBack tells a workflow what became of a request.
	CallBack(ctx context.Context, sealed string, r Request) error
}

// notice says what events of one kind and moment mean to whoever gets to read it.
func notice(about []audit.Event, r *Request) Notice {
	e := together(about)
	n := Notice{ID: fmt.Sprintf("ledger-%d", e.Sequence), Event: e, Title: titles[e.Kind], Request: r}
	if n.Title == "" {
		n.Title = string(e.Kind)
	}
	if r != nil {
		n.ID = fmt.Sprintf("%s-%d", r.ID, e.Sequence)
		n.Title = strings.NewReplacer("{who}", r.Requester.Name, "{vms}", strings.Join(machines(about, r), ", ")).Replace(n.Title)
	}
	return n
}

// together makes one event of those of several machines: what all of them say it says
// once, anything else behind the name of the machine.
func together(about []audit.Event) audit.Event {
	first := about[0]
	if len(about) == 1 {
		return first
	}
	one := audit.Event{Sequence: first.Sequence, At: first.At, Kind: first.Kind, Actor: first.Actor, Name: first.Name, Text: first.Text}
	if slices.ContainsFunc(about, func(e audit.Event) bool { return e.Text != first.Text }) {
		var texts []string
		for _, e := range about {
			vm, _ := armid.Parse(e.VM)
			texts = append(texts, vm.Name()+": "+e.Text)
		}
		one.Text = strings.Join(texts, " ")
	}
	return one
}

// asks are the events that ask something of people, and the state of a machine in which
// there is time for it.
var asks = map[audit.Kind]State{audit.ApprovalAsked: AwaitingApproval, audit.AccessEnding: Active}

// overtaken reports whether an event asks for what cannot be done any more: whoever could
// not be told of it in time need not be. Nothing in the ledger, where r is nil, asks.
func (r *Request) overtaken(e audit.Event) bool {
	state, asking := asks[e.Kind]
	return asking && !slices.ContainsFunc(r.Targets, func(t Target) bool { return t.VM.String() == e.VM && t.State == state })
}

// machines names what the events are about: all of the request if they do not say.
func machines(about []audit.Event, r *Request) []string {
	var names []string
	for _, t := range r.Targets {
		if about[0].VM == "" || slices.ContainsFunc(about, func(e audit.Event) bool { return e.VM == t.VM.String() }) {
			names = append(names, t.VM.Name())
		}
	}
	return names
}

// titles are the headlines of what is told.
var titles = map[audit.Kind]string{
	audit.ApprovalAsked:    "{who} asks for access to {vms}: please decide",
	audit.RequestApproved:  "Access of {who} to {vms} is approved",
	audit.RequestDenied:    "Access of {who} to {vms} is denied",
	audit.RequestRejected:  "An approver said no to access of {who} to {vms}",
	audit.RequestCancelled: "The request of {who} for access to {vms} was cancelled",
	audit.RequestLapsed:    "Nobody decided about access of {who} to {vms} in time",
	audit.AccessOpened:     "Access of {who} to {vms} is open",
	audit.AccessFailed:     "Access of {who} to {vms} could not be opened",
	audit.AccessExtended:   "Access of {who} to {vms} was extended",
	audit.AccessEnding:     "Access of {who} to {vms} ends in ten minutes",
	audit.AccessExpired:    "Access of {who} to {vms} has ended",
	audit.AccessRevoked:    "Access of {who} to {vms} was ended before its time",
	audit.GlassBroken:      "{who} broke the glass to reach {vms}: a review is due",
	audit.ReviewClosed:     "The review of {who} breaking the glass to reach {vms} is closed",
	audit.ReviewOverdue:    "The review of {who} breaking the glass to reach {vms} is overdue",

	audit.LockdownSet:    "A lockdown is in force",
	audit.LockdownLifted: "A lockdown was lifted",
	audit.LockdownEnded:  "A lockdown has ended",
	audit.AlertTaken:     "An alert was acted on",
	audit.PreApproved:    "An alert has pre-approved access",
	audit.PolicyProposed: "A change of policy waits for a second administrator",
	audit.PolicyApplied:  "A policy is in force",
	audit.PolicyRemoved:  "A policy was taken out of force",
	audit.ManyDenials:    "Suspicious: many denials of one person",
	audit.NewSource:      "Suspicious: access from a source not seen before",
	audit.OutOfHours:     "Suspicious: access out of hours",
	audit.OwnGroup:       "Suspicious: approvals within one group in series",
	audit.RulesEdited:    "Suspicious: rules of jitgate were edited by others",
}
