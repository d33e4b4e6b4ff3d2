package host

import (
	"fmt"
	"regexp"
	"strings"
)

// route is an ASP.NET route template: literals, {name}, {name:constraint}, {name?} at the end and {*rest} at the end.
type route struct {
	template string
	segments []segment
}

type segment struct {
	literal    string // lower case; empty for a parameter
	constraint string
	optional   bool
	catchAll   bool
}

// constraints are the route constraints offered here; ASP.NET has more.
var constraints = map[string]*regexp.Regexp{
	"":      nil,
	"int":   regexp.MustCompile(`^[+-]?\d{1,10}$`),
	"long":  regexp.MustCompile(`^[+-]?\d{1,19}$`),
	"alpha": regexp.MustCompile(`^[A-Za-z]*$`),
	"guid":  regexp.MustCompile(`^(?i)\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$`),
	"bool":  regexp.MustCompile(`^(?i)(true|false)$`),
}

var parameter = regexp.MustCompile(`^\{(\*{0,2})([A-Za-z_][A-Za-z0-9_]*)(?::([a-z]+))?(\?)?\}$`)

func parseRoute(template string) (route, error) {
	r := route{template: template}
	if strings.HasPrefix(template, "/") || strings.HasPrefix(template, "~") || strings.Contains(template, "?/") {
		return r, fmt.Errorf("route %q: write it without a leading slash, and let only the last part be optional", template)
	}
	parts := strings.Split(strings.TrimSuffix(template, "/"), "/")
	for i, part := range parts {
		if !strings.ContainsAny(part, "{}") {
			if part == "" && template != "" {
				return r, fmt.Errorf("route %q has an empty part", template)
			}
			if part != "" {
				r.segments = append(r.segments, segment{literal: strings.ToLower(part)})
			}
			continue
		}
		m := parameter.FindStringSubmatch(part)
		if m == nil {
			return r, fmt.Errorf("route %q: %q is not supported by this stand-in: write one {name} for a whole part", template, part)
		}
		if _, ok := constraints[m[3]]; !ok {
			return r, fmt.Errorf("route %q: constraint %q is not supported by this stand-in", template, m[3])
		}
		s := segment{constraint: m[3], optional: m[4] != "", catchAll: m[1] != ""}
		if (s.optional || s.catchAll) && i != len(parts)-1 {
			return r, fmt.Errorf("route %q: %q must be the last part", template, part)
		}
		r.segments = append(r.segments, s)
	}
	return r, nil
}

// pathParts splits a decoded path; an escaped slash is still escaped and stays inside its part, as in ASP.NET.
func pathParts(path string) []string {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if trimmed == "" {
		return nil
	}
	return strings.Split(trimmed, "/")
}

func (r route) match(parts []string) bool {
	for i, s := range r.segments {
		if s.catchAll {
			return true
		}
		if i >= len(parts) {
			return s.optional
		}
		if s.literal != "" {
			if !strings.EqualFold(s.literal, parts[i]) {
				return false
			}
			continue
		}
		if rule := constraints[s.constraint]; parts[i] == "" || rule != nil && !rule.MatchString(parts[i]) {
			return false
		}
	}
	return len(parts) <= len(r.segments)
}

// shape is equal for templates that match exactly the same paths.
func (r route) shape() string {
	var b strings.Builder
	for _, s := range r.segments {
		if s.literal != "" {
			b.WriteString("/" + s.literal)
			continue
		}
		fmt.Fprintf(&b, "/{%s %t %t}", s.constraint, s.optional, s.catchAll)
	}
	return b.String()
}
