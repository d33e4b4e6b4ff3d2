// Package subscriptions is the Azure Function behind api/subscriptions, where Logic
// Apps' HttpWebhook actions say that they wait for the outcome of a request. It
// decodes, calls internal/access and encodes. The URLs it is handed are secrets: it
// neither keeps nor logs them.
package subscriptions

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
	operation := func(id, path, summary, description string, status int) huma.Operation {
		return web.Operation(huma.Operation{OperationID: id, Method: http.MethodPost, Path: "/api/subscriptions" + path, DefaultStatus: status,
			Summary: summary, Description: description, Tags: []string{"subscriptions"}}, identity.SubscribeOwn, identity.SubscribeAny)
	}
	huma.Register(a, operation("subscribe", "", "Wait for the outcome of a request",
		"The callback URL is called once, with the request, when the first of the events has come true, or else when the request has ended; at once if that is so already. Subscribing twice is one subscription.", http.StatusCreated), f.subscribe)
	huma.Register(a, operation("unsubscribe", "/cancel", "Wait no more",
		"One that is not known is none.", http.StatusOK), f.cancel)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error {
	if errors.Is(err, access.ErrNotFound) {
		err = access.Refusals{{Code: access.RequestNotFound, Field: "requestId", Sentence: "There is no request with this id; send the id that POST /api/requests gave."}}
	}
	return web.Error(ctx, f.log, err)
}

// find reads a request that the caller may wait for.
func (f function) find(ctx context.Context, id string) error {
	r, err := f.service.Store.Request(ctx, id)
	if err == nil && !r.Requester.Same(web.Person(ctx)) && !web.May(ctx, identity.SubscribeAny) {
		err = access.Refusals{{Code: access.NotYourRequest, Sentence: "This is somebody else's request; wait for your own."}}
	}
	return err
}

type subscribeInput struct{ Body api.NewSubscription }
type subscribeOutput struct{ Body api.Subscription }

func (f function) subscribe(ctx context.Context, in *subscribeInput) (*subscribeOutput, error) {
	if err := f.find(ctx, in.Body.RequestID); err != nil {
		return nil, f.fail(ctx, err)
	}
	id, err := f.service.Subscribe(ctx, in.Body.RequestID, in.Body.CallbackURL, in.Body.Events, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &subscribeOutput{Body: api.Subscription{SubscriptionID: id}}, nil
}

type cancelInput struct{ Body api.CancelSubscription }

func (f function) cancel(ctx context.Context, in *cancelInput) (*struct{ Body api.Subscription }, error) {
	err := f.find(ctx, in.Body.RequestID)
	if err == nil {
		err = f.service.Unsubscribe(ctx, in.Body.RequestID, in.Body.CallbackURL, web.Person(ctx))
	}
	// Logic Apps cancel after success and after a timeout too, whatever we know.
	if err != nil && !errors.Is(err, access.ErrNotFound) {
		return nil, f.fail(ctx, err)
	}
	return &struct{ Body api.Subscription }{}, nil
}
