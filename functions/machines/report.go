package machines

import (
	"context"
	"fmt"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/armid"
)

type reportInput struct {
	Scopes []string `query:"scope,explode" doc:"Only machines of this subscription or resource group (ARM id); may be sent several times. Left out: every subscription jitgate looks after."`
}
type reportOutput struct{ Body api.Report }

// Resolve refuses empty scopes. huma takes a first one for none sent at all, and
// would answer for the whole estate.
func (*reportInput) Resolve(ctx huma.Context) []error {
	u := ctx.URL()
	if slices.Contains(u.Query()["scope"], "") {
		return []error{&huma.ErrorDetail{Location: "query.scope", Message: "A scope is empty; send the id of a subscription or resource group, or leave it out."}}
	}
	return nil
}

func (f function) report(ctx context.Context, in *reportInput) (*reportOutput, error) {
	var faults access.Refusals
	var scopes []armid.ID
	for _, text := range in.Scopes {
		id, err := armid.Parse(text)
		if err != nil {
			faults = append(faults, access.Refusal{Code: access.ScopeInvalid, Field: "scope",
				Sentence: fmt.Sprintf("%.200q is not the id of a subscription or resource group; send /subscriptions/… or /subscriptions/…/resourceGroups/….", text)})
		}
		scopes = append(scopes, id)
	}
	if len(faults) > 0 {
		return nil, f.fail(ctx, faults)
	}
	r, err := f.service.Report(ctx, scopes)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &reportOutput{Body: encodeReport(r)}, nil
}
