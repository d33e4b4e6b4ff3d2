package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"golang.org/x/sync/errgroup"

	"jitgate/internal/access"
	"jitgate/internal/app"
	"jitgate/internal/local"
)

type submitResult struct {
	Bench          string  `json:"bench"`
	Requests       int     `json:"requests"`
	Workers        int     `json:"workers"`
	P50            float64 `json:"p50_ms"`
	P99            float64 `json:"p99_ms"`
	PerSecond      float64 `json:"per_second"`
	FloorP50       float64 `json:"floor_p50_ms"`
	FloorP99       float64 `json:"floor_p99_ms"`
	FloorPerSecond float64 `json:"floor_per_second"`
}

const (
	submitRequests = 2000
	submitWorkers  = 8
)

// submit measures POST /api/requests up to the 202, beside the least that such a
// call could do: insert one entity and send one message. Both handlers run in this
// process, against the same stand-ins, and nothing consumes the queue meanwhile.
func submit(ctx context.Context, _ string) (any, error) {
	stack, err := local.Start(ctx, local.Options{Parts: []string{local.ServiceBus, local.Tables, local.Entra, local.ARM}, Log: quiet()})
	if err != nil {
		return nil, err
	}
	defer stack.Close()
	_, closeProduct, err := startProduct(stack)
	if err != nil {
		return nil, err
	}
	defer closeProduct()
	product := stack.Env["JITGATE_URL"]
	floor, closeFloor, err := startFloor(ctx, stack)
	if err != nil {
		return nil, err
	}
	defer closeFloor()

	demo, err := os.ReadFile("docs/examples/demo-policy.yaml")
	if err != nil {
		return nil, err
	}
	if err := applyPolicy(ctx, stack, string(demo)); err != nil {
		return nil, err
	}
	token, err := stack.Entra.UserToken(stack.Env["JITGATE_ENTRA_URL"], "alice")
	if err != nil {
		return nil, err
	}
	result := submitResult{Bench: "submit", Requests: submitRequests, Workers: submitWorkers}
	// Warm both up first, then measure one after the other.
	for _, url := range []string{product, floor} {
		if _, _, err := drive(ctx, url, token, 200); err != nil {
			return nil, err
		}
	}
	times, rate, err := drive(ctx, floor, token, submitRequests)
	if err != nil {
		return nil, err
	}
	result.FloorP50, result.FloorP99, result.FloorPerSecond = percentile(times, 50), percentile(times, 99), rate
	if times, rate, err = drive(ctx, product, token, submitRequests); err != nil {
		return nil, err
	}
	result.P50, result.P99, result.PerSecond = percentile(times, 50), percentile(times, 99), rate
	return result, nil
}

// startProduct serves the product from this process, where the stack without a host
// has none, and returns its use cases too.
func startProduct(stack *local.Stack) (*access.Service, func(), error) {
	settings := maps.Clone(stack.Settings)
	for _, name := range []string{"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "AZURE_TOKEN_CREDENTIALS"} {
		if err := os.Setenv(name, settings[name]); err != nil { // azidentity reads the process environment
			return nil, nil, err
		}
	}
	settings["FUNCTIONS_CUSTOMHANDLER_PORT"] = "1" // not used: httptest listens
	config, err := app.Load(settings)
	if err != nil {
		return nil, nil, err
	}
	a, err := app.New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	server := httptest.NewServer(a)
	stack.Env["JITGATE_URL"] = server.URL
	return a.Service, func() { server.Close(); _ = a.Close(context.Background()) }, nil
}

// startFloor serves a bare handler over the same SDK clients.
func startFloor(ctx context.Context, stack *local.Stack) (string, func(), error) {
	service, err := aztables.NewServiceClientFromConnectionString(stack.Env["JITGATE_TABLES"], nil)
	if err != nil {
		return "", nil, err
	}
	table := service.NewClient("floor")
	if _, err := table.CreateTable(ctx, nil); err != nil {
		return "", nil, err
	}
	bus, err := azservicebus.NewClientFromConnectionString(stack.Env["JITGATE_SERVICEBUS"], nil)
	if err != nil {
		return "", nil, err
	}
	sender, err := bus.NewSender("requests", nil)
	if err != nil {
		return "", nil, err
	}
	var last atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		id := strconv.FormatInt(last.Add(1), 10)
		if err == nil {
			entity, _ := json.Marshal(aztables.EDMEntity{Entity: aztables.Entity{PartitionKey: id, RowKey: "request"}, Properties: map[string]any{"Body": string(body)}})
			_, err = table.AddEntity(r.Context(), entity, nil)
		}
		if err == nil {
			err = sender.SendMessage(r.Context(), &azservicebus.Message{Body: []byte(id)}, nil)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	return server.URL, func() { server.Close(); _ = bus.Close(context.Background()) }, nil
}

// drive posts n requests from a fixed number of workers and returns how long each
// took, sorted, and how many there were per second.
func drive(ctx context.Context, base, token string, n int) ([]time.Duration, float64, error) {
	body, err := json.Marshal(askFor("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-demo/providers/Microsoft.Compute/virtualMachines/web01"))
	if err != nil {
		return nil, 0, err
	}
	times := make([]time.Duration, n)
	var next atomic.Int64
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = submitWorkers
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range submitWorkers {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				start := time.Now()
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/requests", bytes.NewReader(body))
				if err != nil {
					return err
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+token)
				response, err := http.DefaultClient.Do(r)
				if err != nil {
					return err
				}
				answer, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if response.StatusCode != http.StatusAccepted {
					return fmt.Errorf("%s: %s", response.Status, answer)
				}
				times[i] = time.Since(start)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	took := time.Since(began)
	slices.Sort(times)
	return times, float64(int(float64(n) / took.Seconds())), nil
}

func percentile(sorted []time.Duration, p int) float64 {
	return milliseconds(sorted[min(len(sorted)-1, len(sorted)*p/100)])
}
