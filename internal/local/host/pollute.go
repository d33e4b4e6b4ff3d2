package host

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// pollute writes the properties of a JSON body into the metadata, over keys of the same name, as the host does when the
// bound value is a string (host Utility.ApplyBindingData). Arrays and nulls are left out. Whoever writes the body can so
// replace SessionId or DeliveryCount; the handler must survive that.
func pollute(m metadata, body []byte) {
	for key, value := range bodyProperties(body) {
		if nested, ok := value.(map[string]any); ok {
			m.set(key, rawJSON(nested))
			continue
		}
		m.set(key, wireString(value.(string)))
	}
}

// bodyProperties returns the properties as .NET text, nested objects as maps of the same; nil when the body is no object.
func bodyProperties(body []byte) map[string]any {
	var fields map[string]json.RawMessage
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) || json.Unmarshal(body, &fields) != nil {
		return nil
	}
	out := map[string]any{}
	for key, raw := range fields {
		switch raw[0] {
		case 'n', '[':
		case '{':
			out[key] = bodyProperties(raw)
		case 't':
			out[key] = "True"
		case 'f':
			out[key] = "False"
		case '"':
			var s string
			_ = json.Unmarshal(raw, &s) // it was valid JSON above
			out[key] = dotNetDate(s)
		default:
			out[key] = dotNetNumber(string(raw))
		}
	}
	return out
}

// dotNetDate rewrites text that looks like an ISO date the way Json.NET's date detection and ToString do.
func dotNetDate(s string) string {
	if len(s) < len(dateTime) || strings.Count(s, "T") != 1 {
		return s
	}
	for _, layout := range []string{time.RFC3339, dateTime} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t.UTC().Format(dotNetInvariant)
		}
	}
	return s
}

// dotNetNumber is the text of a Double for anything but plain integers: shortest form, exponents from 1E+15 and 1E-05.
func dotNetNumber(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	format := byte('f')
	if size := math.Abs(f); size >= 1e15 || size < 1e-4 && size > 0 {
		format = 'E'
	}
	return strconv.FormatFloat(f, format, -1, 64)
}
