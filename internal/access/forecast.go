package access

import (
	"net/netip"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// Forecast is what protecting or unprotecting a machine would do, or is about to do.
type Forecast struct {
	Protection Protection // as it is, or would be, saved
	NSGs       []NSGForecast
	Verdicts   []VerdictChange
	Warnings   []Warning
}

// NSGForecast is the change of one NSG.
type NSGForecast struct {
	NSG           armid.ID
	Before, After nsg.Group
	Plan          nsg.Plan
	Kept          []nsg.Rule // inbound rules of others that speak of the protected ports and stay
}

// VerdictChange is who can reach some ports of an address, now and then.
type VerdictChange struct {
	Interface     armid.ID
	Address       netip.Addr
	Ports         nsg.PortRange
	From          string // "internet", "virtual network", or a range that policy allows
	Before, After nsg.Exposure
}

// Warning is something the machine's owner should know; nothing is refused for it.
type Warning struct {
	Code     Code
	NSG      armid.ID // zero when it is about no NSG
	Rule     string
	Sentence string
}
