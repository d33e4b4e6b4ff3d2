// Package access is the domain: requests for access, the grants that follow from
// them, the states they pass through and the use cases that move them.
//
// One idea carries it. Access is desired state: the store says which grants
// should be open on each NSG and until when, and [Service.Enforce] makes an NSG
// match. Messages are nudges that carry an id and never a decision, so they may
// arrive twice, late, in any order or not at all. Every use case saves before it
// sends, and records as done only what Azure confirmed.
//
// The package knows neither Azure SDKs nor HTTP: it declares the ports it needs
// ([Store], [Queue], [Network], [Policies] and the rest of ports.go) and adapters implement them.
package access

import (
	"log/slog"
	"time"

	"jitgate/internal/nsg"
)

// Skew is how far the clocks of Service Bus and of this process may differ
// before a wake-up is taken for premature. A wake-up that arrives a moment before
// our own clock reaches the expiry must still close the grant: nothing would look
// again before the next sweep.
const Skew = 2 * time.Second

// Patience is how long a request or an NSG may look unattended before the sweep
// nudges it. It is longer than the duplicate-detection window of the queues (one
// minute), so that the sweep's message is not swallowed as a repeat, and longer
// than ordinary work takes, so that the sweep does not race it.
const Patience = 2 * time.Minute

// Service holds what the use cases need. All fields but Rights are
// required.
type Service struct {
	Store    Store
	Queue    Queue
	Network  Network
	Policies Policies
	Ledgers  LedgerStore
	Messages Messenger
	Rights   Rights // nil = app roles decide, which the edge has checked
	Now      func() time.Time
	Log      *slog.Logger

	Limits        Limits
	Bands         nsg.Bands // priorities of our rules
	Subscriptions []string  // ids of the subscriptions this installation looks after
	SecondAdmin   bool      // a change of policy waits for another administrator
	Suspicion     Suspicion
}

// Limits bound what may be asked whatever policy says.
type Limits struct {
	Shortest time.Duration // default 5 minutes
	Longest  time.Duration // default 24 hours
}

// Bounds of one request.
const (
	MaxTargets       = 20
	MaxPorts         = 20   // per target
	MaxJustification = 1000 // characters
)

func (s *Service) now() time.Time { return s.Now().UTC() }
