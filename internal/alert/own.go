package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
)

// own is our own body, which a Logic App posts on behalf of Sentinel, Defender
// for Cloud or anything else that has no action group.
type own struct {
	Source       string `json:"source"`
	ExternalID   string `json:"externalId"`
	Action       Verb   `json:"action"`
	VMResourceID string `json:"vmResourceId"`
	Reason       string `json:"reason"`
	Until        string `json:"until"`
}

var ownMembers = []string{"source", "externalId", "action", "vmResourceId", "reason", "until"}

var sourcePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func parseOwn(body []byte) (Alert, error) {
	bad := func(format string, args ...any) (Alert, error) {
		return Alert{}, refuse(Malformed, format, args...)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return bad("The body is no JSON: %s.", err)
	}
	var o own
	if err := json.Unmarshal(body, &o); err != nil {
		if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
			return bad("%s must be text, not a JSON %s.", mismatch.Field, mismatch.Value)
		}
		return bad("The body is no JSON: %s.", err)
	}
	var unknown []string
	for name := range members {
		if !foldedIn(name, ownMembers) {
			unknown = append(unknown, fmt.Sprintf("%.60q", name))
		}
	}
	// An until with a spelling mistake would be a lockdown without end.
	if slices.Sort(unknown); len(unknown) > 0 {
		return bad("%s is not known; the members are %s.", unknown[0], strings.Join(ownMembers, ", "))
	}
	if !sourcePattern.MatchString(o.Source) {
		return bad("source %.60q must be 1 to 64 letters, digits, dots, dashes or underscores, such as sentinel.", o.Source)
	}
	if !printable(o.ExternalID, 256) {
		return bad("externalId %.60q must be the alert's id at its source, 1 to 256 printable characters.", o.ExternalID)
	}
	if !slices.Contains(verbs, o.Action) {
		return bad("action %.60q is not known; write revoke, lockdown, unlock or preapprove.", o.Action)
	}
	vm, err := armid.ParseType(o.VMResourceID, armid.VirtualMachine)
	if err != nil {
		return bad("vmResourceId %.60q is no full resource id of a VM; a name alone is never acted on.", o.VMResourceID)
	}
	ask := Ask{Source: o.Source, Verb: o.Action, Reason: line(o.Reason)}
	if o.Until != "" {
		if o.Action != Lockdown {
			return bad("until says when a lockdown ends; leave it out with %s.", o.Action)
		}
		until, err := time.Parse(time.RFC3339, o.Until)
		// The zero time, which some clients write for "none", would be a lockdown
		// without end, and the year 10000 cannot be written down again.
		if until = until.UTC(); err != nil || until.IsZero() || until.Year() > 9999 {
			return bad("until %.60q is no time to come in RFC 3339 form, such as 2026-11-20T18:00:00Z.", o.Until)
		}
		ask.Until = until
	}
	// An incident may be about several machines, each of which takes a call of its own.
	what := string(o.Action)
	if o.Action == Unlock {
		what = string(Lockdown)
	}
	news := key(strings.ToLower(o.Source), o.ExternalID, what, vm.Key())
	return Alert{
		Key:          news,
		End:          news,
		ID:           strings.ToLower(o.Source) + ":" + o.ExternalID,
		Condition:    Fired,
		Severity:     UnknownSeverity,
		Subscription: strings.ToLower(vm.Subscription()),
		Machines:     []armid.ID{vm},
		Asked:        &ask,
	}, nil
}
