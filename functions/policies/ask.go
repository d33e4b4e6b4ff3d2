package policies

import (
	"context"
	"errors"
	"fmt"
	"time"

	"jitgate/functions/requests"
	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/policy"
	"jitgate/internal/web"
)

type explainInput struct{ Body api.PolicyQuestion }

func (f function) explain(ctx context.Context, in *explainInput) (*struct{ Body api.PolicyAnswers }, error) {
	ask, err := f.service.Limits.Read(requests.Decode(in.Body.NewRequest), web.Address(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	var at time.Time
	if in.Body.At != nil {
		at = in.Body.At.UTC()
	}
	answers, err := f.service.AskPolicy(ctx, web.Actor(ctx), ask, at)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &struct{ Body api.PolicyAnswers }{}
	for _, a := range answers {
		one := api.PolicyAnswer{VM: a.VM.String(), Verdict: string(a.Verdict), Policies: a.Policies, Unmet: web.Unmet(a.Refusals),
			Approval: web.Approval(a.Approval), Extensions: a.Extensions, BreakGlass: a.BreakGlass}
		if a.Longest > 0 {
			one.Longest = policy.FormatDuration(a.Longest)
		}
		out.Body.Answers = append(out.Body.Answers, one)
	}
	return out, nil
}

type whatIfInput struct{ Body api.PolicyChange }

func (f function) whatIf(ctx context.Context, in *whatIfInput) (*struct{ Body api.PolicyForecast }, error) {
	var documents []policy.Document
	var faults access.Refusals
	for i, text := range in.Body.Documents {
		doc, err := policy.Parse([]byte(text))
		var found policy.Faults
		if errors.As(err, &found) {
			for _, fault := range found {
				faults = append(faults, faultOf(access.PolicyInvalid, fmt.Sprintf("documents[%d]", i), fault))
			}
		}
		documents = append(documents, doc)
	}
	var remove []access.PolicyKey
	for i, key := range in.Body.Remove {
		scope, ok := readScope(key.Scope)
		if !ok {
			faults = append(faults, access.Refusal{Code: access.PolicyNotFound, Field: fmt.Sprintf("remove[%d].scope", i), Sentence: notFound[0].Sentence})
		}
		remove = append(remove, access.PolicyKey{Scope: scope, Key: key.Key})
	}
	if len(faults) > 0 {
		return nil, f.fail(ctx, faults)
	}
	forecast, err := f.service.WhatIf(ctx, documents, remove)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &struct{ Body api.PolicyForecast }{Body: api.PolicyForecast{Looked: forecast.Looked, Partial: forecast.Partial, Differences: []api.Difference{}}}
	for _, d := range forecast.Differences {
		out.Body.Differences = append(out.Body.Differences, api.Difference{Request: d.Request, VM: d.VM.String(),
			Requester: api.Person{Object: d.Requester.Object, Name: d.Requester.Name}, CreatedAt: d.CreatedAt, State: string(d.State),
			Before: string(d.Before), After: string(d.After), Unmet: web.Unmet(d.Refusals),
			ApprovalBefore: web.Approval(d.ApprovalBefore), ApprovalAfter: web.Approval(d.ApprovalAfter)})
	}
	return out, nil
}

func faultOf(code access.Code, document string, fault policy.Fault) access.Refusal {
	return access.Refusal{Code: code, Field: fmt.Sprintf("%s:%d:%d", document, fault.Line, fault.Column),
		Sentence: fmt.Sprintf("Line %d, column %d: %s", fault.Line, fault.Column, fault.Sentence)}
}
