package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	"jitgate/internal/audit"
)

func TestEverythingIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team", "siem"}
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(bob))
	w.deliver()
	w.pass(50 * time.Minute)
	w.pass(10 * time.Minute)
	w.wantState(r.ID, access.Expired)
	want := w.kinds(r.ID)
	for _, channel := range w.channel.Names {
		if got := w.channel.Kinds(channel); !slices.Equal(got, want) {
			t.Errorf("%s was told of %v, want %v", channel, got, want)
		}
	}
	ids := map[string]bool{}
	for _, s := range w.channel.Sent() {
		if ids[s.To+s.Notice.ID] {
			t.Errorf("%s was told %s twice", s.To, s.Notice.ID)
		}
		ids[s.To+s.Notice.ID] = true
	}
	w.sweep()
	if n := len(w.channel.Sent()); n != 2*len(want) {
		t.Errorf("%d notices after a sweep, want %d", n, 2*len(want))
	}
}

// TestAChannelThatIsDownHoldsNothingUp: the grant opens, the other channel is told,
// and the one that was down is told all of it once it is up, in order.
func TestAChannelThatIsDownHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"down", "up"}
	w.channel.Fail = func(s accesstest.Sent) error {
		if s.To == "down" {
			return access.ErrUnavailable
		}
		return nil
	}
	r := w.active("web01")
	if got := w.channel.Kinds("up"); !slices.Equal(got, w.kinds(r.ID)) {
		t.Errorf("the other channel was told of %v", got)
	}
	if n := w.queue.Len(); n > 10 {
		t.Errorf("%d messages pile up", n)
	}
	w.pass(10 * time.Minute)
	w.channel.Fail = nil
	w.queue.DropAll() // and the message is lost
	w.sweep()
	if got := w.channel.Kinds("down"); !slices.Equal(got, w.kinds(r.ID)) {
		t.Errorf("it was told of %v, want %v", got, w.kinds(r.ID))
	}
}

// TestChannelsAreToldSideBySide: each of two is only done once the other has begun.
func TestChannelsAreToldSideBySide(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"one", "two"}
	var begun sync.WaitGroup
	begun.Add(2)
	all := make(chan struct{})
	go func() { begun.Wait(); close(all) }()
	w.channel.Fail = func(accesstest.Sent) error {
		begun.Done()
		select {
		case <-all:
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("the other one is kept waiting")
		}
	}
	w.lockDown(access.Lockdown{Scope: scopeOf("web01")})
	w.deliver()
	if n := len(w.channel.Sent()); n != 2 {
		t.Errorf("%d notices, want one over each channel", n)
	}
}

// lockDownMany leaves a backlog on the ledger.
func (w *world) lockDownMany(n int) {
	w.tb.Helper()
	for i := range n {
		w.lockDown(access.Lockdown{User: fmt.Sprintf("b0b00000-0000-4000-8000-%012d", i)})
	}
}

// TestASlowChannelTakesItsTime: it accepts everything, 15 seconds each. No pass lasts
// until the host ends the function, none tells anything again, and nobody waits for
// a sweep.
func TestASlowChannelTakesItsTime(t *testing.T) {
	const backlog = 45
	w := newWorld(t)
	w.channel.Names = []string{"slow", "fast"}
	w.channel.Fail = func(s accesstest.Sent) error {
		if s.To == "slow" {
			w.clock.Advance(15 * time.Second)
		}
		return nil
	}
	w.lockDownMany(backlog)
	w.queue.DropAll()
	began := w.clock.Now()
	must(t, w.service.Tell(ctx, ""))
	if took := w.clock.Now().Sub(began); took > 2*time.Minute {
		t.Errorf("one pass took %v", took)
	}
	// Both have one clock here: what the one takes may be the other's minute as well, in
	// which it told of nothing yet.
	if l, err := w.service.Ledgers.Ledger(ctx); err != nil || l.Told["slow"] == 0 {
		t.Errorf("%v, %v: what was told is not noted", l.Told, err)
	}
	for range backlog {
		w.pass(15 * time.Second)
	}
	if n := w.queue.Len(); n != 0 {
		t.Errorf("%d messages are left", n)
	}
	times := map[string]int{}
	for _, s := range w.channel.Sent() {
		times[s.To+" "+s.Notice.ID]++
	}
	if len(times) != 2*backlog || len(w.channel.Sent()) != 2*backlog {
		t.Errorf("%d notices in %d calls, want each of %d told once over two channels", len(times), len(w.channel.Sent()), backlog)
	}
}

