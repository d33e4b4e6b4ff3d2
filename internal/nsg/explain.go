package nsg

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Step is one rule that was held against a packet. Why says in a short sentence,
// without a full stop, what rules it out or keeps it from being judged; it is
// empty for a rule that matches.
type Step struct {
	Rule    Rule
	Matches Match
	Why     string
}

// Explain tells how Decide comes to its verdict: the inbound rules in order of
// priority, down to the one that decides. Those before it either do not match or,
// where Matches is Unknown, are the verdict's Depends. If none decides, the last
// step matches no better. A packet without a source or destination has no steps.
func (g Group) Explain(p Packet, s Surroundings) []Step {
	p.Source, p.Destination = p.Source.Unmap(), p.Destination.Unmap()
	if !p.Source.IsValid() || !p.Destination.IsValid() {
		return nil
	}
	var inbound []*Rule
	for _, rules := range [...][]Rule{g.Rules, g.Defaults} {
		for i := range rules {
			if rules[i].Direction.is(Inbound) {
				inbound = append(inbound, &rules[i])
			}
		}
	}
	slices.SortStableFunc(inbound, inOrder)
	var steps []Step
	for _, r := range inbound {
		m, why := r.explain(&p, &s)
		steps = append(steps, Step{*r, m, why})
		if m == Yes {
			break
		}
	}
	return steps
}

// explain is matches with a reason. A part that rules the rule out counts before
// one that cannot be judged, because then nothing depends on the latter.
func (r *Rule) explain(p *Packet, s *Surroundings) (Match, string) {
	sourcePorts := Yes
	if !allPorts(r.SourcePorts) {
		sourcePorts = Unknown
	}
	parts := [...]struct {
		m   Match
		why func(Match) string
	}{
		{r.matchesProtocol(p.Protocol), r.protocolWhy},
		{r.matchesPort(p), func(m Match) string { return r.portWhy(m, p.Protocol) }},
		{matchesEnd(r.Destinations, r.DestinationASGs, p.Destination, s), func(m Match) string {
			return endWhy("destination", r.Destinations, r.DestinationASGs, m, p.Destination, s)
		}},
		{matchesEnd(r.Sources, r.SourceASGs, p.Source, s), func(m Match) string {
			return endWhy("source", r.Sources, r.SourceASGs, m, p.Source, s)
		}},
		{sourcePorts, func(Match) string { return "it restricts source ports, and clients choose theirs" }},
	}
	worst := parts[0]
	for _, part := range parts {
		if part.m < worst.m {
			worst = part
		}
	}
	if worst.m == Yes {
		return Yes, ""
	}
	return worst.m, worst.why(worst.m)
}

func (r *Rule) protocolWhy(m Match) string {
	if m == Unknown {
		return fmt.Sprintf("%q is no protocol that is known here", string(r.Protocol))
	}
	return "it is for " + strings.ToUpper(string(r.Protocol))
}

func (r *Rule) portWhy(m Match, of Protocol) string {
	switch {
	case len(r.DestinationPorts) == 0:
		return "it names no ports"
	case m == Unknown:
		for _, text := range r.DestinationPorts {
			if _, ok := parsePorts(text); !ok {
				return fmt.Sprintf("%q is no port", text)
			}
		}
	case !of.hasPorts():
		return fmt.Sprintf("it is for certain ports, and %s has none", strings.ToUpper(string(of)))
	}
	if only := r.DestinationPorts; len(only) == 1 && !strings.Contains(only[0], "-") {
		return "it is for port " + only[0]
	}
	return "it is for ports " + enumerate(r.DestinationPorts)
}

func endWhy(end string, list, groups []string, m Match, a netip.Addr, s *Surroundings) string {
	if len(list) == 0 && len(groups) == 0 {
		return fmt.Sprintf("it names no %ss", end)
	}
	if m == Unknown {
		for _, text := range list {
			if matchesEntry(text, a, s) != Unknown {
				continue
			}
			if kind, _ := readEntry(text); kind == unreadable {
				return fmt.Sprintf("%q is no address", text)
			}
			return fmt.Sprintf("which addresses %s stands for is not known here", text)
		}
		for _, id := range groups {
			if s.isMember(id, a) == Unknown {
				return fmt.Sprintf("who is in the application security group %s is not known here", lastSegment(id))
			}
		}
	}
	if len(list) == 1 && len(groups) == 0 {
		if kind, p := readEntry(list[0]); kind == addressRange && p.IsSingleIP() {
			return fmt.Sprintf("it is for %s %s", end, list[0])
		}
	}
	what := end + "s"
	if len(list) == 0 {
		what += " in the application security group"
		if len(groups) > 1 {
			what += "s"
		}
	}
	all := slices.Clone(list) // ARM refuses a rule that has both
	for _, id := range groups {
		all = append(all, lastSegment(id))
	}
	return fmt.Sprintf("it is for %s %s", what, enumerate(all))
}

// enumerate writes up to three items out and counts the others of a longer list.
func enumerate(items []string) string {
	switch n := len(items); {
	case n == 1:
		return items[0]
	case n > 3:
		return fmt.Sprintf("%s and %d more", items[0], n-1)
	default:
		return strings.Join(items[:n-1], ", ") + " and " + items[n-1]
	}
}

func lastSegment(id string) string { return id[strings.LastIndexByte(id, '/')+1:] }
