// Package audit owns the record: what an event is and which kinds there are.
// Events are appended in the same transaction as the change they describe and
// are never edited. The package decides nothing and stores nothing itself.
package audit

import "time"

// Kind names what happened. Kinds are part of the export format: they are added,
// never renamed.
type Kind string

const (
	// RequestCreated is written with the request itself, before anybody is told.
	RequestCreated Kind = "request.created"
	// RequestApproved is written once per target that policy allows. It names the
	// policy and its version, and is not a claim that anything is open yet.
	RequestApproved Kind = "request.approved"
	// RequestDenied is written once per target that policy or the machine's
	// network rules out.
	RequestDenied Kind = "request.denied"
	// RequestCancelled is written when a request is taken back before a decision.
	RequestCancelled Kind = "request.cancelled"
	// RuleCreated is written after ARM confirmed the allow rules of a target in one NSG:
	// one event that names them all, as the other kinds about rules of a request do.
	RuleCreated Kind = "rule.created"
	// AccessOpened is written once every NSG on the way to the target lets the
	// requester in. It follows the RuleCreated events.
	AccessOpened Kind = "access.opened"
	// RevokeAsked is written when somebody ends access early; the rule may exist
	// for a moment longer.
	RevokeAsked Kind = "access.revoke-asked"
	// AccessOverdue is written when the sweep finds a target open past its time, which
	// means that the wake-up was lost. The removal follows.
	AccessOverdue Kind = "access.overdue"
	// RuleRemoved is written after ARM confirmed that the allow rules are gone from
	// one NSG.
	RuleRemoved Kind = "rule.removed"
	// RuleRemovalFailed is written when ARM refuses to remove a rule for good (a
	// lock, a missing permission). The removal is tried again at every sweep.
	RuleRemovalFailed Kind = "rule.removal-failed"
	// AccessExpired and AccessRevoked close the record of a target, after every
	// rule of it was confirmed gone.
	AccessExpired Kind = "access.expired"
	AccessRevoked Kind = "access.revoked"
	// AccessFailed closes the record of a target that was approved but could not
	// be opened.
	AccessFailed Kind = "access.failed"
	// AccessOutranked is written with AccessOpened when a rule of others stops what
	// the grant opened.
	AccessOutranked Kind = "access.outranked"
	// RuleRepaired is written when the rule of a live grant was found edited or
	// deleted, and says what was done about it.
	RuleRepaired Kind = "rule.repaired"

	// ApprovalAsked is written once per target that has to wait for an approver.
	ApprovalAsked Kind = "request.awaiting-approval"
	// ApprovalGiven is one approver's consent; more may be needed.
	ApprovalGiven Kind = "approval.given"
	// RequestRejected is written once per target that an approver has refused.
	RequestRejected Kind = "request.rejected"
	// RequestLapsed is written when nobody decided in time.
	RequestLapsed Kind = "request.lapsed"
	// AccessEnding is written shortly before the end of access.
	AccessEnding Kind = "access.ending"
	// AccessExtended is written when access is to end later; RuleExtended after ARM
	// confirmed the rule that says so.
	AccessExtended Kind = "access.extended"
	RuleExtended   Kind = "rule.extended"
	// GlassBroken is written when access opens although policy would not have let it,
	// or not without an approver. ReviewClosed and ReviewOverdue are about the review
	// that is due then.
	GlassBroken   Kind = "breakglass.opened"
	ReviewClosed  Kind = "breakglass.reviewed"
	ReviewOverdue Kind = "breakglass.review-overdue"
	// CallbackSet and CallbackEnded are about a workflow that waits for an outcome.
	CallbackSet   Kind = "callback.set"
	CallbackEnded Kind = "callback.ended"
	// NoticeFailed is written when a channel could not be told of something.
	NoticeFailed Kind = "notice.failed"

	// The following belong to the record of the installation. LockdownSet is written
	// before what is under it is closed. LockdownEnded is written when its time is over.
	LockdownSet    Kind = "lockdown.set"
	LockdownLifted Kind = "lockdown.lifted"
	LockdownEnded  Kind = "lockdown.ended"
	// AlertTaken is written when an alert is carried out.
	AlertTaken       Kind = "alert.taken"
	PreApproved      Kind = "alert.pre-approved"
	PreApprovalEnded Kind = "alert.pre-approval-ended"
	// PolicyApplied and the kinds after it are about changes of policies and of the
	// alert rules.
	PolicyApplied  Kind = "policy.applied"
	PolicyRemoved  Kind = "policy.removed"
	PolicyProposed Kind = "policy.proposed"
	PolicyRefused  Kind = "policy.proposal-rejected"
	// The suspicious kinds say that somebody should look.
	ManyDenials Kind = "suspicious.denials"
	NewSource   Kind = "suspicious.source"
	OutOfHours  Kind = "suspicious.out-of-hours"
	OwnGroup    Kind = "suspicious.approvals"
	RulesEdited Kind = "suspicious.rules-edited"

	// ProtectAsked and UnprotectAsked are written when somebody changes what is
	// wanted of a machine; nothing has happened in Azure yet.
	ProtectAsked   Kind = "machine.protect-asked"
	UnprotectAsked Kind = "machine.unprotect-asked"
	// MachineMoved is written when a protected machine is found behind other NSGs or
	// with other addresses; its protection follows.
	MachineMoved Kind = "machine.moved"
	// MachineGone is written when Azure confirms that the machine does not exist any
	// more. Its deny rules go; rules that were removed for it do not come back.
	MachineGone Kind = "machine.gone"
	// RuleSetAside and RuleRestored are written after ARM confirmed that a rule of
	// others is gone from an NSG, and that it is back.
	RuleSetAside Kind = "rule.set-aside"
	RuleRestored Kind = "rule.restored"
	// RuleKeptAway is written when a protection ends and rules that were removed for
	// it do not come back: they would open other protected machines, which keep them,
	// or the machine does not exist any more.
	RuleKeptAway Kind = "rule.kept-away"
	// RuleKept is written when a rule that was to be removed was changed by its owner
	// first.
	RuleKept Kind = "rule.kept"
	// NSGClosed and NSGReleased are written after ARM confirmed that an NSG denies
	// the protected ports, and that it holds no deny rule for the machine any more.
	NSGClosed   Kind = "nsg.closed"
	NSGReleased Kind = "nsg.released"
	// MachineProtected and MachineUnprotected follow the last of these.
	MachineProtected   Kind = "machine.protected"
	MachineUnprotected Kind = "machine.unprotected"
	// MachineBlocked is written when something stands in the way; it says what.
	MachineBlocked Kind = "machine.blocked"

	// The following belong to the record of an NSG. DenyRepaired: a deny rule of ours
	// was found edited or deleted. RuleReturned: a rule that protecting removed was
	// found again. RuleUnbacked: a rule with our prefix belonged to no grant, or, if it
	// denies, to no protection; that one stays.
	// FlushRepaired: flushConnection was found changed. RuleRepaired is noted here as well, before the repair.
	DenyRepaired  Kind = "drift.deny-repaired"
	RuleReturned  Kind = "drift.rule-returned"
	RuleUnbacked  Kind = "drift.rule-unbacked"
	FlushRepaired Kind = "drift.flush-repaired"
	// DriftRepaired follows a finding once Azure confirmed that it was put right.
	DriftRepaired Kind = "drift.repaired"
)

// System is the actor of everything jitgate does by itself.
const System = "jitgate"

// Event is one line of a request's record.
type Event struct {
	Sequence int       // 1, 2, 3… within the request, without gaps
	At       time.Time // UTC
	Kind     Kind
	Actor    string // object id of a person or application, or [System]
	Name     string // how the actor was called at that time; for reading only
	VM       string // ARM id of the target, empty when the event is about the whole request
	NSG      string // ARM id, for rule events
	Rule     string // name of the security rule, for rule events; several with commas between them
	Policy   string // scope and version of the policy that decided
	Text     string // one sentence for people
}