// TestAChannelThatAsksForPatience takes five notices at once and one a second. It gets
// through its backlog without waiting for sweeps, also while another is down.
func TestAChannelThatAsksForPatience(t *testing.T) {
	const backlog = 90
	w := newWorld(t)
	w.channel.Names = []string{"down"}
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	w.lockDown(access.Lockdown{Scope: scopeOf("web01")})
	w.pass(30 * time.Minute)
	w.pass(30 * time.Minute)

	w.channel.Names = []string{"down", "busy"}
	left, at := 5.0, w.clock.Now()
	w.channel.Fail = func(s accesstest.Sent) error {
		if s.To == "down" {
			return access.ErrUnavailable
		}
		now := w.clock.Now()
		left, at = min(5, left+now.Sub(at).Seconds()), now
		if left < 1 {
			return access.ErrUnavailable
		}
		left--
		return nil
	}
	w.lockDownMany(backlog)
	w.deliver()
	for range 5 * time.Minute / (5 * time.Second) {
		w.pass(5 * time.Second)
	}
	if n := len(w.channel.Sent()); n != backlog+1 {
		t.Errorf("%d notices after five minutes, want %d", n, backlog+1)
	}
}

// notices are those of one kind that went out, one line each: headline, machine, text.
func (w *world) notices(kind audit.Kind) []string {
	var out []string
	for _, s := range w.channel.Sent() {
		if e := s.Notice.Event; e.Kind == kind {
			out = append(out, s.Notice.Title+" | "+e.VM+" | "+e.Text)
		}
	}
	return out
}

