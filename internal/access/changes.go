package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"jitgate/internal/alert"
	"jitgate/internal/audit"
	"jitgate/internal/policy"
)

// Changed is what became of a change of policy: it is in force, or it waits for
// somebody else.
type Changed struct {
	Policy   policy.Policy // the zero Policy when removed, and for alert rules
	Rules    AlertRules
	Proposal *Proposal // not nil = nothing has changed yet
}

// ApplyPolicy puts a document in force, or proposes it where a second administrator
// has to agree. One that says the same as what is in force changes nothing.
//
// Errors: [policy.Faults]; [ErrUnavailable].
func (s *Service) ApplyPolicy(ctx context.Context, text string, by Person) (Changed, error) {
	doc, err := policy.Parse([]byte(text))
	if err != nil {
		return Changed{}, err
	}
	current, err := s.Policies.PolicyInForce(ctx, doc.Scope, doc.Key())
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Changed{}, fmt.Errorf("read the policy in force at %s: %w", doc.Scope, err)
	}
	if err == nil && current.Equal(doc) {
		return Changed{Policy: current.Policy}, nil
	}
	return s.changePolicy(ctx, Proposal{Key: doc.Key(), Scope: doc.Scope, Text: text, By: by})
}

// RemovePolicy takes a policy out of force, or proposes it. One that cannot be read goes
// as any other.
//
// Errors: [Refusals] with PolicyNotFound; [ErrUnavailable].
func (s *Service) RemovePolicy(ctx context.Context, scope policy.Scope, key string, by Person) (Changed, error) {
	current, err := s.Policies.PolicyInForce(ctx, scope, key)
	if errors.Is(err, ErrNotFound) {
		return Changed{}, refuse(PolicyNotFound, "key", notInForce)
	}
	if err != nil {
		return Changed{}, fmt.Errorf("read the policy in force at %s: %w", scope, err)
	}
	return s.changePolicy(ctx, Proposal{Key: key, Scope: scope, Text: current.Text, Remove: true, By: by})
}

const notInForce = "There is no policy of this scope and key in force; list those there are with GET /api/policies."

// ApplyAlertRules puts the document in force that maps alerts to actions, or proposes
// it.
//
// Errors: [policy.Faults]; [ErrUnavailable].
func (s *Service) ApplyAlertRules(ctx context.Context, text string, by Person) (Changed, error) {
	if _, err := alert.ParseRules([]byte(text)); err != nil {
		return Changed{}, err
	}
	current, err := s.Policies.AlertRules(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Changed{}, fmt.Errorf("read the alert rules: %w", err)
	}
	if err == nil && current.Text == text {
		return Changed{Rules: current}, nil
	}
	return s.changePolicy(ctx, Proposal{Key: AlertRulesKey, Text: text, By: by})
}

// changePolicy carries a change out, or files it where somebody else has to agree.
func (s *Service) changePolicy(ctx context.Context, p Proposal) (Changed, error) {
	if err := s.unlocked(ctx, p.By); err != nil {
		return Changed{}, err
	}
	p.At = s.now()
	if !s.SecondAdmin {
		return s.putPolicy(ctx, p, Person{})
	}
	p.ID = uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s\x00%t\x00%s", p.Key, p.Remove, p.Text)).String()
	if err := s.Policies.Propose(ctx, p); err != nil {
		return Changed{}, fmt.Errorf("file the proposal: %w", err)
	}
	s.notePolicy(ctx, audit.PolicyProposed, p.By, p, "Waits for another administrator: "+p.title()+".")
	return Changed{Proposal: &p}, nil
}

