package policies

import (
	"net/http"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/policy"
)

func encode(p policy.Policy) api.Policy {
	return api.Policy{Scope: p.Scope.String(), Tags: p.Tags, Enforced: p.Enforced, Key: p.Key(), Version: p.Version, Hash: p.Hash, Document: p.Text}
}

// EncodeChanged is how a change is answered: 202 when it waits.
func EncodeChanged(c access.Changed) *ChangedOutput {
	out := &ChangedOutput{Status: http.StatusOK}
	switch {
	case c.Proposal != nil:
		p := encodeProposal(*c.Proposal)
		out.Status, out.Body.Proposal = http.StatusAccepted, &p
	case c.Rules.Version > 0:
		rules := EncodeRules(c.Rules)
		out.Body.Rules = &rules
	case c.Policy.Version > 0:
		p := encode(c.Policy)
		out.Body.Policy = &p
	}
	return out
}

// EncodeRules is how alert rules are shown.
func EncodeRules(r access.AlertRules) api.AlertRules {
	return api.AlertRules{Version: r.Version, Hash: r.Hash, Document: r.Text, By: api.Person{Object: r.By.Object, Name: r.By.Name}, At: r.At}
}

func encodeProposal(p access.Proposal) api.Proposal {
	what := "policy"
	if p.Key == access.AlertRulesKey {
		what = access.AlertRulesKey
	}
	return api.Proposal{ID: p.ID, What: what, Remove: p.Remove, Document: p.Text, By: api.Person{Object: p.By.Object, Name: p.By.Name}, At: p.At}
}
