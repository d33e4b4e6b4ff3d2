package tables_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/tables"
)

func TestTables(t *testing.T) {
	_, _, service := start(t, tables.Options{})
	ctx := t.Context()
	for _, name := range []string{"grants", "Audit", "requests"} {
		resp, err := service.CreateTable(ctx, name, nil)
		if err != nil || *resp.TableName != name {
			t.Fatalf("create %s: %v", name, err)
		}
	}
	_, err := service.CreateTable(ctx, "GRANTS", nil)
	wantCode(t, err, 409, "TableAlreadyExists")
	for name, code := range map[string]string{"ab": "OutOfRangeInput", "1abc": "InvalidResourceName", "a-b-c": "InvalidResourceName", "tables": "InvalidResourceName"} {
		_, err = service.CreateTable(ctx, name, nil)
		wantCode(t, err, 400, code)
	}

	var names []string
	top := int32(2)
	pages := 0
	for pager := service.NewListTablesPager(&aztables.ListTablesOptions{Top: &top}); pager.More(); pages++ {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range page.Tables {
			names = append(names, *table.Name)
		}
	}
	if diff := cmp.Diff([]string{"Audit", "grants", "requests"}, names); diff != "" || pages != 2 {
		t.Fatalf("%d pages, names differ:\n%s", pages, diff)
	}
	filter := "TableName ge 'g' and TableName lt 'h'"
	page, err := service.NewListTablesPager(&aztables.ListTablesOptions{Filter: &filter}).NextPage(ctx)
	if err != nil || len(page.Tables) != 1 || *page.Tables[0].Name != "grants" {
		t.Fatalf("filtered list: %v %v", page.Tables, err)
	}

	if _, err := service.DeleteTable(ctx, "grants", nil); err != nil {
		t.Fatal(err)
	}
	_, err = service.DeleteTable(ctx, "grants", nil)
	wantCode(t, err, 404, "ResourceNotFound")
	gone := service.NewClient("grants")
	_, err = gone.AddEntity(ctx, row("p", "r", nil), nil)
	wantCode(t, err, 404, "TableNotFound")
	_, err = gone.GetEntity(ctx, "p", "r", nil)
	wantCode(t, err, 404, "TableNotFound")
	_, err = gone.NewListEntitiesPager(nil).NextPage(ctx)
	wantCode(t, err, 404, "TableNotFound")
}

func TestInsertAndGet(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	etag := add(t, c, "p", "r", props{"A": 1, "B": "x"})
	got, read := get(t, c, "p", "r")
	if diff := cmp.Diff(map[string]any{"A": 1.0, "B": "x"}, got); diff != "" || read != etag {
		t.Fatalf("etag %q read as %q, properties differ:\n%s", etag, read, diff)
	}
	_, err := c.AddEntity(t.Context(), row("p", "r", nil), nil)
	wantCode(t, err, 409, "EntityAlreadyExists")
	_, err = c.GetEntity(t.Context(), "p", "other", nil)
	wantCode(t, err, 404, "ResourceNotFound")
}

func TestMergeAndReplace(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	ctx := t.Context()
	merge := &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}
	replace := &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeReplace}
	_, err := c.UpdateEntity(ctx, row("p", "r", nil), merge)
	wantCode(t, err, 404, "ResourceNotFound")
	_, err = c.UpdateEntity(ctx, row("p", "r", nil), replace)
	wantCode(t, err, 404, "ResourceNotFound")

	add(t, c, "p", "r", props{"A": 1, "B": 2})
	if _, err := c.UpdateEntity(ctx, row("p", "r", props{"B": 3, "C": 4, "A": nil}), merge); err != nil {
		t.Fatal(err)
	}
	got, _ := get(t, c, "p", "r")
	if diff := cmp.Diff(map[string]any{"A": 1.0, "B": 3.0, "C": 4.0}, got); diff != "" {
		t.Fatalf("after merge:\n%s", diff)
	}
	if _, err := c.UpdateEntity(ctx, row("p", "r", props{"D": 5}), replace); err != nil {
		t.Fatal(err)
	}
	got, _ = get(t, c, "p", "r")
	if diff := cmp.Diff(map[string]any{"D": 5.0}, got); diff != "" {
		t.Fatalf("after replace:\n%s", diff)
	}
}

