package tables

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// edmType is one of the property types of the Table service's data model.
type edmType string

const (
	edmString   edmType = "Edm.String"
	edmBoolean  edmType = "Edm.Boolean"
	edmInt32    edmType = "Edm.Int32"
	edmInt64    edmType = "Edm.Int64"
	edmDouble   edmType = "Edm.Double"
	edmDateTime edmType = "Edm.DateTime"
	edmGUID     edmType = "Edm.Guid"
	edmBinary   edmType = "Edm.Binary"
)

// maxPropertyBytes is 64 KiB; a string is measured in UTF-16.
const maxPropertyBytes = 64 << 10

// value is one property value. Which field holds it follows from the type.
type value struct {
	typ edmType
	str string  // String, Guid (lower case), Binary (raw bytes)
	num int64   // Int32, Int64, Boolean (0 or 1), DateTime (ticks)
	flt float64 // Double
}

// A tick is 100 ns, counted from the year 1: the precision and the epoch of Edm.DateTime.
const (
	ticksPerSecond  = 10_000_000
	unixEpochTicks  = 62_135_596_800 * ticksPerSecond
	firstValidTicks = 504_911_232_000_000_000 // 1601-01-01, the service's earliest DateTime
)

func ticksOf(t time.Time) int64 {
	return unixEpochTicks + t.Unix()*ticksPerSecond + int64(t.Nanosecond()/100)
}

func formatTicks(ticks int64) string {
	unix := ticks - unixEpochTicks
	seconds, rest := unix/ticksPerSecond, unix%ticksPerSecond
	return time.Unix(seconds, rest*100).UTC().Format("2006-01-02T15:04:05.9999999Z")
}

// parseDateTime reads an Edm.DateTime; without an offset it is UTC. More than seven fractional digits do not fit the
// type and are refused.
func parseDateTime(s string) (value, error) {
	if _, fraction, ok := strings.Cut(s, "."); ok {
		if digits := len(fraction) - len(strings.TrimLeft(fraction, "0123456789")); digits > 7 {
			return value{}, errInvalidBody
		}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05", s); err != nil {
			return value{}, errInvalidBody
		}
	}
	ticks := ticksOf(t)
	if ticks < firstValidTicks || t.UTC().Year() > 9999 {
		return value{}, errDateOutOfRange
	}
	return value{typ: edmDateTime, num: ticks}, nil
}

func parseGUID(s string) (value, error) {
	if len(s) != 36 {
		return value{}, errInvalidBody
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return value{}, errInvalidBody
	}
	return value{typ: edmGUID, str: id.String()}, nil
}

// parseValue reads a JSON property value with its declared type, or the type JSON implies when none is declared.
// ok is false for null, which the service does not store.
func parseValue(raw json.RawMessage, declared edmType) (v value, ok bool, err error) {
	if bytes.Equal(raw, []byte("null")) {
		return value{}, false, nil
	}
	switch raw[0] {
	case '"':
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return value{}, false, errInvalidBody
		}
		v, err = parseText(s, declared)
	case 't', 'f':
		v = value{typ: edmBoolean}
		if raw[0] == 't' {
			v.num = 1
		}
		if declared != "" && declared != edmBoolean {
			err = errInvalidBody
		}
	case '{', '[':
		err = errInvalidBody
	default:
		v, err = parseNumber(string(raw), declared)
	}
	return v, err == nil, err
}

