package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"jitgate/internal/armid"
)

// Refusal is one condition that an ask does not meet. Sentence says what would
// pass.
type Refusal struct {
	Code     string `json:"code"`
	Sentence string `json:"sentence"`
}

// Codes of refusals.
const (
	NoPolicyCode       = "no_policy"
	PortNotAllowed     = "port_not_allowed"
	SourceNotAllowed   = "source_not_allowed"
	SourceTooWide      = "source_too_wide"
	DurationOverPolicy = "duration_over_policy"
)

// NoPolicy is the refusal of an ask for a machine that no policy covers.
func NoPolicy(vm armid.ID) Refusal {
	return Refusal{NoPolicyCode, fmt.Sprintf("No policy covers %s; set one on it, on its resource group or on its subscription.", scopeName(vm))}
}

// Check names every condition that a does not meet; none means allowed. A
// policy asked about a machine outside its scope refuses with no_policy. How short
// access may be is a setting of the installation, not of a policy.
func (p Policy) Check(a Ask) []Refusal {
	if !a.VM.Within(p.Scope) {
		return []Refusal{NoPolicy(a.VM)}
	}
	var refusals []Refusal
	refuse := func(code, format string, args ...any) {
		refusals = append(refusals, Refusal{code, fmt.Sprintf(format, args...)})
	}
	if len(a.Ports) == 0 {
		refuse(PortNotAllowed, "The ask names no port; %s allows %s.", p.name(), p.allowedPorts())
	}
	for i, port := range a.Ports {
		if !p.allowsPort(port) && !contains(a.Ports[:i], port) {
			refuse(PortNotAllowed, "%s does not allow port %s; it allows %s.", capital(p.name()), port, p.allowedPorts())
		}
	}
	switch inside, near := p.judgeSource(a.Source); {
	case inside:
	case !a.Source.IsValid():
		refuse(SourceNotAllowed, "The ask names no source; %s allows %s.", p.name(), p.allowedSources())
	case near:
		refuse(SourceTooWide, "The source %s is wider than %s allows; ask for %s.", a.Source, p.name(), p.allowedSources())
	default:
		refuse(SourceNotAllowed, "%s does not allow the source %s; it allows %s.", capital(p.name()), a.Source, p.allowedSources())
	}
	if longest := time.Duration(p.MaxDuration); a.Duration > longest {
		refuse(DurationOverPolicy, "%s allows at most %s; ask for less.", capital(p.name()), spoken(longest))
	}
	return refusals
}

func (p Policy) allowsPort(asked Port) bool {
	for _, allowed := range p.Ports {
		if allowed.covers(asked) {
			return true
		}
	}
	return false
}

// judgeSource reports whether a source lies inside an allowed range and names
// no more of it than allowed; if not, whether a narrower part of it would.
func (p Policy) judgeSource(source netip.Prefix) (inside, near bool) {
	if a := source.Addr(); a.Is4In6() && source.Bits() >= 96 {
		source = netip.PrefixFrom(a.Unmap(), source.Bits()-96)
	}
	for _, s := range p.Sources {
		if !s.Range.Overlaps(source) {
			continue
		}
		// Of two prefixes that overlap the longer lies in the other, and Widest
		// is never shorter than the range itself.
		if source.Bits() >= s.Widest {
			return true, false
		}
		near = true
	}
	return false, near
}

// name is how sentences speak of the policy.
func (p Policy) name() string { return "the policy for " + scopeName(p.Scope) }

func scopeName(id armid.ID) string {
	switch {
	case id.Type() != "":
		return "VM " + id.Name()
	case id.ResourceGroup() != "":
		return "resource group " + id.Name()
	}
	return "subscription " + id.Name()
}

func (p Policy) allowedPorts() string {
	words := make([]string, len(p.Ports))
	for i, port := range p.Ports {
		words[i] = port.String()
	}
	return listed(words)
}

func (p Policy) allowedSources() string {
	words := make([]string, len(p.Sources))
	for i, s := range p.Sources {
		switch s.Widest {
		case s.Range.Bits():
			words[i] = s.Range.String()
		case s.Range.Addr().BitLen():
			words[i] = "single addresses of " + s.Range.String()
		default:
			words[i] = fmt.Sprintf("at most a /%d of %s", s.Widest, s.Range)
		}
	}
	return listed(words)
}

// listed joins words and leaves out what no one would read.
func listed(words []string) string {
	const most = 10
	if len(words) > most {
		words = append(words[:most:most], fmt.Sprintf("%d more", len(words)-most))
	}
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

func capital(sentence string) string { return strings.ToUpper(sentence[:1]) + sentence[1:] }

func contains(ports []Port, port Port) bool {
	for _, p := range ports {
		if p == port {
			return true
		}
	}
	return false
}
