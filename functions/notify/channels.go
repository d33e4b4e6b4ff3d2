package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"jitgate/internal/audit"
	"jitgate/internal/notify"
)

// Subject is a class of events that a channel is told of.
type Subject string

const (
	Approvals Subject = "approvals" // somebody has to decide
	Decisions Subject = "decisions" // what becomes of a request: for whoever asked
	Security  Subject = "security"  // lockdowns, alerts, changes of policy, reviews, suspicious use
)

var subjects = map[audit.Kind][]Subject{
	audit.ApprovalAsked:   {Approvals},
	audit.RequestApproved: {Decisions}, audit.RequestDenied: {Decisions}, audit.RequestRejected: {Decisions}, audit.RequestLapsed: {Decisions}, audit.RequestCancelled: {Decisions},
	audit.AccessOpened: {Decisions}, audit.AccessFailed: {Decisions}, audit.AccessExtended: {Decisions}, audit.AccessEnding: {Decisions},
	audit.AccessExpired: {Decisions}, audit.AccessRevoked: {Decisions},
	// Whoever breaks the glass does it before everybody's eyes.
	audit.GlassBroken: {Approvals, Decisions, Security}, audit.ReviewClosed: {Security}, audit.ReviewOverdue: {Approvals, Security},
	audit.LockdownSet: {Security}, audit.LockdownLifted: {Security}, audit.LockdownEnded: {Security},
	audit.AlertTaken: {Security}, audit.PreApproved: {Security},
	audit.PolicyProposed: {Security}, audit.PolicyApplied: {Security}, audit.PolicyRemoved: {Security},
	audit.ManyDenials: {Security}, audit.NewSource: {Security}, audit.OutOfHours: {Security}, audit.OwnGroup: {Security}, audit.RulesEdited: {Security},
}

// Channel is somewhere to tell people or programs something.
type Channel struct {
	Name   string      `json:"name"`
	Kind   notify.Kind `json:"kind"`
	URL    string      `json:"url"`    // a secret
	Secret string      `json:"secret"` // HMAC key of a webhook, at least 16 characters
	For    []Subject   `json:"for"`    // left out: everything
}

var (
	allSubjects = []Subject{Approvals, Decisions, Security}
	kinds       = []notify.Kind{notify.Teams, notify.Slack, notify.Webhook, notify.LogicAppTrigger}
)

// ParseChannels reads the setting: a JSON list of channels, empty for none. It reports
// all faults at once and quotes neither URLs nor secrets.
func ParseChannels(text string) ([]Channel, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var out []Channel
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		return nil, errors.New(`it is no list of channels such as [{"name":"ops","kind":"teams","url":"https://…","for":["approvals"]}]`)
	}
	var faults []error
	seen := map[string]bool{}
	for i, c := range out {
		fault := func(bad bool, format string, args ...any) {
			if bad {
				faults = append(faults, fmt.Errorf("channel %d: "+format, append([]any{i + 1}, args...)...))
			}
		}
		fault(!plainName(c.Name), "name %.40q: use 1 to 40 letters, digits, - and _", c.Name)
		fault(seen[c.Name], "name %.40q is taken by another", c.Name)
		fault(!slices.Contains(kinds, c.Kind), "kind %.40q: use one of %v", c.Kind, kinds)
		for _, s := range c.For {
			fault(!slices.Contains(allSubjects, s), "for %.40q: use some of %v", s, allSubjects)
		}
		seen[c.Name] = true
	}
	return out, errors.Join(faults...)
}

func plainName(name string) bool {
	return name != "" && len(name) <= 40 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// takes tells whether a channel is told of events of this kind.
func (c *Channel) takes(kind audit.Kind) bool {
	about, told := subjects[kind]
	// A workflow asks people to decide; its trigger takes nothing else.
	if c.Kind == notify.LogicAppTrigger && kind != audit.ApprovalAsked {
		return false
	}
	return told && (len(c.For) == 0 || slices.ContainsFunc(about, func(s Subject) bool { return slices.Contains(c.For, s) }))
}

func (c *Channel) target() notify.Target {
	return notify.Target{Kind: c.Kind, URL: c.URL, Secret: []byte(c.Secret)}
}