func parseText(s string, declared edmType) (value, error) {
	switch declared {
	case "", edmString:
		if utf16Len(s)*2 > maxPropertyBytes {
			return value{}, errPropertyValueTooLarge
		}
		return value{typ: edmString, str: s}, nil
	case edmInt64:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return value{}, errInvalidBody
		}
		return value{typ: edmInt64, num: n}, nil
	case edmDouble:
		switch s {
		case "NaN":
			return value{typ: edmDouble, flt: math.NaN()}, nil
		case "INF", "Infinity":
			return value{typ: edmDouble, flt: math.Inf(1)}, nil
		case "-INF", "-Infinity":
			return value{typ: edmDouble, flt: math.Inf(-1)}, nil
		}
	case edmDateTime:
		return parseDateTime(s)
	case edmGUID:
		return parseGUID(s)
	case edmBinary:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return value{}, errInvalidBody
		}
		if len(b) > maxPropertyBytes {
			return value{}, errPropertyValueTooLarge
		}
		return value{typ: edmBinary, str: string(b)}, nil
	}
	return value{}, errInvalidBody
}

// parseNumber gives an undeclared number the type OData's JSON reader gives it: Int32 if it is a whole number in
// range, else Double. An Int64 must be sent as text, because a JSON number does not carry 64 bits.
func parseNumber(s string, declared edmType) (value, error) {
	if declared == "" || declared == edmInt32 {
		if n, err := strconv.ParseInt(s, 10, 32); err == nil {
			return value{typ: edmInt32, num: n}, nil
		}
	}
	if declared == "" || declared == edmDouble {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return value{typ: edmDouble, flt: f}, nil
		}
	}
	return value{}, errInvalidBody
}

// annotated reports whether JSON alone does not tell the type, so that it needs an @odata.type beside it.
func (v value) annotated() bool {
	switch v.typ {
	case edmInt64, edmDateTime, edmGUID, edmBinary:
		return true
	case edmDouble:
		return math.IsNaN(v.flt) || math.IsInf(v.flt, 0)
	}
	return false
}

func (v value) appendJSON(b []byte) []byte {
	switch v.typ {
	case edmBoolean:
		return strconv.AppendBool(b, v.num != 0)
	case edmInt32:
		return strconv.AppendInt(b, v.num, 10)
	case edmInt64:
		b = append(b, '"')
		b = strconv.AppendInt(b, v.num, 10)
		return append(b, '"')
	case edmDouble:
		return appendDouble(b, v.flt)
	case edmDateTime:
		b = append(b, '"')
		b = append(b, formatTicks(v.num)...)
		return append(b, '"')
	case edmBinary:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(v.str))
		return append(b, '"')
	}
	return appendJSON(b, v.str)
}

// appendDouble always writes a decimal point or exponent: a bare whole number would read back as an Int32.
func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"INF"`...)
	case math.IsInf(f, -1):
		return append(b, `"-INF"`...)
	}
	start, format := len(b), byte('f')
	if size := math.Abs(f); size >= 1e15 || size < 1e-5 && size != 0 {
		format = 'e'
	}
	b = strconv.AppendFloat(b, f, format, -1, 64)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// compareValues orders two values. ok is false when they have different types or are not ordered (NaN): such a
// comparison is false whatever its operator.
func compareValues(a, b value) (order int, ok bool) {
	if a.typ != b.typ {
		return 0, false
	}
	switch a.typ {
	case edmString:
		return compareOrdinal(a.str, b.str), true
	case edmGUID, edmBinary:
		return strings.Compare(a.str, b.str), true
	case edmDouble:
		if math.IsNaN(a.flt) || math.IsNaN(b.flt) {
			return 0, false
		}
		return cmp.Compare(a.flt, b.flt), true
	}
	return cmp.Compare(a.num, b.num), true
}

// compareOrdinal orders strings by UTF-16 code unit, which is how the service sorts keys. That is byte order except
// that characters beyond U+FFFF (lead byte 0xF0 and up, surrogates in UTF-16) come before U+E000 to U+FFFF (lead
// bytes 0xEE and 0xEF).
func compareOrdinal(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x >= 0xee && y >= 0xee && (x >= 0xf0) != (y >= 0xf0) {
			return cmp.Compare(y, x)
		}
		return cmp.Compare(x, y)
	}
	return cmp.Compare(len(a), len(b))
}

// appendJSON writes a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s) // cannot fail for a string
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
