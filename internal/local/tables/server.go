package tables

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

const (
	maxBodyBytes = 4 << 20
	// A client that is still sending when the connection closes sees a broken pipe instead of the answer, so an
	// oversized body is read to its end, up to here.
	maxDrainBytes = 64 << 20
)

// call is one operation of a request, alone or out of a transaction.
type call struct {
	method string
	res    resource
	header http.Header
	query  url.Values
	body   []byte
	enc    encoder
}

// reply is a successful answer; failures travel as errors.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (c *call) json(status int, body []byte) *reply {
	return &reply{status: status, header: http.Header{"Content-Type": {c.enc.level.contentType()}}, body: body}
}

// ServeHTTP answers one request of the Table service's REST protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID := uuid.NewString()
	h := w.Header()
	h.Set("x-ms-request-id", requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	for _, name := range [...]string{"x-ms-version", "x-ms-client-request-id"} {
		if v := r.Header.Get(name); v != "" {
			h.Set(name, v)
		}
	}
	rep, err := s.handle(r, requestID)
	if err != nil {
		e := asServiceError(err)
		s.log.Debug("table request refused", "method", r.Method, "path", r.URL.Path, "status", e.status, "code", e.code)
		if e.drop {
			panic(http.ErrAbortHandler) // net/http closes the connection without an answer
		}
		e.setHeaders(h)
		h.Set("Content-Type", minimalMetadata.contentType())
		w.WriteHeader(e.status)
		w.Write(e.body(requestID, s.clock.Now()))
		return
	}
	s.log.Debug("table request", "method", r.Method, "path", r.URL.Path, "status", rep.status)
	for name, values := range rep.header {
		h[name] = values
	}
	w.WriteHeader(rep.status)
	w.Write(rep.body)
}

var serviceVersion = regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)

// firstJSONVersion is the first x-ms-version with JSON answers.
const firstJSONVersion = "2013-08-15"

func (s *Server) handle(r *http.Request, requestID string) (*reply, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(r); err != nil {
		return nil, err
	}
	switch version := r.Header.Get("x-ms-version"); {
	case version == "":
		return nil, missingHeader("x-ms-version")
	case !serviceVersion.MatchString(version) || version < firstJSONVersion:
		return nil, refuse(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
	}
	base := "http://"
	if r.TLS != nil {
		base = "https://"
	}
	c, err := s.newCall(r.Method, r.URL, r.Header, body, base+r.Host)
	if err != nil {
		return nil, err
	}
	if len(body) > maxBodyBytes {
		return nil, errRequestBodyTooLarge
	}
	if c.query.Has("comp") {
		return nil, errNotImplemented
	}
	return s.route(c, requestID)
}

// readBody returns at most one byte more than is allowed, having read everything.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes+1))
	if err == nil && len(body) > maxBodyBytes {
		_, err = io.Copy(io.Discard, io.LimitReader(r.Body, maxDrainBytes))
	}
	if err != nil {
		return nil, invalidInput("The request body could not be read: %v.", err)
	}
	return body, nil
}

// newCall reads the address and the wanted answer format of an operation. base is the URL of the account's host.
func (s *Server) newCall(method string, u *url.URL, header http.Header, body []byte, base string) (*call, error) {
	res, err := parseResource(u.EscapedPath(), s.account)
	if err != nil {
		return nil, err
	}
	// The service takes a bare ";" as part of a value, as in $format=application/json;odata=nometadata.
	query, err := url.ParseQuery(strings.ReplaceAll(u.RawQuery, ";", "%3B"))
	if err != nil {
		return nil, errQuerySyntax
	}
	level, err := negotiate(query, header)
	if err != nil {
		return nil, err
	}
	enc := encoder{level: level, base: base + res.prefix, account: s.account}
	return &call{method: method, res: res, header: header, query: query, body: body, enc: enc}, nil
}

func (s *Server) route(c *call, requestID string) (*reply, error) {
	switch c.res.kind {
	case resBatch:
		if c.method == http.MethodPost {
			return s.transaction(c, requestID)
		}
	case resTables:
		switch c.method {
		case http.MethodGet:
			return s.listTables(c)
		case http.MethodPost:
			return s.createTable(c)
		}
	case resTable:
		if c.method == http.MethodDelete {
			return s.deleteTable(c)
		}
	case resEntities:
		switch c.method {
		case http.MethodGet:
			return s.queryEntities(c)
		case http.MethodPost:
			return s.change(c)
		}
	case resEntity:
		switch c.method {
		case http.MethodGet:
			return s.getEntity(c)
		case http.MethodPut, http.MethodPatch, "MERGE", http.MethodDelete:
			return s.change(c)
		}
	}
	return nil, errMethodNotAllowed
}

// requireJSON checks the media type of a request with a JSON body.
func requireJSON(header http.Header) error {
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return errMediaType
	}
	return nil
}

// echo reports whether the client wants the created resource back, which is the service's default.
func echo(header http.Header) (bool, error) {
	switch header.Get("Prefer") {
	case "", "return-content":
		return true, nil
	case "return-no-content":
		return false, nil
	}
	return false, refuse(400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format.")
}
