package tables_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/local/tables"
)

// modelRow is what a row should hold; version rises with every write and stands for the ETag.
type modelRow struct {
	props   map[string]any
	version int
}

// model is the simplest table: a map from "pk/rk". Writes return an error code, "" for success.
type model struct {
	rows    map[string]modelRow
	version int
}

func (m *model) insert(key string, p map[string]any) string {
	if _, ok := m.rows[key]; ok {
		return "EntityAlreadyExists"
	}
	m.set(key, p)
	return ""
}

// write merges or replaces; guard is -1 for an upsert, 0 for "*", else the version the row must have.
func (m *model) write(key string, p map[string]any, merge bool, guard int) string {
	old, ok := m.rows[key]
	if code := m.check(key, guard); code != "" {
		return code
	}
	if merge && ok {
		merged := maps.Clone(old.props)
		maps.Copy(merged, p)
		p = merged
	}
	m.set(key, p)
	return ""
}

func (m *model) remove(key string, guard int) string {
	if code := m.check(key, guard); code != "" {
		return code
	}
	delete(m.rows, key)
	return ""
}

func (m *model) check(key string, guard int) string {
	row, ok := m.rows[key]
	switch {
	case guard < 0:
		return ""
	case !ok:
		return "ResourceNotFound"
	case guard > 0 && guard != row.version:
		return "UpdateConditionNotSatisfied"
	}
	return ""
}

func (m *model) set(key string, p map[string]any) {
	m.version++
	m.rows[key] = modelRow{props: maps.Clone(p), version: m.version}
}

func codeOf(tb rapid.TB, err error) string {
	if err == nil {
		return ""
	}
	re, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		tb.Fatalf("not a service error: %v", err)
	}
	return re.ErrorCode
}

// TestModel compares random operations, alone and in transactions, with the model, and then reads everything back.
func TestModel(t *testing.T) {
	_, _, service := start(t, tables.Options{})
	var runs int
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		table := "t" + strconv.Itoa(1000+runs)
		if _, err := service.CreateTable(t.Context(), table, nil); err != nil {
			rt.Fatal(err)
		}
		h := &harness{t: t, c: service.NewClient(table), m: &model{rows: map[string]modelRow{}}, etags: map[int]azcore.ETag{}}
		rt.Repeat(map[string]func(*rapid.T){"single": h.single, "transaction": h.transaction, "query": h.query, "": h.compare})
	})
}

type harness struct {
	t     *testing.T
	c     *aztables.Client
	m     *model
	etags map[int]azcore.ETag // by model version
}

var (
	genPK    = rapid.SampledFrom([]string{"a", "b", "ü"})
	genRK    = rapid.SampledFrom([]string{"1", "10", "2", "é"})
	genProps = rapid.Custom(func(rt *rapid.T) map[string]any {
		return rapid.MapOfN(rapid.SampledFrom([]string{"A", "B", "C"}), rapid.Custom(func(rt *rapid.T) any {
			return float64(rapid.IntRange(0, 9).Draw(rt, "value"))
		}), 0, 3).Draw(rt, "props")
	})
)

// guard draws a condition: none, "*", the current version, or one seen before.
func (h *harness) guard(rt *rapid.T, key string) (int, *azcore.ETag) {
	star := azcore.ETag("*")
	switch rapid.IntRange(0, 2).Draw(rt, "guard") {
	case 0:
		return 0, &star
	case 1:
		if row, ok := h.m.rows[key]; ok {
			etag := h.etags[row.version]
			return row.version, &etag
		}
	}
	if len(h.etags) == 0 {
		return 0, &star
	}
	version := rapid.SampledFrom(slices.Sorted(maps.Keys(h.etags))).Draw(rt, "seen")
	etag := h.etags[version]
	return version, &etag
}

func (h *harness) learn(key string, etag azcore.ETag) {
	if row, ok := h.m.rows[key]; ok && etag != "" {
		h.etags[row.version] = etag
	}
}