// putPolicy carries a change out. ErrNotFound: it was a proposal, and does not wait any
// more.
func (s *Service) putPolicy(ctx context.Context, p Proposal, approver Person) (out Changed, err error) {
	sign := Signature{By: p.By, Approver: approver, At: s.now(), Proposal: p.ID}
	var ref string
	kind := audit.PolicyApplied
	switch {
	case p.Key == AlertRulesKey:
		if out.Rules, err = s.Policies.PutAlertRules(ctx, p.Text, sign); err != nil {
			return out, fmt.Errorf("put the alert rules in force: %w", err)
		}
		ref = fmt.Sprintf("%s version %d sha256:%s", AlertRulesKey, out.Rules.Version, out.Rules.Hash)
	case p.Remove:
		kind, ref = audit.PolicyRemoved, p.what()
		err := s.Policies.RemovePolicy(ctx, p.Scope, p.Key, sign)
		if gone := p.ID == "" && errors.Is(err, ErrNotFound); err != nil && !gone {
			return out, fmt.Errorf("take the policy out of force: %w", err)
		}
	default:
		doc, err := policy.Parse([]byte(p.Text))
		if err != nil {
			return out, fmt.Errorf("the proposed document cannot be read any more: %v", err) // nobody sent it now
		}
		if out.Policy, err = s.Policies.PutPolicy(ctx, doc, sign); err != nil {
			return out, fmt.Errorf("put the policy in force: %w", err)
		}
		ref = cite(policy.Set{out.Policy})
	}
	text := ref + "."
	if approver.Object != "" {
		text += " Agreed to by " + approver.Name + "."
	}
	s.notePolicy(ctx, kind, p.By, p, text)
	return out, nil
}

// notePolicy puts a change on the installation's record. The version row, which was
// saved with the change, is what proves it; so a line that cannot be written is only logged.
func (s *Service) notePolicy(ctx context.Context, kind audit.Kind, by Person, p Proposal, text string) {
	_, err := s.updateLedger(ctx, func(*Ledger) ([]audit.Event, error) {
		rec := record{at: s.now(), by: by}
		rec.add(kind, nil, audit.Event{Text: text})
		return rec.events, nil
	})
	if err != nil {
		s.Log.ErrorContext(ctx, "a change of policy could not be put on the installation's record; the version itself is kept", "kind", string(kind), "key", p.Key, "error", err)
	}
}

// title says what a proposal is about.
func (p *Proposal) title() string {
	if p.Remove {
		return "to take " + p.what() + " out of force"
	}
	return "to put " + p.what() + " in force"
}

// what is the document that a proposal is about, with its tags if it can be read.
func (p *Proposal) what() string {
	if p.Key == AlertRulesKey {
		return "alert rules"
	}
	if doc, err := policy.Parse([]byte(p.Text)); err == nil {
		return "the policy of " + doc.Name()
	}
	return "the policy of " + p.Scope.Name()
}

// AgreeToProposal puts a proposal in force. Whoever made it cannot, and nobody can while
// they are locked down.
//
// Errors: [Refusals]; [ErrUnavailable], after which it may be in force.
func (s *Service) AgreeToProposal(ctx context.Context, id string, by Person) (Changed, error) {
	p, err := s.proposal(ctx, id)
	if err != nil {
		return Changed{}, err
	}
	if strings.EqualFold(p.By.Object, by.Object) {
		return Changed{}, refuse(OwnProposal, "", "Nobody agrees to their own proposal; another administrator has to.")
	}
	for _, who := range []Person{by, p.By} { // what somebody proposed who is locked down may not be theirs
		if err := s.unlocked(ctx, who); err != nil {
			return Changed{}, err
		}
	}
	out, err := s.putPolicy(ctx, p, by)
	if errors.Is(err, ErrNotFound) {
		return Changed{}, noProposal
	}
	return out, err
}

// RejectProposal forgets a proposal; whoever made it may as well.
//
// Errors: [Refusals]; [ErrUnavailable].
func (s *Service) RejectProposal(ctx context.Context, id string, by Person) error {
	p, err := s.proposal(ctx, id)
	if err != nil {
		return err
	}
	if err := s.unlocked(ctx, by); err != nil {
		return err
	}
	err = s.Policies.DropProposal(ctx, p)
	if errors.Is(err, ErrNotFound) {
		return noProposal
	}
	if err != nil {
		return fmt.Errorf("forget the proposal: %w", err)
	}
	s.notePolicy(ctx, audit.PolicyRefused, by, p, "Not agreed to: "+p.title()+", proposed by "+p.By.Name+".")
	return nil
}

func (s *Service) proposal(ctx context.Context, id string) (Proposal, error) {
	all, err := s.Policies.Proposals(ctx)
	if err != nil {
		return Proposal{}, fmt.Errorf("read the proposals: %w", err)
	}
	at := slices.IndexFunc(all, func(p Proposal) bool { return p.ID == id })
	if at < 0 {
		return Proposal{}, noProposal
	}
	return all[at], nil
}

var noProposal = refuse(ProposalNotFound, "", "There is no proposal with this id; list those there are with GET /api/policies/proposals.")
