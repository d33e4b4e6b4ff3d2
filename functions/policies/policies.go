// Package policies is the Azure Function behind api/policies: it shows the policies
// in force and takes new ones. Documents are read by internal/policy and kept by
// the store; this package decodes, calls and encodes.
package policies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/identity"
	"jitgate/internal/policy"
	"jitgate/internal/web"
)

// Register adds the operations to the API.
func Register(a huma.API, store access.Policies, now func() time.Time, log *slog.Logger) {
	f := function{store, now, log}
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "apply-policy", Method: http.MethodPut, Path: "/api/policies",
		Summary: "Put a policy document in force", Tags: []string{"policies"},
		Description: "The document names its own scope. One that says the same as the one in force changes nothing.",
	}), f.apply)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "list-policies", Method: http.MethodGet, Path: "/api/policies",
		Summary: "List the policies in force, or the one of a scope", Tags: []string{"policies"},
	}), f.list)
}

type function struct {
	store access.Policies
	now   func() time.Time
	log   *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error { return web.Error(ctx, f.log, err) }

type applyInput struct{ Body api.NewPolicy }
type applyOutput struct{ Body api.Policy }

func (f function) apply(ctx context.Context, in *applyInput) (*applyOutput, error) {
	if err := web.Require(ctx, identity.PolicyWrite); err != nil {
		return nil, f.fail(ctx, err)
	}
	doc, err := policy.Parse([]byte(in.Body.Document))
	if err != nil {
		return nil, f.fail(ctx, invalid(err))
	}
	p, err := f.store.PutPolicy(ctx, doc, web.Person(ctx), f.now().UTC())
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &applyOutput{Body: encode(p)}, nil
}

// invalid turns all faults of a document into refusals with their places.
func invalid(err error) error {
	var faults policy.Faults
	if !errors.As(err, &faults) {
		return err
	}
	var refusals access.Refusals
	for _, fault := range faults {
		refusals = append(refusals, access.Refusal{Code: access.PolicyInvalid,
			Field:    fmt.Sprintf("document:%d:%d", fault.Line, fault.Column),
			Sentence: fmt.Sprintf("Line %d, column %d: %s", fault.Line, fault.Column, fault.Sentence)})
	}
	return refusals
}

type listInput struct {
	Scope string `query:"scope" doc:"Only the policy of exactly this scope (ARM id)."`
}
type listOutput struct{ Body api.PolicyList }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := web.Require(ctx, identity.PolicyRead); err != nil {
		return nil, f.fail(ctx, err)
	}
	found, err := f.find(ctx, in.Scope)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &listOutput{Body: api.PolicyList{Policies: make([]api.Policy, len(found))}}
	for i, p := range found {
		out.Body.Policies[i] = encode(p)
	}
	return out, nil
}

func (f function) find(ctx context.Context, scope string) ([]policy.Policy, error) {
	if scope == "" {
		return f.store.ListPolicies(ctx)
	}
	id, err := armid.Parse(scope)
	if err == nil {
		p, err := f.store.Policy(ctx, id)
		if !errors.Is(err, access.ErrNotFound) {
			return []policy.Policy{p}, err
		}
	}
	return nil, access.Refusals{{Code: access.PolicyNotFound, Field: "scope",
		Sentence: "There is no policy at this scope; list those there are with GET /api/policies."}}
}

func encode(p policy.Policy) api.Policy {
	return api.Policy{Scope: p.Scope.String(), Version: p.Version, Hash: p.Hash, Document: p.Text}
}
