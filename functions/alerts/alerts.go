// Package alerts is the Azure Function behind api/alerts, which Azure Monitor's action
// groups and workflows call, and behind the document that says what an alert does. It
// decodes, calls internal/access and encodes. It answers within moments, with 503 and
// not 500 when something it depends on is down: of the two Azure Monitor repeats only
// the former (Azure Monitor, action groups).
package alerts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"jitgate/functions/policies"
	"jitgate/internal/access"
	"jitgate/internal/alert"
	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	receive := web.Operation(huma.Operation{
		OperationID: "receive-alert", Method: http.MethodPost, Path: web.AlertsPath, DefaultStatus: http.StatusAccepted,
		Summary: "Take an alert in", Tags: []string{"alerts"},
		Description: "The common alert schema, from Azure Monitor's secure webhook or with the alert key; or jitgate's own body, from a workflow. 202 once it is filed and queued, also when it is a repeat or nothing is to be done.",
		Security:    []map[string][]string{{"entra": {}}, {"alertKey": {}}},
	}, identity.AlertReceive, identity.AlertReport)
	receive.SkipValidateBody = true          // internal/alert reads it, and says what is wrong with it
	receive.MaxBodyBytes = alert.MaxSize + 1 // refused at the limit, by the reader behind it
	huma.Register(a, receive, f.receive)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "get-alert-rules", Method: http.MethodGet, Path: web.AlertsPath + "/rules",
		Summary: "Show the document that says what an alert does", Tags: []string{"alerts"},
	}, identity.PolicyRead), f.show)
	huma.Register(a, web.Operation(huma.Operation{
		OperationID: "apply-alert-rules", Method: http.MethodPut, Path: web.AlertsPath + "/rules",
		Summary: "Put that document in force", Tags: []string{"alerts"},
		Description: "202 with a proposal where another administrator has to agree.",
	}, identity.PolicyWrite), f.apply)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error {
	var refused alert.Refusal
	if errors.As(err, &refused) {
		err = access.Refusals{{Code: access.Code(refused.Code), Sentence: refused.Sentence}}
	}
	if errors.Is(err, access.ErrNotFound) {
		err = access.Refusals{{Code: access.PolicyNotFound, Sentence: "No alert rules are in force; put some in force with PUT /api/alerts/rules."}}
	}
	return web.Error(ctx, f.log, err)
}

// answerWithin bounds how long a call may take: Azure Monitor gives up after a few seconds.
const answerWithin = 4 * time.Second

type receiveInput struct {
	Code    string `query:"code" doc:"The alert key, from receivers that cannot send a token."`
	RawBody []byte `contentType:"application/json"`
}
type receiveOutput struct{ Body api.AlertReception }

func (f function) receive(ctx context.Context, in *receiveInput) (*receiveOutput, error) {
	a, err := alert.Parse(in.RawBody)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	// Who may send the one body may not send the other: the role that Azure Monitor has
	// says that it saw something, a workflow's that somebody asks for something.
	need := identity.AlertReceive
	if a.Asked != nil {
		need = identity.AlertReport
	}
	if err := web.Require(ctx, need); err != nil {
		return nil, f.fail(ctx, err)
	}
	within, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := f.service.TakeAlert(within, a, web.Person(ctx))
	if err != nil {
		var refused access.Refusals
		if !errors.As(err, &refused) && !errors.As(err, new(alert.Refusal)) {
			err = fmt.Errorf("%w: %v", access.ErrUnavailable, err) // whatever it is, the alert is not taken
		}
		return nil, f.fail(ctx, err)
	}
	f.log.InfoContext(ctx, "alert received", "status", got.Status, "why", got.Why, "rule", got.Rule, "alertRule", a.Rule, "alert", a.ID, "condition", string(a.Condition))
	return &receiveOutput{Body: api.AlertReception{Status: got.Status, Why: got.Why, Rule: got.Rule}}, nil
}

func (f function) show(ctx context.Context, _ *struct{}) (*struct{ Body api.AlertRules }, error) {
	rules, err := f.service.Policies.AlertRules(ctx)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &struct{ Body api.AlertRules }{Body: policies.EncodeRules(rules)}, nil
}

type applyInput struct{ Body api.NewPolicy }

func (f function) apply(ctx context.Context, in *applyInput) (*policies.ChangedOutput, error) {
	done, err := f.service.ApplyAlertRules(ctx, in.Body.Document, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, policies.Invalid(err, access.AlertRulesInvalid))
	}
	return policies.EncodeChanged(done), nil
}
