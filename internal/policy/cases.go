package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/strictyaml"
)

// Verdict is what a case expects of policies.
type Verdict string

const (
	Allow         Verdict = "allow"
	Deny          Verdict = "deny"
	NeedsApproval Verdict = "approval" // nothing is refused, and somebody must agree
)

// Case is a question with its expected answer, kept beside the policies.
type Case struct {
	Name     string
	Question Question
	Expect   Verdict
	Codes    []string // the codes of all refusals, in any order
	// ByDefault: the case names no duration, so that of the policy counts.
	ByDefault bool
}

// CaseResult is what policies answered.
type CaseResult struct {
	Case     Case
	Passed   bool
	Got      Verdict
	Codes    []string // each once, sorted
	Decision Decision
	Sentence string // what differs and why; empty when passed
}

// RunCases asks the set every case.
func RunCases(set Set, cases []Case) []CaseResult {
	results := make([]CaseResult, len(cases))
	for i, c := range cases {
		results[i] = c.run(set)
	}
	return results
}

func (c Case) run(set Set) CaseResult {
	if p, refusals := set.Nearest(c.Question.VM, c.Question.Tags); c.ByDefault && len(refusals) == 0 {
		c.Question.Duration = p.Default()
	}
	d := set.Decide(c.Question)
	r := CaseResult{Case: c, Decision: d, Got: d.Verdict()}
	var sentences []string
	for _, refusal := range d.Refusals {
		r.Codes = append(r.Codes, refusal.Code)
		sentences = append(sentences, refusal.Sentence)
	}
	r.Codes = once(r.Codes)
	switch {
	case r.Got != c.Expect:
		r.Sentence = strings.TrimSpace(fmt.Sprintf("Expected %s, got %s. %s", c.Expect, r.Got, strings.Join(sentences, " ")))
	case !slices.Equal(once(c.Codes), r.Codes):
		r.Sentence = fmt.Sprintf("Expected the codes %s, got %s. %s", listed(once(c.Codes)), listed(r.Codes), strings.Join(sentences, " "))
	default:
		r.Passed = true
	}
	return r
}

// Verdict sums a decision up.
func (d Decision) Verdict() Verdict {
	switch {
	case len(d.Refusals) > 0:
		return Deny
	case d.Approval != nil:
		return NeedsApproval
	}
	return Allow
}

func once(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// ParseCases reads a list of cases in YAML or JSON, with [Faults] as [Parse] has
// them:
//
//   - name: an hour at night
//     vm: /subscriptions/…/virtualMachines/vm-1
//     tags: {env: prod}
//     ports: [22/TCP]
//     source: 203.0.113.7
//     duration: PT1H                 # left out: the policy's default
//     justification: INC-1 disk full
//     requester: {object: …, name: …, tenant: …, roles: […], groups: […], application: false}
//     at: 2026-03-03T23:00:00Z
//     expect: deny                   # allow, deny or approval
//     codes: [outside_window]        # of all refusals
//
// Only name, vm, ports, source and expect must be there, and with deny the codes: denied
// for another reason, a case that was to show one would pass in vain. What else is left
// out counts as absent, and whoever has no tenant is of the home tenant. The source is
// read as that of a request.
func ParseCases(data []byte) ([]Case, error) {
	var r reader
	return strictyaml.Read(data, &r.Reader, func(root field) (cases []Case) {
		for _, item := range r.Sequence(root, "write a case") {
			cases = append(cases, r.testCase(item))
		}
		return cases
	})
}

func (r *reader) testCase(item field) Case {
	var c Case
	fields := r.Mapping(item, "name", "vm", "tags", "ports", "source", "duration", "justification", "requester", "at", "expect", "codes")
	c.Name, _ = r.Line(r.Required(item, fields, "name"), maxMessage)
	c.Question.VM = r.machine(r.Required(item, fields, "vm"))
	for _, port := range r.Sequence(r.Required(item, fields, "ports"), "name what is asked for") {
		c.Question.Ports = append(c.Question.Ports, r.shortPort(port))
	}
	source := r.Required(item, fields, "source")
	if text, ok := r.Text(source); ok {
		var err error
		switch c.Question.Source, err = ParseSource(text); {
		case errors.Is(err, ErrSourceAny):
			r.Fault(source, "source %.60q is everybody, which no request may ask for; write an address or a range.", text)
		case err != nil:
			r.Fault(source, "source is not usable: %s.", err)
		}
	}
	c.ByDefault = true
	if f, ok := fields["duration"]; ok {
		c.ByDefault = false
		c.Question.Duration = time.Duration(r.duration(f, "duration", 0, 2*MaxDuration))
	}
	if f, ok := fields["tags"]; ok {
		c.Question.Tags = r.tags(f)
	}
	c.Question.Justification, _ = r.Line(fields["justification"], 1000)
	c.Question.Requester = r.subject(fields["requester"])
	c.Question.At, _ = r.instant(fields["at"])
	c.Expect = r.verdict(r.Required(item, fields, "expect"))
	codes, given := fields["codes"]
	c.Codes = r.distinct(codes, r.Text)
	switch {
	case c.Expect == Deny && len(c.Codes) == 0:
		if !given {
			r.Missing(item, "codes", "; with deny, list the codes of all refusals")
		}
	case given && c.Expect != Deny:
		r.Fault(codes, "codes goes with deny only.")
	}
	return c
}

func (r *reader) machine(f field) armid.ID {
	text, ok := r.Text(f)
	if !ok {
		return armid.ID{}
	}
	id, err := armid.ParseType(text, armid.VirtualMachine)
	if err != nil {
		r.Fault(f, "vm is not the id of a VM: %s.", reason(err, armid.ErrInvalid))
	}
	return id
}

// shortPort reads 22/TCP or 22.
func (r *reader) shortPort(f field) Port {
	text, ok := r.TextOrNumber(f)
	if !ok {
		return Port{}
	}
	p, err := ParsePort(text)
	if err != nil {
		r.Fault(f, "The port is not usable: %s.", reason(err, ErrPort))
	}
	return p
}

func (r *reader) subject(f field) Subject {
	var s Subject
	fields := r.Mapping(f, "object", "name", "tenant", "roles", "groups", "application")
	s.Object, _ = r.object(fields["object"])
	s.Name, _ = r.Line(fields["name"], maxMessage)
	s.Tenant, s.Guest = r.guid(fields["tenant"], "%.60q is no tenant id; write the GUID that Entra ID shows, or leave it out for somebody of the home tenant.")
	s.Roles = r.distinct(fields["roles"], r.role)
	s.Groups = r.distinct(fields["groups"], r.object)
	s.Application, _ = r.Flag(fields["application"])
	return s
}

func (r *reader) verdict(f field) Verdict {
	text, ok := r.Text(f)
	if ok && text != string(Allow) && text != string(Deny) && text != string(NeedsApproval) {
		r.Fault(f, "expect %.60q is not known; write %s, %s or %s.", text, Allow, Deny, NeedsApproval)
	}
	return Verdict(text)
}
