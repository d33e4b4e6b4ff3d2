package nsg

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// denyDescription has no names in it: the rule serves every machine of the group
// that closes the same ports.
const denyDescription = "JIT rule: these ports stay closed unless a grant opens them for a time."

// DenyName is the name of the deny rule that closes ports of a protocol for IPv4
// or IPv6 addresses: "jitgate-deny-" and 12 hexadecimal digits of a hash. Ports
// that are the same set in other words or another order give the same name; their
// own protocols are not looked at. So all machines of a group that close the same
// ports share one rule: a group may hold only [MaxRules].
func DenyName(protocol Protocol, ports []PortRange, v6 bool) string {
	if known, ok := protocol.canonical(); ok {
		protocol = known
	}
	return denyKey{protocol, strings.Join(canonicalPorts(ports), ","), v6}.name()
}

// denyKey is what one deny rule closes, whatever machines it closes it for. ARM
// refuses rules that mix address families, so they are apart.
type denyKey struct {
	protocol Protocol
	ports    string // canonical, with commas
	v6       bool
}

func (k denyKey) name() string {
	family := "IPv4"
	if k.v6 {
		family = "IPv6"
	}
	sum := sha256.Sum256([]byte(string(k.protocol) + " " + k.ports + " " + family))
	return DenyPrefix + hex.EncodeToString(sum[:6])
}

// rule is the deny rule without priority, in one canonical writing.
func (k denyKey) rule(name string, addresses []netip.Addr) Rule {
	r := Rule{
		Name: name, Description: denyDescription,
		Direction: Inbound, Access: Deny, Protocol: k.protocol,
		Sources: []string{"*"}, SourcePorts: []string{"*"},
		Destinations: make([]string, len(addresses)), DestinationPorts: strings.Split(k.ports, ","),
	}
	for i, a := range addresses {
		r.Destinations[i] = a.String()
	}
	return r
}

// canonicalPorts writes a set of ports as ARM takes it: sorted, without overlaps,
// and "*" for all of them. A range backwards holds no ports.
func canonicalPorts(ranges []PortRange) []string {
	runs, _ := portSet(portTexts(ranges))
	list := make([]string, len(runs))
	for i, run := range runs {
		list[i] = strconv.Itoa(int(run.first))
		if run == (ports{0, 65535}) {
			list[i] = "*"
		} else if run.first < run.last {
			list[i] += "-" + strconv.Itoa(int(run.last))
		}
	}
	return list
}

func portTexts(ranges []PortRange) []string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = fmt.Sprintf("%d-%d", r.First, r.Last)
	}
	return texts
}

// hosts is a set of addresses, IPv4 ones never written as IPv6.
type hosts map[netip.Addr]bool

// coverage is what deny rules close, by rule.
type coverage map[denyKey]hosts

// add splits a cover by protocol and family. What closes nothing is refused: ports
// of a protocol that has none, and ranges backwards.
func (c coverage) add(cover Cover) (refused []Unplaced) {
	byProtocol := map[Protocol][]PortRange{}
	for _, r := range cover.Ports {
		protocol, ok := withPorts(r.Protocol)
		if !ok || r.First > r.Last {
			refused = append(refused, Unplaced{DenyName(r.Protocol, []PortRange{r}, false), InvalidWant,
				fmt.Sprintf("%d-%d of %q are no ports that can be closed.", r.First, r.Last, string(r.Protocol))})
			continue
		}
		byProtocol[protocol] = append(byProtocol[protocol], r)
	}
	for protocol, ranges := range byProtocol {
		key := denyKey{protocol: protocol, ports: strings.Join(canonicalPorts(ranges), ",")}
		for _, a := range cover.Addresses {
			if a = a.Unmap().WithZone(""); !a.IsValid() {
				continue
			}
			key.v6 = a.Is6()
			if c[key] == nil {
				c[key] = hosts{}
			}
			c[key][a] = true
		}
	}
	return refused
}

// join adds all of o to c.
func (c coverage) join(o coverage) {
	for key, addresses := range o {
		if c[key] == nil {
			c[key] = make(hosts, len(addresses))
		}
		for a := range addresses {
			c[key][a] = true
		}
	}
}

