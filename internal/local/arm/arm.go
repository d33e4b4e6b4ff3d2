// Package arm stands in for Azure Resource Manager on a laptop and in tests: the
// parts of Microsoft.Compute and Microsoft.Network that jitgate touches, spoken
// over HTTP to the real armcompute and armnetwork clients and their pollers. It
// owns a small estate loaded from a topology, the long-running operations on it,
// and a second, separate view of the network security groups: what the data
// plane enforces, which follows only when an operation has succeeded. [Server.Probe]
// answers from that view with its own evaluator, so that jitgate's verdicts have
// something independent to be held against.
//
// It is never kinder than Azure. What Azure refuses is refused with Azure's
// status and code; where no source tells what Azure does, the stricter reading is
// taken and the comment says UNVERIFIED. It does not enforce ARM's request quotas
// (order a 429 with [Server.FailNext]), role assignments (it lists them), resource
// locks or security admin rules, and no client of it can create anything but security
// groups and rules; what else happens to an estate, tests do by hooks such as
// [Server.AttachGroup] and [Server.Assign].
package arm

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

// Options configures a stand-in. The zero value of every field but Topology is
// usable.
type Options struct {
	Topology Topology
	Clock    clockwork.Clock // nil: the machine's clock
	Logger   *slog.Logger    // nil: silent
	// Latency is how long a write stays in progress. With 0 the operation has
	// finished when it is first polled.
	Latency time.Duration
	// PageSize is how many items a list returns before it sends a nextLink; 0
	// means 100.
	PageSize int
	// Authorize judges the bearer token; nil takes any that is not empty.
	Authorize func(bearer string) error
	// Busy says what a second write gets while one is in flight on the same NSG.
	Busy Busy
	// SupersededSurvives keeps the change of a superseded write. Which of the two
	// Azure does is UNVERIFIED; without it the change is undone, as the status
	// Canceled says.
	SupersededSurvives bool
	// Before sees each authorised call; a non-nil fault refuses it without effect.
	Before func(Op) *Fault
	// After sees each call that took effect; a non-nil fault replaces the answer,
	// which is how a lost response looks to the caller.
	After func(Op) *Fault
}

// Busy is how a write that meets another one on the same NSG is treated.
type Busy int

const (
	// BusySupersede lets a PUT cancel the PUT in flight, as seen from Azure for
	// parallel rule PUTs and NSG PUTs (azure-cli#21156, kubernetes#75582). When
	// either write is a DELETE the answer is that of BusyRetryable, because no
	// source shows a DELETE superseding or being superseded.
	BusySupersede Busy = iota
	// BusyRetryable answers 429 RetryableError (azure-sdk-for-python#556).
	BusyRetryable
	// BusyConflict answers 409 AnotherOperationInProgress, which the SDK never
	// retries by itself.
	BusyConflict
)

// Op describes one call to hooks and counters. Kind is "vm.get", "nsg.put",
// "rule.delete", "operation.get" and so on: the resource's short name and the
// verb (get, list, put, patch, delete). ID is the path as the client sent it.
type Op struct{ Kind, Method, ID string }

// Fault is an answer given instead of the real one. A zero Status means 500 and
// an empty Code means "InternalServerError". With Drop the connection is cut inside
// the response and the rest is ignored. RetryAfter is rounded up to whole seconds.
type Fault struct {
	Status     int
	Code       string
	Message    string
	RetryAfter time.Duration
	Drop       bool
}

// Server is the stand-in. It is safe for concurrent use.
type Server struct {
	log       *slog.Logger
	clock     clockwork.Clock
	pageSize  int
	authorize func(string) error

	mu         sync.Mutex
	latency    time.Duration
	busy       Busy
	survive    bool
	before     func(Op) *Fault
	after      func(Op) *Fault
	faults     []*ordered[Fault]
	outcomes   []*ordered[outcome]
	counts     map[string]int
	world      *world
	operations map[string]*operation
	running    []*operation
}

// ordered is something to be done to the next left calls of a kind; an empty
// kind means any.
type ordered[T any] struct {
	kind string
	left int
	what T
}

// take uses up one of the first order that fits kind.
func take[T any](orders *[]*ordered[T], kind string) *T {
	for i, o := range *orders {
		if o.kind != "" && o.kind != kind {
			continue
		}
		if o.left--; o.left <= 0 {
			*orders = append((*orders)[:i:i], (*orders)[i+1:]...)
		}
		return &o.what
	}
	return nil
}

// New builds a stand-in holding the topology. The error names the faulty entry.
func New(o Options) (*Server, error) {
	w, err := build(o.Topology)
	if err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	s := &Server{
		log: o.Logger, clock: o.Clock, pageSize: o.PageSize, authorize: o.Authorize,
		latency: o.Latency, busy: o.Busy, survive: o.SupersededSurvives,
		before: o.Before, after: o.After,
		counts: map[string]int{}, operations: map[string]*operation{}, world: w,
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.clock == nil {
		s.clock = clockwork.NewRealClock()
	}
	if s.pageSize <= 0 {
		s.pageSize = 100
	}
	if s.authorize == nil {
		s.authorize = func(bearer string) error {
			if bearer == "" {
				return errors.New("the bearer token is empty")
			}
			return nil
		}
	}
	return s, nil
}

var _ http.Handler = (*Server)(nil)

// Load replaces the whole estate and forgets every operation.
func (s *Server) Load(t Topology) error {
	w, err := build(t)
	if err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world, s.operations, s.running = w, map[string]*operation{}, nil
	return nil
}

// SetLatency changes how long writes that begin from now on stay in progress.
func (s *Server) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// SetBusy changes what a second write on an NSG gets.
func (s *Server) SetBusy(b Busy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = b
}

// SetHooks replaces both hooks; nil removes one. See [Options].
func (s *Server) SetHooks(before, after func(Op) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// FailNext answers the next n calls of kind (any, when empty) with f, without
// effect. Orders are used up in the order they were given.
func (s *Server) FailNext(kind string, n int, f Fault) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &ordered[Fault]{kind, n, f})
}

// SupersedeNext accepts the next n writes of kind (any, when empty) and lets
// their operations end Canceled, superseded by one that nobody here sent.
func (s *Server) SupersedeNext(kind string, n int) { s.order(kind, n, outcome{superseded: true}) }

// FailOperationNext accepts the next n writes of kind and lets their operations
// end Failed with this code: the request succeeded, the work did not.
func (s *Server) FailOperationNext(kind string, n int, code, message string) {
	s.order(kind, n, outcome{code: code, message: message})
}

func (s *Server) order(kind string, n int, what outcome) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, &ordered[outcome]{kind, n, what})
}

// Counts returns how many authorised calls of each kind arrived, those answered
// by a fault included, since the start or the last ResetCounts.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.counts))
	for kind, n := range s.counts {
		counts[kind] = n
	}
	return counts
}

// ResetCounts sets every count to zero.
func (s *Server) ResetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = map[string]int{}
}
