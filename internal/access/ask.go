package access

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// Form is a request for access as the caller wrote it, unchecked.
type Form struct {
	Targets       []FormTarget
	Source        string // address or range; empty = the caller's own address
	Duration      string // ISO 8601; empty = what policy says is usual
	Justification string
	BreakGlass    bool `json:",omitempty"`
}

// FormTarget is one VM of a form.
type FormTarget struct {
	VM    string
	Ports []FormPort
}

// FormPort is one port of a form.
type FormPort struct {
	Port     int
	Protocol string
}

// Ask is a form that holds what it should.
type Ask struct {
	Targets       []AskTarget
	Source        netip.Prefix
	Duration      time.Duration // 0 = what policy says is usual
	Justification string
	BreakGlass    bool
	Fingerprint   string
}

// AskTarget is one VM of an ask.
type AskTarget struct {
	VM    armid.ID
	Ports []policy.Port
}

// Read checks a form against everything that does not need a policy. caller is
// the address the platform saw; it stands in for a source left out and may be
// invalid when the platform did not say. All faults are returned together as
// [Refusals].
func (l Limits) Read(f Form, caller netip.Addr) (Ask, error) {
	c := check{}
	ask := Ask{Justification: strings.TrimSpace(f.Justification), BreakGlass: f.BreakGlass, Fingerprint: fingerprint(f)}
	c.words(JustificationInvalid, "justification", ask.Justification)
	ask.Source = c.source(f.Source, caller)
	if f.Duration != "" {
		ask.Duration = c.duration("duration", f.Duration, l)
	}
	ask.Targets = c.targets(f.Targets)
	if len(c.faults) > 0 {
		return Ask{}, c.faults
	}
	return ask, nil
}

// fingerprint hashes the form as written: a source left out stays left out, so
// that a repeat from another network is still the same request.
func fingerprint(f Form) string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

type check struct{ faults Refusals }

func (c *check) fault(code Code, field, format string, args ...any) {
	c.faults = append(c.faults, Refusal{Code: code, Field: field, Sentence: fmt.Sprintf(format, args...)})
}

// words checks what people wrote: a justification, a comment, a reason.
func (c *check) words(code Code, field, text string) {
	if utf8.RuneCountInString(text) > MaxJustification {
		c.fault(code, field, "The %s is longer than %d characters; shorten it.", field, MaxJustification)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		c.fault(code, field, "The %s holds control characters; send plain text.", field)
	}
	if at := strings.IndexFunc(text, misleading); at >= 0 {
		r, _ := utf8.DecodeRuneInString(text[at:])
		c.fault(code, field, "The %s holds the character %U, which is not seen and changes how the rest is read; leave it out.", field, r)
	}
}

// misleading are characters with which a text can look to an approver like another one:
// they turn the direction of what follows, break lines where no newline is, or are a
// space that takes no room.
func misleading(r rune) bool {
	return unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) || r == '\u200b' || r == '\ufeff'
}

func (c *check) source(text string, caller netip.Addr) netip.Prefix {
	if text == "" {
		if !caller.IsValid() {
			c.fault(SourceUnknown, "source", "Your address could not be seen; send it as \"source\", for example \"203.0.113.7\".")
			return netip.Prefix{}
		}
		caller = caller.Unmap().WithZone("")
		return netip.PrefixFrom(caller, caller.BitLen())
	}
	source, err := policy.ParseSource(text)
	switch {
	case err == nil:
	case errors.Is(err, policy.ErrSourceAny):
		c.fault(SourceAny, "source", "Access from any address is not given; send the address or range you come from, for example \"203.0.113.7\".")
	case errors.Is(err, policy.ErrSourceHostBits):
		c.fault(SourceHostBits, "source", "%q has bits set behind its prefix length; send the network address of the range, or the single address without a length.", text)
	default:
		c.fault(SourceInvalid, "source", "%q is not an IP address or range; send one such as \"203.0.113.7\" or \"203.0.113.0/28\".", clip(text))
	}
	return source
}

func (c *check) duration(field, text string, l Limits) time.Duration {
	d, err := policy.ParseDuration(text)
	switch {
	case err != nil:
		c.fault(DurationInvalid, field, "%q is not an ISO 8601 duration of days, hours, minutes and seconds; send one such as \"PT1H\" or \"PT30M\".", clip(text))
	case d < l.Shortest:
		c.fault(DurationTooShort, field, "%s is too short; ask for at least %s.", policy.FormatDuration(d), policy.FormatDuration(l.Shortest))
	case d > l.Longest:
		c.fault(DurationTooLong, field, "%s is too long; ask for at most %s.", policy.FormatDuration(d), policy.FormatDuration(l.Longest))
	}
	return d
}

func (c *check) targets(forms []FormTarget) []AskTarget {
	if len(forms) == 0 {
		c.fault(TargetsEmpty, "targets", "No target is named; send at least one VM with its ports.")
	}
	if len(forms) > MaxTargets {
		c.fault(TargetsTooMany, "targets", "%d targets are too many; send at most %d in one request.", len(forms), MaxTargets)
		return nil
	}
	targets := make([]AskTarget, 0, len(forms))
	seen := map[string]bool{}
	for i, f := range forms {
		at := fmt.Sprintf("targets[%d]", i)
		vm, err := armid.ParseType(f.VM, armid.VirtualMachine)
		if err != nil {
			c.fault(VMIDInvalid, at+".vm", "%q is not the id of a virtual machine; send /subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/virtualMachines/….", clip(f.VM))
		} else if seen[vm.Key()] {
			c.fault(TargetDuplicate, at+".vm", "%s is named twice; put all its ports into one target.", vm.Name())
		} else {
			seen[vm.Key()] = true
		}
		targets = append(targets, AskTarget{VM: vm, Ports: c.ports(at, f.Ports)})
	}
	return targets
}

func (c *check) ports(at string, forms []FormPort) []policy.Port {
	if len(forms) == 0 {
		c.fault(PortsEmpty, at+".ports", "No port is named; send at least one, for example {\"port\":22,\"protocol\":\"TCP\"}.")
	}
	if len(forms) > MaxPorts {
		c.fault(PortsTooMany, at+".ports", "%d ports are too many; send at most %d for one VM.", len(forms), MaxPorts)
		return nil
	}
	ports := make([]policy.Port, 0, len(forms))
	seen := map[policy.Port]bool{}
	for i, f := range forms {
		here := fmt.Sprintf("%s.ports[%d]", at, i)
		if f.Port < 1 || f.Port > 65535 {
			c.fault(PortInvalid, here+".port", "%d is not a port; send a number from 1 to 65535.", f.Port)
			continue
		}
		protocol, err := policy.ParseProtocol(f.Protocol)
		if err != nil {
			c.fault(ProtocolUnknown, here+".protocol", "%q is not a protocol; send \"TCP\", \"UDP\" or \"*\".", clip(f.Protocol))
			continue
		}
		port := policy.Port{Number: uint16(f.Port), Protocol: protocol}
		if seen[port] {
			c.fault(PortDuplicate, here, "Port %d %s is named twice; name it once.", f.Port, protocol)
		}
		seen[port] = true
		ports = append(ports, port)
	}
	return ports
}

// clip keeps a refusal readable when the caller sent a novel.
func clip(text string) string { return clipTo(text, 120) }

func clipTo(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
