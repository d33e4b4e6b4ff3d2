// Command local runs Azure on a laptop: stand-ins for Service Bus, Table Storage,
// ARM and Entra ID, and a Functions host that starts the built handler. Everything
// listens on 127.0.0.1 only. Ctrl-C stops it.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"jitgate/internal/local"
	"jitgate/internal/local/arm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

type flags struct {
	app, stage, topology, envFile, ports, serviceBusConfig string
	only                                                   []string
	latency                                                time.Duration
	settings                                               map[string]string
	verbose                                                bool
}

func command() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "local",
		Short: "Run jitgate with local stand-ins for Azure",
		Example: `  local --app build/app                          everything, on free ports
  local --app build/app --ports fixed            the ports of the official emulators
  local --app build/app --arm-latency 3s         NSG writes as slow as Azure's
  local --only tables,servicebus                 two stand-ins for other programs
  local --stage build/app                        build the app folder and end`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.stage != "" {
				return local.Stage(c.Context(), ".", f.stage)
			}
			return run(c.Context(), f, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&f.app, "app", "build/app", "staged app folder the host starts")
	c.Flags().StringVar(&f.stage, "stage", "", "build the handler, lay out the app folder here and end")
	c.Flags().StringVar(&f.topology, "topology", "", "YAML file with the machines and NSGs (default: the demo's)")
	c.Flags().DurationVar(&f.latency, "arm-latency", 0, "how long a write to an NSG takes")
	c.Flags().StringVar(&f.envFile, "env-file", "build/local/env", "where to write the addresses as KEY=value lines")
	c.Flags().StringVar(&f.ports, "ports", "auto", "auto (free ports) or fixed")
	c.Flags().StringSliceVar(&f.only, "only", nil, "parts to run: "+strings.Join(local.Parts, ","))
	c.Flags().StringVar(&f.serviceBusConfig, "servicebus-config", "", "queues, in the official emulator's format (default: infra/servicebus.json)")
	c.Flags().StringToStringVar(&f.settings, "setting", nil, "app settings added for the handler, NAME=value")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show the log of the handler and the stand-ins")
	return c
}

func run(ctx context.Context, f flags, out io.Writer) error {
	o := local.Options{AppRoot: f.app, Parts: f.only, ARMLatency: f.latency, FixedPorts: f.ports == "fixed", Settings: inherited(f)}
	if f.ports != "auto" && f.ports != "fixed" {
		return fmt.Errorf("--ports is %q; it must be auto or fixed", f.ports)
	}
	if f.topology != "" {
		text, err := os.ReadFile(f.topology)
		if err != nil {
			return err
		}
		topology, err := arm.ParseTopology(text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.topology, err)
		}
		o.Topology = &topology
	}
	if f.serviceBusConfig != "" {
		text, err := os.ReadFile(f.serviceBusConfig)
		if err != nil {
			return err
		}
		o.ServiceBusConfig = text
	}
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
		o.Output = os.Stderr
	}
	o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))

	started := time.Now()
	stack, err := local.Start(ctx, o)
	if err != nil {
		return err
	}
	defer stack.Close()
	if err := writeEnv(f.envFile, stack.Env); err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.envFile) }() // the addresses are no longer true
	announce(out, stack, f, time.Since(started))
	if stack.Host == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-stack.Host.Done():
		return fmt.Errorf("the host ended: %w", stack.Host.Err())
	}
}

// inherited passes settings from the environment on, and how to sign in to Azure,
// when only some parts run here: the others run elsewhere, as an emulator or as Azure
// itself.
func inherited(f flags) map[string]string {
	settings := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		prefix, _, _ := strings.Cut(name, "_")
		if len(f.only) > 0 && slices.Contains([]string{"JITGATE", "AZURE", "IDENTITY"}, prefix) {
			settings[name] = value
		}
	}
	maps.Copy(settings, f.settings)
	return settings
}

func writeEnv(file string, env map[string]string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&text, "%s=%s\n", name, env[name])
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	return nil
}

func announce(out io.Writer, stack *local.Stack, f flags, took time.Duration) {
	fmt.Fprintf(out, "Ready after %s. Addresses, also in %s:\n\n", took.Round(time.Millisecond), f.envFile)
	for _, name := range slices.Sorted(maps.Keys(stack.Env)) {
		fmt.Fprintf(out, "  %-20s %s\n", name, stack.Env[name])
	}
	if stack.Host == nil || stack.Entra == nil || stack.ARM == nil {
		fmt.Fprintf(out, "\nCtrl-C stops it.\n")
		return
	}
	fmt.Fprintf(out, `
Try, in another terminal in this folder:

  build/bin/jitgate login --as carol
  build/bin/jitgate report
  build/bin/jitgate protect open01 --what-if
  build/bin/jitgate policy apply -f docs/examples/demo-policy.yaml
  build/bin/jitgate login --as alice
  build/bin/jitgate request --vm web01 --port 22 --source 203.0.113.7 --duration 10m --reason "INC-1042 disk full" --wait
  curl -s '%s/probe?vm=web01&source=203.0.113.7&port=22&protocol=Tcp'
  build/bin/jitgate list

Ctrl-C stops it.
`, stack.Env["JITGATE_ARM_URL"])
}
