package accesstest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/armid"
	"jitgate/internal/audit"
	"jitgate/internal/nsg"
	"jitgate/internal/policy"
)

// ErrCrashed is what a dead process would see, if it could.
var ErrCrashed = errors.New("the process died")

// Crash kills the process at its n-th effect on the outside world. From then on
// every port answers ErrCrashed, so nothing that the use case would do in an error
// path takes effect either: SIGKILL runs no defer.
type Crash struct {
	At    int  // which effect, counted from 1; 0 = never
	After bool // die after the effect instead of before it

	mu    sync.Mutex
	count int
	dead  bool
	trace []string
}

// Effects is how many effects were counted.
func (c *Crash) Effects() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// Trace names the effects that were counted, in order.
func (c *Crash) Trace() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.trace)
}

// Died reports whether the process is dead, and at which effect.
func (c *Crash) Died() (bool, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		return false, ""
	}
	return true, c.trace[len(c.trace)-1]
}

// Service returns the service with its ports wrapped.
func (c *Crash) Service(s *access.Service) *access.Service {
	mortal := *s
	mortal.Store = &mortalStore{s.Store, c}
	mortal.Queue = &mortalQueue{s.Queue, c}
	mortal.Network = &mortalNetwork{s.Network, c}
	mortal.Policies = &mortalPolicies{s.Policies, c}
	mortal.Ledgers = &mortalLedgers{s.Ledgers, c}
	mortal.Messages = &mortalMessages{s.Messages, c}
	return &mortal
}

// look is a call without effect.
func (c *Crash) look() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return ErrCrashed
	}
	return nil
}

// effect runs a call that changes something, and dies before or after it if this
// is the one.
func (c *Crash) effect(name string, do func() error) error {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return ErrCrashed
	}
	c.count++
	c.trace = append(c.trace, name)
	mine := c.count == c.At
	if mine && !c.After {
		c.dead = true
		c.mu.Unlock()
		return ErrCrashed
	}
	c.mu.Unlock()
	err := do()
	if mine {
		c.mu.Lock()
		c.dead = true
		c.mu.Unlock()
		return ErrCrashed
	}
	return err
}

type mortalStore struct {
	access.Store
	c *Crash
}

func (m *mortalStore) InsertRequest(ctx context.Context, r access.Request, e []audit.Event) error {
	return m.c.effect("insert request", func() error { return m.Store.InsertRequest(ctx, r, e) })
}

func (m *mortalStore) Request(ctx context.Context, id string) (access.Request, error) {
	if err := m.c.look(); err != nil {
		return access.Request{}, err
	}
	return m.Store.Request(ctx, id)
}

func (m *mortalStore) UpdateRequest(ctx context.Context, id string, change func(*access.Request) ([]audit.Event, error)) (r access.Request, err error) {
	err = m.c.effect("update request", func() error {
		var inner error
		r, inner = m.Store.UpdateRequest(ctx, id, change)
		return inner
	})
	return r, err
}

func (m *mortalStore) Events(ctx context.Context, id string) ([]audit.Event, error) {
	if err := m.c.look(); err != nil {
		return nil, err
	}
	return m.Store.Events(ctx, id)
}

func (m *mortalStore) MarkTold(ctx context.Context, id string, told map[string]int) error {
	return m.c.effect("mark told", func() error { return m.Store.MarkTold(ctx, id, told) })
}

func (m *mortalStore) WithdrawRequest(ctx context.Context, id string) error {
	return m.c.effect("withdraw request", func() error { return m.Store.WithdrawRequest(ctx, id) })
}

func (m *mortalStore) List(ctx context.Context, q access.Query) (access.Page, error) {
	if err := m.c.look(); err != nil {
		return access.Page{}, err
	}
	return m.Store.List(ctx, q)
}

func (m *mortalStore) PutGrants(ctx context.Context, id armid.ID, grants []access.Grant) (n int64, now []access.Grant, err error) {
	err = m.c.effect("put grants", func() error {
		var inner error
		n, now, inner = m.Store.PutGrants(ctx, id, grants)
		return inner
	})
	return n, now, err
}

func (m *mortalStore) SetWakeUp(ctx context.Context, id armid.ID, request string, sequence int64) error {
	return m.c.effect("set wake-up", func() error { return m.Store.SetWakeUp(ctx, id, request, sequence) })
}

func (m *mortalStore) Touch(ctx context.Context, id armid.ID) (n int64, err error) {
	err = m.c.effect("touch", func() error {
		var inner error
		n, inner = m.Store.Touch(ctx, id)
		return inner
	})
	return n, err
}

func (m *mortalStore) Head(ctx context.Context, id armid.ID) (access.Head, error) {
	if err := m.c.look(); err != nil {
		return access.Head{}, err
	}
	return m.Store.Head(ctx, id)
}

func (m *mortalStore) Book(ctx context.Context, id armid.ID) (access.Book, error) {
	if err := m.c.look(); err != nil {
		return access.Book{}, err
	}
	return m.Store.Book(ctx, id)
}

