package tables_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/local/tables"
)

// rawServer accepts the bearer token "ok", so that requests aztables would not send can be written by hand.
func rawServer(tb testing.TB) (*tables.Server, string) {
	tb.Helper()
	s, web, service := start(tb, tables.Options{Authorize: func(token string) error {
		if token != "ok" {
			return io.ErrUnexpectedEOF
		}
		return nil
	}})
	if _, err := service.CreateTable(tb.Context(), "grants", nil); err != nil {
		tb.Fatal(err)
	}
	return s, web.URL
}

// send makes one request; header is "Name: value" lines laid over what every good request carries. A value "-" takes
// the header away.
func send(tb testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	good := []string{"Authorization: Bearer ok", "x-ms-version: 2019-02-02", "Accept: application/json;odata=nometadata",
		"x-ms-date: " + time.Now().UTC().Format(http.TimeFormat), "Content-Type: application/json"}
	for _, line := range append(good, header...) {
		name, value, _ := strings.Cut(line, ": ")
		if value == "-" {
			req.Header.Del(name)
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp, string(answer)
}

func TestProtocol(t *testing.T) {
	_, base := rawServer(t)
	entity := "/grants(PartitionKey='p',RowKey='r')"
	send(t, "POST", base+"/grants", `{"PartitionKey":"p","RowKey":"r","A":1}`)
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		"get":                      {"GET", entity, "", nil, 200, ""},
		"keys in other order":      {"GET", "/grants(RowKey='r',PartitionKey='p')", "", nil, 200, ""},
		"format parameter":         {"GET", entity + "?$format=application/json;odata=fullmetadata", "", []string{"Accept: text/plain"}, 200, ""},
		"query without ()":         {"GET", "/grants", "", nil, 200, ""},
		"account in path":          {"GET", "/devjitgate" + entity, "", nil, 200, ""},
		"merge verb":               {"MERGE", entity, "{}", []string{"If-Match: *"}, 204, ""},
		"no content wanted":        {"POST", "/grants", `{"PartitionKey":"p","RowKey":"n"}`, []string{"Prefer: return-no-content"}, 204, ""},
		"table, no content":        {"POST", "/Tables", `{"TableName":"other"}`, []string{"Prefer: return-no-content"}, 204, ""},
		"atom":                     {"GET", entity, "", []string{"Accept: application/atom+xml"}, 415, "AtomFormatNotSupported"},
		"no accept":                {"GET", entity, "", []string{"Accept: -"}, 415, "AtomFormatNotSupported"},
		"verbose":                  {"GET", entity, "", []string{"Accept: application/json;odata=verbose"}, 415, "JsonVerboseFormatNotSupported"},
		"no version":               {"GET", entity, "", []string{"x-ms-version: -"}, 400, "MissingRequiredHeader"},
		"old version":              {"GET", entity, "", []string{"x-ms-version: 2011-08-18"}, 400, "InvalidHeaderValue"},
		"xml body":                 {"POST", "/grants", "<a/>", []string{"Content-Type: application/xml"}, 415, "MediaTypeNotSupported"},
		"not an object":            {"POST", "/grants", "[]", nil, 400, "InvalidInput"},
		"cut off":                  {"POST", "/grants", `{"PartitionKey":"p"`, nil, 400, "InvalidInput"},
		"trailing data":            {"POST", "/grants", `{"PartitionKey":"p","RowKey":"x"} {}`, nil, 400, "InvalidInput"},
		"not UTF-8":                {"POST", "/grants", "{\"PartitionKey\":\"p\",\"RowKey\":\"\xff\"}", nil, 400, "InvalidInput"},
		"property twice":           {"POST", "/grants", `{"PartitionKey":"p","RowKey":"x","A":1,"A":2}`, nil, 400, "DuplicatePropertiesSpecified"},
		"insert without key":       {"POST", "/grants", `{"PartitionKey":"p"}`, nil, 400, "PropertiesNeedValue"},
		"insert if match":          {"POST", "/grants", `{"PartitionKey":"p","RowKey":"x"}`, []string{"If-Match: *"}, 400, "InvalidInput"},
		"keys do not agree":        {"PUT", entity, `{"PartitionKey":"p","RowKey":"x"}`, nil, 400, "InvalidInput"},
		"partition does not agree": {"PATCH", entity, `{"PartitionKey":"x"}`, nil, 400, "InvalidInput"},
		"if none match":            {"PUT", entity, "{}", []string{"If-None-Match: *"}, 400, "InvalidInput"},
		"delete unconditional":     {"DELETE", entity, "", nil, 400, "MissingRequiredHeader"},
		"table without name":       {"POST", "/Tables", "{}", nil, 400, "PropertiesNeedValue"},
		"post to an entity":        {"POST", entity, "{}", nil, 405, "MethodNotAllowed"},
		"put to a table":           {"PUT", "/grants", "{}", nil, 405, "MethodNotAllowed"},
		"access policy":            {"GET", "/grants?comp=acl", "", nil, 501, "NotImplemented"},
		"one key":                  {"GET", "/grants(PartitionKey='p')", "", nil, 400, "InvalidInput"},
		"unquoted key":             {"GET", "/grants(PartitionKey=p,RowKey='r')", "", nil, 400, "InvalidInput"},
		"key twice":                {"GET", "/grants(PartitionKey='p',PartitionKey='p')", "", nil, 400, "InvalidInput"},
		"unknown key":              {"GET", "/grants(PartitionKey='p',Row='r')", "", nil, 400, "InvalidInput"},
		"slash in key":             {"GET", "/grants(PartitionKey='p/q',RowKey='r')", "", nil, 400, "InvalidInput"},
		"open predicate":           {"GET", "/grants(PartitionKey='p',RowKey='r'", "", nil, 400, "InvalidInput"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := send(t, tc.method, base+tc.path, tc.body, tc.header...)
			if resp.StatusCode != tc.status || resp.Header.Get("x-ms-error-code") != tc.code {
				t.Fatalf("got %d %q, want %d %q\n%s", resp.StatusCode, resp.Header.Get("x-ms-error-code"), tc.status, tc.code, body)
			}
			if tc.code != "" && !strings.HasPrefix(body, `{"odata.error":{"code":"`+tc.code+`","message":{"lang":"en-US","value":"`) {
				t.Fatalf("body %s", body)
			}
			if tc.status == 204 && body != "" {
				t.Fatalf("204 with body %s", body)
			}
		})
	}
}

