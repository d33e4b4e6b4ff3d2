package servicebus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"jitgate/internal/local/servicebus/amqp"
)

// Limits and intervals the server announces or keeps. They are about the
// network, so they are real time even when a test moves the clock.
const (
	maxFrameSize   = 65536
	channelMax     = 4999
	idleTimeout    = 4 * time.Minute
	heartbeatEvery = 10 * time.Second // azservicebus gives up after 60 s of silence
	writeTimeout   = 30 * time.Second
)

// conn is one client connection. All of its state, with that of its sessions
// and links, belongs to the goroutine that runs serve. Other goroutines reach
// it through post and drop only.
type conn struct {
	srv      *Server
	nc       net.Conn
	r        *bufio.Reader
	w        *bufio.Writer
	buf      []byte // reused for encoding frames
	maxFrame int    // the peer's limit
	sessions map[uint16]*session
	claims   map[string]bool // entity paths a token was put for
	every    time.Duration   // between heartbeats
	wrote    bool            // since the last one
	writeErr error

	mail    sync.Mutex
	posted  []func()
	wake    chan struct{}
	dropped chan struct{}
	once    sync.Once
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{srv: s, nc: nc, every: s.heartbeat, r: bufio.NewReaderSize(nc, maxFrameSize), w: bufio.NewWriterSize(nc, maxFrameSize),
		sessions: map[uint16]*session{}, claims: map[string]bool{}, wake: make(chan struct{}, 1), dropped: make(chan struct{})}
}

// drop cuts the connection without a word. It may be called by anyone.
func (c *conn) drop() {
	c.once.Do(func() {
		close(c.dropped)
		_ = c.nc.Close()
	})
}

// post hands work to the connection's goroutine. It never blocks and may be
// called while the broker is locked.
func (c *conn) post(f func()) {
	c.mail.Lock()
	c.posted = append(c.posted, f)
	c.mail.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// runPosted does the work that was posted.
func (c *conn) runPosted() {
	for {
		c.mail.Lock()
		work := c.posted
		c.posted = nil
		c.mail.Unlock()
		if work == nil {
			return
		}
		for _, f := range work {
			f()
		}
	}
}

// protocolError is the client's fault and ends the connection with a reason.
type protocolError struct{ condition, description string }

func (e *protocolError) Error() string { return e.condition + ": " + e.description }

func illegal(condition, format string, args ...any) error {
	return &protocolError{condition, fmt.Sprintf(format, args...)}
}

// errClosed is the regular end of a connection.
var errClosed = errors.New("closed by the client")

// serve runs the connection until it ends and says why it did.
func (c *conn) serve() error {
	defer c.drop()
	_ = c.nc.SetDeadline(time.Now().Add(writeTimeout))
	if err := c.handshake(); err != nil {
		return err
	}
	_ = c.nc.SetDeadline(time.Time{})
	r := &reader{frames: make(chan amqp.Frame, 64)}
	go r.run(c)
	// The reader must be gone before the connection counts as ended.
	defer func() {
		c.drop()
		for range r.frames {
		}
	}()
	err := c.loop(r)

	// Everything a client leaves behind: sessions are freed, messages that
	// never got on the wire go back. Closing the consumers first means that
	// nothing is posted after the last round.
	for _, s := range c.sessions {
		s.close()
	}
	c.runPosted()

	if errors.Is(err, errClosed) {
		c.send(0, &amqp.Close{}, nil)
	}
	if pe := (*protocolError)(nil); errors.As(err, &pe) {
		c.send(0, &amqp.Close{Error: &amqp.Error{Condition: amqp.Symbol(pe.condition), Description: pe.description}}, nil)
	}
	_ = c.w.Flush()
	return err
}

// reader turns the byte stream into frames. It is the only other goroutine of
// a connection.
type reader struct {
	frames chan amqp.Frame
	err    error // set before frames is closed
}

func (r *reader) run(c *conn) {
	defer close(r.frames)
	for {
		_ = c.nc.SetReadDeadline(time.Now().Add(idleTimeout))
		var f amqp.Frame
		if f, r.err = amqp.ReadFrame(c.r, maxFrameSize); r.err != nil {
			return
		}
		select {
		case r.frames <- f:
		case <-c.dropped:
			return
		}
	}
}

// loop is the only place where frames and posted work are handled.
func (c *conn) loop(r *reader) error {
	heartbeat := time.NewTicker(c.every)
	defer heartbeat.Stop()

	for {
		select {
		case <-c.dropped:
			return net.ErrClosed
		case f, ok := <-r.frames:
			if !ok {
				if errors.Is(r.err, amqp.ErrMalformed) {
					return illegal("amqp:decode-error", "%v", r.err)
				}
				return fmt.Errorf("read frame: %w", r.err)
			}
			// What an earlier frame led to comes before the next frame: a detach
			// that follows credit finds the deliveries for it, and returns them.
			c.runPosted()
			if err := c.handle(f); err != nil {
				return err
			}
		case <-c.wake:
			c.runPosted()
		case <-heartbeat.C:
			if !c.wrote {
				c.write(amqp.Frame{})
			}
			c.wrote = false
		}
		if len(r.frames) == 0 && c.w.Buffered() > 0 {
			c.flush()
		}
		if c.writeErr != nil {
			return fmt.Errorf("write frame: %w", c.writeErr)
		}
	}
}

func (c *conn) flush() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := c.w.Flush(); err != nil && c.writeErr == nil {
		c.writeErr = err
	}
}

