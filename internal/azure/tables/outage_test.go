package tables

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/audit"
	local "jitgate/internal/local/tables"
)

// oops is a failure that the SDK repeats at once.
var oops = &local.Fault{Status: 500, Code: "InternalError", RetryAfter: time.Millisecond}

// undertaking is one call of the store with what must hold afterwards.
type undertaking struct {
	name    string
	prepare func(*testing.T, *Store)
	do      func(context.Context, *Store) error
	// done checks the outcome of a call that succeeded, or that failed half-way and was
	// made again.
	done func(t *testing.T, s *Store)
	// again accepts the result of the second call; nil wants no error.
	again func(error) bool
}

var undertakings = []undertaking{
	{
		name: "InsertRequest",
		do:   func(ctx context.Context, s *Store) error { return s.InsertRequest(ctx, sample(1), made) },
		done: func(t *testing.T, s *Store) {
			wantListed(t, s, access.Query{}, 1)
			wantListed(t, s, access.Query{Unfinished: true}, 1)
			wantEvents(t, s, 1, "made")
		},
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrExists) },
	},
	{
		name:    "UpdateRequest",
		prepare: insertSample,
		do: func(ctx context.Context, s *Store) error {
			_, err := s.UpdateRequest(ctx, sample(1).ID, func(r *access.Request) ([]audit.Event, error) {
				if r.Targets[0].State == access.Denied {
					return nil, nil
				}
				r.Targets[0].State = access.Denied
				return []audit.Event{{Text: "denied"}}, nil
			})
			return err
		},
		done: func(t *testing.T, s *Store) {
			wantEvents(t, s, 1, "made", "denied")
			wantListed(t, s, access.Query{State: access.Denied}, 1)
			wantListed(t, s, access.Query{Unfinished: true})
		},
	},
	{
		name:    "MarkTold",
		prepare: insertSample,
		do: func(ctx context.Context, s *Store) error {
			return s.MarkTold(ctx, sample(1).ID, map[string]int{"teams": 1})
		},
		done: func(t *testing.T, s *Store) {
			r, err := s.Request(t.Context(), sample(1).ID)
			if err != nil || len(r.Told) != 1 || r.Told["teams"] != 1 {
				t.Errorf("told %v, error %v", r.Told, err)
			}
			wantEvents(t, s, 1, "made")
		},
	},
	{
		name:    "WithdrawRequest",
		prepare: insertSample,
		do:      func(ctx context.Context, s *Store) error { return s.WithdrawRequest(ctx, sample(1).ID) },
		done: func(t *testing.T, s *Store) {
			wantListed(t, s, access.Query{})
			wantEvents(t, s, 1)
		},
	},
	{
		name:    "PutGrants",
		prepare: putSamples,
		do: func(ctx context.Context, s *Store) error {
			closing := sampleGrant(1)
			closing.Closing = true
			generation, now, err := s.PutGrants(ctx, nsgID, []access.Grant{closing, sampleGrant(3)})
			if err == nil && (!now[0].Closing || now[1].Closing || generation < 2) {
				err = fmt.Errorf("generation %d, grants %+v", generation, now)
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1 closing", "2", "3")
			if b.Generation == b.Enforced {
				t.Error("nothing tells that the NSG has to be looked at")
			}
		},
	},
	{
		name: "PutGrants with a later end",
		prepare: func(t *testing.T, s *Store) {
			putSamples(t, s)
			if err := errors.Join(s.SetWakeUp(t.Context(), nsgID, sample(1).ID, 5),
				s.Settle(t.Context(), nsgID, access.Settlement{Enforced: 1, Opened: []string{sampleGrant(1).Key(), sampleGrant(2).Key()}})); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			longer := sampleGrant(1)
			longer.ExpiresAt = noon.Add(2 * time.Hour)
			_, now, err := s.PutGrants(ctx, nsgID, []access.Grant{longer})
			if err == nil && !now[0].ExpiresAt.Equal(longer.ExpiresAt) {
				err = fmt.Errorf("grant %+v", now[0])
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1", "2 wakes 5 opened")
			if b.Generation == b.Enforced || !b.Grants[0].ExpiresAt.Equal(noon.Add(2*time.Hour)) {
				t.Errorf("book %+v", b)
			}
		},
	},
	{
		name:    "SetWakeUp",
		prepare: putSamples,
		do:      func(ctx context.Context, s *Store) error { return s.SetWakeUp(ctx, nsgID, sample(1).ID, 5) },
		done:    func(t *testing.T, s *Store) { wantBook(t, s, "1 wakes 5", "2 wakes 5") },
	},
	{
		name: "Touch",
		do: func(ctx context.Context, s *Store) error {
			_, err := s.Touch(ctx, nsgID)
			return err
		},
		done: func(t *testing.T, s *Store) { wantBook(t, s) },
	},
	{
		name:    "Settle",
		prepare: putSamples,
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 1, NextDue: noon,
				Opened: []string{sampleGrant(1).Key()}, Closed: []string{sampleGrant(2).Key()}})
		},
		done: func(t *testing.T, s *Store) {
			b := wantBook(t, s, "1 opened")
			if b.Enforced != 1 || !b.NextDue.Equal(noon) {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "PutGuard",
		do: func(ctx context.Context, s *Store) error {
			_, err := s.PutGuard(ctx, nsgID, sampleGuard(1))
			return err
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 1"); b.Generation == b.Enforced {
				t.Error("nothing tells that the NSG has to be looked at")
			}
		},
	},
	{
		name:    "PutGuard of the next revision",
		prepare: putSampleGuard,
		do: func(ctx context.Context, s *Store) error {
			_, err := s.PutGuard(ctx, nsgID, sampleGuard(2))
			return err
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 2"); b.Generation < 2 {
				t.Errorf("generation %d", b.Generation)
			}
		},
	},
	{
		name:    "Settle of a guard",
		prepare: func(t *testing.T, s *Store) { putSamples(t, s); putSampleGuard(t, s) },
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 2, Closed: []string{sampleGrant(1).Key(), sampleGrant(2).Key()},
				Guarded: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "guard 1 done"); b.Enforced != 2 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name:    "Settle of a guard that lets go",
		prepare: func(t *testing.T, s *Store) { putSamples(t, s); putSampleGuard(t, s) },
		do: func(ctx context.Context, s *Store) error {
			confirmed := map[string]int{sampleGuard(1).Key(): 1}
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 2, Guarded: confirmed, LetGo: confirmed})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s, "1", "2", "guard 1 done let go"); b.Enforced != 2 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "Settle of a hindered guard",
		prepare: func(t *testing.T, s *Store) {
			putSampleGuard(t, s)
			if err := s.Settle(t.Context(), nsgID, access.Settlement{Enforced: 1, Guarded: map[string]int{sampleGuard(1).Key(): 1}}); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Hindered: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) { wantBook(t, s, "guard 1") },
	},
	{
		name:    "Settle of a released guard",
		prepare: putSampleGuard,
		do: func(ctx context.Context, s *Store) error {
			return s.Settle(ctx, nsgID, access.Settlement{Enforced: 1, Released: map[string]int{sampleGuard(1).Key(): 1}})
		},
		done: func(t *testing.T, s *Store) {
			if b := wantBook(t, s); b.Enforced != 1 {
				t.Errorf("head %+v", b.Head)
			}
		},
	},
	{
		name: "UpdateProtection that creates",
		do:   func(ctx context.Context, s *Store) error { return protectSample(ctx, s, 1) },
		done: func(t *testing.T, s *Store) { wantProtection(t, s, 1, "revision 1") },
	},
	{
		name: "UpdateProtection",
		prepare: func(t *testing.T, s *Store) {
			if err := protectSample(t.Context(), s, 1); err != nil {
				t.Fatal(err)
			}
		},
		do:   func(ctx context.Context, s *Store) error { return protectSample(ctx, s, 2) },
		done: func(t *testing.T, s *Store) { wantProtection(t, s, 2, "revision 1", "revision 2") },
	},
	{
		// Who notes again looks first: a note by itself has nothing to be known by.
		name: "Note",
		do: func(ctx context.Context, s *Store) error {
			events, err := s.Notes(ctx, nsgID)
			if err != nil || len(events) > 0 {
				return err
			}
			return s.Note(ctx, nsgID, []audit.Event{{Text: "one"}, {Text: "two"}})
		},
		done: func(t *testing.T, s *Store) {
			events, err := s.Notes(t.Context(), nsgID)
			wantRecord(t, events, err, "one", "two")
		},
	},
	{
		name: "UpdateLedger that creates",
		do:   func(ctx context.Context, s *Store) error { return lockSample(ctx, s, "one") },
		done: func(t *testing.T, s *Store) { wantLocked(t, s, nil, "one") },
	},
	{
		name:    "UpdateLedger",
		prepare: putLedger,
		do:      func(ctx context.Context, s *Store) error { return lockSample(ctx, s, "two") },
		done:    func(t *testing.T, s *Store) { wantLocked(t, s, nil, "one", "two") },
	},
	{
		name:    "MarkLedgerTold",
		prepare: putLedger,
		do: func(ctx context.Context, s *Store) error {
			return s.MarkLedgerTold(ctx, map[string]int{"teams": 1})
		},
		done: func(t *testing.T, s *Store) { wantLocked(t, s, map[string]int{"teams": 1}, "one") },
	},
	{
		name: "UpdateHabits",
		do:   deny,
		done: func(t *testing.T, s *Store) {
			if err := s.UpdateHabits(t.Context(), person, func(h *access.Habits) bool {
				if len(h.Denials) != 1 {
					t.Errorf("%d denials are remembered", len(h.Denials))
				}
				return false
			}); err != nil {
				t.Error(err)
			}
		},
	},
	{
		name:  "InsertSignal",
		do:    func(ctx context.Context, s *Store) error { return s.InsertSignal(ctx, sampleSignal(1)) },
		done:  func(t *testing.T, s *Store) { wantSignals(t, s, "signal 1", "open 1") },
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrExists) },
	},
	{
		name:    "SettleSignal",
		prepare: func(t *testing.T, s *Store) { putSignals(t, s, 0, 2) },
		do:      func(ctx context.Context, s *Store) error { return s.SettleSignal(ctx, signalKey(1)) },
		done: func(t *testing.T, s *Store) {
			wantSignals(t, s, "signal 0", "signal done 1", "done 1", "open 0")
		},
	},
	{
		name:    "ForgetSignals",
		prepare: func(t *testing.T, s *Store) { putSignals(t, s, 3, 1) },
		do:      func(ctx context.Context, s *Store) error { return s.ForgetSignals(ctx, noon.Add(2*time.Minute)) },
		done: func(t *testing.T, s *Store) {
			wantSignals(t, s, "signal done 2", "signal 3", "done 2", "open 3")
		},
	},
	{
		name: "PutPolicy",
		do: func(ctx context.Context, s *Store) error {
			p, err := s.PutPolicy(ctx, samplePolicy(22), signed)
			if err == nil && p.Version != 1 {
				err = fmt.Errorf("version %d", p.Version)
			}
			return err
		},
		done: func(t *testing.T, s *Store) { wantPolicyVersions(t, s, "1", "1 in force") },
	},
	{
		name:    "RemovePolicy",
		prepare: putSamplePolicy,
		do: func(ctx context.Context, s *Store) error {
			return s.RemovePolicy(ctx, samplePolicy(22).Scope, samplePolicy(22).Key(), signed)
		},
		done:  func(t *testing.T, s *Store) { wantPolicyVersions(t, s, "2 removed", "1") },
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrNotFound) },
	},
	{
		name:    "PutPolicy after its removal",
		prepare: removeSamplePolicy,
		do: func(ctx context.Context, s *Store) error {
			p, err := s.PutPolicy(ctx, samplePolicy(22), signed)
			if err == nil && p.Version != 3 {
				err = fmt.Errorf("version %d", p.Version)
			}
			return err
		},
		done: func(t *testing.T, s *Store) { wantPolicyVersions(t, s, "3", "2 removed", "1", "3 in force") },
	},
	{
		name: "PutAlertRules",
		do: func(ctx context.Context, s *Store) error {
			r, err := s.PutAlertRules(ctx, "rules", signed)
			if err == nil && r.Version != 1 {
				err = fmt.Errorf("version %d", r.Version)
			}
			return err
		},
		done: func(t *testing.T, s *Store) {
			if r, err := s.AlertRules(t.Context()); err != nil || r.Version != 1 || r.Signature != signed {
				t.Errorf("alert rules %+v, error %v", r, err)
			}
		},
	},
	{
		name: "Propose",
		prepare: func(t *testing.T, s *Store) {
			if err := s.Propose(t.Context(), sampleProposal(1)); err != nil {
				t.Fatal(err)
			}
		},
		do:   func(ctx context.Context, s *Store) error { return s.Propose(ctx, sampleProposal(2)) },
		done: func(t *testing.T, s *Store) { wantProposals(t, s, sampleProposal(2)) },
	},
	{
		name: "DropProposal",
		prepare: func(t *testing.T, s *Store) {
			if err := s.Propose(t.Context(), sampleProposal(1)); err != nil {
				t.Fatal(err)
			}
		},
		do:    func(ctx context.Context, s *Store) error { return s.DropProposal(ctx, sampleProposal(1).ID) },
		done:  func(t *testing.T, s *Store) { wantProposals(t, s) },
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrNotFound) },
	},
	{
		name: "Reads",
		prepare: func(t *testing.T, s *Store) {
			insertSample(t, s)
			putSamples(t, s)
			putSampleGuard(t, s)
			putSamplePolicy(t, s)
			putLedger(t, s)
			putSignals(t, s, 1, 1)
			_, err := s.PutAlertRules(t.Context(), "rules", signed)
			if err := errors.Join(err, protectSample(t.Context(), s, 1), s.Note(t.Context(), nsgID, made), s.Propose(t.Context(), sampleProposal(1))); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			_, err := s.Request(ctx, sample(1).ID)
			_, err2 := s.Events(ctx, sample(1).ID)
			page, err3 := s.List(ctx, access.Query{})
			_, err4 := s.Book(ctx, nsgID)
			books := 0
			err5 := s.Books(ctx, func(access.Book) error { books++; return nil })
			at, err6 := s.PoliciesAt(ctx, samplePolicy(22).Scope)
			list, err7 := s.ListPolicies(ctx)
			_, err8 := s.Protection(ctx, vmID)
			machines := 0
			err9 := s.Protections(ctx, func(access.Protection) error { machines++; return nil })
			record, err10 := s.ProtectionEvents(ctx, vmID)
			notes, err11 := s.Notes(ctx, nsgID)
			err = errors.Join(err, err2, err3, err4, err5, err6, err7, err8, err9, err10, err11)
			versions, err2 := s.PolicyVersions(ctx, samplePolicy(22).Scope, samplePolicy(22).Key())
			_, err3 = s.AlertRules(ctx)
			proposals, err4 := s.Proposals(ctx)
			ledger, err5 := s.Ledger(ctx)
			told, err6 := s.LedgerEvents(ctx, 0, 1)
			_, err7 = s.Signal(ctx, signalKey(0))
			signals := 0
			err8 = s.OpenSignals(ctx, func(access.Signal) error { signals++; return nil })
			err = errors.Join(err, err2, err3, err4, err5, err6, err7, err8)
			if err == nil && (len(page.Requests) != 1 || books != 1 || len(at) != 1 || len(list) != 1 || machines != 1 || len(record) != 1 || len(notes) != 1 ||
				len(versions) != 1 || len(proposals) != 1 || ledger.Events != 1 || len(told) != 1 || signals != 1) {
				err = errors.New("something is missing")
			}
			return err
		},
		done: func(*testing.T, *Store) {},
	},
}

