package tables

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"
)

func bearerServer() *Server {
	s := New(Options{Authorize: func(string) error { return nil }})
	if err := s.store.createTable("grants"); err != nil {
		panic(err)
	}
	return s
}

// A query that pins the partition and bounds the row keys looks at those rows alone.
func TestKeyRangesAreNotScanned(t *testing.T) {
	s := bearerServer()
	for p := range 10 {
		for r := range 200 {
			e := &entity{pk: fmt.Sprint("p", p), rk: fmt.Sprintf("%03d", r)}
			if _, _, err := s.store.apply("grants", []mutation{{kind: "insert", entity: e}}, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	for filter, want := range map[string][2]int{ // rows looked at, rows found
		"PartitionKey eq 'p3' and RowKey ge '010' and RowKey lt '020'":                         {10, 10},
		"PartitionKey eq 'p3' and (RowKey gt '010' and '020' gt RowKey)":                       {9, 9},
		"PartitionKey eq 'p3' and RowKey eq '010'":                                             {1, 1},
		"PartitionKey eq 'p3' and RowKey le '001' and (RowKey eq '5' or Missing)":              {2, 0},
		"PartitionKey ge 'p8' and RowKey eq '010'":                                             {2, 2},
		"PartitionKey gt 'p8' and PartitionKey lt 'p9'":                                        {0, 0},
		"PartitionKey eq 'p3' and PartitionKey eq 'p4'":                                        {0, 0},
		"PartitionKey eq 'p3'":                                                                 {200, 200},
		"RowKey eq '010'":                                                                      {10, 10},
		"PartitionKey eq 'p3' and RowKey eq '010' or PartitionKey eq 'p4' and RowKey eq '011'": {2000, 2},
		"not (PartitionKey eq 'p3')":                                                           {1200, 1000}, // the page is full before the end; p3 is looked at and left out
	} {
		spec := querySpec{top: maxPage}
		var err error
		if spec.filter, err = parseFilter(filter); err != nil {
			t.Fatal(err)
		}
		spec.partitions, spec.rows = keySpan(spec.filter, "PartitionKey"), keySpan(spec.filter, "RowKey")
		got, err := s.store.query("grants", spec)
		if err != nil {
			t.Fatal(err)
		}
		if got.scanned != want[0] || len(got.rows) != want[1] {
			t.Errorf("%s: looked at %d and found %d, want %v", filter, got.scanned, len(got.rows), want)
		}
	}
}

// A narrowed query must find exactly what looking at every row finds.
func TestKeyRangesLoseNothing(t *testing.T) {
	s := bearerServer()
	var all []*entity
	for _, pk := range []string{"", "a", "b", "c"} {
		for _, rk := range []string{"", "1", "2", "3"} {
			e := &entity{pk: pk, rk: rk}
			all = append(all, e)
			if _, _, err := s.store.apply("grants", []mutation{{kind: "insert", entity: e}}, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		filter := genFilter.Draw(rt, "filter")
		n, err := parseFilter(filter)
		if err != nil {
			rt.Fatalf("%s: %v", filter, err)
		}
		spec := querySpec{filter: n, partitions: keySpan(n, "PartitionKey"), rows: keySpan(n, "RowKey"), top: maxPage}
		got, err := s.store.query("grants", spec)
		if err != nil {
			rt.Fatal(err)
		}
		var want []string
		for _, e := range all {
			if n.matches(e) {
				want = append(want, e.pk+"/"+e.rk)
			}
		}
		var found []string
		for _, e := range got.rows {
			found = append(found, e.pk+"/"+e.rk)
		}
		if !slices.Equal(want, found) {
			rt.Fatalf("%s: found %v, want %v", filter, found, want)
		}
	})
}

// genFilter draws key filters of some depth.
var genFilter = rapid.Custom(func(rt *rapid.T) string {
	var draw func(depth int) string
	draw = func(depth int) string {
		if depth == 0 || rapid.IntRange(0, 2).Draw(rt, "leaf") == 0 {
			key := rapid.SampledFrom([]string{"PartitionKey", "RowKey"}).Draw(rt, "key")
			op := rapid.SampledFrom([]string{"eq", "ne", "gt", "ge", "lt", "le"}).Draw(rt, "op")
			with := "'" + rapid.SampledFrom([]string{"", "a", "b", "bb", "c", "1", "2"}).Draw(rt, "with") + "'"
			if rapid.Bool().Draw(rt, "swap") {
				return with + " " + op + " " + key
			}
			return key + " " + op + " " + with
		}
		join := rapid.SampledFrom([]string{" and ", " and ", " or "}).Draw(rt, "join")
		not := rapid.SampledFrom([]string{"", "", "not "}).Draw(rt, "not")
		return not + "(" + draw(depth-1) + join + draw(depth-1) + ")"
	}
	return draw(3)
})

// Keys sort by UTF-16 code unit, which differs from byte order for characters beyond U+FFFF.
func TestOrdinalOrder(t *testing.T) {
	if compareOrdinal("\U0001F600", "\uFF5E") >= 0 || compareOrdinal("\uFF5E", "\U0001F600") <= 0 {
		t.Fatal("a surrogate pair sorts before U+FF5E")
	}
	rapid.Check(t, func(rt *rapid.T) {
		alphabet := rapid.SampledFrom([]rune("aé\uD7FF\uE000\uFF5E\U00010000\U0010FFFF"))
		text := rapid.StringOfN(alphabet, 0, 4, -1)
		a, b := text.Draw(rt, "a"), text.Draw(rt, "b")
		if got, want := compareOrdinal(a, b), slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b))); got != want {
			rt.Fatalf("%q %q: got %d, want %d", a, b, got, want)
		}
	})
}

// Whatever a filter says, it is either refused or evaluated; and a key literal survives quoting.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"", "A", "not not A", "PartitionKey eq 'a' and RowKey ge 'b''c'", "A eq 1L or (B lt -1.5e3 and not (C ne X'00'))",
		"T ge datetime'2026-01-02T03:04:05.1234567Z'", "G eq guid'c9da6455-213d-42c9-9a79-3e9149a57833'", "((((", "'", "1e", "-", "é eq 'ü'", "A eq NaN",
	} {
		f.Add(seed)
	}
	e := &entity{pk: "a", rk: "b", props: []property{{"A", value{typ: edmInt32, num: 1}}}}
	f.Fuzz(func(t *testing.T, filter string) {
		n, err := parseFilter(filter)
		if err == nil && n != nil {
			if n.matches(e) && excludes(keySpan(n, "PartitionKey"), e.pk) {
				t.Fatalf("%q matches a row outside its key range", filter)
			}
		}
		key, err := parseFilter("PartitionKey eq " + quoteLiteral(strings.ToValidUTF8(filter, "")))
		if err != nil || keySpan(key, "PartitionKey").exact() != strings.ToValidUTF8(filter, "") {
			t.Fatalf("%q does not survive as a literal: %v", filter, err)
		}
	})
}

