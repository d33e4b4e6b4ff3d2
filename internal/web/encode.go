package web

import (
	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/audit"
)

// Reason is how a reason is shown; nil for none.
func Reason(r access.Reason) *api.Reason {
	if r.Code == "" {
		return nil
	}
	return &api.Reason{Code: string(r.Code), Text: r.Sentence}
}

// Event is how a line of a record is shown.
func Event(e audit.Event) api.Event {
	return api.Event{Sequence: e.Sequence, At: e.At, Kind: string(e.Kind), Actor: e.Actor, Name: e.Name,
		VM: e.VM, NSG: e.NSG, Rule: e.Rule, Policy: e.Policy, Text: e.Text}
}
