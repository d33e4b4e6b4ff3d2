package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// hostVersion is what the stand-in says it is.
const hostVersion = "4.1037.0.0"

const userAgent = "Azure-Functions-Host/" + hostVersion

const (
	headerInvocation = "X-Azure-Functions-InvocationId"
	headerVersion    = "X-Azure-Functions-HostVersion"
)

// errUnreachable: the connection to the handler broke or could not be made.
var errUnreachable = errors.New("calling the handler")

// noticeExit is how long a broken call waits for the end of the process to be noticed. An abandoned message is back
// within a millisecond here and would meet the same dead port until its deliveries are used up; in Azure the way to the
// broker and back takes longer than that.
const noticeExit = 250 * time.Millisecond

// dispatch runs one invocation of fn: it waits for the handler, counts, enforces functionTimeout and judges hangs.
// do gets the invocation id and a context that ends with the host, never with the caller, as in Azure.
func (h *Host) dispatch(fn *function, do func(ctx context.Context, id string) error) error {
	id := uuid.NewString()
	h.count(fn, func(c *Count) { c.Started++ })
	err := h.attempt(fn, id, do)
	if err != nil {
		h.count(fn, func(c *Count) { c.Failed++ })
		h.log.Error("invocation failed", "function", fn.name, "invocation", id, "error", err)
		return err
	}
	h.count(fn, func(c *Count) { c.Succeeded++ })
	return nil
}

func (h *Host) attempt(fn *function, id string, do func(ctx context.Context, id string) error) error {
	p, err := h.worker.await(h.life)
	if err != nil {
		return fmt.Errorf("the handler is not running: %w", err)
	}
	if limit := h.app.functionTimeout; limit > 0 {
		// The host kills the only worker process, and so fails everything else in flight too.
		kill := time.AfterFunc(limit+h.grace, func() {
			h.log.Error("functionTimeout exceeded, killing the handler", "function", fn.name, "invocation", id, "timeout", limit)
			h.worker.kill(p)
		})
		defer kill.Stop()
	}
	err = do(h.life, id)
	if errors.Is(err, errUnreachable) {
		p.settled(noticeExit)
	}
	if !errors.Is(err, ErrHang) {
		return err
	}
	h.count(fn, func(c *Count) { c.Hung++ })
	err = fmt.Errorf("function %s: %w", fn.name, err)
	h.log.Error("the answer would make the Functions host hang", "function", fn.name, "invocation", id, "error", err)
	if h.tolerateHangs {
		<-p.exited // as the host would: until functionTimeout kills the handler, or the host stops
		return err
	}
	h.end(err, false)
	return err
}

// invoke sends the envelope of a non-HTTP function and judges the answer.
func (h *Host) invoke(ctx context.Context, fn *function, id string, envelope []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.worker.url+"/"+fn.name, io.NopCloser(bytes.NewReader(envelope)))
	if err != nil {
		return err
	}
	req.ContentLength = -1 // the host sends chunks
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set(headerInvocation, id)
	req.Header.Set(headerVersion, hostVersion)
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return fmt.Errorf("%w: reading the answer: %w", errUnreachable, err)
	}
	logs, err := judgeAnswer(resp.StatusCode, resp.Header.Get("Content-Type"), body)
	for _, line := range logs {
		h.log.Info(line, "function", fn.name, "invocation", id)
	}
	return err
}

// judgeAnswer tells success, failure and hang apart (DefaultHttpWorkerService.ProcessDefaultInvocationRequest): only
// 2xx with a JSON media type and an object is success, and with no body at all the result is null, which the host waits
// on for ever.
func judgeAnswer(status int, contentType string, body []byte) (logs []string, err error) {
	if status < 200 || status > 299 {
		return nil, fmt.Errorf("the handler answered %d", status)
	}
	if len(body) == 0 {
		return nil, fmt.Errorf("%w: %d with an empty body; answer 200, application/json, {}", ErrHang, status)
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && media != "text/json" {
		return nil, fmt.Errorf("the handler answered %d with content type %q: the host accepts application/json only", status, contentType)
	}
	var result *struct {
		Outputs     map[string]json.RawMessage
		Logs        []string
		ReturnValue json.RawMessage
	}
	if err := json.Unmarshal(body, &result); err != nil {
		return nil, fmt.Errorf("the handler's answer is no invocation result: %w", err)
	}
	if result == nil {
		return nil, fmt.Errorf("%w: %d with the body null; answer {}", ErrHang, status)
	}
	return result.Logs, nil
}
