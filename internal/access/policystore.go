package access

import (
	"context"
	"time"

	"jitgate/internal/policy"
)

// Signature is who puts a document in force, and who agreed where a second person
// has to.
type Signature struct {
	By       Person
	Approver Person // zero when nobody had to agree
	At       time.Time
	// Proposal is the id of the proposal of By's that is carried out, empty when there was
	// none. It is forgotten in the same step as the document changes. When it does not
	// wait any more, because it was rejected, replaced or carried out already, the answer
	// is ErrNotFound and nothing has changed.
	Proposal string
}

// PolicyVersion is one version of a policy, whether it is in force or not. One whose
// document cannot be read, as a newer build may have written it, has only Version, Text
// and the signature.
type PolicyVersion struct {
	policy.Policy
	Signature
	Removed bool // this version took the policy out of force; Document is the one that was
}

// AlertRules is the document that maps alerts to actions, as it is in force.
type AlertRules struct {
	Text    string
	Version int
	Hash    string // SHA-256 of Text
	Signature
}

// Proposal is a change of a policy or of the alert rules that waits for a second
// administrator.
type Proposal struct {
	ID     string       // of the document and its text: the same change is the same proposal
	Key    string       // policy.Document.Key, or [AlertRulesKey]
	Scope  policy.Scope // of the policy; zero for the alert rules
	Text   string
	Remove bool // the policy is to be taken out of force
	By     Person
	At     time.Time
}

// AlertRulesKey stands for the alert rules among the keys of documents.
const AlertRulesKey = "alert-rules"

// Policies keeps policy documents, with all their versions, by [policy.Document.Key].
// A document that cannot be read any more is an error wherever it would count: a
// wider policy must not step in for it.
type Policies interface {
	// PoliciesAt returns those in force at exactly this scope, guardrails and tagged
	// ones included, in any order.
	PoliciesAt(ctx context.Context, scope policy.Scope) ([]policy.Policy, error)
	// ListPolicies returns all in force, ordered by scope and key.
	ListPolicies(ctx context.Context) ([]policy.Policy, error)
	// PolicyInForce returns the version of a key that is in force, also one that cannot be
	// read: it has to be replaced or removed. Returns ErrNotFound when none is.
	PolicyInForce(ctx context.Context, scope policy.Scope, key string) (PolicyVersion, error)
	// PutPolicy stores a document as the next version of its key. A document equal to
	// the one in force changes nothing, unless a proposal is carried out: that others
	// agreed is a version, too.
	PutPolicy(ctx context.Context, doc policy.Document, sign Signature) (policy.Policy, error)
	// RemovePolicy takes the policy of a key out of force, as a version of its own.
	// Returns ErrNotFound when none is in force, unless a proposal is carried out: then
	// only that is forgotten.
	RemovePolicy(ctx context.Context, scope policy.Scope, key string, sign Signature) error
	// PolicyVersions returns all versions of a key, newest first; none is no error.
	PolicyVersions(ctx context.Context, scope policy.Scope, key string) ([]PolicyVersion, error)

	// AlertRules returns ErrNotFound when there are none.
	AlertRules(ctx context.Context) (AlertRules, error)
	// PutAlertRules does the same with a text.
	PutAlertRules(ctx context.Context, text string, sign Signature) (AlertRules, error)

	// Propose files a change, in place of an earlier proposal for the same key.
	Propose(ctx context.Context, p Proposal) error
	// Proposals returns those that wait, oldest first.
	Proposals(ctx context.Context) ([]Proposal, error)
	// DropProposal forgets one; ErrNotFound when it does not wait any more. Where
	// somebody carries it out and somebody drops it at one moment, one of them gets that.
	DropProposal(ctx context.Context, p Proposal) error
}
