package host

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"jitgate/internal/azfunc"
)

func ptr[T any](v T) *T { return &v }

func sample() *azservicebus.ReceivedMessage {
	enqueued := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	return &azservicebus.ReceivedMessage{
		Body: []byte(`{"a":1,"t":"<b>"}`), MessageID: "m-1", DeliveryCount: 2, SequenceNumber: ptr(int64(41)),
		LockToken: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, EnqueuedTime: &enqueued,
		SessionID: ptr("s"), Subject: ptr(`say "hi"`), PartitionKey: ptr(""),
		ApplicationProperties: map[string]any{"n": int64(7), "ok": true, "at": enqueued, "s": "x", "half": 0.5},
		RawAMQPMessage:        &azservicebus.AMQPAnnotatedMessage{MessageAnnotations: map[any]any{"x-opt-via-partition-key": "via"}},
	}
}

var sampleCall = call{
	function: "work", now: time.Date(2026, 1, 2, 3, 4, 6, 123456700, time.UTC), namespace: "ns.servicebus.windows.net",
	locked: time.Date(2026, 1, 2, 3, 5, 5, 100000000, time.UTC),
}

// wire returns the envelope's Data value and its Metadata, each value as its JSON text.
func wire(t *testing.T, body []byte) (data string, meta map[string]string) {
	t.Helper()
	var e struct{ Data, Metadata map[string]json.RawMessage }
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	meta = map[string]string{}
	for key, value := range e.Metadata {
		meta[key] = string(value)
	}
	return string(e.Data["message"]), meta
}

func TestEncodeOne(t *testing.T) {
	data, meta := wire(t, encodeOne(&queueTrigger{binding: "message", binary: true}, sample(), sampleCall))
	if data != `"eyJhIjoxLCJ0IjoiPGI+In0="` {
		t.Errorf("binary body %s", data)
	}
	if !strings.HasPrefix(meta["sys"], `{"MethodName":"work","RandGuid":"`) || !strings.HasSuffix(meta["sys"], `","UtcNow":"2026-01-02T03:04:06.1234567Z"}`) {
		t.Errorf("sys %s", meta["sys"])
	}
	delete(meta, "sys")
	session := `{"SessionLockedUntil":"2026-01-02T03:05:05.1+00:00"}`
	properties := `{"at":"2026-01-02T03:04:05.6789Z","half":0.5,"n":7,"ok":true,"s":"x"}`
	want := map[string]string{
		"DeliveryCount": `"2"`, "SequenceNumber": `"41"`, "MessageId": `"\"m-1\""`, "LockToken": `"\"01020304-0506-0708-090a-0b0c0d0e0f10\""`,
		"SessionId": `"\"s\""`, "Subject": `"\"say \\\"hi\\\"\""`, "Label": `"\"say \\\"hi\\\"\""`, "PartitionKey": `"\"\""`,
		"TransactionPartitionKey": `"\"via\""`,
		"EnqueuedTimeUtc":         `"2026-01-02T03:04:05"`, "EnqueuedTime": `"2026-01-02T03:04:05+00:00"`,
		"ExpiresAtUtc": `"9999-12-31T23:59:59"`, "ExpiresAt": `"9999-12-31T23:59:59+00:00"`,
		"ApplicationProperties": properties, "UserProperties": properties,
		"Client":          `{"FullyQualifiedNamespace":"ns.servicebus.windows.net","Identifier":"ns.servicebus.windows.net-work","IsClosed":false,"TransportType":0}`,
		"MessageReceiver": session, "MessageSession": session, "MessageActions": session, "SessionActions": session, "ReceiveActions": `{}`,
	}
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
}

func TestEncodeOneAsText(t *testing.T) {
	msg := sample()
	msg.SessionID, msg.Subject, msg.RawAMQPMessage = nil, nil, nil
	msg.Body = []byte(`{"sessionId":"forged","deliverycount":9,"ok":true,"no":false,"none":null,"list":[1],"at":"2024-01-19T12:50:41.25+02:00",
	  "ratio":1.50,"big":1e20,"tiny":0.00001,"myTrigger":"hidden","deep":{"x":1,"y":{"z":"w"}}}`)
	data, meta := wire(t, encodeOne(&queueTrigger{binding: "message"}, msg, call{function: "work"}))
	var once, twice string
	if json.Unmarshal([]byte(data), &once) != nil || json.Unmarshal([]byte(once), &twice) != nil || twice != string(msg.Body) {
		t.Errorf("the body is not a JSON string in a JSON string: %s", data)
	}
	for key, want := range map[string]string{
		"sessionId": `"\"forged\""`, "deliverycount": `"\"9\""`, "ok": `"\"True\""`, "no": `"\"False\""`, "at": `"\"01/19/2024 10:50:41\""`,
		"ratio": `"\"1.5\""`, "big": `"\"1E+20\""`, "tiny": `"\"1E-05\""`, "deep": `{"x":"1","y":{"z":"w"}}`, "MessageActions": `{}`,
	} {
		if meta[key] != want {
			t.Errorf("%s = %s, want %s", key, meta[key], want)
		}
	}
	for _, key := range []string{"SessionId", "DeliveryCount", "none", "list", "myTrigger", "Subject", "Label", "TransactionPartitionKey"} {
		if value, ok := meta[key]; ok {
			t.Errorf("%s = %s, want it left out", key, value)
		}
	}

	msg.Body = []byte("\xff text")
	if data, _ := wire(t, encodeOne(&queueTrigger{binding: "message"}, msg, call{})); data != `"\"�`+` text\""` {
		t.Errorf("bytes that are no UTF-8: %s", data)
	}
}

