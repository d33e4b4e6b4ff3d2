// Command handler is the executable the Azure Functions host starts: it reads the
// app settings, builds the app and listens. It logs JSON lines to stdout, because the
// host takes every line on stderr for an error.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"jitgate/internal/app"
)

// main never exits with 0: the host does not restart a handler that did, and every
// later invocation would fail.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	level := new(slog.LevelVar)
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	if err := run(ctx, log, level); err != nil {
		log.Error("handler ends", "error", err)
	}
	os.Exit(1)
}

func run(ctx context.Context, log *slog.Logger, level *slog.LevelVar) error {
	settings := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		settings[name] = value
	}
	config, err := app.Load(settings)
	if err != nil {
		return err
	}
	level.Set(config.LogLevel)
	a, err := app.New(config, log)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