func (m *mortalStore) Settle(ctx context.Context, id armid.ID, s access.Settlement) error {
	return m.c.effect("settle", func() error { return m.Store.Settle(ctx, id, s) })
}

func (m *mortalStore) Books(ctx context.Context, f func(access.Book) error) error {
	if err := m.c.look(); err != nil {
		return err
	}
	return m.Store.Books(ctx, f)
}

func (m *mortalStore) PutGuard(ctx context.Context, id armid.ID, g access.Guard) (n int64, err error) {
	err = m.c.effect("put guard", func() error {
		var inner error
		n, inner = m.Store.PutGuard(ctx, id, g)
		return inner
	})
	return n, err
}

func (m *mortalStore) Protection(ctx context.Context, vm armid.ID) (access.Protection, error) {
	if err := m.c.look(); err != nil {
		return access.Protection{}, err
	}
	return m.Store.Protection(ctx, vm)
}

func (m *mortalStore) UpdateProtection(ctx context.Context, vm armid.ID, change func(*access.Protection) ([]audit.Event, error)) (p access.Protection, err error) {
	err = m.c.effect("update protection", func() error {
		var inner error
		p, inner = m.Store.UpdateProtection(ctx, vm, change)
		return inner
	})
	return p, err
}

func (m *mortalStore) Protections(ctx context.Context, f func(access.Protection) error) error {
	if err := m.c.look(); err != nil {
		return err
	}
	return m.Store.Protections(ctx, f)
}

func (m *mortalStore) Note(ctx context.Context, id armid.ID, events []audit.Event) error {
	return m.c.effect("note", func() error { return m.Store.Note(ctx, id, events) })
}

type mortalQueue struct {
	access.Queue
	c *Crash
}

func (m *mortalQueue) Evaluate(ctx context.Context, request string, events int) error {
	return m.c.effect("send evaluate", func() error { return m.Queue.Evaluate(ctx, request, events) })
}

func (m *mortalQueue) EvaluateAt(ctx context.Context, request string, at time.Time) error {
	return m.c.effect("schedule evaluate", func() error { return m.Queue.EvaluateAt(ctx, request, at) })
}

func (m *mortalQueue) Signal(ctx context.Context, key string, filed time.Time) error {
	return m.c.effect("send signal", func() error { return m.Queue.Signal(ctx, key, filed) })
}

func (m *mortalQueue) Tell(ctx context.Context, request string, events int) error {
	return m.c.effect("send tell", func() error { return m.Queue.Tell(ctx, request, events) })
}

func (m *mortalQueue) TellAt(ctx context.Context, request string, at time.Time) error {
	return m.c.effect("schedule tell", func() error { return m.Queue.TellAt(ctx, request, at) })
}

func (m *mortalQueue) Enforce(ctx context.Context, id armid.ID, generation int64) error {
	return m.c.effect("send enforce", func() error { return m.Queue.Enforce(ctx, id, generation) })
}

func (m *mortalQueue) EnforceAt(ctx context.Context, id armid.ID, request string, at time.Time) (n int64, err error) {
	err = m.c.effect("schedule", func() error {
		var inner error
		n, inner = m.Queue.EnforceAt(ctx, id, request, at)
		return inner
	})
	return n, err
}

func (m *mortalQueue) CancelWakeUp(ctx context.Context, sequence int64) error {
	return m.c.effect("cancel", func() error { return m.Queue.CancelWakeUp(ctx, sequence) })
}

type mortalNetwork struct {
	access.Network
	c *Crash
}

func (m *mortalNetwork) Locate(ctx context.Context, vm armid.ID) (access.Machine, error) {
	if err := m.c.look(); err != nil {
		return access.Machine{}, err
	}
	return m.Network.Locate(ctx, vm)
}

func (m *mortalNetwork) Tags(ctx context.Context, vm armid.ID) (map[string]string, error) {
	if err := m.c.look(); err != nil {
		return nil, err
	}
	return m.Network.Tags(ctx, vm)
}

func (m *mortalNetwork) Match(ctx context.Context, id armid.ID, plan func(nsg.Group) nsg.Plan) (o access.Outcome, err error) {
	err = m.c.effect("match", func() error {
		var inner error
		o, inner = m.Network.Match(ctx, id, plan)
		return inner
	})
	return o, err
}

func (m *mortalNetwork) Group(ctx context.Context, id armid.ID) (nsg.Group, error) {
	if err := m.c.look(); err != nil {
		return nsg.Group{}, err
	}
	return m.Network.Group(ctx, id)
}

func (m *mortalNetwork) Estate(ctx context.Context, subscription string) (access.Estate, error) {
	if err := m.c.look(); err != nil {
		return access.Estate{}, err
	}
	return m.Network.Estate(ctx, subscription)
}

type mortalPolicies struct {
	access.Policies
	c *Crash
}

func (m *mortalPolicies) PoliciesAt(ctx context.Context, scope policy.Scope) ([]policy.Policy, error) {
	if err := m.c.look(); err != nil {
		return nil, err
	}
	return m.Policies.PoliciesAt(ctx, scope)
}

