package tables_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/tables"
)

// list runs a query to its end and returns "pk/rk" of every entity and the size of every page.
func list(tb testing.TB, c *aztables.Client, o *aztables.ListEntitiesOptions) (found []string, pages []int) {
	tb.Helper()
	for pager := c.NewListEntitiesPager(o); pager.More(); {
		page, err := pager.NextPage(tb.Context())
		if err != nil {
			tb.Fatal(err)
		}
		pages = append(pages, len(page.Entities))
		for _, raw := range page.Entities {
			var e aztables.Entity
			if err := json.Unmarshal(raw, &e); err != nil {
				tb.Fatal(err)
			}
			found = append(found, e.PartitionKey+"/"+e.RowKey)
		}
	}
	return found, pages
}

func keys(tb testing.TB, c *aztables.Client, filter string) []string {
	tb.Helper()
	found, _ := list(tb, c, &aztables.ListEntitiesOptions{Filter: &filter})
	return found
}

// fill inserts n rows of one partition with transactions.
func fill(tb testing.TB, c *aztables.Client, pk string, n int, p props) {
	tb.Helper()
	for first := 0; first < n; first += 100 {
		var batch []aztables.TransactionAction
		for i := first; i < min(n, first+100); i++ {
			batch = append(batch, aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: row(pk, fmt.Sprintf("%05d", i), p)})
		}
		if _, err := c.SubmitTransaction(tb.Context(), batch, nil); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestPaging(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	var want []string
	for _, pk := range []string{"", "a", "b", "ü"} { // the empty partition key sorts first
		n := map[string]int{"": 300, "a": 900, "b": 1000, "ü": 300}[pk]
		fill(t, c, pk, n, nil)
		for i := range n {
			want = append(want, fmt.Sprintf("%s/%05d", pk, i))
		}
	}
	found, pages := list(t, c, nil)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]int{1000, 1000, 500}, pages); diff != "" {
		t.Fatal(diff)
	}
	top := int32(400)
	filter := "PartitionKey eq 'b' and RowKey ge '00100'"
	found, pages = list(t, c, &aztables.ListEntitiesOptions{Top: &top, Filter: &filter})
	if diff := cmp.Diff(want[1300:2200], found); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]int{400, 400, 100}, pages); diff != "" {
		t.Fatal(diff)
	}
}

// A query that finds little answers empty pages with a token; a caller that stops at the first one loses rows.
func TestPagesMayBeEmpty(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	fill(t, c, "p", 5200, nil)
	add(t, c, "z", "last", props{"Rare": true})
	filter := "Rare"
	found, pages := list(t, c, &aztables.ListEntitiesOptions{Filter: &filter})
	if diff := cmp.Diff([]int{0, 1}, pages); diff != "" || !slices.Equal(found, []string{"z/last"}) {
		t.Fatalf("found %v, pages:\n%s", found, diff)
	}
}

// A row written or removed between two pages neither shifts nor repeats the rest.
func TestPagingSurvivesWrites(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	fill(t, c, "p", 10, nil)
	top := int32(4)
	pager := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Top: &top})
	if _, err := pager.NextPage(t.Context()); err != nil {
		t.Fatal(err)
	}
	add(t, c, "p", "00000a", nil)
	if _, err := c.DeleteEntity(t.Context(), "p", "00004", nil); err != nil {
		t.Fatal(err)
	}
	page, err := pager.NextPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var first aztables.Entity
	if err := json.Unmarshal(page.Entities[0], &first); err != nil || first.RowKey != "00005" || len(page.Entities) != 4 {
		t.Fatalf("second page starts at %q with %d rows: %v", first.RowKey, len(page.Entities), err)
	}
}

