package machines

import (
	"context"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/web"
)

type explainInput struct {
	Machine
	Port     int    `query:"port" required:"true" doc:"Destination port, 1 to 65535." example:"22"`
	Protocol string `query:"protocol" default:"TCP" doc:"TCP or UDP."`
	Source   string `query:"source" doc:"Address the packet comes from. Left out: the caller's address as the platform saw it." example:"203.0.113.7"`
}
type explainOutput struct{ Body api.Explanation }

func (f function) explain(ctx context.Context, in *explainInput) (*explainOutput, error) {
	vm, err := f.seen(ctx, in.Machine)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	question, err := access.ReadQuestion(vm, in.Source, in.Port, in.Protocol, web.Address(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	e, err := f.service.Explain(ctx, question)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &explainOutput{Body: encodeExplanation(e)}, nil
}