func (m *mortalPolicies) PolicyInForce(ctx context.Context, scope policy.Scope, key string) (access.PolicyVersion, error) {
	if err := m.c.look(); err != nil {
		return access.PolicyVersion{}, err
	}
	return m.Policies.PolicyInForce(ctx, scope, key)
}

func (m *mortalPolicies) PutPolicy(ctx context.Context, doc policy.Document, sign access.Signature) (p policy.Policy, err error) {
	err = m.c.effect("put policy", func() error {
		var inner error
		p, inner = m.Policies.PutPolicy(ctx, doc, sign)
		return inner
	})
	return p, err
}

func (m *mortalPolicies) RemovePolicy(ctx context.Context, scope policy.Scope, key string, sign access.Signature) error {
	return m.c.effect("remove policy", func() error { return m.Policies.RemovePolicy(ctx, scope, key, sign) })
}

func (m *mortalPolicies) AlertRules(ctx context.Context) (access.AlertRules, error) {
	if err := m.c.look(); err != nil {
		return access.AlertRules{}, err
	}
	return m.Policies.AlertRules(ctx)
}

func (m *mortalPolicies) PutAlertRules(ctx context.Context, text string, sign access.Signature) (r access.AlertRules, err error) {
	err = m.c.effect("put alert rules", func() error {
		var inner error
		r, inner = m.Policies.PutAlertRules(ctx, text, sign)
		return inner
	})
	return r, err
}

func (m *mortalPolicies) Propose(ctx context.Context, p access.Proposal) error {
	return m.c.effect("propose", func() error { return m.Policies.Propose(ctx, p) })
}

func (m *mortalPolicies) Proposals(ctx context.Context) ([]access.Proposal, error) {
	if err := m.c.look(); err != nil {
		return nil, err
	}
	return m.Policies.Proposals(ctx)
}

func (m *mortalPolicies) DropProposal(ctx context.Context, p access.Proposal) error {
	return m.c.effect("drop proposal", func() error { return m.Policies.DropProposal(ctx, p) })
}

type mortalLedgers struct {
	access.LedgerStore
	c *Crash
}

func (m *mortalLedgers) Ledger(ctx context.Context) (access.Ledger, error) {
	if err := m.c.look(); err != nil {
		return access.Ledger{}, err
	}
	return m.LedgerStore.Ledger(ctx)
}

func (m *mortalLedgers) UpdateLedger(ctx context.Context, change func(*access.Ledger) ([]audit.Event, error)) (l access.Ledger, err error) {
	err = m.c.effect("update ledger", func() error {
		var inner error
		l, inner = m.LedgerStore.UpdateLedger(ctx, change)
		return inner
	})
	return l, err
}

func (m *mortalLedgers) UpdateHabits(ctx context.Context, who access.Person, change func(*access.Habits) bool) error {
	return m.c.effect("update habits", func() error { return m.LedgerStore.UpdateHabits(ctx, who, change) })
}

func (m *mortalLedgers) LedgerEvents(ctx context.Context, after, limit int) ([]audit.Event, error) {
	if err := m.c.look(); err != nil {
		return nil, err
	}
	return m.LedgerStore.LedgerEvents(ctx, after, limit)
}

func (m *mortalLedgers) Signal(ctx context.Context, key string) (access.Signal, error) {
	if err := m.c.look(); err != nil {
		return access.Signal{}, err
	}
	return m.LedgerStore.Signal(ctx, key)
}

func (m *mortalLedgers) OpenSignals(ctx context.Context, f func(access.Signal) error) error {
	if err := m.c.look(); err != nil {
		return err
	}
	return m.LedgerStore.OpenSignals(ctx, f)
}

func (m *mortalLedgers) ForgetSignals(ctx context.Context, before time.Time) error {
	return m.c.effect("forget signals", func() error { return m.LedgerStore.ForgetSignals(ctx, before) })
}

func (m *mortalLedgers) InsertSignal(ctx context.Context, s access.Signal) error {
	return m.c.effect("insert signal", func() error { return m.LedgerStore.InsertSignal(ctx, s) })
}

func (m *mortalLedgers) SettleSignal(ctx context.Context, s access.Signal) error {
	return m.c.effect("settle signal", func() error { return m.LedgerStore.SettleSignal(ctx, s) })
}

func (m *mortalLedgers) ReplaceSignal(ctx context.Context, old, later access.Signal) error {
	return m.c.effect("replace signal", func() error { return m.LedgerStore.ReplaceSignal(ctx, old, later) })
}

func (m *mortalLedgers) MarkLedgerTold(ctx context.Context, told map[string]int) error {
	return m.c.effect("mark ledger told", func() error { return m.LedgerStore.MarkLedgerTold(ctx, told) })
}

type mortalMessages struct {
	access.Messenger
	c *Crash
}

func (m *mortalMessages) Tell(ctx context.Context, channel string, n access.Notice) error {
	return m.c.effect("tell", func() error { return m.Messenger.Tell(ctx, channel, n) })
}

func (m *mortalMessages) CallBack(ctx context.Context, sealed string, r access.Request) error {
	return m.c.effect("call back", func() error { return m.Messenger.CallBack(ctx, sealed, r) })
}