func TestUpsert(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	ctx := t.Context()
	for _, mode := range []aztables.UpdateMode{aztables.UpdateModeMerge, aztables.UpdateModeReplace} {
		rk := string(mode)
		o := &aztables.UpsertEntityOptions{UpdateMode: mode}
		first, err := c.UpsertEntity(ctx, row("p", rk, props{"A": 1}), o)
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.UpsertEntity(ctx, row("p", rk, props{"B": 2}), o)
		if err != nil || second.ETag == first.ETag {
			t.Fatalf("%s: %v, etags %q %q", mode, err, first.ETag, second.ETag)
		}
	}
	merged, _ := get(t, c, "p", "merge")
	replaced, _ := get(t, c, "p", "replace")
	if diff := cmp.Diff([]map[string]any{{"A": 1.0, "B": 2.0}, {"B": 2.0}}, []map[string]any{merged, replaced}); diff != "" {
		t.Fatal(diff)
	}
}

func TestConditions(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	ctx := t.Context()
	old := add(t, c, "p", "r", props{"A": 1})
	modes := []aztables.UpdateMode{aztables.UpdateModeMerge, aztables.UpdateModeReplace}
	for _, mode := range modes {
		resp, err := c.UpdateEntity(ctx, row("p", "r", props{"A": 2}), &aztables.UpdateEntityOptions{UpdateMode: mode, IfMatch: &old})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.UpdateEntity(ctx, row("p", "r", props{"A": 3}), &aztables.UpdateEntityOptions{UpdateMode: mode, IfMatch: &old})
		wantCode(t, err, 412, "UpdateConditionNotSatisfied")
		_, err = c.UpdateEntity(ctx, row("p", "none", nil), &aztables.UpdateEntityOptions{UpdateMode: mode, IfMatch: &old})
		wantCode(t, err, 404, "ResourceNotFound")
		old = resp.ETag
	}
	for _, bad := range []azcore.ETag{"", `"strong"`, "garbage"} {
		_, err := c.UpdateEntity(ctx, row("p", "r", nil), &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeReplace, IfMatch: &bad})
		wantCode(t, err, 400, "InvalidInput")
	}
	got, current := get(t, c, "p", "r")
	if got["A"] != 2.0 || current != old {
		t.Fatalf("refused writes left %v %q, want A=2 %q", got, current, old)
	}

	stale := azcore.ETag(`W/"datetime'2020-01-01T00%3A00%3A00Z'"`)
	_, err := c.DeleteEntity(ctx, "p", "r", &aztables.DeleteEntityOptions{IfMatch: &stale})
	wantCode(t, err, 412, "UpdateConditionNotSatisfied")
	if _, err := c.DeleteEntity(ctx, "p", "r", &aztables.DeleteEntityOptions{IfMatch: &current}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteEntity(ctx, "p", "r", nil)
	wantCode(t, err, 404, "ResourceNotFound")
}

// A stopped clock must not make two versions of an entity look the same.
func TestETagIsNewWithinOneTick(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	_, c := newTable(t, tables.Options{Clock: clock})
	seen := map[azcore.ETag]bool{add(t, c, "p", "r", nil): true}
	for range 20 {
		resp, err := c.UpsertEntity(t.Context(), row("p", "r", nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if seen[resp.ETag] {
			t.Fatalf("etag %q came twice", resp.ETag)
		}
		seen[resp.ETag] = true
	}
	clock.Advance(time.Hour)
	resp, err := c.UpsertEntity(t.Context(), row("p", "r", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := azcore.ETag(`W/"datetime'2026-03-04T06%3A06%3A07Z'"`); resp.ETag != want {
		t.Fatalf("etag %q, want %q", resp.ETag, want)
	}
	stored, err := c.GetEntity(t.Context(), "p", "r", nil)
	if err != nil {
		t.Fatal(err)
	}
	var e aztables.EDMEntity
	if err := e.UnmarshalJSON(stored.Value); err != nil || !time.Time(e.Timestamp).Equal(clock.Now()) || e.ETag != string(resp.ETag) {
		t.Fatalf("timestamp %v etag %q: %v", time.Time(e.Timestamp), e.ETag, err)
	}
}
