package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"jitgate/internal/access"
	"jitgate/internal/policy"
)

var proposalTests = map[string]func(*testing.T, Store){
	"None":    testNoProposal,
	"Propose": testPropose,
	"Replace": testReplaceProposal,
	"AtOnce":  testProposeAtOnce,
	"Refused": testProposeNonsense,
}

// proposal n is for the document n, made n minutes after noon.
func proposal(n int) access.Proposal {
	return access.Proposal{ID: id(n), Key: hexKey(n), Scope: policy.ScopeOf(vm(n)), Text: fmt.Sprint("text ", n, "\nünïcödé"), By: alice, At: noon.Add(time.Duration(n) * time.Minute)}
}

func wantProposals(t *testing.T, s Store, want ...access.Proposal) {
	t.Helper()
	got, err := s.Proposals(t.Context())
	must(t, err)
	equal(t, "proposals", want, got)
}

func testNoProposal(t *testing.T, s Store) {
	wantProposals(t, s)
	for _, wrong := range []string{id(1), "", hexKey(1), "it's", "a/b", "\x00"} {
		wantError(t, "drop", s.DropProposal(t.Context(), wrong), access.ErrNotFound)
	}
}

func testPropose(t *testing.T, s Store) {
	putPolicy(t, s, document(vm(1), 22)) // is none
	removal, rules := proposal(1), proposal(2)
	removal.Remove = true
	wantFilled(t, removal)
	rules.Key, rules.Scope = access.AlertRulesKey, policy.Scope{}
	for _, p := range []access.Proposal{proposal(3), removal, rules} {
		must(t, s.Propose(t.Context(), p))
	}
	wantProposals(t, s, removal, rules, proposal(3)) // oldest first
	must(t, s.DropProposal(t.Context(), rules.ID))
	wantError(t, "drop again", s.DropProposal(t.Context(), rules.ID), access.ErrNotFound)
	wantProposals(t, s, removal, proposal(3))

	list, err := s.ListPolicies(t.Context())
	must(t, err)
	equal(t, "policies", 1, len(list))
	_, err = s.AlertRules(t.Context())
	wantError(t, "alert rules", err, access.ErrNotFound)
}

func testReplaceProposal(t *testing.T, s Store) {
	must(t, s.Propose(t.Context(), proposal(1)))
	must(t, s.Propose(t.Context(), proposal(2)))
	other := proposal(3)
	other.Key = proposal(1).Key
	must(t, s.Propose(t.Context(), other))
	wantProposals(t, s, proposal(2), other)
	wantError(t, "drop what was replaced", s.DropProposal(t.Context(), proposal(1).ID), access.ErrNotFound)

	same := other // the same change by somebody else
	same.By, same.At = bob, noon
	for range 2 {
		must(t, s.Propose(t.Context(), same))
		wantProposals(t, s, same, proposal(2))
	}
	must(t, s.DropProposal(t.Context(), same.ID))
	wantProposals(t, s, proposal(2))
}

// There is one proposal for a document, however many propose at once.
func testProposeAtOnce(t *testing.T, s Store) {
	together(t, 8, func(w int) error {
		p := proposal(w)
		p.Key = hexKey(w % 2)
		if err := s.Propose(t.Context(), p); err != nil {
			return err
		}
		if err := s.DropProposal(t.Context(), p.ID); err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		return s.Propose(t.Context(), p)
	})
	got, err := s.Proposals(t.Context())
	must(t, err)
	seen := map[string]bool{}
	for _, p := range got {
		seen[p.Key] = true
	}
	if len(got) != 2 || len(seen) != 2 {
		t.Errorf("proposals %+v, want one for each document", got)
	}
}

func testProposeNonsense(t *testing.T, s Store) {
	for _, spoil := range []func(*access.Proposal){
		func(p *access.Proposal) { p.ID = "" },
		func(p *access.Proposal) { p.ID = "it's" },
		func(p *access.Proposal) { p.Key = "" },
		func(p *access.Proposal) { p.Key = "current-" + hexKey(1) },
		func(p *access.Proposal) { p.Key = "a/b" },
		func(p *access.Proposal) { p.Text = "\xff" },
	} {
		p := proposal(1)
		spoil(&p)
		if err := s.Propose(t.Context(), p); err == nil || errors.Is(err, access.ErrUnavailable) {
			t.Errorf("error %v for %+v, want one that is final", err, p)
		}
	}
	wantProposals(t, s)
}
