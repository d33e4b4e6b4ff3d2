package machines

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
	"jitgate/internal/web"
)

// Change is a machine that is to be changed, or only looked at as if it were.
type Change struct {
	Machine
	WhatIf bool `query:"whatIf" doc:"Only say what would change; save nothing."`
}

// Resolve refuses a whatIf without a value, or with several. huma takes the first
// value and an empty one for none at all, and who writes "?whatIf" does not want
// the machine changed.
func (*Change) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	if values := u.Query()["whatIf"]; len(values) > 1 || len(values) == 1 && values[0] == "" {
		return []error{&huma.ErrorDetail{Location: "query.whatIf", Message: "Send whatIf once, as true or false."}}
	}
	return nil
}

// A body left out says the same as an empty one.
type protectInput struct {
	Change
	Body *api.NewProtection
}

func (f function) protect(ctx context.Context, in *protectInput) (*web.Answer[api.Forecast], error) {
	vm, err := in.id()
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	ask, err := decodeForm(in.Body).Read()
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	do := f.service.Protect
	if in.WhatIf {
		do = f.service.ForecastProtect
	}
	forecast, err := do(ctx, vm, ask, web.Person(ctx))
	return f.changed(ctx, in.Change, vm, forecast, err)
}

func decodeForm(in *api.NewProtection) access.ProtectForm {
	if in == nil {
		return access.ProtectForm{}
	}
	form := access.ProtectForm{Flush: in.FlushConnection}
	for _, p := range in.Ports {
		form.Ports = append(form.Ports, access.FormRange{Ports: p.Ports, Protocol: p.Protocol})
	}
	return form
}

type unprotectInput struct {
	Change
	Body *api.EndProtection
}

func (f function) unprotect(ctx context.Context, in *unprotectInput) (*web.Answer[api.Forecast], error) {
	vm, err := in.id()
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	var priorities map[string]int
	if in.Body != nil {
		priorities = in.Body.Priorities
	}
	do := f.service.Unprotect
	if in.WhatIf {
		do = f.service.ForecastUnprotect
	}
	forecast, err := do(ctx, vm, priorities, web.Person(ctx))
	return f.changed(ctx, in.Change, vm, forecast, err)
}

func (f function) changed(ctx context.Context, in Change, vm armid.ID, forecast access.Forecast, err error) (*web.Answer[api.Forecast], error) {
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	body := encodeForecast(forecast)
	if body.WhatIf = in.WhatIf; in.WhatIf {
		return web.Settled(body), nil
	}
	return web.UnderWay(ctx, pathOf(vm), body), nil
}
