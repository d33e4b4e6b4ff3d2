package client_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/api"
	"jitgate/internal/client"
)

func TestCallsAboutDecisionsAndPolicies(t *testing.T) {
	c, calls := serve(t, ok, struct{}{})
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	request := func(_ api.Request, _ client.Answer, err error) { t.Helper(); do(err) }
	ctx := t.Context()
	request(c.Create(ctx, api.NewRequest{BreakGlass: true}, ""))
	request(c.Approve(ctx, "a/b", api.NewVote{}))
	request(c.Deny(ctx, "r1", api.NewVote{Comment: "no"}))
	request(c.Extend(ctx, "r1", api.NewExtension{Duration: "PT30M"}))
	_, err := c.Review(ctx, "r1", api.NewReview{Comment: "right"})
	do(err)
	_, err = c.List(ctx, client.Filter{ReviewDue: true})
	do(err)
	_, err = c.Lockdowns(ctx)
	do(err)
	_, err = c.LockDown(ctx, api.NewLockdown{Scope: "tenant", Reason: "x"})
	do(err)
	_, err = c.LiftLockdown(ctx, "l/1", api.LiftLockdown{})
	do(err)
	_, err = c.Record(ctx, 0, 0)
	do(err)
	_, err = c.Record(ctx, 7, 50)
	do(err)
	_, err = c.ApplyPolicy(ctx, "scope: tenant")
	do(err)
	_, err = c.RemovePolicy(ctx, api.PolicyKey{Scope: "tenant", Key: "k"})
	do(err)
	_, err = c.Policies(ctx, "")
	do(err)
	_, err = c.Policies(ctx, group)
	do(err)
	_, err = c.PolicyHistory(ctx, api.PolicyKey{Scope: "tenant", Key: "k&1"})
	do(err)
	_, err = c.Proposals(ctx)
	do(err)
	_, err = c.ApproveProposal(ctx, "p?1")
	do(err)
	_, err = c.RejectProposal(ctx, "p1")
	do(err)
	_, err = c.AskPolicy(ctx, api.PolicyQuestion{NewRequest: api.NewRequest{Source: "192.0.2.1"}})
	do(err)
	_, err = c.WhatIf(ctx, api.PolicyChange{Documents: []string{"a", "b"}, Remove: []api.PolicyKey{{Scope: "tenant", Key: "k"}}})
	do(err)
	_, err = c.ApplyAlertRules(ctx, "rules: []")
	do(err)
	_, err = c.AlertRules(ctx)
	do(err)
	if diff := cmp.Diff([]string{
		`POST /api/requests {"breakGlass":true}`,
		`POST /api/requests/a%2Fb/approve {}`,
		`POST /api/requests/r1/deny {"comment":"no"}`,
		`POST /api/requests/r1/extend {"duration":"PT30M"}`,
		`POST /api/requests/r1/review {"comment":"right"}`,
		`GET /api/requests?review=due`,
		`GET /api/lockdowns`,
		`POST /api/lockdowns {"scope":"tenant","reason":"x"}`,
		`POST /api/lockdowns/l%2F1/lift {}`,
		`GET /api/events`,
		`GET /api/events?after=7&limit=50`,
		`PUT /api/policies {"document":"scope: tenant"}`,
		`POST /api/policies/remove {"scope":"tenant","key":"k"}`,
		`GET /api/policies`,
		`GET /api/policies?scope=%2Fsubscriptions%2F00000000-0000-0000-0000-000000000001%2FresourceGroups%2Frg-web`,
		`GET /api/policies/history?key=k%261&scope=tenant`,
		`GET /api/policies/proposals`,
		`POST /api/policies/proposals/p%3F1/approve`,
		`POST /api/policies/proposals/p1/reject`,
		`POST /api/policies/explain {"source":"192.0.2.1"}`,
		`POST /api/policies/what-if {"documents":["a","b"],"remove":[{"scope":"tenant","key":"k"}]}`,
		`PUT /api/alerts/rules {"document":"rules: []"}`,
		`GET /api/alerts/rules`,
	}, *calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestAProposalIsNoPolicy: 202 says that nothing has changed.
func TestAProposalIsNoPolicy(t *testing.T) {
	c, _ := serve(t, func(int) int { return http.StatusAccepted }, api.ChangedPolicy{Proposal: &api.Proposal{ID: "p1", What: "policy"}})
	changed, err := c.ApplyPolicy(context.Background(), "scope: tenant")
	if err != nil || changed.Policy != nil || changed.Proposal == nil || changed.Proposal.ID != "p1" {
		t.Errorf("%+v, %v", changed, err)
	}
	c, _ = serve(t, func(int) int { return http.StatusAccepted }, api.Request{ID: "r1"})
	if r, answer, err := c.Extend(t.Context(), "r1", api.NewExtension{}); err != nil || r.ID != "r1" || answer.Settled {
		t.Errorf("%+v, %+v, %v", r, answer, err)
	}
}
