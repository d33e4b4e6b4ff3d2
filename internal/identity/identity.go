// Package identity answers who is calling and what they may do. It owns the
// validation of Entra ID bearer tokens and the one table that says which role
// allows which operation.
//
// It refuses everything it cannot prove: a token is good only if every check
// passes, and a caller may do only what the table names. It decides nothing by
// name or e-mail address, because people can change those; only by tenant,
// object id, roles and application. It neither hands out tokens nor looks at the
// headers of App Service Authentication.
package identity

import "slices"

// App roles of the installation, as they stand in a token's roles claim. The
// first four are for people, the others for applications.
const (
	RoleRequest        = "Jit.Request"
	RoleApprove        = "Jit.Approve"
	RoleAdmin          = "Jit.Admin"
	RoleAudit          = "Jit.Audit"
	RoleDecideWorkflow = "Jit.Decide.Workflow"
	// RoleActionGroup is the value Azure Monitor's secure webhook conventionally
	// gets (Azure Monitor action groups page); its name is not ours to choose.
	RoleActionGroup = "ActionGroupsSecureWebhook"
)

// Caller is who a valid token speaks of. Tenant and Object together identify a
// person or service principal for good. App is the client id of the application
// that obtained the token. Name is for display only: it may change, and nothing
// may be decided by it.
type Caller struct {
	Tenant, Object, Name, App string
	Roles                     []string
}

// Has reports whether the token carries the role. Roles are compared exactly, as
// they are defined by us.
func (c Caller) Has(role string) bool { return slices.Contains(c.Roles, role) }
