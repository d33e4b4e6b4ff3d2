package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"jitgate/internal/api"
)

// Lockdowns lists those in force.
func (c *Client) Lockdowns(ctx context.Context) ([]api.Lockdown, error) {
	list, err := get[api.LockdownList](ctx, c, "/api/lockdowns", nil)
	return list.Lockdowns, err
}

// LockDown closes everything under a lockdown and keeps it closed. A second call is
// a second lockdown.
func (c *Client) LockDown(ctx context.Context, in api.NewLockdown) (api.LockedDown, error) {
	return send[api.LockedDown](ctx, c, http.MethodPost, "/api/lockdowns", in)
}

// LiftLockdown ends a lockdown and returns those left.
func (c *Client) LiftLockdown(ctx context.Context, id string, in api.LiftLockdown) ([]api.Lockdown, error) {
	list, err := send[api.LockdownList](ctx, c, http.MethodPost, "/api/lockdowns/"+url.PathEscape(id)+"/lift", in)
	return list.Lockdowns, err
}

// Record returns the installation's own record, in order: what follows the event of
// this sequence number, at most limit of it. 0 is the server's limit.
func (c *Client) Record(ctx context.Context, after, limit int) ([]api.Event, error) {
	query := url.Values{}
	if after > 0 {
		query.Set("after", strconv.Itoa(after))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	list, err := get[api.EventList](ctx, c, "/api/events", query)
	return list.Events, err
}

// ApplyAlertRules puts the document in force that maps alerts to actions.
func (c *Client) ApplyAlertRules(ctx context.Context, document string) (api.ChangedPolicy, error) {
	return send[api.ChangedPolicy](ctx, c, http.MethodPut, "/api/alerts/rules", api.NewPolicy{Document: document})
}

// AlertRules shows the document that maps alerts to actions.
func (c *Client) AlertRules(ctx context.Context) (api.AlertRules, error) {
	return get[api.AlertRules](ctx, c, "/api/alerts/rules", nil)
}