// TestRoundTrip proves that the handler's decoder undoes the host's encoder, for every dataType.
func TestRoundTrip(t *testing.T) {
	text := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		seconds := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "enqueued"), rapid.Int64Range(0, 999999999).Draw(t, "nanos"))
		msg := &azservicebus.ReceivedMessage{
			MessageID: text.Draw(t, "message id"), DeliveryCount: rapid.Uint32Range(1, 100).Draw(t, "deliveries"),
			SequenceNumber: ptr(rapid.Int64().Draw(t, "sequence")), EnqueuedTime: &seconds,
			SessionID: rapid.Ptr(text, true).Draw(t, "session"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		trigger := &queueTrigger{binding: "message", binary: rapid.Bool().Draw(t, "binary")}
		if !trigger.binary {
			msg.Body = []byte(text.Draw(t, "text body"))
		}
		if rapid.Bool().Draw(t, "object") {
			msg.Body = rawJSON(map[string]any{"id": text.Draw(t, "a"), "n": rapid.Int().Draw(t, "b")})
		}
		r, err := http.NewRequest(http.MethodPost, "/work", strings.NewReader(string(encodeOne(trigger, msg, sampleCall))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		inv, err := azfunc.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := inv.Body("message"); err != nil || string(got) != string(msg.Body) {
			t.Fatalf("body %q came back as %q, %v", msg.Body, got, err)
		}
		if inv.MessageID != msg.MessageID || inv.DeliveryCount != int(msg.DeliveryCount) {
			t.Fatalf("message id %q, delivery %d", inv.MessageID, inv.DeliveryCount)
		}
		if n, ok := inv.Int("SequenceNumber"); !ok || n != *msg.SequenceNumber {
			t.Fatalf("sequence number %d", n)
		}
		session, ok := inv.Text("sessionid")
		if ok != (msg.SessionID != nil) || ok && session != *msg.SessionID {
			t.Fatalf("session %q, %t", session, ok)
		}
		for _, name := range []string{"EnqueuedTime", "EnqueuedTimeUtc"} {
			if at, ok := inv.Time(name); !ok || !at.Equal(seconds.Truncate(time.Second)) {
				t.Fatalf("%s %v, want %v", name, at, seconds)
			}
		}
	})
}

func TestTimerRoundTrip(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 0, 0, 1200000, time.UTC)
	for _, status := range []*timerStatus{nil, {Next: at}, {Last: at, Next: at.Add(time.Hour), LastUpdated: at}} {
		r, err := http.NewRequest(http.MethodPost, "/tick", strings.NewReader(string(encodeTimer("timer", status, true, sampleCall))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		inv, err := azfunc.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := inv.Timer("timer")
		if err != nil {
			t.Fatal(err)
		}
		want := azfunc.TimerInfo{IsPastDue: true}
		if status != nil {
			want.Status = &azfunc.ScheduleStatus{Last: status.Last, Next: status.Next, LastUpdated: status.LastUpdated}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("timer (-want +got):\n%s", diff)
		}
	}
}

func TestJudgeAnswer(t *testing.T) {
	const jsonType = "application/json; charset=utf-8"
	for _, tt := range []struct {
		status      int
		contentType string
		body        string
		want        string // ok, fail or hang
	}{
		{200, jsonType, `{}`, "ok"},
		{202, "text/json", `{"outputs":{"x":1},"LOGS":["a"],"ReturnValue":3,"other":1}`, "ok"},
		{200, jsonType, `{"Outputs":null,"Logs":null}`, "ok"},
		{200, jsonType, ``, "hang"},
		{204, "", ``, "hang"},
		{200, "text/plain", ``, "hang"},
		{200, jsonType, `null`, "hang"},
		{200, jsonType, ` null `, "hang"},
		{200, "text/plain", `null`, "fail"},
		{200, "text/plain", `{}`, "fail"},
		{200, "", `{}`, "fail"},
		{200, "application/problem+json", `{}`, "fail"},
		{200, jsonType, `[]`, "fail"},
		{200, jsonType, `"ok"`, "fail"},
		{200, jsonType, `{"Outputs":[]}`, "fail"},
		{200, jsonType, `{"Logs":"one"}`, "fail"},
		{200, jsonType, `ok`, "fail"},
		{302, jsonType, `{}`, "fail"},
		{500, jsonType, ``, "fail"},
		{404, jsonType, `{}`, "fail"},
	} {
		logs, err := judgeAnswer(tt.status, tt.contentType, []byte(tt.body))
		got := "ok"
		if err != nil {
			got = "fail"
		}
		if isHang(err) {
			got = "hang"
		}
		if got != tt.want {
			t.Errorf("%d %q %q: %s (%v), want %s", tt.status, tt.contentType, tt.body, got, err, tt.want)
		}
		if tt.status == 202 && (len(logs) != 1 || logs[0] != "a") {
			t.Errorf("logs %q", logs)
		}
	}
}
