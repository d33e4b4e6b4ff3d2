package logicapp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	callTimeout = 120 * time.Second // of one call [limits]; by the real clock, as the other side is real
	pollDelay   = 20 * time.Second  // without Retry-After [custom API]
	maxBody     = 1 << 20
)

// request is a call as an action describes it.
type request struct {
	method, uri string
	headers     map[string]any
	body        any
	audience    string // "" = no token
	retry       retry
}

// answer is what came back, or what a Response action says.
type answer struct {
	status  int
	headers http.Header
	body    any
}

func (a answer) ok() bool { return a.status >= 200 && a.status < 300 }

func (a answer) outputs() any {
	headers := map[string]any{}
	for name := range a.headers {
		headers[name] = a.headers.Get(name)
	}
	return map[string]any{"statusCode": json.Number(strconv.Itoa(a.status)), "headers": headers, "body": a.body}
}

func readRequest(v any) (q request, err error) {
	fields, isObject := v.(map[string]any)
	if !isObject {
		return q, errors.New("there is no request")
	}
	q.method, _ = fields["method"].(string)
	q.uri, _ = fields["uri"].(string)
	q.headers, _ = fields["headers"].(map[string]any)
	q.body = fields["body"]
	if u, err := url.Parse(q.uri); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return q, fmt.Errorf("the uri %q is not an absolute URL", q.uri)
	}
	if authentication, _ := fields["authentication"].(map[string]any); authentication != nil {
		q.audience, _ = authentication["audience"].(string)
		if authentication["type"] != "ManagedServiceIdentity" || q.audience == "" {
			return q, errors.New("authentication must be a ManagedServiceIdentity with an audience")
		}
	}
	q.retry, err = readRetry(fields["retryPolicy"])
	return q, err
}

// http is the Http action.
func (r *Run) http(ctx context.Context, a *action, inputs map[string]any) result {
	q, err := readRequest(inputs)
	if err != nil {
		return failed("InvalidTemplate", err)
	}
	got, err := r.repeat(ctx, a, q)
	if err == nil && !a.noPolling {
		got, err = r.poll(ctx, a, q, got)
	}
	switch {
	case err != nil:
		return r.stopped(ctx, "BadRequest", err)
	case !got.ok():
		return result{status: Failed, code: "ActionFailed", message: fmt.Sprintf("the answer was %d", got.status), outputs: got.outputs()}
	}
	return result{status: Succeeded, outputs: got.outputs()}
}

// stopped says why an action ended without an answer: its time was over, the run
// was, or err. The action's code after a time limit is ActionTimedOut [actions];
// the page calls its status Cancelled there, and TimedOut where it lists what
// runAfter may name. The latter is what the history shows.
func (r *Run) stopped(ctx context.Context, code string, err error) result {
	switch cause := context.Cause(ctx); {
	case cause == nil:
		return failed(code, err)
	case errors.Is(cause, errTimedOut):
		return result{status: TimedOut, code: "ActionTimedOut", message: cause.Error()}
	default:
		return result{status: Cancelled, code: "ActionCancelled", message: cause.Error()}
	}
}

// poll follows an answer of 202 with a Location until there is another [actions,
// "asynchronous patterns"]. The polls carry the action's authentication (a
// maintainer in Azure/logicapps issue 611: so the HTTP action does, connectors do
// not), but neither its headers nor its body.
func (r *Run) poll(ctx context.Context, a *action, q request, got answer) (answer, error) {
	next := request{method: http.MethodGet, audience: q.audience, retry: q.retry}
	for got.status == http.StatusAccepted {
		switch location := got.headers.Get("Location"); {
		case location == "" && next.uri == "":
			return got, nil
		case location != "":
			next.uri = location
		}
		if u, err := url.Parse(next.uri); err != nil || !u.IsAbs() {
			return got, fmt.Errorf("the Location %q is not an absolute URL", next.uri)
		}
		err := r.pause(ctx, a, retryAfter(got.headers, r.app.engine.Clock.Now()))
		if err == nil {
			got, err = r.repeat(ctx, a, next)
		}
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func retryAfter(headers http.Header, now time.Time) time.Duration {
	value := headers.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return pollDelay
}

// pause lets the clock go on.
func (r *Run) pause(ctx context.Context, a *action, d time.Duration) error {
	timer := r.app.engine.Clock.NewTimer(d)
	defer timer.Stop()
	r.wait(a)
	select {
	case <-timer.Chan():
		r.change(a, func(rec *record) { rec.Status = Running })
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.app.ctx.Done(): // nobody moves the clock any more
		return errCancelled
	}
}

// repeat makes a call, again if the policy says so. The last answer is returned,
// whatever its status.
func (r *Run) repeat(ctx context.Context, a *action, q request) (answer, error) {
	for n := 0; ; n++ {
		got, err := r.call(ctx, q)
		again := err != nil || got.status == http.StatusRequestTimeout || got.status == http.StatusTooManyRequests || got.status >= 500
		if !again || n >= q.retry.count || ctx.Err() != nil {
			return got, err
		}
		if err := r.pause(ctx, a, q.retry.delay(n)); err != nil {
			return got, err
		}
	}
}

// call makes one call.
func (r *Run) call(ctx context.Context, q request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	content, contentType := written(q.body)
	h, err := http.NewRequestWithContext(ctx, q.method, q.uri, bytes.NewReader(content))
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		h.Header.Set("Content-Type", contentType)
	}
	for name, value := range q.headers {
		if !stripped(name) {
			h.Header.Set(name, text(value))
		}
	}
	h.Header.Set("User-Agent", "azure-logic-apps/1.0 (workflow "+r.app.id+")")
	h.Header.Set("X-Ms-Workflow-Run-Id", r.ID)
	h.Header.Set("X-Ms-Workflow-Name", r.app.name)
	if q.audience != "" {
		if r.app.engine.Token == nil {
			return answer{}, errors.New("the workflow has no managed identity")
		}
		token, err := r.app.engine.Token(ctx, q.audience)
		if err != nil {
			return answer{}, fmt.Errorf("get a token for %s: %w", q.audience, err)
		}
		h.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := r.app.engine.HTTP.Do(h)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, headers: response.Header}
	a.body, err = read(body, response.Header.Get("Content-Type"))
	return a, err
}

// stripped reports whether an action may not send the header [http].
func stripped(name string) bool {
	switch name = textproto.CanonicalMIMEHeaderKey(name); name {
	case "Content-Type", "Content-Encoding", "Content-Disposition":
		return false
	case "Allow", "Cookie", "Expires", "Host", "Last-Modified", "Origin", "Set-Cookie", "Transfer-Encoding":
		return true
	}
	return strings.HasPrefix(name, "Accept-") || strings.HasPrefix(name, "Content-")
}

// written is a body as it is sent.
func written(body any) (content []byte, contentType string) {
	switch b := body.(type) {
	case nil:
		return nil, ""
	case string:
		return []byte(b), "text/plain; charset=utf-8"
	}
	return encode(body), "application/json; charset=utf-8"
}

// read is a body as expressions see it: JSON only if it says so by that very
// name, other text as it is, the rest wrapped. Whether the service takes
// application/problem+json for JSON is not documented; here it does not.
func read(content []byte, contentType string) (any, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(content) == 0:
		return nil, nil
	case media == "application/json":
		v, err := decode(content)
		if err != nil {
			return nil, fmt.Errorf("the body is not JSON, as its type says: %w", err)
		}
		return v, nil
	case strings.HasPrefix(media, "text/"):
		return string(content), nil
	}
	return map[string]any{"$content-type": contentType, "$content": base64.StdEncoding.EncodeToString(content)}, nil
}
