package nsg

import (
	"slices"
	"strings"
)

// SameMeaning reports whether Azure would treat both rules alike apart from
// their priority, so that rewriting one as the other would change nothing:
//
//   - Name, direction, access and protocol are compared without regard to case,
//     because ARM is case-insensitive in them. Descriptions are compared as
//     text: ours say who and until when, a change there is a change.
//   - Lists are compared by what they cover. Order, duplicates and overlaps do
//     not matter since any one entry makes the rule match; for the same reason
//     "22","23" equals "22-23" and two halves equal the whole range.
//   - 10.0.0.5 equals 10.0.0.5/32, and 10.0.0.5/24 equals 10.0.0.0/24: how Azure
//     writes them on reading back is not known, what the mask selects is.
//   - Ports "*" equal "0-65535", the portal's way of writing the same.
//   - "*" as an address covers both families and every tag. 0.0.0.0/0 covers
//     only IPv4 and is not the same; together with ::/0 it is. Neither equals
//     Internet, which leaves out private and VNet space.
//   - Tags, ASG ids and text that is no address are compared by name without
//     regard to case; what they stand for is not looked into.
func (r Rule) SameMeaning(o Rule) bool {
	return strings.EqualFold(r.Name, o.Name) &&
		r.Description == o.Description &&
		r.Direction.is(o.Direction) &&
		r.Access.is(o.Access) &&
		strings.EqualFold(string(r.Protocol), string(o.Protocol)) &&
		samePorts(r.SourcePorts, o.SourcePorts) &&
		samePorts(r.DestinationPorts, o.DestinationPorts) &&
		sameAddresses(r.Sources, o.Sources) &&
		sameAddresses(r.Destinations, o.Destinations) &&
		sameIDs(r.SourceASGs, o.SourceASGs) &&
		sameIDs(r.DestinationASGs, o.DestinationASGs)
}

func samePorts(a, b []string) bool {
	if slices.Equal(a, b) {
		return true // nearly always, and without parsing
	}
	runsA, namesA := portSet(a)
	runsB, namesB := portSet(b)
	return slices.Equal(runsA, runsB) && slices.Equal(namesA, namesB)
}

func sameAddresses(a, b []string) bool {
	if slices.Equal(a, b) {
		return true
	}
	spansA, namesA := addressSet(a)
	spansB, namesB := addressSet(b)
	return slices.Equal(spansA, spansB) && slices.Equal(namesA, namesB)
}

func sameIDs(a, b []string) bool {
	if slices.Equal(a, b) {
		return true
	}
	return slices.Equal(idSet(a), idSet(b))
}

func idSet(ids []string) []string {
	set := make([]string, len(ids))
	for i, id := range ids {
		set[i] = strings.ToLower(id)
	}
	slices.Sort(set)
	return slices.Compact(set)
}
