package tables_test

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/tables"
)

func TestFaults(t *testing.T) {
	s, c := newTable(t, tables.Options{})
	ctx := t.Context()
	busy := func(tables.Op) *tables.Fault {
		return &tables.Fault{Status: 503, Code: "ServerBusy", Message: "The server is busy.", RetryAfter: 2 * time.Second}
	}
	s.SetFaults(busy, nil)
	_, err := c.AddEntity(ctx, row("p", "before", nil), nil)
	wantCode(t, err, 503, "ServerBusy")
	re, _ := errors.AsType[*azcore.ResponseError](err)
	if got := re.RawResponse.Header.Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After %q", got)
	}
	_, err = c.SubmitTransaction(ctx, []aztables.TransactionAction{{ActionType: aztables.TransactionTypeAdd, Entity: row("p", "tx", nil)}}, nil)
	wantCode(t, err, 503, "ServerBusy")

	s.SetFaults(nil, func(tables.Op) *tables.Fault { return &tables.Fault{} })
	_, err = c.AddEntity(ctx, row("p", "after", nil), nil)
	wantCode(t, err, 500, "InternalError")

	s.SetFaults(nil, func(tables.Op) *tables.Fault { return &tables.Fault{Drop: true} })
	_, err = c.AddEntity(ctx, row("p", "dropped", nil), nil)
	if re, ok := errors.AsType[*azcore.ResponseError](err); ok || err == nil {
		t.Errorf("a dropped connection answered %v", re)
	}

	s.SetFaults(nil, nil)
	if diff := cmp.Diff([]string{"p/after", "p/dropped"}, keys(t, c, "")); diff != "" {
		t.Fatal(diff)
	}
}

// The client's own retry policy reads the wait and repeats the request.
func TestClientRetriesAFault(t *testing.T) {
	var left atomic.Int32
	left.Store(2)
	s := tables.New(tables.Options{Before: func(tables.Op) *tables.Fault {
		if left.Add(-1) >= 0 {
			return &tables.Fault{Status: 429, Code: "TooManyRequests", RetryAfter: time.Millisecond}
		}
		return nil
	}})
	service := serve(t, s, policy.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond})
	if _, err := service.CreateTable(t.Context(), "grants", nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Counts()["create-table"]; got != 3 {
		t.Fatalf("%d attempts, want 3", got)
	}
}

// An insert whose answer was lost is repeated by the client and then finds its own work.
func TestLostAnswerBecomesConflict(t *testing.T) {
	var once atomic.Bool
	s := tables.New(tables.Options{After: func(op tables.Op) *tables.Fault {
		if op.Kind == "insert" && once.CompareAndSwap(false, true) {
			return &tables.Fault{Status: http.StatusGatewayTimeout, Code: "OperationTimedOut"}
		}
		return nil
	}})
	service := serve(t, s, policy.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond})
	if _, err := service.CreateTable(t.Context(), "grants", nil); err != nil {
		t.Fatal(err)
	}
	_, err := service.NewClient("grants").AddEntity(t.Context(), row("p", "r", nil), nil)
	wantCode(t, err, 409, "EntityAlreadyExists")
}

func TestOpsAndCounts(t *testing.T) {
	var ops []tables.Op
	s, c := newTable(t, tables.Options{})
	s.SetFaults(func(op tables.Op) *tables.Fault { ops = append(ops, op); return nil }, nil)
	ctx := t.Context()
	etag := add(t, c, "p", "r", nil)
	for _, mode := range []aztables.UpdateMode{aztables.UpdateModeMerge, aztables.UpdateModeReplace} {
		resp, err := c.UpdateEntity(ctx, row("p", "r", nil), &aztables.UpdateEntityOptions{UpdateMode: mode, IfMatch: &etag})
		if err != nil {
			t.Fatal(err)
		}
		etag = resp.ETag
		if _, err := c.UpsertEntity(ctx, row("p", "u", nil), &aztables.UpsertEntityOptions{UpdateMode: mode}); err != nil {
			t.Fatal(err)
		}
	}
	get(t, c, "p", "r")
	keys(t, c, "PartitionKey eq 'p' and RowKey eq 'r'")
	keys(t, c, "PartitionKey ge 'p'")
	if _, err := c.SubmitTransaction(ctx, []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeDelete, Entity: row("p", "r", nil)},
		{ActionType: aztables.TransactionTypeDelete, Entity: row("p", "u", nil)},
	}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := c.DeleteEntity(ctx, "p", "r", nil)
	wantCode(t, err, 404, "ResourceNotFound") // still counted
	if _, err := c.Delete(ctx, nil); err != nil {
		t.Fatal(err)
	}
	op := func(kind, pk, rk string) tables.Op {
		return tables.Op{Kind: kind, Table: "grants", PartitionKey: pk, RowKey: rk, Operations: 1}
	}
	want := []tables.Op{
		op("insert", "p", "r"), op("merge", "p", "r"), op("upsert", "p", "u"), op("replace", "p", "r"), op("upsert", "p", "u"),
		op("get", "p", "r"), op("query", "p", "r"), op("query", "", ""),
		{Kind: "transaction", Table: "grants", PartitionKey: "p", Operations: 2}, op("delete", "p", "r"), op("delete-table", "", ""),
	}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Error(diff)
	}
	counts := map[string]int{"create-table": 1, "insert": 1, "merge": 1, "replace": 1, "upsert": 2, "get": 1, "query": 2, "transaction": 1, "delete": 1, "delete-table": 1}
	if diff := cmp.Diff(counts, s.Counts()); diff != "" {
		t.Error(diff)
	}
}