func putLedger(t *testing.T, s *Store) {
	t.Helper()
	if err := lockSample(t.Context(), s, "one"); err != nil {
		t.Fatal(err)
	}
}

func removeSamplePolicy(t *testing.T, s *Store) {
	t.Helper()
	putSamplePolicy(t, s)
	if err := s.RemovePolicy(t.Context(), samplePolicy(22).Scope, samplePolicy(22).Key(), signed); err != nil {
		t.Fatal(err)
	}
}

// begin opens a store prepared for u.
func begin(t *testing.T, u undertaking) (*account, *Store) {
	a := newAccount(t)
	s := a.store(t)
	if u.prepare != nil {
		u.prepare(t, s)
	}
	return a, s
}

// operations counts what u asks of the service.
func operations(t *testing.T, u undertaking) int {
	a, s := begin(t, u)
	before := sum(a.Counts())
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
	return sum(a.Counts()) - before
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// Each operation in turn is carried out and then reported as failed. The SDK
// repeats it, and the caller must not notice.
func TestAnswerLost(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(nil, func(local.Op) *local.Fault {
					if n.Add(1) == int64(k+1) {
						return oops
					}
					return nil
				})
				if err := u.do(t.Context(), s); err != nil {
					t.Fatalf("answer %d lost: %v", k+1, err)
				}
				a.SetFaults(nil, nil)
				u.done(t, s)
			}
		})
	}
}

