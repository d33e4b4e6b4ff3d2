package amqp

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/google/uuid"
)

// maxDepth limits nesting, so that a short hostile input cannot exhaust the
// stack. Real messages nest three or four levels.
const maxDepth = 32

// trusted is for how many items room is made before they are there. Beyond it
// memory grows with what was really decoded: lists that each claim to hold all
// the bytes of the list around them would otherwise cost a multiple of it.
const trusted = 64

// Decode reads one value from the front of b and returns what follows it.
// Binary values alias b. Errors wrap ErrMalformed.
func Decode(b []byte) (value any, rest []byte, err error) {
	return decode(b, 0)
}

func decode(b []byte, depth int) (any, []byte, error) {
	if depth > maxDepth {
		return nil, nil, malformed("nested deeper than %d levels", maxDepth)
	}
	if len(b) == 0 {
		return nil, nil, malformed("value missing")
	}
	code, b := b[0], b[1:]
	if code != 0x00 {
		return decodeBody(code, b, depth)
	}
	descriptor, b, err := decode(b, depth+1)
	if err != nil {
		return nil, nil, err
	}
	value, b, err := decode(b, depth+1)
	if err != nil {
		return nil, nil, err
	}
	return Described{descriptor, value}, b, nil
}

// decodeBody reads the part of a value that follows its constructor.
func decodeBody(code byte, b []byte, depth int) (any, []byte, error) {
	switch code >> 4 {
	case 0xa, 0xb:
		body, rest, err := sized(b, code&0xf0 == 0xb0)
		if err != nil {
			return nil, nil, err
		}
		switch code & 0x0f {
		case 0x0:
			return body, rest, nil
		case 0x1:
			return string(body), rest, nil
		case 0x3:
			return Symbol(body), rest, nil
		}
		return nil, nil, malformed("unknown constructor 0x%02x", code)
	case 0xc, 0xd, 0xe, 0xf:
		return decodeCompound(code, b, depth)
	}
	width := fixedWidth(code)
	if width < 0 {
		return nil, nil, malformed("unknown constructor 0x%02x", code)
	}
	if len(b) < width {
		return nil, nil, malformed("constructor 0x%02x needs %d bytes, %d left", code, width, len(b))
	}
	v, err := decodeFixed(code, b[:width])
	return v, b[width:], err
}

// fixedWidth tells how many bytes follow a constructor of the fixed-width
// classes, or -1 for any other constructor.
func fixedWidth(code byte) int {
	if code < 0x40 || code > 0x9f {
		return -1
	}
	return [...]int{0, 1, 2, 4, 8, 16}[code>>4-4]
}

func decodeFixed(code byte, b []byte) (any, error) {
	switch code {
	case 0x40:
		return nil, nil
	case 0x41:
		return true, nil
	case 0x42:
		return false, nil
	case 0x43:
		return uint32(0), nil
	case 0x44:
		return uint64(0), nil
	case 0x45:
		return []any{}, nil
	case 0x50:
		return b[0], nil
	case 0x51:
		return int8(b[0]), nil
	case 0x52:
		return uint32(b[0]), nil
	case 0x53:
		return uint64(b[0]), nil
	case 0x54:
		return int32(int8(b[0])), nil
	case 0x55:
		return int64(int8(b[0])), nil
	case 0x56:
		if b[0] > 1 {
			return nil, malformed("boolean with value %d", b[0])
		}
		return b[0] == 1, nil
	case 0x60:
		return binary.BigEndian.Uint16(b), nil
	case 0x61:
		return int16(binary.BigEndian.Uint16(b)), nil
	case 0x70:
		return binary.BigEndian.Uint32(b), nil
	case 0x71:
		return int32(binary.BigEndian.Uint32(b)), nil
	case 0x72:
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case 0x73:
		return Char(binary.BigEndian.Uint32(b)), nil
	case 0x80:
		return binary.BigEndian.Uint64(b), nil
	case 0x81:
		return int64(binary.BigEndian.Uint64(b)), nil
	case 0x82:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case 0x83:
		return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(), nil
	case 0x98:
		return uuid.UUID(b), nil
	case 0x74, 0x84, 0x94:
		d := Decimal{Code: code}
		copy(d.Bits[:], b)
		return d, nil
	}
	return nil, malformed("unknown constructor 0x%02x", code)
}

