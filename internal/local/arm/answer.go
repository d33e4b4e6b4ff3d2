package arm

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// answer is a response before it is written. A nil body writes none.
type answer struct {
	status int
	header map[string]string
	body   any
	drop   bool
}

// failure is ARM's error, in a response and inside a finished operation.
type failure struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Details []detail `json:"details,omitempty"`
}

type detail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

func refuse(status int, code, format string, args ...any) *answer {
	return refuseWith(status, failure{Code: code, Message: fmt.Sprintf(format, args...)})
}

func refuseWith(status int, f failure) *answer {
	return &answer{status: status, body: map[string]any{"error": f}}
}

func (f *Fault) answer() *answer {
	status, code := f.Status, f.Code
	if status == 0 {
		status = http.StatusInternalServerError
	}
	if code == "" {
		code = "InternalServerError"
	}
	a := refuse(status, code, "%s", f.Message)
	if f.RetryAfter > 0 {
		a.header = map[string]string{"Retry-After": retryAfter(f.RetryAfter)}
	}
	a.drop = f.Drop
	return a
}

func retryAfter(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// remaining names ARM's rate-limit headers and the size of a full bucket. The
// numbers never fall: quotas are not modelled (learn.microsoft.com,
// request-limits-and-throttling: burst 250 reads, 200 writes, 200 deletes; the
// subscription-wide cap is 15 times that).
func remaining(method string) (kind string, own, global int) {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "reads", 250, 15 * 250
	case http.MethodDelete:
		return "deletes", 200, 15 * 200
	}
	return "writes", 200, 15 * 200
}

// write sends the answer with the headers ARM puts on every response.
func (a *answer) write(w http.ResponseWriter, r *http.Request) {
	if a.drop {
		// A connection cut before the first byte is repeated by Go's transport for
		// GETs, unseen by the client; cut inside the body, every client notices.
		w.Header().Set("Content-Length", "1")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // cut all the same when it cannot
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	id := uuid.NewString()
	correlation := r.Header.Get("x-ms-correlation-request-id")
	if correlation == "" {
		correlation = id
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("x-ms-request-id", id)
	h.Set("x-ms-correlation-request-id", correlation)
	h.Set("x-ms-routing-request-id", "LOCAL:"+id)
	if client := r.Header.Get("x-ms-client-request-id"); client != "" && r.Header.Get("x-ms-return-client-request-id") == "true" {
		h.Set("x-ms-client-request-id", client)
	}
	kind, own, global := remaining(r.Method)
	h.Set("x-ms-ratelimit-remaining-subscription-"+kind, strconv.Itoa(own-1))
	h.Set("x-ms-ratelimit-remaining-subscription-global-"+kind, strconv.Itoa(global-1))
	for name, value := range a.header {
		h.Set(name, value)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	text, err := json.Marshal(a.body)
	if err != nil { // bodies are maps of plain values; this is a fault of the stand-in itself
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // the client has gone; there is nobody left to tell
}
