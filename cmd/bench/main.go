// Command bench measures jitgate on the local stack and prints one JSON object per
// line. Wherever something plainer could do the same, a baseline taken in the same run
// stands beside the figure, because absolute times say more about the machine than
// about the code. It judges nothing.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

var benchmarks = []struct {
	name string
	run  func(context.Context, string) (any, error)
}{
	{"footprint", footprint},
	{"submit", submit},
	{"burst", burst},
	{"nsg", groupOfThousand},
	{"policy", decisions},
	{"report", report},
	{"sweep", sweep},
}

func main() {
	app := flag.String("app", "build/app", "staged app folder")
	only := flag.String("only", "", "run one benchmark: "+strings.Join(names(), ", "))
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *app, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, app, only string) error {
	if only != "" && !slices.Contains(names(), only) {
		return fmt.Errorf("there is no benchmark %q; there are %s", only, strings.Join(names(), ", "))
	}
	for _, b := range benchmarks {
		if only != "" && only != b.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s…\n", b.name)
		result, err := b.run(ctx, app)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		line, err := json.Marshal(result)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

func names() []string {
	var out []string
	for _, b := range benchmarks {
		out = append(out, b.name)
	}
	return out
}