// The process is cut off: one operation is carried out but its answer is lost, and
// nothing gets through afterwards. The call says so, and made again by somebody
// else it leads to the same end.
func TestCutOff(t *testing.T) {
	for _, u := range undertakings {
		t.Run(u.name, func(t *testing.T) {
			for k := range operations(t, u) {
				a, s := begin(t, u)
				var n atomic.Int64
				a.SetFaults(
					func(local.Op) *local.Fault {
						if n.Add(1) > int64(k+1) {
							return oops
						}
						return nil
					},
					func(local.Op) *local.Fault {
						if n.Load() >= int64(k+1) {
							return oops
						}
						return nil
					})
				err := u.do(t.Context(), s)
				a.SetFaults(nil, nil)
				// Failing to tidy up the index is not the caller's concern, hence nil.
				if err != nil && !errors.Is(err, access.ErrUnavailable) {
					t.Fatalf("cut off at operation %d: %v, want ErrUnavailable", k+1, err)
				}
				second := a.store(t)
				err = u.do(t.Context(), second)
				if u.again != nil && !u.again(err) || u.again == nil && err != nil {
					t.Fatalf("cut off at operation %d, then again: %v", k+1, err)
				}
				u.done(t, second)
			}
		})
	}
}

// A broken connection is no different from a bad answer.
func TestConnectionLost(t *testing.T) {
	u := undertakings[1]
	a, s := begin(t, u)
	var n atomic.Int64
	a.SetFaults(nil, func(op local.Op) *local.Fault {
		if op.Kind == "transaction" && n.Add(1) == 1 {
			return &local.Fault{Drop: true}
		}
		return nil
	})
	if err := u.do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	u.done(t, s)
}
