package nsg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// planner keeps account of what a group has room for.
type planner struct {
	band                         Band
	ours                         map[string]*Rule
	foreign                      map[string]bool // lower-cased names
	taken                        map[int]bool    // inbound priorities
	rules, sources, destinations int
}

// read divides the rules of the group. A rule of ours whose name a foreign rule
// bears in other letters counts as foreign: ARM would take a write to one for a
// write to the other.
func (p *planner) read(g Group) {
	mine := make([]bool, len(g.Rules))
	for i, r := range g.Rules {
		if _, _, mine[i] = ParseAllowName(r.Name); !mine[i] {
			p.foreign[strings.ToLower(r.Name)] = true
		}
	}
	for i := range g.Rules {
		r := &g.Rules[i]
		if mine[i] && !p.foreign[r.Name] {
			p.ours[r.Name] = r
			continue
		}
		p.count(*r)
		if r.Direction.is(Inbound) {
			p.taken[r.Priority] = true
		}
	}
}

// wanted turns wants into rules without priority, sorted by name, and sorts out
// those that make none.
func (p *planner) wanted(wants []Want, plan *Plan) []Rule {
	byName := make(map[string]Rule, len(wants))
	refused := map[string]bool{}
	refuse := func(name string, code UnplacedCode, reason string) {
		if !refused[name] {
			plan.Unplaced = append(plan.Unplaced, Unplaced{name, code, reason})
		}
		refused[name] = true
	}
	for _, w := range wants {
		r, fault := w.rule()
		other, twice := byName[w.Name]
		switch {
		case fault != "":
			refuse(w.Name, InvalidWant, fault)
		case p.foreign[w.Name]:
			refuse(w.Name, NameTaken, "A rule that is not ours has this name in other letters; rename or remove it.")
		case twice && !other.SameMeaning(r):
			refuse(w.Name, InvalidWant, "Two grants want different rules of this name.")
		default:
			byName[w.Name] = r
		}
	}
	rules := make([]Rule, 0, len(byName))
	for name, r := range byName {
		if !refused[name] {
			rules = append(rules, r)
		}
	}
	slices.SortFunc(rules, func(a, b Rule) int { return cmp.Compare(a.Name, b.Name) })
	return rules
}

// count adds a rule that the group will hold.
func (p *planner) count(r Rule) {
	p.rules++
	p.sources += addresses(r.Sources)
	p.destinations += addresses(r.Destinations)
}

// room says why r cannot be added, or nothing.
func (p *planner) room(r Rule) (UnplacedCode, string) {
	switch {
	case !p.band.has(r.Priority):
		return BandFull, fmt.Sprintf("Every priority from %d to %d is taken; wait for a grant to end or widen the band.", p.band.First, p.band.Last)
	case p.rules >= MaxRules:
		return RuleLimit, fmt.Sprintf("The group holds %d rules, Azure allows no more; remove some that are not needed.", p.rules)
	case p.sources+addresses(r.Sources) > MaxAddresses:
		return AddressLimit, fmt.Sprintf("The rules of the group hold %d source addresses and ranges, Azure allows %d.", p.sources, MaxAddresses)
	case p.destinations+addresses(r.Destinations) > MaxAddresses:
		return AddressLimit, fmt.Sprintf("The rules of the group hold %d destination addresses and ranges, Azure allows %d.", p.destinations, MaxAddresses)
	}
	return "", ""
}

// addresses counts what Azure's limit counts: tags and "*" are no addresses.
func addresses(list []string) int {
	n := 0
	for _, text := range list {
		if looksLikeAddress(text) {
			n++
		}
	}
	return n
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
	protocol, known := w.Protocol.canonical()
	if !known || protocol != AnyProtocol && protocol != TCP && protocol != UDP {
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