// Integral doubles keep their point on the wire, so that a reader does not take them for integers.
func TestNumbersOnTheWire(t *testing.T) {
	_, base := rawServer(t)
	_, body := send(t, "POST", base+"/grants", `{"PartitionKey":"p","RowKey":"r","A@odata.type":"Edm.Double","A":3,"B":3,"C":3000000000,"D@odata.type":"Edm.Double","D":"NaN","E":1e21}`)
	_, values, _ := strings.Cut(body, `Z",`)
	if want := `"A":3.0,"B":3,"C":3000000000.0,"D":"NaN","E":1e+21}`; values != want {
		t.Fatalf("got %s, want %s", values, want)
	}
	_, body = send(t, "GET", base+"/grants(PartitionKey='p',RowKey='r')?$select=D", "", "Accept: application/json;odata=minimalmetadata")
	if !strings.Contains(body, `"D@odata.type":"Edm.Double","D":"NaN"`) {
		t.Fatal(body)
	}
}

const changeSet = `--batch_1
Content-Type: multipart/mixed; boundary=changeset_1

--changeset_1
Content-Type: application/http
Content-Transfer-Encoding: binary

POST http://127.0.0.1/grants HTTP/1.1
Content-ID: 1
Content-Type: application/json
Accept: application/json;odata=minimalmetadata
Prefer: return-no-content

{"PartitionKey":"p","RowKey":"a"}
--changeset_1
Content-Type: application/http
Content-Transfer-Encoding: binary
Content-ID: two

DELETE http://127.0.0.1/grants(PartitionKey='p',RowKey='b') HTTP/1.1
Accept: application/json
If-Match: *


--changeset_1--
--batch_1--
`

func wire(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// Content-ID comes back with each part, whether it stood before or inside the request.
func TestContentID(t *testing.T) {
	_, base := rawServer(t)
	multi := "Content-Type: multipart/mixed; boundary=batch_1"
	resp, body := send(t, "POST", base+"/$batch", wire(changeSet), multi)
	got := innerResponses(t, resp.Header.Get("Content-Type"), []byte(body))
	if len(got) != 1 || got[0].ContentID != "two" || got[0].Code != "ResourceNotFound" || !strings.HasPrefix(got[0].Message, "1:The specified resource does not exist.\n") {
		t.Fatalf("%+v", got)
	}
	send(t, "POST", base+"/grants", `{"PartitionKey":"p","RowKey":"b"}`)
	resp, body = send(t, "POST", base+"/$batch", wire(changeSet), multi)
	got = innerResponses(t, resp.Header.Get("Content-Type"), []byte(body))
	if diff := cmp.Diff([]innerError{{Status: 204, ContentID: "1"}, {Status: 204, ContentID: "two"}}, got); diff != "" || resp.StatusCode != 202 {
		t.Fatalf("status %d:\n%s\n%s", resp.StatusCode, diff, body)
	}
}

func TestMalformedTransactions(t *testing.T) {
	_, base := rawServer(t)
	for name, body := range map[string]string{
		"empty":               "",
		"no parts":            "--batch_1--\n",
		"not a change set":    strings.Replace(changeSet, "multipart/mixed", "application/http", 1),
		"two change sets":     strings.Replace(changeSet, "--batch_1--", "--batch_1\nContent-Type: multipart/mixed; boundary=x\n\n--x--\n--batch_1--", 1),
		"unfinished":          changeSet[:len(changeSet)-30],
		"no changes":          "--batch_1\nContent-Type: multipart/mixed; boundary=changeset_1\n\n--changeset_1--\n--batch_1--\n",
		"encoding":            strings.Replace(changeSet, "binary", "base64", 1),
		"request line":        strings.Replace(changeSet, " HTTP/1.1", "", 1),
		"wrong length":        strings.Replace(changeSet, "Content-ID: 1", "Content-Length: 3", 1),
		"header without name": strings.Replace(changeSet, "If-Match: *", "nonsense", 1),
	} {
		resp, answer := send(t, "POST", base+"/$batch", wire(body), "Content-Type: multipart/mixed; boundary=batch_1")
		if resp.StatusCode != 400 || resp.Header.Get("x-ms-error-code") != "InvalidInput" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, answer)
		}
	}
	resp, _ := send(t, "POST", base+"/$batch", wire(changeSet))
	if resp.StatusCode != 400 {
		t.Errorf("a transaction of content type application/json: %d", resp.StatusCode)
	}
	query := strings.Replace(changeSet, "DELETE", "GET", 1)
	resp, answer := send(t, "POST", base+"/$batch", wire(query), "Content-Type: multipart/mixed; boundary=batch_1")
	if got := innerResponses(t, resp.Header.Get("Content-Type"), []byte(answer)); got[0].Code != "NotImplemented" {
		t.Errorf("a query in a change set: %+v", got)
	}
}
