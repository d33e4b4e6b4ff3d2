package access

import (
	"time"

	"jitgate/internal/alert"
)

// Signal is an alert that was taken in, with what a rule makes of it. It is filed
// before the sender is answered, and carried out by a worker afterwards.
type Signal struct {
	Key        string // one delivery or many, the same news: alert.Alert.Key, or what follows from alert.Alert.ID for its end
	Alert      string // alert.Alert.ID
	Rule       string // name of the alert rule in Azure Monitor, or the source; for the record
	Action     alert.Action
	Rules      string // version and hash of the rules document that decided
	ReceivedAt time.Time
	Done       bool
}
