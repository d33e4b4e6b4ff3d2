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

	"CarryOut":      testCarryOut,
	"CarryOutLost":  testCarryOutWhatDoesNotWait,
	"CarryOutAgain": testCarryOutTheSameAgain,
	"Signature":     testSignatureOfItsOwn,
	"OneOutcome":    testOneOutcome,
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
	wantError(t, "drop", s.DropProposal(t.Context(), proposal(1)), access.ErrNotFound)
	must(t, s.Propose(t.Context(), proposal(1)))
	other, theirs := proposal(1), proposal(1)
	other.ID, theirs.By = id(2), bob
	for _, wrong := range []access.Proposal{proposal(2), other, theirs} {
		wantError(t, "drop", s.DropProposal(t.Context(), wrong), access.ErrNotFound)
	}
	wantProposals(t, s, proposal(1))
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
	must(t, s.DropProposal(t.Context(), rules))
	wantError(t, "drop again", s.DropProposal(t.Context(), rules), access.ErrNotFound)
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
	other.Key, other.Scope = proposal(1).Key, proposal(1).Scope
	must(t, s.Propose(t.Context(), other))
	wantProposals(t, s, proposal(2), other)
	wantError(t, "drop what was replaced", s.DropProposal(t.Context(), proposal(1)), access.ErrNotFound)

	same := other // the same change by somebody else
	same.By, same.At = bob, noon
	for range 2 {
		must(t, s.Propose(t.Context(), same))
		wantProposals(t, s, same, proposal(2))
	}
	must(t, s.DropProposal(t.Context(), same))
	wantProposals(t, s, proposal(2))
}

