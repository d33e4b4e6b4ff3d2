package policy

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// unmet names every condition of this one policy that q does not meet, in the
// order in which a document has them. How short access may be is a setting of
// the installation, not of a policy.
func (p Policy) unmet(q Question) []Refusal {
	c := check{policy: p}
	c.ports(q.Ports)
	c.source(q.Source)
	c.duration(q.Duration)
	c.requester(q.Requester)
	c.justification(strings.TrimSpace(q.Justification))
	c.times(q.At, q.Duration)
	c.conditions(p.Conditions, q)
	return c.refusals
}

// check collects what one policy refuses.
type check struct {
	policy   Policy
	refusals []Refusal
}

func (c *check) refuse(code, passes, format string, args ...any) {
	c.refusals = append(c.refusals, Refusal{code, fmt.Sprintf(format, args...), c.policy.Ref(), passes})
}

func (c *check) ports(asked []Port) {
	p := c.policy
	if p.Enforced && len(p.Ports) == 0 {
		return
	}
	allowed := p.allowedPorts()
	if len(asked) == 0 {
		c.refuse(PortNotAllowed, allowed, "The ask names no port; %s allows %s.", p.name(), allowed)
	}
	for i, port := range asked {
		if !p.allowsPort(port) && !slices.Contains(asked[:i], port) {
			c.refuse(PortNotAllowed, allowed, "%s does not allow port %s; it allows %s.", capital(p.name()), port, allowed)
		}
	}
}

func (c *check) source(asked netip.Prefix) {
	p := c.policy
	if p.Enforced && len(p.Sources) == 0 {
		return
	}
	allowed := p.allowedSources()
	switch inside, near := p.judgeSource(asked); {
	case inside:
	case !asked.IsValid():
		c.refuse(SourceNotAllowed, allowed, "The ask names no source; %s allows %s.", p.name(), allowed)
	case near:
		c.refuse(SourceTooWide, allowed, "The source %s is wider than %s allows; ask for %s.", asked, p.name(), allowed)
	default:
		c.refuse(SourceNotAllowed, allowed, "%s does not allow the source %s; it allows %s.", capital(p.name()), asked, allowed)
	}
}

func (c *check) duration(asked time.Duration) {
	if longest := c.policy.longest(); asked > longest {
		c.refuse(DurationOverPolicy, "at most "+spoken(longest), "%s allows at most %s; ask for less.", capital(c.policy.name()), spoken(longest))
	}
}

// longest is the policy's own limit; a guardrail that sets none leaves only the
// limit of every grant.
func (p Policy) longest() time.Duration {
	if p.Enforced && p.MaxDuration == 0 {
		return MaxDuration
	}
	return time.Duration(p.MaxDuration)
}

func (c *check) requester(asked Subject) {
	p := c.policy
	var admitted Requesters
	switch {
	case p.Requesters != nil:
		admitted = *p.Requesters
	case p.Enforced:
		return
	}
	if admitted.Match(asked) {
		return
	}
	if asked.Guest && len(admitted.Tenants) == 0 {
		admitted.Tenants = []string{Home} // so that it is said
	}
	why := ""
	if asked.GroupsIncomplete && len(admitted.Groups) > 0 {
		why = " " + capital(groupsUnnamed) + "; an app role would count."
	}
	c.refuse(RequesterNotAllowed, admitted.String(), "%s lets only %s ask, and you are none of these.%s", capital(p.name()), admitted, why)
}

func (c *check) justification(given string) {
	p, rule := c.policy, c.policy.Justification
	if rule == nil {
		return
	}
	passes, advice := "a justification", "say what the access is for"
	if rule.Pattern != "" {
		passes = "a justification that matches " + rule.Pattern
		advice = "write one that matches " + rule.Pattern
	}
	if given == "" && rule.Required {
		if rule.Message != "" {
			c.refuse(JustificationRequired, passes, "%s asks for a justification. %s", capital(p.name()), rule.Message)
		} else {
			c.refuse(JustificationRequired, passes, "%s asks for a justification; %s.", capital(p.name()), advice)
		}
		return
	}
	if rule.Pattern == "" || matchesPattern(rule.Pattern, given) {
		return
	}
	if rule.Message != "" {
		c.refuse(JustificationPattern, passes, "%s", rule.Message)
	} else {
		c.refuse(JustificationPattern, passes, "The justification is not of the form that %s asks for; %s.", p.name(), advice)
	}
}

func matchesPattern(pattern, text string) bool {
	re, err := patterns.get(pattern, regexp.Compile)
	return err == nil && re.MatchString(text)
}

func (c *check) times(at time.Time, asked time.Duration) {
	p := c.policy
	if !p.timed() {
		return
	}
	open := p.open(at)
	if open > 0 && open >= asked {
		return
	}
	allowed, shown := fmt.Sprintf("%s allows access", capital(p.name())), p.shown(at)
	next, found := p.next(at.Add(open))
	for i := 0; found && p.leaves(next) < MinDuration; i++ { // too short for any ask
		next, found = p.next(next.Add(p.open(next)))
		found = found && i < 7 // what comes every day is the same for ever
	}
	fits := found && p.leaves(next) >= asked
	if left := p.leaves(at); left >= MinDuration {
		passes, advice := "at most "+spoken(left), ""
		if fits {
			advice = fmt.Sprintf(", or again from %s on", p.shown(next))
		}
		c.refuse(OutsideWindow, passes, "%s %s, which from %s on leaves %s; ask for %s%s.", allowed, p.times(), shown, spoken(open.Truncate(time.Minute)), passes, advice)
		return
	}
	// A window about to close is as good as shut.
	if !found {
		c.refuse(OutsideWindow, "", "%s only %s, and no time that is long enough comes again.", allowed, p.times())
		return
	}
	again := fmt.Sprintf("from %s on", p.shown(next))
	if !fits {
		again += ", for at most " + spoken(p.leaves(next))
	}
	c.refuse(OutsideWindow, "an ask "+again, "%s only %s, and access would open at %s; ask again %s.", allowed, p.times(), shown, again)
}

func (c *check) conditions(list []Condition, q Question) {
	if len(list) == 0 {
		return
	}
	facts := q.facts()
	for _, condition := range list {
		passes := "an ask for which " + condition.Expression
		switch ok, err := condition.holds(facts); {
		case err != nil:
			c.refuse(ConditionFailed, passes, "A condition of %s cannot be judged for this ask: %s. It reads: %s", c.policy.name(), err, condition.Message)
		case !ok:
			c.refuse(ConditionUnmet, passes, "%s", condition.Message)
		}
	}
}

func (p Policy) allowsPort(asked Port) bool {
	return slices.ContainsFunc(p.Ports, func(allowed Port) bool { return allowed.covers(asked) })
}

// judgeSource reports whether a source lies inside an allowed range and names
// no more of it than allowed; if not, whether a narrower part of it would.
func (d Document) judgeSource(source netip.Prefix) (inside, near bool) {
	if a := source.Addr(); a.Is4In6() && source.Bits() >= 96 {
		source = netip.PrefixFrom(a.Unmap(), source.Bits()-96)
	}
	for _, s := range d.Sources {
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
func (p Policy) name() string {
	if p.Enforced {
		return "the guardrail for " + p.Name()
	}
	return "the policy for " + p.Name()
}

func (d Document) allowedPorts() string {
	words := make([]string, len(d.Ports))
	for i, port := range d.Ports {
		words[i] = port.String()
	}
	return listed(words)
}

func (d Document) allowedSources() string {
	words := make([]string, len(d.Sources))
	for i, s := range d.Sources {
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
