package tables_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/local/tables"
)

// noRetries shows every failure to the test instead of hiding it behind the client's backoff.
func noRetries() *aztables.ClientOptions {
	return &aztables.ClientOptions{ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}}
}

func start(tb testing.TB, o tables.Options) (*tables.Server, *httptest.Server, *aztables.ServiceClient) {
	tb.Helper()
	s := tables.New(o)
	web := httptest.NewServer(s)
	tb.Cleanup(web.Close)
	service, err := aztables.NewServiceClientFromConnectionString(s.ConnectionString(web.URL), noRetries())
	if err != nil {
		tb.Fatal(err)
	}
	return s, web, service
}

// serve returns a client of s that retries.
func serve(tb testing.TB, s *tables.Server, retry policy.RetryOptions) *aztables.ServiceClient {
	tb.Helper()
	web := httptest.NewServer(s)
	tb.Cleanup(web.Close)
	o := noRetries()
	o.Retry = retry
	service, err := aztables.NewServiceClientFromConnectionString(s.ConnectionString(web.URL), o)
	if err != nil {
		tb.Fatal(err)
	}
	return service
}

// newTable starts a server and returns a client of one created table.
func newTable(tb testing.TB, o tables.Options) (*tables.Server, *aztables.Client) {
	tb.Helper()
	s, _, service := start(tb, o)
	if _, err := service.CreateTable(tb.Context(), "grants", nil); err != nil {
		tb.Fatal(err)
	}
	return s, service.NewClient("grants")
}

type props map[string]any

// row marshals an entity.
func row(pk, rk string, p props) []byte {
	m := map[string]any{"PartitionKey": pk, "RowKey": rk}
	for k, v := range p {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func add(tb testing.TB, c *aztables.Client, pk, rk string, p props) azcore.ETag {
	tb.Helper()
	resp, err := c.AddEntity(tb.Context(), row(pk, rk, p), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return resp.ETag
}

// get returns an entity's own properties and its ETag.
func get(tb testing.TB, c *aztables.Client, pk, rk string) (map[string]any, azcore.ETag) {
	tb.Helper()
	resp, err := c.GetEntity(tb.Context(), pk, rk, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return own(tb, resp.Value), resp.ETag
}

func own(tb testing.TB, raw []byte) map[string]any {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		tb.Fatal(err)
	}
	for _, k := range []string{"odata.etag", "odata.metadata", "PartitionKey", "RowKey", "Timestamp"} {
		delete(m, k)
	}
	return m
}

// wantCode fails unless err is the service's refusal with this status and code.
func wantCode(tb testing.TB, err error, status int, code string) {
	tb.Helper()
	re, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		tb.Fatalf("got error %v, want %d %s", err, status, code)
	}
	if re.StatusCode != status || re.ErrorCode != code {
		tb.Fatalf("got %d %s, want %d %s", re.StatusCode, re.ErrorCode, status, code)
	}
}

// innerError is what a failed transaction says about the change that failed.
type innerError struct {
	Status    int
	Code      string
	Message   string
	ContentID string
}

// transactionError digs the failed change out of SubmitTransaction's error: the outer status is 202 and the client
// leaves the parts to its caller.
func transactionError(tb testing.TB, err error) innerError {
	tb.Helper()
	re, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || re.StatusCode != http.StatusAccepted {
		tb.Fatalf("got error %v, want a failed transaction", err)
	}
	body, err := io.ReadAll(re.RawResponse.Body)
	if err != nil {
		tb.Fatal(err)
	}
	parts := innerResponses(tb, re.RawResponse.Header.Get("Content-Type"), body)
	if len(parts) != 1 {
		tb.Fatalf("a failed transaction answered %d parts, want 1", len(parts))
	}
	return parts[0]
}

// innerResponses reads every HTTP response out of a transaction's answer.
func innerResponses(tb testing.TB, contentType string, body []byte) []innerError {
	tb.Helper()
	open := func(contentType string, r io.Reader) *multipart.Reader {
		media, params, err := mime.ParseMediaType(contentType)
		if err != nil || media != "multipart/mixed" {
			tb.Fatalf("content type %q: %v", contentType, err)
		}
		return multipart.NewReader(r, params["boundary"])
	}
	outer, err := open(contentType, bytes.NewReader(body)).NextPart()
	if err != nil {
		tb.Fatal(err)
	}
	changes := open(outer.Header.Get("Content-Type"), outer)
	var out []innerError
	for {
		part, err := changes.NextPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		if got := part.Header.Get("Content-Type"); got != "application/http" {
			tb.Fatalf("inner content type %q", got)
		}
		resp, err := http.ReadResponse(bufio.NewReader(part), nil)
		if err != nil {
			tb.Fatal(err)
		}
		e := innerError{Status: resp.StatusCode, ContentID: resp.Header.Get("Content-ID")}
		if resp.StatusCode >= 400 {
			var doc struct {
				Error struct {
					Code    string
					Message struct{ Value string }
				} `json:"odata.error"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
				tb.Fatal(err)
			}
			e.Code, e.Message = doc.Error.Code, doc.Error.Message.Value
		}
		out = append(out, e)
	}
}
