// Command demo tells the story of jitgate on the local stack, step by step, and
// checks at every step that what it saw is what should be: a closed port opens for
// one address and closes again by itself. It ends with "demo: ok" and exit code 0, or
// with "demo: FAILED" and exit code 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"jitgate/internal/local"
)

func main() {
	app := flag.String("app", "build/app", "staged app folder")
	policy := flag.String("policy", "docs/examples/demo-policy.yaml", "policy document to apply")
	verbose := flag.Bool("v", false, "show the handler's log on stderr")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := run(ctx, *app, *policy, *verbose); err != nil {
		fmt.Printf("\n  what went wrong: %v\n\ndemo: FAILED\n", err)
		os.Exit(1)
	}
	fmt.Println("\ndemo: ok")
}

func run(ctx context.Context, app, policyFile string, verbose bool) error {
	told := newInbox()
	defer told.server.Close()
	options := local.Options{
		AppRoot: app, ARMLatency: 300 * time.Millisecond,
		// What differs from an ordinary installation: access of seconds. What is told is
		// told to this program.
		Settings: map[string]string{"JITGATE_SHORTEST_DURATION": "PT1S", "JITGATE_CHANNELS": told.channel()},
	}
	if verbose {
		options.Output = os.Stderr
		options.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	began := time.Now()
	stack, err := local.Start(ctx, options)
	if err != nil {
		return err
	}
	defer stack.Close()
	s := &story{ctx: ctx, stack: stack, inbox: told}
	s.saw("Service Bus, Table Storage, ARM, Entra ID and the Functions host with the built handler are up after %s.", time.Since(began).Round(time.Millisecond))
	return s.tell(policyFile)
}
