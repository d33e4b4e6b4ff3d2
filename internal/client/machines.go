package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"jitgate/internal/api"
	"jitgate/internal/armid"
)

// MachineFilter selects virtual machines. What is empty selects all.
type MachineFilter struct {
	Name  string // exactly this one, in any case
	State string // of the protection, for example "Protected"
}

// Machines lists virtual machines.
func (c *Client) Machines(ctx context.Context, f MachineFilter) ([]api.Machine, error) {
	query := url.Values{}
	for name, value := range map[string]string{"name": f.Name, "state": f.State} {
		if value != "" {
			query.Set(name, value)
		}
	}
	list, err := get[api.MachineList](ctx, c, "/api/machines", query)
	return list.Machines, err
}

// Machine shows the protection of a machine, given by its ARM id as in every call
// below. An id that is none is an error that wraps armid.ErrInvalid.
func (c *Client) Machine(ctx context.Context, vm string) (api.Protection, Answer, error) {
	path, err := machinePath(vm, "")
	if err != nil {
		return api.Protection{}, Answer{}, err
	}
	return asynchronous[api.Protection](ctx, c, http.MethodGet, path, nil, nil)
}

// WaitMachine polls until the protection of a machine is settled: Protected,
// Unprotected or Blocked. progress is called with every answer; it may be nil.
func (c *Client) WaitMachine(ctx context.Context, vm string, progress func(api.Protection)) (api.Protection, error) {
	return poll(ctx, func(ctx context.Context) (api.Protection, Answer, error) { return c.Machine(ctx, vm) }, progress)
}

// Protect keeps ports of a machine closed; with whatIf it only says what that
// would change.
func (c *Client) Protect(ctx context.Context, vm string, in api.NewProtection, whatIf bool) (api.Forecast, error) {
	return c.forecast(ctx, vm, "/protect", in, whatIf)
}

// Unprotect ends the protection of a machine; with whatIf it only says what that
// would change.
func (c *Client) Unprotect(ctx context.Context, vm string, in api.EndProtection, whatIf bool) (api.Forecast, error) {
	return c.forecast(ctx, vm, "/unprotect", in, whatIf)
}

func (c *Client) forecast(ctx context.Context, vm, verb string, in any, whatIf bool) (api.Forecast, error) {
	var f api.Forecast
	path, err := machinePath(vm, verb)
	if err != nil {
		return f, err
	}
	if whatIf {
		path += "?whatIf=true"
	}
	_, err = c.call(ctx, http.MethodPost, path, in, nil, &f)
	return f, err
}

// Question asks whether a connection reaches a machine.
type Question struct {
	Port     int
	Protocol string // TCP or UDP
	Source   string // an address; empty = the caller's, as the server sees it
}

// Explain says which rules let a connection pass or stop it.
func (c *Client) Explain(ctx context.Context, vm string, q Question) (api.Explanation, error) {
	path, err := machinePath(vm, "/explain")
	if err != nil {
		return api.Explanation{}, err
	}
	query := url.Values{"port": {strconv.Itoa(q.Port)}, "protocol": {q.Protocol}}
	if q.Source != "" {
		query.Set("source", q.Source)
	}
	return get[api.Explanation](ctx, c, path, query)
}

// MachineEvents returns the record of a machine's protection and of its NSGs.
func (c *Client) MachineEvents(ctx context.Context, vm string) ([]api.Event, error) {
	path, err := machinePath(vm, "/events")
	if err != nil {
		return nil, err
	}
	list, err := get[api.EventList](ctx, c, path, nil)
	return list.Events, err
}

// Report says which machines can be reached. Scopes are ARM ids of subscriptions
// and resource groups; none means all that jitgate looks after.
func (c *Client) Report(ctx context.Context, scopes []string) (api.Report, error) {
	query := url.Values{}
	for _, scope := range scopes {
		query.Add("scope", scope)
	}
	return get[api.Report](ctx, c, "/api/machines/report", query)
}

// machinePath spells the fixed words of an id as the API's routes do: ids come in
// any case, paths do not.
func machinePath(vm, rest string) (string, error) {
	id, err := armid.ParseType(vm, armid.VirtualMachine)
	if err != nil {
		return "", fmt.Errorf("%.120q: %w", vm, err)
	}
	if strings.Trim(id.ResourceGroup(), ".") == "" { // would be another path
		return "", fmt.Errorf("%.120q: %w: the resource group has no name", vm, armid.ErrInvalid)
	}
	return fmt.Sprintf("/api/machines/subscriptions/%s/resourceGroups/%s/providers/%s/%s%s",
		id.Subscription(), url.PathEscape(id.ResourceGroup()), armid.VirtualMachine, url.PathEscape(id.Name()), rest), nil
}
