package tables

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"jitgate/internal/access"
	"jitgate/internal/access/accesstest"
	local "jitgate/internal/local/tables"
	"jitgate/internal/policy"
)

func sampleGuardrail(port int) policy.Document {
	d, err := policy.Parse(fmt.Appendf(nil, "apiVersion: jitgate/v1\nscope: %s\nenforced: true\nports: [{port: %d, protocol: TCP}]\n", vmID, port))
	if err != nil {
		panic(err)
	}
	return d
}

// What is in force at a scope is one range, however many versions there are, and each
// change is one transaction.
func TestRowsOfPolicies(t *testing.T) {
	a, rec, s := recorded(t)
	ctx := t.Context()
	doc, guardrail := samplePolicy(22), sampleGuardrail(22)
	before := a.Counts()["transaction"]
	for _, d := range []policy.Document{doc, guardrail, samplePolicy(3389), sampleGuardrail(3389)} {
		if _, err := s.PutPolicy(ctx, d, signed); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.PutAlertRules(ctx, "rules", signed)
	if err := errors.Join(err, s.RemovePolicy(ctx, doc.Scope, doc.Key(), signed), s.Propose(ctx, sampleProposal(1))); err != nil {
		t.Fatal(err)
	}
	if got := a.Counts()["transaction"] - before; got != 7 {
		t.Errorf("%d transactions for seven changes", got)
	}
	for partition, want := range map[string][]string{
		doc.Scope.Key(): {
			"current-" + guardrail.Key(),
			"proposal-" + doc.Key(),
			"v-" + guardrail.Key() + "-000001", "v-" + guardrail.Key() + "-000002",
			"v-" + doc.Key() + "-000001", "v-" + doc.Key() + "-000002", "v-" + doc.Key() + "-000003",
		},
		"alert-rules": {"current", "v-000001"},
	} {
		var got []string
		for found, err := range s.policies.rows(ctx, is("PartitionKey", partition), pageSize) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, found.rk)
		}
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("rows of %s (-want +got):\n%s", partition, d)
		}
	}

	rec.filters = nil
	counts := a.Counts()
	if _, err := s.PoliciesAt(ctx, doc.Scope); err != nil {
		t.Fatal(err)
	}
	want := []string{"PartitionKey eq '" + doc.Scope.Key() + "' and RowKey ge 'current-' and RowKey lt 'current.'"}
	if d := cmp.Diff(want, rec.filters); d != "" || sum(a.Counts())-sum(counts) != 1 {
		t.Errorf("queries (-want +got):\n%s", d)
	}
}

// A policy that cannot be read closes its scope, guardrail or not, and is mended by
// another one or by its removal.
func TestUnreadablePolicy(t *testing.T) {
	for name, doc := range map[string]policy.Document{"policy": samplePolicy(22), "guardrail": sampleGuardrail(22)} {
		t.Run(name, func(t *testing.T) {
			s := newAccount(t).store(t)
			ctx := t.Context()
			spoil := func() {
				t.Helper()
				stored, err := s.policies.get(ctx, doc.Scope.Key(), currentPrefix+doc.Key())
				if err != nil {
					t.Fatal(err)
				}
				if err := s.policies.write(ctx, merge(stored, columns{"Text": "apiVersion: jitgate/v99"})); err != nil {
					t.Fatal(err)
				}
				if _, err := s.PoliciesAt(ctx, doc.Scope); err == nil || errors.Is(err, access.ErrNotFound) || errors.Is(err, access.ErrUnavailable) {
					t.Errorf("error %v, want one that is final", err)
				}
				if _, err := s.ListPolicies(ctx); err == nil {
					t.Error("the list leaves the policy out")
				}
			}
			for _, other := range []policy.Document{samplePolicy(22), sampleGuardrail(22)} {
				if _, err := s.PutPolicy(ctx, other, signed); err != nil {
					t.Fatal(err)
				}
			}
			spoil()
			p, err := s.PutPolicy(ctx, doc, signed)
			if err != nil || p.Version != 2 {
				t.Errorf("version %d, error %v; want 2", p.Version, err)
			}
			if at, err := s.PoliciesAt(ctx, doc.Scope); err != nil || len(at) != 2 {
				t.Errorf("policies %v, error %v; want two", at, err)
			}
			spoil()
			if err := s.RemovePolicy(ctx, doc.Scope, doc.Key(), signed); err != nil {
				t.Fatal(err)
			}
			if at, err := s.PoliciesAt(ctx, doc.Scope); err != nil || len(at) != 1 || at[0].Key() == doc.Key() {
				t.Errorf("policies %v, error %v; want the other one", at, err)
			}
			versions, err := s.PolicyVersions(ctx, doc.Scope, doc.Key())
			if err != nil || len(versions) != 3 {
				t.Fatalf("%d versions, error %v; want 3", len(versions), err)
			}
			// The one that was removed cannot be read, but what is known of it is shown.
			unread := access.PolicyVersion{Policy: policy.Policy{Document: policy.Document{Text: "apiVersion: jitgate/v99"}, Version: 3}, Signature: signed, Removed: true}
			wantSame(t, unread, versions[0], nil)
			wantSame(t, unread.Text, versions[0].Text, nil)
			wantSame(t, access.PolicyVersion{Policy: policy.New(doc, 2), Signature: signed}, versions[1], nil)
		})
	}
}