// sized splits off a body with a leading length of one or four bytes.
func sized(b []byte, wide bool) (body, rest []byte, err error) {
	header := 1
	if wide {
		header = 4
	}
	if len(b) < header {
		return nil, nil, malformed("length missing")
	}
	n := uint32(b[0])
	if wide {
		n = binary.BigEndian.Uint32(b)
	}
	b = b[header:]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, malformed("length %d, but only %d bytes left", n, len(b))
	}
	return b[:n:n], b[n:], nil
}

func decodeCompound(code byte, b []byte, depth int) (any, []byte, error) {
	wide := code&0xf0 == 0xd0 || code&0xf0 == 0xf0
	body, rest, err := sized(b, wide)
	if err != nil {
		return nil, nil, err
	}
	countWidth := 1
	if wide {
		countWidth = 4
	}
	if len(body) < countWidth {
		return nil, nil, malformed("count missing")
	}
	count := uint32(body[0])
	if wide {
		count = binary.BigEndian.Uint32(body)
	}
	body = body[countWidth:]
	// Every item takes at least one byte; decodeArray refuses those that do not.
	if uint64(count) > uint64(len(body)) {
		return nil, nil, malformed("count %d, but only %d bytes", count, len(body))
	}
	var v any
	switch code {
	case 0xc0, 0xd0:
		v, err = decodeList(body, int(count), depth)
	case 0xc1, 0xd1:
		v, err = decodeMap(body, int(count), depth)
	case 0xe0, 0xf0:
		v, err = decodeArray(body, int(count), depth)
	default:
		return nil, nil, malformed("unknown constructor 0x%02x", code)
	}
	return v, rest, err
}

func decodeList(b []byte, count, depth int) ([]any, error) {
	list := make([]any, 0, min(count, trusted))
	for range count {
		v, rest, err := decode(b, depth+1)
		if err != nil {
			return nil, err
		}
		list, b = append(list, v), rest
	}
	return list, nothingLeft(b)
}

func decodeMap(b []byte, count, depth int) (Map, error) {
	if count%2 != 0 {
		return nil, malformed("map with %d items", count)
	}
	m := make(Map, 0, min(count/2, trusted))
	for range count / 2 {
		key, rest, err := decode(b, depth+1)
		if err != nil {
			return nil, err
		}
		value, rest, err := decode(rest, depth+1)
		if err != nil {
			return nil, err
		}
		m, b = append(m, Pair{key, value}), rest
	}
	return m, nothingLeft(b)
}

func decodeArray(b []byte, count, depth int) (Array, error) {
	if depth >= maxDepth {
		return Array{}, malformed("nested deeper than %d levels", maxDepth)
	}
	if len(b) == 0 {
		return Array{}, malformed("array without constructor")
	}
	a := Array{Code: b[0]}
	b = b[1:]
	if a.Code == 0x00 {
		return Array{}, malformed("arrays of described values are not supported")
	}
	if fixedWidth(a.Code) == 0 {
		// Four billion of these fit in ten bytes.
		return Array{}, malformed("array of zero-width constructor 0x%02x", a.Code)
	}
	if count > len(b) {
		return Array{}, malformed("array of %d items in %d bytes", count, len(b))
	}
	a.Items = make([]any, 0, min(count, trusted))
	for range count {
		v, rest, err := decodeBody(a.Code, b, depth+1)
		if err != nil {
			return Array{}, err
		}
		a.Items, b = append(a.Items, v), rest
	}
	return a, nothingLeft(b)
}

func nothingLeft(b []byte) error {
	if len(b) > 0 {
		return malformed("%d bytes left over", len(b))
	}
	return nil
}

// skip returns b without its first value, looking only at sizes.
func skip(b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, malformed("nested deeper than %d levels", maxDepth)
	}
	if len(b) == 0 {
		return nil, malformed("value missing")
	}
	code, b := b[0], b[1:]
	switch {
	case code == 0x00:
		b, err := skip(b, depth+1)
		if err != nil {
			return nil, err
		}
		return skip(b, depth+1)
	case code >= 0xa0:
		_, rest, err := sized(b, code&0x10 != 0)
		return rest, err
	}
	width := fixedWidth(code)
	if width < 0 {
		return nil, malformed("unknown constructor 0x%02x", code)
	}
	if len(b) < width {
		return nil, malformed("constructor 0x%02x needs %d bytes, %d left", code, width, len(b))
	}
	return b[width:], nil
}
