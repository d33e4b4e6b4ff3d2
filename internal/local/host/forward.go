package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// contentHeaders belong to the body in .NET; only Content-Type and Content-Length find their way onto it.
var contentHeaders = []string{
	"Allow", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
	"Content-Md5", "Content-Range", "Content-Type", "Expires", "Last-Modified",
}

// connectionHeaders concern one connection only.
var connectionHeaders = []string{
	"Connection", "Expect", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// forward sends the request to the handler the way enableForwardingHttpRequest does, and its answer back unchanged. The
// caller gets 500 with an empty body when the handler cannot be reached.
func (h *Host) forward(w http.ResponseWriter, r *http.Request, fn *function, path string) {
	var answer *http.Response
	var body []byte
	err := h.dispatch(fn, func(ctx context.Context, id string) error {
		if r.ContentLength < 0 {
			return errors.New("the request has a body without Content-Length: the host cannot forward it")
		}
		req, err := h.forwarded(ctx, r, id, path)
		if err != nil {
			return err
		}
		resp, err := h.transport.RoundTrip(req)
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreachable, err)
		}
		defer resp.Body.Close()
		answer = resp
		if body, err = io.ReadAll(resp.Body); err != nil { // the host holds the whole answer in memory
			return fmt.Errorf("%w: reading the answer: %w", errUnreachable, err)
		}
		return nil
	})
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	for name, values := range answer.Header {
		if !slices.Contains(connectionHeaders, name) {
			w.Header()[name] = values
		}
	}
	if answer.Header.Get("Content-Type") == "" {
		w.Header()["Content-Type"] = nil // or net/http would guess one
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body) // the caller is gone
}

func (h *Host) forwarded(ctx context.Context, r *http.Request, id, path string) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if r.ContentLength > 0 {
		body = r.Body
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, h.worker.url+forwardPath(path), body)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = collapseQuery(r.URL.RawQuery)
	req.Host, req.ContentLength = r.Host, r.ContentLength
	for name, values := range r.Header {
		if slices.Contains(contentHeaders, name) || slices.Contains(connectionHeaders, name) {
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		req.Header.Set(name, strings.Join(values, separator)) // .NET writes one line per header
	}
	if media := r.Header.Get("Content-Type"); media != "" && r.ContentLength > 0 {
		req.Header.Set("Content-Type", media)
	}

	// The front end's part.
	join(req.Header, "X-Forwarded-For", ", ", r.RemoteAddr)
	req.Header.Set("X-Forwarded-Proto", "http")
	if h.login != nil {
		h.login.sign(req.Header)
	}
	// The host's part. A client's own invocation id stays in front of it.
	join(req.Header, headerInvocation, ", ", id)
	req.Header.Set(headerVersion, hostVersion)
	join(req.Header, "User-Agent", " ", userAgent)
	return req, nil
}

// join appends value to what the header holds.
func join(h http.Header, name, separator, value string) {
	if old := h.Get(name); old != "" {
		value = old + separator + value
	}
	h.Set(name, value)
}

// requestPath is the path that the web server shows the host: decoded once, but for the slash, and without dot segments.
func requestPath(u *url.URL) string {
	path := u.Path
	guarded := strings.NewReplacer("%2f", "%252f", "%2F", "%252F").Replace(u.EscapedPath())
	if decoded, err := url.PathUnescape(guarded); err == nil {
		path = decoded
	}
	return resolveDots(path)
}

// forwardPath derives the handler's path as the host does, from the decoded URL: an escaped ? or # ends the path, and
// what is still escaped after decoding once is read by .NET's Uri, which unescapes dots, turns backslashes round and
// resolves dot segments. So /api/%252e%252e/work reaches the handler as /work, whatever route let it in.
func forwardPath(path string) string {
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	return escapeOnce(resolveDots(strings.NewReplacer("%2e", ".", "%2E", ".", `\`, "/").Replace(path)))
}

// resolveDots removes the segments . and .. (RFC 3986, 5.2.4).
func resolveDots(path string) string {
	var kept []string
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		if part != "." && part != ".." {
			kept = append(kept, part)
			continue
		}
		if part == ".." {
			kept = kept[:max(len(kept)-1, 0)]
		}
		if i == len(parts)-1 {
			kept = append(kept, "") // a directory keeps its slash
		}
	}
	return "/" + strings.Join(kept, "/")
}

// escapeOnce escapes what may not stand in a path and leaves valid escapes alone, as .NET's Uri does.
func escapeOnce(path string) string {
	var b bytes.Buffer
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]):
			b.WriteByte(c)
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// collapseQuery rebuilds the query from a dictionary: a repeated key keeps one entry with its values joined by commas.
// Keys differ in case only are one key in ASP.NET's collection.
func collapseQuery(raw string) string {
	var keys []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key, value = unescapeQuery(key), unescapeQuery(value)
		i := slices.IndexFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
		if i < 0 {
			keys = append(keys, key)
		} else {
			key = keys[i]
		}
		values[key] = append(values[key], value)
	}
	var b strings.Builder
	for i, key := range keys {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(key) + "=" + url.QueryEscape(strings.Join(values[key], ",")))
	}
	return b.String()
}

func unescapeQuery(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}
