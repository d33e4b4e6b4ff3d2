// Package nsg is the part of jitgate that understands network security groups.
// It owns four questions and nothing else: do two rules mean the same, would a
// packet pass and why, which sources reach a port, and which writes make a group
// hold exactly what is desired. It is pure: no Azure SDK, no network, no clock, so
// every answer can be checked by property tests and given again for the same input.
//
// It refuses to guess. What it cannot judge (a service tag whose addresses it
// does not know, a prefix that is none) never counts as a match and is named in
// the verdict; what it cannot place safely is left out of a plan and reported.
package nsg

import (
	"net/netip"
	"strings"
)

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

func (p Protocol) is(other Protocol) bool {
	return p == other || strings.EqualFold(string(p), string(other))
}

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

	// Verbatim is the JSON object of the rule's properties as Azure gave it, less
	// what Azure sets itself (provisioningState). A rule that carries it is written
	// back as exactly this, so that what the fields above do not know survives. It is
	// nil for rules made here, and no part of what a rule means.
	Verbatim []byte
}

// Group is one network security group as it was read: the custom rules and the
// default ones, which ARM returns beside them and which cannot be changed. Names
// are unique in it, priorities unique per direction; ARM sees to both.
type Group struct {
	ID              string
	Rules, Defaults []Rule
	// Interfaces and Subnets are the ARM ids of what the group filters for.
	Interfaces, Subnets []string
	// FlushConnection makes Azure judge open connections again whenever rules change
	// (armnetwork model; what it does in practice is UNVERIFIED).
	FlushConnection bool
}

// PortRange is a run of destination ports, both ends included, of protocol Tcp,
// Udp or "*" (which is more than the two together: any protocol at all).
type PortRange struct {
	Protocol    Protocol
	First, Last uint16
}

// Cover is ports of private addresses that are, or are no longer, to be closed.
type Cover struct {
	Ports     []PortRange
	Addresses []netip.Addr
}

// Release takes back a protection in one group, or the part of it that its
// machine has outgrown. It is all or nothing: if one rule of Back has no place,
// the covers stay closed and nothing comes back.
type Release struct {
	Covers []Cover // not to be denied any more, unless another cover wants it
	Back   []Rule  // rules to be put back as they were, name and priority included
}

// Desired is everything jitgate wants of a group.
type Desired struct {
	Open     []Want    // allow rules, one for each grant
	Closed   []Cover   // what deny rules must cover
	Released []Release // what they must cover no longer
	Away     []Rule    // rules of others that protecting recorded and removed; deleted where they stand just as recorded
	Flush    *bool     // what FlushConnection must be; nil leaves it as it is
}
