package access

import (
	"errors"
	"strings"
)

// Sentinels of the ports. Adapters wrap them; nothing else about an adapter's
// error is looked at.
var (
	// ErrNotFound: the record, policy or resource does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: an insert met a record with the same id.
	ErrExists = errors.New("already exists")
	// ErrUnavailable: a store, queue or ARM could not be reached, or asks for
	// patience. Trying again later may work.
	ErrUnavailable = errors.New("unavailable")
	// ErrForbidden: Azure refuses this installation's identity, or refuses the
	// change itself, for good. Trying again will not help.
	ErrForbidden = errors.New("refused by Azure")
	// ErrTooLarge: a record holds more than the store takes in one piece. Nothing
	// of it was written, and trying again will not help.
	ErrTooLarge = errors.New("too much to be stored in one record")
)

// Code is the stable name of a refusal. Callers may branch on it; it never changes.
type Code string

// Codes of what is wrong with a call. Codes that come from policy are declared
// there and pass through unchanged.
const (
	VMIDInvalid          Code = "vm_id_invalid"
	TargetsEmpty         Code = "targets_empty"
	TargetsTooMany       Code = "targets_too_many"
	TargetDuplicate      Code = "target_duplicate"
	PortsEmpty           Code = "ports_empty"
	PortsTooMany         Code = "ports_too_many"
	PortInvalid          Code = "port_invalid"
	PortDuplicate        Code = "port_duplicate"
	ProtocolUnknown      Code = "protocol_unknown"
	SourceInvalid        Code = "source_invalid"
	SourceHostBits       Code = "source_host_bits"
	SourceAny            Code = "source_any"
	SourceUnknown        Code = "source_unknown"
	DurationInvalid      Code = "duration_invalid"
	DurationTooShort     Code = "duration_too_short"
	DurationTooLong      Code = "duration_too_long"
	JustificationInvalid Code = "justification_invalid"
	IdempotencyInvalid   Code = "idempotency_key_invalid"
	IdempotencyReused    Code = "idempotency_key_reused"
	RequestNotFound      Code = "request_not_found"
	RequestEnded         Code = "request_ended"
	NotYourRequest       Code = "not_your_request"
	RoleMissing          Code = "role_missing"
	PolicyInvalid        Code = "policy_invalid"
	PolicyNotFound       Code = "policy_not_found"
	StateUnknown         Code = "state_unknown"
	CursorInvalid        Code = "cursor_invalid"
)

// Codes about decisions, extensions and what else is done to a request.
const (
	CommentInvalid       Code = "comment_invalid"
	CommentMissing       Code = "comment_missing"
	RequestNotAwaiting   Code = "request_not_awaiting" // nobody is asked to decide it
	RequestNotActive     Code = "request_not_active"
	OwnRequest           Code = "own_request"
	ApproverNotAllowed   Code = "approver_not_allowed"
	ApproverInvalid      Code = "approver_invalid"
	NoApprover           Code = "no_approver"
	BreakGlassNotAllowed Code = "break_glass_not_allowed"
	ReviewNotDue         Code = "review_not_due"
	ExtensionNotAllowed  Code = "extension_not_allowed"
	LockedDown           Code = "locked_down"
	RBACMissing          Code = "rbac_role_missing"
)

// Codes about lockdowns, callbacks, alerts and changes of policy.
const (
	LockdownInvalid   Code = "lockdown_invalid"
	LockdownNotFound  Code = "lockdown_not_found"
	LockdownsTooMany  Code = "lockdowns_too_many"
	CallbackRefused   Code = "callback_refused"
	EventsInvalid     Code = "events_invalid"
	CallbacksTooMany  Code = "callbacks_too_many"
	ProposalNotFound  Code = "proposal_not_found"
	OwnProposal       Code = "own_proposal"
	AlertRulesInvalid Code = "alert_rules_invalid"
)

// Codes of why a target was denied or failed.
const (
	VMNotFound      Code = "vm_not_found"
	NoInterface     Code = "vm_without_nic"
	NoAddress       Code = "vm_without_address"
	NoNSG           Code = "no_nsg"
	NSGFull         Code = "nsg_full"
	RuleImpossible  Code = "rule_impossible"
	NSGGone         Code = "nsg_gone"
	WriteRefused    Code = "write_refused"
	NotOpenedInTime Code = "not_opened_in_time"
	VMGone          Code = "vm_gone"
	AddressChanged  Code = "address_changed"
	AddressReused   Code = "address_reused"

	RejectedByApprover Code = "rejected"
	NotDecidedInTime   Code = "not_decided_in_time"
	ClosedByAlert      Code = "closed_by_alert"
)

// Codes of warnings and findings.
const (
	StillOpen          Code = "still_open"           // a rule of others that comes before ours lets somebody in
	RuleShared         Code = "rule_shared"          // a rule opens the port to everybody and serves others too, so it stays
	TagUnknown         Code = "tag_unknown"          // a rule that cannot be judged may let somebody in
	FlushAffectsOthers Code = "flush_affects_others" // flushConnection is a property of the whole NSG
	Outranked          Code = "outranked"            // a rule of others stops what a grant opened
	PathUnchecked      Code = "path_unchecked"       // the way to the machine could not be read back
	DefenderRules      Code = "defender_rules"       // Defender for Cloud's own JIT rules are there
	RuleWithoutGrant   Code = "rule_without_grant"   // a rule with our prefix that nothing backs
	ProtectionMissing  Code = "protection_missing"   // recorded as protected, but the deny rule is not there
	ProtectionBlocked  Code = "protection_blocked"   // something stands in the way of a protection
	PortsLetGo         Code = "ports_let_go"         // ports that were protected are not any more
	RuleStaysAway      Code = "rule_stays_away"      // a rule does not come back yet, because it would open another protected machine
)

// Codes of refusals about protecting, explaining and reporting.
const (
	FirewallOnly      Code = "firewall_only"
	NoPublicAddress   Code = "no_public_address"
	PriorityTaken     Code = "priority_taken"
	RuleOpensOthers   Code = "rule_opens_others"
	RuleNameTaken     Code = "rule_name_taken"
	NotProtected      Code = "not_protected"
	PriorityInvalid   Code = "priority_invalid"
	ScopeInvalid      Code = "scope_invalid"
	ScopeNotLookedAt  Code = "scope_not_looked_at"
	MachineUnreadable Code = "machine_unreadable"
)

// Refusal says that a call cannot be carried out as it stands and what to do
// about it. The sentence is meant for the caller and holds nothing internal.
type Refusal struct {
	Code     Code
	Field    string // JSON path of the offending value, empty when it is about the whole call
	Sentence string
	Policy   string // which policy says so, with its version; empty when none does
	Passes   string // what would pass, in a few words; empty when nothing would
}

func (r Refusal) Error() string { return r.Sentence }

// Refusals are all that is wrong with a call, in the order found; never empty
// when returned as an error.
type Refusals []Refusal

func (rs Refusals) Error() string {
	sentences := make([]string, len(rs))
	for i, r := range rs {
		sentences[i] = r.Sentence
	}
	return strings.Join(sentences, " ")
}

func refuse(code Code, field, sentence string) error {
	return Refusals{{Code: code, Field: field, Sentence: sentence}}
}
