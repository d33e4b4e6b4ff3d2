package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
)

// Append adds the encoding of v to b. It panics when v, or something inside
// it, is not of a type listed in this package: that is a programming error,
// never a consequence of input.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 0x60), v)
	case uint32:
		switch {
		case v == 0:
			return append(b, 0x43)
		case v <= math.MaxUint8:
			return append(b, 0x52, byte(v))
		}
		return binary.BigEndian.AppendUint32(append(b, 0x70), v)
	case uint64:
		switch {
		case v == 0:
			return append(b, 0x44)
		case v <= math.MaxUint8:
			return append(b, 0x53, byte(v))
		}
		return binary.BigEndian.AppendUint64(append(b, 0x80), v)
	case int8:
		return append(b, 0x51, byte(v))
	case int16:
		return binary.BigEndian.AppendUint16(append(b, 0x61), uint16(v))
	case int32:
		if v >= math.MinInt8 && v <= math.MaxInt8 {
			return append(b, 0x54, byte(v))
		}
		return binary.BigEndian.AppendUint32(append(b, 0x71), uint32(v))
	case int64:
		if v >= math.MinInt8 && v <= math.MaxInt8 {
			return append(b, 0x55, byte(v))
		}
		return binary.BigEndian.AppendUint64(append(b, 0x81), uint64(v))
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 0x72), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0x82), math.Float64bits(v))
	case Char:
		return binary.BigEndian.AppendUint32(append(b, 0x73), uint32(v))
	case Decimal:
		return append(append(b, v.Code), v.Bits[:fixedWidth(v.Code)]...)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, 0x83), uint64(v.UnixMilli()))
	case uuid.UUID:
		return append(append(b, 0x98), v[:]...)
	case []byte:
		return appendVariable(b, 0xa0, v)
	case string:
		return appendVariable(b, 0xa1, v)
	case Symbol:
		return appendVariable(b, 0xa3, v)
	case []any:
		if len(v) == 0 {
			return append(b, 0x45)
		}
		return appendCompound(b, 0xc0, len(v), func(b []byte) []byte {
			for _, item := range v {
				b = Append(b, item)
			}
			return b
		})
	case Map:
		return appendCompound(b, 0xc1, 2*len(v), func(b []byte) []byte {
			for _, p := range v {
				b = Append(Append(b, p.Key), p.Value)
			}
			return b
		})
	case Array:
		return appendArray(b, v)
	case Described:
		return Append(Append(append(b, 0x00), v.Descriptor), v.Value)
	}
	panic(fmt.Sprintf("amqp: cannot encode %T", v))
}

// appendVariable writes bytes with a length: code is the constructor with a
// one-byte length, code+0x10 the one with four.
func appendVariable[T ~string | ~[]byte](b []byte, code byte, v T) []byte {
	if len(v) <= math.MaxUint8 {
		return append(append(b, code, byte(len(v))), v...)
	}
	return append(binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(v))), v...)
}

// appendCompound writes a list or map. The items are written behind room for
// the wide header, then moved forward if the narrow one is enough.
func appendCompound(b []byte, code byte, count int, items func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, code+0x10, 0, 0, 0, 0, 0, 0, 0, 0)
	const wide = 9
	b = items(b)
	size := len(b) - start - wide
	if size+1 <= math.MaxUint8 && count <= math.MaxUint8 {
		b[start], b[start+1], b[start+2] = code, byte(size+1), byte(count)
		copy(b[start+3:], b[start+wide:])
		return b[:start+3+size]
	}
	binary.BigEndian.PutUint32(b[start+1:], uint32(size+4))
	binary.BigEndian.PutUint32(b[start+5:], uint32(count))
	return b
}

func appendArray(b []byte, a Array) []byte {
	start := len(b)
	b = append(b, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, a.Code)
	for _, item := range a.Items {
		b = appendElement(b, a.Code, item)
	}
	binary.BigEndian.PutUint32(b[start+1:], uint32(len(b)-start-5))
	binary.BigEndian.PutUint32(b[start+5:], uint32(len(a.Items)))
	return b
}

// appendElement writes an array element: a value without its constructor, in
// the width the array's constructor prescribes.
func appendElement(b []byte, code byte, v any) []byte {
	switch v := v.(type) {
	case bool: // 0x56; the zero-width forms are refused when decoding arrays
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case uint32:
		if code == 0x52 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint32(b, v)
	case uint64:
		if code == 0x53 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint64(b, v)
	case int32:
		if code == 0x54 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint32(b, uint32(v))
	case int64:
		if code == 0x55 {
			return append(b, byte(v))
		}
		return binary.BigEndian.AppendUint64(b, uint64(v))
	case []byte:
		return appendSized(b, code, v)
	case string:
		return appendSized(b, code, v)
	case Symbol:
		return appendSized(b, code, v)
	case []any:
		return appendItems(b, code, len(v), func(b []byte) []byte {
			for _, item := range v {
				b = Append(b, item)
			}
			return b
		})
	case Map:
		return appendItems(b, code, 2*len(v), func(b []byte) []byte {
			for _, p := range v {
				b = Append(Append(b, p.Key), p.Value)
			}
			return b
		})
	case Array:
		return appendItems(b, code, len(v.Items), func(b []byte) []byte {
			b = append(b, v.Code)
			for _, item := range v.Items {
				b = appendElement(b, v.Code, item)
			}
			return b
		})
	}
	// Every other type has one encoding, whose body follows the constructor.
	return append(b, Append(nil, v)[1:]...)
}

func appendSized[T ~string | ~[]byte](b []byte, code byte, v T) []byte {
	if code&0xf0 == 0xa0 {
		return append(append(b, byte(len(v))), v...)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func appendItems(b []byte, code byte, count int, items func([]byte) []byte) []byte {
	body := items(nil)
	if code&0xf0 == 0xc0 || code&0xf0 == 0xe0 {
		return append(append(b, byte(len(body)+1), byte(count)), body...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)+4))
	return append(binary.BigEndian.AppendUint32(b, uint32(count)), body...)
}
