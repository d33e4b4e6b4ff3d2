// Package alert reads what monitoring sends and decides what is done about it.
// It owns the two shapes that are read (Azure Monitor's common alert schema and
// our own small body) and the rules document that maps an alert to an action.
// It is pure: no network, no clock, no store. Whether a delivery is a duplicate,
// whether a machine is known and whether policy lets an action happen is the
// caller's business.
//
// It refuses to guess. A machine counts only by its full resource id; a bare
// computer name is kept for the record and never acted on. An alert that no rule
// names does nothing, and the text of an alert is never authority: it can only
// choose among what the rules allow.
package alert

import (
	"time"

	"jitgate/internal/armid"
)

// Condition is Azure Monitor's monitorCondition.
type Condition string

const (
	Fired    Condition = "Fired"
	Resolved Condition = "Resolved"
)

// UnknownSeverity is the severity of an alert that gives none, such as a budget's.
const UnknownSeverity = -1

// Alert is one delivery, whichever way it was written. Text that people or logs
// wrote is one printable line of at most 256 characters.
type Alert struct {
	// Key is the same for every delivery of the same news: an action group calls
	// each of its receivers, repeats what was not answered, and several groups may
	// serve one rule (Azure Monitor documentation, action groups). It is 64 hexadecimal
	// characters: legal as a Table Storage key and as a Service Bus message id.
	Key string
	// End is the Key of the news that this alert is over. A workflow's word takes the
	// place of its earlier one, so lockdown and unlock of the same source, externalId and
	// machine share one Key, which is their End too.
	End string
	// ID is the same from Fired to Resolved: alertId in lower case, or
	// "source:externalId". For the record.
	ID        string
	Condition Condition

	RuleID   string // ARM id of the alert rule; empty where the service leaves it out, as log alerts do
	Rule     string // its name, which is unique in its resource group only
	Severity int    // 0, the worst, to 4; or UnknownSeverity
	Service  string // monitoringService, such as "Platform" or "Log Alerts V2"
	Signal   string // "Metric", "Log" or "Activity Log"
	// Subscription of the alert, in lower case. A workspace's alert can be about
	// machines in other subscriptions. Of our own body it is the machine's.
	Subscription string

	Machines []armid.ID        // each once, in the order found
	Names    []string          // bare names, for the record only
	Custom   map[string]string // what the author of the alert rule typed: a hint, not authority

	Fired, Resolved time.Time // zero when not given or not readable

	// Test marks what the portal's "Test action group" sends. It is about
	// machines that do not exist.
	Test bool

	Asked *Ask // of our own body only
}

// Ask is what our own body asks for; nothing of it happens unless a rule allows
// it.
type Ask struct {
	Source string // letters, digits, dots, dashes and underscores; at most 64
	Verb   Verb
	Until  time.Time // end of a lockdown, unless it is unlocked before; zero when only that ends it
	Reason string
}

// Verb is an action by its name.
type Verb string

const (
	Revoke     Verb = "revoke"     // close everything open on the machine
	Lockdown   Verb = "lockdown"   // and refuse new access
	Unlock     Verb = "unlock"     // end the lockdown of the machine that the same source and externalId made
	PreApprove Verb = "preapprove" // a group need not wait for an approver
)

var verbs = []Verb{Revoke, Lockdown, Unlock, PreApprove}

// Code is the stable name of a refusal.
type Code string

const (
	Malformed     Code = "alert_malformed"      // no JSON, or something that must be there is not
	OldSchema     Code = "alert_old_schema"     // a payload from before the common alert schema
	UnknownSchema Code = "alert_unknown_schema" // JSON that is none of ours
)

// Refusal is the error of [Parse]. The sentence says what to do about it and
// quotes at most 60 characters of the body.
type Refusal struct {
	Code     Code
	Sentence string
}

func (r Refusal) Error() string { return r.Sentence }
