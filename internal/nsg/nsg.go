// Package nsg is the part of jitgate that understands network security groups.
// It owns three questions and nothing else: do two rules mean the same, would a
// packet pass, and which writes make a group hold exactly the wanted grants. It
// is pure: no Azure SDK, no network, no clock, so every answer can be checked
// by property tests and given again for the same input.
//
// It refuses to guess. What it cannot judge (a service tag whose addresses it
// does not know, a prefix that is none) never counts as a match and is named in
// the verdict; what it cannot place safely is left out of a plan and reported.
package nsg

import "strings"

// Direction of a rule, "Inbound" or "Outbound". ARM compares without regard to case.
type Direction string

const (
	Inbound  Direction = "Inbound"
	Outbound Direction = "Outbound"
)

func (d Direction) is(other Direction) bool {
	return d == other || strings.EqualFold(string(d), string(other))
}

// Access is what a rule does with a packet it matches, "Allow" or "Deny".
type Access string

const (
	Allow Access = "Allow"
	Deny  Access = "Deny"
)

func (a Access) is(other Access) bool {
	return a == other || strings.EqualFold(string(a), string(other))
}

// Protocol of a rule or a packet as ARM spells it.
type Protocol string

const (
	AnyProtocol Protocol = "*"
	TCP         Protocol = "Tcp"
	UDP         Protocol = "Udp"
	ICMP        Protocol = "Icmp"
	ESP         Protocol = "Esp"
	AH          Protocol = "Ah"
)

// canonical returns ARM's spelling of a protocol written in any case.
func (p Protocol) canonical() (Protocol, bool) {
	for _, known := range [...]Protocol{AnyProtocol, TCP, UDP, ICMP, ESP, AH} {
		if strings.EqualFold(string(p), string(known)) {
			return known, true
		}
	}
	return "", false
}

// Limits of the service (Azure networking limits page, December 2022; rule and
// description lengths from the armnetwork model).
const (
	MaxRules       = 1000 // custom rules of one group, both directions together
	MaxAddresses   = 4000 // addresses and ranges over all rules, sources and destinations counted apart
	MaxDescription = 140  // characters
	MinPriority    = 100  // custom rules; default rules lie at 65000 and above
	MaxPriority    = 4096
)

// Rule is a security rule with ARM's singular and plural fields merged: each
// list holds prefixes, addresses, service tags or "*", ports hold "22",
// "20-25" or "*". ASG lists hold resource ids. A rule matches an end when one
// entry of its list or one of its ASGs does.
type Rule struct {
	Name        string
	Description string
	Direction   Direction
	Access      Access
	Protocol    Protocol
	Priority    int

	Sources, SourcePorts           []string
	Destinations, DestinationPorts []string
	SourceASGs, DestinationASGs    []string
}

// Group is one network security group as it was read: the custom rules and the
// default ones, which ARM returns beside them and which cannot be changed. Names
// are unique in it, priorities unique per direction; ARM sees to both.
type Group struct {
	ID              string
	Rules, Defaults []Rule
}
