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
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "create-request", Method: http.MethodPost, Path: "/api/requests", DefaultStatus: http.StatusAccepted,
		Summary: "Ask for access", Tags: []string{"requests"},
		Description: "Answers 202 once the request is saved and queued. Poll Location until it answers 200.",
	}), f.create)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "get-request", Method: http.MethodGet, Path: "/api/requests/{id}",
		Summary: "Show a request", Tags: []string{"requests"},
		Description: "202 with Retry-After while the request is undecided, opening or closing; 200 once it is active or has ended.",
	}), f.get)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "list-requests", Method: http.MethodGet, Path: "/api/requests",
		Summary: "List requests, newest first", Tags: []string{"requests"},
	}), f.list)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "revoke-request", Method: http.MethodPost, Path: "/api/requests/{id}/revoke", DefaultStatus: http.StatusAccepted,
		Summary: "End access now", Tags: []string{"requests"},
		Description: "Connections that are open go on until they end: NSG rules only stop new ones.",
	}), f.revoke)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "list-events", Method: http.MethodGet, Path: "/api/requests/{id}/events",
		Summary: "Show the record of a request", Tags: []string{"requests"},
	}), f.events)
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
	return web.UnderWay(ctx, "/api/requests/"+r.ID, encode(r))
}

type createInput struct {
	IdempotencyKey string `header:"Idempotency-Key" doc:"Makes a repeat return the first call's request. Up to 200 characters."`
	Body           api.NewRequest
}

func (f function) create(ctx context.Context, in *createInput) (*web.Answer[api.Request], error) {
	if err := web.Require(ctx, identity.RequestCreate); err != nil {
		return nil, f.fail(ctx, err)
	}
	ask, err := f.service.Limits.Read(decode(in.Body), web.Address(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	r, err := f.service.Submit(ctx, web.Person(ctx), in.IdempotencyKey, ask)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

type byID struct {
	ID string `path:"id" doc:"Request id."`
}

func (f function) get(ctx context.Context, in *byID) (*web.Answer[api.Request], error) {
	r, err := f.find(ctx, in.ID, identity.RequestReadOwn, identity.RequestReadAny)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	switch r.State() {
	case access.Pending, access.AwaitingApproval, access.Approved, access.Closing:
		return underWay(ctx, r), nil
	}
	return web.Settled(encode(r)), nil
}

// find reads a request the caller may act on: their own, or anybody's.
func (f function) find(ctx context.Context, id string, own, anybody identity.Operation) (access.Request, error) {
	if err := web.Require(ctx, own); err != nil {
		if err := web.Require(ctx, anybody); err != nil {
			return access.Request{}, err
		}
	}
	r, err := f.service.Store.Request(ctx, id)
	if err != nil {
		return access.Request{}, err
	}
	if !r.Requester.Same(web.Person(ctx)) && !web.Caller(ctx).May(anybody) {
		return access.Request{}, access.Refusals{{Code: access.NotYourRequest,
			Sentence: "This is somebody else's request; approvers, administrators and auditors may see it, and the first two may end it."}}
	}
	return r, nil
}

type listInput struct {
	State  string `query:"state" doc:"Only requests in this state."`
	VM     string `query:"vm" doc:"Only requests for this VM (ARM id)."`
	Mine   bool   `query:"mine" doc:"Only the caller's own requests. Always so for callers who may not read others'."`
	Limit  int    `query:"limit" doc:"Requests per page, 1 to 200." minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" doc:"From the previous page's next."`
}

type listOutput struct{ Body api.RequestPage }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	q := access.Query{Limit: in.Limit, Cursor: in.Cursor}
	if in.Mine || !web.Caller(ctx).May(identity.RequestReadAny) {
		if err := web.Require(ctx, identity.RequestReadOwn); err != nil {
			return nil, f.fail(ctx, err)
		}
		q.Requester = web.Person(ctx)
	}
	if err := q.Narrow(in.State, in.VM); err != nil {
		return nil, f.fail(ctx, err)
	}
	page, err := f.service.Store.List(ctx, q)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &listOutput{Body: api.RequestPage{Requests: make([]api.Request, len(page.Requests)), Next: page.Next}}
	for i, r := range page.Requests {
		out.Body.Requests[i] = encode(r)
	}
	return out, nil
}

func (f function) revoke(ctx context.Context, in *byID) (*web.Answer[api.Request], error) {
	if _, err := f.find(ctx, in.ID, identity.RequestRevokeOwn, identity.RequestRevokeAny); err != nil {
		return nil, f.fail(ctx, err)
	}
	r, err := f.service.Revoke(ctx, in.ID, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return underWay(ctx, r), nil
}

type eventsOutput struct{ Body api.EventList }

func (f function) events(ctx context.Context, in *byID) (*eventsOutput, error) {
	r, err := f.find(ctx, in.ID, identity.RequestReadOwn, identity.RequestReadAny)
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
