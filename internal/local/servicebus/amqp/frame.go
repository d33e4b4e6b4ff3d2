package amqp

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Frame types.
const (
	TypeAMQP byte = 0
	TypeSASL byte = 1
)

// Protocol headers, exchanged before frames.
var (
	HeaderSASL = [8]byte{'A', 'M', 'Q', 'P', 3, 1, 0, 0}
	HeaderAMQP = [8]byte{'A', 'M', 'Q', 'P', 0, 1, 0, 0}
)

const frameHeader = 8

// TransferOverhead is more than a frame's header and a transfer performative
// take; the rest of a frame is payload.
const TransferOverhead = 128

// Frame is one frame. Body is nil in a heartbeat; Payload is what follows the
// performative and is used by transfers only.
type Frame struct {
	Type    byte
	Channel uint16
	Body    Performative
	Payload []byte
}

// AppendFrame adds a frame to b.
func AppendFrame(b []byte, f Frame) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, f.Type)
	b = binary.BigEndian.AppendUint16(b, f.Channel)
	if f.Body != nil {
		b = Append(b, toDescribed(f.Body))
	}
	b = append(b, f.Payload...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// ReadFrame reads one frame of at most max bytes. Errors are those of r or
// wrap ErrMalformed. The frame's binary values stay valid.
func ReadFrame(r io.Reader, max uint32) (Frame, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return Frame{}, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size < frameHeader || size > max {
		return Frame{}, malformed("frame of %d bytes, limit is %d", size, max)
	}
	b := make([]byte, size)
	copy(b, header[:])
	if _, err := io.ReadFull(r, b[frameHeader:]); err != nil {
		return Frame{}, fmt.Errorf("read frame body: %w", err)
	}
	return DecodeFrame(b)
}

// DecodeFrame decodes the bytes of exactly one frame, header included.
func DecodeFrame(b []byte) (Frame, error) {
	if len(b) < frameHeader || uint64(binary.BigEndian.Uint32(b)) != uint64(len(b)) {
		return Frame{}, malformed("frame size does not match")
	}
	body := int(b[4]) * 4
	if body < frameHeader || body > len(b) {
		return Frame{}, malformed("frame data offset %d", b[4])
	}
	f := Frame{Type: b[5], Channel: binary.BigEndian.Uint16(b[6:])}
	if f.Type != TypeAMQP && f.Type != TypeSASL {
		return Frame{}, malformed("frame type %d", f.Type)
	}
	b = b[body:]
	if len(b) == 0 {
		return f, nil
	}
	v, rest, err := Decode(b)
	if err != nil {
		return Frame{}, err
	}
	if f.Body, err = fromDescribed(v); err != nil {
		return Frame{}, err
	}
	f.Payload = rest
	return f, nil
}
