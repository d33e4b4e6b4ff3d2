package alert

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// text takes a string, a number or a truth value as text. null, objects and
// lists leave it empty: service health sends numbers where other services send
// words, and budgets send null (Azure Monitor documentation, sample alert payloads).
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '"':
		return json.Unmarshal(data, (*string)(t))
	case 'n', '{', '[':
		*t = ""
	default:
		*t = text(data)
	}
	return nil
}

// texts takes a list, or a single value as a list of one.
type texts []text

func (t *texts) UnmarshalJSON(data []byte) error {
	*t = nil
	if data[0] == '[' {
		return json.Unmarshal(data, (*[]text)(t))
	}
	var one text
	err := one.UnmarshalJSON(data)
	if one != "" {
		*t = texts{one}
	}
	return err
}

// properties are names with plain values; others are left out.
type properties map[string]string

func (p *properties) UnmarshalJSON(data []byte) error {
	*p = nil
	if data[0] != '{' {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	*p = properties{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value := members[name]
		if strings.IndexByte("n{[", value[0]) >= 0 {
			continue
		}
		var t text
		if err := t.UnmarshalJSON(value); err != nil {
			return err
		}
		(*p)[line(name)] = line(string(t))
	}
	return nil
}

// line makes foreign text fit for a record: one line, printable, at most 256
// characters. The text of an alert can come from a log that an attacker wrote
// to.
func line(s string) string {
	const most = 256
	count := 0
	return strings.Map(func(r rune) rune {
		if count++; count > most {
			return -1
		}
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// printable reports whether s has 1 to most bytes and nothing that line would
// change but its length.
func printable(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// severity reads "Sev0" to "Sev4", or the digit alone.
func severity(t text) int {
	digit := strings.TrimPrefix(strings.ToLower(string(t)), "sev")
	if n, err := strconv.Atoi(digit); err == nil && len(digit) == 1 && n <= 4 {
		return n
	}
	return UnknownSeverity
}

// moment reads RFC 3339 with any fraction of a second.
func moment(t text) time.Time {
	at, err := time.Parse(time.RFC3339, string(t))
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}
