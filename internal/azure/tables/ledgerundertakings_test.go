package tables

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"jitgate/internal/access"
)

var ledgerUndertakings = []undertaking{
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
		do:      func(ctx context.Context, s *Store) error { return s.SettleSignal(ctx, sampleSignal(1)) },
		done: func(t *testing.T, s *Store) {
			wantSignals(t, s, "signal 0", "signal done 1", "done 1", "open 0")
		},
	},
	{
		name:    "ReplaceSignal",
		prepare: func(t *testing.T, s *Store) { putSignals(t, s, 1, 2) },
		do: func(ctx context.Context, s *Store) error {
			return errors.Join(s.ReplaceSignal(ctx, sampleSignal(0), laterSignal(0)), s.ReplaceSignal(ctx, sampleSignal(1), laterSignal(1)))
		},
		done: func(t *testing.T, s *Store) {
			wantSignals(t, s, "signal 0", "signal 1", "signal 2", "open 0", "open 1", "open 2")
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
		name:    "Reads of the ledger",
		prepare: func(t *testing.T, s *Store) { putLedger(t, s); putSignals(t, s, 1, 1) },
		do: func(ctx context.Context, s *Store) error {
			ledger, err := s.Ledger(ctx)
			record, err2 := s.LedgerEvents(ctx, 0, 1)
			_, err3 := s.Signal(ctx, signalKey(0))
			open := 0
			err4 := s.OpenSignals(ctx, func(access.Signal) error { open++; return nil })
			err = errors.Join(err, err2, err3, err4)
			if err == nil && (ledger.Events != 1 || len(record) != 1 || open != 1) {
				err = errors.New("something is missing")
			}
			return err
		},
		done: func(*testing.T, *Store) {},
	},
}

var policyUndertakings = []undertaking{
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
		do:    func(ctx context.Context, s *Store) error { return s.DropProposal(ctx, sampleProposal(1)) },
		done:  func(t *testing.T, s *Store) { wantProposals(t, s) },
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrNotFound) },
	},
	{
		name:    "PutPolicy of a proposal",
		prepare: func(t *testing.T, s *Store) { propose(t, s, sampleProposal(1)) },
		do: func(ctx context.Context, s *Store) error {
			_, err := s.PutPolicy(ctx, samplePolicy(22), carriedOut(sampleProposal(1)))
			return err
		},
		done: func(t *testing.T, s *Store) {
			wantPolicyVersions(t, s, "1", "1 in force")
			wantProposals(t, s)
		},
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrNotFound) },
	},
	{
		name: "RemovePolicy of a proposal",
		prepare: func(t *testing.T, s *Store) {
			putSamplePolicy(t, s)
			propose(t, s, sampleProposal(1))
		},
		do: func(ctx context.Context, s *Store) error {
			return s.RemovePolicy(ctx, samplePolicy(22).Scope, samplePolicy(22).Key(), carriedOut(sampleProposal(1)))
		},
		done: func(t *testing.T, s *Store) {
			wantPolicyVersions(t, s, "2 removed", "1")
			wantProposals(t, s)
		},
		again: func(err error) bool { return err == nil || errors.Is(err, access.ErrNotFound) },
	},
	{
		name: "Reads of policies",
		prepare: func(t *testing.T, s *Store) {
			putSamplePolicy(t, s)
			_, err := s.PutAlertRules(t.Context(), "rules", signed)
			if err := errors.Join(err, s.Propose(t.Context(), sampleProposal(1))); err != nil {
				t.Fatal(err)
			}
		},
		do: func(ctx context.Context, s *Store) error {
			doc := samplePolicy(22)
			at, err := s.PoliciesAt(ctx, doc.Scope)
			list, err2 := s.ListPolicies(ctx)
			versions, err3 := s.PolicyVersions(ctx, doc.Scope, doc.Key())
			rules, err4 := s.AlertRules(ctx)
			proposals, err5 := s.Proposals(ctx)
			err = errors.Join(err, err2, err3, err4, err5)
			if err == nil && (len(at) != 1 || len(list) != 1 || len(versions) != 1 || rules.Version != 1 || len(proposals) != 1) {
				err = errors.New("something is missing")
			}
			return err
		},
		done: func(*testing.T, *Store) {},
	},
}

func propose(t *testing.T, s *Store, p access.Proposal) {
	t.Helper()
	if err := s.Propose(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func carriedOut(p access.Proposal) access.Signature {
	return access.Signature{By: p.By, Approver: signed.Approver, At: noon.Add(time.Hour), Proposal: p.ID}
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
