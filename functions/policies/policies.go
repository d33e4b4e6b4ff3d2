// Package policies is the Azure Function behind api/policies: it shows the policies
// in force and their versions, takes changes and the consent to them, and says what
// policy would say. Documents are read by internal/policy, decisions are taken in
// internal/access; this package decodes, calls and encodes.
package policies

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/policy"
	"jitgate/internal/web"
)

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	operation := func(id, method, path, summary, description string, may ...identity.Operation) huma.Operation {
		return web.Operation(huma.Operation{OperationID: id, Method: method, Path: "/api/policies" + path, Summary: summary, Description: description, Tags: []string{"policies"}}, may...)
	}
	huma.Register(a, operation("apply-policy", http.MethodPut, "", "Put a policy document in force",
		"The document names its own scope. One that says the same as the one in force changes nothing. 202 with a proposal where another administrator has to agree.", identity.PolicyWrite), f.apply)
	huma.Register(a, operation("list-policies", http.MethodGet, "", "List the policies in force, or those of a scope", "", identity.PolicyRead), f.list)
	huma.Register(a, operation("list-policy-versions", http.MethodGet, "/history", "List all versions of a policy", "Newest first.", identity.PolicyRead), f.history)
	huma.Register(a, operation("remove-policy", http.MethodPost, "/remove", "Take a policy out of force",
		"Its versions are kept. 202 with a proposal where another administrator has to agree.", identity.PolicyWrite), f.remove)
	huma.Register(a, operation("list-proposals", http.MethodGet, "/proposals", "List changes that wait for another administrator", "", identity.PolicyRead), f.proposals)
	huma.Register(a, operation("approve-proposal", http.MethodPost, "/proposals/{id}/approve", "Agree to a change of policy", "Nobody agrees to their own.", identity.PolicyApprove), f.agree)
	huma.Register(a, operation("reject-proposal", http.MethodPost, "/proposals/{id}/reject", "Forget a change of policy that waits", "", identity.PolicyApprove), f.reject)
	huma.Register(a, operation("explain-policy", http.MethodPost, "/explain", "Tell what policy would say to a request", "As who calls, with the rights they have. Nothing is saved.", identity.PolicyRead, identity.RequestCreate), f.explain)
	huma.Register(a, operation("forecast-policies", http.MethodPost, "/what-if", "Tell what a change of policy would change",
		"Which live access and which requests of the last 30 days would have been decided differently, or would wait for others. What was refused at once is not on record and not looked at. Nothing is saved.", identity.PolicyWrite), f.whatIf)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error { return web.Error(ctx, f.log, err) }

// ChangedOutput is the answer to a change.
type ChangedOutput struct {
	Status int
	Body   api.ChangedPolicy
}

type applyInput struct{ Body api.NewPolicy }

func (f function) apply(ctx context.Context, in *applyInput) (*ChangedOutput, error) {
	done, err := f.service.ApplyPolicy(ctx, in.Body.Document, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, Invalid(err, access.PolicyInvalid))
	}
	out := EncodeChanged(done)
	out.Body.Findings = f.lint(ctx, in.Body.Document)
	return out, nil
}

// lint says what is hardly meant once the document is in force beside the others. The
// change is made by then, so that it cannot be looked over is no fault of the call.
func (f function) lint(ctx context.Context, text string) []api.Lint {
	all, err := f.service.Policies.ListPolicies(ctx)
	if err != nil {
		f.log.WarnContext(ctx, "the policies in force could not be linted", "error", err)
		return nil
	}
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		return nil
	}
	mine := policy.New(doc, 1)
	set := policy.Set{}
	for _, p := range all {
		if p.Key() == doc.Key() {
			mine = policy.New(doc, p.Version)
			continue
		}
		set = append(set, p)
	}
	var out []api.Lint
	for _, finding := range policy.Lint(append(set, mine)) {
		out = append(out, api.Lint{Policy: finding.Policy, Code: finding.Code, Text: finding.Sentence})
	}
	return out
}

type listInput struct {
	Scope string `query:"scope" doc:"Only the policies of exactly this scope: an ARM id, or \"tenant\"."`
}
type listOutput struct{ Body api.PolicyList }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
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

func (f function) find(ctx context.Context, text string) ([]policy.Policy, error) {
	if text == "" {
		return f.service.Policies.ListPolicies(ctx)
	}
	if scope, ok := readScope(text); ok {
		found, err := f.service.Policies.PoliciesAt(ctx, scope)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	return nil, notFound
}

var notFound = access.Refusals{{Code: access.PolicyNotFound, Field: "scope",
	Sentence: "There is no policy at this scope; list those there are with GET /api/policies."}}

func readScope(text string) (scope policy.Scope, ok bool) {
	err := scope.UnmarshalText([]byte(text))
	return scope, err == nil && !scope.IsZero()
}

type historyInput struct {
	Scope string `query:"scope" required:"true"`
	Key   string `query:"key" required:"true" doc:"From the list."`
}

func (f function) history(ctx context.Context, in *historyInput) (*struct{ Body api.PolicyHistory }, error) {
	scope, ok := readScope(in.Scope)
	if !ok {
		return nil, f.fail(ctx, notFound)
	}
	versions, err := f.service.Policies.PolicyVersions(ctx, scope, in.Key)
	if err == nil && len(versions) == 0 {
		err = notFound
	}
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &struct{ Body api.PolicyHistory }{}
	for _, v := range versions {
		out.Body.Versions = append(out.Body.Versions, api.PolicyVersion{Version: v.Version, Hash: v.Hash, Document: v.Text,
			By: api.Person{Object: v.By.Object, Name: v.By.Name}, Approver: web.ShowPerson(v.Approver), At: v.At, Removed: v.Removed})
	}
	return out, nil
}

type removeInput struct{ Body api.PolicyKey }

func (f function) remove(ctx context.Context, in *removeInput) (*ChangedOutput, error) {
	scope, ok := readScope(in.Body.Scope)
	if !ok {
		return nil, f.fail(ctx, notFound)
	}
	done, err := f.service.RemovePolicy(ctx, scope, in.Body.Key, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return EncodeChanged(done), nil
}

type proposalsOutput struct{ Body api.ProposalList }

func (f function) proposals(ctx context.Context, _ *struct{}) (*proposalsOutput, error) {
	all, err := f.service.Policies.Proposals(ctx)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &proposalsOutput{Body: api.ProposalList{Proposals: []api.Proposal{}}}
	for _, p := range all {
		out.Body.Proposals = append(out.Body.Proposals, encodeProposal(p))
	}
	return out, nil
}

type proposalInput struct {
	ID string `path:"id" doc:"Proposal id."`
}

func (f function) agree(ctx context.Context, in *proposalInput) (*ChangedOutput, error) {
	done, err := f.service.AgreeToProposal(ctx, in.ID, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return EncodeChanged(done), nil
}

func (f function) reject(ctx context.Context, in *proposalInput) (*proposalsOutput, error) {
	if err := f.service.RejectProposal(ctx, in.ID, web.Person(ctx)); err != nil {
		return nil, f.fail(ctx, err)
	}
	return f.proposals(ctx, nil)
}

// Invalid turns all faults of a document into refusals with their places.
func Invalid(err error, code access.Code) error {
	var faults policy.Faults
	if !errors.As(err, &faults) {
		return err
	}
	var refusals access.Refusals
	for _, fault := range faults {
		refusals = append(refusals, faultOf(code, "document", fault))
	}
	return refusals
}
