package requests

import (
	"time"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/policy"
	"jitgate/internal/web"
)

func decode(in api.NewRequest) access.Form {
	f := access.Form{Source: in.Source, Duration: in.Duration, Justification: in.Justification}
	for _, t := range in.Targets {
		target := access.FormTarget{VM: t.VM}
		for _, p := range t.Ports {
			target.Ports = append(target.Ports, access.FormPort{Port: p.Port, Protocol: p.Protocol})
		}
		f.Targets = append(f.Targets, target)
	}
	return f
}

func encode(r access.Request) api.Request {
	out := api.Request{
		ID: r.ID, State: string(r.State()),
		Requester: api.Person{Object: r.Requester.Object, Name: r.Requester.Name},
		Source:    r.Source.String(), Duration: policy.FormatDuration(r.Duration),
		Justification: r.Justification, CreatedAt: r.CreatedAt, ExpiresAt: moment(r.ExpiresAt()),
		Targets: make([]api.Target, len(r.Targets)),
	}
	for i, t := range r.Targets {
		out.Targets[i] = encodeTarget(t)
	}
	return out
}

func encodeTarget(t access.Target) api.Target {
	out := api.Target{
		VM: t.VM.String(), State: string(t.State), Policy: t.Policy,
		ExpiresAt: moment(t.ExpiresAt), OpenedAt: moment(t.OpenedAt), EndedAt: moment(t.EndedAt),
	}
	for _, p := range t.Ports {
		out.Ports = append(out.Ports, api.Port{Port: int(p.Number), Protocol: string(p.Protocol)})
	}
	out.Reason, out.Warning = web.Reason(t.Reason), web.Reason(t.Warning)
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

// moment leaves out times that have not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
