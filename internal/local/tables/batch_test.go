package tables_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/tables"
)

func TestTransactionOfEveryKind(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	etag := add(t, c, "p", "merge", props{"A": 1})
	add(t, c, "p", "replace", props{"A": 1})
	add(t, c, "p", "delete", props{"A": 1})
	_, err := c.SubmitTransaction(t.Context(), []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeAdd, Entity: row("p", "add", props{"B": 2})},
		{ActionType: aztables.TransactionTypeUpdateMerge, Entity: row("p", "merge", props{"B": 2}), IfMatch: &etag},
		{ActionType: aztables.TransactionTypeUpdateReplace, Entity: row("p", "replace", props{"B": 2})},
		{ActionType: aztables.TransactionTypeInsertMerge, Entity: row("p", "upsert", props{"B": 2})},
		{ActionType: aztables.TransactionTypeInsertReplace, Entity: row("p", "upsert2", props{"B": 2})},
		{ActionType: aztables.TransactionTypeDelete, Entity: row("p", "delete", nil)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"add": {"B": 2.0}, "merge": {"A": 1.0, "B": 2.0}, "replace": {"B": 2.0}, "upsert": {"B": 2.0}, "upsert2": {"B": 2.0},
	}
	got := map[string]map[string]any{}
	for _, key := range keys(t, c, "") {
		rk := strings.TrimPrefix(key, "p/")
		got[rk], _ = get(t, c, "p", rk)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// The failing change is named and nothing is done, wherever it stands.
func TestTransactionIsAllOrNothing(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	stale := add(t, c, "p", "kept", props{"A": 1})
	if _, err := c.UpsertEntity(t.Context(), row("p", "kept", props{"A": 2}), nil); err != nil {
		t.Fatal(err)
	}
	insert := func(rk string) aztables.TransactionAction {
		return aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: row("p", rk, nil)}
	}
	remove := func(rk string) aztables.TransactionAction {
		return aztables.TransactionAction{ActionType: aztables.TransactionTypeDelete, Entity: row("p", rk, nil)}
	}
	guarded := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, Entity: row("p", "kept", nil), IfMatch: &stale}
	empty := azcore.ETag("")
	unguarded := aztables.TransactionAction{ActionType: aztables.TransactionTypeUpdateMerge, Entity: row("p", "kept", nil), IfMatch: &empty}
	for name, tc := range map[string]struct {
		actions []aztables.TransactionAction
		at      int
		status  int
		code    string
	}{
		"exists":       {[]aztables.TransactionAction{insert("a"), insert("b"), insert("kept"), insert("c")}, 2, 409, "EntityAlreadyExists"},
		"first":        {[]aztables.TransactionAction{insert("kept"), insert("a")}, 0, 409, "EntityAlreadyExists"},
		"stale":        {[]aztables.TransactionAction{insert("a"), guarded}, 1, 412, "UpdateConditionNotSatisfied"},
		"empty etag":   {[]aztables.TransactionAction{insert("a"), unguarded}, 1, 400, "InvalidInput"},
		"missing":      {[]aztables.TransactionAction{remove("kept"), insert("a"), remove("none")}, 2, 404, "ResourceNotFound"},
		"duplicate":    {[]aztables.TransactionAction{insert("a"), insert("b"), remove("a")}, 2, 400, "InvalidDuplicateRow"},
		"bad property": {[]aztables.TransactionAction{insert("a"), {ActionType: aztables.TransactionTypeAdd, Entity: row("p", "b", props{"a-b": 1})}}, 1, 400, "PropertyNameInvalid"},
		"partition":    {[]aztables.TransactionAction{insert("a"), {ActionType: aztables.TransactionTypeAdd, Entity: row("q", "b", nil)}}, 1, 400, "CommandsInBatchActOnDifferentPartitions"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.SubmitTransaction(t.Context(), tc.actions, nil)
			got := transactionError(t, err)
			if got.Status != tc.status || got.Code != tc.code || !strings.HasPrefix(got.Message, fmt.Sprintf("%d:", tc.at)) {
				t.Fatalf("got %+v, want %d %s at %d", got, tc.status, tc.code, tc.at)
			}
			if left := keys(t, c, ""); len(left) != 1 || left[0] != "p/kept" {
				t.Fatalf("a failed transaction left %v", left)
			}
			if p, _ := get(t, c, "p", "kept"); p["A"] != 2.0 {
				t.Fatalf("a failed transaction left %v", p)
			}
		})
	}
}

func TestTransactionLimits(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	batch := func(n int, p props) (out []aztables.TransactionAction) {
		for i := range n {
			out = append(out, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: row("p", fmt.Sprint(i), p)})
		}
		return out
	}
	_, err := c.SubmitTransaction(t.Context(), batch(101, nil), nil)
	if got := transactionError(t, err); got.Status != 400 || got.Code != "InvalidInput" || !strings.HasPrefix(got.Message, "99:") {
		t.Fatalf("101 changes: %+v", got)
	}
	text := strings.Repeat("x", 32<<10)
	_, err = c.SubmitTransaction(t.Context(), batch(70, props{"A": text, "B": text}), nil)
	wantCode(t, err, 413, "RequestBodyTooLarge")
	if left := keys(t, c, ""); len(left) != 0 {
		t.Fatalf("refused transactions left %v", left)
	}
	if _, err := c.SubmitTransaction(t.Context(), batch(100, props{"A": text}), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(keys(t, c, "")); n != 100 {
		t.Fatalf("%d rows, want 100", n)
	}
}

func TestTransactionWithoutTable(t *testing.T) {
	_, _, service := start(t, tables.Options{})
	_, err := service.NewClient("nothere").SubmitTransaction(t.Context(), []aztables.TransactionAction{
		{ActionType: aztables.TransactionTypeAdd, Entity: row("p", "r", nil)},
	}, nil)
	if got := transactionError(t, err); got.Status != 404 || got.Code != "TableNotFound" {
		t.Fatalf("%+v", got)
	}
}
