package access

import (
	"net/netip"
	"time"
)

// Habits is what is remembered of one person to tell what is unusual for them. It is
// not a record: it forgets, and losing it only makes a warning late.
type Habits struct {
	Denials  []time.Time          // of asks that policy refused, within the window that is looked at
	Sources  []Sighting           // where access was asked from
	Approved []Approving          // what the person approved lately, each request once
	Warned   map[string]time.Time // what was reported when, so that one thing is not reported over and over
}

// Sighting is a source that access was given to.
type Sighting struct {
	Source netip.Prefix
	Last   time.Time
}

// Approving is an approval of a request of somebody in the approver's own group.
type Approving struct {
	Request string
	At      time.Time
}
