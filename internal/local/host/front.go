package host

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"
)

// maxRequest is the host's limit for a request body (ScriptConstants.cs).
const maxRequest = 104857600

func (h *Host) serveHTTP() {
	h.server = &http.Server{Handler: http.HandlerFunc(h.handle), ReadHeaderTimeout: 30 * time.Second}
	h.running.Go(func() { _ = h.server.Serve(h.listener) }) // it only ends because Close closes the listener
}

// handle answers as the host and the front end before it: the host's own addresses, then the first function whose route
// and method fit, then its key.
func (h *Host) handle(w http.ResponseWriter, r *http.Request) {
	if h.work.Err() != nil || !h.tasks.enter() {
		http.Error(w, "Function host is not running.", http.StatusServiceUnavailable)
		return
	}
	defer h.tasks.leave()
	if r.ContentLength > maxRequest {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	path := requestPath(r.URL)
	parts := pathParts(path)
	if len(parts) > 0 && strings.EqualFold(parts[0], "admin") {
		h.admin(w, r, parts[1:])
		return
	}
	fn := h.route(r.Method, parts)
	if fn == nil {
		h.unrouted(w, parts)
		return
	}
	if !h.authorized(r, fn.http.level) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.forward(w, r, fn, path)
}

// route finds the first function, in name order. A method that is not listed is no match, so the answer is 404, not 405.
func (h *Host) route(method string, parts []string) *function {
	for _, fn := range h.app.functions {
		if fn.http != nil && !fn.disabled && fn.http.allows(method) && fn.http.route.match(parts) {
			return fn
		}
	}
	return nil
}

func (h *Host) unrouted(w http.ResponseWriter, parts []string) {
	if len(parts) > 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>Functions host stand-in</title><p>Your function app is up and running.</p>"))
}

// authorized checks the function key, in the header first, else in the query (AuthenticationLevelHandler.cs).
func (h *Host) authorized(r *http.Request, level string) bool {
	if level == "anonymous" {
		return true
	}
	given := r.Header.Get("x-functions-key")
	if given == "" {
		given = r.URL.Query().Get("code")
	}
	for name, key := range h.keys {
		if key != "" && subtle.ConstantTimeCompare([]byte(given), []byte(key)) == 1 && (name == "_master" || level == "function") {
			return true
		}
	}
	return false
}

// admin serves POST /admin/functions/{name}, which runs a timer now. It needs the master key, as in Azure.
func (h *Host) admin(w http.ResponseWriter, r *http.Request, parts []string) {
	if !h.authorized(r, "admin") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if len(parts) != 2 || !strings.EqualFold(parts[0], "functions") || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	t := h.timer(parts[1])
	if t == nil {
		http.Error(w, "This stand-in only runs timer functions by hand.", http.StatusNotFound)
		return
	}
	h.tasks.spawn(func() { _ = t.manual() }) // a failure is logged and counted by dispatch
	w.WriteHeader(http.StatusAccepted)
}
