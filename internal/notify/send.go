package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	callTimeout   = 20 * time.Second // for all of a call; a workflow answers 202 at once
	maxBody       = 256 << 10        // bytes we send
	maxAnswer     = 4 << 10          // bytes we read, and throw away
	maxAnswerHead = 32 << 10         // bytes
)

// Options say where a Sender may call, and how.
type Options struct {
	// CallbackHosts is where callbacks may go beside [CallbackHosts]:
	// "flows.example.com", "*.example.com" (any name below, not the name itself),
	// either with ":port" in place of 443.
	CallbackHosts []string
	// Loopback also allows http and https to localhost, 127.0.0.1 and ::1, on any
	// port. For the local stack; elsewhere it opens what listens on this machine.
	Loopback bool
	// Token returns a bearer token for LogicAppTrigger calls; nil = none. Its
	// audience must be good for nothing but these workflows, because whoever owns
	// one of them gets to see it.
	Token func(context.Context) (string, error)
	// Now is the time of signatures; nil = time.Now.
	Now func() time.Time
}

// Sender makes the calls. It may be used by several goroutines.
type Sender struct {
	guard     *guard
	transport *http.Transport
	token     func(context.Context) (string, error)
	now       func() time.Time
	timeout   time.Duration
}

// New reports all faults of the options at once.
func New(o Options) (*Sender, error) {
	g := &guard{loopback: o.Loopback, resolver: net.DefaultResolver, dial: (&net.Dialer{}).DialContext}
	var faults []error
	for _, entry := range slices.Concat(CallbackHosts, o.CallbackHosts) {
		h, err := parseHost(entry)
		faults = append(faults, err)
		g.callbacks = append(g.callbacks, h)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s := &Sender{guard: g, token: o.Token, now: o.Now, timeout: callTimeout}
	if s.now == nil {
		s.now = time.Now
	}
	s.transport = &http.Transport{
		Proxy: nil, // a proxy would resolve the name again, and connect where it leads then
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.guard.connect(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxAnswerHead,
		DisableCompression:     true, // nobody reads the answer
		DisableKeepAlives:      true, // each call has its address judged anew, and no idle connection dies under a POST
	}
	return s, nil
}

// Check says without any call whether Send would refuse the target: for settings
// when they are read, and for callback URLs when they are handed in. Its errors
// are ErrGone. A name that leads to a private address is found by Send only.
func (s *Sender) Check(t Target) error {
	_, err := s.check(t)
	return err
}

func (s *Sender) check(t Target) (*url.URL, error) {
	if !t.Kind.known() {
		return nil, t.refused("it is no kind of target that is known")
	}
	if t.Kind == Webhook && len(t.Secret) < minSecret {
		return nil, t.refused(fmt.Sprintf("it needs a secret of at least %d bytes to sign with", minSecret))
	}
	u, err := s.guard.check(t.URL)
	if err == nil && t.Kind == LogicAppCallback {
		err = s.guard.listed(u)
	}
	if err != nil {
		return nil, t.refused(err.Error())
	}
	return u, nil
}

// Send makes one call. Nil means that the receiver accepted it, which is not that
// somebody has seen it: a workflow answers before it runs. Errors are *Error,
// and ErrRetry or ErrGone. A notice whose answer was lost is sent again by the
// caller, so receivers may get it twice.
func (s *Sender) Send(ctx context.Context, t Target, n Notice) error {
	u, err := s.check(t)
	if err != nil {
		return err
	}
	if !validID(n.ID) {
		return t.refused("the id of the notice is empty, too long, or has characters other than letters, digits, - and _")
	}
	content, err := body(t.Kind, n)
	if err != nil {
		return t.refused("the data of the notice cannot be written as JSON")
	}
	if len(content) > maxBody {
		return t.refused(fmt.Sprintf("the notice is larger than %d bytes", maxBody))
	}

	within, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request := (&http.Request{
		Method:        http.MethodPost,
		URL:           u,
		Header:        http.Header{"Content-Type": {"application/json"}, "User-Agent": {"jitgate"}},
		Body:          io.NopCloser(bytes.NewReader(content)),
		ContentLength: int64(len(content)),
	}).WithContext(within)
	if t.Kind == Webhook {
		sign(request.Header, t.Secret, n.ID, content, s.now())
	}
	// A URL with a signature in it authorises by itself, and Logic Apps takes both
	// together for an error (securing a logic app).
	if t.Kind == LogicAppTrigger && s.token != nil && !u.Query().Has("sig") {
		token, err := s.token(within)
		if err != nil {
			return t.failed(ctx, "no token could be had for it")
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}

	// The transport alone: a client would follow redirects and put the URL into
	// its errors.
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		return t.unanswered(ctx, err)
	}
	// Reading a little lets the other side finish what it writes. The status has
	// decided already, so nothing that happens here matters.
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	_ = response.Body.Close()
	return t.judge(response.StatusCode)
}

// judge turns a status into the outcome. Only the number is used: the text beside
// it is the receiver's.
func (t Target) judge(status int) error {
	if status >= 200 && status < 300 {
		return nil
	}
	e := t.failure(ErrRetry, fmt.Sprintf("answered %d %s", status, http.StatusText(status)))
	e.Status = status
	if t.Kind.final(status) {
		e.verdict = ErrGone
	}
	switch {
	case status >= 300 && status < 400:
		e.reason += "; redirects are not followed, configure the final URL"
	case status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests:
		e.reason += "; check that it still exists, that its URL is current and that it lets jitgate in"
	}
	return e
}

// final reports whether the same call would be answered in the same way for ever.
// Of a channel only what is wrong with the message is: a workflow that is switched
// off, a role that is missing or a URL that has changed is put right by its
// operator, and then wants to be told. Workflows that are switched off answer 400
// (WorkflowTriggerIsNotEnabled; not documented, seen by many), so that of them says
// nothing about the message. Of a run that waits, all that is neither trouble nor haste:
// nobody can make it wait again.
func (k Kind) final(status int) bool {
	switch status {
	case http.StatusBadRequest:
		return k != Teams && k != LogicAppTrigger
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return k == LogicAppCallback && status < 500
}

// unanswered says why there is no answer. The text of err is left out: it may hold
// addresses inside the network, or what a strange server sent.
func (t Target) unanswered(ctx context.Context, err error) error {
	var refused refusal
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &refused):
		return t.refused(refused.Error())
	case ctx.Err() != nil:
		return t.failed(ctx, "the call was given up")
	case errors.Is(err, errUnresolved):
		return t.failed(ctx, errUnresolved.Error())
	case errors.As(err, &certificate):
		return t.failed(ctx, "its certificate is not valid")
	case errors.As(err, &timeout) && timeout.Timeout():
		return t.failed(ctx, "did not answer in time")
	}
	return t.failed(ctx, "the connection failed")
}

func (t Target) refused(why string) error { return t.failure(ErrGone, why) }

func (t Target) failed(ctx context.Context, why string) error {
	e := t.failure(ErrRetry, why)
	e.cause = ctx.Err()
	return e
}

func (t Target) failure(verdict error, why string) *Error {
	e := &Error{Kind: t.Kind, Host: hostOf(t.URL), verdict: verdict, reason: why}
	if !t.Kind.known() {
		e.Kind = "" // where the fields of a target were mixed up, it is the URL
	}
	return e
}