func TestSelect(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	add(t, c, "p", "r", props{"A": 1, "B": 2, "N": "5", "N@odata.type": "Edm.Int64"})
	names := " RowKey, A,N ,Missing"
	page, err := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Select: &names}).NextPage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(page.Entities[0], &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "odata.etag")
	want := map[string]any{"RowKey": "r", "A": 1.0, "N": "5", "N@odata.type": "Edm.Int64", "Missing": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestFilters(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	add(t, c, "p", "a", props{"S": "O'Brien", "I": 5, "L": "5", "L@odata.type": "Edm.Int64", "D": 1.5, "B": true,
		"T": "2026-01-02T03:04:05.1234567Z", "T@odata.type": "Edm.DateTime",
		"G": "C9DA6455-213D-42C9-9A79-3E9149A57833", "G@odata.type": "Edm.Guid", "X": "AP8H", "X@odata.type": "Edm.Binary"})
	add(t, c, "p", "b", props{"S": "Zoë", "I": -7, "L": "6", "L@odata.type": "Edm.Int64", "D": -0.25, "B": false})
	add(t, c, "q", "c", props{"S": 5, "I": "5", "not_a_keyword": true})
	both := []string{"p/a", "p/b"}
	for filter, want := range map[string][]string{
		"S eq 'O''Brien'":        {"p/a"},
		"'O''Brien' eq S":        {"p/a"},
		"S ne 'O''Brien'":        {"p/b"},
		"S gt 'O' and I lt 6":    both,
		"I eq 5":                 {"p/a"},
		"I ge -7":                both,
		"I eq '5'":               {"q/c"},
		"5 gt I":                 {"p/b"},
		"I eq 5L":                nil,
		"I eq 5.0":               nil,
		"L eq 5":                 nil,
		"L eq 5L":                {"p/a"},
		"L gt 5l":                {"p/b"},
		"D eq 1.5":               {"p/a"},
		"D lt 1D":                {"p/b"},
		"D ge -2.5e-1":           both,
		"D eq NaN":               nil,
		"D lt INF and D gt -INF": both,
		"B":                      {"p/a"},
		"B eq true":              {"p/a"},
		"B ne true":              {"p/b"},
		"not B":                  {"p/b", "q/c"},
		"not not B":              {"p/a"},
		"not (B eq true)":        {"p/b", "q/c"},
		"T eq datetime'2026-01-02T03:04:05.1234567Z'":      {"p/a"},
		"T eq datetime'2026-01-02T04:04:05.1234567+01:00'": {"p/a"},
		"T lt datetime'2026-01-02T03:04:05.1234568Z'":      {"p/a"},
		"T eq '2026-01-02T03:04:05.1234567Z'":              nil,
		"G eq guid'c9da6455-213d-42c9-9a79-3e9149a57833'":  {"p/a"},
		"X eq X'00ff07'":                              {"p/a"},
		"X eq binary'00FF07'":                         {"p/a"},
		"X lt X'01'":                                  {"p/a"},
		"Missing eq 1":                                nil,
		"Missing ne 1":                                nil,
		"s eq 'O''Brien'":                             nil,
		"not_a_keyword":                               {"q/c"},
		"I eq 5 or I eq -7 and B":                     {"p/a"},
		"(I eq 5 or I eq -7) and not B":               {"p/b"},
		"PartitionKey eq 'p'":                         both,
		"PartitionKey gt 'p'":                         {"q/c"},
		"PartitionKey lt 'q' and RowKey gt 'a'":       {"p/b"},
		"PartitionKey eq 'p' and RowKey le 'a'":       {"p/a"},
		"RowKey ge 'b'":                               {"p/b", "q/c"},
		"PartitionKey eq 'p' and PartitionKey eq 'q'": nil,
		"PartitionKey eq 'p' or RowKey eq 'c'":        {"p/a", "p/b", "q/c"},
		"PartitionKey eq 5":                           nil,
		"Timestamp gt datetime'2020-01-01T00:00:00Z'": {"p/a", "p/b", "q/c"},
	} {
		if diff := cmp.Diff(want, keys(t, c, filter)); diff != "" {
			t.Errorf("%s:\n%s", filter, diff)
		}
	}
}

func TestRefusedFilters(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	for _, filter := range []string{
		"A", "not A", // control: these two are accepted
		"A eq", "eq 1", "A eq 1 B", "A = 1", "A == 1", "A eq B", "1 eq 1", "'x'", "true", "null", "A eq null", "A EQ 1", "A eq TRUE",
		"not A eq 1", "not", "and", "A and", "A or or B", "(A", "A)", "()", "A eq 'x", "A eq 'x''", "A eq \"x\"", "A eq 'x'y",
		"A eq 2147483648", "A eq 9223372036854775808L", "A eq 1.5m", "A eq 1f", "A eq 0x10", "A eq 1_000", "A eq 1e400", "A eq 1.L", "A eq -",
		"A eq datetime'tomorrow'", "A eq guid'12'", "A eq X'0'", "A eq X'zz'", "A eq time'PT1S'", "A eq datetime '2020-01-01T00:00:00Z'",
		"startswith(A,'x')", "A eq 1; B eq 2", "A add 1 eq 2",
		strings.Repeat("(", 200) + "A" + strings.Repeat(")", 200),
		strings.Repeat("A eq 1 or ", 15) + "A eq 1",
	} {
		page, err := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter}).NextPage(t.Context())
		if filter == "A" || filter == "not A" {
			if err != nil {
				t.Errorf("%s is refused: %v", filter, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s is accepted with %d rows", filter, len(page.Entities))
			continue
		}
		wantCode(t, err, 400, "InvalidInput")
	}
	for _, top := range []int32{0, -1, 1001} {
		_, err := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{Top: &top}).NextPage(t.Context())
		wantCode(t, err, 400, "InvalidInput")
	}
	forged := "p"
	_, err := c.NewListEntitiesPager(&aztables.ListEntitiesOptions{NextPartitionKey: &forged}).NextPage(t.Context())
	wantCode(t, err, 400, "InvalidQueryParameterValue")
}
