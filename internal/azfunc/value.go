package azfunc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Body returns the message body bound to the binding called name, for cardinality "one". It accepts what the host
// sends for each dataType, so that changing function.json does not break the reader. In this order:
//
//  1. a JSON object or array on the wire is returned as it stands;
//  2. a string whose content is itself a JSON string literal is decoded again (dataType string or none);
//  3. a string whose content begins with { or [ is returned as it stands (hosts and tools that encode once);
//  4. a string that is valid padded base64 is decoded (dataType binary);
//  5. any other string is returned as it stands.
//
// A body that is a JSON object cannot be confused: encoded as string it begins with a quote, encoded once it begins
// with a brace, and neither sign exists in base64. Only a bare word such as "test" that was encoded once, which the
// host does not do, would be taken for base64. An error means that Data has no such binding, or that it holds null, a
// number or a boolean.
func (i Invocation) Body(name string) ([]byte, error) {
	raw, ok := i.Data[name]
	if !ok {
		return nil, fmt.Errorf("no data for binding %q: is it the name in function.json?", name)
	}
	if bytes.HasPrefix(raw, []byte("{")) || bytes.HasPrefix(raw, []byte("[")) {
		return raw, nil
	}
	s, ok := unquote(string(raw))
	if !ok {
		return nil, fmt.Errorf("binding %q holds %.20s, not a message body", name, raw)
	}
	if inner, ok := unquote(s); ok {
		return []byte(inner), nil
	}
	if trimmed := strings.TrimLeft(s, " \t\r\n"); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		return []byte(s), nil
	}
	if b, err := base64.StdEncoding.Strict().DecodeString(s); err == nil {
		return b, nil
	}
	return []byte(s), nil
}

// Text returns the Metadata string called name. Names are compared without regard to case, because a body property
// that overwrote the key keeps its own spelling. Strings encoded once or twice are both accepted; ok is false when
// there is no such key or it is no string.
func (i Invocation) Text(name string) (text string, ok bool) {
	raw, ok := i.metadata(name)
	if !ok {
		return "", false
	}
	s, ok := unquote(string(raw))
	if !ok {
		return "", false
	}
	if inner, ok := unquote(s); ok {
		return inner, true
	}
	return s, true
}

// Int returns the Metadata integer called name, whether it came as a number, as text or as twice encoded text.
func (i Invocation) Int(name string) (int64, bool) {
	raw, ok := i.metadata(name)
	if !ok {
		return 0, false
	}
	s, ok := i.Text(name)
	if !ok {
		s = string(raw)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// Time returns the Metadata time called name, in UTC. All the host's layouts are accepted; one without a zone is UTC.
func (i Invocation) Time(name string) (time.Time, bool) {
	s, ok := i.Text(name)
	if !ok {
		return time.Time{}, false
	}
	t, err := parseTime(s)
	return t, err == nil
}

// timeLayouts are the forms in which the host writes times: zoned (EnqueuedTime, sys.UtcNow, timers), without a zone
// (EnqueuedTimeUtc; azure-functions-host issue 6997), and .NET's invariant text, for a time that came from the body.
// The time package accepts a fraction after the seconds of each.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "01/02/2006 15:04:05"}

func parseTime(s string) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time in a form the functions host writes", s)
}

// metadata finds a key exactly, or else the first in order that differs only in case: the host's own dictionary has at
// most one of them, so an order matters only to make strange input behave the same every time.
func (i Invocation) metadata(name string) (json.RawMessage, bool) {
	if raw, ok := i.Metadata[name]; ok {
		return raw, true
	}
	var alike []string
	for key := range i.Metadata {
		if strings.EqualFold(key, name) {
			alike = append(alike, key)
		}
	}
	if len(alike) == 0 {
		return nil, false
	}
	return i.Metadata[slices.Min(alike)], true
}

// unquote decodes s when it is a JSON string literal and nothing else.
func unquote(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", false
	}
	var inner string
	if json.Unmarshal([]byte(s), &inner) != nil {
		return "", false
	}
	return inner, true
}
