package amqp

import "fmt"

// Performative is the body of a frame or a delivery state: a described list.
type Performative interface {
	descriptor() uint64
	fields() []any
	read(*fields)
}

// Descriptors (AMQP 1.0 parts 2.7, 3.4, 3.5 and 5.3).
const (
	descOpen        uint64 = 0x10
	descBegin       uint64 = 0x11
	descAttach      uint64 = 0x12
	descFlow        uint64 = 0x13
	descTransfer    uint64 = 0x14
	descDisposition uint64 = 0x15
	descDetach      uint64 = 0x16
	descEnd         uint64 = 0x17
	descClose       uint64 = 0x18
	descError       uint64 = 0x1d
	descReceived    uint64 = 0x23
	descAccepted    uint64 = 0x24
	descRejected    uint64 = 0x25
	descReleased    uint64 = 0x26
	descModified    uint64 = 0x27
	descSource      uint64 = 0x28
	descTarget      uint64 = 0x29
	descMechanisms  uint64 = 0x40
	descInit        uint64 = 0x41
	descOutcome     uint64 = 0x44
)

// newPerformative returns an empty value for a descriptor, or nil.
func newPerformative(descriptor uint64) Performative {
	switch descriptor {
	case descOpen:
		return new(Open)
	case descBegin:
		return new(Begin)
	case descAttach:
		return new(Attach)
	case descFlow:
		return new(Flow)
	case descTransfer:
		return new(Transfer)
	case descDisposition:
		return new(Disposition)
	case descDetach:
		return new(Detach)
	case descEnd:
		return new(End)
	case descClose:
		return new(Close)
	case descError:
		return new(Error)
	case descReceived:
		return new(Received)
	case descAccepted:
		return new(Accepted)
	case descRejected:
		return new(Rejected)
	case descReleased:
		return new(Released)
	case descModified:
		return new(Modified)
	case descSource:
		return new(Source)
	case descTarget:
		return new(Target)
	case descMechanisms:
		return new(SASLMechanisms)
	case descInit:
		return new(SASLInit)
	case descOutcome:
		return new(SASLOutcome)
	}
	return nil
}

// toDescribed turns a performative into a value that Append understands.
// Trailing nulls are left out, as peers do.
func toDescribed(p Performative) Described {
	list := p.fields()
	for len(list) > 0 && list[len(list)-1] == nil {
		list = list[:len(list)-1]
	}
	return Described{p.descriptor(), list}
}

// fromDescribed is the inverse; errors wrap ErrMalformed.
func fromDescribed(v any) (Performative, error) {
	d, ok := v.(Described)
	if !ok {
		return nil, malformed("%T where a described list belongs", v)
	}
	code, ok := d.Descriptor.(uint64)
	if !ok {
		return nil, malformed("descriptor of type %T", d.Descriptor)
	}
	p := newPerformative(code)
	if p == nil {
		return nil, malformed("unknown descriptor 0x%x", code)
	}
	list, ok := d.Value.([]any)
	if !ok {
		return nil, malformed("descriptor 0x%x on a %T", code, d.Value)
	}
	f := &fields{of: code, list: list}
	p.read(f)
	return p, f.err
}

// fields walks through the list of a performative. The first wrong type is
// remembered and ends the walk.
type fields struct {
	of   uint64
	list []any
	at   int
	err  error
}

func (f *fields) next() any {
	if f.err != nil || f.at >= len(f.list) {
		f.at++
		return nil
	}
	f.at++
	return f.list[f.at-1]
}

func (f *fields) fail(v any, want string) {
	f.err = malformed("field %d of 0x%x is a %T, not %s", f.at-1, f.of, v, want)
}

// optional reads a field that may be null.
func optional[T any](f *fields) *T {
	v := f.next()
	if v == nil {
		return nil
	}
	t, ok := v.(T)
	if !ok {
		f.fail(v, fmt.Sprintf("a %T", t))
		return nil
	}
	return &t
}

// valueOr reads a field that has a default.
func valueOr[T any](f *fields, def T) T {
	if p := optional[T](f); p != nil {
		return *p
	}
	return def
}

// required reads a mandatory field.
func required[T any](f *fields) T {
	p := optional[T](f)
	if p == nil {
		var zero T
		if f.err == nil {
			f.err = malformed("field %d of 0x%x is missing", f.at-1, f.of)
		}
		return zero
	}
	return *p
}

// nested reads a performative inside a performative.
func nested[T Performative](f *fields) (out T) {
	v := f.next()
	if v == nil {
		return out
	}
	p, err := fromDescribed(v)
	if err != nil {
		f.err = err
		return out
	}
	t, ok := p.(T)
	if !ok {
		f.fail(p, fmt.Sprintf("a %T", out))
		return out
	}
	return t
}

// symbols reads a "multiple" field: null, one symbol or an array of them.
func symbols(f *fields) []Symbol {
	switch v := f.next().(type) {
	case nil:
		return nil
	case Symbol:
		return []Symbol{v}
	case Array:
		out := make([]Symbol, len(v.Items))
		for i, item := range v.Items {
			s, ok := item.(Symbol)
			if !ok {
				f.fail(item, "a symbol")
				return nil
			}
			out[i] = s
		}
		return out
	default:
		f.fail(v, "symbols")
		return nil
	}
}

// null turns a nil pointer into a null field.
func null[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// orNull turns the zero value into a null field.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func mapOrNull(m Map) any {
	if m == nil {
		return nil
	}
	return m
}

func symbolsOrNull(s []Symbol) any {
	if s == nil {
		return nil
	}
	a := Array{Code: CodeSymbol}
	for _, v := range s {
		a.Items = append(a.Items, v)
	}
	return a
}

// nestedOrNull is for fields of pointer type; a typed nil must not reach it
// as a non-nil interface, hence the comparison with the zero value.
func nestedOrNull[T interface {
	comparable
	Performative
}](p T) any {
	var zero T
	if p == zero {
		return nil
	}
	return toDescribed(p)
}
