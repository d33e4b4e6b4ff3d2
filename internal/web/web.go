// Package web is the HTTP edge: one API on one mux, callers identified before
// anything else happens, every error an RFC 9457 problem. What an operation does is
// in functions/; what a refusal means is in the domain. The package refuses to
// pass on the text of an error that was not written for callers.
package web

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"jitgate/internal/access"
	"jitgate/internal/api"
	"jitgate/internal/azfunc"
	"jitgate/internal/identity"
)

// MaxBody is the largest request body, in bytes.
const MaxBody = 256 << 10

// Verifier tells who calls; see identity.Verifier.
type Verifier interface {
	Verify(ctx context.Context, headers http.Header) (identity.Caller, error)
}

// Config holds what the edge needs.
type Config struct {
	Verifier Verifier
	// AlertKey lets in who posts alerts and cannot have a token: Azure Monitor's Azure
	// Function and plain webhook receivers. Empty = nobody.
	AlertKey string
	// ByRBAC says that Azure RBAC decides who may ask and approve, machine by machine:
	// then no app role is needed for either.
	ByRBAC bool
	// Ready is asked about every call whose caller is known: an error is the answer. nil =
	// always ready.
	Ready   func(context.Context) error
	Version string
	Log     *slog.Logger
}

// New returns the mux that serves everything under /api/ and the API to register
// operations on. The mux answers "/" with 200 at once: the Functions host takes
// any answer there for readiness and asks again later to see that we live.
func New(c Config) (*http.ServeMux, huma.API) {
	operations := http.NewServeMux()
	config := huma.DefaultConfig("jitgate", c.Version)
	config.Info.Description = "Just-in-time network access to Azure virtual machines."
	// The documents are generated into docs/; serving them would be one more public path.
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil // no "$schema" links in answers
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"entra": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An Entra ID access token for jitgate's app registration."},
	}
	config.Security = []map[string][]string{{"entra": {}}}
	h := humago.New(operations, config)
	operations.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		answerProblem(w, problem(http.StatusNotFound, api.UnknownOperation, "There is no such operation; see docs/api.md for those there are."), nil)
	})

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.Handle("/api/", summed(c.Log, identify(c, spelled(operations))))
	return mux, h
}

// OperationsExtension is where an operation of the OpenAPI document names what its
// caller must be allowed to do: one of the listed identity.Operation.
const OperationsExtension = "x-jitgate-operations"

// Operation completes an operation with what all of ours share. Whoever calls it must
// be allowed one of may; that is found out before anything of the call is read.
func Operation(op huma.Operation, may ...identity.Operation) huma.Operation {
	op.MaxBodyBytes = MaxBody + 1 // huma refuses at the limit, we behind it
	op.RejectUnknownQueryParameters = true
	op.Extensions = map[string]any{OperationsExtension: may}
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		if slices.ContainsFunc(may, func(op identity.Operation) bool { return May(ctx.Context(), op) }) {
			next(ctx)
			return
		}
		_, w := humago.Unwrap(ctx)
		answerProblem(w, refused(roleMissing(Caller(ctx.Context()), may...)), nil)
	})
	return op
}

// summed writes one line per call. The query stays out of it: it may hold a function
// key (code=).
func summed(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		log.InfoContext(r.Context(), "call answered", "method", r.Method, "path", r.URL.Path, "status", seen.status,
			"ms", time.Since(began).Milliseconds(), "invocation", azfunc.InvocationID(r.Header))
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

type contextKey struct{}

type callInfo struct {
	caller  identity.Caller
	byRBAC  bool
	address netip.Addr
	base    string
}

// identify lets nobody in whose token does not hold, and notes where the call
// came from.
func identify(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, known := c.keyHolder(r)
		if !known {
			var err error
			if caller, err = c.Verifier.Verify(r.Context(), r.Header); err != nil {
				Fail(w, r, c.Log, err)
				return
			}
		}
		if err := c.ready(r.Context()); err != nil {
			Fail(w, r, c.Log, err)
			return
		}
		info := callInfo{caller: caller, byRBAC: c.ByRBAC, address: clientAddress(r), base: baseURL(r)}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, info)))
	})
}

// readyWithin is how long a call waits to be served. Azure Monitor, which calls as well,
// gives up after a few seconds.
const readyWithin = 3 * time.Second

// ready is ErrUnavailable, whatever the cause is: the call was not looked at, and may come
// again.
func (c Config) ready(ctx context.Context) error {
	if c.Ready == nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := c.Ready(within); err != nil {
		return fmt.Errorf("%w: %v", access.ErrUnavailable, err)
	}
	return nil
}

// KeyHolder is the name of a caller who showed the alert key.
const KeyHolder = "alert key"

