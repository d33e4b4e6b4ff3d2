package entra

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The identity that the managed-identity endpoint speaks for.
const (
	IdentityClientID = "7b0d5ff6-6b8e-4f60-8a2a-2d6c3c1e7a10"
	IdentityObjectID = "c3a9a1de-5d0c-4b43-9f27-6f2b8c1d4e21"
)

// cliClientID is Azure CLI's registration, through which people get tokens.
const cliClientID = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

// Groups of the demo people, as they stand in the groups claim.
const (
	GroupOncall    = "9d0c0000-0000-4000-8000-00000000a001"
	GroupApprovers = "9d0c0000-0000-4000-8000-00000000a002"
)

// Person is a demo user. ObjectID never changes; it is what to authorise on.
type Person struct {
	Name        string // as in GET /token?user=
	DisplayName string
	Username    string // preferred_username, which a real tenant may change
	ObjectID    string
	Roles       []string
	Groups      []string
}

// People returns the demo users.
func People() []Person {
	approvers := []string{GroupApprovers}
	return []Person{
		{"alice", "Alice Ashdown", "alice@contoso.example", "a11ce000-0000-4000-8000-000000000001", []string{"Jit.Request"}, []string{GroupOncall}},
		{"bob", "Bob Birch", "bob@contoso.example", "b0b00000-0000-4000-8000-000000000002", []string{"Jit.Request", "Jit.Approve"}, approvers},
		{"carol", "Carol Crane", "carol@contoso.example", "ca401000-0000-4000-8000-000000000003", []string{"Jit.Admin"}, nil},
		{"dave", "Dave Dunn", "dave@contoso.example", "da7e0000-0000-4000-8000-000000000005", []string{"Jit.Approve"}, approvers},
		{"audrey", "Audrey Alder", "audrey@contoso.example", "a0d4e700-0000-4000-8000-000000000004", []string{"Jit.Audit"}, nil},
	}
}

// Application is something that calls for itself: a service principal with app roles.
type Application struct {
	Name     string // as in GET /token?app=
	ClientID string // azp
	ObjectID string
	Roles    []string
}

// Applications returns the demo applications: Azure Monitor's action groups (the
// client id is the real one, Azure Monitor action groups page), a Logic App's managed
// identity and a CI runner's workload identity.
func Applications() []Application {
	return []Application{
		{"actiongroup", "461e8683-5575-4561-ac7f-899cc907d62a", "ac710600-0000-4000-8000-000000000011", []string{"ActionGroupsSecureWebhook"}},
		{"workflow", "10c1ca00-0000-4000-8000-000000000022", "10c1ca00-0000-4000-8000-000000000012", []string{"Jit.Decide.Workflow"}},
		{"runner", "c1000000-0000-4000-8000-000000000023", "c1000000-0000-4000-8000-000000000013", []string{"Jit.Request"}},
	}
}

// ErrUnknownUser is wrapped when a token is asked for somebody who is neither in
// People nor in Applications.
var ErrUnknownUser = errors.New("unknown user")

func errUnknown(kind, name string, known []string) error {
	slices.Sort(known)
	return fmt.Errorf("there is no %s %q; known are %s: %w", kind, name, strings.Join(known, ", "), ErrUnknownUser)
}
