package alert

import (
	"fmt"
	"slices"

	"jitgate/internal/policy"
)

// document is a rules document as written.
type document struct {
	APIVersion value[string]               `yaml:"apiVersion"`
	Rules      value[[]value[ruleWritten]] `yaml:"rules"`
}

type ruleWritten struct {
	Name  value[string]          `yaml:"name"`
	When  value[whenWritten]     `yaml:"when"`
	Do    value[doWritten]       `yaml:"do"`
	Allow value[[]value[string]] `yaml:"allow"`
}

type whenWritten struct {
	Rule         value[[]value[string]]          `yaml:"rule"`
	Severity     value[[]value[int]]             `yaml:"severity"`
	Service      value[[]value[string]]          `yaml:"service"`
	Subscription value[[]value[string]]          `yaml:"subscription"`
	Custom       value[map[string]value[string]] `yaml:"custom"`
	Condition    value[string]                   `yaml:"condition"`
	Source       value[[]value[string]]          `yaml:"source"`
}

type doWritten struct {
	Revoke     value[bool]              `yaml:"revoke"`
	Lockdown   value[lockWritten]       `yaml:"lockdown"`
	PreApprove value[preApproveWritten] `yaml:"preapprove"`
}

type lockWritten struct {
	For           value[string] `yaml:"for"`
	UntilResolved value[bool]   `yaml:"untilResolved"`
}

type preApproveWritten struct {
	Group  value[string]               `yaml:"group"`
	Within value[string]               `yaml:"within"`
	For    value[string]               `yaml:"for"`
	Ports  value[[]value[portWritten]] `yaml:"ports"`
}

type portWritten struct {
	Port     value[int]    `yaml:"port"`
	Protocol value[string] `yaml:"protocol"`
}

// ParseRules reads a rules document in YAML or JSON. All its faults come back at
// once, as an error of type [policy.Faults], at most 100 of them; text that is no
// YAML has one.
func ParseRules(data []byte) (Rules, error) {
	var root value[document]
	if fault, ok := load(data, &root); !ok {
		return Rules{}, policy.Faults{fault}
	}
	r := &reader{}
	rules := r.document(root)
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b policy.Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return Rules{}, r.faults
	}
	return rules, nil
}

func (r *reader) document(root value[document]) Rules {
	d, ok := read(r, root, "")
	if !ok {
		return Rules{}
	}
	if version, ok := required(r, root, d.APIVersion, "apiVersion"); ok && version != APIVersion {
		fault(r, d.APIVersion, "apiVersion", "apiVersion %.60q is not known; write %s.", version, APIVersion)
	}
	var rules Rules
	seen := map[string]bool{}
	items, _ := required(r, root, d.Rules, "rules")
	for i, item := range items {
		path := fmt.Sprintf("rules[%d]", i)
		written, ok := read(r, item, path)
		if !ok {
			continue
		}
		one := r.rule(item, written, path)
		if seen[one.name] {
			fault(r, written.Name, path+".name", "The name %q is given twice; keep one of them.", one.name)
		}
		seen[one.name] = one.name != ""
		rules.rules = append(rules.rules, one)
	}
	return rules
}

func (r *reader) rule(at value[ruleWritten], w ruleWritten, path string) rule {
	var one rule
	if name, ok := required(r, at, w.Name, path+".name"); ok {
		if !printable(name, 64) {
			fault(r, w.Name, path+".name", "A name has 1 to 64 printable characters.")
		} else {
			one.name = name
		}
	}
	if written, ok := required(r, at, w.When, path+".when"); ok {
		one.when = r.when(w.When, written, path+".when")
	}
	fromOwn := w.When.v.Source.given
	switch {
	case fromOwn && !w.Allow.given:
		missing(r, at, path+".allow", "; say which of revoke, lockdown, unlock and preapprove these sources may ask for")
	case !fromOwn && w.Allow.given:
		fault(r, w.Allow, path+".allow", "allow belongs to a rule with when.source; Azure Monitor's alerts ask for nothing, write do.")
	}
	list(r, w.Allow, path+".allow", func(text string, item value[string], path string) {
		if !slices.Contains(verbs, Verb(text)) {
			fault(r, item, path, "%.60q is not known; write revoke, lockdown, unlock or preapprove.", text)
		}
		one.allow = append(one.allow, Verb(text))
	})
	do, ok := read(r, w.Do, path+".do")
	preApproval := slices.Contains(one.allow, PreApprove)
	switch {
	case !w.Do.given && !fromOwn:
		missing(r, at, path+".do", "")
	case !w.Do.given && preApproval:
		missing(r, at, path+".do", "; say in do.preapprove what is pre-approved")
	case !ok:
	case fromOwn && (do.Revoke.given || do.Lockdown.given):
		fault(r, w.Do, path+".do", "With when.source the alert says what is done, as far as allow goes; do holds no more than preapprove.")
	case do.PreApprove.given && fromOwn && !preApproval:
		fault(r, w.Do, path+".do", "do.preapprove is given, but allow does not list preapprove.")
	}
	if ok {
		r.do(w.Do, do, path+".do", &one)
	}
	return one
}
