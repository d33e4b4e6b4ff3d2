// Package requests is the Azure Function behind api/requests: it takes requests for
// access, shows what became of them and takes them back. It decodes, calls
// internal/access and encodes; it decides nothing.
package requests

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	operation := func(id, method, path, summary, description string, may ...identity.Operation) huma.Operation {
		op := huma.Operation{OperationID: id, Method: method, Path: "/api/requests" + path, Summary: summary, Description: description, Tags: []string{"requests"}}
		if method == http.MethodPost && path != "/{id}/review" {
			op.DefaultStatus = http.StatusAccepted
		}
		return web.Operation(op, may...)
	}
	huma.Register(a, operation("create-request", http.MethodPost, "",
		"Ask for access", "Answers 202 once the request is saved and queued. Poll Location until it answers 200.",
		identity.RequestCreate), f.create)
	huma.Register(a, operation("get-request", http.MethodGet, "/{id}",
		"Show a request", "202 with Retry-After while the request is undecided, opening or closing; 200 once it is active or has ended.",
		identity.RequestReadOwn, identity.RequestReadAny), f.get)
	huma.Register(a, operation("list-requests", http.MethodGet, "",
		"List requests, newest first", "", identity.RequestReadOwn, identity.RequestReadAny), f.list)
	huma.Register(a, operation("approve-request", http.MethodPost, "/{id}/approve",
		"Agree to a request", "Nobody approves their own. A workflow says whose decision it is in approver; it counts as policy says.",
		identity.RequestDecide), f.approve)
	huma.Register(a, operation("deny-request", http.MethodPost, "/{id}/deny",
		"Refuse a request", "One approver who refuses is enough.", identity.RequestDecide), f.deny)
	huma.Register(a, operation("revoke-request", http.MethodPost, "/{id}/revoke",
		"End access now", "Connections that are open go on until they end: NSG rules only stop new ones.",
		identity.RequestRevokeOwn, identity.RequestRevokeAny), f.revoke)
	huma.Register(a, operation("extend-request", http.MethodPost, "/{id}/extend",
		"Have access end later", "As many times as policy says, and for no longer in all than it allows.",
		identity.RequestExtendOwn), f.extend)
	huma.Register(a, operation("review-request", http.MethodPost, "/{id}/review",
		"Close the review after somebody broke the glass", "Once the access has ended. Whoever broke the glass cannot.", identity.BreakGlassReview), f.review)
	huma.Register(a, operation("list-events", http.MethodGet, "/{id}/events",
		"Show the record of a request", "", identity.RequestReadOwn, identity.RequestReadAny), f.events)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

// fail also says what is not found: here it is always the request.
func (f function) fail(ctx context.Context, err error) error {
	if errors.Is(err, access.ErrNotFound) {
		err = access.Refusals{{Code: access.RequestNotFound, Sentence: "There is no request with this id; list yours with GET /api/requests?mine=true."}}
	}
	return web.Error(ctx, f.log, err)
}

// underWay says where a request is polled.
func underWay(ctx context.Context, r access.Request) *web.Answer[api.Request] {
	return web.UnderWay(ctx, "/api/requests/"+r.ID, Encode(r))
}

type createInput struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Makes a repeat return the first call's request. Up to 200 characters."`
	Body           api.NewRequest
}

