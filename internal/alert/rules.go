package alert

import (
	"maps"
	"slices"
	"strings"
	"time"

	"jitgate/internal/armid"
	"jitgate/internal/policy"
)

// APIVersion of the rules documents this package reads.
const APIVersion = "jitgate/alerts/v1"

// MaxLockdown is the longest that a rule may lock a machine for; the shortest is
// [policy.MinDuration]. A pre-approval lasts as long as a grant may.
const MaxLockdown = 30 * 24 * time.Hour

// Rules say what is done about which alert. Only [ParseRules] makes them; the
// zero Rules do nothing but unlock what is resolved.
type Rules struct{ rules []rule }

// Action is what is to be done, about the machines listed.
type Action struct {
	Rule     string // name of the rule that decided; empty if only the end of the alert did
	Machines []armid.ID
	Revoke   bool
	Lockdown *Lock
	// PreApproval is never combined with the others.
	PreApproval *PreApproval
	// Unlock ends the lockdowns that were made UntilResolved and have the Key of this
	// news for their End.
	Unlock bool
}

// Lock says when a lockdown ends: at least one of its fields is set, and the first to
// come true ends it. A lockdown
// by an activity log alert that lasts UntilResolved has to be lifted by hand,
// because those alerts are never resolved (Azure Monitor documentation, alerts
// overview).
type Lock struct {
	For           time.Duration
	Until         time.Time // may be past; there is no clock here
	UntilResolved bool
}

// PreApproval lets members of a group have access without an approver. Who may
// ask and for how long a grant may last is for policy to say as ever.
type PreApproval struct {
	Group string // object id, in lower case
	For   time.Duration
	Ports []policy.Port
}

type rule struct {
	name  string
	when  when
	do    Action   // without machines
	scope armid.ID // of do.PreApproval
	allow []Verb   // of what our own body asks for
}

// when is a list of conditions that must all hold; an empty one always does.
type when struct {
	rules         []string // patterns in lower case
	severities    []int
	services      []string // as foldService gives them
	subscriptions []string // in lower case
	sources       []string // in lower case; empty for Azure Monitor's alerts
	custom        map[string]string
	condition     Condition
}

// Match gives what the first rule that matches says, or false when nothing is to
// be done: no rule matches, the alert is the portal's test, or it names no
// machine that the rule could be about. Later rules are not looked at even then.
//
// A Resolved alert also ends what it began, whether or not a rule still names
// it: rules may have changed since, and nothing but that lockdown can be meant.
func (r Rules) Match(a Alert) (Action, bool) {
	if a.Test {
		return Action{}, false
	}
	var action Action
	if i := slices.IndexFunc(r.rules, func(rule rule) bool { return rule.when.holds(a) }); i >= 0 {
		action = r.rules[i].action(a)
	}
	if a.Condition == Resolved {
		action.Unlock = true
	}
	return action, action.Revoke || action.Lockdown != nil || action.PreApproval != nil || action.Unlock
}

func (r rule) action(a Alert) Action {
	action := r.do
	if a.Asked != nil {
		if !slices.Contains(r.allow, a.Asked.Verb) {
			return Action{}
		}
		action = Action{}
		switch a.Asked.Verb {
		case Revoke:
			action.Revoke = true
		case Lockdown:
			action.Lockdown = &Lock{Until: a.Asked.Until, UntilResolved: true}
		case Unlock:
			action.Unlock = true
		case PreApprove:
			action.PreApproval = r.do.PreApproval
		}
	}
	action.Rule, action.Machines = r.name, slices.Clone(a.Machines)
	if action.PreApproval != nil {
		action.Machines = slices.DeleteFunc(action.Machines, func(m armid.ID) bool { return !m.Within(r.scope) })
	}
	if len(action.Machines) == 0 {
		return Action{}
	}
	return action
}

func (w when) holds(a Alert) bool {
	source := ""
	if a.Asked != nil {
		source = strings.ToLower(a.Asked.Source)
	}
	return a.Condition == w.condition &&
		(source != "") == (len(w.sources) > 0) &&
		among(w.sources, source) &&
		among(w.subscriptions, a.Subscription) &&
		among(w.severities, a.Severity) &&
		among(w.services, foldService(a.Service)) &&
		w.namesRule(a) &&
		w.hasCustom(a)
}

// among reports whether v is listed; no list takes any.
func among[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

func (w when) namesRule(a Alert) bool {
	id, name := strings.ToLower(a.RuleID), strings.ToLower(a.Rule)
	return len(w.rules) == 0 || slices.ContainsFunc(w.rules, func(pattern string) bool {
		if prefix, open := strings.CutSuffix(pattern, "*"); open {
			return strings.HasPrefix(id, prefix) || strings.HasPrefix(name, prefix)
		}
		return id == pattern || name == pattern
	})
}

// hasCustom compares exactly: what the rule's author typed is the key of a map,
// not a name that Azure folds.
func (w when) hasCustom(a Alert) bool {
	for name := range maps.Keys(w.custom) {
		if got, ok := a.Custom[name]; !ok || got != w.custom[name] {
			return false
		}
	}
	return true
}

// foldService makes "ResourceHealth" of the documentation and "Resource Health"
// of the portal's test the same.
func foldService(service string) string {
	return strings.ToLower(strings.ReplaceAll(service, " ", ""))
}

// neverResolves reports whether a service's alerts are stateless: always Fired
// (Azure Monitor documentation, alerts overview).
func neverResolves(folded string) bool {
	for _, prefix := range []string{"activitylog", "resourcehealth", "servicehealth"} {
		if strings.HasPrefix(folded, prefix) {
			return true
		}
	}
	return false
}
