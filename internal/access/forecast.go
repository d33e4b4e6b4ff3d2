package access

import (
	"net/netip"

	"jitgate/internal/armid"
	"jitgate/internal/nsg"
)

// ProtectAsk is a checked wish to protect a machine; see [ProtectForm.Read].
type ProtectAsk struct {
	Ports []nsg.PortRange
	Flush bool
}

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

// Codes of warnings and findings.
const (
	StillOpen          Code = "still_open"           // a rule of others that comes before ours lets somebody in
	RuleShared         Code = "rule_shared"          // a rule opens the port to everybody and serves others too, so it stays
	TagUnknown         Code = "tag_unknown"          // a rule that cannot be judged may let somebody in
	NoPolicyYet        Code = "no_policy"            // no policy allows to ask for access
	FlushAffectsOthers Code = "flush_affects_others" // flushConnection is a property of the whole NSG
	Outranked          Code = "outranked"            // a rule of others stops what a grant opened
	PathUnchecked      Code = "path_unchecked"       // the way to the machine could not be read back
	OpenWithoutNSG     Code = "no_nsg"               // nothing filters
	DefenderRules      Code = "defender_rules"       // Defender for Cloud's own JIT rules are there
	RuleWithoutGrant   Code = "rule_without_grant"   // a rule with our prefix that nothing backs
	ProtectionMissing  Code = "protection_missing"   // recorded as protected, but the deny rule is not there
	ProtectionBlocked  Code = "protection_blocked"
)

// Codes of refusals about protecting.
const (
	FirewallOnly      Code = "firewall_only"
	NoPublicAddress   Code = "no_public_address"
	PriorityTaken     Code = "priority_taken"
	RuleNameTaken     Code = "rule_name_taken"
	NotProtected      Code = "not_protected"
	PriorityInvalid   Code = "priority_invalid"
	VMGone            Code = "vm_gone"
	AddressChanged    Code = "address_changed"
	ScopeInvalid      Code = "scope_invalid"
	ScopeNotLookedAt  Code = "scope_not_looked_at"
	MachineUnreadable Code = "machine_unreadable"
)
