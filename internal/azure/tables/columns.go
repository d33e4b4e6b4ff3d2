package tables

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"jitgate/internal/access"
)

// columns are the properties of a row. Values are string, bool or
// aztables.EDMInt64; times are RFC 3339 text, because an Edm.DateTime drops
// everything below 100 ns and a time must be read back as it was written.
type columns map[string]any

// A string property holds 64 KiB of UTF-16. Longer text goes on in name2, name3…;
// an entity holds 1 MiB, so that 15 parts leave room for the rest.
const (
	partUnits = 32_000
	maxParts  = 15
)

// setText stores text of up to 15 × 32,000 UTF-16 units; more is ErrTooLarge. The
// row must be inserted or replaced: merged, it could keep parts of a longer
// predecessor.
func (c columns) setText(name, text string) error {
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s is not UTF-8 and would come back different", name)
	}
	for n := 1; ; n++ {
		if n > maxParts {
			return fmt.Errorf("%w: %s has more than %d characters", access.ErrTooLarge, name, maxParts*partUnits)
		}
		end := partEnd(text)
		c[partName(name, n)] = text[:end]
		if text = text[end:]; text == "" {
			return nil
		}
	}
}

// partEnd is the length in bytes of the longest start of text that one property
// holds. It falls between characters, so no surrogate pair is torn.
func partEnd(text string) int {
	if len(text) <= partUnits { // a byte makes at most one unit
		return len(text)
	}
	units := 0
	for i, r := range text {
		if units += utf16.RuneLen(r); units > partUnits {
			return i
		}
	}
	return len(text)
}

func partName(name string, n int) string {
	if n == 1 {
		return name
	}
	return name + strconv.Itoa(n)
}

// text is the inverse of setText; empty when the column is missing.
func (c columns) text(name string) string {
	var parts []string
	for n := 1; ; n++ {
		part, ok := c[partName(name, n)].(string)
		if !ok {
			return strings.Join(parts, "")
		}
		parts = append(parts, part)
	}
}

// setBody stores a value as JSON, without the escapes for HTML: six characters for one
// would let whoever writes a text choose how much of a row it takes.
func (c columns) setBody(v any) error {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return c.setText("Body", strings.TrimSuffix(text.String(), "\n"))
}

func (c columns) body(v any) error { return json.Unmarshal([]byte(c.text("Body")), v) }

func (c columns) setNumber(name string, n int64) { c[name] = aztables.EDMInt64(n) }

func (c columns) number(name string) (int64, error) {
	n, ok := c[name].(aztables.EDMInt64)
	if !ok {
		return 0, fmt.Errorf("column %s is not a number", name)
	}
	return int64(n), nil
}

func (c columns) flag(name string) bool {
	set, _ := c[name].(bool)
	return set
}

// setTime stores the zero time as empty text.
func (c columns) setTime(name string, t time.Time) {
	if c[name] = ""; !t.IsZero() {
		c[name] = t.UTC().Format(time.RFC3339Nano)
	}
}

func (c columns) time(name string) (time.Time, error) {
	text, _ := c[name].(string)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("column %s: %w", name, err)
	}
	return t.UTC(), nil
}