func excludes(s span, key string) bool {
	o := newOrdered[int]()
	o.put(key, 0)
	first, end := bounds(&o, s, "")
	return first == end
}

// No body makes a transaction panic, and one that is refused changes nothing.
func FuzzBatch(f *testing.F) {
	good := strings.ReplaceAll(`--b
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: application/http
Content-Transfer-Encoding: binary

POST http://127.0.0.1/grants HTTP/1.1
Content-Type: application/json
Accept: application/json

{"PartitionKey":"p","RowKey":"a","N@odata.type":"Edm.Int64","N":"1"}
--c
Content-Type: application/http
Content-Transfer-Encoding: binary

PATCH http://127.0.0.1/grants(PartitionKey='p',RowKey='b') HTTP/1.1
Content-Type: application/json
Accept: application/json
If-Match: *

{"A":1}
--c--
--b--
`, "\n", "\r\n")
	f.Add(good, "b")
	f.Add(strings.ReplaceAll(good, "PATCH", "DELETE"), "b")
	f.Add(strings.ReplaceAll(good, "If-Match: *\r\n", ""), "b")
	f.Add("--b\r\n\r\n--b--", "b")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, body, boundary string) {
		s := bearerServer()
		r := httptest.NewRequest(http.MethodPost, "/$batch", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer x")
		r.Header.Set("x-ms-version", "2019-02-02")
		r.Header.Set("x-ms-date", time.Now().UTC().Format(http.TimeFormat))
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Content-Type", "multipart/mixed; boundary="+boundary)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		all, err := s.store.query("grants", querySpec{top: maxPage})
		if err != nil {
			t.Fatal(err)
		}
		failed := w.Code != http.StatusAccepted || strings.Contains(w.Body.String(), `{"odata.error"`)
		if failed && len(all.rows) > 0 {
			t.Fatalf("answered %d %s and kept %d rows", w.Code, w.Body, len(all.rows))
		}
	})
}
