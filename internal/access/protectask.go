package access

import (
	"fmt"
	"strconv"
	"strings"

	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// ProtectForm is a wish to protect a machine as a caller wrote it.
type ProtectForm struct {
	Ports []FormRange // empty = what is protected already, else 22/TCP and 3389/TCP
	Flush *bool       // nil = as it is, else off
}

// ProtectAsk is a form that holds what it should.
type ProtectAsk struct {
	Ports []nsg.PortRange
	Flush *bool
}

// FormRange is ports as a caller wrote them: "22" or "5985-5986", and TCP, UDP or
// "*"; no protocol means TCP.
type FormRange struct{ Ports, Protocol string }

// defaultPorts are protected when no others are named and none are protected yet.
var defaultPorts = []nsg.PortRange{{Protocol: nsg.TCP, First: 22, Last: 22}, {Protocol: nsg.TCP, First: 3389, Last: 3389}}

// Read checks a form. All faults are returned together as [Refusals].
func (f ProtectForm) Read() (ProtectAsk, error) {
	var c check
	ask := ProtectAsk{Flush: f.Flush}
	if len(f.Ports) > MaxPorts {
		c.fault(PortsTooMany, "ports", "%d entries are more than the %d that one protection may have; write neighbours as ranges.", len(f.Ports), MaxPorts)
	} else if len(f.Ports) > 0 {
		ask.Ports = c.ranges(f.Ports)
	}
	if len(c.faults) > 0 {
		return ProtectAsk{}, c.faults
	}
	return ask, nil
}

func (c *check) ranges(list []FormRange) []nsg.PortRange {
	out := make([]nsg.PortRange, 0, len(list))
	for i, f := range list {
		field := fmt.Sprintf("ports[%d]", i)
		first, last, ok := readRange(f.Ports)
		if !ok {
			c.fault(PortInvalid, field, "%q is not a port or a range of ports; send one such as \"22\" or \"5985-5986\", between 1 and 65535.", clip(f.Ports))
		}
		protocol, known := c.protocol(f.Protocol, field)
		if !ok || !known {
			continue
		}
		r := nsg.PortRange{Protocol: protocol, First: first, Last: last}
		for _, other := range out {
			if other.Protocol == r.Protocol && other.First <= r.Last && r.First <= other.Last {
				c.fault(PortDuplicate, field, "%s overlaps with an entry before it; name each port once.", PortText(r))
				break
			}
		}
		out = append(out, r)
	}
	return out
}

// protocol reads TCP, UDP or "*" as rules spell it; nothing means TCP.
func (c *check) protocol(text, field string) (nsg.Protocol, bool) {
	if text == "" {
		return nsg.TCP, true
	}
	p, err := policy.ParseProtocol(text)
	if err != nil {
		c.fault(ProtocolUnknown, field, "%q is not a protocol; send TCP, UDP or \"*\".", clip(text))
		return "", false
	}
	return protocolOf[p], true
}

// protocolOf spells a policy's protocol as rules do.
var protocolOf = map[policy.Protocol]nsg.Protocol{policy.TCP: nsg.TCP, policy.UDP: nsg.UDP, policy.AnyProtocol: nsg.AnyProtocol}

// ProtocolText spells a rule's protocol as callers do: TCP, UDP or "*".
func ProtocolText(p nsg.Protocol) string { return strings.ToUpper(string(p)) }

func readRange(text string) (first, last uint16, ok bool) {
	low, high, isRange := strings.Cut(text, "-")
	if !isRange {
		high = low
	}
	a, errA := strconv.ParseUint(low, 10, 16)
	b, errB := strconv.ParseUint(high, 10, 16)
	return uint16(a), uint16(b), errA == nil && errB == nil && 1 <= a && a <= b
}

// PortText is how people write ports: "22/TCP", "5985-5986/TCP".
func PortText(r nsg.PortRange) string {
	text := strconv.Itoa(int(r.First))
	if r.Last != r.First {
		text += "-" + strconv.Itoa(int(r.Last))
	}
	return text + "/" + ProtocolText(r.Protocol)
}

func portsText(list []nsg.PortRange) string { return ruleNames(list, PortText) }
