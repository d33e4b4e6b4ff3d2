package amqp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"jitgate/internal/local/servicebus/amqp"
)

var scalars = []*rapid.Generator[any]{
	rapid.Just[any](nil),
	asAny(rapid.Bool()), asAny(rapid.Uint8()), asAny(rapid.Uint16()), asAny(rapid.Uint32()), asAny(rapid.Uint64()),
	asAny(rapid.Int8()), asAny(rapid.Int16()), asAny(rapid.Int32()), asAny(rapid.Int64()),
	asAny(rapid.Float32()), asAny(rapid.Float64()),
	rapid.Map(rapid.Rune(), func(r rune) any { return amqp.Char(r) }),
	rapid.Map(rapid.Int64(), func(ms int64) any { return time.UnixMilli(ms).UTC() }),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) any { return uuid.UUID(b) }),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) any { return append([]byte{}, b...) }),
	asAny(rapid.StringN(0, 300, -1)),
	rapid.Map(rapid.StringN(0, 300, -1), func(s string) any { return amqp.Symbol(s) }),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) any {
		d := amqp.Decimal{Code: 0x74}
		copy(d.Bits[:], b)
		return d
	}),
}

func asAny[T any](g *rapid.Generator[T]) *rapid.Generator[any] {
	return rapid.Map(g, func(v T) any { return v })
}

// values generates any value, nested up to depth.
func values(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(scalars...)
	if depth == 0 {
		return scalar
	}
	inner := rapid.Deferred(func() *rapid.Generator[any] { return values(depth - 1) })
	return rapid.OneOf(scalar,
		rapid.Map(rapid.SliceOfN(inner, 0, 5), func(l []any) any { return append([]any{}, l...) }),
		rapid.Custom(func(t *rapid.T) any {
			m := amqp.Map{}
			for range rapid.IntRange(0, 4).Draw(t, "pairs") {
				m = append(m, amqp.Pair{Key: inner.Draw(t, "key"), Value: inner.Draw(t, "value")})
			}
			return m
		}),
		rapid.Custom(func(t *rapid.T) any {
			return amqp.Described{Descriptor: rapid.Uint64().Draw(t, "descriptor"), Value: inner.Draw(t, "value")}
		}),
		rapid.Custom(func(t *rapid.T) any {
			kind := rapid.SampledFrom(arrayKinds).Draw(t, "kind")
			return amqp.Array{Code: kind.code, Items: append([]any{}, rapid.SliceOfN(kind.item, 0, 5).Draw(t, "items")...)}
		}),
	)
}

var arrayKinds = []struct {
	code byte
	item *rapid.Generator[any]
}{
	{amqp.CodeLong, asAny(rapid.Int64())},
	{0x55, asAny(rapid.Int64Range(-128, 127))},
	{0x71, asAny(rapid.Int32())},
	{0x70, asAny(rapid.Uint32())},
	{0x80, asAny(rapid.Uint64())},
	{0x56, asAny(rapid.Bool())},
	{amqp.CodeString, asAny(rapid.StringN(0, 300, -1))},
	{0xa1, asAny(rapid.StringN(0, 50, 200))},
	{amqp.CodeSymbol, rapid.Map(rapid.StringN(0, 10, -1), func(s string) any { return amqp.Symbol(s) })},
	{amqp.CodeTimestamp, rapid.Map(rapid.Int64(), func(ms int64) any { return time.UnixMilli(ms).UTC() })},
	{0xd0, rapid.Map(rapid.SliceOfN(asAny(rapid.Int64()), 0, 3), func(l []any) any { return append([]any{}, l...) })},
}

var sameNaN = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
}

func TestValuesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(3).Draw(t, "value")
		encoded := amqp.Append([]byte("before"), v)
		got, rest, err := amqp.Decode(append(encoded, "after"...)[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got, sameNaN); diff != "" {
			t.Fatal(diff)
		}
		if string(rest) != "after" {
			t.Fatalf("%d bytes are left", len(rest))
		}
	})
}

