// Package local is Azure on a laptop: it starts the stand-ins below it, joins them
// with the built handler, and tells how to reach each. The handler gets ordinary
// app settings and has no way to know. Everything listens on 127.0.0.1 only. The
// package refuses to be kinder than Azure: a stand-in that would be is a fault.
package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"jitgate/infra"
	"jitgate/internal/local/arm"
	"jitgate/internal/local/entra"
	"jitgate/internal/local/host"
	"jitgate/internal/local/servicebus"
	"jitgate/internal/local/tables"
)

// Parts of the stack, in the order they start.
const (
	ServiceBus = "servicebus"
	Tables     = "tables"
	ARM        = "arm"
	Entra      = "entra"
	Host       = "host"
)

// Parts lists all parts.
var Parts = []string{ServiceBus, Tables, ARM, Entra, Host}

// fixedPorts are used when Options.FixedPorts is set: those of the official
// emulators where there is one.
var fixedPorts = map[string]int{ServiceBus: 5672, Tables: 10002, ARM: 7072, Entra: 7073, Host: 7071}

// Ids of the demo tenant and of jitgate's app registration in it.
const (
	TenantID = "99999999-0000-4000-8000-000000000001"
	// OtherTenantID issues tokens as well. The settings serve TenantID alone.
	OtherTenantID = "88888888-0000-4000-8000-0000000000aa"
	Audience      = "99999999-0000-4000-8000-000000000002"
)

// Options of a stack. The zero value is the demo stack without a host.
type Options struct {
	Parts            []string          // nil = all
	AppRoot          string            // staged app folder, see Stage; needed by the host
	Topology         *arm.Topology     // nil = the demo's
	ServiceBusConfig []byte            // emulator format; nil = infra's
	ARMLatency       time.Duration     // how long a write to an NSG takes
	FixedPorts       bool              // instead of free ones
	Settings         map[string]string // app settings added to or replacing the stack's own
	Log              *slog.Logger      // nil = discard
	Output           io.Writer         // the handler's log lines; nil = discard
}

// Stack is a running stack. A part that was not asked for is nil.
type Stack struct {
	ServiceBus *servicebus.Server
	Tables     *tables.Server
	ARM        *arm.Server
	Entra      *entra.Server
	Host       *host.Host

	// Env tells how to reach the parts: JITGATE_URL, JITGATE_ARM_URL,
	// JITGATE_ENTRA_URL, JITGATE_SERVICEBUS, JITGATE_TABLES.
	Env map[string]string
	// Settings are the handler's app settings.
	Settings map[string]string

	options Options
	closers []func()
}

// Start starts the parts and returns once all answer. On an error everything that
// was started is stopped again.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Output == nil {
		o.Output = io.Discard
	}
	if o.Parts == nil {
		o.Parts = Parts
	}
	for _, p := range o.Parts {
		if !slices.Contains(Parts, p) {
			return nil, fmt.Errorf("%q is no part of the stack; there are %v", p, Parts)
		}
	}
	s := &Stack{options: o, Env: map[string]string{}, Settings: map[string]string{
		"FUNCTIONS_WORKER_RUNTIME": "custom",
		"JITGATE_TENANT_ID":        TenantID,
		"JITGATE_AUDIENCE":         Audience,
		"JITGATE_CALLBACK_KEYS":    base64.StdEncoding.EncodeToString(random(32)),
		"JITGATE_NOTIFY_LOOPBACK":  "true", // who is told listens on this machine too
	}}
	starts := map[string]func(context.Context, net.Listener) error{
		ServiceBus: s.startServiceBus, Tables: s.startTables, Entra: s.startEntra, ARM: s.startARM, Host: s.startHost,
	}
	// ARM asks Entra about tokens, the host needs all others.
	for _, part := range []string{ServiceBus, Tables, Entra, ARM, Host} {
		if !slices.Contains(o.Parts, part) {
			continue
		}
		listener, err := s.listen(part)
		if err == nil {
			err = starts[part](ctx, listener)
		}
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("start %s: %w", part, err)
		}
	}
	return s, nil
}

