package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"time"

	"jitgate/internal/client"
	"jitgate/internal/local"
)

func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func as(stack *local.Stack, name string) *client.Client {
	token, err := stack.Entra.UserToken(stack.Env["JITGATE_ENTRA_URL"], name)
	return &client.Client{Base: stack.Env["JITGATE_URL"], Token: func(context.Context) (string, error) { return token, err }}
}

func applyPolicy(ctx context.Context, stack *local.Stack, document string) error {
	_, err := as(stack, "carol").ApplyPolicy(ctx, document)
	return err
}

func seconds(since time.Time) float64 { return math.Round(time.Since(since).Seconds()*100) / 100 }

func milliseconds(d time.Duration) float64 { return math.Round(float64(d)/1e4) / 100 }

func microseconds(d time.Duration) float64 { return math.Round(float64(d)/10) / 100 }
