package client

import (
	"context"
	"net/http"
	"net/url"

	"jitgate/internal/api"
)

// ApplyPolicy puts a document in force. Where a second administrator has to agree
// the answer holds a proposal, and nothing has changed.
func (c *Client) ApplyPolicy(ctx context.Context, document string) (api.ChangedPolicy, error) {
	return send[api.ChangedPolicy](ctx, c, http.MethodPut, "/api/policies", api.NewPolicy{Document: document})
}

// RemovePolicy takes a policy out of force, or proposes it.
func (c *Client) RemovePolicy(ctx context.Context, which api.PolicyKey) (api.ChangedPolicy, error) {
	return send[api.ChangedPolicy](ctx, c, http.MethodPost, "/api/policies/remove", which)
}

// Policies lists the policies in force; with a scope, those at exactly this scope.
func (c *Client) Policies(ctx context.Context, scope string) ([]api.Policy, error) {
	query := url.Values{}
	if scope != "" {
		query.Set("scope", scope)
	}
	list, err := get[api.PolicyList](ctx, c, "/api/policies", query)
	return list.Policies, err
}

// PolicyHistory lists all versions of a policy, newest first.
func (c *Client) PolicyHistory(ctx context.Context, which api.PolicyKey) ([]api.PolicyVersion, error) {
	history, err := get[api.PolicyHistory](ctx, c, "/api/policies/history", url.Values{"scope": {which.Scope}, "key": {which.Key}})
	return history.Versions, err
}

// Proposals lists the changes that wait for a second administrator, oldest first.
func (c *Client) Proposals(ctx context.Context) ([]api.Proposal, error) {
	list, err := get[api.ProposalList](ctx, c, "/api/policies/proposals", nil)
	return list.Proposals, err
}

// ApproveProposal puts a proposal of somebody else in force.
func (c *Client) ApproveProposal(ctx context.Context, id string) (api.ChangedPolicy, error) {
	return send[api.ChangedPolicy](ctx, c, http.MethodPost, "/api/policies/proposals/"+url.PathEscape(id)+"/approve", nil)
}

// RejectProposal has a proposal forgotten and returns those left.
func (c *Client) RejectProposal(ctx context.Context, id string) ([]api.Proposal, error) {
	list, err := send[api.ProposalList](ctx, c, http.MethodPost, "/api/policies/proposals/"+url.PathEscape(id)+"/reject", nil)
	return list.Proposals, err
}

// AskPolicy tells what policy would say to a request, without making one.
func (c *Client) AskPolicy(ctx context.Context, q api.PolicyQuestion) ([]api.PolicyAnswer, error) {
	answers, err := send[api.PolicyAnswers](ctx, c, http.MethodPost, "/api/policies/explain", q)
	return answers.Answers, err
}

// WhatIf tells which requests other policies would have decided differently.
func (c *Client) WhatIf(ctx context.Context, change api.PolicyChange) (api.PolicyForecast, error) {
	return send[api.PolicyForecast](ctx, c, http.MethodPost, "/api/policies/what-if", change)
}
