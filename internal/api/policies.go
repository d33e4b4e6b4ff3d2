package api

import "time"

// ChangedPolicy is the answer to a change of policy: it is in force, or it waits.
type ChangedPolicy struct {
	Policy   *Policy     `json:"policy,omitempty" doc:"What is in force now."`
	Rules    *AlertRules `json:"rules,omitempty" doc:"The alert rules in force now."`
	Proposal *Proposal   `json:"proposal,omitempty" doc:"Set when nothing has changed yet: another administrator has to agree."`
	Findings []Lint      `json:"findings,omitempty" doc:"What is allowed but hardly meant, in the documents in force and this one."`
}

// Lint is something in policies that is allowed but hardly meant.
type Lint struct {
	Policy string `json:"policy"`
	Code   string `json:"code"`
	Text   string `json:"text"`
}

// AlertRules is the document that maps alerts to actions.
type AlertRules struct {
	Version  int       `json:"version"`
	Hash     string    `json:"hash"`
	Document string    `json:"document"`
	By       Person    `json:"by"`
	At       time.Time `json:"at"`
}

// Proposal is a change that waits for a second administrator.
type Proposal struct {
	ID       string    `json:"id"`
	What     string    `json:"what" enum:"policy,alert-rules"`
	Remove   bool      `json:"remove,omitempty" doc:"The policy is to be taken out of force."`
	Document string    `json:"document"`
	By       Person    `json:"by"`
	At       time.Time `json:"at"`
}

// ProposalList holds the proposals that wait, oldest first.
type ProposalList struct {
	Proposals []Proposal `json:"proposals"`
}

// PolicyVersion is one version of a policy.
type PolicyVersion struct {
	Version  int       `json:"version"`
	Hash     string    `json:"hash,omitempty"`
	Document string    `json:"document"`
	By       Person    `json:"by"`
	Approver *Person   `json:"approver,omitempty"`
	At       time.Time `json:"at"`
	Removed  bool      `json:"removed,omitempty" doc:"This version took the policy out of force."`
}

// PolicyHistory holds all versions of a policy, newest first.
type PolicyHistory struct {
	Versions []PolicyVersion `json:"versions"`
}

// PolicyKey is the body of POST /api/policies/remove, and names a policy elsewhere.
type PolicyKey struct {
	Scope string `json:"scope,omitempty"`
	Key   string `json:"key,omitempty"`
}

// PolicyQuestion is the body of POST /api/policies/explain.
type PolicyQuestion struct {
	NewRequest
	At *time.Time `json:"at,omitempty" doc:"When it would be asked. Left out: now."`
}

// PolicyAnswers is what policy would say, per target.
type PolicyAnswers struct {
	Answers []PolicyAnswer `json:"answers"`
}

// PolicyAnswer is what policy would say to a request for one machine.
type PolicyAnswer struct {
	VM         string    `json:"vm"`
	Verdict    string    `json:"verdict" enum:"allow,deny,approval"`
	Policies   string    `json:"policies,omitempty" doc:"Every policy that was asked: scope, version and hash."`
	Unmet      []Unmet   `json:"unmet,omitempty"`
	Approval   *Approval `json:"approval,omitempty"`
	Longest    string    `json:"longest,omitempty" doc:"The longest that would pass; absent if nothing would."`
	Extensions int       `json:"extensions,omitempty"`
	BreakGlass bool      `json:"breakGlass,omitempty" doc:"You could open at once, with a reason."`
}

// PolicyChange is the body of POST /api/policies/what-if.
type PolicyChange struct {
	Documents []string    `json:"documents,omitempty" doc:"To be put in force, in place of or beside what is."`
	Remove    []PolicyKey `json:"remove,omitempty" doc:"To be taken out of force."`
}

// PolicyForecast is what a change of policy would change.
type PolicyForecast struct {
	Looked      int          `json:"looked" doc:"Requests that were compared."`
	Partial     bool         `json:"partial,omitempty" doc:"There were more than are looked at."`
	Differences []Difference `json:"differences"`
}

// Difference is a request that other policies would have decided differently, or whose
// approval they would have asked of others while it waits or is open.
type Difference struct {
	Request   string    `json:"request"`
	VM        string    `json:"vm"`
	Requester Person    `json:"requester"`
	CreatedAt time.Time `json:"createdAt"`
	State     string    `json:"state" doc:"Of the target today; the change closes nothing that is open."`
	Before    string    `json:"before" enum:"allow,deny,approval"`
	After     string    `json:"after" enum:"allow,deny,approval"`
	Unmet     []Unmet   `json:"unmet,omitempty" doc:"Under the new policies."`

	ApprovalBefore *Approval `json:"approvalBefore,omitempty" doc:"What approval was asked for; absent if none."`
	ApprovalAfter  *Approval `json:"approvalAfter,omitempty" doc:"What approval would be asked for; absent if none."`
}
