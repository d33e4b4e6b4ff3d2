package tables_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/tables"
)

func TestTypesSurviveTheRoundTrip(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	want := map[string]any{
		"Text": "grün \"quoted\" <&>\n\u2028", "Empty": "", "Yes": true, "No": false,
		"Small": int32(math.MinInt32), "Half": 0.5, "Tiny": 1e-300,
		"Big": aztables.EDMInt64(math.MaxInt64), "Low": aztables.EDMInt64(math.MinInt64),
		"When": aztables.EDMDateTime(time.Date(2026, 1, 2, 3, 4, 5, 123456700, time.UTC)),
		"Blob": aztables.EDMBinary{0, 255, 7}, "None": aztables.EDMBinary{},
		"ID": aztables.EDMGUID("c9da6455-213d-42c9-9a79-3e9149a57833"),
	}
	e := aztables.EDMEntity{Entity: aztables.Entity{PartitionKey: "p", RowKey: "r"}, Properties: want}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddEntity(t.Context(), raw, nil); err != nil {
		t.Fatal(err)
	}
	resp, err := c.GetEntity(t.Context(), "p", "r", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got aztables.EDMEntity
	if err := json.Unmarshal(resp.Value, &got); err != nil {
		t.Fatal(err)
	}
	sameTime := cmp.Comparer(func(a, b aztables.EDMDateTime) bool { return time.Time(a).Equal(time.Time(b)) })
	if diff := cmp.Diff(want, got.Properties, sameTime); diff != "" {
		t.Fatal(diff)
	}
}

func TestMetadataLevels(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	add(t, c, "p'q", "r", props{"N": "7", "N@odata.type": "Edm.Int64", "I": 1})
	for format, want := range map[aztables.MetadataFormat][]string{
		aztables.MetadataFormatNone:    {"I", "N", "PartitionKey", "RowKey", "Timestamp"},
		aztables.MetadataFormatMinimal: {"I", "N", "N@odata.type", "PartitionKey", "RowKey", "Timestamp", "odata.etag", "odata.metadata"},
		aztables.MetadataFormatFull: {"I", "N", "N@odata.type", "PartitionKey", "RowKey", "Timestamp", "Timestamp@odata.type",
			"odata.editLink", "odata.etag", "odata.id", "odata.metadata", "odata.type"},
	} {
		resp, err := c.GetEntity(t.Context(), "p'q", "r", &aztables.GetEntityOptions{Format: &format})
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(resp.Value, &m); err != nil {
			t.Fatal(err)
		}
		var names []string
		for name := range m {
			names = append(names, name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
		if format == aztables.MetadataFormatFull && m["odata.editLink"] != "grants(PartitionKey='p%27%27q',RowKey='r')" {
			t.Errorf("edit link %v", m["odata.editLink"])
		}
	}
}

func TestRefusedEntities(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	many := props{}
	for i := range 253 {
		many[fmt.Sprintf("P%d", i)] = 1
	}
	large := props{}
	for i := range 17 {
		large[fmt.Sprintf("P%d", i)] = strings.Repeat("x", 32<<10)
	}
	typed := func(typ string, v any) []byte { return row("p", "r", props{"A": v, "A@odata.type": typ}) }
	for name, tc := range map[string]struct {
		entity []byte
		status int
		code   string
	}{
		"too many properties":   {row("p", "r", many), 400, "TooManyProperties"},
		"over 1 MiB":            {row("p", "r", large), 400, "EntityTooLarge"},
		"over 4 MiB":            {row("p", "r", props{"A": strings.Repeat("x", 4<<20)}), 413, "RequestBodyTooLarge"},
		"long text":             {row("p", "r", props{"A": strings.Repeat("x", 32<<10+1)}), 400, "PropertyValueTooLarge"},
		"long text, surrogates": {row("p", "r", props{"A": strings.Repeat("😀", 16<<10+1)}), 400, "PropertyValueTooLarge"},
		"long binary":           {typed("Edm.Binary", aztables.EDMBinary(make([]byte, 64<<10+1))), 400, "PropertyValueTooLarge"},
		"long key":              {row("p", strings.Repeat("k", 513), nil), 400, "KeyValueTooLarge"},
		"slash in key":          {row("a/b", "r", nil), 400, "OutOfRangeInput"},
		"backslash in key":      {row("p", `a\b`, nil), 400, "OutOfRangeInput"},
		"hash in key":           {row("p", "a#b", nil), 400, "OutOfRangeInput"},
		"question mark in key":  {row("p", "a?b", nil), 400, "OutOfRangeInput"},
		"control in key":        {row("p", "a\tb", nil), 400, "OutOfRangeInput"},
		"C1 control in key":     {row("p", "a\u0085b", nil), 400, "OutOfRangeInput"},
		"number as key":         {[]byte(`{"PartitionKey":"p","RowKey":1}`), 400, "InvalidInput"},
		"null key":              {[]byte(`{"PartitionKey":"p","RowKey":null}`), 400, "PropertiesNeedValue"},
		"property name":         {row("p", "r", props{"a-b": 1}), 400, "PropertyNameInvalid"},
		"leading digit":         {row("p", "r", props{"1a": 1}), 400, "PropertyNameInvalid"},
		"long property name":    {row("p", "r", props{strings.Repeat("n", 256): 1}), 400, "PropertyNameTooLong"},
		"object value":          {row("p", "r", props{"A": props{}}), 400, "InvalidInput"},
		"array value":           {row("p", "r", props{"A": []int{}}), 400, "InvalidInput"},
		"unknown type":          {typed("Edm.Decimal", "1"), 400, "InvalidInput"},
		"int64 as number":       {typed("Edm.Int64", 1), 400, "InvalidInput"},
		"int64 out of range":    {typed("Edm.Int64", "9223372036854775808"), 400, "InvalidInput"},
		"int32 out of range":    {typed("Edm.Int32", 1<<31), 400, "InvalidInput"},
		"boolean as string":     {typed("Edm.String", true), 400, "InvalidInput"},
		"bad guid":              {typed("Edm.Guid", "{c9da6455-213d-42c9-9a79-3e9149a578}"), 400, "InvalidInput"},
		"bad base64":            {typed("Edm.Binary", "&&"), 400, "InvalidInput"},
		"bad date":              {typed("Edm.DateTime", "yesterday"), 400, "InvalidInput"},
		"8 fractional digits":   {typed("Edm.DateTime", "2026-01-01T00:00:00.12345678Z"), 400, "InvalidInput"},
		"date before 1601":      {typed("Edm.DateTime", "0001-01-01T00:00:00Z"), 400, "OutOfRangeInput"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.AddEntity(t.Context(), tc.entity, nil)
			wantCode(t, err, tc.status, tc.code)
		})
	}
}

// What is exactly at a limit is accepted.
func TestEntitiesAtTheLimit(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	many := props{}
	for i := range 252 {
		many[fmt.Sprintf("P%d", i)] = 1
	}
	add(t, c, "p", "many", many)
	add(t, c, "p", strings.Repeat("k", 512), nil)
	add(t, c, "p", "text", props{"A": strings.Repeat("😀", 16<<10)})
	add(t, c, "p", "binary", props{"A": aztables.EDMBinary(make([]byte, 64<<10)), "A@odata.type": "Edm.Binary"})
	add(t, c, "p", "name", props{strings.Repeat("n", 255): 1})
	add(t, c, "p", "", nil)

	_, err := c.UpdateEntity(t.Context(), row("p", "many", props{"Extra": 1}), nil)
	wantCode(t, err, 400, "TooManyProperties")
	if got, _ := get(t, c, "p", "many"); len(got) != 252 {
		t.Fatalf("a refused merge left %d properties", len(got))
	}
}

// The sizes count what is stored after a merge, not what one request carries.
func TestMergeCannotGrowPastTheLimit(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	half := func(name string) props {
		p := props{}
		for i := range 9 {
			p[fmt.Sprintf("%s%d", name, i)] = strings.Repeat("x", 32<<10)
		}
		return p
	}
	add(t, c, "p", "r", half("A"))
	_, err := c.UpdateEntity(t.Context(), row("p", "r", half("B")), nil)
	wantCode(t, err, 400, "EntityTooLarge")
}

// A number without a declared type is Int32 or Double, and a Double keeps its point so that it stays one.
func TestUndeclaredNumbers(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	for rk, tc := range map[string]struct {
		stored props
		filter string
	}{
		"int":    {props{"A": 3}, "A eq 3"},
		"large":  {props{"A": int64(3_000_000_000)}, "A eq 3000000000.0"},
		"double": {props{"A": 3, "A@odata.type": "Edm.Double"}, "A eq 3.0"},
		"nan":    {props{"A": "INF", "A@odata.type": "Edm.Double"}, "A eq INF"},
	} {
		add(t, c, "numbers", rk, tc.stored)
		if got := keys(t, c, "RowKey eq '"+rk+"' and "+tc.filter); len(got) != 1 {
			t.Errorf("%s is not found with %s", rk, tc.filter)
		}
	}
}

// Everything a key may hold finds its entity again through the URL.
func TestKeysThroughTheURL(t *testing.T) {
	_, c := newTable(t, tables.Options{})
	for _, key := range []string{"a b", "a%2Fb", "a+b", "O'Brien''s", "(x)=',y", "ü/"[:2], "日本", "😀", "&;:@$!*~", "{rowKey}", "."} {
		if _, err := c.UpsertEntity(t.Context(), row(key, key, props{"A": key}), nil); err != nil {
			t.Fatalf("upsert %q: %v", key, err)
		}
		got, etag := get(t, c, key, key)
		if got["A"] != key {
			t.Errorf("key %q reads %v", key, got)
		}
		if _, err := c.DeleteEntity(t.Context(), key, key, &aztables.DeleteEntityOptions{IfMatch: &etag}); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	_, err := c.UpsertEntity(t.Context(), row("a/b", "r", nil), nil)
	wantCode(t, err, 400, "InvalidInput")
	_, err = c.GetEntity(t.Context(), "p", "a#b", nil)
	wantCode(t, err, 400, "OutOfRangeInput")
	_, err = c.GetEntity(t.Context(), "p", "a\xffb", nil)
	wantCode(t, err, 400, "InvalidInput")
}
