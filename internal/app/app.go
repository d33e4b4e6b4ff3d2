// Package app is the composition root: it builds clients, adapters, use cases and
// functions from a [Config] and serves them to the Functions host. It is the only
// place that knows them all, and it decides nothing.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/singleflight"

	"jitgate/functions/alerts"
	"jitgate/functions/enforce"
	"jitgate/functions/evaluate"
	"jitgate/functions/events"
	"jitgate/functions/lockdowns"
	"jitgate/functions/machines"
	"jitgate/functions/notify"
	"jitgate/functions/policies"
	"jitgate/functions/requests"
	"jitgate/functions/subscriptions"
	"jitgate/functions/sweep"
	"jitgate/internal/access"
	"jitgate/internal/azfunc"
	"jitgate/internal/azure"
	"jitgate/internal/azure/arm"
	"jitgate/internal/azure/bus"
	"jitgate/internal/azure/tables"
	"jitgate/internal/identity"
	"jitgate/internal/web"
)

// Version is the API's version in the OpenAPI document.
const Version = "0.1.0"

// App is the handler without its process.
type App struct {
	Service *access.Service
	API     huma.API // for the OpenAPI document

	handler http.Handler
	queue   *bus.Queue
	port    int
	log     *slog.Logger
}

// New builds the app. It opens no connection: a handler must answer the host
// within seconds whether or not Azure does.
func New(c Config, log *slog.Logger) (*App, error) {
	credential, err := azure.Credential()
	if err != nil {
		return nil, err
	}
	transport := azure.Transport()
	queue, err := bus.New(bus.Config{ConnectionString: c.ServiceBus, Namespace: c.ServiceBusNamespace, Credential: credential, Log: log})
	if err != nil {
		return nil, err
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	store, err := tables.New(tables.Config{ConnectionString: c.Tables, ServiceURL: c.TablesURL, Credential: credential, Transport: transport, Now: now, Log: log})
	if err != nil {
		return nil, err
	}
	toARM := arm.Config{Endpoint: c.ARMEndpoint, Audience: c.ARMAudience, Credential: credential, Transport: transport, Log: log}
	network, err := arm.New(toARM)
	if err != nil {
		return nil, err
	}
	verifier, err := identity.New(identity.Config{
		Tenants: c.TenantIDs, Audiences: c.Audiences, Issuer: c.Issuer, Now: now,
		EasyAuth: c.EasyAuth, PlatformAuth: strings.EqualFold(c.PlatformAuth, "true"),
	})
	if err != nil {
		return nil, err
	}
	messenger, err := c.messenger(azure.TokenSource(credential, c.WorkflowAudience), now)
	if err != nil {
		return nil, err
	}
	service := &access.Service{
		Store: store, Queue: queue, Network: network, Policies: store, Ledgers: store, Messages: messenger, Now: now, Log: log,
		Limits: c.limits(), Bands: c.Priorities.bands(), Subscriptions: c.Subscriptions, SecondAdmin: c.SecondAdmin, Suspicion: c.suspicion(),
	}
	if len(c.RBACRoles) > 0 {
		if service.Rights, err = arm.NewRights(toARM, c.RBACRoles); err != nil {
			return nil, err
		}
	}
	ready := prepared(store.EnsureTables)
	mux, api := web.New(web.Config{Verifier: verifier, AlertKey: c.AlertKey, ByRBAC: len(c.RBACRoles) > 0, Ready: ready, Version: Version, Log: log})
	requests.Register(api, service, log)
	policies.Register(api, service, log)
	machines.Register(api, service, log)
	lockdowns.Register(api, service, log)
	subscriptions.Register(api, service, log)
	events.Register(api, service, log)
	alerts.Register(api, service, log)
	// The host invokes these by POST to their names. No public route may ever equal
	// one; routes_test.go in functions proves it.
	for name, f := range map[string]azfunc.Func{
		"evaluate": evaluate.New(service), "enforce": enforce.New(service), "notify": notify.New(service), "sweep": sweep.New(service, log),
	} {
		mux.Handle("POST /"+name, azfunc.Handler(func(ctx context.Context, inv azfunc.Invocation) error {
			if err := ready(ctx); err != nil {
				return err
			}
			return f(ctx, inv)
		}, log))
	}
	return &App{Service: service, API: api, queue: queue, port: c.Port, log: log, handler: mux}, nil
}

// ServeHTTP serves one call of the host.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// prepareWithin bounds one attempt to create the tables. It is longer than callers wait:
// an attempt that is cut off each time before it is through would never come to an end.
const prepareWithin = 30 * time.Second

// prepared returns a function that creates the tables before the first call that needs them.
// It tries again until it worked, so that a store that is down at start does not leave a
// handler that never recovers. Calls that wait at the same time share one attempt: one after
// the other, the last of them would wait for as long as all together.
func prepared(prepare func(context.Context) error) func(context.Context) error {
	var done atomic.Bool
	var group singleflight.Group
	return func(ctx context.Context) error {
		if done.Load() {
			return nil
		}
		attempt := group.DoChan("", func() (any, error) {
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), prepareWithin)
			defer cancel()
			err := prepare(within)
			done.Store(err == nil)
			return nil, err
		})
		select {
		case got := <-attempt:
			if got.Err != nil {
				return fmt.Errorf("prepare the tables: %w", got.Err)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run serves on 127.0.0.1, where the host calls, until ctx ends. It sets no write
// timeout: an invocation may take as long as functionTimeout in host.json, and the
// host enforces that by killing us.
func (a *App) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", a.port))
	if err != nil {
		return fmt.Errorf("listen for the Functions host: %w", err)
	}
	server := &http.Server{
		Handler: a, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 10 * time.Minute,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	a.log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", Version)
	select {
	case err := <-stopped:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(grace), a.Close(grace))
}

// Close ends the connection to Service Bus.
func (a *App) Close(ctx context.Context) error { return a.queue.Close(ctx) }