func (w *world) wantNotices(kind audit.Kind, want ...string) {
	w.tb.Helper()
	if got := w.notices(kind); !slices.Equal(got, want) {
		w.tb.Errorf("notices of %s:\n%s\nwant:\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestANoticeSpeaksOfItsMachines and of no other of the request: what one of them came to
// the others did not.
func TestANoticeSpeaksOfItsMachines(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team"}
	w.network.AddMachine(vmID("lone02"), "10.0.0.7")
	w.submit(ask("web01", "lone01", "db01", "lone02"))
	w.deliver()
	until := w.clock.Now().Add(time.Hour).Format(time.RFC3339)
	const noNSG = "No network security group stands before VM %s, so there is nothing to open; attach an NSG to the NIC or to its subnet."
	w.wantNotices(audit.RequestCreated, "request.created |  | Asked for 4 VM(s) from 203.0.113.7/32 for PT1H.")
	w.wantNotices(audit.RequestApproved, "Access of alice@contoso.example to web01, db01 is approved |  | Approved until "+until+".")
	w.wantNotices(audit.RequestDenied, "Access of alice@contoso.example to lone01, lone02 is denied |  | lone01: "+fmt.Sprintf(noNSG, "lone01")+" lone02: "+fmt.Sprintf(noNSG, "lone02"))
	w.wantNotices(audit.AccessOpened,
		"Access of alice@contoso.example to web01 is open | "+vmID("web01").String()+" | Open until "+until+".",
		"Access of alice@contoso.example to db01 is open | "+vmID("db01").String()+" | Open until "+until+".")
}

// TestACancelledRequestIsTold, by whomever: here by a lockdown.
func TestACancelledRequestIsTold(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team"}
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.lockDown(access.Lockdown{Scope: scopeOf("web01")})
	w.deliver()
	w.wantState(r.ID, access.Cancelled)
	w.wantNotices(audit.RequestCancelled, "The request of alice@contoso.example for access to web01 was cancelled | "+vmID("web01").String()+" | Cancelled by a lockdown: Suspected break-in.")
}

// TestNobodyIsAskedTooLate: the channel was down until the request was decided, and down
// again until access was over.
func TestNobodyIsAskedTooLate(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team"}
	down := true
	w.channel.Fail = func(accesstest.Sent) error {
		if down {
			return access.ErrUnavailable
		}
		return nil
	}
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.vote(r.ID, approver(bob))
	w.deliver()
	down = false
	w.pass(time.Minute)
	down = true
	w.pass(49 * time.Minute)
	w.pass(10 * time.Minute)
	w.wantState(r.ID, access.Expired)
	down = false
	w.sweep()
	want := slices.DeleteFunc(w.kinds(r.ID), func(kind string) bool {
		return kind == string(audit.ApprovalAsked) || kind == string(audit.AccessEnding)
	})
	if got := w.channel.Kinds("team"); !slices.Equal(got, want) || len(want) != len(w.kinds(r.ID))-2 {
		t.Errorf("told of %v, want %v of the record %v", got, want, w.kinds(r.ID))
	}
	if r := w.request(r.ID); !r.Finished() {
		t.Errorf("not finished: told %v of %d", r.Told, r.Events)
	}
}

// changing is a store in which something happens after the first time that Tell reads.
type changing struct {
	access.Store
	happens func()
}

func (c *changing) read() {
	if c.happens != nil {
		c.happens()
	}
	c.happens = nil
}

func (c *changing) Request(ctx context.Context, id string) (access.Request, error) {
	defer c.read()
	return c.Store.Request(ctx, id)
}

func (c *changing) Events(ctx context.Context, id string) ([]audit.Event, error) {
	defer c.read()
	return c.Store.Events(ctx, id)
}

// TestAnApprovalIsAskedForInTime: it is asked for while others are being told of the
// request, which therefore must not be taken for one that needs no approval any more.
func TestAnApprovalIsAskedForInTime(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team"}
	w.rule(oneApprover)
	r := w.submit(ask("web01"))
	s := *w.service
	s.Store = &changing{w.service.Store, func() { must(t, w.service.Evaluate(ctx, r.ID)) }}
	must(t, s.Tell(ctx, r.ID))
	w.deliver()
	w.wantState(r.ID, access.AwaitingApproval)
	if got := w.channel.Kinds("team"); !slices.Equal(got, w.kinds(r.ID)) {
		t.Errorf("told of %v, want %v", got, w.kinds(r.ID))
	}
}

func TestWhatCannotBeToldIsOnRecord(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"gone"}
	w.channel.Fail = func(accesstest.Sent) error { return accesstest.ErrGone }
	r := w.active("web01")
	if !slices.Contains(w.kinds(r.ID), "notice.failed") {
		t.Errorf("the record: %v", w.kinds(r.ID))
	}
}

// failures are what the record says of notices that were not delivered.
func (w *world) failures(id string) []string {
	w.tb.Helper()
	events, err := w.service.Store.Events(ctx, id)
	must(w.tb, err)
	var out []string
	for _, e := range events {
		if e.Kind == audit.NoticeFailed {
			out = append(out, e.Text)
		}
	}
	return out
}

// TestNewsThatIsOldIsNotTold, and the record says who missed it. A channel that is new
// has missed nothing.
func TestNewsThatIsOldIsNotTold(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"down"}
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	w.rule("approval: {quorum: 1, within: P3D}")
	r := w.awaiting("web01")
	w.pass(30 * time.Hour)
	w.channel.Names = []string{"down", "new"}
	w.channel.Fail = nil
	w.pass(time.Hour)
	w.sweep()
	for _, s := range w.channel.Sent() {
		if s.Notice.Event.Kind != audit.NoticeFailed {
			t.Errorf("%s was told of %+v", s.To, s.Notice.Event)
		}
	}
	w.wantState(r.ID, access.AwaitingApproval)
	want := []string{`Channel down was not told of "request.created": it could not be reached for a day; and of 1 more.`}
	if got := w.failures(r.ID); !slices.Equal(got, want) {
		t.Errorf("the record: %q, want %q", got, want)
	}
}

// TestANoticeThatAChannelChokesOn: the receiver fails at one notice and takes all others.
// They wait for it for an hour, and no longer.
func TestANoticeThatAChannelChokesOn(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.service.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.channel.Names = []string{"siem"}
	w.channel.Fail = func(s accesstest.Sent) error {
		if e := s.Notice.Event; e.Kind == audit.AccessOpened || s.Notice.ID == "ledger-2" {
			return fmt.Errorf("%w: answered 500", access.ErrUnavailable)
		}
		return nil
	}
	r := w.active("web01")
	w.lockDownMany(3)
	w.deliver()
	for range 7 {
		w.pass(5 * time.Minute)
		w.sweep()
	}
	if got := w.channel.Kinds("siem"); slices.Contains(got, string(audit.AccessExpired)) || strings.Count(strings.Join(got, " "), "lockdown.set") != 1 {
		t.Errorf("told of %v within an hour: a channel may be down for a while", got)
	}
	w.pass(11 * time.Minute)
	w.wantState(r.ID, access.Expired)
	w.sweep()
	w.sweep()
	want := slices.DeleteFunc(w.kinds(r.ID), func(kind string) bool {
		return kind == string(audit.AccessOpened) || kind == string(audit.AccessEnding)
	})
	var got []string
	for _, s := range w.channel.Sent() {
		if s.Notice.Request != nil {
			got = append(got, string(s.Notice.Event.Kind))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
	if got := w.failures(r.ID); len(got) != 1 || !strings.Contains(got[0], `"Access of alice@contoso.example to web01 is open": `) || !strings.Contains(got[0], "answered 500; it takes others") {
		t.Errorf("the record: %q", got)
	}
	if n := len(w.notices(audit.LockdownSet)); n != 2 {
		t.Errorf("told of %d lockdowns, want the two others", n)
	}
	if text := log.String(); strings.Count(text, "a notice cannot be delivered") != 1 || !strings.Contains(text, "A lockdown is in force") {
		t.Errorf("the log: %s", text)
	}
	if r := w.request(r.ID); !r.Finished() {
		t.Errorf("not finished: told %v of %d", r.Told, r.Events)
	}
}

// TestAnOldNoticeHasASecondChance: we were down for longer than the channel, which fails
// only once.
func TestAnOldNoticeHasASecondChance(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"siem"}
	w.lockDownMany(3)
	w.queue.DropAll()
	w.clock.Advance(70 * time.Minute)
	calls := 0
	w.channel.Fail = func(accesstest.Sent) error {
		if calls++; calls == 1 {
			return access.ErrUnavailable
		}
		return nil
	}
	w.sweep()
	if n := len(w.notices(audit.LockdownSet)); n != 3 {
		t.Errorf("told of %d lockdowns, want all three", n)
	}
}

// TestPatienceIsNoFault: a channel that is up again after hours, and refuses every sixth
// call, has nothing wrong with any notice.
func TestPatienceIsNoFault(t *testing.T) {
	const backlog = 20
	w := newWorld(t)
	w.channel.Names = []string{"busy"}
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	w.lockDownMany(backlog)
	w.deliver()
	for range 20 {
		w.pass(5 * time.Minute)
		w.sweep()
	}
	calls := 0
	w.channel.Fail = func(accesstest.Sent) error {
		if calls++; calls%6 == 0 {
			return access.ErrUnavailable
		}
		return nil
	}
	w.sweep()
	for range 5 {
		w.pass(time.Minute)
	}
	if n := len(w.channel.Sent()); n != backlog {
		t.Errorf("told of %d, want %d", n, backlog)
	}
}

const callback = "https://prod-01.westeurope.logic.azure.com/workflows/1/triggers/x?sig=secret"

func (w *world) subscribe(id, url string, events ...string) string {
	w.tb.Helper()
	got, err := w.service.Subscribe(ctx, id, url, events, carol)
	if err != nil {
		w.tb.Fatalf("subscribe: %v", err)
	}
	w.deliver()
	return got
}

// calls are the states that a callback URL was told of.
func (w *world) calls() []access.State {
	var out []access.State
	for _, s := range w.channel.Sent() {
		if s.To == callback {
			out = append(out, s.State)
		}
	}
	return out
}

func TestAWorkflowWaits(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	id := w.subscribe(r.ID, callback, "granted", "denied")
	if again := w.subscribe(r.ID, callback, "granted", "denied"); again != id {
		t.Errorf("subscribed twice: %s and %s", id, again)
	}
	if len(w.calls()) != 0 {
		t.Errorf("called too early: %v", w.calls())
	}
	w.vote(r.ID, approver(bob))
	w.deliver()
	w.pass(time.Hour)
	if got := w.calls(); !slices.Equal(got, []access.State{access.Active}) {
		t.Errorf("called with %v, want once, when it was open", got)
	}
	stored := w.request(r.ID)
	if c := stored.Callbacks[0]; !c.Done || strings.Contains(c.Sealed+c.ID, "logic.azure.com/work") && !strings.HasPrefix(c.ID, "hash of") {
		t.Errorf("callback %+v", c)
	}

	over := w.awaiting("web01")
	if _, err := w.service.Revoke(ctx, over.ID, alice); err != nil {
		t.Fatal(err)
	}
	w.subscribe(over.ID, callback+"2", "denied") // has come already
	if s := w.channel.Sent(); s[len(s)-1].To != callback+"2" || s[len(s)-1].State != access.Cancelled {
		t.Errorf("last call: %+v", s[len(s)-1])
	}
}

// TestAWorkflowIsAlwaysAnswered: what it waits for came and went while it could not be
// reached, or never came. Its run would wait on for ever; it hears how things ended.
func TestAWorkflowIsAlwaysAnswered(t *testing.T) {
	w := newWorld(t)
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	a := ask("web01")
	a.Duration = 5 * time.Minute
	r := w.submit(a)
	w.subscribe(r.ID, callback, "granted", "denied")
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.pass(5 * time.Minute)
	w.wantState(r.ID, access.Expired)
	w.channel.Fail = nil
	w.sweep()
	w.sweep()
	if got := w.calls(); !slices.Equal(got, []access.State{access.Expired}) {
		t.Errorf("called with %v, want once, when it was over", got)
	}

	w = newWorld(t)
	w.rule(oneApprover)
	r = w.awaiting("web01")
	w.subscribe(r.ID, callback, "expired")
	w.revoke(r.ID)
	w.deliver()
	if got := w.calls(); !slices.Equal(got, []access.State{access.Cancelled}) {
		t.Errorf("called with %v, want once, when it was cancelled", got)
	}
	if r := w.request(r.ID); !r.Finished() {
		t.Errorf("not finished: %+v", r.Callbacks)
	}
}

func TestAWorkflowThatIsDownIsToldLater(t *testing.T) {
	w := newWorld(t)
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	r := w.submit(ask("web01"))
	w.subscribe(r.ID, callback)
	w.deliver()
	w.wantState(r.ID, access.Active)
	w.channel.Fail = nil
	w.pass(time.Minute)
	if got := w.calls(); !slices.Equal(got, []access.State{access.Active}) {
		t.Errorf("called with %v", got)
	}
}

func TestCancelledAndRefusedSubscriptions(t *testing.T) {
	w := newWorld(t)
	w.rule(oneApprover)
	r := w.awaiting("web01")
	w.subscribe(r.ID, callback)
	must(t, w.service.Unsubscribe(ctx, r.ID, callback, carol))
	must(t, w.service.Unsubscribe(ctx, r.ID, callback, carol))
	must(t, w.service.Unsubscribe(ctx, r.ID, "https://unknown.example", carol))
	w.vote(r.ID, approver(bob))
	w.deliver()
	if len(w.calls()) != 0 {
		t.Errorf("called all the same: %v", w.calls())
	}
	_, err := w.service.Subscribe(ctx, r.ID, "http://10.0.0.1/", nil, carol)
	wantCode(t, err, access.CallbackRefused)
	_, err = w.service.Subscribe(ctx, r.ID, callback, []string{"granted", "opened"}, carol)
	wantCode(t, err, access.EventsInvalid)
	for i := range access.MaxCallbacks {
		_, err = w.service.Subscribe(ctx, r.ID, callback+strings.Repeat("x", i+1), nil, carol)
		must(t, err)
	}
	_, err = w.service.Subscribe(ctx, r.ID, callback+"one too many", nil, carol)
	wantCode(t, err, access.CallbacksTooMany)
	_, err = w.service.Subscribe(ctx, "no-such-request", callback, nil, carol)
	if !errors.Is(err, access.ErrNotFound) {
		t.Errorf("no such request: %v", err)
	}
}

// TestTheLedgerIsTold: lockdowns and suspicion are news too.
func TestTheLedgerIsTold(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"security"}
	w.lockDown(access.Lockdown{Scope: scopeOf("web01")})
	w.deliver()
	if got := w.channel.Kinds("security"); !slices.Equal(got, []string{"lockdown.set"}) {
		t.Errorf("told of %v", got)
	}
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	w.lockDown(access.Lockdown{Scope: scopeOf("db01")})
	w.deliver()
	w.channel.Fail = nil
	w.queue.DropAll()
	w.sweep()
	if got := w.channel.Kinds("security"); !slices.Equal(got, []string{"lockdown.set", "lockdown.set"}) {
		t.Errorf("told of %v", got)
	}
}

// TestTheLastNoticeIsNotLost: the request has ended and its last message is lost; the
// sweep still knows that somebody is to be told.
func TestTheLastNoticeIsNotLost(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"team"}
	r := w.active("web01")
	w.revoke(r.ID)
	for _, m := range w.queue.Due(w.clock.Now()) {
		if m.Notice {
			w.queue.Drop(m)
			continue
		}
		must(t, accesstest.Deliver(ctx, w.service, m))
		w.queue.Drop(m)
	}
	w.queue.DropAll()
	w.wantState(r.ID, access.Revoked)
	w.sweep()
	if got := w.channel.Kinds("team"); !slices.Equal(got, w.kinds(r.ID)) {
		t.Errorf("told of %v, want %v", got, w.kinds(r.ID))
	}
	if r := w.request(r.ID); !r.Finished() {
		t.Errorf("not finished: told %v of %d", r.Told, r.Events)
	}

	// A channel that is taken out of the settings keeps nothing from being finished.
	other := w.active("web01")
	w.channel.Names = nil
	w.revoke(other.ID)
	w.deliver()
	w.sweep()
	if r := w.request(other.ID); !r.Finished() {
		t.Errorf("not finished: told %v of %d", r.Told, r.Events)
	}
}

