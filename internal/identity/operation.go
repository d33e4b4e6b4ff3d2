package identity

import "slices"

// Operation is something a caller may be allowed to do. "own" means requests
// that the caller made, "any" everybody's.
type Operation string

const (
	RequestCreate    Operation = "request.create"
	RequestReadOwn   Operation = "request.read.own"
	RequestReadAny   Operation = "request.read.any"
	RequestRevokeOwn Operation = "request.revoke.own"
	RequestRevokeAny Operation = "request.revoke.any"
	PolicyRead       Operation = "policy.read"
	PolicyWrite      Operation = "policy.write"
	MachineRead      Operation = "machine.read"    // names, protections, explanations
	MachineReport    Operation = "machine.report"  // the whole estate at once
	MachineProtect   Operation = "machine.protect" // what-if included
)

// allowed is the whole of who may do what. An administrator is not a requester:
// who writes the policies should not be the one they open doors for without
// somebody noticing, so the role for asking has to be given on top. What an
// application role does not appear in, it may not do.
var allowed = map[Operation][]string{
	RequestCreate:    {RoleRequest},
	RequestReadOwn:   {RoleRequest, RoleApprove, RoleAdmin},
	RequestReadAny:   {RoleApprove, RoleAdmin, RoleAudit},
	RequestRevokeOwn: {RoleRequest, RoleAdmin},
	RequestRevokeAny: {RoleApprove, RoleAdmin},
	PolicyRead:       {RoleRequest, RoleApprove, RoleAdmin, RoleAudit},
	PolicyWrite:      {RoleAdmin},
	MachineRead:      {RoleRequest, RoleApprove, RoleAdmin, RoleAudit},
	MachineReport:    {RoleApprove, RoleAdmin, RoleAudit},
	MachineProtect:   {RoleAdmin},
}

// May reports whether one of the caller's roles allows the operation. An unknown
// operation is allowed to nobody.
func (c Caller) May(op Operation) bool { return slices.ContainsFunc(allowed[op], c.Has) }