func (f function) create(ctx context.Context, in *createInput) (*web.Answer[api.Request], error) {
	if in.Body.BreakGlass {
		if err := web.Require(ctx, identity.BreakGlass); err != nil {
			return nil, f.fail(ctx, err)
		}
	}
	ask, err := f.service.Limits.Read(Decode(in.Body), web.Address(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	r, err := f.service.Submit(ctx, web.Actor(ctx), in.IdempotencyKey, ask)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

// ByID is exported for huma, which looks into exported embedded fields only.
type ByID struct {
	ID string `path:"id" doc:"Request id."`
}

func (f function) get(ctx context.Context, in *ByID) (*web.Answer[api.Request], error) {
	r, err := f.find(ctx, in.ID, identity.RequestReadAny)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	switch r.State() {
	case access.Pending, access.AwaitingApproval, access.Approved, access.Closing:
		return underWay(ctx, r), nil
	case access.Active:
		if r.Extending() {
			return underWay(ctx, r), nil
		}
	}
	return web.Settled(Encode(r)), nil
}

// find reads a request the caller may act on: their own, or anybody's.
func (f function) find(ctx context.Context, id string, anybody identity.Operation) (access.Request, error) {
	r, err := f.service.Store.Request(ctx, id)
	if err != nil {
		return access.Request{}, err
	}
	if r.Requester.Same(web.Person(ctx)) || web.Caller(ctx).May(anybody) {
		return r, nil
	}
	decides := 0
	if web.ByAzureRBAC(ctx) {
		if decides, err = f.service.Decides(ctx, web.Person(ctx), &r); err != nil {
			return access.Request{}, err
		}
	}
	if decides == 0 || anybody == identity.RequestRevokeAny && decides < len(r.Targets) {
		return access.Request{}, access.Refusals{{Code: access.NotYourRequest,
			Sentence: "This is somebody else's request; approvers, administrators and auditors may see it, and the first two may end it."}}
	}
	return r, nil
}

type listInput struct {
	State  string `query:"state" doc:"Only requests in this state."`
	VM     string `query:"vm" doc:"Only requests for this VM (ARM id)."`
	Review string `query:"review" enum:"due" doc:"due: only those whose review after breaking the glass is open."`
	Mine   bool   `query:"mine" doc:"Only the caller's own requests. Always so for callers who may not read others'; whom Azure RBAC makes an approver sees with state=AwaitingApproval what waits for them."`
	Limit  int    `query:"limit" doc:"Requests per page, 1 to 200." minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" doc:"From the previous page's next."`
}

type listOutput struct{ Body api.RequestPage }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	q := access.Query{Limit: in.Limit, Cursor: in.Cursor, ReviewDue: in.Review == "due"}
	if err := q.Narrow(in.State, in.VM); err != nil {
		return nil, f.fail(ctx, err)
	}
	all := web.Caller(ctx).May(identity.RequestReadAny)
	// Whom Azure RBAC makes an approver finds what waits for them. The rest is not worth
	// asking Azure about every request there ever was.
	may := !all && q.State == access.AwaitingApproval && web.ByAzureRBAC(ctx)
	if in.Mine || !all && !may {
		q.Requester = web.Person(ctx)
	}
	page, err := f.service.Store.List(ctx, q)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &listOutput{Body: api.RequestPage{Requests: []api.Request{}, Next: page.Next}}
	for _, r := range page.Requests {
		if may && !r.Requester.Same(web.Person(ctx)) {
			decides, err := f.service.Decides(ctx, web.Person(ctx), &r)
			if err != nil {
				return nil, f.fail(ctx, err)
			}
			if decides == 0 {
				continue
			}
		}
		out.Body.Requests = append(out.Body.Requests, Encode(r))
	}
	return out, nil
}

func (f function) revoke(ctx context.Context, in *ByID) (*web.Answer[api.Request], error) {
	if _, err := f.find(ctx, in.ID, identity.RequestRevokeAny); err != nil {
		return nil, f.fail(ctx, err)
	}
	r, err := f.service.Revoke(ctx, in.ID, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

type voteInput struct {
	ByID
	Body *api.NewVote
}

func (f function) approve(ctx context.Context, in *voteInput) (*web.Answer[api.Request], error) {
	return f.vote(ctx, in, true)
}

func (f function) deny(ctx context.Context, in *voteInput) (*web.Answer[api.Request], error) {
	return f.vote(ctx, in, false)
}

func (f function) vote(ctx context.Context, in *voteInput, agrees bool) (*web.Answer[api.Request], error) {
	form := access.VoteForm{Agrees: agrees}
	if in.Body != nil {
		form.Comment = in.Body.Comment
		if a := in.Body.Approver; a != nil {
			form.Approver = &access.Person{Object: a.Object, Name: a.Name}
		}
	}
	v, err := form.Read(web.Actor(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	r, err := f.service.Vote(ctx, in.ID, v)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

type extendInput struct {
	ByID
	Body api.NewExtension
}

func (f function) extend(ctx context.Context, in *extendInput) (*web.Answer[api.Request], error) {
	r, err := f.service.Store.Request(ctx, in.ID)
	if err == nil && !r.Requester.Same(web.Person(ctx)) {
		err = access.Refusals{{Code: access.NotYourRequest, Sentence: "Only whoever asked for access can extend it."}}
	}
	if err == nil {
		r, err = f.service.Extend(ctx, in.ID, web.Actor(ctx), in.Body.Duration)
	}
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

type reviewInput struct {
	ByID
	Body api.NewReview
}

func (f function) review(ctx context.Context, in *reviewInput) (*web.Answer[api.Request], error) {
	r, err := f.service.CloseReview(ctx, in.ID, web.Actor(ctx), in.Body.Comment)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return web.Settled(Encode(r)), nil
}

type eventsOutput struct{ Body api.EventList }

func (f function) events(ctx context.Context, in *ByID) (*eventsOutput, error) {
	r, err := f.find(ctx, in.ID, identity.RequestReadAny)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	events, err := f.service.Store.Events(ctx, r.ID)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &eventsOutput{Body: api.EventList{Events: make([]api.Event, len(events))}}
	for i, e := range events {
		out.Body.Events[i] = web.Event(e)
	}
	return out, nil
}
