package amqp

// Section descriptors (AMQP 1.0 part 3.2).
const (
	secHeader              uint64 = 0x70
	secDeliveryAnnotations uint64 = 0x71
	secAnnotations         uint64 = 0x72
	secProperties          uint64 = 0x73
	secApplication         uint64 = 0x74
	secData                uint64 = 0x75
	secSequence            uint64 = 0x76
	secValue               uint64 = 0x77
	secFooter              uint64 = 0x78
)

// Positions in Message.Properties.
const (
	PropMessageID     = 0
	PropReplyTo       = 4
	PropCorrelationID = 5
	PropGroupID       = 10
)

// Message is a message taken apart as far as a broker needs. The application
// properties and the body stay the bytes the sender wrote, so that nothing is
// lost in them.
type Message struct {
	// Header holds the fields of the header section: durable, priority, ttl
	// (uint32, milliseconds), first-acquirer, delivery-count (uint32).
	Header              []any
	DeliveryAnnotations Map
	Annotations         Map
	// Properties holds the fields of the properties section; see PropMessageID.
	Properties []any
	// Application is the encoded application-properties section or nil.
	Application []byte
	// Body is the encoded body sections and footer.
	Body []byte
}

// Positions in Message.Header.
const (
	HeaderTTL           = 2
	HeaderDeliveryCount = 4
)

// DecodeMessage takes a message apart. The result aliases b. Sections out of
// order, repeated or unknown, and errors inside the sections the broker reads,
// wrap ErrMalformed.
func DecodeMessage(b []byte) (*Message, error) {
	m := new(Message)
	var last uint64
	for whole, body := b, -1; len(b) > 0; {
		code, value, rest, err := section(b)
		if err != nil {
			return nil, err
		}
		repeatable := code == secData || code == secSequence
		if code < last || code == last && !repeatable || last >= secData && code < secFooter && code != last {
			return nil, malformed("section 0x%x after 0x%x", code, last)
		}
		raw := b[: len(b)-len(rest) : len(b)-len(rest)]
		switch code {
		case secHeader:
			m.Header, err = sectionValue[[]any](code, value)
		case secDeliveryAnnotations:
			m.DeliveryAnnotations, err = sectionValue[Map](code, value)
		case secAnnotations:
			m.Annotations, err = sectionValue[Map](code, value)
		case secProperties:
			m.Properties, err = sectionValue[[]any](code, value)
		case secApplication:
			m.Application = raw
		default:
			if body < 0 {
				body = len(whole) - len(b)
			}
			// Sections follow each other, so the body simply grows.
			m.Body = whole[body : len(whole)-len(rest)]
		}
		if err != nil {
			return nil, err
		}
		last, b = code, rest
	}
	return m, nil
}

// section splits off the first section: its code, the encoded value without
// the descriptor, and what follows.
func section(b []byte) (code uint64, value, rest []byte, err error) {
	if len(b) == 0 || b[0] != 0x00 {
		return 0, nil, nil, malformed("message section without descriptor")
	}
	d, value, err := Decode(b[1:])
	if err != nil {
		return 0, nil, nil, err
	}
	code, ok := d.(uint64)
	if !ok || code < secHeader || code > secFooter {
		return 0, nil, nil, malformed("unknown message section %v", d)
	}
	rest, err = skip(value, 0)
	if err != nil {
		return 0, nil, nil, err
	}
	return code, value[:len(value)-len(rest)], rest, nil
}

func sectionValue[T any](code uint64, b []byte) (T, error) {
	v, _, err := Decode(b)
	t, ok := v.(T)
	if err == nil && !ok {
		err = malformed("section 0x%x holds a %T", code, v)
	}
	return t, err
}

// Append adds the encoded message to b.
func (m *Message) Append(b []byte) []byte {
	if m.Header != nil {
		b = Append(b, Described{secHeader, m.Header})
	}
	if m.DeliveryAnnotations != nil {
		b = Append(b, Described{secDeliveryAnnotations, m.DeliveryAnnotations})
	}
	if m.Annotations != nil {
		b = Append(b, Described{secAnnotations, m.Annotations})
	}
	if m.Properties != nil {
		b = Append(b, Described{secProperties, m.Properties})
	}
	return append(append(b, m.Application...), m.Body...)
}

// Property returns a field of the properties section, or nil.
func (m *Message) Property(i int) any { return at(m.Properties, i) }

// HeaderField returns a field of the header section, or nil.
func (m *Message) HeaderField(i int) any { return at(m.Header, i) }

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// WithField returns a copy of list in which position i holds v.
func WithField(list []any, i int, v any) []any {
	out := make([]any, max(len(list), i+1))
	copy(out, list)
	out[i] = v
	return out
}

// ApplicationProperties decodes the application properties.
func (m *Message) ApplicationProperties() (Map, error) {
	if m.Application == nil {
		return nil, nil
	}
	_, value, _, err := section(m.Application)
	if err != nil {
		return nil, err
	}
	return sectionValue[Map](secApplication, value)
}

// SetApplicationProperties replaces the application properties.
func (m *Message) SetApplicationProperties(p Map) {
	m.Application = Append(nil, Described{secApplication, p})
}

// Value decodes the body of a message whose body is one amqp-value section.
func (m *Message) Value() (any, error) {
	code, value, _, err := section(m.Body)
	if err != nil {
		return nil, err
	}
	if code != secValue {
		return nil, malformed("body section 0x%x where an amqp-value belongs", code)
	}
	return sectionValue[any](code, value)
}

// SetValue makes v the message's body.
func (m *Message) SetValue(v any) { m.Body = Append(nil, Described{secValue, v}) }

// Data returns the contents of the message's data sections; the footer is
// ignored and any other body is an error.
func (m *Message) Data() ([][]byte, error) {
	var out [][]byte
	for b := m.Body; len(b) > 0; {
		code, value, rest, err := section(b)
		if err != nil {
			return nil, err
		}
		b = rest
		if code == secFooter {
			continue
		}
		if code != secData {
			return nil, malformed("body section 0x%x where data belongs", code)
		}
		data, err := sectionValue[[]byte](code, value)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}
