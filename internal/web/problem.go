package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/identity"
	"jitgate/internal/policy"
)

// retryAfter is how many seconds a caller should wait when something we depend on
// is down.
const retryAfter = 10

// statusOf is the one table from refusal codes to HTTP statuses; codes not in it
// are faults of the call: 400.
var statusOf = map[access.Code]int{
	access.RoleMissing:     http.StatusForbidden,
	access.NotYourRequest:  http.StatusForbidden,
	access.RequestNotFound: http.StatusNotFound,
	access.PolicyNotFound:  http.StatusNotFound,
	access.RequestEnded:    http.StatusConflict,

	access.OwnRequest:           http.StatusForbidden,
	access.ApproverNotAllowed:   http.StatusForbidden,
	access.NoApprover:           http.StatusForbidden,
	access.BreakGlassNotAllowed: http.StatusForbidden,
	access.ExtensionNotAllowed:  http.StatusForbidden,
	access.LockedDown:           http.StatusForbidden,
	access.RBACMissing:          http.StatusForbidden,
	access.OwnProposal:          http.StatusForbidden,
	access.RequestNotAwaiting:   http.StatusConflict,
	access.RequestNotActive:     http.StatusConflict,
	access.ReviewNotDue:         http.StatusConflict,
	access.CallbacksTooMany:     http.StatusConflict,
	access.LockdownsTooMany:     http.StatusConflict,
	access.LockdownNotFound:     http.StatusNotFound,
	access.ProposalNotFound:     http.StatusNotFound,
	access.IdempotencyReused:    http.StatusUnprocessableEntity, // draft-ietf-httpapi-idempotency-key-header

	access.VMNotFound:       http.StatusNotFound,
	access.ScopeNotLookedAt: http.StatusNotFound,
	// The machine, or what stands before it, has to change before the call can work.
	access.NoInterface:     http.StatusConflict,
	access.NoAddress:       http.StatusConflict,
	access.NoNSG:           http.StatusConflict,
	access.FirewallOnly:    http.StatusConflict,
	access.NoPublicAddress: http.StatusConflict,
	access.NSGFull:         http.StatusConflict,
	access.PriorityTaken:   http.StatusConflict,
	access.RuleNameTaken:   http.StatusConflict,
	access.RuleOpensOthers: http.StatusConflict,
	access.NotProtected:    http.StatusConflict,
	// Azure answered us, and its answer is no. 503 would ask the caller to try again.
	access.MachineUnreadable: http.StatusBadGateway,

	policy.NoPolicyCode:          http.StatusForbidden,
	policy.AmbiguousCode:         http.StatusForbidden,
	policy.RequesterNotAllowed:   http.StatusForbidden,
	policy.JustificationRequired: http.StatusForbidden,
	policy.JustificationPattern:  http.StatusForbidden,
	policy.OutsideWindow:         http.StatusForbidden,
	policy.ConditionUnmet:        http.StatusForbidden,
	policy.ConditionFailed:       http.StatusForbidden,
	policy.PortNotAllowed:        http.StatusForbidden,
	policy.SourceNotAllowed:      http.StatusForbidden,
	policy.SourceTooWide:         http.StatusForbidden,
	policy.DurationOverPolicy:    http.StatusForbidden,
}

// Error turns an error of the domain into what the caller gets: a problem that
// says what to do. The cause goes to the log.
func Error(ctx context.Context, log *slog.Logger, err error) error {
	p, headers := problemFor(ctx, log, err)
	if len(headers) > 0 {
		return huma.ErrorWithHeaders(p, headers)
	}
	return p
}

