// Package servicebus is a local stand-in for an Azure Service Bus namespace:
// an AMQP 1.0 listener over plain TCP that serves the unmodified Azure SDKs
// when their connection string says UseDevelopmentEmulator=true. It reads the
// official emulator's configuration file, so the two are interchangeable.
//
// The package joins the wire format (amqp) to the queue semantics (broker):
// connections, sessions, links and their flow control, $cbs tokens, the
// $management operations, faults that tests can order, and configuration.
//
// It is as strict as the service and never kinder: unknown entities, missing
// session ids, lost locks and late cancellations fail here as they do in
// Azure. It refuses what it does not do: topics, forwarding, transactions,
// TLS, the HTTP administration API, and any listener that is not on loopback.
// It checks no keys; messages live in memory.
package servicebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"jitgate/internal/local/servicebus/broker"
)

// Options configure a Server.
type Options struct {
	Config Config
	Clock  clockwork.Clock // nil means the real clock
	Logger *slog.Logger    // nil discards
	// Before is called before an operation takes effect; a non-nil Fault makes
	// it fail without effect. After is called once it took effect and before
	// the client is told. Both may be nil.
	//
	// They run on the goroutine of the client's connection and outside all
	// locks. A hook may use the Server, but one that blocks stops its
	// connection, so it must not wait for an operation of the same client.
	Before func(Op) *Fault
	After  func(Op)
}

// Op is one operation on one message or session. Fields that do not apply, or
// are not known yet, are zero: before a send there is no sequence number, and
// before any session is accepted there is no session id.
type Op struct {
	// Kind is one of send, schedule, cancel, receive, complete, abandon,
	// deadletter, defer, accept-session, renew-lock, renew-session-lock, peek.
	Kind string
	// Entity is the queue's name as configured, or NAME/$DeadLetterQueue.
	Entity         string
	SessionID      string
	MessageID      string
	SequenceNumber int64
}

// Fault is a failure ordered by a test.
type Fault struct {
	// Condition is an AMQP error condition such as com.microsoft:server-busy.
	Condition   string
	Description string
	// Drop closes the TCP connection instead of answering.
	Drop bool
}

// Counts says how many messages a queue holds; see broker.Counts.
type Counts = broker.Counts

// Server is the stand-in. Make one with New.
type Server struct {
	broker *broker.Broker
	log    *slog.Logger
	hooks  atomic.Pointer[hooks]

	mu        sync.Mutex
	closed    bool
	heartbeat time.Duration // of new connections; tests shorten it
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	running   sync.WaitGroup
}

type hooks struct {
	before func(Op) *Fault
	after  func(Op)
}

// New makes a server with the configured queues. The error names every fault
// in the configuration.
func New(o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	settings, err := o.Config.settings()
	if err != nil {
		return nil, err
	}
	b, err := broker.New(o.Clock, settings)
	if err != nil {
		return nil, err
	}
	s := &Server{broker: b, log: o.Logger, heartbeat: heartbeatEvery,
		listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}}
	s.SetFaults(o.Before, o.After)
	return s, nil
}

// SetFaults replaces the hooks; see Options.
func (s *Server) SetFaults(before func(Op) *Fault, after func(Op)) {
	s.hooks.Store(&hooks{before, after})
}

func (s *Server) before(op Op) *Fault {
	if h := s.hooks.Load(); h.before != nil {
		return h.before(op)
	}
	return nil
}

func (s *Server) after(op Op) {
	if h := s.hooks.Load(); h.after != nil {
		h.after(op)
	}
}

// Serve accepts connections until Close, and then returns nil. It takes over
// the listener, which must be on a loopback address.
func (s *Server) Serve(l net.Listener) error {
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return fmt.Errorf("refusing to listen on %s: use a loopback address, there is no authentication", l.Addr())
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	for {
		nc, err := l.Accept()
		if err != nil {
			if s.isClosed() {
				return nil
			}
			return fmt.Errorf("accept connection: %w", err)
		}
		s.start(nc)
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) start(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = nc.Close()
		return
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.running.Go(func() {
		err := c.serve()
		s.log.LogAttrs(context.Background(), slog.LevelDebug, "connection ended",
			slog.String("peer", nc.RemoteAddr().String()), slog.Any("error", err))
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

// DropConnections cuts every client's TCP connection, as a network failure
// would: nothing that is not on the wire yet is sent. Called from an After
// hook, it makes an operation that took effect look failed.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.drop()
	}
}

// Close ends listening and all connections and waits for their goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var errs []error
	for l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for c := range s.conns {
		c.drop()
	}
	s.mu.Unlock()
	s.running.Wait()
	s.broker.Close()
	return errors.Join(errs...)
}

// Count counts the messages of a queue at this moment of the clock.
func (s *Server) Count(queue string) (Counts, error) {
	q, ok := s.broker.Queue(queue)
	if !ok {
		return Counts{}, fmt.Errorf("no queue %q: add it to the configuration", queue)
	}
	return q.Counts(), nil
}

// ConnectionString returns what the Azure SDKs need to reach a server on addr
// (host:port). The key is a placeholder that the stand-in does not check.
func ConnectionString(addr string) string {
	return "Endpoint=sb://" + addr + ";SharedAccessKeyName=RootManageSharedAccessKey;" +
		"SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
}

// node is what a link's address leads to.
type node struct {
	address    string // as the client wrote it
	cbs        bool
	management bool
	queue      *broker.Queue // nil for cbs
}

const (
	cbsAddress       = "$cbs"
	managementSuffix = "/$management"
)

// resolve finds the node behind an address: $cbs, a queue, its dead-letter
// queue, or the management node of either.
func (s *Server) resolve(address string) (node, bool) {
	n := node{address: address}
	if strings.EqualFold(address, cbsAddress) {
		n.cbs = true
		return n, true
	}
	path := strings.ToLower(address)
	path, n.management = strings.CutSuffix(path, managementSuffix)
	var ok bool
	n.queue, ok = s.broker.Queue(path)
	return n, ok
}
