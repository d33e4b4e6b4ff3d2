package azfunc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// logged returns the records that a handler wrote, one map per line.
func logged(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for dec := json.NewDecoder(out); dec.More(); {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestHandler(t *testing.T) {
	tests := []struct {
		name    string
		request func(*http.Request)
		f       Func
		status  int
		body    string // exact for success
		message string
		level   string
	}{
		{"success", nil, func(context.Context, Invocation) error { return nil },
			200, `{}`, "invocation succeeded", "INFO"},
		{"failure", nil, func(context.Context, Invocation) error { return errors.New("table is away") },
			500, "", "invocation failed", "ERROR"},
		{"panic", nil, func(context.Context, Invocation) error { panic("table is away") },
			500, "", "invocation failed", "ERROR"},
		{"not an invocation", func(r *http.Request) { r.Method = http.MethodPut }, nil,
			400, "", "invocation refused", "ERROR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			h := Handler(tt.f, slog.New(slog.NewJSONHandler(&out, nil)))
			r, w := newCall(t, "/evaluate", queueCall), httptest.NewRecorder()
			if tt.request != nil {
				tt.request(r)
			}
			h.ServeHTTP(w, r)

			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if media := w.Header().Get("Content-Type"); tt.status == 200 && media != "application/json" || tt.status != 200 && media != "application/problem+json" {
				t.Errorf("content type %q", media)
			}
			if tt.body != "" && w.Body.String() != tt.body {
				t.Errorf("body %q, want %q", w.Body, tt.body)
			}
			var object map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &object); err != nil || object == nil {
				t.Errorf("body %q is no JSON object: the host would hang or fail", w.Body)
			}
			if strings.Contains(w.Body.String(), "table is away") {
				t.Error("the answer leaks the cause")
			}

			lines := logged(t, &out)
			if len(lines) != 1 {
				t.Fatalf("%d log lines, want one summary: %v", len(lines), lines)
			}
			line := lines[0]
			if line["msg"] != tt.message || line["level"] != tt.level || line["function"] != "evaluate" ||
				line["invocation"] != "0f8fad5b-d9cb-469f-a165-70867728950e" {
				t.Errorf("logged %v", line)
			}
			if tt.status == 400 {
				return
			}
			if _, ok := line["ms"]; !ok || line["message"] != "m-1" || line["delivery"] != float64(3) {
				t.Errorf("logged %v", line)
			}
			if stack, _ := line["stack"].(string); tt.name == "panic" && !strings.Contains(stack, "handler_test.go") {
				t.Errorf("the stack does not show where the panic came from:\n%s", stack)
			}
		})
	}
}

func TestHandlerPassesTheInvocationOn(t *testing.T) {
	type key struct{}
	var got Invocation
	var value any
	h := Handler(func(ctx context.Context, inv Invocation) error {
		got, value = inv, ctx.Value(key{})
		return nil
	}, slog.New(slog.DiscardHandler))
	r := newCall(t, "/evaluate", queueCall)
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), key{}, 7)))
	if body, err := got.Body("message"); err != nil || string(body) != `{"request":"r-1"}` {
		t.Errorf("body %q, %v", body, err)
	}
	if value != 7 {
		t.Error("the request's context did not reach the function")
	}
}