// withPorts returns the canonical protocol if it is one that has ports.
func withPorts(p Protocol) (Protocol, bool) {
	p, ok := p.canonical()
	return p, ok && (p == AnyProtocol || p == TCP || p == UDP)
}

// singleAddress reads an entry that names one address; a range is none.
func singleAddress(text string) (netip.Addr, bool) {
	p, ok := parsePrefix(text)
	return p.Addr(), ok && p.IsSingleIP()
}

// destinations gives the addresses that the rule in old's place must close: those wanted,
// and those that old closes and nobody freed. Without the latter, protecting one
// machine after the store was lost would open its neighbours.
func destinations(old *Rule, v6 bool, wanted, freed hosts) []netip.Addr {
	list := make([]netip.Addr, 0, len(wanted))
	for a := range wanted {
		list = append(list, a)
	}
	if old != nil {
		for _, text := range old.Destinations {
			if a, single := singleAddress(text); single && a.Is6() == v6 && !freed[a] && !wanted[a] {
				list = append(list, a)
			}
		}
	}
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}

// close puts our deny rules in place: what is wanted, and of the rest what is not
// freed. Those that there are go in order of their priorities, before new ones in
// order of their names. One that moves within the band only ever moves down, so
// none comes into the way of another.
func (d *draft) close(wanted, freed coverage) {
	for key, addresses := range freed {
		if wanted[key] == nil {
			d.shrink(d.ours[key.name()], addresses)
		}
	}
	rules := make([]Rule, 0, len(wanted))
	for key, addresses := range wanted {
		name := key.name()
		rules = append(rules, key.rule(name, destinations(d.ours[name], key.v6, addresses, freed[key])))
	}
	turn := func(r Rule) int {
		if old := d.ours[r.Name]; old != nil {
			return old.Priority
		}
		return MaxPriority + 1
	}
	slices.SortFunc(rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), cmp.Compare(a.Name, b.Name))
	})
	for _, r := range rules {
		old := d.ours[r.Name]
		// Where only an earlier pass put it, it has nothing to keep: new ones get the
		// lowest place that the last pass leaves free.
		first := d.before[r.Name]
		if d.keeps(old, d.bands.Deny) && first != nil && first.slot() == old.slot() && !d.overtaken(&r, d.lowest(d.bands.Deny, old), old.Priority) {
			r.Priority = old.Priority
		}
		d.place(r, old, d.bands.Deny)
	}
}

// overtaken reports whether a rule of others between two priorities may let in what
// the deny rule r closes: then r has to go before it. If none does, a move would
// only cost a write, each time somebody frees a priority. Names are not looked up,
// and of protocols without ports only the ports written are compared: in doubt r
// moves.
func (d *draft) overtaken(r *Rule, first, last int) bool {
	runs, _ := portSet(r.DestinationPorts)
	closed := hosts{}
	for _, text := range r.Destinations {
		a, _ := singleAddress(text)
		closed[a] = true
	}
	for priority := first + 1; priority < last; priority++ {
		o := d.inbound[priority]
		if o == nil || o.denies() {
			continue // rules of ours that allow have no place yet
		}
		protocol, known := o.Protocol.canonical()
		same := !known || protocol == AnyProtocol || r.Protocol == AnyProtocol || protocol == r.Protocol
		if same && o.speaksOfSome(runs, closed) {
			return true
		}
	}
	return false
}

// shrink takes freed addresses out of a deny rule that nothing wants any more. All
// else in it stays: somebody else may count on it, and it is not known who.
func (d *draft) shrink(old *Rule, freed hosts) {
	if old == nil || !old.denies() {
		return
	}
	left := make([]string, 0, len(old.Destinations))
	for _, text := range old.Destinations {
		if a, single := singleAddress(text); !single || !freed[a] {
			left = append(left, text)
		}
	}
	if len(left) == len(old.Destinations) {
		return
	}
	d.remove(old)
	if len(left) == 0 && len(old.DestinationASGs) == 0 {
		return
	}
	r := *old
	r.Destinations, r.Verbatim = left, nil
	d.write(r)
}
