package requests

import (
	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/policy"
	"jitgate/internal/web"
)

// Decode is a wish for access as the domain reads it.
func Decode(in api.NewRequest) access.Form {
	f := access.Form{Source: in.Source, Duration: in.Duration, Justification: in.Justification, BreakGlass: in.BreakGlass}
	for _, t := range in.Targets {
		target := access.FormTarget{VM: t.VM}
		for _, p := range t.Ports {
			target.Ports = append(target.Ports, access.FormPort{Port: p.Port, Protocol: p.Protocol})
		}
		f.Targets = append(f.Targets, target)
	}
	return f
}

// Encode is how a request is shown. Secrets of it, such as where workflows wait, are
// not.
func Encode(r access.Request) api.Request {
	out := api.Request{
		ID: r.ID, State: string(r.State()),
		Requester: api.Person{Object: r.Requester.Object, Name: r.Requester.Name},
		Source:    r.Source.String(), Duration: policy.FormatDuration(r.Duration),
		Justification: r.Justification, CreatedAt: r.CreatedAt, ExpiresAt: web.Moment(r.ExpiresAt()),
		BreakGlass: r.BreakGlass, Extensions: r.Extensions, Review: encodeReview(r.Review),
		Targets: make([]api.Target, len(r.Targets)),
	}
	for i, t := range r.Targets {
		out.Targets[i] = encodeTarget(t)
	}
	if r.State() == access.AwaitingApproval {
		out.DecideBy = web.Moment(r.DecideBy)
	}
	for _, v := range r.Votes {
		out.Votes = append(out.Votes, api.Vote{By: api.Person{Object: v.By.Object, Name: v.By.Name}, Via: web.ShowPerson(v.Via), Agrees: v.Agrees, Comment: v.Comment, At: v.At})
	}
	return out
}

func encodeReview(r *access.Review) *api.Review {
	if r == nil {
		return nil
	}
	return &api.Review{DueAt: r.DueAt, Overdue: r.Overdue, By: web.ShowPerson(r.By), Comment: r.Comment, ClosedAt: web.Moment(r.ClosedAt)}
}

func encodeTarget(t access.Target) api.Target {
	out := api.Target{
		VM: t.VM.String(), State: string(t.State), Policy: t.Policy,
		ExpiresAt: web.Moment(t.ExpiresAt), OpenedAt: web.Moment(t.OpenedAt), EndedAt: web.Moment(t.EndedAt),
	}
	for _, p := range t.Ports {
		out.Ports = append(out.Ports, api.Port{Port: int(p.Number), Protocol: string(p.Protocol)})
	}
	out.Reason, out.Warning = web.Reason(t.Reason), web.Reason(t.Warning)
	out.Unmet, out.Approval = web.Unmet(t.Unmet), web.Approval(t.Approval)
	for _, o := range t.Openings {
		opening := api.Opening{NSG: o.NSG.String(), State: "opening"}
		switch {
		case o.Closed:
			opening.State = "closed"
		case o.Open:
			opening.State = "open"
		}
		for _, rule := range o.Rules {
			opening.Rules = append(opening.Rules, rule.Name)
		}
		out.NSGs = append(out.NSGs, opening)
	}
	return out
}