// keyHolder recognises a caller of the alerts endpoint by the alert key. Azure's
// receivers send it as the parameter code, like a function key; one that the host
// itself checks would prove nothing here, because the host may lead the path of
// another function to us (see package azfunc).
func (c Config) keyHolder(r *http.Request) (identity.Caller, bool) {
	given := r.Header.Get("X-Functions-Key")
	if given == "" {
		given = r.URL.Query().Get("code")
	}
	if c.AlertKey == "" || given == "" || r.Method != http.MethodPost || r.URL.Path != AlertsPath || r.Header.Get("Authorization") != "" ||
		subtle.ConstantTimeCompare([]byte(given), []byte(c.AlertKey)) != 1 {
		return identity.Caller{}, false
	}
	return identity.KeyHolder(KeyHolder), true
}

// AlertsPath is where alerts are posted.
const AlertsPath = "/api/alerts"

func info(ctx context.Context) callInfo {
	i, _ := ctx.Value(contextKey{}).(callInfo)
	return i
}

// Caller is who calls; the zero Caller, who may do nothing, outside of a call.
func Caller(ctx context.Context) identity.Caller { return info(ctx).caller }

// Person is the caller as the domain knows people.
func Person(ctx context.Context) access.Person {
	c := Caller(ctx)
	return access.Person{Tenant: c.Tenant, Object: c.Object, Name: c.Name}
}

// Address is where the call came from as the platform saw it; invalid when the
// platform did not say.
func Address(ctx context.Context) netip.Addr { return info(ctx).address }

// Actor is the caller with the rights they have now.
func Actor(ctx context.Context) access.Actor {
	c := Caller(ctx)
	return access.Actor{Person: Person(ctx), Standing: access.Standing{
		Roles: c.Roles, Groups: c.Groups, GroupsIncomplete: c.GroupsIncomplete, Application: c.Application, Guest: c.Guest}}
}

// May tells whether the caller is allowed an operation. Where Azure RBAC decides, who
// asks, approves and looks is found out machine by machine, and a person needs no app role.
// That is not for guests: Azure's roles here say nothing about them.
func May(ctx context.Context, op identity.Operation) bool {
	return Caller(ctx).May(op) || op.ByRBAC() && ByAzureRBAC(ctx)
}

// ByAzureRBAC tells whether Azure is asked what the caller may: see [May].
func ByAzureRBAC(ctx context.Context) bool {
	i := info(ctx)
	return i.byRBAC && !i.caller.Application && !i.caller.Guest && i.caller.Object != ""
}

// Require refuses callers whose roles do not allow the operation.
func Require(ctx context.Context, op identity.Operation) error {
	if May(ctx, op) {
		return nil
	}
	return roleMissing(Caller(ctx), op)
}

// RequireRole is Require for what Azure RBAC cannot stand in for.
func RequireRole(ctx context.Context, op identity.Operation) error {
	if Caller(ctx).May(op) {
		return nil
	}
	return roleMissing(Caller(ctx), op)
}

// roleMissing names the roles that would do, so that nobody has to guess what to ask for.
func roleMissing(c identity.Caller, ops ...identity.Operation) access.Refusals {
	sentence := "No app role lets a person do this; it is for applications. See docs/api.md."
	switch roles := c.RolesFor(ops...); {
	case len(roles) > 0:
		sentence = "This takes the app role " + strings.Join(roles, " or ") + "; ask an administrator of jitgate's app registration to assign it."
	case c.Application:
		sentence = "No app role lets this application do this. See docs/api.md for who may."
	case c.Guest:
		sentence = "Guests of further tenants may only ask for access; somebody of the home tenant has to do this."
	}
	return access.Refusals{{Code: access.RoleMissing, Sentence: sentence}}
}

// clientAddress reads the last entry of X-Forwarded-For: App Service's front end
// appends the peer it saw ("address:port") to whatever the caller sent, so only
// the last one is the platform's own word. Anything else is not looked at.
func clientAddress(r *http.Request) netip.Addr {
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 0 {
		return netip.Addr{}
	}
	entries := strings.Split(forwarded[len(forwarded)-1], ",")
	last := strings.TrimSpace(entries[len(entries)-1])
	if host, _, err := net.SplitHostPort(last); err == nil {
		last = host
	}
	address, err := netip.ParseAddr(strings.Trim(last, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap()
}

// baseURL is where the caller reached us. The host forwards Host as it was; the
// front end sets X-Forwarded-Proto.
func baseURL(r *http.Request) string {
	proto := r.Header.Get("X-Forwarded-Proto")
	if proto != "http" && proto != "https" {
		proto = "https"
	}
	return proto + "://" + r.Host
}
