package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"jitgate/internal/client"
)

// client returns a client of the installation that the settings name, signed in.
func (a *App) client() (*client.Client, error) {
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	token, err := a.tokens(s)
	if err != nil {
		return nil, err
	}
	return &client.Client{Base: s.URL, Token: token, HTTP: a.http()}, nil
}

func (a *App) http() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// An app that was asleep needs some seconds to start; a minute means that
	// nobody is there.
	transport.ResponseHeaderTimeout = time.Minute
	return &http.Client{Transport: &patient{app: a, next: transport}}
}

// Bounds of repeating a call.
const (
	tries     = 3
	longPause = 10 * time.Second
)

// patient repeats calls that found the service unavailable. Nearly every call this
// program makes may be repeated: reads, a policy or a protection that is put again, a
// request with its idempotency key, a vote, and what ends a request or a protection.
// The others are made [once].
type patient struct {
	app  *App
	next http.RoundTripper
}

func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	pause := p.app.pause
	for try := 1; ; try++ {
		call := r.Clone(r.Context())
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			call.Body = body
		}
		began := p.app.Clock.Now()
		response, err := p.next.RoundTrip(call)
		p.app.detail("call: %s %s: %s (%s)", r.Method, r.URL.Path, outcome(response, err), p.app.Clock.Since(began).Round(time.Millisecond))
		again := err != nil || response.StatusCode == http.StatusServiceUnavailable
		if !again || r.Context().Value(onceKey{}) != nil || try == tries || r.Context().Err() != nil {
			return response, err
		}
		wait := pause
		if response != nil {
			wait = retryAfter(response, pause)
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
			_ = response.Body.Close()
		}
		p.app.say("the service is not available, trying again in %s", wait)
		select {
		case <-r.Context().Done():
			return nil, errors.Join(r.Context().Err(), err)
		case <-p.app.Clock.After(wait):
		}
		pause *= 2
	}
}

type onceKey struct{}

// once is for calls that would do something twice if an answer were lost and they
// were repeated.
func once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// doubtful adds to an error of a call that was made once, and may have arrived, how
// to find out.
func doubtful(err error, look string) error {
	f := explain(err)
	if f.exit != exitUnavailable {
		return f
	}
	return f.hinting("it may have arrived; before you repeat it, look with: " + look)
}

func outcome(r *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return r.Status
}

// retryAfter is how long the server wants to be left alone, within reason.
func retryAfter(r *http.Response, otherwise time.Duration) time.Duration {
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return otherwise
	}
	return min(time.Duration(seconds)*time.Second, longPause)
}