// TestAChannelThatIsDownForLong does not make messages pile up: every sweep has it
// tried once, and no attempt goes on beside those of the sweep.
func TestAChannelThatIsDownForLong(t *testing.T) {
	w := newWorld(t)
	w.channel.Names = []string{"down"}
	attempts := 0
	w.channel.Fail = func(accesstest.Sent) error { attempts++; return access.ErrUnavailable }
	w.rule("approval: {quorum: 1, within: P3D}")
	r := w.awaiting("web01")
	w.lockDown(access.Lockdown{User: "b0b00000-0000-4000-8000-000000000002"})
	w.subscribe(r.ID, callback, "granted")
	for range 60 {
		w.pass(time.Minute)
	}
	var before int
	for i := range 100 {
		if i == 50 {
			before = attempts
		}
		w.pass(5 * time.Minute)
		w.sweep()
	}
	if n := attempts - before; n > 4*50 {
		t.Errorf("%d attempts in 50 sweeps", n)
	}
	if n := w.queue.Len(); n > 10 {
		t.Errorf("%d messages pile up", n)
	}
	if got := w.failures(r.ID); len(got) != 0 {
		t.Errorf("given up within a day: %q", got)
	}
	w.channel.Fail = nil
	w.sweep()
	if got := w.channel.Kinds("down"); !slices.Contains(got, "request.awaiting-approval") || !slices.Contains(got, "lockdown.set") {
		t.Errorf("told of %v once it was up", got)
	}
}