// There is one proposal for a document, however many propose at once.
func testProposeAtOnce(t *testing.T, s Store) {
	together(t, 8, func(w int) error {
		p := proposal(w)
		p.Key, p.Scope = hexKey(w%2), policy.ScopeOf(vm(w%2))
		if err := s.Propose(t.Context(), p); err != nil {
			return err
		}
		if err := s.DropProposal(t.Context(), p); err != nil && !errors.Is(err, access.ErrNotFound) {
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
		func(p *access.Proposal) { p.Scope = policy.Scope{} },
	} {
		p := proposal(1)
		spoil(&p)
		if err := s.Propose(t.Context(), p); err == nil || errors.Is(err, access.ErrUnavailable) {
			t.Errorf("error %v for %+v, want one that is final", err, p)
		}
	}
	wantProposals(t, s)
}

// change is one of the ways a document can change, as it is proposed and carried out.
type change struct {
	proposal access.Proposal
	carryOut func(Store, access.Signature) error
	state    func(Store) any // of the document, to see whether it changed
}

// changes are of three documents: one put, one removed, and the alert rules.
func changes(t *testing.T, s Store) []change {
	put, gone := document(vm(1), 22), document(vm(2), 22)
	putPolicy(t, s, gone)
	versions := func(d policy.Document) func(Store) any {
		return func(s Store) any {
			list, err := s.PolicyVersions(t.Context(), d.Scope, d.Key())
			must(t, err)
			return list
		}
	}
	p, removal, rules := proposal(1), proposal(2), proposal(3)
	p.Key, p.Scope = put.Key(), put.Scope
	removal.Key, removal.Scope, removal.Remove = gone.Key(), gone.Scope, true
	rules.Key, rules.Scope = access.AlertRulesKey, policy.Scope{}
	return []change{
		{p, func(s Store, sign access.Signature) error {
			_, err := s.PutPolicy(t.Context(), put, sign)
			return err
		}, versions(put)},
		{removal, func(s Store, sign access.Signature) error {
			return s.RemovePolicy(t.Context(), gone.Scope, gone.Key(), sign)
		}, versions(gone)},
		{rules, func(s Store, sign access.Signature) error {
			_, err := s.PutAlertRules(t.Context(), rules.Text, sign)
			return err
		}, func(s Store) any {
			r, err := s.AlertRules(t.Context())
			if !isNotFound(err) {
				must(t, err)
			}
			return r
		}},
	}
}

// agreed is the signature of a proposal that is carried out.
func agreed(p access.Proposal) access.Signature {
	return access.Signature{By: p.By, Approver: bob, At: p.At.Add(time.Hour), Proposal: p.ID}
}

// Carrying a proposal out forgets it, and the version says which it was.
func testCarryOut(t *testing.T, s Store) {
	var all []access.Proposal
	list := changes(t, s)
	for _, c := range list {
		must(t, s.Propose(t.Context(), c.proposal))
		all = append(all, c.proposal)
	}
	for i, c := range list {
		must(t, c.carryOut(s, agreed(c.proposal)))
		wantProposals(t, s, all[i+1:]...)
		done := c.state(s)
		if versions, ok := done.([]access.PolicyVersion); ok {
			equal(t, "signature", agreed(c.proposal), versions[0].Signature)
			equal(t, "removed", c.proposal.Remove, versions[0].Removed)
		} else {
			wantFilled(t, done)
			equal(t, "signature", agreed(c.proposal), done.(access.AlertRules).Signature)
		}
		wantError(t, "carry out again", c.carryOut(s, agreed(c.proposal)), access.ErrNotFound)
		equal(t, "document", done, c.state(s))
	}
}

// A version that no proposal led to does not bear that of the one before it.
func testSignatureOfItsOwn(t *testing.T, s Store) {
	first := changes(t, s)[0]
	must(t, s.Propose(t.Context(), first.proposal))
	must(t, first.carryOut(s, agreed(first.proposal)))
	sign := access.Signature{By: bob, At: first.proposal.At.Add(2 * time.Hour)}
	must(t, s.RemovePolicy(t.Context(), first.proposal.Scope, first.proposal.Key, sign))
	equal(t, "signature", sign, first.state(s).([]access.PolicyVersion)[0].Signature)
}

// What was dropped or replaced is not carried out, and nothing changes.
func testCarryOutWhatDoesNotWait(t *testing.T, s Store) {
	for _, c := range changes(t, s) {
		before := c.state(s)
		refused := func(what string) {
			t.Helper()
			wantError(t, what, c.carryOut(s, agreed(c.proposal)), access.ErrNotFound)
			equal(t, "document", before, c.state(s))
		}
		refused("one that never was")
		must(t, s.Propose(t.Context(), c.proposal))
		must(t, s.DropProposal(t.Context(), c.proposal))
		refused("one that was dropped")
		for _, replace := range []func(*access.Proposal){func(p *access.Proposal) { p.ID = id(9) }, func(p *access.Proposal) { p.By = bob }} {
			must(t, s.Propose(t.Context(), c.proposal))
			other := c.proposal
			replace(&other)
			must(t, s.Propose(t.Context(), other))
			refused("one that was replaced")
			wantProposals(t, s, other)
			must(t, s.DropProposal(t.Context(), other))
		}
	}
}

// That the document has come into force, or gone out of it, by other means meanwhile is
// no reason to keep the proposal.
func testCarryOutTheSameAgain(t *testing.T, s Store) {
	for _, c := range changes(t, s) {
		must(t, s.Propose(t.Context(), c.proposal))
		must(t, c.carryOut(s, signature(0)))
		must(t, c.carryOut(s, agreed(c.proposal)))
		wantProposals(t, s)
	}
}

// Whoever agrees and whoever rejects at one moment, only one of them is told that it was
// so, and the document is as he was told.
func testOneOutcome(t *testing.T, s Store) {
	for _, c := range changes(t, s) {
		must(t, s.Propose(t.Context(), c.proposal))
		before := c.state(s)
		outcomes := make([]error, 6)
		together(t, len(outcomes), func(w int) error {
			if w%2 == 0 {
				outcomes[w] = c.carryOut(s, agreed(c.proposal))
			} else {
				outcomes[w] = s.DropProposal(t.Context(), c.proposal)
			}
			if outcomes[w] != nil && !isNotFound(outcomes[w]) {
				return outcomes[w]
			}
			return nil
		})
		carried, dropped := 0, 0
		for w, err := range outcomes {
			switch {
			case err == nil && w%2 == 0:
				carried++
			case err == nil:
				dropped++
			}
		}
		changed := diff(before, c.state(s)) != ""
		// Two who drop it at one moment may both hear that it is gone.
		if carried > 1 || (carried > 0) == (dropped > 0) || changed != (carried > 0) {
			t.Errorf("carried out %d times, dropped %d times, changed %t", carried, dropped, changed)
		}
		wantProposals(t, s)
	}
}
