package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"jitgate/internal/local/arm"
)

// Stage builds the handler from the source tree at root and lays out dest as it is
// deployed: host.json and the executable at the top, one folder per function with
// its function.json and nothing else, since the host guesses a language from any
// source file it finds there.
func Stage(ctx context.Context, root, dest string) error {
	if err := os.MkdirAll(dest, 0o755); err != nil {
		return fmt.Errorf("make the app folder: %w", err)
	}
	handler, err := filepath.Abs(filepath.Join(dest, "handler"))
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", handler, "./handler")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the handler: %w\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "function.json"))
	if err != nil {
		return err
	}
	for _, from := range append(files, filepath.Join(root, "host.json")) {
		to := filepath.Join(dest, filepath.Base(from))
		if filepath.Base(from) == "function.json" {
			to = filepath.Join(dest, filepath.Base(filepath.Dir(from)), "function.json")
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func subscriptions(t arm.Topology) string {
	var ids []string
	for _, s := range t.Subscriptions {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, ",")
}
