// Package identity answers who is calling and what they may do. It owns the
// validation of Entra ID access tokens, the reading of App Service Authentication's
// sign-ins where an installation has chosen that, and the one table that says which
// role allows which operation.
//
// It refuses everything it cannot prove: a token is good only if every check
// passes, and a caller may do only what the table names. It decides nothing by
// name or e-mail address, because people can change those; only by tenant,
// object id, roles and application. It hands out no tokens, keeps none, and asks no
// directory: what the token does not say about groups is not known here.
package identity

import "slices"

// App roles of the installation, as they stand in a token's roles claim. The
// first four are for people, the others for applications; the table in operation.go
// says where an application may use one of the first.
const (
	RoleRequest        = "Jit.Request"
	RoleApprove        = "Jit.Approve"
	RoleAdmin          = "Jit.Admin"
	RoleAudit          = "Jit.Audit"
	RoleDecideWorkflow = "Jit.Decide.Workflow"
	RolePolicyWrite    = "Jit.Policy.Write"
	// RoleActionGroup is the value Azure Monitor's secure webhook conventionally
	// gets (Azure Monitor action groups page); its name is not ours to choose.
	RoleActionGroup = "ActionGroupsSecureWebhook"
)

// Caller is who a valid token speaks of. Tenant and Object together identify a
// person or service principal for good. App is the client id of the application
// that obtained the token; empty only for a sign-in that App Service did itself.
// Name is for display only: it may change, and nothing may be decided by it.
type Caller struct {
	Tenant, Object, Name, App string
	Roles                     []string

	// Groups are object ids. GroupsIncomplete means that the person is in more
	// groups than a token has room for (over 200), and that Entra therefore named
	// none: not being in Groups says nothing then.
	Groups           []string
	GroupsIncomplete bool

	// Application: the token was issued to an application for itself, with no
	// person behind it.
	Application bool

	// Guest: the caller is of another tenant than home. Of its roles only the one to ask
	// has been kept, and it opens nothing but what concerns the caller's own requests.
	Guest bool

	// ByKey: no token was shown but the key for alerts.
	ByKey bool
}

// Has reports whether the token carries the role. Roles are compared exactly, as
// they are defined by us. What a role allows is for [Caller.May] to say.
func (c Caller) Has(role string) bool { return slices.Contains(c.Roles, role) }
