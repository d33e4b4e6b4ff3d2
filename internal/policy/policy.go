// Package policy holds the rules about who may open what for how long: it reads
// policy documents, finds the one that governs a machine, and answers whether
// an ask is within it, naming every condition that is not met. It is pure: no
// Azure SDK, no network, no clock.
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
	Version int    `json:"version"` // counts up from 1 per scope
	Hash    string `json:"hash"`    // Document.Digest: shows that a decision used these very rules
}

// New puts a document in force under a version.
func New(d Document, version int) Policy {
	return Policy{Document: d, Version: version, Hash: d.Digest()}
}

// Ask is what somebody wants opened on one machine.
type Ask struct {
	VM       armid.ID
	Ports    []Port
	Source   netip.Prefix // as ParseSource gives it
	Duration time.Duration
}

// Nearest finds the policy that governs vm: its own, else its resource group's,
// else its subscription's. The nearest decides alone; it is not combined with
// those above. find knows the policies in force by scope.
func Nearest(vm armid.ID, find func(scope armid.ID) (Policy, bool)) (Policy, bool) {
	for _, scope := range vm.Scopes() {
		if p, found := find(scope); found {
			return p, true
		}
	}
	return Policy{}, false
}