func (c *conn) write(f amqp.Frame) {
	select {
	case <-c.dropped:
		return // a dropped connection must not even answer what was decided before
	default:
	}
	c.buf = amqp.AppendFrame(c.buf[:0], f)
	c.wrote = true
	if c.w.Available() < len(c.buf) {
		c.flush()
	}
	if _, err := c.w.Write(c.buf); err != nil && c.writeErr == nil {
		c.writeErr = err
	}
}

func (c *conn) send(channel uint16, body amqp.Performative, payload []byte) {
	c.write(amqp.Frame{Channel: channel, Body: body, Payload: payload})
}

// handshake does everything up to the exchange of Open.
func (c *conn) handshake() error {
	if err := c.header(amqp.HeaderSASL); err != nil {
		return err
	}
	mechanisms := []amqp.Symbol{"MSSBCBS", "ANONYMOUS"}
	c.write(amqp.Frame{Type: amqp.TypeSASL, Body: &amqp.SASLMechanisms{Mechanisms: mechanisms}})
	c.flush()
	f, err := amqp.ReadFrame(c.r, maxFrameSize)
	if err != nil {
		return fmt.Errorf("read sasl-init: %w", err)
	}
	init, ok := f.Body.(*amqp.SASLInit)
	if !ok {
		return fmt.Errorf("%T where sasl-init belongs", f.Body)
	}
	if init.Mechanism != mechanisms[0] && init.Mechanism != mechanisms[1] {
		c.write(amqp.Frame{Type: amqp.TypeSASL, Body: &amqp.SASLOutcome{Code: 1}})
		c.flush()
		return fmt.Errorf("sasl mechanism %q is not offered", init.Mechanism)
	}
	c.write(amqp.Frame{Type: amqp.TypeSASL, Body: &amqp.SASLOutcome{Code: 0}})
	c.flush()
	if err := c.header(amqp.HeaderAMQP); err != nil {
		return err
	}
	if f, err = amqp.ReadFrame(c.r, maxFrameSize); err != nil {
		return fmt.Errorf("read open: %w", err)
	}
	open, ok := f.Body.(*amqp.Open)
	if !ok {
		return fmt.Errorf("%T where open belongs", f.Body)
	}
	c.maxFrame = maxFrameSize
	if open.MaxFrameSize != nil {
		c.maxFrame = int(min(*open.MaxFrameSize, maxFrameSize))
	}
	if c.maxFrame < 512 {
		return fmt.Errorf("max-frame-size %d is below the protocol's minimum of 512", c.maxFrame)
	}
	c.send(0, &amqp.Open{ContainerID: "jitgate-local-servicebus", MaxFrameSize: new(uint32(maxFrameSize)),
		ChannelMax: new(uint16(channelMax)), IdleTimeout: new(uint32(idleTimeout / time.Millisecond))}, nil)
	c.flush()
	return c.writeErr
}

// header expects a protocol header and answers with it. To any other header
// the answer is the expected one and the end, as the protocol demands.
func (c *conn) header(want [8]byte) error {
	var got [8]byte
	if _, err := io.ReadFull(c.r, got[:]); err != nil {
		return fmt.Errorf("read protocol header: %w", err)
	}
	if _, err := c.w.Write(want[:]); err != nil {
		return err
	}
	c.flush()
	if got != want {
		return fmt.Errorf("protocol header % x, expected % x", got, want)
	}
	return c.writeErr
}

func (c *conn) handle(f amqp.Frame) error {
	if f.Type != amqp.TypeAMQP {
		return illegal("amqp:not-allowed", "frame type %d after the handshake", f.Type)
	}
	switch body := f.Body.(type) {
	case nil: // heartbeat
		return nil
	case *amqp.Close:
		return errClosed
	case *amqp.Begin:
		return c.begin(f.Channel, body)
	}
	s := c.sessions[f.Channel]
	if s == nil {
		return illegal("amqp:not-allowed", "%T on channel %d, which has no session", f.Body, f.Channel)
	}
	return s.handle(f)
}

func (c *conn) begin(channel uint16, b *amqp.Begin) error {
	if channel > channelMax || c.sessions[channel] != nil {
		return illegal("amqp:not-allowed", "begin on channel %d, which is in use or beyond channel-max", channel)
	}
	s := newSession(c, channel, b)
	c.sessions[channel] = s
	c.send(channel, &amqp.Begin{RemoteChannel: &channel, NextOutgoingID: 0, IncomingWindow: incomingWindow,
		OutgoingWindow: math.MaxInt32, HandleMax: new(uint32(math.MaxUint16))}, nil)
	return nil
}

// authorized tells whether a token was put for an address or for something
// above it. The service refuses links without one.
func (c *conn) authorized(address string) bool {
	path := strings.ToLower(address)
	for {
		if c.claims[path] {
			return true
		}
		if path == "" {
			return false
		}
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
	}
}

// link finds a link of this connection by name and queue, in any session.
func (c *conn) link(name string, fits func(*link) bool) *link {
	for _, s := range c.sessions {
		for _, l := range s.links {
			if (name == "" || l.name == name) && fits(l) {
				return l
			}
		}
	}
	return nil
}
