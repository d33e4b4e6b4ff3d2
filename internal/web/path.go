package web

import (
	"net/http"
	"net/url"
	"strings"
)

// machinePath is how operations spell the path of one machine; the empty parts are
// names, which keep their case.
var machinePath = strings.Split("/api/machines/subscriptions//resourceGroups//providers/Microsoft.Compute/virtualMachines/", "/")

// spelled brings the fixed words of a machine's id into the spelling of the
// operations. ARM ids are compared without regard to case and Azure itself returns
// them in several, so a caller who pastes one must not get "no such operation".
func spelled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, other := spellMachinePath(r.URL.EscapedPath()); other {
			if plain, err := url.PathUnescape(path); err == nil {
				u := *r.URL
				u.Path, u.RawPath = plain, path
				again := *r
				again.URL = &u
				r = &again
			}
		}
		next.ServeHTTP(w, r)
	})
}

// spellMachinePath works on the escaped path, where a slash is a separator and
// never part of a name. It reports whether anything had to be changed.
func spellMachinePath(path string) (string, bool) {
	if !strings.HasPrefix(path, "/api/machines/") {
		return path, false
	}
	parts := strings.Split(path, "/")
	if len(parts) < len(machinePath) {
		return path, false
	}
	for i, word := range machinePath {
		if word == "" {
			continue
		}
		if !strings.EqualFold(parts[i], word) {
			return path, false
		}
		parts[i] = word
	}
	again := strings.Join(parts, "/")
	return again, again != path
}