func (h *harness) single(rt *rapid.T) {
	ctx := h.t.Context()
	pk, rk := genPK.Draw(rt, "pk"), genRK.Draw(rt, "rk")
	key, p := pk+"/"+rk, genProps.Draw(rt, "props")
	entity := row(pk, rk, p)
	modes := map[bool]aztables.UpdateMode{true: aztables.UpdateModeMerge, false: aztables.UpdateModeReplace}
	merge := rapid.Bool().Draw(rt, "merge")
	guard, ifMatch := h.guard(rt, key)
	var want string
	var etag azcore.ETag
	var err error
	switch rapid.IntRange(0, 3).Draw(rt, "op") {
	case 0:
		var resp aztables.AddEntityResponse
		want = h.m.insert(key, p)
		resp, err = h.c.AddEntity(ctx, entity, nil)
		etag = resp.ETag
	case 1:
		var resp aztables.UpsertEntityResponse
		want = h.m.write(key, p, merge, -1)
		resp, err = h.c.UpsertEntity(ctx, entity, &aztables.UpsertEntityOptions{UpdateMode: modes[merge]})
		etag = resp.ETag
	case 2:
		var resp aztables.UpdateEntityResponse
		want = h.m.write(key, p, merge, guard)
		resp, err = h.c.UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{UpdateMode: modes[merge], IfMatch: ifMatch})
		etag = resp.ETag
	default:
		want = h.m.remove(key, guard)
		_, err = h.c.DeleteEntity(ctx, pk, rk, &aztables.DeleteEntityOptions{IfMatch: ifMatch})
	}
	if got := codeOf(rt, err); got != want {
		rt.Fatalf("%s: got %q, want %q", key, got, want)
	}
	if err == nil {
		h.learn(key, etag)
	}
}

func (h *harness) transaction(rt *rapid.T) {
	pk := genPK.Draw(rt, "pk")
	after := &model{rows: maps.Clone(h.m.rows), version: h.m.version}
	var actions []aztables.TransactionAction
	var failed string
	used := map[string]bool{}
	for i := range rapid.IntRange(1, 4).Draw(rt, "changes") {
		rk, p := genRK.Draw(rt, "rk"), genProps.Draw(rt, "props")
		key := pk + "/" + rk
		guard, ifMatch := h.guard(rt, key)
		a := aztables.TransactionAction{Entity: row(pk, rk, p)}
		var code string
		switch rapid.IntRange(0, 3).Draw(rt, "op") {
		case 0:
			a.ActionType = aztables.TransactionTypeAdd
			code = after.insert(key, p)
		case 1:
			a.ActionType = aztables.TransactionTypeInsertMerge
			code = after.write(key, p, true, -1)
		case 2:
			a.ActionType, a.IfMatch = aztables.TransactionTypeUpdateReplace, ifMatch
			code = after.write(key, p, false, guard)
		default:
			a.ActionType, a.IfMatch = aztables.TransactionTypeDelete, ifMatch
			code = after.remove(key, guard)
		}
		// A row named twice is refused before any change is tried.
		if used[rk] && !strings.HasSuffix(failed, "InvalidDuplicateRow") {
			failed = fmt.Sprintf("%d:InvalidDuplicateRow", i)
		} else if code != "" && failed == "" {
			failed = fmt.Sprintf("%d:%s", i, code)
		}
		used[rk] = true
		actions = append(actions, a)
	}
	_, err := h.c.SubmitTransaction(h.t.Context(), actions, nil)
	if failed == "" {
		if err != nil {
			rt.Fatal(err)
		}
		h.m = after
		for rk := range used { // a transaction tells the client no ETags
			if row, ok := h.m.rows[pk+"/"+rk]; ok {
				_, h.etags[row.version] = get(h.t, h.c, pk, rk)
			}
		}
		return
	}
	e := transactionError(h.t, err)
	index, _, _ := strings.Cut(e.Message, ":")
	if got := index + ":" + e.Code; got != failed {
		rt.Fatalf("transaction failed with %q, want %q", got, failed)
	}
}

