package web

import (
	"time"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// Reason is how a reason is shown; nil for none.
func Reason(r access.Reason) *api.Reason {
	if r.Code == "" {
		return nil
	}
	return &api.Reason{Code: string(r.Code), Text: r.Sentence}
}

// Unmet is how conditions are shown that are not met.
func Unmet(rs access.Refusals) []api.Unmet {
	var out []api.Unmet
	for _, r := range rs {
		out = append(out, api.Unmet{Code: string(r.Code), Text: r.Sentence, Policy: r.Policy, Passes: r.Passes})
	}
	return out
}

// Approval is how a needed consent is shown; nil for none.
func Approval(a *policy.Approval) *api.Approval {
	if a == nil {
		return nil
	}
	out := &api.Approval{Quorum: a.Quorum, Within: policy.FormatDuration(a.Within), Policies: a.Policies}
	for _, p := range a.Approvers {
		out.Approvers = append(out.Approvers, api.Principals{Roles: p.Roles, Groups: p.Groups, Users: p.Users, Applications: p.Applications})
	}
	return out
}

// ShowPerson is how somebody is shown; nil for nobody.
func ShowPerson(p access.Person) *api.Person {
	if p.Object == "" {
		return nil
	}
	return &api.Person{Object: p.Object, Name: p.Name}
}

// Moment leaves out times that have not come.
func Moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Event is how a line of a record is shown.
func Event(e audit.Event) api.Event {
	return api.Event{Sequence: e.Sequence, At: e.At, Kind: string(e.Kind), Actor: e.Actor, Name: e.Name,
		VM: e.VM, NSG: e.NSG, Rule: e.Rule, Policy: e.Policy, Text: e.Text}
}