func TestWideEncodingsMeanTheSame(t *testing.T) {
	for _, c := range []struct {
		in   string
		want any
	}{
		{"\x56\x01", true}, {"\x70\x00\x00\x00\x07", uint32(7)}, {"\x80\x00\x00\x00\x00\x00\x00\x00\x07", uint64(7)},
		{"\x71\xff\xff\xff\xff", int32(-1)}, {"\x54\xff", int32(-1)}, {"\x55\x80", int64(-128)},
		{"\xb1\x00\x00\x00\x02hi", "hi"}, {"\xb3\x00\x00\x00\x02hi", amqp.Symbol("hi")},
		{"\xd0\x00\x00\x00\x05\x00\x00\x00\x01\x40", []any{nil}},
		{"\xd1\x00\x00\x00\x06\x00\x00\x00\x02\x40\x41", amqp.Map{{Key: nil, Value: true}}},
		{"\xe0\x04\x02\x50\x01\x02", amqp.Array{Code: 0x50, Items: []any{uint8(1), uint8(2)}}},
	} {
		got, rest, err := amqp.Decode([]byte(c.in))
		if err != nil || len(rest) > 0 || !cmp.Equal(c.want, got) {
			t.Errorf("% x: %#v, %v, expected %#v", c.in, got, err, c.want)
		}
	}
}

func TestMalformedValues(t *testing.T) {
	for _, in := range []string{
		"",                         // nothing
		"\x00",                     // no descriptor
		"\x99", "\x3f", "\xa2\x00", // unknown constructors
		"\x70\x00",                             // cut short
		"\x56\x02",                             // not a boolean
		"\xa1\x05hi",                           // longer than the input
		"\xb0\xff\xff\xff\xff",                 // four gigabytes
		"\xc0\x00",                             // no count
		"\xc0\x02\x02\x40",                     // fewer items than counted
		"\xc0\x03\x01\x40\x40",                 // more bytes than items
		"\xc1\x02\x01\x40",                     // odd map
		"\xd0\x00\x00\x00\x04\xff\xff\xff\xff", // count without items
		"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",   // four billion nulls
		"\xe0\x02\x00\x00",                           // described array
		strings.Repeat("\x00", 1000),                 // deep descriptors
		strings.Repeat("\x00\x53\x24", 100) + "\x40", // deep values
	} {
		if v, _, err := amqp.Decode([]byte(in)); !errors.Is(err, amqp.ErrMalformed) {
			t.Errorf("% x: %#v, %v", in, v, err)
		}
	}
}

func TestMapAccess(t *testing.T) {
	m := amqp.Map{{Key: "a", Value: 1}, {Key: amqp.Symbol("b"), Value: nil}}
	if m.Get("a") != 1 || m.Get("b") != nil || !m.Has("b") || m.Has("c") {
		t.Error("lookup by string or symbol fails")
	}
	changed := m.Set("a", 2).Set("c", 3)
	if m.Get("a") != 1 || m.Has("c") {
		t.Error("Set changed its receiver")
	}
	if changed.Get("a") != 2 || changed.Get("c") != 3 || len(changed) != 3 {
		t.Errorf("after Set: %v", changed)
	}
}

func TestLargeListUsesWideHeader(t *testing.T) {
	list := make([]any, 1000)
	for i := range list {
		list[i] = bytes.Repeat([]byte{1}, i)
	}
	got, _, err := amqp.Decode(amqp.Append(nil, list))
	if err != nil || !cmp.Equal(any(list), got) {
		t.Errorf("1000 items did not survive: %v", err)
	}
}

func TestHostileNestingTakesLittleMemory(t *testing.T) {
	// Each list claims to have as many items as there are bytes inside it.
	const size = 256 * 1024
	in := make([]byte, 0, size)
	for range 30 {
		in = append(in, 0xd0)
		in = binary.BigEndian.AppendUint32(in, uint32(size-len(in)-4))
		in = binary.BigEndian.AppendUint32(in, uint32(size-len(in)-4))
	}
	in = append(in, make([]byte, size-len(in))...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := amqp.Decode(in)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, amqp.ErrMalformed) {
		t.Errorf("decoded: %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > size {
		t.Errorf("%d bytes allocated for %d bytes of input", used, size)
	}
}
