package alert

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSize of a body in bytes, which is for whoever reads it from the network to keep.
// Azure Monitor sends at most 256 KB per alert (Azure Monitor documentation, sample alert
// payloads).
const MaxSize = 512 << 10

// maxDepth of nesting; the deepest documented alert needs nine levels.
const maxDepth = 40

const commonSchema = "azureMonitorCommonAlertSchema"

// oldSchemas were sent before the common alert schema, and still are by
// receivers that do not enable it.
var oldSchemas = []string{"AzureMonitorMetricAlert", "Microsoft.Insights/activityLogs", "Microsoft.Insights/LogAlert"}

// Parse reads an alert in the common alert schema, or our own body
//
//	{"source", "externalId", "action", "vmResourceId", "reason", "until"}.
//
// The former is read leniently, because its services do not agree on the case of
// keys, on null and on numbers; the latter strictly, because its writer can be
// told. Errors are of type [Refusal].
func Parse(body []byte) (Alert, error) {
	if !utf8.Valid(body) {
		return Alert{}, refuse(Malformed, "The body is not in UTF-8; send JSON in UTF-8.")
	}
	if tooDeep(body) {
		return Alert{}, refuse(Malformed, "The body is nested more than %d levels deep; no alert is.", maxDepth)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return Alert{}, refuse(Malformed, "The body is no JSON object; send the alert as it is, with the content type application/json.")
	}
	var top struct {
		SchemaID text `json:"schemaId"`
		// Only whether they are there is looked at.
		Source, ExternalID                  json.RawMessage
		Context, AlertRuleName, SearchQuery json.RawMessage
	}
	if err := decode(body, &top); err != nil {
		return Alert{}, refuse(Malformed, "The body is no JSON: %s.", err)
	}
	schema := string(top.SchemaID)
	switch {
	case strings.EqualFold(schema, commonSchema):
		return parseCommon(body)
	case foldedIn(schema, oldSchemas),
		schema == "" && (top.Context != nil || top.AlertRuleName != nil || top.SearchQuery != nil):
		return Alert{}, refuse(OldSchema, "This is a payload from before the common alert schema; enable the common alert schema on this receiver of the action group (useCommonAlertSchema).")
	case schema == "" && (top.Source != nil || top.ExternalID != nil):
		return parseOwn(body)
	}
	return Alert{}, refuse(UnknownSchema, "schemaId %.60q is not known; send %s, or a body with source, externalId, action and vmResourceId.", schema, commonSchema)
}

func refuse(code Code, format string, args ...any) error {
	return Refusal{code, fmt.Sprintf(format, args...)}
}

// decode fills v with what fits and passes over what is of another type.
func decode(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
		return nil // the rest was read all the same
	}
	return err
}

// tooDeep looks only at brackets outside of strings; whether they match is the
// decoder's business.
func tooDeep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// key of a delivery. Quoting keeps the parts apart.
func key(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

func foldedIn(word string, words []string) bool {
	for _, w := range words {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
