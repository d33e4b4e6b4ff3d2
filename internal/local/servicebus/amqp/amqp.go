// Package amqp encodes and decodes AMQP 1.0: values, frames, performatives and
// message sections, as far as a message broker for queues needs them.
//
// It owns bytes only. It opens no sockets, keeps no link or session state and
// knows nothing of Service Bus. Input is treated as hostile: every size is
// checked against the bytes that are really there before anything is
// allocated, and nesting is limited.
package amqp

import (
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every error that means "these bytes are not AMQP
// 1.0 as this package understands it".
var ErrMalformed = errors.New("malformed amqp data")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// A decoded value is one of
//
//	nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
//	float32, float64, Char, Decimal, time.Time (whole milliseconds, UTC),
//	uuid.UUID, []byte, string, Symbol, []any (list), Map, Array, Described
//
// and exactly these can be encoded. Narrow and wide encodings of one type
// decode to the same Go type; the shortest is written.
type (
	// Symbol is an ASCII name from a constrained domain.
	Symbol string
	// Char is one Unicode code point.
	Char rune
	// Decimal is an IEEE 754 decimal, kept as the bytes it came in.
	Decimal struct {
		Code byte // 0x74, 0x84 or 0x94
		Bits [16]byte
	}
	// Pair is one entry of a Map.
	Pair struct{ Key, Value any }
	// Map keeps the order of its entries, because peers can observe it.
	Map []Pair
	// Array is a sequence of values that share the constructor Code. The code
	// is kept because an empty array still has one.
	Array struct {
		Code  byte
		Items []any
	}
	// Described is a value with a descriptor, usually a uint64 or a Symbol.
	Described struct{ Descriptor, Value any }
)

// Constructors with which this package builds arrays.
const (
	CodeUUID      byte = 0x98
	CodeLong      byte = 0x81
	CodeTimestamp byte = 0x83
	CodeString    byte = 0xb1
	CodeSymbol    byte = 0xb3
)

// Get returns the value under a string or symbol key, or nil.
func (m Map) Get(key string) any {
	for _, p := range m {
		if keyOf(p.Key) == key {
			return p.Value
		}
	}
	return nil
}

// Has tells whether a string or symbol key is present, even with a nil value.
func (m Map) Has(key string) bool {
	for _, p := range m {
		if keyOf(p.Key) == key {
			return true
		}
	}
	return false
}

// Set replaces the value under a string or symbol key or appends the pair.
// The receiver's backing array may be shared by readers, so the result is
// always a fresh slice when an entry is replaced.
func (m Map) Set(key, value any) Map {
	for i, p := range m {
		if keyOf(p.Key) == keyOf(key) {
			out := append(Map(nil), m...)
			out[i].Value = value
			return out
		}
	}
	return append(m[:len(m):len(m)], Pair{key, value})
}

func keyOf(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case Symbol:
		return string(k)
	}
	return "\x00" // no string key of a peer is compared with this on purpose
}
