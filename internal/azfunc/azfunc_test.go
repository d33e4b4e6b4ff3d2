package azfunc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// queueCall is one Service Bus message as the host sends it, cardinality one, no dataType.
const queueCall = `{
 "Data":{"message":"\"{\\\"request\\\":\\\"r-1\\\"}\""},
 "Metadata":{
  "DeliveryCount":"3","SequenceNumber":"9007199254740993","MessageId":"\"m-1\"","sessionid":"\"s \\\"1\\\"\"","Label":"plain",
  "EnqueuedTimeUtc":"2026-01-02T03:04:05","EnqueuedTime":"2026-01-02T03:04:05+00:00","ExpiresAtUtc":"9999-12-31T23:59:59",
  "ExpiresAt":"2026-01-02T05:04:05.6781234+02:00","polluted":"\"01/19/2024 12:50:41\"",
  "MessageActions":{},"sys":{"MethodName":"evaluate","UtcNow":"2026-01-02T03:04:06.1234567Z","RandGuid":"x"}}}`

func newCall(t *testing.T, path, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set(HeaderInvocationID, "0f8fad5b-d9cb-469f-a165-70867728950e")
	return r
}

func decode(t *testing.T, body string) Invocation {
	t.Helper()
	inv, err := Decode(newCall(t, "/evaluate", body))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestDecodeMetadata(t *testing.T) {
	inv := decode(t, queueCall)
	if inv.Function != "evaluate" || inv.ID != "0f8fad5b-d9cb-469f-a165-70867728950e" || inv.MessageID != "m-1" || inv.DeliveryCount != 3 {
		t.Errorf("decoded %+v", inv)
	}
	if n, ok := inv.Int("sequencenumber"); !ok || n != 9007199254740993 {
		t.Errorf("SequenceNumber = %d, %v: more than 53 bits must survive", n, ok)
	}
	for name, want := range map[string]string{"SessionId": `s "1"`, "MessageId": "m-1", "Label": "plain"} {
		if got, ok := inv.Text(name); !ok || got != want {
			t.Errorf("Text(%s) = %q, %v; want %q", name, got, ok, want)
		}
	}
	second := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, want := range map[string]time.Time{
		"EnqueuedTimeUtc": second, "EnqueuedTime": second,
		"ExpiresAtUtc": time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		"ExpiresAt":    time.Date(2026, 1, 2, 3, 4, 5, 678123400, time.UTC),
		"polluted":     time.Date(2024, 1, 19, 12, 50, 41, 0, time.UTC),
	} {
		if got, ok := inv.Time(name); !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("Time(%s) = %v, %v; want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"absent", "MessageActions", "sys"} {
		if got, ok := inv.Text(name); ok {
			t.Errorf("Text(%s) = %q, want none", name, got)
		}
		if _, ok := inv.Int(name); ok {
			t.Errorf("Int(%s): want none", name)
		}
		if _, ok := inv.Time(name); ok {
			t.Errorf("Time(%s): want none", name)
		}
	}
	if _, ok := inv.Int("MessageId"); ok {
		t.Error("Int(MessageId): a word is no number")
	}
	if _, ok := inv.Time("MessageId"); ok {
		t.Error("Time(MessageId): a word is no time")
	}
}

func TestTextPrefersTheExactKey(t *testing.T) {
	inv := decode(t, `{"Data":{},"Metadata":{"messageid":"\"low\"","MessageId":"\"exact\"","MESSAGEID":"\"up\""}}`)
	for name, want := range map[string]string{"MessageId": "exact", "messageid": "low", "messageID": "up"} {
		if got, _ := inv.Text(name); got != want {
			t.Errorf("Text(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestBody(t *testing.T) {
	const object = `{"a":1,"b":"ü\n"}`
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	tests := []struct{ name, wire, want string }{
		{"string, encoded twice", quoted(quoted(object)), object},
		{"string, encoded once", quoted(object), object},
		{"string, encoded once with space", quoted(" \n" + object), " \n" + object},
		{"binary", quoted(base64.StdEncoding.EncodeToString([]byte(object))), object},
		{"object", object, object},
		{"array", `[1,2]`, `[1,2]`},
		{"array, encoded once", quoted(`[1,2]`), `[1,2]`},
		{"a JSON string as body", quoted(quoted(`"word"`)), `"word"`},
		{"a number as body", quoted(quoted(`42`)), `42`},
		{"text", quoted(quoted("hello")), "hello"},
		{"base64 as text", quoted(quoted("aGVsbG8=")), "aGVsbG8="},
		{"text, encoded once", quoted("hello, world"), "hello, world"},
		{"base64 without padding is text", quoted("aGVsbG8"), "aGVsbG8"},
		{"a lone quote is text", quoted(`"open`), `"open`},
		{"empty text", quoted(quoted("")), ""},
		{"empty binary", quoted(""), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inv := decode(t, `{"Data":{"message":`+tt.wire+`},"Metadata":{}}`)
			got, err := inv.Body("message")
			if err != nil || string(got) != tt.want {
				t.Errorf("Body = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
	for _, wire := range []string{`null`, `1`, `true`} {
		inv := decode(t, `{"Data":{"message":`+wire+`}}`)
		if got, err := inv.Body("message"); err == nil {
			t.Errorf("Body of %s = %q, want an error", wire, got)
		}
	}
	if _, err := decode(t, queueCall).Body("other"); err == nil {
		t.Error("Body of an unknown binding: want an error")
	}
}

func TestTimer(t *testing.T) {
	inv := decode(t, `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":{"Last":"0001-01-01T00:00:00+00:00",
	  "Next":"2026-01-02T03:05:00+00:00","LastUpdated":"2026-01-02T04:00:00.0012+01:00"},"IsPastDue":true}},"Metadata":{"sys":{}}}`)
	got, err := inv.Timer("timer")
	if err != nil {
		t.Fatal(err)
	}
	want := TimerInfo{IsPastDue: true, Status: &ScheduleStatus{
		Next:        time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC),
		LastUpdated: time.Date(2026, 1, 2, 3, 0, 0, 1200000, time.UTC),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("timer (-want +got):\n%s", diff)
	}
	if !got.Status.Last.IsZero() {
		t.Error("a timer that never ran must have a zero Last")
	}

	inv = decode(t, `{"Data":{"timer":{"ScheduleStatus":null,"IsPastDue":false}}}`)
	if got, err := inv.Timer("timer"); err != nil || got.Status != nil || got.IsPastDue {
		t.Errorf("unmonitored timer = %+v, %v", got, err)
	}
	for _, bad := range []string{`{}`, `null`, `"x"`, `{"IsPastDue":false,"ScheduleStatus":{"Last":"soon"}}`} {
		if _, err := decode(t, `{"Data":{"timer":`+bad+`}}`).Timer("timer"); err == nil {
			t.Errorf("timer %s: want an error", bad)
		}
	}
	if _, err := inv.Timer("other"); err == nil {
		t.Error("unknown binding: want an error")
	}
}

func TestDecodeRefuses(t *testing.T) {
	change := func(f func(*http.Request)) *http.Request {
		r := newCall(t, "/evaluate", `{"Data":{},"Metadata":{}}`)
		f(r)
		return r
	}
	for name, r := range map[string]*http.Request{
		"method":       change(func(r *http.Request) { r.Method = http.MethodGet }),
		"media type":   change(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }),
		"no type":      change(func(r *http.Request) { r.Header.Del("Content-Type") }),
		"front end":    change(func(r *http.Request) { r.Header.Set("X-Forwarded-For", "203.0.113.9:4711") }),
		"root":         change(func(r *http.Request) { r.URL.Path = "/" }),
		"deep path":    change(func(r *http.Request) { r.URL.Path = "/api/evaluate" }),
		"slash at end": change(func(r *http.Request) { r.URL.Path = "/evaluate/" }),
		"bad name":     change(func(r *http.Request) { r.URL.Path = "/1st" }),
		"empty":        newCall(t, "/f", ""),
		"null":         newCall(t, "/f", "null"),
		"array":        newCall(t, "/f", "[]"),
		"no data":      newCall(t, "/f", `{"Metadata":{}}`),
		"null data":    newCall(t, "/f", `{"Data":null}`),
		"data array":   newCall(t, "/f", `{"Data":[]}`),
		"two values":   newCall(t, "/f", `{"Data":{}} {}`),
		"too long":     newCall(t, "/f", `{"Data":{"m":"`+strings.Repeat("a", MaxEnvelope)+`"}}`),
		"broken body":  change(func(r *http.Request) { r.Body = http.MaxBytesReader(nil, r.Body, 3) }),
	} {
		if _, err := Decode(r); !errors.Is(err, ErrNotInvocation) {
			t.Errorf("%s: err = %v, want ErrNotInvocation", name, err)
		}
	}
	if _, err := Decode(newCall(t, "/f", `{"Data":{}}`)); err != nil {
		t.Errorf("an envelope without Metadata: %v", err)
	}
}

func TestInvocationIDTakesTheHostsValue(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{"host"}, "host"},
		{[]string{"client, host"}, "host"},
		{[]string{"client", "other,host "}, "host"},
	} {
		h := http.Header{HeaderInvocationID: nil}
		for _, line := range tt.lines {
			h.Add(HeaderInvocationID, line)
		}
		if got := InvocationID(h); got != tt.want {
			t.Errorf("InvocationID(%q) = %q, want %q", tt.lines, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(queueCall, []byte(`{"a":1}`))
	f.Add(`{"Data":{"message":null,"timer":{}},"Metadata":{"DeliveryCount":1}}`, []byte("\x9e\xe9\x65"))
	f.Add(`{"Data":{"message":"\"\\ud800\""},"Metadata":{"MessageId":"\"","messageId":null}}`, []byte{})
	f.Add(`{"Data":{"message":"[\"a\"]"}}`, []byte(`"quoted"`))
	f.Fuzz(func(t *testing.T, envelope string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/f", strings.NewReader(envelope))
		r.Header.Set("Content-Type", "application/json")
		if inv, err := Decode(r); err == nil {
			for name := range inv.Data {
				_, _ = inv.Body(name)
				_, _ = inv.Timer(name)
			}
			for name := range inv.Metadata {
				_, _ = inv.Text(name)
				_, _ = inv.Int(name)
				_, _ = inv.Time(name)
			}
		}

		wire, err := json.Marshal(map[string]any{"Data": map[string]any{"m": body}}) // []byte marshals as base64, once
		if err != nil {
			t.Fatal(err)
		}
		r = httptest.NewRequest(http.MethodPost, "/f", strings.NewReader(string(wire)))
		r.Header.Set("Content-Type", "application/json")
		inv, err := Decode(r)
		if body == nil || len(wire) > MaxEnvelope {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inv.Body("m"); err != nil || string(got) != string(body) {
			t.Fatalf("binary body %q came back as %q, %v", body, got, err)
		}
	})
}