// TestAChannelThatIsTakenOut is owed nothing, and nobody goes on looking after it.
func TestAChannelThatIsTakenOut(t *testing.T) {
	for _, left := range [][]string{nil, {"stays"}} {
		w := newWorld(t)
		w.channel.Names = append([]string{"goes"}, left...)
		w.lockDown(access.Lockdown{Scope: scopeOf("web01")})
		w.deliver()
		w.channel.Fail = func(s accesstest.Sent) error {
			if s.To == "goes" {
				return access.ErrUnavailable
			}
			return nil
		}
		w.lockDown(access.Lockdown{Scope: scopeOf("db01")})
		w.deliver()
		w.channel.Names = left
		w.sweep()
		w.queue.DropAll()
		w.clock.Advance(access.Patience)
		_, err := w.service.Sweep(ctx)
		must(t, err)
		if n := w.queue.Len(); n != 0 {
			t.Errorf("%v are left: %d messages for a channel that is gone", left, n)
		}
	}
}

// TestAWorkflowWaitsForWhatIsOver: the request had ended long before, nothing is left
// to be done about it, and its list of the unfinished does not name it.
func TestAWorkflowWaitsForWhatIsOver(t *testing.T) {
	w := newWorld(t)
	r := w.active("web01")
	w.revoke(r.ID)
	w.deliver()
	w.pass(48 * time.Hour)
	w.sweep()
	if r := w.request(r.ID); !r.Finished() {
		t.Fatal("it is not finished")
	}
	w.queue.Fail = func(string) error { return access.ErrUnavailable }
	if _, err := w.service.Subscribe(ctx, r.ID, callback, nil, carol); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("%v: it was accepted, and nobody would ever look", err)
	}
	w.queue.Fail = nil
	w.channel.Fail = func(accesstest.Sent) error { return access.ErrUnavailable }
	w.subscribe(r.ID, callback) // the workflow tries again
	w.channel.Fail = nil
	w.pass(time.Minute)
	if got := w.calls(); !slices.Equal(got, []access.State{access.Revoked}) {
		t.Errorf("called with %v, want once", got)
	}
}