// An administrator mends what cannot be read: by a document that can, or by removing
// it, also where another one has to agree. What is wrong with the stored document is not
// told as if it were wrong with his.
func TestUnreadablePolicyIsMended(t *testing.T) {
	const newer = "apiVersion: jitgate/v99"
	doc := samplePolicy(22)
	for _, agreeing := range []bool{false, true} {
		s := newAccount(t).store(t)
		ctx := t.Context()
		service := &access.Service{Policies: s, Ledgers: s, Queue: &accesstest.Queue{}, Messages: &accesstest.Messages{}, SecondAdmin: agreeing,
			Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)}
		spoil := func() {
			t.Helper()
			stored, err := s.policies.get(ctx, doc.Scope.Key(), currentPrefix+doc.Key())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.policies.write(ctx, merge(stored, columns{"Text": newer})); err != nil {
				t.Fatal(err)
			}
			var faults policy.Faults
			if _, err := s.PoliciesAt(ctx, doc.Scope); err == nil || errors.As(err, &faults) || !strings.Contains(err.Error(), doc.Key()) {
				t.Errorf("read as %v; want the key, and no faults of anybody's document", err)
			}
		}
		settle := func(done access.Changed, err error) {
			t.Helper()
			if err == nil && agreeing {
				if done.Proposal == nil || done.Policy.Version > 0 {
					t.Errorf("done at once: %+v", done)
				}
				_, err = service.AgreeToProposal(ctx, done.Proposal.ID, signed.Approver)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		putSamplePolicy(t, s)
		spoil()
		settle(service.ApplyPolicy(ctx, doc.Text, person)) // the very one that was in force before
		if at, err := s.PoliciesAt(ctx, doc.Scope); err != nil || len(at) != 1 || at[0].Version != 2 || !at[0].Equal(doc) {
			t.Errorf("in force %+v, error %v; want version 2", at, err)
		}
		spoil()
		settle(service.RemovePolicy(ctx, doc.Scope, doc.Key(), person))
		if at, err := s.PoliciesAt(ctx, doc.Scope); err != nil || len(at) != 0 {
			t.Errorf("in force %+v, error %v; want none", at, err)
		}
		versions, err := s.PolicyVersions(ctx, doc.Scope, doc.Key())
		if err != nil || len(versions) != 3 || !versions[0].Removed || versions[0].Text != newer || versions[0].By != person {
			t.Errorf("versions %+v, error %v", versions, err)
		}
	}
}

// Numbers that somebody broke by hand are reported: counting from anywhere else, a
// number could come to mean two documents.
func TestUnreadableVersions(t *testing.T) {
	s := newAccount(t).store(t)
	ctx := t.Context()
	doc := samplePolicy(22)
	removeSamplePolicy(t, s)
	putSamplePolicy(t, s)
	if _, err := s.PutAlertRules(ctx, "rules", signed); err != nil {
		t.Fatal(err)
	}
	if err := s.Propose(ctx, sampleProposal(1)); err != nil {
		t.Fatal(err)
	}
	put := func() error { _, err := s.PutPolicy(ctx, samplePolicy(23), signed); return err }
	for _, c := range []struct {
		pk, rk string
		spoilt columns
		reads  []func() error
	}{
		{doc.Scope.Key(), currentPrefix + doc.Key(), columns{"Version": "many"}, []func() error{put,
			func() error { return s.RemovePolicy(ctx, doc.Scope, doc.Key(), signed) },
			func() error { _, err := s.PoliciesAt(ctx, doc.Scope); return err },
		}},
		{doc.Scope.Key(), policyShelf(doc.Scope, doc.Key()).version(1), columns{"Version": "many"}, []func() error{
			func() error { _, err := s.PolicyVersions(ctx, doc.Scope, doc.Key()); return err },
		}},
		{doc.Scope.Key(), policyShelf(doc.Scope, doc.Key()).version(2), columns{"At": "noon"}, []func() error{
			func() error { _, err := s.PolicyVersions(ctx, doc.Scope, doc.Key()); return err },
		}},
		{rulesShelf.partition, rulesShelf.current, columns{"Version": "many"}, []func() error{
			func() error { _, err := s.AlertRules(ctx); return err },
			func() error { _, err := s.PutAlertRules(ctx, "others", signed); return err },
		}},
		{doc.Scope.Key(), proposalPrefix + doc.Key(), columns{"At": "noon"}, []func() error{
			func() error { _, err := s.Proposals(ctx); return err },
		}},
	} {
		stored, err := s.policies.get(ctx, c.pk, c.rk)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.policies.write(ctx, merge(stored, c.spoilt)); err != nil {
			t.Fatal(err)
		}
		for i, read := range c.reads {
			if err := read(); err == nil || errors.Is(err, access.ErrNotFound) || errors.Is(err, access.ErrUnavailable) {
				t.Errorf("%s, read %d: error %v, want one that is final", c.rk, i+1, err)
			}
		}
	}
	// And a row among the versions that is none.
	s = newAccount(t).store(t)
	if err := s.policies.write(ctx, insert(doc.Scope.Key(), policyShelf(doc.Scope, doc.Key()).versions+"many", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutPolicy(ctx, doc, signed); err == nil || errors.Is(err, access.ErrUnavailable) {
		t.Errorf("error %v, want one that is final", err)
	}
}

// A version is put and its answer lost; before the SDK repeats it somebody else puts
// or removes. What he did stands, and our call tells of our own version.
func TestVersionIsPutOnce(t *testing.T) {
	for name, disturb := range map[string]func(*Store) error{
		"put": func(s *Store) error {
			_, err := s.PutPolicy(context.Background(), samplePolicy(3389), signed)
			return err
		},
		"remove": func(s *Store) error {
			return s.RemovePolicy(context.Background(), samplePolicy(22).Scope, samplePolicy(22).Key(), signed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t)
			s, other := a.store(t), a.store(t)
			loseAnswer(t, a, func() error { return disturb(other) })
			p, err := s.PutPolicy(t.Context(), samplePolicy(22), signed)
			if err != nil || p.Version != 1 || !p.Equal(samplePolicy(22)) {
				t.Fatalf("version %d of %s, error %v", p.Version, p.Text, err)
			}
			if name == "put" {
				wantPolicyVersions(t, s, "2", "1", "2 in force")
			} else {
				wantPolicyVersions(t, s, "2 removed", "1")
			}
		})
	}
	t.Run("removed and put again", func(t *testing.T) {
		a := newAccount(t)
		s, other := a.store(t), a.store(t)
		putSamplePolicy(t, s)
		loseAnswer(t, a, func() error {
			_, err := other.PutPolicy(context.Background(), samplePolicy(3389), signed)
			return err
		})
		if err := s.RemovePolicy(t.Context(), samplePolicy(22).Scope, samplePolicy(22).Key(), signed); err != nil {
			t.Fatal(err)
		}
		wantPolicyVersions(t, s, "3", "2 removed", "1", "3 in force")
	})
}

// One drops a proposal and another carries it out at the same moment; the call that drops
// it does not get through at first, and the SDK repeats it.
func TestADropThatCameTooLate(t *testing.T) {
	a := newAccount(t)
	s, other := a.store(t), a.store(t)
	early := carriedOut(sampleProposal(1))
	propose(t, s, sampleProposal(1))
	if _, err := s.PutPolicy(t.Context(), samplePolicy(22), early); err != nil { // the same change, once before
		t.Fatal(err)
	}
	again := sampleProposal(1)
	again.At = early.At.Add(time.Hour)
	dropping := func(meanwhile func() error) error {
		t.Helper()
		propose(t, s, again)
		var n atomic.Int64
		a.SetFaults(func(op local.Op) *local.Fault {
			if op.Kind != "transaction" || n.Add(1) != 1 {
				return nil
			}
			if err := meanwhile(); err != nil {
				t.Error(err)
			}
			return oops
		}, nil)
		defer a.SetFaults(nil, nil)
		return s.DropProposal(t.Context(), again)
	}
	carryOut := func() error {
		sign := early
		sign.At = again.At.Add(time.Minute)
		_, err := other.PutPolicy(context.Background(), samplePolicy(22), sign)
		return err
	}
	if err := dropping(func() error { return other.DropProposal(context.Background(), again) }); err != nil {
		t.Errorf("dropped by another: %v", err)
	}
	if err := dropping(carryOut); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("carried out by another: %v", err)
	}
	wantPolicyVersions(t, s, "2", "1", "2 in force")
}
