// Package lockdowns is the Azure Function behind api/lockdowns, the kill switch: it
// takes lockdowns, shows those in force and lifts them. It decodes, calls
// internal/access and encodes; it decides nothing.
package lockdowns

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

// Register adds the operations to the API.
func Register(a huma.API, service *access.Service, log *slog.Logger) {
	f := function{service, log}
	operation := func(id, method, path, summary, description string, status int) huma.Operation {
		return web.Operation(huma.Operation{OperationID: id, Method: method, Path: "/api/lockdowns" + path, DefaultStatus: status,
			Summary: summary, Description: description, Tags: []string{"lockdowns"}}, identity.Lockdown)
	}
	huma.Register(a, operation("list-lockdowns", http.MethodGet, "", "List the lockdowns in force", "", http.StatusOK), f.list)
	huma.Register(a, operation("lock-down", http.MethodPost, "",
		"Close everything of a person, a machine or a scope, and refuse new access until it is lifted",
		"Once it answers, nothing new opens. The rules of what was open go within seconds. Only an administrator locks down a person.", http.StatusCreated), f.set)
	huma.Register(a, operation("lift-lockdown", http.MethodPost, "/{id}/lift",
		"Let access be asked for again", "What was closed stays closed. Whoever is locked down cannot lift anything.", http.StatusOK), f.lift)
}

type function struct {
	service *access.Service
	log     *slog.Logger
}

func (f function) fail(ctx context.Context, err error) error { return web.Error(ctx, f.log, err) }

type listOutput struct{ Body api.LockdownList }

func (f function) list(ctx context.Context, _ *struct{}) (*listOutput, error) {
	ledger, err := f.service.Ledgers.Ledger(ctx)
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	out := &listOutput{Body: api.LockdownList{Lockdowns: []api.Lockdown{}}}
	for _, l := range ledger.Lockdowns {
		if l.InForce(f.service.Now()) {
			out.Body.Lockdowns = append(out.Body.Lockdowns, encode(l))
		}
	}
	return out, nil
}

type setInput struct{ Body api.NewLockdown }
type setOutput struct{ Body api.LockedDown }

func (f function) set(ctx context.Context, in *setInput) (*setOutput, error) {
	if in.Body.User != "" {
		if err := web.Require(ctx, identity.LockdownPerson); err != nil {
			return nil, f.fail(ctx, err)
		}
	}
	form := access.LockdownForm{User: in.Body.User, Scope: in.Body.Scope, Until: in.Body.Until, Reason: in.Body.Reason}
	wish, err := form.Read(f.service.Now().UTC())
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	l, ended, err := f.service.LockDown(ctx, wish, web.Person(ctx))
	if err != nil {
		return nil, f.fail(ctx, err)
	}
	return &setOutput{Body: api.LockedDown{Lockdown: encode(l), Ended: ended}}, nil
}

type liftInput struct {
	ID   string `path:"id" doc:"Lockdown id."`
	Body *api.LiftLockdown
}

func (f function) lift(ctx context.Context, in *liftInput) (*listOutput, error) {
	comment := ""
	if in.Body != nil {
		comment = in.Body.Comment
	}
	if err := f.service.Lift(ctx, in.ID, web.Person(ctx), comment); err != nil {
		return nil, f.fail(ctx, err)
	}
	return f.list(ctx, nil)
}

func encode(l access.Lockdown) api.Lockdown {
	out := api.Lockdown{ID: l.ID, User: l.User, Until: web.Moment(l.Until), Alert: l.Alert,
		By: api.Person{Object: l.By.Object, Name: l.By.Name}, Reason: l.Reason, At: l.At}
	if !l.Scope.IsZero() {
		out.Scope = l.Scope.String()
	}
	return out
}
