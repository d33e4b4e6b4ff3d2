package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"jitgate/internal/local"
)

type footprintResult struct {
	Bench    string  `json:"bench"`
	StartMS  float64 `json:"start_ms"`
	RSSMB    float64 `json:"rss_mb_after_1000_grants"`
	BinaryMB float64 `json:"binary_mb"`
}

// footprint measures how long the handler takes from its start to its first answer,
// how much memory it holds after a thousand grants, and how large it is.
func footprint(ctx context.Context, app string) (any, error) {
	handler, err := filepath.Abs(filepath.Join(app, "handler"))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(handler)
	if err != nil {
		return nil, err
	}
	stack, err := local.Start(ctx, local.Options{AppRoot: app, Log: quiet()})
	if err != nil {
		return nil, err
	}
	defer stack.Close()
	result := footprintResult{Bench: "footprint", BinaryMB: megabytes(info.Size())}
	if result.StartMS, err = startTime(ctx, handler, stack.Settings); err != nil {
		return nil, err
	}

	demo, err := os.ReadFile("docs/examples/demo-policy.yaml")
	if err != nil {
		return nil, err
	}
	if err := applyPolicy(ctx, stack, string(demo)); err != nil {
		return nil, err
	}
	if err := thousandGrants(ctx, stack); err != nil {
		return nil, err
	}
	pid, err := processOf(handler)
	if err != nil {
		return nil, err
	}
	result.RSSMB, err = residentMB(pid)
	return result, err
}

// startTime starts a second handler by hand, as the host does, and takes the shortest
// of five: the time from the start of the process to its first answer.
func startTime(ctx context.Context, handler string, settings map[string]string) (float64, error) {
	best := time.Hour
	for range 5 {
		took, err := startOnce(ctx, handler, settings)
		if err != nil {
			return 0, err
		}
		best = min(best, took)
	}
	return milliseconds(best), nil
}

func startOnce(ctx context.Context, handler string, settings map[string]string) (time.Duration, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	command := exec.CommandContext(ctx, handler)
	command.Env = append(os.Environ(), fmt.Sprintf("FUNCTIONS_CUSTOMHANDLER_PORT=%d", port))
	for name, value := range settings {
		command.Env = append(command.Env, name+"="+value)
	}
	began := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
	for time.Since(began) < 30*time.Second {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err == nil {
			_ = response.Body.Close()
			return time.Since(began), nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.New("the handler does not answer")
}

// thousandGrants opens a thousand grants behind two NSGs, as one holds at most 900.
func thousandGrants(ctx context.Context, stack *local.Stack) error {
	alice := as(stack, "alice")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for i := range 1000 {
		vm := []string{"db01", "fleet01"}[i%2]
		group.Go(func() error {
			r, _, err := alice.Create(ctx, askFor("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo/providers/Microsoft.Compute/virtualMachines/"+vm), "")
			if err != nil {
				return err
			}
			if r, err = alice.Wait(ctx, r.ID, nil); err == nil && r.State != "Active" {
				err = fmt.Errorf("request %s is %s: %+v", r.ID, r.State, r.Targets)
			}
			return err
		})
	}
	return group.Wait()
}

// processOf finds the process that runs an executable. The youngest is ours.
func processOf(executable string) (int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return 0, err
	}
	found := 0
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != executable {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil && pid > found {
			found = pid
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("no process runs %s; the resident size is read from /proc, which needs Linux", executable)
	}
	return found, nil
}

func residentMB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := strings.CutPrefix(string(line), "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return megabytes(kb * 1024), err
		}
	}
	return 0, fmt.Errorf("process %d does not tell its resident size", pid)
}

func megabytes(bytes int64) float64 { return float64(bytes*10>>20) / 10 }
