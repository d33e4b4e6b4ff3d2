// Package machines is the Azure Function behind api/machines: it finds virtual
// machines by name, so that people need not know ARM ids. It reads and changes
// nothing.
package machines

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "list-machines", Method: http.MethodGet, Path: "/api/machines",
		Summary: "List virtual machines in the subscriptions jitgate looks after", Tags: []string{"machines"},
	}), f.list)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

type listInput struct {
	Name string `query:"name" doc:"Only machines of exactly this name, in any case."`
}
type listOutput struct{ Body api.MachineList }

func (f function) list(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := web.Require(ctx, identity.MachineRead); err != nil {
		return nil, web.Error(ctx, f.log, err)
	}
	out := &listOutput{Body: api.MachineList{Machines: []api.Machine{}}}
	for _, subscription := range f.service.Subscriptions {
		err := f.service.Network.Machines(ctx, subscription, func(id armid.ID) error {
			if in.Name == "" || strings.EqualFold(in.Name, id.Name()) {
				out.Body.Machines = append(out.Body.Machines, api.Machine{ID: id.String(), Name: id.Name()})
			}
			return nil
		})
		if err != nil {
			return nil, web.Error(ctx, f.log, err)
		}
	}
	return out, nil
}