func (h *harness) query(rt *rapid.T) {
	n := rapid.IntRange(0, 9).Draw(rt, "n")
	var want []string
	for key, row := range h.m.rows {
		if v, ok := row.props["A"].(float64); ok && v >= float64(n) {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	top := int32(rapid.IntRange(1, 3).Draw(rt, "top"))
	filter := fmt.Sprintf("A ge %d", n)
	got, _ := list(h.t, h.c, &aztables.ListEntitiesOptions{Filter: &filter, Top: &top})
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatal(diff)
	}
}

func (h *harness) compare(rt *rapid.T) {
	got, want := map[string]map[string]any{}, map[string]map[string]any{}
	page, err := h.c.NewListEntitiesPager(nil).NextPage(h.t.Context())
	if err != nil {
		rt.Fatal(err)
	}
	for _, raw := range page.Entities {
		var e aztables.EDMEntity
		if err := e.UnmarshalJSON(raw); err != nil {
			rt.Fatal(err)
		}
		key := e.PartitionKey + "/" + e.RowKey
		got[key] = own(h.t, raw)
		if etag := h.etags[h.m.rows[key].version]; string(etag) != e.ETag {
			rt.Fatalf("%s has etag %q, the write returned %q", key, e.ETag, etag)
		}
	}
	for key, row := range h.m.rows {
		want[key] = row.props
	}
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatal(diff)
	}
}

// Increments that compare and swap lose nothing: every success read the version it replaced.
func TestConcurrentIncrements(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	add(t, c, "p", "counter", props{"N": 0})
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				resp, err := c.GetEntity(t.Context(), "p", "counter", nil)
				if err != nil {
					t.Error(err)
					return
				}
				n := own(t, resp.Value)["N"].(float64)
				_, err = c.UpdateEntity(t.Context(), row("p", "counter", props{"N": n + 1}), &aztables.UpdateEntityOptions{IfMatch: &resp.ETag, UpdateMode: aztables.UpdateModeReplace})
				if err == nil {
					done++
					continue
				}
				if re, ok := errors.AsType[*azcore.ResponseError](err); !ok || re.StatusCode != http.StatusPreconditionFailed {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got, _ := get(t, c, "p", "counter"); got["N"] != float64(workers*each) {
		t.Fatalf("counter ends at %v, want %d", got["N"], workers*each)
	}
}

// Readers, writers and transactions side by side: a reader never sees half a transaction.
func TestTransactionsAreSeenWhole(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	pair := func(n int) []aztables.TransactionAction {
		return []aztables.TransactionAction{
			{ActionType: aztables.TransactionTypeInsertReplace, Entity: row("p", "a", props{"N": n})},
			{ActionType: aztables.TransactionTypeInsertReplace, Entity: row("p", "b", props{"N": n})},
		}
	}
	if _, err := c.SubmitTransaction(t.Context(), pair(0), nil); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := range 30 {
				if _, err := c.SubmitTransaction(t.Context(), pair(1000*w+n), nil); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 30 {
				page, err := c.NewListEntitiesPager(nil).NextPage(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				a, b := own(t, page.Entities[0]), own(t, page.Entities[1])
				if a["N"] != b["N"] {
					t.Errorf("saw %v beside %v", a["N"], b["N"])
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPointOperations(b *testing.B) {
	_, c := newTable(b, tables.Options{})
	entity := row("p", "r", props{"State": "active", "Expires": "2026-01-02T03:04:05Z", "Expires@odata.type": "Edm.DateTime", "Attempts": 3})
	b.Run("upsert", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.UpsertEntity(b.Context(), entity, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			get(b, c, "p", "r")
		}
	})
}
