// Package web is the HTTP edge: one API on one mux, callers identified before
// anything else happens, every error an RFC 9457 problem. What an operation does is
// in functions/; what a refusal means is in the domain. The package refuses to
// pass on the text of an error that was not written for callers.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
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
	Version  string
	Log      *slog.Logger
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

// Operation completes an operation with what all of ours share.
func Operation(op huma.Operation) huma.Operation {
	op.MaxBodyBytes = MaxBody + 1 // huma refuses at the limit, we behind it
	op.RejectUnknownQueryParameters = true
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
	address netip.Addr
	base    string
}

// identify lets nobody in whose token does not hold, and notes where the call
// came from.
func identify(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := c.Verifier.Verify(r.Context(), r.Header)
		if err != nil {
			Fail(w, r, c.Log, err)
			return
		}
		info := callInfo{caller: caller, address: clientAddress(r), base: baseURL(r)}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, info)))
	})
}

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

// Require refuses callers whose roles do not allow the operation.
func Require(ctx context.Context, op identity.Operation) error {
	if Caller(ctx).May(op) {
		return nil
	}
	return access.Refusals{{Code: access.RoleMissing,
		Sentence: "None of your app roles allows this; ask an administrator of jitgate's app registration for the role. See docs/api.md for which one."}}
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
