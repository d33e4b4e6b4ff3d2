// Package client calls jitgate's HTTP API. It is what the command line, the demo,
// the benchmarks and the end-to-end tests speak, so that they see what any caller
// sees. It keeps no state and retries nothing: a caller that wants a repeat to be
// harmless sends an idempotency key.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"jitgate/internal/api"
)

// Client calls one installation.
type Client struct {
	Base  string                                    // "https://jit.example.org", without a slash at the end
	Token func(ctx context.Context) (string, error) // bearer token for every call
	HTTP  *http.Client                              // nil = http.DefaultClient
}

// Answer is what the asynchronous operations say beside the request or machine.
type Answer struct {
	Settled    bool          // the server answered 200: nothing is under way any more
	RetryAfter time.Duration // how long to wait before asking again
}

// Create asks for access. The key may be empty.
func (c *Client) Create(ctx context.Context, in api.NewRequest, key string) (api.Request, Answer, error) {
	headers := http.Header{}
	if key != "" {
		headers.Set("Idempotency-Key", key)
	}
	return asynchronous[api.Request](ctx, c, http.MethodPost, "/api/requests", in, headers)
}

// Get shows a request.
func (c *Client) Get(ctx context.Context, id string) (api.Request, Answer, error) {
	return asynchronous[api.Request](ctx, c, http.MethodGet, "/api/requests/"+url.PathEscape(id), nil, nil)
}

// Revoke ends a request.
func (c *Client) Revoke(ctx context.Context, id string) (api.Request, Answer, error) {
	return asynchronous[api.Request](ctx, c, http.MethodPost, "/api/requests/"+url.PathEscape(id)+"/revoke", nil, nil)
}

// Wait polls until the request is settled, at the pace the server asks for.
// progress is called with every answer; it may be nil.
func (c *Client) Wait(ctx context.Context, id string, progress func(api.Request)) (api.Request, error) {
	return poll(ctx, func(ctx context.Context) (api.Request, Answer, error) { return c.Get(ctx, id) }, progress)
}

func poll[T any](ctx context.Context, ask func(context.Context) (T, Answer, error), progress func(T)) (T, error) {
	for {
		now, answer, err := ask(ctx)
		if err != nil {
			return now, err
		}
		if progress != nil {
			progress(now)
		}
		if answer.Settled {
			return now, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(answer.RetryAfter):
		}
		if err := ctx.Err(); err != nil {
			return now, err
		}
	}
}

// Filter selects requests.
type Filter struct {
	State, VM, Cursor string
	Mine              bool
	ReviewDue         bool // only those of broken glass that nobody has reviewed
	Limit             int
}

// List returns one page, newest first.
func (c *Client) List(ctx context.Context, f Filter) (api.RequestPage, error) {
	query := url.Values{}
	for name, value := range map[string]string{"state": f.State, "vm": f.VM, "cursor": f.Cursor} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if f.Mine {
		query.Set("mine", "true")
	}
	if f.ReviewDue {
		query.Set("review", "due")
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return get[api.RequestPage](ctx, c, "/api/requests", query)
}

// Events returns the record of a request.
func (c *Client) Events(ctx context.Context, id string) ([]api.Event, error) {
	list, err := get[api.EventList](ctx, c, "/api/requests/"+url.PathEscape(id)+"/events", nil)
	return list.Events, err
}

// send makes a call that is answered at once.
func send[T any](ctx context.Context, c *Client, method, path string, in any) (T, error) {
	var out T
	_, err := c.call(ctx, method, path, in, nil, &out)
	return out, err
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return send[T](ctx, c, http.MethodGet, path, nil)
}

// asynchronous makes a call whose answer says whether something is still under way.
func asynchronous[T any](ctx context.Context, c *Client, method, path string, in any, headers http.Header) (T, Answer, error) {
	var out T
	response, err := c.call(ctx, method, path, in, headers, &out)
	if err != nil {
		return out, Answer{}, err
	}
	answer := Answer{Settled: response.StatusCode == http.StatusOK, RetryAfter: time.Second}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		answer.RetryAfter = time.Duration(seconds) * time.Second
	}
	return out, answer, nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// call makes one call. An answer that is not 2xx becomes an *api.Problem, one that
// is not JSON as well, so that callers have one shape to deal with.
func (c *Client) call(ctx context.Context, method, path string, in any, headers http.Header, out any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode the body: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the call: %w", err)
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	token, err := c.Token(ctx)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)

	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("cannot reach jitgate: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		problem := &api.Problem{}
		if json.Unmarshal(text, problem) != nil || problem.Code == "" {
			problem = &api.Problem{Status: response.StatusCode, Code: api.Internal,
				Detail: fmt.Sprintf("The server answered %s without saying why.", response.Status)}
		}
		return response, problem
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("the answer is not what this client knows; is %s jitgate? %w", c.Base, err)
	}
	return response, nil
}

// Code is the code of the problem in err, empty if there is none.
func Code(err error) string {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}