func problemFor(ctx context.Context, log *slog.Logger, err error) (*api.Problem, http.Header) {
	var refusals access.Refusals
	var token *identity.Error
	switch {
	case errors.As(err, &refusals):
		p := refused(refusals)
		if p.Status >= http.StatusInternalServerError {
			log.ErrorContext(ctx, "call could not be served", "error", err)
		}
		return p, nil
	case errors.As(err, &token):
		log.InfoContext(ctx, "call refused: token", "code", string(token.Code))
		return problem(http.StatusUnauthorized, string(token.Code), token.Sentence),
			http.Header{"Www-Authenticate": {"Bearer"}}
	case errors.Is(err, access.ErrForbidden):
		// The caller cannot mend that, but can tell who can.
		log.ErrorContext(ctx, "call could not be served", "error", err)
		return refused(access.Refusals{{Code: access.MachineUnreadable,
			Sentence: "Azure does not let jitgate's identity do this; its operator finds in the log what that was, and has to assign the identity the role of docs/deploy.md that is missing: the custom role on the machine's subscription or resource group, or Storage Table Data Contributor."}}), nil
	case errors.Is(err, access.ErrUnavailable), errors.Is(err, identity.ErrUnavailable),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		log.ErrorContext(ctx, "call could not be served", "error", err)
		return problem(http.StatusServiceUnavailable, api.Unavailable,
				"A service jitgate depends on cannot be reached; repeat the call in a moment, with the same Idempotency-Key if you sent one."),
			http.Header{"Retry-After": {strconv.Itoa(retryAfter)}}
	}
	log.ErrorContext(ctx, "call failed", "error", err)
	return problem(http.StatusInternalServerError, api.Internal, "Something went wrong inside jitgate; its operator finds the cause in the log."), nil
}

func refused(rs access.Refusals) *api.Problem {
	first := rs[0]
	status, known := statusOf[first.Code]
	if !known {
		status = http.StatusBadRequest
	}
	p := problem(status, string(first.Code), rs.Error())
	for _, r := range rs {
		if r.Field != "" || r.Policy != "" || len(rs) > 1 {
			p.Errors = append(p.Errors, api.Fault{Field: r.Field, Code: string(r.Code), Detail: r.Sentence, Policy: r.Policy, Passes: r.Passes})
		}
	}
	return p
}

func problem(status int, code, detail string) *api.Problem {
	return &api.Problem{
		Type: "urn:jitgate:problem:" + code, Title: strings.ReplaceAll(code, "_", " "),
		Status: status, Code: code, Detail: detail,
	}
}

func answerProblem(w http.ResponseWriter, p *api.Problem, headers http.Header) {
	for name, values := range headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller is gone when this fails
}

// huma reports faults in the shape of a call through this variable; there is one
// API per process, so setting it for the process is no loss.
func init() { huma.NewError = shapeProblem }

// shapeProblem describes a call whose JSON, fields or types are wrong.
func shapeProblem(status int, message string, errs ...error) huma.StatusError {
	code, detail := api.InvalidField, "The call does not have the shape this operation needs; see errors for what is wrong where."
	switch status {
	case http.StatusRequestEntityTooLarge:
		code, detail = api.BodyTooLarge, "The body is larger than what is read: 256 KiB, of an alert 512 KiB. Send a smaller one."
	case http.StatusUnsupportedMediaType:
		code, detail = api.UnsupportedMedia, "The body must be JSON; send it with Content-Type: application/json."
	case http.StatusBadRequest:
		code, detail = api.MalformedBody, "The body is missing or is not well-formed JSON; send one JSON object."
	case http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	default:
		if status >= http.StatusInternalServerError {
			code, detail = api.Internal, "Something went wrong inside jitgate; its operator finds the cause in the log."
		}
	}
	p := problem(status, code, detail)
	for _, err := range errs {
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			continue
		}
		fault := api.Fault{Field: strings.TrimPrefix(d.Location, "body."), Code: api.InvalidField, Detail: d.Message}
		if d.Message == validation.MsgUnexpectedProperty || d.Message == "unknown query parameter" {
			fault.Code = api.UnknownField
			fault.Detail = "This field is not known here; check its spelling or leave it out."
		}
		p.Errors = append(p.Errors, fault)
	}
	if len(p.Errors) > 0 && code == api.InvalidField {
		p.Code = p.Errors[0].Code
		p.Type, p.Title = "urn:jitgate:problem:"+p.Code, strings.ReplaceAll(p.Code, "_", " ")
	}
	return p
}

// Fail answers a call that could not even be begun.
func Fail(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	p, headers := problemFor(r.Context(), log, err)
	answerProblem(w, p, headers)
}
