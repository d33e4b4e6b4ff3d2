// Package tables is a local stand-in for Azure Table Storage. It speaks the Table service's HTTP protocol as the
// aztables client uses it, so the unchanged client, its signatures, its pagers and its multipart transactions are
// exercised on a laptop and in tests.
//
// It owns tables and entities in memory, the service's limits and error codes, entity-group transactions, the $filter
// language, continuation tokens and the check of shared-key signatures. It is deliberately as unforgiving as the
// service: a request that is only accepted here is a defect that shows up in production.
//
// It refuses what the product does not use, with 501 NotImplemented: stored access policies, shared access signatures,
// service properties and statistics. It keeps nothing on disk, opens no listener, and re-creates a deleted table at
// once (the service answers TableBeingDeleted for a while).
package tables

import (
	"crypto/sha512"
	"encoding/base64"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// DefaultAccount is the storage account name used when Options.Account is empty.
const DefaultAccount = "devjitgate"

// Options configures a Server. The zero value is a working account.
type Options struct {
	Account string          // storage account name; DefaultAccount when empty
	Key     []byte          // shared key; a fixed, publicly known development key when empty
	Clock   clockwork.Clock // source of Timestamp and ETag; nil is the real clock
	Logger  *slog.Logger    // one debug line per request; nil is silent

	// Authorize decides about an "Authorization: Bearer" request; an error refuses it with 401
	// InvalidAuthenticationInfo. nil refuses every bearer token.
	Authorize func(bearer string) error

	// Before is asked ahead of every well-formed operation. A fault is answered and the operation has no effect.
	Before func(Op) *Fault
	// After is asked once an operation has taken effect and before the client is told. A fault makes the client
	// see a failure of something that was done, as a lost response does.
	After func(Op) *Fault
}

// Op describes one well-formed operation to a fault hook.
type Op struct {
	// Kind is create-table, delete-table, insert, upsert, merge, replace, delete, get, query or transaction. Listing
	// tables is a query with an empty Table. A merge or replace without If-Match is an upsert, as in the service.
	Kind string
	// Table is the table's name as the request spells it.
	Table string
	// PartitionKey and RowKey are those of the entity; for a query those its filter pins with eq, else empty.
	PartitionKey, RowKey string
	// Operations is the number of changes in a transaction and 1 for everything else.
	Operations int
}

// Fault is a failure ordered by a hook.
type Fault struct {
	Status        int           // HTTP status; 500 when 0
	Code, Message string        // odata.error code and text; InternalError when Code is empty
	RetryAfter    time.Duration // sent as Retry-After when whole seconds, else x-ms-retry-after-ms; 0 sends neither
	Drop          bool          // close the connection without answering; the other fields are ignored
}

// Server is the stand-in: an http.Handler. It is safe for concurrent use.
type Server struct {
	account   string
	key       []byte
	clock     clockwork.Clock
	log       *slog.Logger
	authorize func(string) error
	faults    atomic.Pointer[hooks]
	store     store

	countMu sync.Mutex
	counts  map[string]int
}

// hooks are swapped as a pair so that an operation never sees the Before of one test step and the After of the next.
type hooks struct{ before, after func(Op) *Fault }

// New returns a server with no tables.
func New(o Options) *Server {
	s := &Server{
		account: o.Account, key: o.Key, clock: o.Clock, log: o.Logger, authorize: o.Authorize,
		store:  store{tables: newOrdered[*table]()},
		counts: map[string]int{},
	}
	if s.account == "" {
		s.account = DefaultAccount
	}
	if len(s.key) == 0 {
		key := sha512.Sum512([]byte("jitgate local table storage, development only"))
		s.key = key[:]
	}
	if s.clock == nil {
		s.clock = clockwork.NewRealClock()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.SetFaults(o.Before, o.After)
	return s
}

// ConnectionString returns the connection string of a server reachable at baseURL, such as "http://127.0.0.1:10002".
//
// The endpoint carries no account segment, like the real service. Emulators put the account into the path
// ("http://127.0.0.1:10002/devjitgate"); that form is served and signed correctly too.
func (s *Server) ConnectionString(baseURL string) string {
	scheme, _, _ := strings.Cut(baseURL, "://")
	return "DefaultEndpointsProtocol=" + scheme +
		";AccountName=" + s.account +
		";AccountKey=" + base64.StdEncoding.EncodeToString(s.key) +
		";TableEndpoint=" + strings.TrimRight(baseURL, "/")
}

// SetFaults replaces both hooks; nil orders no faults. Operations already past a hook are not affected.
func (s *Server) SetFaults(before, after func(Op) *Fault) {
	none := func(Op) *Fault { return nil }
	if before == nil {
		before = none
	}
	if after == nil {
		after = none
	}
	s.faults.Store(&hooks{before: before, after: after})
}

// Counts returns how many well-formed operations of each Op.Kind have arrived, whatever became of them. The changes
// inside a transaction are not counted one by one.
func (s *Server) Counts() map[string]int {
	s.countMu.Lock()
	defer s.countMu.Unlock()
	return maps.Clone(s.counts)
}

// perform runs one well-formed operation between its two hooks.
func (s *Server) perform(op Op, do func() (*reply, error)) (*reply, error) {
	s.countMu.Lock()
	s.counts[op.Kind]++
	s.countMu.Unlock()
	h := s.faults.Load()
	if f := h.before(op); f != nil {
		return nil, f.asError()
	}
	rep, err := do()
	if err != nil {
		return nil, err
	}
	if f := h.after(op); f != nil {
		return nil, f.asError()
	}
	return rep, nil
}
