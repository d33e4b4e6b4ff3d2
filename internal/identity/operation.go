package identity

import (
	"maps"
	"slices"
)

// Operation is something a caller may be allowed to do. "own" means requests
// that the caller made, "any" everybody's.
type Operation string

const (
	RequestCreate    Operation = "request.create"
	RequestReadOwn   Operation = "request.read.own"
	RequestReadAny   Operation = "request.read.any"
	RequestRevokeOwn Operation = "request.revoke.own"
	RequestRevokeAny Operation = "request.revoke.any"
	RequestExtendOwn Operation = "request.extend.own"
	RequestDecide    Operation = "request.decide"    // approve or deny; whose and how many is policy's
	BreakGlass       Operation = "breakglass.open"   // to ask; who is let in is policy's
	BreakGlassReview Operation = "breakglass.review" // to close the review that is due afterwards
	SubscribeOwn     Operation = "subscription.own"  // a workflow waits for what it asked for itself
	SubscribeAny     Operation = "subscription.any"
	Lockdown         Operation = "lockdown"        // to put one on, to lift it, to see them
	LockdownPerson   Operation = "lockdown.person" // to put one on a person
	LedgerRead       Operation = "ledger.read"     // the record of the installation
	PolicyRead       Operation = "policy.read"
	PolicyWrite      Operation = "policy.write"
	PolicyApprove    Operation = "policy.approve"  // a change that somebody else wrote
	MachineRead      Operation = "machine.read"    // names, protections, explanations
	MachineReport    Operation = "machine.report"  // the whole estate at once
	MachineProtect   Operation = "machine.protect" // what-if included
	AlertReceive     Operation = "alert.receive"   // what Azure Monitor sends
	AlertReport      Operation = "alert.report"    // what a workflow sends on behalf of others
)

// ActionGroupApp is the client id of "AzNS AAD Webhook", as which Azure Monitor
// calls secure webhooks in every tenant (Azure Monitor action groups page).
const ActionGroupApp = "461e8683-5575-4561-ac7f-899cc907d62a"

// rule says who may do one thing: people with any of the one list's roles,
// applications with any of the other's. If app is set, no other application may,
// whatever its roles. Somebody of another tenant than home may only if guests says so.
type rule struct {
	people, applications []string
	app                  string
	guests               bool
}

func people(roles ...string) rule { return rule{people: roles} }

// orApplications adds applications, each role by name: a role that was made for people says
// nothing about a machine that somebody assigned it to.
func (r rule) orApplications(applications ...string) rule {
	r.applications = applications
	return r
}

func (r rule) andGuests() rule {
	r.guests = true
	return r
}

// allowed is the whole of who may do what. An administrator is not a requester:
// who writes the policies should not be the one they open doors for without
// somebody noticing, so the role for asking has to be given on top. A CI runner may
// ask with its workload identity, and see and end what it asked for; nothing more. A
// pipeline that applies policies from a repository may do that and cannot be the second
// administrator, who is to be a person. Guests of further tenants are customers of whoever
// runs this: what belongs to the others is not for them to read.
var allowed = map[Operation]rule{
	RequestCreate:    people(RoleRequest).orApplications(RoleRequest).andGuests(),
	RequestReadOwn:   people(RoleRequest, RoleApprove, RoleAdmin).orApplications(RoleRequest).andGuests(),
	RequestReadAny:   people(RoleApprove, RoleAdmin, RoleAudit),
	RequestRevokeOwn: people(RoleRequest, RoleAdmin).orApplications(RoleRequest).andGuests(),
	RequestRevokeAny: people(RoleApprove, RoleAdmin),
	RequestExtendOwn: people(RoleRequest).andGuests(),
	RequestDecide:    people(RoleApprove).orApplications(RoleDecideWorkflow),
	BreakGlass:       people(RoleRequest),
	BreakGlassReview: people(RoleApprove, RoleAdmin),
	SubscribeOwn:     people().orApplications(RoleRequest).andGuests(),
	SubscribeAny:     people().orApplications(RoleDecideWorkflow),
	Lockdown:         people(RoleApprove, RoleAdmin),
	LockdownPerson:   people(RoleAdmin), // an approver could lock every administrator out: who is locked down lifts nothing
	LedgerRead:       people(RoleApprove, RoleAdmin, RoleAudit),
	PolicyRead:       people(RoleRequest, RoleApprove, RoleAdmin, RoleAudit).orApplications(RolePolicyWrite),
	PolicyWrite:      people(RoleAdmin).orApplications(RolePolicyWrite),
	PolicyApprove:    people(RoleAdmin),
	MachineRead:      people(RoleRequest, RoleApprove, RoleAdmin, RoleAudit),
	MachineReport:    people(RoleApprove, RoleAdmin, RoleAudit),
	MachineProtect:   people(RoleAdmin),
	// The role alone would let in any application that was given it; the client id
	// alone any action group of the tenant that nobody gave the role for.
	AlertReceive: {applications: []string{RoleActionGroup}, app: ActionGroupApp},
	AlertReport:  people().orApplications(RoleDecideWorkflow),
}

// Operations lists all operations.
func Operations() []Operation { return slices.Sorted(maps.Keys(allowed)) }

// ByRBAC tells whether Azure RBAC on a machine can decide in the place of app roles:
// asking for access, what belongs to one's own requests, deciding, and looking at the
// machine. Whoever serves the operation asks Azure which machines that is true of.
func (o Operation) ByRBAC() bool {
	switch o {
	case RequestCreate, RequestReadOwn, RequestRevokeOwn, RequestExtendOwn, RequestDecide, BreakGlass, MachineRead:
		return true
	}
	return false
}

// KeyHolder is whoever showed the key for alerts: it may say what Azure Monitor saw, and
// nothing else. Whoever may look at an action group sees the key; it must not be enough to
// ask for something by name, such as the end of a lockdown.
func KeyHolder(name string) Caller {
	return Caller{Name: name, Object: name, Application: true, ByKey: true}
}

// RolesFor are those of which one lets a caller of this kind do one of the operations:
// what to ask an administrator for. Empty when no role would.
func (c Caller) RolesFor(ops ...Operation) []string {
	var out []string
	for _, op := range ops {
		r := allowed[op]
		switch {
		case c.Guest && !r.guests:
		case !c.Application:
			out = append(out, r.people...)
		case r.app == "" || c.App == r.app:
			out = append(out, r.applications...)
		}
	}
	if c.Guest {
		out = ofGuests(out)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ofGuests are those of the roles that count for somebody of another tenant than home.
func ofGuests(roles []string) []string {
	return slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return role != RoleRequest })
}

// May reports whether one of the caller's roles allows the operation. An unknown
// operation is allowed to nobody.
func (c Caller) May(op Operation) bool {
	if c.ByKey {
		return op == AlertReceive
	}
	return slices.ContainsFunc(c.RolesFor(op), c.Has)
}
