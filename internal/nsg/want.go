package nsg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// Want is one open grant: an allow rule that should stand. Source is one prefix
// (host bits are ignored), Destinations the machine's private addresses,
// Protocol "*", Tcp or Udp, Ports at least one. Destinations of the other
// family than Source are left out of the rule: no packet can run between the
// two, and ARM refuses a rule that mixes them
// (ResourceCannotContainAddressPrefixesFromDifferentAddressFamilies).
type Want struct {
	Name, Description string // see AllowName and Description
	Source            netip.Prefix
	Destinations      []netip.Addr
	Protocol          Protocol
	Ports             []uint16
}

// grants turns wants into rules without priority, sorted by name, and sorts out
// those that make none.
func grants(wants []Want) (rules []Rule, refused []Unplaced) {
	byName := make(map[string]Rule, len(wants))
	faults := map[string]string{}
	for _, w := range wants {
		r, fault := w.rule()
		if other, twice := byName[w.Name]; fault == "" && twice && !other.SameMeaning(r) {
			fault = "Two grants want different rules of this name."
		}
		if fault != "" {
			// Several wants of a name may be wrong; which one is told must not
			// depend on their order.
			faults[w.Name] = max(faults[w.Name], fault)
			continue
		}
		byName[w.Name] = r
	}
	for name, fault := range faults {
		refused = append(refused, Unplaced{name, InvalidWant, fault})
		delete(byName, name)
	}
	for _, r := range byName {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Name, b.Name) })
	return rules, refused
}

// rule is the want as a rule without priority, in one canonical writing so that
// the same want always gives the same text. fault is a sentence on a want that
// makes none.
func (w Want) rule() (r Rule, fault string) {
	if _, _, ok := ParseAllowName(w.Name); !ok {
		return Rule{}, "The name is not one of an allow rule of ours."
	}
	if n := len([]rune(w.Description)); n > MaxDescription {
		return Rule{}, fmt.Sprintf("The description has %d characters, Azure allows %d.", n, MaxDescription)
	}
	protocol, ok := withPorts(w.Protocol)
	if !ok {
		return Rule{}, fmt.Sprintf("%q is not a protocol with ports.", string(w.Protocol))
	}
	if len(w.Ports) == 0 || slices.Contains(w.Ports, 0) {
		return Rule{}, "It needs ports from 1 to 65535."
	}
	if !w.Source.IsValid() {
		return Rule{}, "It has no source."
	}
	source, ok := unmap(w.Source)
	if !ok {
		return Rule{}, fmt.Sprintf("%s covers IPv4 and IPv6 at once.", w.Source)
	}
	var destinations []netip.Addr
	for _, d := range w.Destinations {
		if d = d.Unmap().WithZone(""); d.IsValid() && d.BitLen() == source.Addr().BitLen() {
			destinations = append(destinations, d)
		}
	}
	if len(destinations) == 0 {
		return Rule{}, fmt.Sprintf("The machine has no private address that %s can reach.", source)
	}
	slices.SortFunc(destinations, netip.Addr.Compare)
	r = Rule{
		Name: w.Name, Description: w.Description,
		Direction: Inbound, Access: Allow, Protocol: protocol,
		Sources: []string{source.String()}, SourcePorts: []string{"*"},
	}
	if source.IsSingleIP() {
		r.Sources[0] = source.Addr().String()
	}
	for _, d := range slices.Compact(destinations) {
		r.Destinations = append(r.Destinations, d.String())
	}
	numbers := slices.Clone(w.Ports)
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		r.DestinationPorts = append(r.DestinationPorts, strconv.Itoa(int(n)))
	}
	return r, ""
}
