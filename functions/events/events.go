// Package events is the Azure Function behind api/events: it shows the record of the
// installation, which is what belongs to no single request: lockdowns, alerts,
// changes of policy, suspicious use. It calls and encodes.
package events

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// Register adds the operation to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "list-installation-events", Method: http.MethodGet, Path: "/api/events",
		Summary: "Show the record of the installation", Tags: []string{"events"},
		Description: "Lockdowns, alerts that were acted on, changes of policy and suspicious use, in order. Ask again with after set to the last sequence for what is new.",
	}, identity.LedgerRead), f.list)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

type listInput struct {
	After int `query:"after" doc:"Only events behind this one." minimum:"0"`
	Limit int `query:"limit" doc:"At most so many." minimum:"1" maximum:"1000" default:"200"`
}
type listOutput struct{ Body api.EventList }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	events, err := f.service.Ledgers.LedgerEvents(ctx, in.After, in.Limit)
	if err != nil {
		return nil, web.Error(ctx, f.log, err)
	}
	out := &listOutput{Body: api.EventList{Events: make([]api.Event, len(events))}}
	for i, e := range events {
		out.Body.Events[i] = web.Event(e)
	}
	return out, nil
}