func (s *Stack) listen(part string) (net.Listener, error) {
	port := 0
	if s.options.FixedPorts {
		port = fixedPorts[part]
	}
	return net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
}

func (s *Stack) startServiceBus(_ context.Context, l net.Listener) error {
	text := s.options.ServiceBusConfig
	if text == nil {
		text = infra.ServiceBus
	}
	config, err := servicebus.ParseConfig(text)
	if err != nil {
		return err
	}
	if s.ServiceBus, err = servicebus.New(servicebus.Options{Config: config, Logger: s.options.Log}); err != nil {
		return err
	}
	go func() {
		if err := s.ServiceBus.Serve(l); err != nil {
			s.options.Log.Error("service bus stand-in stopped", "error", err)
		}
	}()
	s.closers = append(s.closers, func() { _ = s.ServiceBus.Close() })
	connection := servicebus.ConnectionString(l.Addr().String())
	s.Env["JITGATE_SERVICEBUS"], s.Settings["JITGATE_SERVICEBUS"] = connection, connection
	return nil
}

func (s *Stack) startTables(_ context.Context, l net.Listener) error {
	s.Tables = tables.New(tables.Options{Logger: s.options.Log})
	connection := s.Tables.ConnectionString(s.serve(l, s.Tables))
	s.Env["JITGATE_TABLES"], s.Settings["JITGATE_TABLES"] = connection, connection
	return nil
}

func (s *Stack) startEntra(_ context.Context, l net.Listener) error {
	header := hex.EncodeToString(random(16))
	var err error
	if s.Entra, err = entra.New(entra.Options{TenantID: TenantID, OtherTenants: []string{OtherTenantID}, Audience: Audience, IdentityHeader: header, Logger: s.options.Log}); err != nil {
		return err
	}
	base := s.serve(l, s.Entra)
	s.Env["JITGATE_ENTRA_URL"] = base
	maps.Copy(s.Settings, map[string]string{
		"JITGATE_ISSUER":          s.Entra.Issuer(base),
		"IDENTITY_ENDPOINT":       base + "/msi/token",
		"IDENTITY_HEADER":         header,
		"AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
	})
	return nil
}

func (s *Stack) startARM(_ context.Context, l net.Listener) error {
	topology := s.options.Topology
	if topology == nil {
		demo, err := arm.ParseTopology(arm.DemoTopology())
		if err != nil {
			return fmt.Errorf("topology: %w", err)
		}
		topology = &demo
	}
	base := "http://" + l.Addr().String()
	options := arm.Options{Topology: *topology, Latency: s.options.ARMLatency, Logger: s.options.Log}
	if s.Entra != nil {
		options.Authorize = func(token string) error { return s.Entra.Verify(token, base) }
	}
	var err error
	if s.ARM, err = arm.New(options); err != nil {
		return err
	}
	s.serve(l, s.ARM)
	s.Env["JITGATE_ARM_URL"] = base
	maps.Copy(s.Settings, map[string]string{
		"JITGATE_ARM_ENDPOINT":  base,
		"JITGATE_ARM_AUDIENCE":  base,
		"JITGATE_SUBSCRIPTIONS": subscriptions(*topology),
	})
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// serve runs a handler until the stack closes and returns its base URL.
func (s *Stack) serve(l net.Listener, h http.Handler) string {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 30 * time.Second}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.options.Log.Error("stand-in stopped", "address", l.Addr(), "error", err)
		}
	}()
	s.closers = append(s.closers, func() { _ = server.Close() })
	return "http://" + l.Addr().String()
}

func (s *Stack) startHost(ctx context.Context, l net.Listener) error {
	maps.Copy(s.Settings, s.options.Settings)
	h, err := host.Start(ctx, host.Options{
		AppRoot: s.options.AppRoot, Settings: s.Settings, Listener: l, Logger: s.options.Log, Output: s.options.Output,
	})
	if err != nil {
		return err
	}
	s.Host = h
	s.closers = append(s.closers, func() { _ = h.Close() })
	s.Env["JITGATE_URL"] = h.URL()
	return nil
}

// Close stops all parts, the host first.
func (s *Stack) Close() {
	for _, stop := range slices.Backward(s.closers) {
		stop()
	}
	s.closers = nil
}
