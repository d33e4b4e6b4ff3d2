// Package policy holds the rules about who may open what for how long: it reads
// policy documents, finds the one that governs a machine and the guardrails above
// it, and answers whether an ask is within all of them, naming every condition
// that is not met. It also looks policies over before they are used: it lints
// them, runs cases against them and shows what changed. It is pure: no Azure SDK,
// no network, no clock.
//
// It refuses whatever a document does not say in so many words. Unknown keys,
// sloppy ranges and silent defaults that widen access are faults, each with its
// line and column, so that the language can grow without changing what an old
// document means.
package policy

import (
	"net/netip"
	"time"

	"jitgate/internal/armid"
)

// Policy is a document in force.
type Policy struct {
	Document
	Version int    `json:"version"` // counts up from 1 per Document.Key
	Hash    string `json:"hash"`    // Document.Digest: shows that a decision used these very rules
}

// New puts a document in force under a version.
func New(d Document, version int) Policy {
	return Policy{Document: d, Version: version, Hash: d.Digest()}
}

// Default is how long access lasts when an ask does not say. Only policies that
// can be the nearest have one.
func (p Policy) Default() time.Duration {
	if p.DefaultDuration != 0 {
		return time.Duration(p.DefaultDuration)
	}
	return min(DefaultDuration, time.Duration(p.MaxDuration))
}

// Ask is what somebody wants opened on one machine.
type Ask struct {
	VM       armid.ID
	Ports    []Port
	Source   netip.Prefix // as ParseSource gives it; everybody is 0.0.0.0/0 or ::/0
	Duration time.Duration
}

// Question is an ask with everything that policies look at. What is left out
// counts as absent: no tags, nobody, no time.
type Question struct {
	Ask
	Justification string
	Requester     Subject
	Tags          map[string]string // of the machine; without them, documents that select by tags do not apply
	At            time.Time         // when access would open
	// PreApproved takes the place of the approval that the nearest policy wants, never
	// of one that a guardrail wants.
	PreApproved bool
}
