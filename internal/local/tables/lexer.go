package tables

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokEnd tokenKind = iota
	tokOpen
	tokClose
	tokName    // a property or an operator word
	tokLiteral // a typed constant
)

type token struct {
	kind tokenKind
	text string // of a name
	val  value  // of a literal
}

// lexer cuts a $filter into tokens.
type lexer struct{ rest string }

func (l *lexer) next() (token, error) {
	l.rest = strings.TrimLeft(l.rest, " \t\r\n")
	if l.rest == "" {
		return token{kind: tokEnd}, nil
	}
	switch c := l.rest[0]; {
	case c == '(':
		l.rest = l.rest[1:]
		return token{kind: tokOpen}, nil
	case c == ')':
		l.rest = l.rest[1:]
		return token{kind: tokClose}, nil
	case c == '\'':
		s, err := l.quoted()
		return token{kind: tokLiteral, val: value{typ: edmString, str: s}}, err
	case c == '-' || c >= '0' && c <= '9':
		v, err := numberLiteral(l.take(func(r rune) bool {
			return r == '.' || r == '+' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r)
		}))
		return token{kind: tokLiteral, val: v}, err
	}
	word := l.take(func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) })
	if word == "" {
		return token{}, errQuerySyntax
	}
	if strings.HasPrefix(l.rest, "'") {
		s, err := l.quoted()
		if err != nil {
			return token{}, err
		}
		v, err := prefixedLiteral(word, s)
		return token{kind: tokLiteral, val: v}, err
	}
	switch word {
	case "true":
		return token{kind: tokLiteral, val: value{typ: edmBoolean, num: 1}}, nil
	case "false":
		return token{kind: tokLiteral, val: value{typ: edmBoolean}}, nil
	case "NaN":
		return token{kind: tokLiteral, val: value{typ: edmDouble, flt: math.NaN()}}, nil
	case "INF":
		return token{kind: tokLiteral, val: value{typ: edmDouble, flt: math.Inf(1)}}, nil
	}
	return token{kind: tokName, text: word}, nil
}

// take cuts off the leading runes that belong.
func (l *lexer) take(belongs func(rune) bool) string {
	end := 0
	for end < len(l.rest) {
		r, size := utf8.DecodeRuneInString(l.rest[end:])
		if !belongs(r) {
			break
		}
		end += size
	}
	word := l.rest[:end]
	l.rest = l.rest[end:]
	return word
}

// quoted takes a quoted string, which must end where a word may end.
func (l *lexer) quoted() (string, error) {
	s, rest, ok := cutLiteral(l.rest)
	if !ok || rest != "" && !strings.ContainsRune(" \t\r\n()", rune(rest[0])) {
		return "", errQuerySyntax
	}
	l.rest = rest
	return s, nil
}

// prefixedLiteral reads datetime'…', guid'…', X'…' and binary'…'.
func prefixedLiteral(prefix, s string) (value, error) {
	var v value
	var err error
	switch prefix {
	case "datetime":
		v, err = parseDateTime(s)
	case "guid":
		v, err = parseGUID(s)
	case "X", "binary":
		var b []byte
		b, err = hex.DecodeString(s)
		v = value{typ: edmBinary, str: string(b)}
	default:
		err = errQuerySyntax
	}
	if err != nil {
		return value{}, errQuerySyntax
	}
	return v, nil
}

// numberLiteral reads 1 (Int32), 1L (Int64) and 1.5, 1e3 or 1D (Double). Decimal and Single suffixes are refused, as
// the Table service has no such types.
func numberLiteral(s string) (value, error) {
	if s == "-INF" {
		return value{typ: edmDouble, flt: math.Inf(-1)}, nil
	}
	digits, suffix := s, byte(0)
	if c := s[len(s)-1]; strings.IndexByte("LlDd", c) >= 0 {
		digits, suffix = s[:len(s)-1], c
	}
	// ParseFloat knows more spellings than OData does: hexadecimal, underscores, "inf".
	if strings.Trim(digits, "+-0123456789.eE") != "" {
		return value{}, errQuerySyntax
	}
	switch {
	case suffix == 'L' || suffix == 'l':
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return value{typ: edmInt64, num: n}, nil
		}
	case suffix != 0 || strings.ContainsAny(digits, ".eE"):
		if f, err := strconv.ParseFloat(digits, 64); err == nil {
			return value{typ: edmDouble, flt: f}, nil
		}
	default:
		if n, err := strconv.ParseInt(digits, 10, 32); err == nil {
			return value{typ: edmInt32, num: n}, nil
		}
	}
	return value{}, errQuerySyntax
}
