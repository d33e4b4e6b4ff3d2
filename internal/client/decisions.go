package client

import (
	"context"
	"net/http"
	"net/url"

	"jitgate/internal/api"
)

// Approve gives one's consent to a request.
func (c *Client) Approve(ctx context.Context, id string, in api.NewVote) (api.Request, Answer, error) {
	return c.act(ctx, id, "approve", in)
}

// Deny refuses a request.
func (c *Client) Deny(ctx context.Context, id string, in api.NewVote) (api.Request, Answer, error) {
	return c.act(ctx, id, "deny", in)
}

// Extend lets access that is open last longer. It has no idempotency key: a caller
// who does not know whether a call arrived looks at the request first.
func (c *Client) Extend(ctx context.Context, id string, in api.NewExtension) (api.Request, Answer, error) {
	return c.act(ctx, id, "extend", in)
}

func (c *Client) act(ctx context.Context, id, verb string, in any) (api.Request, Answer, error) {
	return asynchronous[api.Request](ctx, c, http.MethodPost, requestPath(id, verb), in, nil)
}

// Review closes the review that is due after somebody broke the glass.
func (c *Client) Review(ctx context.Context, id string, in api.NewReview) (api.Request, error) {
	return send[api.Request](ctx, c, http.MethodPost, requestPath(id, "review"), in)
}

func requestPath(id, verb string) string { return "/api/requests/" + url.PathEscape(id) + "/" + verb }
